//! The build itself: profile and packages in; `vmlinuz`, segments, `heliostat.efi` and `manifest.json` out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use globset::GlobBuilder;
use heliostat_manifest::{FILE_NAME, FORMAT, File, Manifest, Package, Role};
use tracing::{info, warn};

use crate::apt::Apt;
use crate::closure::{self, Pool, TERMINAL};
use crate::contents::{self, BUILDER, TERMINAL_PATH};
use crate::deb::Deb;
use crate::digest::sha256_hex;
use crate::firmware;
use crate::hwdb;
use crate::modules::{self, Kernel, Module};
use crate::profile::{Files, Profile};
use crate::segment::{self, Packed};
use crate::sign::sign;
use crate::tree::{Kind, Tree, canonical};
use crate::uki;

const HWDB_PACKAGE: &str = "udev";
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
    let mut apt = Apt::new(&options.cache, options.locked.clone())?;
    let profile = &options.profile;

    info!("kernel and modules");
    let kernel_deb = fetch_kernel(&mut apt, profile)?;
    let kernel = Kernel::open(&kernel_deb)?;
    let vmlinuz = vmlinuz(&kernel_deb, &kernel.release)?;

    info!("programs and their libraries");
    let mut base = base_tree(&mut apt, options)?;
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

/// The base segment without modules and settings: skeleton, the profile's files, the terminal, their libraries.
fn base_tree(apt: &mut Apt, options: &Options) -> Result<Tree> {
    let profile = &options.profile;
    let mut tree = Tree::default();
    contents::skeleton(&mut tree)?;
    let terminal = stripped(&options.terminal)?;
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
    closure::close(&mut tree, &mut pool, &profile.terminal.libraries, |names| {
        // A dependency that no archive has (a virtual package) is no reason to fail before the search has.
        let known = apt.known(names)?;
        let names: Vec<String> = names
            .iter()
            .filter(|n| known.contains(*n))
            .cloned()
            .collect();
        apt.fetch(&names)
    })?;
    Ok(tree)
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
fn stripped(path: &Path) -> Result<Vec<u8>> {
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
        ("modules.dep", modules::dep_table(all).into_bytes()),
        ("modules.alias", modules::alias_table(all).into_bytes()),
        ("modules.softdep", modules::softdep_table(all).into_bytes()),
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
