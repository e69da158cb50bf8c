//! A distribution package, unpacked into memory by `dpkg-deb` (which knows every compression a `.deb` may use).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::tree::{Kind, canonical, follow};

/// A package and what is in it.
#[derive(Debug, Clone, Default)]
pub struct Deb {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the `.deb` in lowercase hex.
    pub sha256: String,
    /// The names it depends on; the first of each group of alternatives.
    pub depends: Vec<String>,
    /// Files, links and directories by canonical path.
    pub nodes: BTreeMap<String, Kind>,
}

impl Deb {
    /// Reads the `.deb` at `path`, whose hash the caller has verified.
    pub fn read(path: &Path, sha256: &str) -> Result<Deb> {
        let fields = fields(path)?;
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        Ok(Deb {
            name: field("Package"),
            version: field("Version"),
            sha256: sha256.to_owned(),
            depends: depends(&format!("{}, {}", field("Pre-Depends"), field("Depends"))),
            nodes: nodes(path).with_context(|| format!("cannot unpack {}", path.display()))?,
        })
    }

    /// The content and permissions of a file, links followed inside the package.
    pub fn file(&self, path: &str) -> Option<(&Arc<Vec<u8>>, u32)> {
        let mut path = path.to_owned();
        for _ in 0..8 {
            match self.nodes.get(&path)? {
                Kind::File { data, mode } => return Some((data, *mode)),
                Kind::Symlink { target } => path = follow(&path, target)?,
                Kind::Dir { .. } | Kind::CharDevice { .. } => return None,
            }
        }
        None
    }
}

/// The package names of a `Depends` field, the first of each group of alternatives, without versions.
pub fn depends(field: &str) -> Vec<String> {
    let first = |group: &str| {
        let name = group
            .split('|')
            .next()?
            .split(['(', '[', '<', ':'])
            .next()?
            .trim();
        (!name.is_empty()).then(|| name.to_owned())
    };
    field.split(',').filter_map(first).collect()
}

fn fields(path: &Path) -> Result<BTreeMap<String, String>> {
    let wanted = ["Package", "Version", "Pre-Depends", "Depends"];
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(path)
        .args(wanted)
        .output()
        .context(MISSING_DPKG)?;
    if !output.status.success() {
        bail!(
            "{} is not a package: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pair = |line: &str| {
        line.split_once(": ")
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

const MISSING_DPKG: &str =
    "cannot run dpkg-deb: the image is built from Debian packages, on Debian or a relative of it";

fn nodes(path: &Path) -> Result<BTreeMap<String, Kind>> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context(MISSING_DPKG)?;
    let stdout = child.stdout.take().context("dpkg-deb has no output")?;
    let nodes = read_tar(stdout);
    // A reader that stopped early leaves dpkg-deb with a broken pipe, which ends it.
    let status = child.wait()?;
    let nodes = nodes?;
    if !status.success() {
        bail!("dpkg-deb failed with {status}");
    }
    Ok(nodes)
}

fn read_tar(reader: impl std::io::Read) -> Result<BTreeMap<String, Kind>> {
    let mut nodes = BTreeMap::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .context("a path that is not UTF-8")?;
        let Some(path) = canonical(&name) else {
            continue;
        };
        let mode = entry.header().mode()? & 0o777;
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => Kind::Dir { mode },
            tar::EntryType::Symlink => Kind::Symlink {
                target: link_name(&entry)?,
            },
            tar::EntryType::Regular => {
                let mut data = Vec::with_capacity(entry.size() as usize);
                entry.read_to_end(&mut data)?;
                Kind::File {
                    data: Arc::new(data),
                    mode,
                }
            }
            tar::EntryType::Link => {
                let target =
                    canonical(&link_name(&entry)?).context("a hard link out of the package")?;
                nodes
                    .get(&target)
                    .cloned()
                    .with_context(|| format!("{path} is a link to nothing"))?
            }
            other => bail!("{path} is of the kind {other:?}, which an image has no use for"),
        };
        nodes.insert(path, kind);
    }
    Ok(nodes)
}

fn link_name(entry: &tar::Entry<'_, impl std::io::Read>) -> Result<String> {
    let target = entry.link_name_bytes().context("a link without a target")?;
    String::from_utf8(target.into_owned()).context("a link target that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_alternative_of_each_dependency_counts() {
        let field = ", libccid | pcsc-ifd-handler, libc6 (>= 2.34), libgcc-s1:any (>= 3.0) [amd64], libudev1 (= 1)";
        assert_eq!(
            depends(field),
            ["libccid", "libc6", "libgcc-s1", "libudev1"]
        );
        assert!(depends(", ").is_empty());
    }

    fn tar_of(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        builder.into_inner().unwrap()
    }

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o4755);
        header
    }

    #[test]
    fn files_links_and_hard_links_are_read_at_their_canonical_paths() {
        let bytes = tar_of(|tar| {
            let mut file = header(tar::EntryType::Regular, 3);
            tar.append_data(&mut file, "./lib/x.so.1", &b"abc"[..])
                .unwrap();
            let mut link = header(tar::EntryType::Symlink, 0);
            tar.append_link(&mut link, "./usr/lib/x.so", "/lib/x.so.1")
                .unwrap();
            let mut hard = header(tar::EntryType::Link, 0);
            tar.append_link(&mut hard, "./usr/bin/y", "./lib/x.so.1")
                .unwrap();
        });
        let deb = Deb {
            nodes: read_tar(&bytes[..]).unwrap(),
            ..Deb::default()
        };
        assert_eq!(
            deb.file("usr/lib/x.so").unwrap(),
            (&Arc::new(b"abc".to_vec()), 0o755)
        );
        assert_eq!(deb.file("usr/bin/y").unwrap().0.as_slice(), b"abc");
        assert!(deb.file("usr/lib/missing").is_none());
    }

    #[test]
    fn a_link_in_circles_is_no_file() {
        let link = |to: &str| Kind::Symlink { target: to.into() };
        let nodes = BTreeMap::from([("a".to_owned(), link("b")), ("b".to_owned(), link("a"))]);
        assert!(
            Deb {
                nodes,
                ..Deb::default()
            }
            .file("a")
            .is_none()
        );
    }
}
