//! A test in a process of its own, with a display.

use std::path::PathBuf;

use heliostat_va::{Display, Error};

use crate::stage::{NODE, Stage, open};

/// Which test a process is for.
const ALONE: &str = "HELIOSTAT_VA_TEST";

/// What a test in a process of its own left.
pub struct Ran {
    /// Lines that the driver has logged.
    pub log: String,
    /// Its counters.
    pub counters: String,
    /// What the test wrote down, beside the log.
    pub errors: String,
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
    let read = |name| std::fs::read_to_string(stage.folder.path().join(name)).unwrap_or_default();
    Some(Ran {
        log: read("log"),
        counters: read("counters"),
        errors: read("log-errors"),
    })
}
