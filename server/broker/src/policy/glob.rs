//! Patterns in which `*` stands for anything.

use std::fmt;

/// A pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    written: String,
    /// The same in small letters.
    small: String,
}

impl Glob {
    /// The pattern of a word.
    pub fn new(word: &str) -> Self {
        Self {
            written: word.to_owned(),
            small: word.to_ascii_lowercase(),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The word that it is, where it is no more than that.
    pub fn word(&self) -> Option<&str> {
        (!self.written.contains('*')).then_some(&self.written)
    }

    /// Whether `text` is of this form, letters as they are.
    pub fn matches(&self, text: &str) -> bool {
        fits(&self.written, text)
    }

    /// Whether an id is of this form, whose digits are hexadecimal and mean the same in letters of
    /// either size. It is given in small ones.
    pub fn matches_id(&self, id: &str) -> bool {
        fits(&self.small, id)
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        // Each piece at its first place leaves the most for those behind it; the last one must stand
        // at the end.
        if let Some(piece) = last.replace(piece) {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
    }
    match last {
        None => rest.is_empty(),
        Some(last) => rest.ends_with(last),
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, fits) in [
            ("alice", "alice", true),
            ("alice", "alices", false),
            ("*", "", true),
            ("*", "anything", true),
            ("ward-*", "ward-3", true),
            ("ward-*", "warden", false),
            ("*-3", "ward-3", true),
            ("52:*:01", "52:54:00:01", true),
            ("a*a", "a", false),
            ("a*b*a", "ababa", true),
            ("*b*b*", "abc", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), fits, "{pattern} {text}");
        }
    }

    /// The plain way: each star is tried with each length.
    fn slow(pattern: &str, text: &str) -> bool {
        match pattern.chars().next() {
            None => text.is_empty(),
            Some('*') => {
                let rest = &pattern[1..];
                text.char_indices().any(|(at, _)| slow(rest, &text[at..])) || slow(rest, "")
            }
            Some(letter) => text
                .strip_prefix(letter)
                .is_some_and(|text| slow(&pattern[letter.len_utf8()..], text)),
        }
    }

    proptest! {
        #[test]
        fn matches_as_the_plain_way_does(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), slow(&pattern, &text));
        }
    }
}
