//! Text as keys of a US keyboard, under QEMU's names.

/// The key for a character and whether Shift is held; nothing for what has no key.
pub fn key_of(c: char) -> Option<(&'static str, bool)> {
    const LETTERS: [&str; 26] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t", "u", "v", "w", "x", "y", "z",
    ];
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    const SHIFTED_DIGITS: &str = ")!@#$%^&*(";
    const OTHERS: [(&str, char, char); 11] = [
        ("minus", '-', '_'),
        ("equal", '=', '+'),
        ("bracket_left", '[', '{'),
        ("bracket_right", ']', '}'),
        ("backslash", '\\', '|'),
        ("semicolon", ';', ':'),
        ("apostrophe", '\'', '"'),
        ("grave_accent", '`', '~'),
        ("comma", ',', '<'),
        ("dot", '.', '>'),
        ("slash", '/', '?'),
    ];
    match c {
        'a'..='z' => Some((LETTERS[c as usize - 'a' as usize], false)),
        'A'..='Z' => Some((LETTERS[c as usize - 'A' as usize], true)),
        '0'..='9' => Some((DIGITS[c as usize - '0' as usize], false)),
        ' ' => Some(("spc", false)),
        '\n' => Some(("ret", false)),
        '\t' => Some(("tab", false)),
        _ => SHIFTED_DIGITS
            .find(c)
            .map(|at| (DIGITS[at], true))
            .or_else(|| {
                OTHERS
                    .iter()
                    .find(|(_, a, b)| c == *a || c == *b)
                    .map(|(n, a, _)| (*n, c != *a))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_character_has_a_key() {
        for c in (' '..='~').chain(['\n', '\t']) {
            assert!(key_of(c).is_some(), "{c:?}");
        }
        assert_eq!(key_of('!'), Some(("1", true)));
        assert_eq!(key_of('"'), Some(("apostrophe", true)));
        assert_eq!(key_of('é'), None);
    }
}
