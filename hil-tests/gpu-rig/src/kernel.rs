//! A kernel with vkms, the display in software that Debian's kernels lack.
//!
//! ```text
//!   lists ─▶ packages ─▶ a root with compiler and headers ─▶ vkms.ko
//!                    └─▶ kernel and modules ────────────────────┴─▶ kept: vmlinuz, the modules
//! ```
//!
//! All but the last goes away. Tools that build modules are programs of the newer release, so they run in a root
//! of that release; no maintainer script is run, and nothing outside the folder is written.

mod parameter;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use heliostat_image::deb::Deb;
use heliostat_image::modules::{self, Module};
use heliostat_image::tree::Kind;

pub use self::parameter::RGB_ONLY;
use crate::archive::{Archive, Offer};

/// The series whose vkms has planes for NV12 and is known to work.
const SERIES: &str = "7.2";
/// Counts ways of building; what was built in another way is not used.
const RECIPE: u32 = 3;
/// What the guest loads: the display, a render node that stands for a GPU's, and one whose driver has timelines.
const MODULES: [&str; 3] = ["vkms", "vgem", "virtio-gpu"];
/// What is wanted of the newer release to build a module with.
const TOOLS: [&str; 15] = [
    "base-files",
    "bash",
    "binutils",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "gcc",
    "grep",
    "gzip",
    "libc-bin",
    "libc6-dev",
    "make",
    "mawk",
    "sed",
];

/// There is no such kernel here: no archive, none of its keys, or no kernel that is new enough in it.
#[derive(Debug)]
pub struct NotToBeHad;

impl std::fmt::Display for NotToBeHad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no kernel to build vkms for")
    }
}

/// A kernel and its modules on disk.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Its release, such as `7.2.12+deb13-amd64`.
    pub release: String,
    folder: PathBuf,
}

impl Kernel {
    /// The kernel that was built before, if there is one.
    pub fn kept(folder: &Path) -> Option<Self> {
        // This file is written last.
        let built = fs::read_to_string(folder.join("built")).ok()?;
        let release = built.strip_prefix(&format!("{SERIES} {RECIPE} "))?;
        Some(Self {
            release: release.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// Where the kernel itself is.
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// Its modules, in the order in which they can be loaded.
    pub fn modules(&self) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(self.folder.join("modules"))? {
            paths.push(entry?.path());
        }
        paths.sort();
        Ok(paths)
    }
}

/// Builds the kernel's folder, telling what it does; `work` is a folder that goes away again.
pub fn build(folder: &Path, work: &Path) -> Result<Kernel> {
    clear(folder)?;
    clear(work)?;
    let built = build_in(folder, work);
    clear(work)?;
    built
}

fn build_in(folder: &Path, work: &Path) -> Result<Kernel> {
    let archive =
        step("fetch package lists", || Archive::open(&work.join("apt"))).context(NotToBeHad)?;
    let offer = archive.kernel(SERIES).context(NotToBeHad)?;
    if offer.series != SERIES {
        eprintln!(
            "  the archive has no kernel {SERIES} any more; taking {}",
            offer.release
        );
    }
    let release = format!("{}-amd64", offer.release);
    let root = work.join("root");
    step("make a root with compiler and headers", || {
        make_root(&archive, &root, &offer)
    })?;
    let packages = step("fetch kernel, modules and sources", || {
        fetch(&archive, work, &offer)
    })?;
    step("unpack the sources of vkms", || {
        unpack_vkms(&packages["linux-source"], &root)
    })?;
    step("give vkms a parameter", || {
        parameter::add(&root.join("vkms"))
    })?;
    step("build vkms", || make_module(&root, &release))?;
    step("choose modules", || {
        keep(folder, &packages, &root, &release)
    })?;
    fs::write(folder.join("built"), format!("{SERIES} {RECIPE} {release}"))?;
    Kernel::kept(folder).context("the kernel was just written")
}

fn step<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    eprint!("  {what} …");
    let started = Instant::now();
    let result = run();
    let outcome = if result.is_ok() { "done" } else { "failed" };
    eprintln!(" {outcome} ({:.1} s)", started.elapsed().as_secs_f32());
    result.with_context(|| format!("cannot {what}"))
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn make_root(archive: &Archive, root: &Path, offer: &Offer) -> Result<()> {
    let headers = format!("linux-headers-{}-amd64", offer.release);
    let mut wanted = TOOLS.to_vec();
    wanted.push(&headers);
    let packages = archive.fetch_with_dependencies(&wanted)?;
    fs::create_dir_all(root)?;
    // The links from /bin to /usr/bin and so on come first, or packages would make folders in their place.
    let (base, others): (Vec<_>, Vec<_>) = packages.iter().partition(|path| {
        path.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("base-files_"))
    });
    for package in base.into_iter().chain(others) {
        run(Command::new("dpkg-deb").arg("-x").arg(package).arg(root))?;
    }
    // Maintainer scripts would have made this one.
    std::os::unix::fs::symlink("mawk", root.join("usr/bin/awk"))?;
    Ok(())
}

/// The files of the packages, by what they are.
fn fetch(archive: &Archive, work: &Path, offer: &Offer) -> Result<BTreeMap<&'static str, PathBuf>> {
    let release = &offer.release;
    let headers = format!("linux-headers-{release}-amd64");
    // The sources of a series go on; these are the ones that this kernel was built from.
    let sources = format!(
        "linux-source-{}={}",
        offer.series,
        archive.version(&headers)?
    );
    let names = [
        format!("linux-binary-{release}-amd64"),
        format!("linux-modules-{release}-amd64"),
        sources,
    ];
    let files = archive.fetch(&names, &work.join("kernel"))?;
    let kinds = ["linux-binary", "linux-modules", "linux-source"];
    let file = |kind: &&'static str| -> Result<(&'static str, PathBuf)> {
        let starts = |path: &&PathBuf| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(kind))
        };
        let file = files
            .iter()
            .find(starts)
            .with_context(|| format!("apt left no {kind}"))?;
        Ok((*kind, file.clone()))
    };
    kinds.iter().map(file).collect()
}

/// The sources are a compressed archive in a package; only one folder of it is written.
fn unpack_vkms(package: &Path, root: &Path) -> Result<()> {
    let script = "set -eu -o pipefail
        dpkg-deb --fsys-tarfile \"$1\" |
            tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
            xz -dc |
            tar -x -C \"$2\" --strip-components=4 --wildcards '*/drivers/gpu/drm/vkms/*'";
    run(Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(package)
        .arg(root))?;
    ensure!(
        root.join("vkms/vkms_drv.c").is_file(),
        "the sources have no drivers/gpu/drm/vkms"
    );
    Ok(())
}

/// Builds the module inside the root, in a mount namespace of its own. Without root a user namespace gives the
/// right to do that.
fn make_module(root: &Path, release: &str) -> Result<()> {
    let script = "set -eu
        mount --rbind /dev \"$1/dev\"
        mount --rbind /proc \"$1/proc\"
        exec chroot \"$1\" /bin/sh -c \"$2\"";
    let build = format!(
        "make -s -C /usr/src/linux-headers-{release} M=/vkms CONFIG_DRM_VKMS=m -j\"$(nproc)\" modules && \
         strip --strip-debug /vkms/vkms.ko"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if !nix::unistd::Uid::effective().is_root() {
        command.arg("--map-root-user");
    }
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C");
    run(command
        .args(["sh", "-c", script, "sh"])
        .arg(root)
        .arg(build))
}

fn keep(
    folder: &Path,
    packages: &BTreeMap<&str, PathBuf>,
    root: &Path,
    release: &str,
) -> Result<()> {
    // apt has verified the packages; no manifest wants their hashes.
    let mut deb = Deb::read(&packages["linux-modules"], "")?;
    let vkms = Kind::File {
        data: Arc::new(fs::read(root.join("vkms/vkms.ko"))?),
        mode: 0o644,
    };
    deb.nodes
        .insert(format!("usr/lib/modules/{release}/updates/vkms.ko"), vkms);
    let modules = modules::Kernel::open(&deb)?.select(&MODULES.map(str::to_owned))?;
    fs::create_dir_all(folder.join("modules"))?;
    for (number, module) in in_order(&modules).into_iter().enumerate() {
        let name = format!("{number:02}-{}.ko", module.name);
        fs::write(folder.join("modules").join(name), module.data.as_slice())?;
    }
    let binary = Deb::read(&packages["linux-binary"], "")?;
    let places = [
        format!("usr/lib/modules/{release}/vmlinuz"),
        format!("boot/vmlinuz-{release}"),
    ];
    let image = places.iter().find_map(|place| binary.file(place));
    let (image, _) = image.with_context(|| format!("{} holds no kernel", binary.name))?;
    fs::write(folder.join("vmlinuz"), image.as_slice())?;
    Ok(())
}

/// Every module after those that it depends on.
fn in_order(modules: &BTreeMap<String, Module>) -> Vec<&Module> {
    fn add<'a>(name: &str, modules: &'a BTreeMap<String, Module>, order: &mut Vec<&'a Module>) {
        let Some(module) = modules
            .get(name)
            .filter(|m| order.iter().all(|o| o.name != m.name))
        else {
            return;
        };
        for needed in module.info.depends.iter().chain(&module.info.soft_before) {
            add(needed, modules, order);
        }
        order.push(module);
    }
    let mut order = Vec::new();
    for name in modules.keys() {
        add(name, modules, &mut order);
    }
    order
}

/// Runs a command and gives what it said when it fails.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let mut said = output.stdout;
        said.write_all(&output.stderr)?;
        bail!(
            "{name} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&said).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_depend_on() {
        let module = |name: &str, depends: &[&str]| {
            let info = modules::Info {
                depends: depends.iter().map(|d| (*d).to_owned()).collect(),
                ..modules::Info::default()
            };
            let module = Module {
                name: name.to_owned(),
                path: format!("kernel/{name}.ko"),
                data: Arc::default(),
                info,
            };
            (name.to_owned(), module)
        };
        let all = BTreeMap::from([
            module("a", &["c", "b"]),
            module("b", &["c", "d"]),
            module("c", &["d"]),
            module("d", &[]),
        ]);
        let order: Vec<&str> = in_order(&all).iter().map(|m| m.name.as_str()).collect();
        assert_eq!(order, ["d", "c", "b", "a"]);
    }
}
