//! A test in a process of its own, with a display.

use std::path::PathBuf;
use std::process::Output;

use crate::stage::{Lack, NODE, Stage};
use crate::sys::Va;

/// Which test a process is for.
const ALONE: &str = "HELIOSTAT_VA_TEST";

/// A stage, where libva is installed; or why there is none.
pub fn stage() -> Result<Stage, Lack> {
    Va::load().map_err(|why| Lack::Part(format!("libva is not installed: {why}")))?;
    Stage::set()
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
    let stage = match stage() {
        Ok(stage) => stage,
        Err(lack) => return lack.skip(),
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
