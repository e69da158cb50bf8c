//! modules.alias: shell patterns of the devices each module serves. Pure.

use std::collections::HashMap;

use super::dep::normalise;

/// Longest pattern or device name looked at; the kernel's own are under 300 bytes.
const MAX_LEN: usize = 1024;

/// The patterns of modules.alias, by the bus before their first colon.
#[derive(Debug, Default)]
pub struct AliasIndex {
    by_bus: HashMap<String, Vec<(String, String)>>,
}

impl AliasIndex {
    /// Reads the text of modules.alias; lines of another shape are ignored.
    pub fn parse(text: &str) -> AliasIndex {
        let mut index = AliasIndex::default();
        for line in text.lines().filter(|line| line.len() <= MAX_LEN) {
            let mut words = line.split_ascii_whitespace();
            if let (Some("alias"), Some(pattern), Some(module), None) =
                (words.next(), words.next(), words.next(), words.next())
            {
                index.add(pattern, module);
            }
        }
        index
    }

    fn add(&mut self, pattern: &str, module: &str) {
        let bus = bus_of(pattern).to_owned();
        let entry = (pattern.to_owned(), normalise(module));
        self.by_bus.entry(bus).or_default().push(entry);
    }

    /// The modules that serve the device called `modalias`, in the order of the file, each once.
    pub fn modules_for(&self, modalias: &str) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        if modalias.len() > MAX_LEN {
            return found;
        }
        for (pattern, module) in self.by_bus.get(bus_of(modalias)).into_iter().flatten() {
            if !found.contains(&module.as_str()) && matches(pattern, modalias) {
                found.push(module);
            }
        }
        found
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.by_bus.values().map(Vec::len).sum()
    }

    /// True when there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.by_bus.is_empty()
    }
}

/// The part that a pattern and a device name have to share letter by letter: up to the first
/// colon, where no kernel pattern has a wildcard. `acpi*:` is the exception and is kept as `acpi`.
fn bus_of(name: &str) -> &str {
    name.split([':', '*', '?', '[']).next().unwrap_or(name)
}

/// Shell pattern matching as the kernel's tools do it: `*`, `?`, `[a-z]`, `[!a]`; everything else
/// stands for itself. Takes time in proportion to the product of the lengths at most.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut pos) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, pos));
            at += 1;
            continue;
        }
        if at == pattern.len() && pos == name.len() {
            return true;
        }
        let step = name
            .get(pos)
            .and_then(|byte| match_one(&pattern[at..], *byte));
        match (step, star) {
            (Some(len), _) => (at, pos) = (at + len, pos + 1),
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                (at, pos) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte against the head of `pattern`; the length of that head when it does.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match_class(pattern, byte),
        letter => (letter == byte).then_some(1),
    }
}

fn match_class(pattern: &[u8], byte: u8) -> Option<usize> {
    let close = 2 + pattern
        .get(2..)?
        .iter()
        .position(|letter| *letter == b']')?;
    let negated = matches!(pattern[1], b'!' | b'^');
    let mut class = &pattern[if negated { 2 } else { 1 }..close];
    let mut found = false;
    while let Some(&low) = class.first() {
        let high = match class {
            [_, b'-', high, ..] => *high,
            _ => low,
        };
        found |= (low..=high).contains(&byte);
        class = &class[if class.len() >= 3 && class[1] == b'-' {
            3
        } else {
            1
        }..];
    }
    (found != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
# Aliases extracted from modules themselves.
alias virtio:d00000010v* virtio_gpu
alias virtio:d00000001v* virtio_net
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio-pci
alias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci
alias acpi*:PNP0C0C:* button
alias usb:v*p*d*dc*dsc*dp*ic03isc*ip*in* usbhid
alias hid:b0003g[!b]*v*p* odd
alias only-two
alias three words too many
";

    #[test]
    fn devices_find_their_modules() {
        let index = AliasIndex::parse(TEXT);
        assert_eq!(index.len(), 7);
        let gpu = "pci:v00001AF4d00001050sv00001AF4sd00001100bc03sc80i00";
        assert_eq!(index.modules_for(gpu), ["virtio_pci"]);
        assert_eq!(
            index.modules_for("virtio:d00000010v00001AF4"),
            ["virtio_gpu"]
        );
        let xhci = "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30";
        assert_eq!(index.modules_for(xhci), ["xhci_pci"]);
        assert_eq!(index.modules_for("acpi:PNP0C0C:"), ["button"]);
        let keyboard = "usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip01in00";
        assert_eq!(index.modules_for(keyboard), ["usbhid"]);
        assert!(index.modules_for("hid:b0003gb001v1p1").is_empty());
        assert_eq!(index.modules_for("hid:b0003g0001v1p1"), ["odd"]);
        assert!(index.modules_for("serio:ty06pr00id00ex00").is_empty());
    }

    #[test]
    fn many_stars_take_no_for_ever() {
        let pattern = "a*".repeat(400);
        assert!(!matches(&format!("{pattern}c"), &"a".repeat(1000)));
        assert!(matches(&pattern, &"a".repeat(1000)));
    }

    /// The same question put as plainly as possible, slow.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| plainly(rest, &name[skip..])),
            Some((b'?', rest)) => !name.is_empty() && plainly(rest, &name[1..]),
            Some((letter, rest)) => name.first() == Some(letter) && plainly(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn stars_match_what_they_plainly_should(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &name), plainly(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(alias )?\\PC{0,60}", name in "\\PC{0,60}") {
            AliasIndex::parse(&text).modules_for(&name);
            matches(&text, &name);
        }

        #[test]
        fn brackets_never_panic(pattern in "[a\\[\\]!^*-]{0,12}", name in "[a\\]-]{0,6}") {
            matches(&pattern, &name);
        }
    }
}
