//! Firmware: the files that the chosen modules say they may ask for, out of whatever packages the machine's apt has.

use std::collections::BTreeSet;

use anyhow::Result;
use globset::GlobBuilder;

use crate::closure::copy;
use crate::deb::Deb;
use crate::modules::Module;
use crate::tree::{Kind, Tree};

/// What came of a search for firmware.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Files that were copied.
    pub present: usize,
    /// Names that no package holds.
    pub absent: usize,
}

/// Copies the firmware that the modules name out of the packages into the tree.
pub fn copy_for<'a>(
    tree: &mut Tree,
    modules: impl Iterator<Item = &'a Module>,
    packages: &[Deb],
) -> Result<Found> {
    let names: BTreeSet<&String> = modules.flat_map(|m| &m.info.firmware).collect();
    let mut found = Found::default();
    for name in names {
        let copied = copy_name(tree, name, packages)?;
        found.present += copied;
        found.absent += usize::from(copied == 0);
    }
    Ok(found)
}

fn copy_name(tree: &mut Tree, name: &str, packages: &[Deb]) -> Result<usize> {
    let pattern = format!("usr/lib/firmware/{name}");
    let Ok(glob) = GlobBuilder::new(&pattern).literal_separator(true).build() else {
        return Ok(0);
    };
    let glob = glob.compile_matcher();
    for deb in packages {
        let is_data = |kind: &Kind| matches!(kind, Kind::File { .. } | Kind::Symlink { .. });
        let paths: Vec<&String> = deb
            .nodes
            .iter()
            .filter(|(p, k)| is_data(k) && glob.is_match(p))
            .map(|(p, _)| p)
            .collect();
        for path in &paths {
            copy(tree, deb, path)?;
        }
        if !paths.is_empty() {
            return Ok(paths.len());
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Info;
    use std::sync::Arc;

    #[test]
    fn named_files_patterns_and_links_are_copied_and_the_rest_counted() {
        let file = |text: &str| Kind::File {
            data: Arc::new(text.as_bytes().to_vec()),
            mode: 0o644,
        };
        let link = |target: &str| Kind::Symlink {
            target: target.into(),
        };
        let nodes = [
            ("usr/lib/firmware/v/a.bin", file("a")),
            ("usr/lib/firmware/v/b.bin", link("c/real.bin")),
            ("usr/lib/firmware/v/c/real.bin", file("c")),
            ("usr/lib/firmware/other.bin", file("no")),
        ];
        let nodes = nodes.into_iter().map(|(p, k)| (p.to_owned(), k)).collect();
        let deb = Deb {
            name: "fw".into(),
            nodes,
            ..Deb::default()
        };
        let firmware = vec!["v/*.bin".to_owned(), "gone.bin".to_owned()];
        let info = Info {
            firmware,
            ..Info::default()
        };
        let module = Module {
            name: "m".into(),
            path: "m.ko".into(),
            data: Arc::default(),
            info,
        };

        let mut tree = Tree::default();
        let found = copy_for(&mut tree, [&module].into_iter(), &[deb]).unwrap();
        assert_eq!(
            found,
            Found {
                present: 2,
                absent: 1
            }
        );
        assert!(tree.get("usr/lib/firmware/v/c/real.bin").is_some());
        assert!(tree.get("usr/lib/firmware/other.bin").is_none());
    }
}
