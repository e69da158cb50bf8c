//! A round for people.

use super::rates::{Line, Round};
use crate::show::milliseconds;
use crate::table::Table;
use crate::time::{span, utc};

/// What was said longer ago is not how the session is now.
const SILENT_MS: u64 = 3000;

/// The totals in one line, and a table below.
pub fn text(round: &Round) -> String {
    let totals = &round.totals;
    let head = format!(
        "{}, {} utc: {}, {}, {} attached; {:.1} frames/s, {} out\n\n",
        plain(&round.site),
        utc(round.at_s),
        count(totals.terminals_online.into(), "terminal", " online"),
        count(totals.sessions.into(), "session", ""),
        totals.attached,
        totals.fps,
        bytes_per_second(totals.sent_bytes_per_s),
    );
    let mut table = Table::new(&[
        "person",
        "terminal",
        "fps",
        "out",
        "encode p50, p99",
        "rtt",
        "in flight",
        "mended",
        "input to photon p50, p99",
        "state",
    ]);
    for line in &round.sessions {
        table.row([
            plain(&line.person),
            plain(line.terminal.as_deref().unwrap_or_default()),
            shown(line.fps, |fps| format!("{fps:.1}")),
            shown(line.sent_bytes_per_s, bytes_per_second),
            both(line.encode_p50_us, line.encode_p99_us),
            shown(line.rtt_us, milliseconds),
            shown(line.frames_in_flight, |frames| frames.to_string()),
            shown(line.tiles_mended, |tiles| tiles.to_string()),
            both(line.input_to_photon_p50_us, line.input_to_photon_p99_us),
            state(line),
        ]);
    }
    head + &table.render("no sessions")
}

/// Whether the terminal holds the newest pixels, or why that is not known.
fn state(line: &Line) -> String {
    if line.state != "running" {
        return line.state.clone();
    }
    if let Some(age_ms) = line.stats_age_ms.filter(|age_ms| *age_ms > SILENT_MS) {
        return format!("silent for {}", span(age_ms / 1000));
    }
    match (
        line.lossless_since_s,
        line.tiles_behind,
        line.frames_in_flight,
    ) {
        _ if line.terminal.is_none() => "no terminal".to_owned(),
        (Some(s), ..) => format!("lossless since {}", span(s)),
        (None, Some(tiles @ 1..), _) => {
            format!("{}{} behind", count(tiles, "tile", ""), of_layers(line))
        }
        (None, _, Some(frames @ 1..)) => format!("{} behind", count(frames.into(), "frame", "")),
        (None, Some(0), _) => "about to draw".to_owned(),
        // A session of an older version does not say.
        (None, None, _) => "attached".to_owned(),
    }
}

/// How many layers are behind, and for how long the first of them has been.
fn of_layers(line: &Line) -> String {
    let layers = line.layers_behind.filter(|layers| *layers > 0);
    let layers = shown(layers, |layers| {
        format!(" of {}", count(layers.into(), "layer", ""))
    });
    // What is behind for less is so in any animation.
    let long = line.behind_for_ms.filter(|ms| *ms >= 1000);
    layers + &shown(long, |ms| format!(", {},", span(ms / 1000)))
}

fn shown<T>(value: Option<T>, form: impl FnOnce(T) -> String) -> String {
    value.map(form).unwrap_or_default()
}

fn both(p50_us: Option<u32>, p99_us: Option<u32>) -> String {
    let both = p50_us.zip(p99_us);
    shown(both, |(p50, p99)| {
        format!("{}, {}", milliseconds(p50), milliseconds(p99))
    })
}

fn count(number: u64, thing: &str, more: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}{more}")
}

fn bytes_per_second(rate: f64) -> String {
    match rate {
        ..1e3 => format!("{rate:.0} B/s"),
        ..1e6 => format!("{:.1} kB/s", rate / 1e3),
        _ => format!("{:.1} MB/s", rate / 1e6),
    }
}

/// Terminals name themselves, and a name must not steer the screen that it is shown on.
fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::rates::tests::{row, sample};
    use super::*;

    #[test]
    fn a_round_is_a_line_of_totals_and_a_table() {
        let at = Instant::now();
        let before = sample(at, vec![row("a", 1000, 0, 0)]);
        let mut now = sample(
            at + Duration::from_secs(1),
            vec![row("a", 2000, 60, 1_234_567)],
        );
        now.rows[0].terminal = Some("de\x1b[2Jsk".to_owned());
        let text = text(&Round::new(Some(&before), &now));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "Test, 2026-11-21 04:31:08 utc: 2 terminals online, 1 session, 1 attached; \
             60.0 frames/s, 1.2 MB/s out"
        );
        assert!(lines[2].starts_with("PERSON "), "{text}");
        for cell in [
            "person of a",
            "de?[2Jsk",
            "60.0",
            "0.4 ms",
            "5 tiles of 2 layers, 3 s, behind",
        ] {
            assert!(lines[3].contains(cell), "{cell}: {text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn the_state_says_what_is_known() {
        let running = || Line {
            state: "running".to_owned(),
            terminal: Some("desk".to_owned()),
            ..Line::default()
        };
        assert_eq!(state(&running()), "attached");
        let lossless = Line {
            lossless_since_s: Some(12),
            tiles_behind: Some(0),
            ..running()
        };
        assert_eq!(state(&lossless), "lossless since 12 s");
        let silent = Line {
            stats_age_ms: Some(9000),
            ..lossless
        };
        assert_eq!(state(&silent), "silent for 9 s");
        let behind = Line {
            tiles_behind: Some(1),
            ..running()
        };
        assert_eq!(state(&behind), "1 tile behind");
        let in_one = Line {
            layers_behind: Some(1),
            behind_for_ms: Some(999),
            ..behind
        };
        assert_eq!(state(&in_one), "1 tile of 1 layer behind");
        let moved = Line {
            tiles_behind: Some(0),
            frames_in_flight: Some(2),
            ..running()
        };
        assert_eq!(state(&moved), "2 frames behind");
        let alone = Line {
            terminal: None,
            ..running()
        };
        assert_eq!(state(&alone), "no terminal");
        let starting = Line {
            state: "starting".to_owned(),
            ..running()
        };
        assert_eq!(state(&starting), "starting");
    }

    #[test]
    fn rates_are_shown_in_the_unit_that_fits() {
        assert_eq!(bytes_per_second(0.0), "0 B/s");
        assert_eq!(bytes_per_second(999.0), "999 B/s");
        assert_eq!(bytes_per_second(1500.0), "1.5 kB/s");
        assert_eq!(bytes_per_second(12_345_678.0), "12.3 MB/s");
    }
}
