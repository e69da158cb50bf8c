//! The modules of the image: their indexes, their parameters, and loading one.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use tracing::{debug, info, warn};

use super::dep::normalise;
use super::{AliasIndex, DepIndex};
use crate::cmdline::Cmdline;

/// Where the kernel finds the program that loads modules for it.
pub const MODPROBE: &str = "/sbin/modprobe";

/// The modules below one directory (`/lib/modules/<release>`).
pub struct Catalogue {
    dir: PathBuf,
    params: BTreeMap<String, String>,
    aliases: AliasIndex,
    deps: DepIndex,
}

impl Catalogue {
    /// Reads the indexes below `dir`. Missing ones are empty: a kernel with everything built in
    /// needs none.
    pub fn read(dir: &Path, cmdline: &Cmdline) -> Catalogue {
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        Catalogue {
            dir: dir.to_owned(),
            params: cmdline.module_params.clone(),
            aliases: AliasIndex::parse(&read("modules.alias")),
            deps: DepIndex::parse(&read("modules.dep"), &read("modules.softdep")),
        }
    }

    /// How many modules there are, and how many patterns of devices.
    pub fn sizes(&self) -> (usize, usize) {
        (self.deps.len(), self.aliases.len())
    }

    /// What to load, in order, for `name`: a module, or what a device or the kernel calls it.
    pub fn order(&self, name: &str) -> Vec<&str> {
        let module = normalise(name);
        if self.deps.path(&module).is_some() {
            return self.deps.load_order(&module);
        }
        let modules = self.aliases.modules_for(name).into_iter();
        modules
            .flat_map(|module| self.deps.load_order(module))
            .collect()
    }

    /// Loads one module whose needs are loaded; true when it is there afterwards. Two processes or
    /// threads may do so with the same module at once: the kernel lets the second wait.
    pub fn load(&self, module: &str, wanted_by: &str) -> bool {
        let Some(path) = self.deps.path(module).map(|path| self.dir.join(path)) else {
            return false;
        };
        let began = Instant::now();
        let outcome = insert(&path, self.params.get(module).map_or("", String::as_str));
        let ms = began.elapsed().as_millis() as u64;
        match outcome {
            Ok(()) => info!(module, ms, wanted_by, "module loaded"),
            Err(Errno::EEXIST) => debug!(module, "module was loaded already"),
            // What modprobe treats the same: the hardware is not there after all.
            Err(Errno::ENODEV) => debug!(module, wanted_by, "module found no device"),
            Err(error) => warn!(module, path = %path.display(), %error, "module not loaded"),
        }
        matches!(outcome, Ok(()) | Err(Errno::EEXIST))
    }
}

fn insert(path: &Path, params: &str) -> Result<(), Errno> {
    let file = File::open(path)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))?;
    let params = CString::new(params).map_err(|_| Errno::EINVAL)?;
    finit_module(&file, &params, ModuleInitFlags::empty())
}

/// Makes this program the one that the kernel starts when it wants a module itself, as drivers of
/// network cards do for the chip at the cable. An image that has a modprobe keeps it.
///
/// # Errors
/// When the root cannot be written.
pub fn provide_modprobe() -> std::io::Result<()> {
    let modprobe = Path::new(MODPROBE);
    if modprobe.exists() {
        return Ok(());
    }
    if let Some(dir) = modprobe.parent() {
        fs::create_dir_all(dir)?;
    }
    std::os::unix::fs::symlink(fs::read_link("/proc/self/exe")?, modprobe)
}

/// True when this process was started as modprobe, by the name it goes by.
pub fn is_modprobe(arg0: Option<&OsStr>) -> bool {
    let name = arg0.and_then(|arg0| Path::new(arg0).file_name());
    name.is_some_and(|name| name == "modprobe")
}

/// What modprobe does for the kernel: `modprobe -q -- NAME`. True when something was loaded.
pub fn run_modprobe(args: impl Iterator<Item = OsString>) -> bool {
    let facts = crate::boot::facts::Facts::gather();
    let Some(dir) = &facts.modules_dir else {
        return false;
    };
    let catalogue = Catalogue::read(dir, &facts.cmdline);
    let mut loaded = false;
    let names = args.map(|arg| arg.to_string_lossy().into_owned());
    for name in names.filter(|arg| !arg.starts_with('-')) {
        for module in catalogue.order(&name) {
            loaded |= catalogue.load(module, &name);
        }
    }
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write(
            "modules.dep",
            "k/realtek.ko:\nk/af-packet.ko:\nk/r8169.ko: k/mii.ko\nk/mii.ko:\n",
        );
        write("modules.softdep", "softdep r8169 pre: realtek\n");
        write(
            "modules.alias",
            "alias mdio:0000000000011100110010010001???? realtek\nalias net-pf-17 af_packet\n",
        );
        Catalogue::read(dir.path(), &Cmdline::default())
    }

    #[test]
    fn modules_are_found_by_name_by_device_and_by_what_the_kernel_calls_them() {
        let catalogue = catalogue();
        assert_eq!(catalogue.order("r8169"), ["realtek", "mii", "r8169"]);
        assert_eq!(
            catalogue.order("mdio:00000000000111001100100100010110"),
            ["realtek"]
        );
        assert_eq!(catalogue.order("net-pf-17"), ["af_packet"]);
        assert_eq!(catalogue.order("af-packet"), ["af_packet"]);
        assert!(catalogue.order("nope").is_empty());
    }

    #[test]
    fn a_directory_without_indexes_is_an_empty_catalogue() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            Catalogue::read(dir.path(), &Cmdline::default()).sizes(),
            (0, 0)
        );
    }

    #[test]
    fn only_the_name_modprobe_makes_a_modprobe() {
        let is = |name: &str| is_modprobe(Some(OsStr::new(name)));
        assert!(is("/sbin/modprobe") && is("modprobe"));
        assert!(!is("/init") && !is("heliostat-terminal") && !is_modprobe(None));
    }
}
