//! Lengths of time as people write them, in the policy and on the command line alike.

use std::time::Duration;

/// How a time is written, for whoever has written one otherwise.
pub const EXAMPLES: &str = "90s, 15min, 8h, 30d or 1h30min";

/// The units that [`words`] says, the largest first, each with its seconds.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
/// Another word for minutes, which are meant by it everywhere else.
const MINUTES: &str = "m";

/// Reads `90s`, `15min` (or `15m`), `8h`, `30d`, `1h30min`, or `0`.
pub fn read(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            MINUTES => "min",
            unit => unit,
        };
        let (_, seconds) = UNITS.iter().find(|(word, _)| *word == unit)?;
        total = total.checked_add(number.checked_mul(*seconds)?)?;
        rest = rest[letters..].trim_start();
    }
    Some(Duration::from_secs(total))
}

/// The same way round: whole seconds as [`read`] takes them.
pub fn words(span: Duration) -> String {
    let mut left = span.as_secs();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut words = String::new();
    for (unit, seconds) in UNITS {
        if left >= seconds {
            words.push_str(&format!("{}{unit}", left / seconds));
            left %= seconds;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown_the_same_way() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("15min", 900),
            ("15m", 900),
            ("8h", 28_800),
            ("1h30min", 5400),
            ("1h 30m", 5400),
            ("30d", 2_592_000),
        ] {
            let span = read(text).unwrap();
            assert_eq!(span.as_secs(), seconds, "{text}");
            assert_eq!(read(&words(span)), Some(span), "{text}");
        }
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(words(Duration::from_secs(5400)), "1h30min");
        for wrong in [
            "",
            "15",
            "h",
            "15 minutes",
            "3w",
            "3ü",
            "-1s",
            "1.5h",
            "99999999999999999999h",
            "99999999999999999d99999999999999999d",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_example_is_taken() {
        for example in EXAMPLES.split([',', ' ']).filter(|word| !word.is_empty()) {
            assert_eq!(read(example).is_none(), example == "or", "{example}");
        }
    }
}
