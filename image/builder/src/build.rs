//! The build itself: profile and packages in; `vmlinuz`, segments, `heliostat.efi` and `manifest.json` out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use heliostat_manifest::{FILE_NAME, FORMAT, File, Manifest, Package, Role};
use tracing::{info, warn};

use crate::apt::Apt;
use crate::base;
use crate::contents::{self, BUILDER};
use crate::deb::Deb;
use crate::digest::sha256_hex;
use crate::firmware;
use crate::modules::{Kernel, Module};
use crate::profile::Profile;
use crate::segment::{self, Packed};
use crate::sign::sign;
use crate::tables;
use crate::tree::{Kind, Tree};
use crate::uki;

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
        warnings.push(
            "no site key: terminals with this image show E40 and never connect; give --site-key"
                .to_owned(),
        );
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
    let uki = make_uki(
        &mut apt,
        options,
        &cmdline,
        &kernel.release,
        &vmlinuz,
        &packed,
    )?;

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
        files: files
            .iter()
            .map(|(name, role, bytes)| entry(name, *role, bytes))
            .collect(),
        segments: packed.iter().map(|p| p.segment.clone()).collect(),
        packages: apt.used(),
        warnings,
    };
    write(&options.out, &files, &manifest)?;
    Ok(manifest)
}

fn entry(name: &str, role: Role, bytes: &[u8]) -> File {
    File {
        name: name.to_owned(),
        role,
        bytes: bytes.len() as u64,
        sha256: sha256_hex(bytes),
    }
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
        let mut tree = Tree::default();
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
    let mut words = vec![options.profile.kernel.cmdline.trim().to_owned()];
    words.extend(options.cmdline.as_deref().map(|c| c.trim().to_owned()));
    if !options.brokers.is_empty() {
        words.push(format!("heliostat.broker={}", options.brokers.join(",")));
    }
    words.retain(|w| !w.is_empty());
    words.join(" ")
}

fn make_uki(
    apt: &mut Apt,
    options: &Options,
    cmdline: &str,
    release: &str,
    vmlinuz: &[u8],
    packed: &[Packed],
) -> Result<Vec<u8>> {
    let stub = fetch_one(apt, STUB_PACKAGE)?;
    let (stub, _) = stub
        .file(STUB_PATH)
        .with_context(|| format!("{STUB_PACKAGE} has no /{STUB_PATH}"))?;
    let initrd: Vec<u8> = packed.iter().flat_map(|p| &p.bytes).copied().collect();
    let os_release = contents::os_release(&options.profile);
    let section = |name, data| uki::Section { name, data };
    // The kernel comes last: newer stubs may unpack it in place, growing past the section's end.
    let sections = [
        section(".osrel", os_release.as_bytes()),
        section(".cmdline", cmdline.as_bytes()),
        section(".uname", release.as_bytes()),
        section(".initrd", &initrd),
        section(".linux", vmlinuz),
    ];
    let image = uki::add_sections(stub, &sections)?;
    match &options.sign {
        Some((key, certificate)) => sign(&image, key, certificate),
        None => Ok(image),
    }
}

/// Writes each file beside its place and renames it, the manifest last, so that a server never sees half an image.
fn write(out: &Path, files: &[(String, Role, &[u8])], manifest: &Manifest) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let json = manifest.to_json();
    let all = files
        .iter()
        .map(|(name, _, bytes)| (name.as_str(), *bytes))
        .chain([(FILE_NAME, json.as_bytes())]);
    let all: Vec<(&str, &[u8])> = all.collect();
    for (name, bytes) in &all {
        let part = out.join(format!("{name}.part"));
        fs::write(&part, bytes).with_context(|| format!("cannot write {}", part.display()))?;
    }
    for (name, _) in &all {
        fs::rename(out.join(format!("{name}.part")), out.join(name))?;
    }
    Ok(())
}
