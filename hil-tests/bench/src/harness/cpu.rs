//! Processor time and memory of processes, found by their names in a namespace of our own.

use std::path::Path;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The kernel keeps this many bytes of a name.
const NAME_LENGTH: usize = 15;

/// Nanoseconds on processors, of all processes of these names since each began.
pub fn time_ns(names: &[&str]) -> u64 {
    let time = |pid| {
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).ok()?;
        let time = clock_gettime(clock).ok()?;
        Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    };
    pids(names).into_iter().filter_map(time).sum()
}

/// Resident memory in MiB, of all processes of these names.
pub fn rss_mib(names: &[&str]) -> f64 {
    let rss = |pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmRSS"))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    pids(names).into_iter().filter_map(rss).sum::<f64>() / 1024.0
}

fn pids(names: &[&str]) -> Vec<i32> {
    let Ok(folder) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let all = folder.flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let name = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
        let name = name.ok()?;
        let is_one = |wanted: &&str| {
            let end = wanted.len().min(NAME_LENGTH);
            name.trim_end() == &wanted[..end]
        };
        names.iter().any(is_one).then_some(pid)
    });
    all.collect()
}
