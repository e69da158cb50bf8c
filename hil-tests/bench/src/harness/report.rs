//! Figures for machines and for people.

use super::figures::{Figures, Times};
use super::pin::Pins;

/// Two tables for each link, a row for each run, in the order of the workloads: what is seen, and what
/// it costs both ends.
pub fn tables(all: &[Figures]) -> String {
    let mut heads: Vec<String> = Vec::new();
    for head in all.iter().map(head) {
        if !heads.contains(&head) {
            heads.push(head);
        }
    }
    let tables_of = |of: &String| {
        let rows = || all.iter().filter(|figures| head(figures) == *of);
        format!("{of}\n\n{}\n{}\n", seen(rows()), costs(rows()))
    };
    heads.iter().map(tables_of).collect()
}

fn head(figures: &Figures) -> String {
    match figures.pinned {
        None => figures.link.clone(),
        Some(Pins { server, client }) => format!(
            "{}, the server on processor {server} and the client on processor {client}",
            figures.link
        ),
    }
}

fn seen<'a>(rows: impl Iterator<Item = &'a Figures>) -> String {
    let head = "| workload | system | frames seen / asked | input p50 / p95 / p99 ms | \
         late p50 / p95 / p99 ms | bytes | bytes / frame | exact after ms | film dB |\n\
         |---|---|---|---|---|---|---|---|---|\n";
    rows.fold(head.to_owned(), |text, figures| text + &seen_row(figures))
}

fn seen_row(figures: &Figures) -> String {
    let name = format!("| {} | {} ", figures.workload, figures.system);
    if let Some(error) = &figures.error {
        return format!("{name}| {error} |||||||\n");
    }
    let times = |times: Option<Times>| {
        times.map_or(String::from("–"), |Times { p50, p95, p99 }| {
            format!("{p50:.1} / {p95:.1} / {p99:.1}")
        })
    };
    let exact = match (figures.exact_after_ms, figures.psnr_db) {
        (Some(ms), _) => format!("{ms:.0}"),
        (None, Some(psnr)) => format!("never ({psnr:.1} dB)"),
        (None, None) => String::from("–"),
    };
    let film = figures.film.map_or(String::from("–"), |film| {
        film.psnr_db
            .map_or(String::from("exact"), |psnr| format!("{psnr:.1}"))
    });
    let per_frame = figures.bytes_per_frame.map_or(String::from("–"), grouped);
    format!(
        "{name}| {} / {} | {} | {} | {} | {per_frame} | {exact} | {film} |\n",
        figures.seen,
        figures.asked,
        times(figures.input_ms),
        times(figures.late_ms),
        grouped(figures.bytes),
    )
}

fn costs<'a>(rows: impl Iterator<Item = &'a Figures>) -> String {
    let head = "| workload | system | server ms / frame | client ms / frame | server ms / s | \
         client ms / s | server RSS (private) MiB | client RSS (private) MiB |\n\
         |---|---|---|---|---|---|---|---|\n";
    let measured = rows.filter(|figures| figures.error.is_none());
    measured.fold(head.to_owned(), |text, figures| text + &costs_row(figures))
}

fn costs_row(figures: &Figures) -> String {
    let per_second = |ms: Option<f64>| ms.map_or(String::from("–"), |ms| format!("{ms:.1}"));
    format!(
        "| {} | {} | {} | {} | {} | {} | {:.0} ({:.0}) | {:.0} ({:.0}) |\n",
        figures.workload,
        figures.system,
        cost(figures.server_ms_per_frame, figures.server_ms),
        cost(figures.client_ms_per_frame, figures.client_ms),
        per_second(figures.server_ms_per_s),
        per_second(figures.client_ms_per_s),
        figures.server_rss_mib,
        figures.server_private_mib,
        figures.client_rss_mib,
        figures.client_private_mib,
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
    fn rows_have_as_many_columns_as_their_heads_and_failed_runs_have_no_costs() {
        let mut run = Figures::empty("heliostat", "loopback", "scroll");
        run.late_ms = Times::of((1..=200).map(f64::from).collect());
        (run.server_ms_per_s, run.client_rss_mib) = (Some(21.04), 37.6);
        run.client_private_mib = 21.5;
        let failed = Figures {
            error: Some("Xvnc is not installed".to_owned()),
            ..Figures::empty("tigervnc", "loopback", "scroll")
        };
        let pinned = Figures {
            pinned: Some(Pins {
                server: 2,
                client: 3,
            }),
            ..run.clone()
        };
        let text = tables(&[pinned]);
        let head = "loopback, the server on processor 2 and the client on processor 3\n";
        assert!(text.starts_with(head), "{text}");
        let text = tables(&[run, failed]);
        assert!(text.starts_with("loopback\n"), "{text}");
        let tables: Vec<Vec<&str>> = text
            .split("\n\n")
            .map(|part| part.lines().filter(|line| line.starts_with('|')).collect())
            .filter(|lines: &Vec<&str>| !lines.is_empty())
            .collect();
        let [seen, costs] = &tables[..] else {
            panic!("{text}");
        };
        for line in seen.iter().chain(costs) {
            let columns = if seen.contains(line) { 9 } else { 8 };
            assert_eq!(line.matches('|').count(), columns + 1, "{line}");
        }
        assert!(seen[2].contains("| 100.0 / 190.0 / 198.0 |"), "{}", seen[2]);
        assert!(seen[3].contains("Xvnc is not installed"), "{}", seen[3]);
        assert!(
            costs[2].contains("| 21.0 | – | 0 (0) | 38 (22) |"),
            "{}",
            costs[2]
        );
        assert_eq!(costs.len(), 3);
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234), "1 234");
        assert_eq!(grouped(123_456_789), "123 456 789");
    }
}
