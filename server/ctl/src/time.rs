//! Times as people write and read them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use heliostat_control::span;

/// Seconds since 1970.
pub fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// A length of time as people write it, in seconds.
pub fn parse_span(text: &str) -> anyhow::Result<u64> {
    match span::read(text) {
        Some(span) => Ok(span.as_secs()),
        None => bail!("{text:?} is not a time: write {}", span::EXAMPLES),
    }
}

/// How long ago, in one unit.
pub fn ago(then_s: u64, now_s: u64) -> String {
    match now_s.saturating_sub(then_s) {
        0..=1 => "now".to_owned(),
        s => format!("{} ago", span(s)),
    }
}

/// A span in one unit.
pub fn span(s: u64) -> String {
    match s {
        0..=119 => format!("{s} s"),
        120..=7199 => format!("{} min", s / 60),
        7200..=172_799 => format!("{} h", s / 3600),
        _ => format!("{} days", s / 86400),
    }
}

/// Date and time of day in UTC, as `2026-11-21 04:31:08`.
pub fn utc(s: u64) -> String {
    let (days, rest) = (s / 86400, s % 86400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Days since 1970 as year, month and day of the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_nonsense_is_refused_with_an_example() {
        assert_eq!(parse_span("90s").unwrap(), 90);
        assert_eq!(parse_span("15m").unwrap(), parse_span("15min").unwrap());
        assert_eq!(parse_span("3d").unwrap(), 259_200);
        for bad in ["", "h", "3", "3w", "-1h", "99999999999999999999d"] {
            let error = parse_span(bad).unwrap_err().to_string();
            assert!(error.contains("15min"), "{error}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(utc(1_795_235_468), "2026-11-21 04:31:08");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00");
    }

    #[test]
    fn spans_are_shown_in_the_unit_that_says_most() {
        assert_eq!(ago(100, 100), "now");
        assert_eq!(ago(0, 119), "119 s ago");
        assert_eq!(ago(0, 3600), "60 min ago");
        assert_eq!(ago(0, 200_000), "2 days ago");
    }
}
