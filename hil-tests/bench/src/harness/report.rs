//! Figures for machines and for people.

use super::figures::{Figures, Times};

/// A table for each link, a row for each run, in the order of the workloads.
pub fn tables(all: &[Figures]) -> String {
    let mut links: Vec<&str> = Vec::new();
    for figures in all {
        if !links.contains(&figures.link.as_str()) {
            links.push(&figures.link);
        }
    }
    let table_of = |link: &&str| {
        let rows = all.iter().filter(|figures| figures.link == **link);
        format!("{link}\n\n{}\n", table(rows))
    };
    links.iter().map(table_of).collect()
}

fn table<'a>(rows: impl Iterator<Item = &'a Figures>) -> String {
    let mut text = String::from(
        "| workload | system | frames seen / asked | input p50 / p95 / p99 ms | late p50 / p95 ms | \
         bytes | bytes / frame | server ms / frame | client ms / frame | RSS MiB | exact after ms | film dB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for figures in rows {
        text += &row(figures);
    }
    text
}

fn row(figures: &Figures) -> String {
    let name = format!("| {} | {} ", figures.workload, figures.system);
    if let Some(error) = &figures.error {
        return format!("{name}| {error} ||||||||||\n");
    }
    let input = figures
        .input_ms
        .map_or(String::from("–"), |Times { p50, p95, p99 }| {
            format!("{p50:.1} / {p95:.1} / {p99:.1}")
        });
    let late = figures
        .late_ms
        .map_or(String::from("–"), |Times { p50, p95, .. }| {
            format!("{p50:.1} / {p95:.1}")
        });
    let exact = match (figures.exact_after_ms, figures.psnr_db) {
        (Some(ms), _) => format!("{ms:.0}"),
        (None, Some(psnr)) => format!("never ({psnr:.1} dB)"),
        (None, None) => String::from("–"),
    };
    let film = figures.film.map_or(String::from("–"), |film| {
        film.psnr_db
            .map_or(String::from("exact"), |psnr| format!("{psnr:.1}"))
    });
    let server = cost(figures.server_ms_per_frame, figures.server_ms);
    let client = cost(figures.client_ms_per_frame, figures.client_ms);
    let per_frame = figures.bytes_per_frame.map_or(String::from("–"), grouped);
    format!(
        "{name}| {} / {} | {input} | {late} | {} | {per_frame} | {server} | {client} | {:.0} | {exact} | {film} |\n",
        figures.seen,
        figures.asked,
        grouped(figures.bytes),
        figures.server_rss_mib,
    )
}

/// Per frame, or in all where there are no frames.
fn cost(per_frame: Option<f64>, all: f64) -> String {
    per_frame.map_or_else(|| format!("{all:.0} in all"), |ms| format!("{ms:.2}"))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234), "1 234");
        assert_eq!(grouped(123_456_789), "123 456 789");
    }
}
