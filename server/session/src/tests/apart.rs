//! A test in a process of its own, for what counts by the process: its memory.

use std::process::Command;

/// Which test a process is for.
const APART: &str = "HELIOSTAT_TEST_APART";

/// Runs `test`, which has this name, in a process of its own, and fails where it does.
pub fn apart(name: &str, test: impl FnOnce()) {
    if std::env::var(APART).is_ok_and(|named| named == name) {
        return test();
    }
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(APART, name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let log = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}\n{log}");
    assert!(said.contains("1 passed"), "{said}");
    print!("{said}");
}

/// By how many KiB this process grows at most while something happens.
pub fn grown_kib(happens: impl FnOnce()) -> u64 {
    // 5 makes the most that was resident what is resident now (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = most_resident_kib();
    happens();
    most_resident_kib() - before
}

fn most_resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
