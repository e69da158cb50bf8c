//! The base segment: the terminal's program, the profile's files, and the libraries of both.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use globset::GlobBuilder;

use crate::apt::Apt;
use crate::build::Options;
use crate::closure::{self, Pool, TERMINAL};
use crate::contents::{self, BUILDER, TERMINAL_PATH};
use crate::deb::Deb;
use crate::hwdb;
use crate::profile::Files;
use crate::tree::{Kind, Tree, canonical};

const HWDB_PACKAGE: &str = "udev";

/// The base segment without modules and settings: skeleton, the profile's files, the terminal, their libraries.
pub fn base_tree(apt: &mut Apt, options: &Options, terminal: Vec<u8>) -> Result<Tree> {
    let profile = &options.profile;
    let mut tree = Tree::default();
    contents::skeleton(&mut tree)?;
    tree.file(TERMINAL_PATH, terminal, 0o755, TERMINAL)?;

    let debug = if options.debug_shell {
        &profile.debug[..]
    } else {
        &[]
    };
    let wanted: Vec<&Files> = profile.files.iter().chain(debug).collect();
    let names: BTreeSet<String> = wanted.iter().map(|f| f.package.clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let mut pool: Pool = apt
        .fetch(&names)?
        .into_iter()
        .map(|deb| (deb.name.clone(), deb))
        .collect();
    for files in wanted {
        let deb = pool
            .get(&files.package)
            .with_context(|| format!("apt offers no package {}", files.package))?;
        files
            .paths
            .iter()
            .try_for_each(|pattern| copy_matching(&mut tree, deb, pattern))?;
    }
    if options.debug_shell {
        debug_links(&mut tree)?;
    }
    if !profile.hwdb.is_empty() {
        compile_hwdb(&mut tree, &pool, &profile.hwdb)?;
    }
    let libraries = &profile.terminal.libraries;
    closure::close(&mut tree, &mut pool, libraries, |names| {
        fetch_known(apt, names)
    })?;
    Ok(tree)
}

/// Files of packages and the libraries that they need, without what the base has.
pub fn beside(apt: &mut Apt, base: &Tree, files: &[Files], libraries: &[String]) -> Result<Tree> {
    let names: BTreeSet<String> = files.iter().map(|f| f.package.clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let fetched = apt.fetch(&names)?;
    let mut pool: Pool = fetched
        .into_iter()
        .map(|deb| (deb.name.clone(), deb))
        .collect();
    let mut whole = base.clone();
    for files in files {
        let deb = pool
            .get(&files.package)
            .with_context(|| format!("apt offers no package {}", files.package))?;
        for pattern in &files.paths {
            copy_matching(&mut whole, deb, pattern)?;
        }
    }
    closure::close(&mut whole, &mut pool, libraries, |names| {
        fetch_known(apt, names)
    })?;
    let mut tree = Tree::default();
    for (path, node) in whole.iter().filter(|(path, _)| base.get(path).is_none()) {
        tree.insert(path, node.kind.clone(), &node.package)?;
    }
    Ok(tree)
}

/// A dependency that no archive has (a virtual package) is no reason to fail before the search has.
fn fetch_known(apt: &mut Apt, names: &[String]) -> Result<Vec<Deb>> {
    let known = apt.known(names)?;
    let names: Vec<String> = names
        .iter()
        .filter(|n| known.contains(*n))
        .cloned()
        .collect();
    apt.fetch(&names)
}

fn copy_matching(tree: &mut Tree, deb: &Deb, pattern: &str) -> Result<()> {
    let canonical = canonical(pattern).with_context(|| format!("{pattern} is not a path"))?;
    let glob = GlobBuilder::new(&canonical)
        .literal_separator(true)
        .build()?
        .compile_matcher();
    let is_data = |kind: &Kind| !matches!(kind, Kind::Dir { .. });
    let paths: Vec<&String> = deb
        .nodes
        .iter()
        .filter(|(path, kind)| is_data(kind) && glob.is_match(path))
        .map(|(path, _)| path)
        .collect();
    if paths.is_empty() {
        bail!(
            "the package {} {} has nothing at {pattern}",
            deb.name,
            deb.version
        );
    }
    paths
        .into_iter()
        .try_for_each(|path| closure::copy(tree, deb, path))
}

/// Compiles the profile's part of the hardware database to where udevd looks for it.
fn compile_hwdb(tree: &mut Tree, pool: &Pool, names: &[String]) -> Result<()> {
    let udev = pool
        .get(HWDB_PACKAGE)
        .with_context(|| format!("hwdb needs [[files]] of {HWDB_PACKAGE}"))?;
    let text = |name: &String| {
        let (data, _) = udev.file(&format!("usr/lib/udev/hwdb.d/{name}"))?;
        Some((name.clone(), String::from_utf8_lossy(data).into_owned()))
    };
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    let texts = names
        .into_iter()
        .map(|name| text(name).with_context(|| format!("{HWDB_PACKAGE} has no hwdb.d/{name}")));
    let binary = hwdb::compile(&texts.collect::<Result<Vec<_>>>()?)?;
    Ok(tree.file("usr/lib/udev/hwdb.bin", binary, 0o644, BUILDER)?)
}

/// Names by which the debug shell's programs are called.
fn debug_links(tree: &mut Tree) -> Result<()> {
    if tree.get("usr/bin/busybox").is_none() {
        bail!("--with-debug-shell: the profile's [[debug]] holds no /usr/bin/busybox");
    }
    for name in [
        "sh", "ls", "cat", "dmesg", "ip", "ps", "mount", "lsmod", "vi", "ping", "poweroff", "find",
        "grep",
    ] {
        tree.symlink(&format!("usr/bin/{name}"), "busybox", BUILDER)?;
    }
    Ok(())
}

/// The terminal's program without symbols; a build for development carries some 100 MB of them.
pub fn stripped(path: &Path) -> Result<Vec<u8>> {
    let original = fs::read(path)
        .with_context(|| format!("cannot read the terminal's program {}", path.display()))?;
    if !crate::elf::is_elf(&original) {
        bail!("{} is not a program", path.display());
    }
    let directory = std::env::temp_dir().join(format!("heliostat-image-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let out = directory.join("stripped");
    let status = Command::new("strip")
        .arg("--strip-all")
        .arg("-o")
        .arg(&out)
        .arg(path)
        .status();
    let result = match status {
        Ok(status) if status.success() => fs::read(&out).context("strip left nothing"),
        Ok(status) => bail!("strip {} failed with {status}", path.display()),
        Err(error) => bail!("cannot run strip ({error}); it is in the package binutils"),
    };
    fs::remove_dir_all(&directory)?;
    result
}
