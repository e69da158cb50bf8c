//! The hardware database: udev's `hwdb.d` texts compiled to the `hwdb.bin` that its rules look things up in.
//!
//! A package carries only the texts; its maintainer script compiles all of them, 10 MB of names for PCI and USB
//! devices among them. A terminal needs those few that correct keyboards, mice and touchpads.
//!
//! The file is a radix tree over match patterns: a header, then for each node its record, its children sorted by
//! byte, and its properties sorted by key, and at the end all strings, each ended by a NUL. Offsets count from the
//! file's start.

use std::collections::{BTreeMap, HashMap};

const SIGNATURE: &[u8; 8] = b"KSLPHHRH";
/// Read by nobody; says which tool's layout this is.
const TOOL_VERSION: u64 = 252;
const HEADER_SIZE: u64 = 80;
const NODE_SIZE: u64 = 24;
const CHILD_SIZE: u64 = 16;
const VALUE_SIZE: u64 = 16;

/// A text that is not a hardware database.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {what}")]
pub struct Error {
    file: String,
    line: usize,
    what: &'static str,
}

/// One node: the bytes that lead to it from its parent's child, its properties, its children by their first byte.
#[derive(Debug, Default)]
struct Node {
    prefix: Vec<u8>,
    values: BTreeMap<String, String>,
    children: BTreeMap<u8, Node>,
}

/// Compiles texts, given in the order of their names; a later property replaces an earlier one.
pub fn compile(texts: &[(String, String)]) -> Result<Vec<u8>, Error> {
    let mut root = Node::default();
    for (file, text) in texts {
        read(file, text, |pattern, key, value| {
            root.insert(pattern.as_bytes(), key, value)
        })?;
    }
    Ok(Writer::write(&root))
}

/// Reads records: lines with patterns, then lines that start with a space and hold properties, then an empty line.
fn read(file: &str, text: &str, mut insert: impl FnMut(&str, &str, &str)) -> Result<(), Error> {
    let mut patterns: Vec<&str> = Vec::new();
    let mut in_properties = false;
    for (index, line) in text.lines().enumerate() {
        let error = |what| {
            Err(Error {
                file: file.to_owned(),
                line: index + 1,
                what,
            })
        };
        if line.starts_with('#') {
            continue;
        }
        let content = line.split('#').next().unwrap_or_default().trim_end();
        if content.is_empty() {
            patterns.clear();
            in_properties = false;
        } else if let Some(property) = content.strip_prefix(' ') {
            let Some((key, value)) = property.trim_start().split_once('=') else {
                return error("expected KEY=VALUE");
            };
            if patterns.is_empty() {
                return error("a property without a pattern above it");
            }
            in_properties = true;
            patterns
                .iter()
                .for_each(|pattern| insert(pattern, key, value));
        } else if in_properties {
            return error("expected an empty line before the next pattern");
        } else {
            patterns.push(content);
        }
    }
    Ok(())
}

impl Node {
    fn insert(&mut self, pattern: &[u8], key: &str, value: &str) {
        let common = self
            .prefix
            .iter()
            .zip(pattern)
            .take_while(|(a, b)| a == b)
            .count();
        if common < self.prefix.len() {
            self.split(common);
        }
        match pattern[common..] {
            [] => drop(self.values.insert(format!(" {key}"), value.to_owned())),
            [byte, ref rest @ ..] => {
                let new = || Node {
                    prefix: rest.to_vec(),
                    ..Node::default()
                };
                self.children
                    .entry(byte)
                    .or_insert_with(new)
                    .insert(rest, key, value);
            }
        }
    }

    /// Cuts the prefix at `at`; what was here becomes the only child of what is here now.
    fn split(&mut self, at: usize) {
        let rest = self.prefix.split_off(at);
        let lower = Node {
            prefix: rest[1..].to_vec(),
            values: std::mem::take(&mut self.values),
            children: std::mem::take(&mut self.children),
        };
        self.children.insert(rest[0], lower);
    }

    fn size(&self) -> u64 {
        let own = NODE_SIZE
            + self.children.len() as u64 * CHILD_SIZE
            + self.values.len() as u64 * VALUE_SIZE;
        own + self.children.values().map(Node::size).sum::<u64>()
    }
}

struct Writer {
    nodes: Vec<u8>,
    strings: Vec<u8>,
    strings_offset: u64,
    known: HashMap<Vec<u8>, u64>,
}

impl Writer {
    fn write(root: &Node) -> Vec<u8> {
        let nodes_len = root.size();
        let strings_offset = HEADER_SIZE + nodes_len;
        let mut writer = Writer {
            nodes: Vec::new(),
            strings: Vec::new(),
            strings_offset,
            known: HashMap::new(),
        };
        let root_offset = writer.node(root);
        let strings_len = writer.strings.len() as u64;
        let mut out = SIGNATURE.to_vec();
        let sizes = [HEADER_SIZE, NODE_SIZE, CHILD_SIZE, VALUE_SIZE];
        let head = [TOOL_VERSION, strings_offset + strings_len];
        for value in head
            .into_iter()
            .chain(sizes)
            .chain([root_offset, nodes_len, strings_len])
        {
            out.extend(value.to_le_bytes());
        }
        out.extend(writer.nodes);
        out.extend(writer.strings);
        out
    }

    /// Writes the children first, since a node holds their offsets; returns the node's own.
    fn node(&mut self, node: &Node) -> u64 {
        let children: Vec<(u8, u64)> = node
            .children
            .iter()
            .map(|(byte, child)| (*byte, self.node(child)))
            .collect();
        let prefix = self.string(&node.prefix);
        let values: Vec<(u64, u64)> = node
            .values
            .iter()
            .map(|(k, v)| (self.string(k.as_bytes()), self.string(v.as_bytes())))
            .collect();
        let offset = HEADER_SIZE + self.nodes.len() as u64;
        self.put(prefix);
        self.put(children.len() as u64);
        self.put(values.len() as u64);
        for (byte, child) in children {
            self.put(u64::from(byte));
            self.put(child);
        }
        for (key, value) in values {
            self.put(key);
            self.put(value);
        }
        offset
    }

    fn put(&mut self, value: u64) {
        self.nodes.extend(value.to_le_bytes());
    }

    fn string(&mut self, bytes: &[u8]) -> u64 {
        if let Some(offset) = self.known.get(bytes) {
            return *offset;
        }
        let offset = self.strings_offset + self.strings.len() as u64;
        self.strings.extend_from_slice(bytes);
        self.strings.push(0);
        self.known.insert(bytes.to_vec(), offset);
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\n\nmouse:usb:v046d*:\nmouse:usb:v046dp1:\n MOUSE_DPI=800@125 # why\n X=1\n\nmouse:usb:v0*:\n Y=2\n";

    fn compiled(text: &str) -> Vec<u8> {
        compile(&[("t.hwdb".into(), text.into())]).unwrap()
    }

    fn number(bin: &[u8], at: u64) -> u64 {
        u64::from_le_bytes(bin[at as usize..][..8].try_into().unwrap())
    }

    fn string(bin: &[u8], at: u64) -> &str {
        let rest = &bin[at as usize..];
        std::str::from_utf8(&rest[..rest.iter().position(|b| *b == 0).unwrap()]).unwrap()
    }

    /// Walks the file as its format says and lists every pattern with its properties.
    fn list(bin: &[u8]) -> Vec<String> {
        fn walk(bin: &[u8], at: u64, path: &str, found: &mut Vec<String>) {
            let path = format!("{path}{}", string(bin, number(bin, at)));
            let (children, values) = (number(bin, at + 8), number(bin, at + 16));
            let values_at = at + NODE_SIZE + children * CHILD_SIZE;
            for value in (0..values).map(|n| values_at + n * VALUE_SIZE) {
                found.push(format!(
                    "{path}{}={}",
                    string(bin, number(bin, value)),
                    string(bin, number(bin, value + 8))
                ));
            }
            let bytes: Vec<u8> = (0..children)
                .map(|n| bin[(at + NODE_SIZE + n * CHILD_SIZE) as usize])
                .collect();
            assert!(bytes.is_sorted(), "children are searched by halves");
            for child in (0..children).map(|n| at + NODE_SIZE + n * CHILD_SIZE) {
                walk(
                    bin,
                    number(bin, child + 8),
                    &format!("{path}{}", number(bin, child) as u8 as char),
                    found,
                );
            }
        }
        let mut found = Vec::new();
        walk(bin, number(bin, 56), "", &mut found);
        found.sort();
        found
    }

    #[test]
    fn every_pattern_is_found_with_its_properties() {
        let expected = [
            "mouse:usb:v046d*: MOUSE_DPI=800@125",
            "mouse:usb:v046d*: X=1",
            "mouse:usb:v046dp1: MOUSE_DPI=800@125",
            "mouse:usb:v046dp1: X=1",
            "mouse:usb:v0*: Y=2",
        ];
        let mut expected = expected.map(str::to_owned);
        expected.sort();
        assert_eq!(list(&compiled(TEXT)), expected);
    }

    #[test]
    fn the_header_tells_the_truth() {
        let bin = compiled(TEXT);
        assert_eq!(&bin[..8], SIGNATURE);
        assert_eq!(number(&bin, 16), bin.len() as u64);
        assert_eq!(
            number(&bin, 24) + number(&bin, 64) + number(&bin, 72),
            bin.len() as u64
        );
    }

    #[test]
    fn a_later_text_replaces_a_property() {
        let texts = [
            ("a".to_owned(), "x\n K=1\n".to_owned()),
            ("b".to_owned(), "x\n K=2\n".to_owned()),
        ];
        assert_eq!(list(&compile(&texts).unwrap()), ["x K=2"]);
    }

    #[test]
    fn a_malformed_text_is_refused_with_its_line() {
        let refused = |text: &str| {
            compile(&[("t.hwdb".into(), text.into())])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(refused("x\n K\n"), "t.hwdb:2: expected KEY=VALUE");
        assert_eq!(
            refused("\n K=1\n"),
            "t.hwdb:2: a property without a pattern above it"
        );
        assert_eq!(
            refused("x\n K=1\ny\n"),
            "t.hwdb:3: expected an empty line before the next pattern"
        );
    }
}
