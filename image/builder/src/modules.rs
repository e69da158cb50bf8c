//! Kernel modules: which to take, what they depend on, and the tables by which PID 1 loads them.
//!
//! Everything is read from the modules themselves (`.modinfo`), since a package carries no `modules.dep`; its
//! maintainer script would make one. Modules are packed uncompressed: the archive compresses better as a whole, and
//! the loader needs no xz. Their signatures stay valid.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use globset::GlobBuilder;

use crate::deb::Deb;
use crate::elf;
use crate::tree::Kind;

/// The largest module that is unpacked, in bytes; amdgpu has 30 MB.
const MAX_MODULE: u64 = 128 * 1024 * 1024;

/// A kernel package's modules.
pub struct Kernel {
    /// The kernel's release, such as `6.12.1-amd64`.
    pub release: String,
    /// The package it came from.
    pub package: String,
    by_name: BTreeMap<String, Source>,
    builtin: BTreeSet<String>,
    builtin_list: Vec<u8>,
}

/// A module in the package; `path` is below `usr/lib/modules/RELEASE/`.
struct Source {
    path: String,
    data: Arc<Vec<u8>>,
}

/// A module, unpacked and read.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Its path below `usr/lib/modules/RELEASE/`, ending in `.ko`.
    pub path: String,
    /// The module as `finit_module` takes it.
    pub data: Arc<Vec<u8>>,
    /// What it says about itself.
    pub info: Info,
}

/// The parts of `.modinfo` that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Modules it cannot be loaded without.
    pub depends: Vec<String>,
    /// Modules that should be there first, when they exist.
    pub soft_before: Vec<String>,
    /// Modules that should follow, when they exist.
    pub soft_after: Vec<String>,
    /// Device patterns it drives.
    pub aliases: Vec<String>,
    /// Firmware files it may ask for, below `usr/lib/firmware/`; some are patterns.
    pub firmware: Vec<String>,
}

impl Kernel {
    /// Finds the modules in a kernel package.
    pub fn open(deb: &Deb) -> Result<Kernel> {
        let mut releases = deb
            .nodes
            .keys()
            .filter_map(|p| p.strip_prefix("usr/lib/modules/")?.split_once('/'));
        let release = releases
            .next()
            .with_context(|| format!("{} has no kernel modules", deb.name))?
            .0
            .to_owned();
        let root = format!("usr/lib/modules/{release}/");
        let mut by_name = BTreeMap::new();
        for (path, kind) in &deb.nodes {
            let (Some(path), Kind::File { data, .. }) = (path.strip_prefix(&root), kind) else {
                continue;
            };
            if let Some(name) = module_name(path) {
                by_name.insert(
                    name,
                    Source {
                        path: path.to_owned(),
                        data: Arc::clone(data),
                    },
                );
            }
        }
        let list = deb
            .file(&format!("{root}modules.builtin"))
            .map(|(data, _)| data.to_vec())
            .unwrap_or_default();
        let builtin = String::from_utf8_lossy(&list)
            .lines()
            .filter_map(module_name)
            .collect();
        Ok(Kernel {
            release,
            package: deb.name.clone(),
            by_name,
            builtin,
            builtin_list: list,
        })
    }

    /// The modules that a profile's selection means, with all they depend on.
    ///
    /// An item is a name, or a pattern over the path below `kernel/` when it has a `/`; with a leading `?` it may
    /// be absent. A module that is built into the kernel is there already.
    pub fn select(&self, selection: &[String]) -> Result<BTreeMap<String, Module>> {
        let mut names = BTreeSet::new();
        for item in selection {
            let (item, optional) = item
                .strip_prefix('?')
                .map_or((item.as_str(), false), |rest| (rest, true));
            let found = if item.contains('/') {
                self.matching(item)?
            } else {
                self.named(item)
            };
            if found.is_none() && !optional {
                bail!(
                    "the kernel {} has no module {item} (write ?{item} if it may be absent)",
                    self.release
                );
            }
            names.extend(found.unwrap_or_default());
        }
        self.close(names)
    }

    /// `modules.builtin` as the package has it.
    pub fn builtin_list(&self) -> &[u8] {
        &self.builtin_list
    }

    fn named(&self, name: &str) -> Option<Vec<String>> {
        let name = name.replace('-', "_");
        if self.by_name.contains_key(&name) {
            return Some(vec![name]);
        }
        self.builtin.contains(&name).then(Vec::new)
    }

    fn matching(&self, pattern: &str) -> Result<Option<Vec<String>>> {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()?
            .compile_matcher();
        let matches = |source: &Source| {
            let path = source.path.strip_prefix("kernel/").unwrap_or(&source.path);
            glob.is_match(path.split(".ko").next().unwrap_or(path))
        };
        let found: Vec<String> = self
            .by_name
            .iter()
            .filter(|(_, s)| matches(s))
            .map(|(n, _)| n.clone())
            .collect();
        Ok((!found.is_empty()).then_some(found))
    }

    fn close(&self, names: BTreeSet<String>) -> Result<BTreeMap<String, Module>> {
        let mut modules = BTreeMap::new();
        let mut open: Vec<String> = names.into_iter().collect();
        while let Some(name) = open.pop() {
            if modules.contains_key(&name) {
                continue;
            }
            let source = self
                .by_name
                .get(&name)
                .with_context(|| format!("no module {name}"))?;
            let module = unpack(&name, source)?;
            for needed in &module.info.depends {
                match (
                    self.by_name.contains_key(needed),
                    self.builtin.contains(needed),
                ) {
                    (true, _) => open.push(needed.clone()),
                    (false, true) => {}
                    (false, false) => bail!(
                        "the module {name} depends on {needed}, which the kernel does not have"
                    ),
                }
            }
            let soft = module
                .info
                .soft_before
                .iter()
                .chain(&module.info.soft_after);
            open.extend(soft.filter(|s| self.by_name.contains_key(*s)).cloned());
            modules.insert(name, module);
        }
        Ok(modules)
    }
}

fn unpack(name: &str, source: &Source) -> Result<Module> {
    let (path, data) = match source.path.strip_suffix(".xz") {
        Some(path) => (
            path.to_owned(),
            Arc::new(unxz(&source.data).with_context(|| format!("module {name}"))?),
        ),
        None if source.path.ends_with(".ko.zst") => {
            let data = zstd::bulk::decompress(&source.data, MAX_MODULE as usize)?;
            (
                source.path.trim_end_matches(".zst").to_owned(),
                Arc::new(data),
            )
        }
        None => (source.path.clone(), Arc::clone(&source.data)),
    };
    let modinfo = elf::section(&data, ".modinfo")
        .with_context(|| format!("module {name} has no .modinfo"))?;
    let info = parse_info(modinfo);
    Ok(Module {
        name: name.to_owned(),
        path,
        data,
        info,
    })
}

fn unxz(data: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    liblzma::read::XzDecoder::new(data)
        .take(MAX_MODULE)
        .read_to_end(&mut out)?;
    Ok(out)
}

/// The module's name for a path such as `kernel/fs/nls/nls-base.ko.xz`: `nls_base`.
fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"]
        .iter()
        .find_map(|end| file.strip_suffix(end))?;
    Some(stem.replace('-', "_"))
}

/// Reads a `.modinfo` section: NUL-terminated `key=value` strings.
pub fn parse_info(section: &[u8]) -> Info {
    let mut info = Info::default();
    for text in section
        .split(|b| *b == 0)
        .filter_map(|s| std::str::from_utf8(s).ok())
    {
        let Some((key, value)) = text.split_once('=') else {
            continue;
        };
        match key {
            "depends" => info
                .depends
                .extend(value.split(',').filter(|d| !d.is_empty()).map(underscored)),
            "softdep" => parse_softdep(value, &mut info),
            "alias" => info.aliases.push(value.to_owned()),
            "firmware" => info.firmware.push(value.to_owned()),
            _ => {}
        }
    }
    info
}

fn parse_softdep(value: &str, info: &mut Info) {
    let mut after = false;
    for word in value.split_whitespace() {
        match word {
            "pre:" => after = false,
            "post:" => after = true,
            name if after => info.soft_after.push(underscored(name)),
            name => info.soft_before.push(underscored(name)),
        }
    }
}

fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modinfo_is_read_with_dashes_made_underscores() {
        let section = b"license=GPL\0alias=pci:v1*\0alias=pci:v2*\0depends=drm-kms,i2c_core\0\
                        softdep=pre: crc-a crc_b post: later\0firmware=x/y.bin\0garbage\0depends=\0\xff=\0";
        let info = parse_info(section);
        assert_eq!(info.depends, ["drm_kms", "i2c_core"]);
        assert_eq!(
            (info.soft_before, info.soft_after),
            (vec!["crc_a".into(), "crc_b".into()], vec!["later".into()])
        );
        assert_eq!(info.aliases, ["pci:v1*", "pci:v2*"]);
        assert_eq!(info.firmware, ["x/y.bin"]);
    }

    #[test]
    fn names_come_from_paths_whatever_the_compression() {
        for path in [
            "kernel/a/nls-base.ko",
            "kernel/nls-base.ko.xz",
            "nls-base.ko.zst",
        ] {
            assert_eq!(module_name(path).as_deref(), Some("nls_base"));
        }
        assert_eq!(module_name("modules.builtin"), None);
    }

    fn kernel() -> Kernel {
        let mut deb = Deb {
            name: "linux-image-test".into(),
            ..Deb::default()
        };
        let root = "usr/lib/modules/1.2-test";
        let file = |text: &str| Kind::File {
            data: Arc::new(text.as_bytes().to_vec()),
            mode: 0o644,
        };
        deb.nodes.insert(
            format!("{root}/modules.builtin"),
            file("kernel/fs/ext4.ko\n"),
        );
        deb.nodes.insert(
            format!("{root}/kernel/drivers/net/e1000.ko.xz"),
            file("not really"),
        );
        Kernel::open(&deb).unwrap()
    }

    #[test]
    fn a_misspelt_module_is_refused_and_a_built_in_one_is_not() {
        let kernel = kernel();
        let select = |name: &str| kernel.select(&[name.to_owned()]);
        assert!(select("ext4").unwrap().is_empty());
        assert!(select("?e10000").unwrap().is_empty());
        let error = select("e10000").unwrap_err().to_string();
        assert!(
            error.contains("no module e10000") && error.contains("1.2-test"),
            "{error}"
        );
        assert!(select("drivers/net/wireless/**").is_err());
    }

    #[test]
    fn a_damaged_module_is_an_error_that_names_it() {
        let error = kernel().select(&["e1000".to_owned()]).unwrap_err();
        assert!(format!("{error:#}").contains("module e1000"), "{error:#}");
    }
}
