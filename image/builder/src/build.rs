//! The build itself: profile and packages in; `vmlinuz`, segments, `heliostat.efi` and `manifest.json` out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use heliostat_manifest::{FORMAT, Manifest, Package, Role};
use tracing::{info, warn};

use crate::apt::Apt;
use crate::base;
use crate::contents::{self, BUILDER};
use crate::deb::Deb;
use crate::efi::{self, Payload};
use crate::firmware;
use crate::modules::{Kernel, Module};
use crate::output;
use crate::profile::{Files, Profile};
use crate::segment::{self, Packed};
use crate::tables;
use crate::tree::{Kind, Tree};

/// What the manifest says of an image that is nobody's yet.
pub const NO_SITE_KEY: &str =
    "no site key: terminals with this image show E40 and never connect; give --site-key";

const STUB_PACKAGE: &str = "systemd-boot-efi";
const STUB_PATH: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// What is to be built.
pub struct Options {
    /// What it is made of.
    pub profile: Profile,
    /// The terminal's program.
    pub terminal: PathBuf,
    /// Where the image goes; made when it is not there.
    pub out: PathBuf,
    /// Where packages are kept between builds.
    pub cache: PathBuf,
    /// Pins of the site key, `sha256:<64 hex digits>` each.
    pub site_keys: Vec<String>,
    /// Brokers for the kernel command line, `HOST:PORT` each.
    pub brokers: Vec<String>,
    /// Words for the kernel command line beside the profile's.
    pub cmdline: Option<String>,
    /// The packages of an earlier manifest, to build from exactly those.
    pub locked: Option<Vec<Package>>,
    /// The zstd level.
    pub level: i32,
    /// Whether the profile's debug programs are packed.
    pub debug_shell: bool,
    /// Key and certificate for Secure Boot.
    pub sign: Option<(PathBuf, PathBuf)>,
}

/// Builds an image and returns its manifest, which has then been written.
pub fn build(options: &Options) -> Result<Manifest> {
    let mut warnings = Vec::new();
    if options.site_keys.is_empty() {
        warnings.push(NO_SITE_KEY.to_owned());
    }
    let terminal = base::stripped(&options.terminal)?;
    let mut apt = Apt::new(&options.cache, options.locked.clone())?;
    let profile = &options.profile;

    info!("kernel and modules");
    let kernel_deb = fetch_kernel(&mut apt, profile)?;
    let kernel = Kernel::open(&kernel_deb)?;
    let vmlinuz = vmlinuz(&kernel_deb, &kernel.release)?;

    info!("programs and their libraries");
    let mut base = base::base_tree(&mut apt, options, terminal)?;
    contents::settings(&mut base, profile, &options.site_keys)?;
    let trees = add_modules(&mut apt, profile, &kernel, base, &mut warnings)?;

    info!("packing at level {}", options.level);
    let packed: Vec<Packed> = trees
        .iter()
        .map(|(name, tree)| segment::pack(name, tree, options.level))
        .collect::<Result<_>>()?;
    let cmdline = cmdline(options);
    let initrd: Vec<u8> = packed.iter().flat_map(|p| &p.bytes).copied().collect();
    let payload = Payload {
        os_release: &contents::os_release(&profile.name),
        cmdline: &cmdline,
        release: &kernel.release,
        initrd: &initrd,
        vmlinuz: &vmlinuz,
    };
    let uki = efi::program(&fetch_stub(&mut apt)?, &payload, options.sign.as_ref())?;

    let mut files: Vec<(String, Role, &[u8])> =
        vec![("vmlinuz".to_owned(), Role::Kernel, &vmlinuz)];
    files.extend(
        packed
            .iter()
            .map(|p| (p.segment.file.clone(), Role::Segment, &p.bytes[..])),
    );
    files.push(("heliostat.efi".to_owned(), Role::Uki, &uki));
    for warning in &warnings {
        warn!("{warning}");
    }
    let manifest = Manifest {
        format: FORMAT,
        builder: format!("{BUILDER} {}", env!("CARGO_PKG_VERSION")),
        profile: profile.name.clone(),
        kernel_version: kernel.release.clone(),
        cmdline,
        site_keys: options.site_keys.clone(),
        brokers: options.brokers.clone(),
        files: output::entries(&files),
        segments: packed.iter().map(|p| p.segment.clone()).collect(),
        packages: apt.used(),
        warnings,
    };
    output::write(&options.out, &files, &manifest)?;
    Ok(manifest)
}

/// The first kernel package that apt knows; one that only names the current kernel is followed to it.
fn fetch_kernel(apt: &mut Apt, profile: &Profile) -> Result<Deb> {
    let packages = &profile.kernel.packages;
    let first_known = |apt: &Apt| -> Result<Option<&String>> {
        let known = apt.known(packages)?;
        Ok(packages.iter().find(|p| known.contains(*p)))
    };
    let name = match first_known(apt)? {
        None if apt.refresh()? => first_known(apt)?,
        name => name,
    };
    let Some(name) = name else {
        bail!(
            "apt knows none of the kernel packages {}",
            packages.join(", ")
        );
    };
    let mut deb = fetch_one(apt, name)?;
    for _ in 0..3 {
        if deb
            .nodes
            .keys()
            .any(|path| path.starts_with("boot/vmlinuz-"))
        {
            info!("kernel {} {}", deb.name, deb.version);
            return Ok(deb);
        }
        let next = deb
            .depends
            .iter()
            .find(|d| d.starts_with("linux-image-"))
            .cloned();
        deb = fetch_one(
            apt,
            &next.with_context(|| format!("{} holds no kernel and leads to none", deb.name))?,
        )?;
    }
    bail!("{name} does not lead to a package with a kernel")
}

fn fetch_one(apt: &mut Apt, name: &str) -> Result<Deb> {
    apt.fetch(&[name.to_owned()])?
        .pop()
        .with_context(|| format!("apt offers no package {name}"))
}

fn vmlinuz(deb: &Deb, release: &str) -> Result<Vec<u8>> {
    let path = format!("boot/vmlinuz-{release}");
    let (data, _) = deb
        .file(&path)
        .with_context(|| format!("{} has no {path}", deb.name))?;
    Ok(data.to_vec())
}

/// Adds modules to the base, and makes the other segments with their modules and firmware.
///
/// The tables in the base cover the modules of all segments: a table names a module that a terminal may not have
/// loaded, and PID 1 takes an absent file for an absent device.
fn add_modules(
    apt: &mut Apt,
    profile: &Profile,
    kernel: &Kernel,
    mut base: Tree,
    warnings: &mut Vec<String>,
) -> Result<Vec<(String, Tree)>> {
    let mut all = kernel.select(&profile.kernel.modules)?;
    let in_base: BTreeSet<String> = all.keys().cloned().collect();
    all.values()
        .try_for_each(|module| insert_module(&mut base, kernel, module))?;
    let mut trees = Vec::new();
    for segment in &profile.segments {
        let drivers = drivers(apt, segment, warnings)?;
        let libraries = &profile.terminal.libraries;
        let mut tree = match drivers.is_empty() {
            true => Tree::default(),
            false => base::beside(apt, &base, &drivers, libraries)?,
        };
        let own = kernel.select(&segment.modules)?;
        for module in own.values().filter(|m| !in_base.contains(&m.name)) {
            insert_module(&mut tree, kernel, module)?;
        }
        let asked = kernel.select(&segment.firmware_of)?;
        let packages = firmware_packages(apt, segment, warnings)?;
        let found = firmware::copy_for(&mut tree, own.values().chain(asked.values()), &packages)?;
        info!(
            "segment {}: {} firmware files, {} named but not packaged",
            segment.name, found.present, found.absent
        );
        all.extend(own);
        if !tree.is_empty() {
            trees.push((segment.name.clone(), tree));
        }
    }
    insert_tables(&mut base, kernel, &all)?;
    trees.insert(0, ("base".to_owned(), base));
    Ok(trees)
}

/// A segment's files, of packages that apt knows.
fn drivers(
    apt: &mut Apt,
    segment: &crate::profile::Segment,
    warnings: &mut Vec<String>,
) -> Result<Vec<Files>> {
    let names: Vec<String> = segment.files.iter().map(|f| f.package.clone()).collect();
    let known = apt.known(&names)?;
    let (found, absent): (Vec<Files>, Vec<Files>) = segment
        .files
        .iter()
        .cloned()
        .partition(|files| known.contains(&files.package));
    for files in absent {
        let (name, package) = (&segment.name, &files.package);
        warnings.push(format!(
            "segment {name}: built without {package}, which this machine's apt does not know"
        ));
    }
    Ok(found)
}

fn firmware_packages(
    apt: &mut Apt,
    segment: &crate::profile::Segment,
    warnings: &mut Vec<String>,
) -> Result<Vec<Deb>> {
    let wanted = &segment.firmware_packages;
    let known = apt.known(wanted)?;
    let names: Vec<String> = wanted
        .iter()
        .filter(|n| known.contains(*n))
        .cloned()
        .collect();
    if names.is_empty() && !wanted.is_empty() {
        warnings.push(format!(
            "segment {}: built without firmware, since this machine's apt knows none of {}; \
             enable the component non-free-firmware and build again",
            segment.name,
            wanted.join(", ")
        ));
    }
    apt.fetch(&names)
}

fn insert_module(tree: &mut Tree, kernel: &Kernel, module: &Module) -> Result<()> {
    let path = format!("usr/lib/modules/{}/{}", kernel.release, module.path);
    let kind = Kind::File {
        data: std::sync::Arc::clone(&module.data),
        mode: 0o644,
    };
    Ok(tree.insert(&path, kind, &kernel.package)?)
}

fn insert_tables(tree: &mut Tree, kernel: &Kernel, all: &BTreeMap<String, Module>) -> Result<()> {
    let tables = [
        ("modules.dep", tables::dep_table(all).into_bytes()),
        ("modules.alias", tables::alias_table(all).into_bytes()),
        ("modules.softdep", tables::softdep_table(all).into_bytes()),
        ("modules.builtin", kernel.builtin_list().to_vec()),
    ];
    for (name, data) in tables {
        tree.file(
            &format!("usr/lib/modules/{}/{name}", kernel.release),
            data,
            0o644,
            BUILDER,
        )?;
    }
    Ok(())
}

fn cmdline(options: &Options) -> String {
    extend_cmdline(
        &options.profile.kernel.cmdline,
        options.cmdline.as_deref(),
        &options.brokers,
    )
}

/// Adds words and brokers to a kernel command line; brokers replace those that are there.
pub fn extend_cmdline(cmdline: &str, further: Option<&str>, brokers: &[String]) -> String {
    let kept = cmdline
        .split_whitespace()
        .filter(|w| brokers.is_empty() || !w.starts_with("heliostat.broker="));
    let mut words: Vec<String> = kept
        .chain(further.unwrap_or_default().split_whitespace())
        .map(str::to_owned)
        .collect();
    if !brokers.is_empty() {
        words.push(format!("heliostat.broker={}", brokers.join(",")));
    }
    words.join(" ")
}

fn fetch_stub(apt: &mut Apt) -> Result<Vec<u8>> {
    let deb = fetch_one(apt, STUB_PACKAGE)?;
    let (stub, _) = deb
        .file(STUB_PATH)
        .with_context(|| format!("{STUB_PACKAGE} has no /{STUB_PATH}"))?;
    Ok(stub.to_vec())
}
