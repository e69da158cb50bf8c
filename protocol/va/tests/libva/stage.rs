//! Where a test finds a display that libva takes, and a process of its own.
//!
//! libva asks the kernel only whether a file is a node of DRM, and libdrm takes sysfs's word for it.
//! Where there is no such node, tests run in a mount namespace in which sysfs says so of `/dev/null`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use heliostat_va::{Display, Error};

/// Which test a process is for.
const ALONE: &str = "HELIOSTAT_VA_TEST";
/// The node that it uses.
const NODE: &str = "HELIOSTAT_VA_NODE";

const PRETEND: &str = "mount -t tmpfs none /sys/dev/char && \
    mkdir -p /sys/dev/char/1:3/device/drm && exec \"$@\"";

/// A way to run programs with a display.
struct Stage {
    node: PathBuf,
    pretend: bool,
    /// Holds the driver under the name that libva looks for, and what it writes.
    folder: tempfile::TempDir,
}

/// What a test in a process of its own left.
pub struct Ran {
    /// Lines that the driver has logged.
    pub log: String,
    /// Its counters.
    pub counters: String,
    /// What the test wrote down, beside the log.
    pub errors: String,
}

impl Stage {
    /// A stage, or why there is none.
    fn set() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        std::os::unix::fs::symlink(driver()?, folder.path().join("heliostat_drv_video.so"))
            .map_err(|error| error.to_string())?;
        let nodes = (128..144).map(|number| PathBuf::from(format!("/dev/dri/renderD{number}")));
        let found = nodes.into_iter().find(|node| open(node).is_ok());
        let stage = Self {
            pretend: found.is_none(),
            node: found.unwrap_or_else(|| "/dev/null".into()),
            folder,
        };
        if !stage.pretend {
            return Ok(stage);
        }
        match stage.command(Path::new("true")).output() {
            Ok(output) if output.status.success() => Ok(stage),
            Ok(output) => Err(format!(
                "no render node, and none can be pretended: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => Err(format!("no render node, and no unshare: {error}")),
        }
    }

    /// A command that finds display and driver.
    fn command(&self, program: &Path) -> Command {
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
            .env("HELIOSTAT_VA_LOG", self.folder.path().join("log"))
            .env("HELIOSTAT_VA_COUNTERS", self.folder.path().join("counters"))
            .env(NODE, &self.node);
        command
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

fn open(node: &Path) -> std::io::Result<OwnedFd> {
    let file = std::fs::File::options().read(true).write(true).open(node)?;
    Ok(file.into())
}

/// The driver beside the test's program.
fn driver() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let folders = here.ancestors().skip(1).take(2);
    let places = folders.map(|folder| folder.join("libheliostat_drv_video.so"));
    let places: Vec<_> = places.collect();
    let found = places.iter().rfind(|place| place.exists());
    found.cloned().ok_or_else(|| {
        format!("there is no driver at {places:?}: cargo build -p hil-va-driver makes one")
    })
}

/// The display of a test that is alone in its process.
pub fn display() -> Result<Display, Error> {
    let node = PathBuf::from(std::env::var_os(NODE).unwrap());
    Display::open(open(&node).unwrap())
}

/// Runs `test`, which is called `name`, in a process of its own, in which these calls of the driver
/// fail: libva reads the environment, and what a driver counts must be one test's. Returns nothing
/// where it is that process, or where there is no display.
pub fn alone(name: &str, faults: &str, test: impl FnOnce()) -> Option<Ran> {
    if std::env::var(ALONE).is_ok_and(|alone| alone == name) {
        test();
        return None;
    }
    let stage = match Stage::set() {
        Ok(stage) => stage,
        Err(why) => {
            println!("skipped: {why}");
            return None;
        }
    };
    let output = stage
        .command(&std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, name)
        .env("HELIOSTAT_VA_FAULTS", faults)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if said.contains("libva is not installed") {
        println!("skipped: libva is not installed");
        return None;
    }
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{name} with {faults:?}: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Some(Ran {
        log: stage.read("log"),
        counters: stage.read("counters"),
        errors: stage.read("log-errors"),
    })
}
