//! Control groups (version 2): what a session may use, and that nothing of it outlives it.
//!
//! Where systemd runs, groups are its: PAM's session has a scope of logind's, or else the session
//! gets a scope of its own ([`systemd`]). Where it does not, as in containers, groups are made
//! below the broker's ([`own`]). See ADR 0013.

use std::fs;
use std::path::Path;

use heliostat_control::worker::Limits;

pub mod hook;
pub mod own;
pub mod systemd;

/// The files of a group that hold these limits, and what is written there.
pub fn files(limits: &Limits) -> Vec<(&'static str, String)> {
    let all = [
        (
            "memory.max",
            limits.memory_max.map(|bytes| bytes.to_string()),
        ),
        (
            "memory.high",
            limits.memory_high.map(|bytes| bytes.to_string()),
        ),
        (
            "cpu.weight",
            limits.cpu_weight.map(|weight| weight.to_string()),
        ),
        ("pids.max", limits.tasks_max.map(|tasks| tasks.to_string())),
        (
            "io.weight",
            limits.io_weight.map(|weight| format!("default {weight}")),
        ),
    ];
    all.into_iter()
        .filter_map(|(file, value)| Some((file, value?)))
        .collect()
}

/// The same as systemd's properties.
pub fn properties(limits: &Limits) -> Vec<String> {
    let all = [
        limits.memory_max.map(|bytes| format!("MemoryMax={bytes}")),
        limits
            .memory_high
            .map(|bytes| format!("MemoryHigh={bytes}")),
        limits
            .cpu_weight
            .map(|weight| format!("CPUWeight={weight}")),
        limits.tasks_max.map(|tasks| format!("TasksMax={tasks}")),
        limits.io_weight.map(|weight| format!("IOWeight={weight}")),
    ];
    all.into_iter().flatten().collect()
}

/// Writes limits into a group; says which it could not.
fn apply(group: &Path, limits: &Limits) -> Vec<String> {
    let written = files(limits).into_iter().map(|(file, value)| {
        fs::write(group.join(file), value)
            .map_err(|error| format!("limit {file} (control groups here do not take it: {error})"))
    });
    written.filter_map(Result::err).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Limits = Limits {
        memory_max: Some(1 << 30),
        memory_high: Some(1 << 29),
        cpu_weight: Some(50),
        tasks_max: Some(2000),
        io_weight: Some(10),
    };

    #[test]
    fn every_limit_has_its_file_and_its_property() {
        let files = files(&ALL);
        let expected = [
            ("memory.max", "1073741824"),
            ("memory.high", "536870912"),
            ("cpu.weight", "50"),
            ("pids.max", "2000"),
            ("io.weight", "default 10"),
        ];
        let files: Vec<_> = files
            .iter()
            .map(|(file, value)| (*file, &**value))
            .collect();
        assert_eq!(files, expected);
        let expected = [
            "MemoryMax=1073741824",
            "MemoryHigh=536870912",
            "CPUWeight=50",
            "TasksMax=2000",
            "IOWeight=10",
        ];
        assert_eq!(properties(&ALL), expected);
        assert!(super::files(&Limits::default()).is_empty());
    }

    #[test]
    fn a_limit_that_is_not_taken_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("gone");
        let without = apply(&missing, &ALL);
        assert_eq!(without.len(), 5);
        assert!(without[3].starts_with("limit pids.max"), "{without:?}");
    }
}
