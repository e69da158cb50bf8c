//! What the guest's memory holds: the product's programs, the libraries of both from this machine, and the modules.
//!
//! Programs run there on this machine's own libraries, only the kernel is another. So nothing is built twice, and
//! what is tested is what `cargo build` made.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use heliostat_image::tree::{Kind, Tree};
use heliostat_image::{base, cpio, elf};
use hil_local::programs;
use hil_rig::namespaces::lines_of;

use crate::kernel::Kernel;

/// The program that is process 1 in there.
pub const INIT: &str = "hil-planes";
/// Where the modules are in there.
pub const MODULES: &str = "usr/lib/hil/modules";
/// Where libva finds the driver in there.
pub const VA_DRIVERS: &str = "usr/lib/hil/va";
/// Homes of the guest's people.
pub const HOMES: &str = "/run/home";

/// Ours, each with all its libraries.
const PROGRAMS: [&str; 6] = [
    INIT,
    "heliostat-broker",
    "heliostat-session",
    "heliostatctl",
    "heliostat-terminal",
    "hil-probe",
];
/// What programs open by themselves, so that no ELF file names it.
const OPENED: [&str; 10] = [
    "libwayland-client.so.0",
    "libva.so.2",
    "libva-drm.so.2",
    "libEGL.so.1",
    "libEGL_mesa.so.0",
    "libgbm.so.1",
    "dri/kms_swrast_dri.so",
    "libgcc_s.so.1",
    "security/pam_unix.so",
    "security/pam_env.so",
];
/// Programs of the system's.
const SYSTEM: [&str; 1] = ["/bin/sh"];
/// Folders and files that they read.
const DATA: [&str; 6] = [
    "/usr/share/glvnd/egl_vendor.d",
    "/usr/share/libinput",
    "/usr/share/X11/xkb",
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/libdrm",
    "/etc/security/pam_env.conf",
];
/// Where libraries are, on Debian and on its relatives.
const LIBRARIES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/lib",
];
/// Where they go.
const LIBRARY_DIR: &str = "usr/lib/x86_64-linux-gnu";

/// Who put something into the tree; only for messages about two contents of one path.
const OURS: &str = "gpu-rig";

/// Makes the archive; what is absent on this machine and not needed by all scenarios is left out.
pub fn pack(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    skeleton(&mut tree)?;
    let mut packing = Packing {
        tree,
        libraries: BTreeSet::new(),
    };
    for name in PROGRAMS {
        packing.program(&programs::find(name)?, &format!("usr/bin/{name}"))?;
    }
    packing
        .tree
        .symlink("init", &format!("usr/bin/{INIT}"), OURS)?;
    for path in SYSTEM {
        packing.program(Path::new(path), path)?;
    }
    for library in OPENED {
        match find_library(library) {
            Some(_) => packing.library(library)?,
            None => eprintln!(
                "  {library} is not on this machine: what needs it is skipped in the guest"
            ),
        }
    }
    let driver = programs::folder()?.join("libheliostat_drv_video.so");
    packing.program(&driver, &format!("{VA_DRIVERS}/heliostat_drv_video.so"))?;
    for module in kernel.modules()? {
        let name = module
            .file_name()
            .context("a module has a name")?
            .to_string_lossy()
            .into_owned();
        let data = fs::read(&module)?;
        packing
            .tree
            .file(&format!("{MODULES}/{name}"), data, 0o644, OURS)?;
    }
    let mut tree = packing.tree;
    for path in DATA {
        add_data(&mut tree, Path::new(path))?;
    }
    Ok(cpio::write(&tree))
}

/// The files that the archive is made of, to tell whether it is old.
pub fn parts(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let mut parts = vec![
        kernel.image(),
        programs::folder()?.join("libheliostat_drv_video.so"),
    ];
    for name in PROGRAMS {
        parts.push(programs::find(name)?);
    }
    Ok(parts)
}

fn skeleton(tree: &mut Tree) -> Result<()> {
    for dir in [
        "dev",
        "etc",
        "proc",
        "run",
        "sys",
        "usr/bin",
        "usr/sbin",
        "usr/lib64",
        "var/lib",
    ] {
        tree.dir(dir, OURS)?;
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        tree.top_link(name, &format!("usr/{name}"), OURS);
    }
    tree.insert("root", Kind::Dir { mode: 0o700 }, OURS)?;
    tree.insert("tmp", Kind::Dir { mode: 0o1777 }, OURS)?;
    tree.device("dev/console", 0o600, 5, 1, OURS)?;
    let mut text = |path: &str, text: &str| tree.file(path, text.as_bytes().to_vec(), 0o644, OURS);
    text(
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    )?;
    text("etc/hosts", "127.0.0.1 localhost\n")?;
    text("etc/machine-id", "00000000000000000000000000000001\n")?;
    text("etc/pam.d/other", "auth required pam_deny.so\n")?;
    for (file, root) in [
        ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("group", "root:x:0:\ntty:x:5:\n"),
        ("shadow", "root:!:20000:0:99999:7:::\n"),
    ] {
        let people = lines_of(file, Path::new(HOMES)).join("\n");
        text(&format!("etc/{file}"), &format!("{root}{people}\n"))?;
    }
    Ok(())
}

struct Packing {
    tree: Tree,
    libraries: BTreeSet<String>,
}

impl Packing {
    /// A program without its symbols, and all its libraries.
    fn program(&mut self, from: &Path, to: &str) -> Result<()> {
        let data = base::stripped(from)?;
        self.needed_by(&data, from)?;
        self.tree.file(to, data, 0o755, OURS)?;
        Ok(())
    }

    fn library(&mut self, name: &str) -> Result<()> {
        if !self.libraries.insert(name.to_owned()) {
            return Ok(());
        }
        let from = find_library(name).with_context(|| format!("{name} is not on this machine"))?;
        let data = fs::read(&from).with_context(|| from.display().to_string())?;
        self.needed_by(&data, &from)?;
        self.tree
            .file(&format!("{LIBRARY_DIR}/{name}"), data, 0o755, OURS)?;
        Ok(())
    }

    fn needed_by(&mut self, data: &[u8], from: &Path) -> Result<()> {
        let dynamic = elf::dynamic(data).with_context(|| from.display().to_string())?;
        for name in &dynamic.needed {
            self.library(name)
                .with_context(|| format!("for {}", from.display()))?;
        }
        if let Some(loader) = &dynamic.interpreter
            && self.libraries.insert(loader.clone())
        {
            let data = fs::read(loader).with_context(|| loader.clone())?;
            self.tree.file(loader, data, 0o755, OURS)?;
        }
        Ok(())
    }
}

fn find_library(name: &str) -> Option<PathBuf> {
    let paths = LIBRARIES.iter().map(|dir| Path::new(dir).join(name));
    paths.into_iter().find(|path| path.is_file())
}

/// A file, or a folder with what is below it; links become what they lead to.
fn add_data(tree: &mut Tree, path: &Path) -> Result<()> {
    let Ok(meta) = fs::metadata(path) else {
        return Ok(());
    };
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            add_data(tree, &entry?.path())?;
        }
        return Ok(());
    }
    let name = path
        .to_str()
        .with_context(|| format!("{} is no text", path.display()))?;
    tree.file(
        name,
        fs::read(path)?,
        meta.permissions().mode() & 0o777,
        OURS,
    )?;
    Ok(())
}
