//! What an ELF file asks of the libraries around it.

use std::collections::BTreeSet;

use goblin::elf::Elf;

/// The dynamic side of one ELF file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// The libraries it names (`DT_NEEDED`), in order.
    pub needed: Vec<String>,
    /// The loader it names, as an absolute path.
    pub interpreter: Option<String>,
    /// Directories it adds to the search, as they stand in it.
    pub runpath: Vec<String>,
    /// Versions it must find, as (library, version).
    pub requires: BTreeSet<(String, String)>,
    /// Versions it defines.
    pub provides: BTreeSet<String>,
}

/// A version that is only asked for weakly may be absent.
const VER_FLG_WEAK: u16 = 2;

/// True for anything that starts like an ELF file.
pub fn is_elf(data: &[u8]) -> bool {
    data.starts_with(b"\x7fELF")
}

/// Reads the dynamic section and the version tables.
pub fn dynamic(data: &[u8]) -> Result<Dynamic, goblin::error::Error> {
    let elf = Elf::parse(data)?;
    let name = |index: usize| elf.dynstrtab.get_at(index).unwrap_or_default().to_owned();
    let mut requires = BTreeSet::new();
    for need in elf.verneed.iter().flatten() {
        for version in need.iter().filter(|v| v.vna_flags & VER_FLG_WEAK == 0) {
            requires.insert((name(need.vn_file), name(version.vna_name)));
        }
    }
    let mut provides = BTreeSet::new();
    for definition in elf.verdef.iter().flatten() {
        provides.extend(definition.iter().next().map(|first| name(first.vda_name)));
    }
    let paths = elf
        .runpaths
        .iter()
        .chain(&elf.rpaths)
        .flat_map(|p| p.split(':'));
    Ok(Dynamic {
        needed: elf.libraries.iter().map(|l| (*l).to_owned()).collect(),
        interpreter: elf.interpreter.map(str::to_owned),
        runpath: paths.filter(|p| !p.is_empty()).map(str::to_owned).collect(),
        requires,
        provides,
    })
}

/// The content of a section by name, for kernel modules.
pub fn section<'a>(data: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let elf = Elf::parse(data).ok()?;
    let header = elf
        .section_headers
        .iter()
        .find(|h| elf.shdr_strtab.get_at(h.sh_name) == Some(name))?;
    data.get(header.file_range()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_test_asks_for_libc_and_a_loader() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let dynamic = dynamic(&own).unwrap();
        assert!(
            dynamic.needed.iter().any(|n| n.starts_with("libc.so")),
            "{:?}",
            dynamic.needed
        );
        assert!(dynamic.interpreter.unwrap().contains("ld-linux"));
        assert!(
            dynamic
                .requires
                .iter()
                .any(|(l, v)| l.starts_with("libc.so") && v.starts_with("GLIBC_"))
        );
    }

    #[test]
    fn damaged_files_are_errors_and_not_panics() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for cut in [4, 16, 63, 64, 100, 1000] {
            drop(dynamic(&own[..cut]));
            assert_eq!(section(&own[..cut], ".modinfo"), None);
        }
    }
}
