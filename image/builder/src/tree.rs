//! A file tree in memory, each node with the package it came from.
//!
//! Paths are relative (`usr/bin/x`) and canonical: the distribution's split between `/lib` and `/usr/lib` is
//! gone, since the image has `lib -> usr/lib` and its siblings.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it came from.
    pub package: String,
}

/// What a node is; modes are permission bits only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir {
        /// Permissions.
        mode: u32,
    },
    /// A file; the content is shared with the package it came from.
    File {
        /// Content.
        data: Arc<Vec<u8>>,
        /// Permissions.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// As it stands in the link: absolute or relative to its directory.
        target: String,
    },
    /// A character device.
    CharDevice {
        /// Permissions.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// Two contents for one path, or a path that leaves the tree.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Two packages want different things at one path.
    #[error("{path} comes from {first} and, different, from {second}")]
    Conflict {
        /// The path.
        path: String,
        /// Who had it first.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// `..` beyond the root, or nothing at all.
    #[error("{0:?} is not a path inside the image")]
    Path(String),
}

/// A file tree.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Adds a node and the directories above it; the same node twice is one node.
    pub fn insert(&mut self, path: &str, kind: Kind, package: &str) -> Result<(), Error> {
        let path = canonical(path).ok_or_else(|| Error::Path(path.to_owned()))?;
        self.parents(&path, package);
        match self.nodes.get(&path) {
            None => {
                self.nodes.insert(
                    path,
                    Node {
                        kind,
                        package: package.to_owned(),
                    },
                );
                Ok(())
            }
            Some(node) if node.kind == kind || both_dirs(&node.kind, &kind) => Ok(()),
            Some(node) => Err(Error::Conflict {
                path,
                first: node.package.clone(),
                second: package.to_owned(),
            }),
        }
    }

    /// Adds a directory with the usual permissions.
    pub fn dir(&mut self, path: &str, package: &str) -> Result<(), Error> {
        self.insert(path, Kind::Dir { mode: 0o755 }, package)
    }

    /// Adds a file.
    pub fn file(
        &mut self,
        path: &str,
        data: Vec<u8>,
        mode: u32,
        package: &str,
    ) -> Result<(), Error> {
        self.insert(
            path,
            Kind::File {
                data: Arc::new(data),
                mode,
            },
            package,
        )
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str, package: &str) -> Result<(), Error> {
        self.insert(
            path,
            Kind::Symlink {
                target: target.to_owned(),
            },
            package,
        )
    }

    /// Adds a character device.
    pub fn device(
        &mut self,
        path: &str,
        mode: u32,
        major: u32,
        minor: u32,
        package: &str,
    ) -> Result<(), Error> {
        self.insert(path, Kind::CharDevice { mode, major, minor }, package)
    }

    /// Adds a link at the very top such as `lib -> usr/lib`, which [`canonical`] would otherwise rewrite away.
    pub fn top_link(&mut self, name: &str, target: &str, package: &str) {
        let kind = Kind::Symlink {
            target: target.to_owned(),
        };
        self.nodes.insert(
            name.to_owned(),
            Node {
                kind,
                package: package.to_owned(),
            },
        );
    }

    /// The node at a canonical path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// All nodes, sorted by path, so that a directory comes before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True when there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The size of all files together in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.nodes.values().map(Node::bytes).sum()
    }

    fn parents(&mut self, path: &str, package: &str) {
        for (slash, _) in path.match_indices('/') {
            let node = || Node {
                kind: Kind::Dir { mode: 0o755 },
                package: package.to_owned(),
            };
            self.nodes
                .entry(path[..slash].to_owned())
                .or_insert_with(node);
        }
    }
}

impl Node {
    /// The size of a file's content, 0 for everything else.
    pub fn bytes(&self) -> u64 {
        match &self.kind {
            Kind::File { data, .. } => data.len() as u64,
            Kind::Dir { .. } | Kind::Symlink { .. } | Kind::CharDevice { .. } => 0,
        }
    }
}

fn both_dirs(a: &Kind, b: &Kind) -> bool {
    matches!((a, b), (Kind::Dir { .. }, Kind::Dir { .. }))
}

/// The canonical form of a path: no leading `/` or `./`, `.` and `..` resolved, `lib/x` as `usr/lib/x`.
///
/// `None` for a path that leaves the root, or is the root.
pub fn canonical(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    let merged = matches!(
        parts.first(),
        Some(&("bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32"))
    );
    match (parts.is_empty(), merged) {
        (true, _) => None,
        (_, true) => Some(format!("usr/{}", parts.join("/"))),
        (_, false) => Some(parts.join("/")),
    }
}

/// Where a link at the canonical path `link` with this target leads.
pub fn follow(link: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return canonical(target);
    }
    match link.rsplit_once('/') {
        Some((dir, _)) => canonical(&format!("{dir}/{target}")),
        None => canonical(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (path, expected) in [
            ("./lib/x", Some("usr/lib/x")),
            ("/usr/lib/x", Some("usr/lib/x")),
            ("lib64/ld.so", Some("usr/lib64/ld.so")),
            ("library/x", Some("library/x")),
            ("a/./b/../c", Some("a/c")),
            ("../x", None),
            ("a/../..", None),
            ("./", None),
        ] {
            assert_eq!(canonical(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn links_are_followed_across_the_merged_directories() {
        assert_eq!(
            follow("usr/lib64/ld.so", "/lib/x/ld.so").unwrap(),
            "usr/lib/x/ld.so"
        );
        assert_eq!(follow("usr/lib/a/b.so", "../c.so").unwrap(), "usr/lib/c.so");
        assert_eq!(follow("init", "usr/bin/t").unwrap(), "usr/bin/t");
    }

    #[test]
    fn two_packages_may_not_disagree_about_a_file() {
        let mut tree = Tree::default();
        tree.file("etc/a", vec![1], 0o644, "one").unwrap();
        tree.file("/etc/a", vec![1], 0o644, "two").unwrap();
        let error = tree.file("etc/a", vec![2], 0o644, "two").unwrap_err();
        assert_eq!(
            error.to_string(),
            "etc/a comes from one and, different, from two"
        );
    }
}
