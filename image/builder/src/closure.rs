//! The library closure: whatever the programs in a tree name is put into it, from the packages they depend on.
//!
//! A Debian package depends on the packages that hold its libraries, so a missing library is looked for in the
//! direct dependencies of the package whose file names it. Only when such a search needs a package is it fetched;
//! what the closure does not reach never comes into the image.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};

use crate::deb::Deb;
use crate::elf::{self, Dynamic};
use crate::tree::{Kind, Tree, canonical, follow};

/// Where the loader looks without being told, canonical; Debian's loader has the multiarch directories built in.
const LIBRARY_DIRS: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib"];

/// The owner's name of the terminal's own program.
pub const TERMINAL: &str = "terminal";

/// Packages in memory, by name.
pub type Pool = BTreeMap<String, Deb>;

/// A library that is not in the tree yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Missing {
    owner: String,
    file: String,
    library: String,
    directories: Vec<String>,
}

/// Puts every library that the tree's programs reach into the tree.
///
/// `terminal_packages` stand for the dependencies of the terminal's program; `fetch` gets packages by name.
pub fn close(
    tree: &mut Tree,
    pool: &mut Pool,
    terminal_packages: &[String],
    mut fetch: impl FnMut(&[String]) -> Result<Vec<Deb>>,
) -> Result<()> {
    loop {
        let missing = copy_known(tree, pool)?;
        if missing.is_empty() {
            return check_versions(tree);
        }
        let wanted = unfetched_dependencies(&missing, pool, terminal_packages);
        if wanted.is_empty() {
            bail!("{}", describe(&missing));
        }
        for deb in fetch(&wanted)? {
            pool.insert(deb.name.clone(), deb);
        }
    }
}

/// Copies a path out of a package into the tree, with the links on the way to it.
pub fn copy(tree: &mut Tree, deb: &Deb, path: &str) -> Result<()> {
    let mut path = path.to_owned();
    for _ in 0..8 {
        let kind = deb
            .nodes
            .get(&path)
            .with_context(|| format!("{} has no {path}", deb.name))?;
        tree.insert(&path, kind.clone(), &deb.name)?;
        let Kind::Symlink { target } = kind else {
            return Ok(());
        };
        match follow(&path, target) {
            Some(next) if deb.nodes.contains_key(&next) => path = next,
            _ => return Ok(()),
        }
    }
    bail!("{path} in {} is a link in circles", deb.name)
}

/// Copies from the pool until nothing more can be found there; returns what is still missing.
fn copy_known(tree: &mut Tree, pool: &Pool) -> Result<BTreeSet<Missing>> {
    loop {
        let missing = missing(tree)?;
        let mut copied = false;
        for miss in &missing {
            if let Some((deb, path)) = provider(miss, pool) {
                copy(tree, deb, &path)?;
                copied = true;
            }
        }
        if !copied {
            return Ok(missing);
        }
    }
}

fn provider<'a>(miss: &Missing, pool: &'a Pool) -> Option<(&'a Deb, String)> {
    let path_in = |deb: &Deb| {
        let path = |dir: &String| format!("{dir}/{}", miss.library);
        miss.directories
            .iter()
            .map(path)
            .find(|path| deb.file(path).is_some())
    };
    pool.values().find_map(|deb| Some((deb, path_in(deb)?)))
}

fn missing(tree: &Tree) -> Result<BTreeSet<Missing>> {
    let mut missing = BTreeSet::new();
    for (path, owner, dynamic) in programs(tree)? {
        let mut miss = |library: &str, directories: Vec<String>| {
            if !directories
                .iter()
                .any(|dir| tree.get(&format!("{dir}/{library}")).is_some())
            {
                let (owner, file, library) = (owner.clone(), path.clone(), library.to_owned());
                missing.insert(Missing {
                    owner,
                    file,
                    library,
                    directories,
                });
            }
        };
        for library in &dynamic.needed {
            miss(library, search_path(&path, &dynamic));
        }
        if let Some((dir, name)) = dynamic
            .interpreter
            .as_deref()
            .and_then(|i| i.rsplit_once('/'))
        {
            miss(name, vec![canonical(dir).context("a loader in the root")?]);
        }
    }
    Ok(missing)
}

fn programs(tree: &Tree) -> Result<Vec<(String, String, Dynamic)>> {
    let mut programs = Vec::new();
    for (path, node) in tree.iter() {
        let Kind::File { data, .. } = &node.kind else {
            continue;
        };
        if elf::is_elf(data) {
            let dynamic =
                elf::dynamic(data).with_context(|| format!("cannot read {path} as ELF"))?;
            programs.push((path.to_owned(), node.package.clone(), dynamic));
        }
    }
    Ok(programs)
}

fn search_path(file: &str, dynamic: &Dynamic) -> Vec<String> {
    let origin = file.rsplit_once('/').map_or("", |(dir, _)| dir);
    let expand =
        |p: &String| canonical(&p.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", origin));
    let own = dynamic.runpath.iter().filter_map(expand);
    own.chain(LIBRARY_DIRS.map(str::to_owned)).collect()
}

fn unfetched_dependencies(
    missing: &BTreeSet<Missing>,
    pool: &Pool,
    terminal_packages: &[String],
) -> Vec<String> {
    let mut wanted = BTreeSet::new();
    for miss in missing {
        let depends = match pool.get(&miss.owner) {
            Some(deb) => &deb.depends[..],
            None => terminal_packages,
        };
        // Libraries are in packages called lib…; the rest are tools that maintainer scripts want.
        wanted.extend(
            depends
                .iter()
                .filter(|d| d.starts_with("lib") && !pool.contains_key(*d))
                .cloned(),
        );
    }
    wanted.into_iter().collect()
}

fn describe(missing: &BTreeSet<Missing>) -> String {
    let sentence = |m: &Missing| match m.owner.as_str() {
        TERMINAL => format!(
            "the terminal needs {}; add its package to terminal.libraries in the profile",
            m.library
        ),
        owner => format!(
            "{} needs {}, which no dependency of the package {owner} holds",
            m.file, m.library
        ),
    };
    missing.iter().map(sentence).collect::<Vec<_>>().join("\n")
}

/// A program built on a newer system than the packages come from would load here and die at the terminal.
fn check_versions(tree: &Tree) -> Result<()> {
    let programs = programs(tree)?;
    let provided = |library: &str| -> Option<&BTreeSet<String>> {
        let dir = LIBRARY_DIRS
            .iter()
            .find(|dir| tree.get(&format!("{dir}/{library}")).is_some())?;
        let mut path = format!("{dir}/{library}");
        while let Kind::Symlink { target } = &tree.get(&path)?.kind {
            path = follow(&path, target)?;
        }
        programs
            .iter()
            .find(|(p, _, _)| *p == path)
            .map(|(_, _, d)| &d.provides)
    };
    for (path, owner, dynamic) in &programs {
        for (library, version) in &dynamic.requires {
            if provided(library).is_some_and(|versions| !versions.contains(version)) {
                bail!(
                    "{path} (from {owner}) wants {version} of {library}, and the package's {library} is older: \
                     build it on the release that the packages come from"
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// The smallest ELF with a dynamic section: one needed library and nothing else.
    fn elf_needing(library: &str) -> Vec<u8> {
        let mut strings = b"\0".to_vec();
        strings.extend_from_slice(library.as_bytes());
        strings.push(0);
        let (dynamic_at, strings_at) = (64 + 2 * 56, 64 + 2 * 56 + 4 * 16);
        let size = strings_at + strings.len();
        let mut elf = Vec::new();
        elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        elf.extend([3u16, 62].map(u16::to_le_bytes).concat());
        elf.extend(1u32.to_le_bytes());
        elf.extend([0u64, 64, 0].map(u64::to_le_bytes).concat());
        elf.extend(0u32.to_le_bytes());
        elf.extend([64u16, 56, 2, 64, 0, 0].map(u16::to_le_bytes).concat());
        for (kind, at, bytes) in [(1u32, 0usize, size), (2, dynamic_at, 64)] {
            elf.extend([kind, 6].map(u32::to_le_bytes).concat());
            elf.extend(
                [at, at, at, bytes, bytes, 8]
                    .map(|v| (v as u64).to_le_bytes())
                    .concat(),
            );
        }
        for (tag, value) in [
            (1u64, 1u64),
            (5, strings_at as u64),
            (10, strings.len() as u64),
            (0, 0),
        ] {
            elf.extend([tag, value].map(u64::to_le_bytes).concat());
        }
        elf.extend(strings);
        elf
    }

    fn file(data: Vec<u8>) -> Kind {
        Kind::File {
            data: Arc::new(data),
            mode: 0o755,
        }
    }

    fn deb(name: &str, depends: &[&str], nodes: &[(&str, Kind)]) -> Deb {
        let nodes = nodes
            .iter()
            .map(|(path, kind)| ((*path).to_owned(), kind.clone()))
            .collect();
        let depends = depends.iter().map(|d| (*d).to_owned()).collect();
        Deb {
            name: name.into(),
            depends,
            nodes,
            ..Deb::default()
        }
    }

    fn archive() -> Vec<Deb> {
        let link = |target: &str| Kind::Symlink {
            target: target.into(),
        };
        vec![
            deb(
                "tool",
                &["liba1", "adduser"],
                &[("usr/bin/tool", file(elf_needing("liba.so.1")))],
            ),
            deb(
                "liba1",
                &["libb2"],
                &[
                    ("usr/lib/x86_64-linux-gnu/liba.so.1", link("liba.so.1.2")),
                    (
                        "usr/lib/x86_64-linux-gnu/liba.so.1.2",
                        file(elf_needing("libb.so.2")),
                    ),
                    ("usr/share/doc/liba1/copyright", file(vec![])),
                ],
            ),
            deb(
                "libb2",
                &[],
                &[("usr/lib/libb.so.2", file(b"no ELF, needs nothing".to_vec()))],
            ),
        ]
    }

    fn run(terminal: &str, packages: &[&str]) -> (Result<()>, Tree, Vec<String>) {
        let archive = archive();
        let mut fetched = Vec::new();
        let mut tree = Tree::default();
        tree.insert("usr/bin/t", file(elf_needing(terminal)), TERMINAL)
            .unwrap();
        let packages: Vec<String> = packages.iter().map(|p| (*p).to_owned()).collect();
        let result = close(&mut tree, &mut Pool::new(), &packages, |names| {
            fetched.extend(names.to_vec());
            Ok(archive
                .iter()
                .filter(|d| names.contains(&d.name))
                .cloned()
                .collect())
        });
        (result, tree, fetched)
    }

    #[test]
    fn libraries_of_libraries_come_in_with_their_links_and_nothing_else() {
        let (result, tree, fetched) = run("liba.so.1", &["liba1"]);
        result.unwrap();
        assert_eq!(fetched, ["liba1", "libb2"]);
        let files: Vec<&str> = tree
            .iter()
            .filter(|(_, n)| !matches!(n.kind, Kind::Dir { .. }))
            .map(|(p, _)| p)
            .collect();
        let lib = "usr/lib/x86_64-linux-gnu";
        let expected = [
            "usr/bin/t",
            "usr/lib/libb.so.2",
            &format!("{lib}/liba.so.1"),
            &format!("{lib}/liba.so.1.2"),
        ];
        assert_eq!(files, expected);
    }

    #[test]
    fn a_library_that_nobody_holds_is_named_with_who_wants_it() {
        let (result, _, _) = run("libnowhere.so.9", &["liba1"]);
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("the terminal needs libnowhere.so.9"),
            "{error}"
        );
        assert!(error.contains("terminal.libraries"), "{error}");
    }

    #[test]
    fn a_tool_that_is_no_library_is_never_fetched() {
        let archive = archive();
        let (mut tree, mut pool) = (Tree::default(), Pool::new());
        pool.insert("tool".into(), archive[0].clone());
        copy(&mut tree, &archive[0], "usr/bin/tool").unwrap();
        close(&mut tree, &mut pool, &[], |names| {
            assert!(!names.contains(&"adduser".to_owned()));
            Ok(archive
                .iter()
                .filter(|d| names.contains(&d.name))
                .cloned()
                .collect())
        })
        .unwrap();
    }

    /// Our own test program wants versions of libc that the file put in libc's place does not define.
    #[test]
    fn a_program_from_a_newer_release_is_refused_with_what_to_do() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        let dynamic = elf::dynamic(&program).unwrap();
        let mut tree = Tree::default();
        tree.insert("usr/bin/t", file(program.clone()), TERMINAL)
            .unwrap();
        for library in &dynamic.needed {
            tree.insert(&format!("usr/lib/{library}"), file(program.clone()), "old")
                .unwrap();
        }
        let error = check_versions(&tree).unwrap_err().to_string();
        assert!(
            error.contains("GLIBC_") && error.contains("build it on the release"),
            "{error}"
        );
    }
}
