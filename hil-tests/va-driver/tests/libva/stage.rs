//! Where a test finds a display that libva takes, and a process of its own.
//!
//! libva asks the kernel only whether a file is a node of DRM, and libdrm takes sysfs's word for it.
//! Where there is no such node, tests run in a mount namespace in which sysfs says so of `/dev/null`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::sys::Va;

/// Which test a process is for.
const ALONE: &str = "HELIOSTAT_VA_TEST";
/// The node that it uses.
const NODE: &str = "HELIOSTAT_VA_NODE";

const PRETEND: &str = "mount -t tmpfs none /sys/dev/char && \
    mkdir -p /sys/dev/char/1:3/device/drm && exec \"$@\"";

/// A way to run programs with a display.
pub struct Stage {
    node: PathBuf,
    pretend: bool,
    /// Holds the driver under the name that libva looks for, and what tests write.
    pub folder: tempfile::TempDir,
}

impl Stage {
    /// A stage, or why there is none.
    pub fn set() -> Result<Self, String> {
        if let Err(why) = Va::load() {
            return Err(format!("libva is not installed: {why}"));
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let driver = driver()?;
        std::os::unix::fs::symlink(driver, folder.path().join("heliostat_drv_video.so"))
            .map_err(|error| error.to_string())?;
        let nodes = (128..144).map(|number| PathBuf::from(format!("/dev/dri/renderD{number}")));
        let open = |node: &PathBuf| {
            std::fs::File::options()
                .read(true)
                .write(true)
                .open(node)
                .is_ok()
        };
        if let Some(node) = nodes.into_iter().find(open) {
            return Ok(Self {
                node,
                pretend: false,
                folder,
            });
        }
        let node = PathBuf::from("/dev/null");
        let stage = Self {
            node,
            pretend: true,
            folder,
        };
        match stage.command(Path::new("true")).output() {
            Ok(output) if output.status.success() => Ok(stage),
            Ok(output) => Err(format!(
                "no render node, and none can be pretended: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => Err(format!("no render node, and no unshare: {error}")),
        }
    }

    /// The node that programs are given.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// A command that finds display and driver.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = if self.pretend {
            let mut command = Command::new("unshare");
            command
                .args(["--map-root-user", "--mount", "sh", "-c", PRETEND, "sh"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .env("LIBVA_DRIVERS_PATH", self.folder.path())
            .env("LIBVA_DRIVER_NAME", "heliostat")
            .env("LIBVA_MESSAGING_LEVEL", "0")
            .env("HELIOSTAT_VA_LOG", self.log())
            .env("HELIOSTAT_VA_COUNTERS", self.folder.path().join("counters"))
            .env(NODE, &self.node);
        command
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

/// The driver beside the test's program.
fn driver() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let name = "libheliostat_drv_video.so";
    let places = here
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    let found = places.clone().find(|place| place.exists());
    found.ok_or_else(|| format!("no driver at {:?}", places.collect::<Vec<_>>()))
}

/// What a test alone in its process has.
pub struct Alone {
    /// A display.
    pub va: Va,
    log: PathBuf,
}

impl Alone {
    /// Lines that the driver has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The counters as they were last written.
    pub fn counters(&self) -> String {
        std::fs::read_to_string(self.log.with_file_name("counters")).unwrap_or_default()
    }

    /// The node of the display.
    pub fn node() -> PathBuf {
        std::env::var_os(NODE).unwrap().into()
    }
}

/// Runs `test`, which is called `name`, in a process of its own: libva reads the environment, and
/// what a driver counts must be one test's.
pub fn alone(name: &str, test: impl FnOnce(&mut Alone)) {
    if std::env::var(ALONE).is_ok_and(|alone| alone == name) {
        let va = Va::open(&Alone::node()).unwrap();
        let log = std::env::var_os("HELIOSTAT_VA_LOG").unwrap().into();
        test(&mut Alone { va, log });
        return;
    }
    let stage = match Stage::set() {
        Ok(stage) => stage,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let mut command = stage.command(&std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, name)
        .output()
        .unwrap();
    check(&output, name);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{name} is no test: {text}");
}

/// Fails with what a program said, where it failed.
pub fn check(output: &Output, what: &str) {
    assert!(
        output.status.success(),
        "{what}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
