//! A strict reader of the text format, so that the tests see what Prometheus would.

use std::collections::BTreeSet;

/// A family and its samples.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let (_, value) = self.labels.iter().find(|(label, _)| label == name)?;
        Some(value)
    }
}

/// Reads a whole text, or says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut help = None;
    // Only line feeds end lines; `lines` would take a carriage return for a part of the end.
    for line in text.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').ok_or("help without text")?;
            if words.is_empty() || !is_name(name) {
                return Err(format!("bad help: {line}"));
            }
            help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("type without kind")?;
            if help.take().as_deref() != Some(name) {
                return Err(format!("{name} has no help before its type"));
            }
            if families.iter().any(|family| family.name == name) {
                return Err(format!("{name} comes twice"));
            }
            families.push(Family {
                name: name.to_owned(),
                kind: kind.to_owned(),
                samples: Vec::new(),
            });
        } else {
            let sample = sample(line).ok_or_else(|| format!("no sample: {line}"))?;
            let family = families.last_mut().ok_or("a sample without a family")?;
            if !family.has(&sample.name) {
                return Err(format!("{line} is not of {}", family.name));
            }
            if !seen.insert((sample.name.clone(), sample.labels.clone())) {
                return Err(format!("{line} comes twice"));
            }
            family.samples.push(sample);
        }
    }
    families.iter().try_for_each(Family::check)?;
    Ok(families)
}

impl Family {
    fn has(&self, name: &str) -> bool {
        let suffixes: &[&str] = match self.kind.as_str() {
            "counter" | "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["", "_sum", "_count"],
            _ => &[],
        };
        let rest = name.strip_prefix(self.name.as_str());
        rest.is_some_and(|rest| suffixes.contains(&rest))
    }

    /// What promtool calls lint, and that buckets are cumulative.
    fn check(&self) -> Result<(), String> {
        if (self.kind == "counter") != self.name.ends_with("_total") {
            return Err(format!(
                "{}: counters, and only they, are totals",
                self.name
            ));
        }
        if self.kind != "histogram" {
            return Ok(());
        }
        let buckets = self.samples.iter().filter(|s| s.name.ends_with("_bucket"));
        let mut last: Option<(&str, f64, f64)> = None;
        for bucket in buckets {
            let bound = bucket.label("le").and_then(number).ok_or("no bound")?;
            let session = bucket.label("session").unwrap_or_default();
            if let Some((_, below, count)) = last.filter(|(of, ..)| *of == session)
                && (bound <= below || bucket.value < count)
            {
                return Err(format!("{}: buckets are not cumulative", self.name));
            }
            last = Some((session, bound, bucket.value));
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty()
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        text => text.parse().ok(),
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"")?;
            let (value, after) = unescape(value)?;
            labels.push((label.to_owned(), value));
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => break rest = after.strip_prefix('}')?,
            }
        }
    }
    let value = number(rest.strip_prefix(' ')?)?;
    let named = is_name(name) && labels.iter().all(|(label, _)| is_name(label));
    named.then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// A label's value up to its closing quote, and what comes after that.
fn unescape(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
}
