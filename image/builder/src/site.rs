//! An image made a site's own: keys, brokers and command line put into one that has been built already.
//!
//! The keys come as one more small segment, which the kernel unpacks over the others, so nothing is built again and
//! the image may have been built by somebody else. The EFI program is put together anew around its own stub.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use heliostat_manifest::{FILE_NAME, Manifest, Role, Segment};

use crate::build::{NO_SITE_KEY, extend_cmdline};
use crate::contents;
use crate::digest::sha256_hex;
use crate::efi::{self, Payload};
use crate::output::{self, EFI_NAME, KERNEL_NAME};
use crate::segment::{self, FAST_LEVEL};
use crate::tree::Tree;

/// The segment that makes an image a site's own.
const SEGMENT: &str = "site";

/// What is to be changed.
pub struct Site {
    /// The image's directory.
    pub image: PathBuf,
    /// Where the site's image goes; may be the same.
    pub out: PathBuf,
    /// Pins of the site key; the image's own stay when this is empty.
    pub site_keys: Vec<String>,
    /// Brokers for the kernel command line; the image's own stay when this is empty.
    pub brokers: Vec<String>,
    /// Further words for the kernel command line.
    pub cmdline: Option<String>,
    /// Key and certificate for Secure Boot.
    pub sign: Option<(PathBuf, PathBuf)>,
}

/// Makes the site's image and returns its manifest, which has then been written.
pub fn make(site: &Site) -> Result<Manifest> {
    let json = fs::read(site.image.join(FILE_NAME))
        .with_context(|| format!("no image in {}", site.image.display()))?;
    let mut manifest = Manifest::parse(&json)?;
    let vmlinuz = read(&site.image, &manifest, KERNEL_NAME)?;
    let efi = read(&site.image, &manifest, EFI_NAME)?;
    let stub = efi::stub_of(&efi).with_context(|| format!("{EFI_NAME} cannot be changed"))?;

    let mut segments = segments(site, &manifest)?;
    manifest.cmdline = extend_cmdline(&manifest.cmdline, site.cmdline.as_deref(), &site.brokers);
    if !site.brokers.is_empty() {
        manifest.brokers = site.brokers.clone();
    }
    if !site.site_keys.is_empty() {
        segments.push(key_segment(&site.site_keys)?);
        manifest.site_keys = site.site_keys.clone();
        manifest.warnings.retain(|w| w != NO_SITE_KEY);
    }
    let initrd: Vec<u8> = segments
        .iter()
        .flat_map(|(_, bytes)| bytes)
        .copied()
        .collect();
    let payload = Payload {
        os_release: &contents::os_release(&manifest.profile),
        cmdline: &manifest.cmdline,
        release: &manifest.kernel_version,
        initrd: &initrd,
        vmlinuz: &vmlinuz,
    };
    let efi = efi::program(&stub, &payload, site.sign.as_ref())?;

    let mut files: Vec<(String, Role, &[u8])> =
        vec![(KERNEL_NAME.to_owned(), Role::Kernel, &vmlinuz)];
    files.extend(
        segments
            .iter()
            .map(|(s, bytes)| (s.file.clone(), Role::Segment, &bytes[..])),
    );
    files.push((EFI_NAME.to_owned(), Role::Uki, &efi));
    manifest.files = output::entries(&files);
    manifest.segments = segments
        .iter()
        .map(|(segment, _)| segment.clone())
        .collect();
    output::write(&site.out, &files, &manifest)?;
    Ok(manifest)
}

/// The image's segments; without the site's own when that is about to be replaced.
fn segments(site: &Site, manifest: &Manifest) -> Result<Vec<(Segment, Vec<u8>)>> {
    let kept = manifest
        .segments
        .iter()
        .filter(|s| s.name != SEGMENT || site.site_keys.is_empty());
    kept.map(|segment| Ok((segment.clone(), read(&site.image, manifest, &segment.file)?)))
        .collect()
}

fn key_segment(site_keys: &[String]) -> Result<(Segment, Vec<u8>)> {
    let mut tree = Tree::default();
    contents::site_keys(&mut tree, site_keys)?;
    let packed = segment::pack(SEGMENT, &tree, FAST_LEVEL)?;
    Ok((
        Segment {
            required: true,
            ..packed.segment
        },
        packed.bytes,
    ))
}

fn read(image: &Path, manifest: &Manifest, name: &str) -> Result<Vec<u8>> {
    let file = manifest
        .files
        .iter()
        .find(|f| f.name == name)
        .with_context(|| format!("the image has no {name}"))?;
    let path = image.join(name);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if sha256_hex(&bytes) != file.sha256 {
        bail!(
            "{} is not the file that the manifest describes",
            path.display()
        );
    }
    Ok(bytes)
}
