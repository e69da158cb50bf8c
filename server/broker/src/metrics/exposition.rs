//! The text format: families with help and kind, samples with labels.

use std::fmt::Write;

/// What kind of values a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and begins anew with what it counts.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Labels of a sample, with their values as they are.
pub type Labels<'a> = [(&'a str, &'a str)];

/// Text that grows by families.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a family; its samples follow before the next one begins. Names and helps are ours and
    /// need no escape.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}");
        let _ = writeln!(self.0, "# TYPE {name} {}", kind.word());
    }

    /// A sample. Integers up to 2^53 are exact.
    pub fn sample(&mut self, name: &str, labels: &Labels<'_>, value: f64) {
        self.0.push_str(name);
        for (number, (label, value)) in labels.iter().enumerate() {
            self.0.push(if number == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            value.chars().for_each(|c| self.escaped(c));
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn escaped(&mut self, c: char) {
        match c {
            '\\' => self.0.push_str("\\\\"),
            '"' => self.0.push_str("\\\""),
            '\n' => self.0.push_str("\\n"),
            c => self.0.push(c),
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parser::parse;
    use super::*;

    #[test]
    fn the_form_is_that_of_the_format() {
        let mut exposition = Exposition::default();
        exposition.family("heliostat_x_total", Kind::Counter, "Things.");
        exposition.sample("heliostat_x_total", &[("a", "1"), ("b", "\"\\\n")], 3.0);
        exposition.sample("heliostat_x_total", &[], 0.00025);
        assert_eq!(
            exposition.finish(),
            "# HELP heliostat_x_total Things.\n\
             # TYPE heliostat_x_total counter\n\
             heliostat_x_total{a=\"1\",b=\"\\\"\\\\\\n\"} 3\n\
             heliostat_x_total 0.00025\n"
        );
    }

    proptest! {
        #[test]
        fn any_label_comes_out_as_it_went_in(value in any::<String>(), number in 0u64..1 << 53) {
            let mut exposition = Exposition::default();
            exposition.family("x", Kind::Gauge, "X.");
            exposition.sample("x", &[("l", &value)], number as f64);
            let families = parse(&exposition.finish()).unwrap();
            let sample = &families[0].samples[0];
            prop_assert_eq!(sample.label("l"), Some(value.as_str()));
            prop_assert_eq!(sample.value, number as f64);
        }
    }
}
