//! What a netboot image is: names, sizes, hashes.
//!
//! `heliostat-image` writes one `manifest.json` beside the files it describes.
//! `heliostat-pxe` knows an image only through it: what is not listed here is not served, and a
//! file whose size or hash differs from its entry is refused.
//!
//! Nothing here depends on when or where an image was built, so the manifest of a reproducible image is
//! reproducible too.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// The version of the manifest's own format.
pub const FORMAT: u32 = 1;

/// The name of the manifest inside the image's directory.
pub const FILE_NAME: &str = "manifest.json";

/// The largest manifest that is read, in bytes; a desk image with every GPU stays under 1 MiB.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A netboot image: everything a server has to know to hand it out, and an administrator to trust it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: u32,
    /// Name and version of the builder, such as `heliostat-image 0.1.0`.
    pub builder: String,
    /// The profile the image was built from, such as `qemu`.
    pub profile: String,
    /// The kernel's release, as `uname -r` says it.
    pub kernel_version: String,
    /// The kernel command line the image wants, without what a site adds.
    pub cmdline: String,
    /// The pins of the site key inside the image (`sha256:<64 hex digits>`); empty means the image never connects.
    pub site_keys: Vec<String>,
    /// The brokers written into the image (`HOST:PORT`); often empty, since DHCP names them.
    pub brokers: Vec<String>,
    /// Every file of the image beside the manifest.
    pub files: Vec<File>,
    /// The initramfs segments in the order in which they are loaded.
    pub segments: Vec<Segment>,
    /// The distribution packages the contents came from, sorted by name.
    pub packages: Vec<Package>,
    /// What the builder had to leave out, in sentences for an administrator.
    pub warnings: Vec<String>,
}

/// One file of the image, in the manifest's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// A plain file name, without any directory.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, 64 lowercase hex digits.
    pub sha256: String,
}

/// What a file of the image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The kernel, a bzImage.
    Kernel,
    /// An initramfs segment, a zstd-compressed cpio archive.
    Segment,
    /// Kernel, all segments and command line as one EFI program.
    Uki,
}

/// One part of the initramfs; the kernel unpacks them one over the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// `base`, or what the segment is for, such as `amd-graphics`.
    pub name: String,
    /// The file that carries it.
    pub file: String,
    /// True for the segment no terminal boots without.
    pub required: bool,
    /// Its size unpacked in bytes.
    pub unpacked_bytes: u64,
    /// What is in it, sorted by path.
    pub contents: Vec<Entry>,
}

/// One path inside a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Path from the root, without a leading slash.
    pub path: String,
    /// The size of a file's content; 0 for directories and links.
    pub bytes: u64,
    /// Where it came from: a package's name, `terminal`, or `heliostat-image` for what the builder wrote.
    pub package: String,
}

/// A distribution package, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its full version.
    pub version: String,
    /// SHA-256 of the `.deb`, 64 lowercase hex digits.
    pub sha256: String,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_BYTES`].
    #[error("the manifest has {0} bytes, more than the {MAX_BYTES} allowed")]
    TooLarge(usize),
    /// Not JSON of this shape.
    #[error("the manifest is not valid: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Made by a builder of another generation.
    #[error("the manifest has format {0}, this program knows format {FORMAT}: rebuild the image")]
    Format(u32),
    /// A name with a directory in it, or an empty or hidden one.
    #[error("the manifest names the file {0:?}, which is not a plain file name")]
    Name(String),
    /// A hash that is not 64 lowercase hex digits.
    #[error(
        "the manifest gives {name:?} the hash {sha256:?}, which is not 64 lowercase hex digits"
    )]
    Hash {
        /// The file.
        name: String,
        /// What stood in place of the hash.
        sha256: String,
    },
    /// The same name twice.
    #[error("the manifest names the file {0:?} twice")]
    Twice(String),
    /// No kernel, or no base segment.
    #[error("the manifest lists no {0}")]
    Missing(&'static str),
    /// A segment without its file.
    #[error(
        "the segment {segment:?} is carried by {file:?}, which the manifest does not list as a segment"
    )]
    SegmentFile {
        /// The segment.
        segment: String,
        /// The file it names.
        file: String,
    },
}

impl Manifest {
    /// Reads a manifest and checks what its shape alone cannot say: format, plain names, hashes, a kernel and a base.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge(bytes.len()));
        }
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest as it is written: indented JSON with a final newline.
    pub fn to_json(&self) -> String {
        // Only maps with non-string keys and failing writers can make this fail; there are none here.
        let mut json = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        json.push('\n');
        json
    }

    /// The only file with this role, if there is exactly one.
    pub fn file(&self, role: Role) -> Option<&File> {
        let mut with_role = self.files.iter().filter(|f| f.role == role);
        let first = with_role.next()?;
        with_role.next().is_none().then_some(first)
    }

    fn check(&self) -> Result<(), Error> {
        if self.format != FORMAT {
            return Err(Error::Format(self.format));
        }
        for (index, file) in self.files.iter().enumerate() {
            check_name(&file.name)?;
            check_hash(file)?;
            if self.files[..index].iter().any(|f| f.name == file.name) {
                return Err(Error::Twice(file.name.clone()));
            }
        }
        self.file(Role::Kernel).ok_or(Error::Missing("kernel"))?;
        if !self.segments.iter().any(|s| s.required) {
            return Err(Error::Missing("base segment"));
        }
        self.segments.iter().try_for_each(|s| self.check_segment(s))
    }

    fn check_segment(&self, segment: &Segment) -> Result<(), Error> {
        let carried = |f: &File| f.role == Role::Segment && f.name == segment.file;
        if self.files.iter().any(carried) {
            return Ok(());
        }
        Err(Error::SegmentFile {
            segment: segment.name.clone(),
            file: segment.file.clone(),
        })
    }
}

/// A name that can be joined to a directory and put into a URL or a boot script as it is.
fn check_name(name: &str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let ok = !name.is_empty()
        && name.len() <= 128
        && !name.starts_with(['.', '-'])
        && name.bytes().all(plain);
    if ok {
        Ok(())
    } else {
        Err(Error::Name(name.to_owned()))
    }
}

fn check_hash(file: &File) -> Result<(), Error> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if file.sha256.len() == 64 && file.sha256.bytes().all(hex) {
        return Ok(());
    }
    Err(Error::Hash {
        name: file.name.clone(),
        sha256: file.sha256.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let file = |name: &str, role| File {
            name: name.into(),
            role,
            bytes: 3,
            sha256: "0a".repeat(32),
        };
        Manifest {
            format: FORMAT,
            builder: "heliostat-image 0.1.0".into(),
            profile: "qemu".into(),
            kernel_version: "6.12.1".into(),
            cmdline: "quiet".into(),
            site_keys: vec![],
            brokers: vec![],
            files: vec![
                file("vmlinuz", Role::Kernel),
                file("initramfs.zst", Role::Segment),
            ],
            segments: vec![Segment {
                name: "base".into(),
                file: "initramfs.zst".into(),
                required: true,
                unpacked_bytes: 9,
                contents: vec![Entry {
                    path: "init".into(),
                    bytes: 9,
                    package: "terminal".into(),
                }],
            }],
            packages: vec![],
            warnings: vec![],
        }
    }

    fn refused(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = sample();
        change(&mut manifest);
        Manifest::parse(manifest.to_json().as_bytes())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        assert_eq!(
            Manifest::parse(sample().to_json().as_bytes()).unwrap(),
            sample()
        );
    }

    #[test]
    fn a_file_name_with_a_directory_is_refused() {
        for name in ["../etc/shadow", "a/b", ".hidden", "", "-rf", "a b", "x\ny"] {
            assert!(
                refused(|m| m.files[0].name = name.into()).contains("not a plain file name"),
                "{name:?}"
            );
        }
    }

    #[test]
    fn another_format_is_refused_with_what_to_do() {
        assert!(refused(|m| m.format = 7).contains("rebuild the image"));
    }

    #[test]
    fn an_image_lacks_neither_kernel_nor_base() {
        assert!(refused(|m| drop(m.files.remove(0))).contains("no kernel"));
        assert!(refused(|m| m.segments.clear()).contains("no base segment"));
        assert!(
            refused(|m| m.segments[0].file = "vmlinuz".into())
                .contains("does not list as a segment")
        );
    }

    #[test]
    fn a_hash_of_another_length_or_case_is_refused() {
        for hash in ["", "0A", &"0A".repeat(32), &"0a".repeat(31)] {
            assert!(
                refused(|m| m.files[1].sha256 = hash.into()).contains("64 lowercase hex"),
                "{hash:?}"
            );
        }
    }

    #[test]
    fn the_same_file_twice_is_refused() {
        assert!(refused(|m| m.files[1].name = "vmlinuz".into()).contains("twice"));
    }

    #[test]
    fn too_large_a_manifest_is_not_even_parsed() {
        assert!(matches!(
            Manifest::parse(&vec![b' '; MAX_BYTES + 1]),
            Err(Error::TooLarge(_))
        ));
    }
}
