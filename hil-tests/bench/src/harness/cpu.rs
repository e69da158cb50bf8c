//! Processor time and memory of processes, found by their names in a namespace of our own.

use std::collections::HashMap;
use std::path::Path;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The kernel keeps this many bytes of a name.
const NAME_LENGTH: usize = 15;

/// Nanoseconds on processors, of each process since it began.
pub type Times = HashMap<i32, u64>;

/// The times of all processes of these names.
pub fn times(names: &[&str]) -> Times {
    let time = |pid| {
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).ok()?;
        let time = clock_gettime(clock).ok()?;
        let ns = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
        Some((pid, ns))
    };
    pids(names).into_iter().filter_map(time).collect()
}

/// Nanoseconds between two looks. A process that ended in between takes what it used with it, and
/// must not be taken from what the others used.
pub fn between(before: &Times, after: &Times) -> u64 {
    let used = |(pid, ns): (&i32, &u64)| ns.saturating_sub(before.get(pid).copied().unwrap_or(0));
    after.iter().map(used).sum()
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

/// How many processes wanted a processor, over the last minute.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|load| load.parse().ok()).unwrap_or(0.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_that_has_ended_takes_nothing_from_the_others() {
        let before = Times::from([(1, 100), (2, 5000)]);
        let after = Times::from([(1, 130), (3, 7)]);
        assert_eq!(between(&before, &after), 37);
    }
}
