//! A line of text that is typed; wiped when it is dropped.

use unicode_segmentation::UnicodeSegmentation;
use zeroize::Zeroizing;

/// Bytes of a line; what PAM takes at most.
pub const MAX_BYTES: usize = 511;
/// What stands for a letter that may not be seen.
const DOT: &str = "•";

/// See the module.
#[derive(Clone)]
pub struct Field {
    text: Zeroizing<String>,
    /// A byte of the text, between two letters.
    caret: usize,
}

impl Default for Field {
    fn default() -> Self {
        // A string that grew would leave what it held behind.
        Self {
            text: Zeroizing::new(String::with_capacity(MAX_BYTES)),
            caret: 0,
        }
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Field(…)")
    }
}

impl Field {
    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Text and caret as they may be shown.
    pub fn shown(&self, hidden: bool) -> (String, usize) {
        if !hidden {
            return (self.text.to_string(), self.caret);
        }
        let dots = |text: &str| DOT.repeat(text.graphemes(true).count());
        let before = dots(&self.text[..self.caret]);
        (dots(&self.text), before.len())
    }

    /// Types a text, as far as there is room for whole letters. Control characters are no text.
    pub fn insert(&mut self, text: &str) {
        for letter in text.graphemes(true) {
            let fits = self.text.len() + letter.len() <= MAX_BYTES;
            if fits && !letter.contains(char::is_control) {
                self.text.insert_str(self.caret, letter);
                self.caret += letter.len();
            }
        }
    }

    /// Puts another text in its place, with the caret behind it.
    pub fn replace(&mut self, text: &str) {
        self.clear();
        self.insert(text);
    }

    /// Takes everything away.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the letter before the caret away.
    pub fn backspace(&mut self) {
        let before = self.before();
        self.text.replace_range(before..self.caret, "");
        self.caret = before;
    }

    /// Takes the letter behind the caret away.
    pub fn delete(&mut self) {
        let after = self.after();
        self.text.replace_range(self.caret..after, "");
    }

    /// Moves the caret a letter back.
    pub fn back(&mut self) {
        self.caret = self.before();
    }

    /// Moves the caret a letter on.
    pub fn on(&mut self) {
        self.caret = self.after();
    }

    /// Moves the caret to the start.
    pub fn home(&mut self) {
        self.caret = 0;
    }

    /// Moves the caret to the end.
    pub fn end(&mut self) {
        self.caret = self.text.len();
    }

    fn before(&self) -> usize {
        let last = self.text[..self.caret].grapheme_indices(true).next_back();
        last.map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        let next = self.text[self.caret..].graphemes(true).next();
        self.caret + next.map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_of_several_characters_are_taken_away_whole() {
        let mut field = Field::default();
        field.insert("aé👩‍👩‍👧नि");
        assert_eq!(field.shown(true), ("••••".to_owned(), 12));
        field.backspace();
        field.backspace();
        assert_eq!(field.text(), "aé");
        field.home();
        field.delete();
        assert_eq!(field.text(), "é");
        field.on();
        field.on();
        field.insert("\u{7}x\n");
        assert_eq!(field.text(), "éx");
    }

    #[test]
    fn a_field_has_room_for_what_pam_takes_and_never_moves() {
        let mut field = Field::default();
        let place = field.text().as_ptr();
        for _ in 0..400 {
            field.insert("語");
        }
        assert_eq!(field.text().len(), 510);
        field.insert("xy");
        assert_eq!(field.text().len(), MAX_BYTES);
        assert_eq!(field.text().as_ptr(), place);
    }

    proptest! {
        #[test]
        fn the_caret_stays_between_letters(
            steps in proptest::collection::vec((0u8..7, ".{0,3}"), 0..50),
        ) {
            let mut field = Field::default();
            for (step, text) in steps {
                match step {
                    0 => field.insert(&text),
                    1 => field.backspace(),
                    2 => field.delete(),
                    3 => field.back(),
                    4 => field.on(),
                    5 => field.home(),
                    _ => field.end(),
                }
                let _ = field.shown(true);
                prop_assert!(field.text().is_char_boundary(field.shown(false).1));
            }
        }
    }
}
