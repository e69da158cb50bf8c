//! Processor time and memory of processes, found by their names in a namespace of our own.

use std::collections::HashMap;
use std::iter::Sum;
use std::ops::Add;
use std::path::Path;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

use super::figures::round;

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

/// Resident memory in MiB, by what it is of: `rss` is the sum of the three others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// All of it.
    pub rss: f64,
    /// What is a process's own, whatever it shares with those it was forked from.
    pub private: f64,
    /// Programs and libraries, which all processes that run them have together.
    pub files: f64,
    /// Memory that processes share: in a server of Wayland what applications draw into.
    pub shared: f64,
}

impl Memory {
    /// Of what the kernel says of a process in `/proc/PID/status`.
    fn of_status(status: &str) -> Option<Self> {
        let mib = |field: &str| {
            let mut lines = status.lines();
            let rest = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
            let kib: f64 = rest.split_whitespace().next()?.parse().ok()?;
            Some(round(kib / 1024.0))
        };
        Some(Self {
            rss: mib("VmRSS")?,
            private: mib("RssAnon")?,
            files: mib("RssFile")?,
            shared: mib("RssShmem")?,
        })
    }
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rss: round(self.rss + other.rss),
            private: round(self.private + other.private),
            files: round(self.files + other.files),
            shared: round(self.shared + other.shared),
        }
    }
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}

/// One process's memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// The first 15 bytes of its name.
    pub name: String,
    /// In MiB.
    #[serde(flatten)]
    pub memory: Memory,
}

/// The memory of each process of these names.
pub fn memory(names: &[&str]) -> Vec<Process> {
    let of = |pid| {
        let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        Some(Process {
            name: read("comm")?.trim_end().to_owned(),
            memory: Memory::of_status(&read("status")?)?,
        })
    };
    pids(names).into_iter().filter_map(of).collect()
}

/// That of all of these together.
pub fn in_all(processes: &[Process]) -> Memory {
    processes.iter().map(|process| process.memory).sum()
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
    fn memory_is_told_apart_and_summed_up() {
        let status = "Name:\tx\nVmHWM:\t 9999 kB\nVmRSS:\t 8192 kB\nRssAnon:\t 1024 kB\n\
                      RssFile:\t 4096 kB\nRssShmem:\t 3072 kB\n";
        let memory = Memory::of_status(status).unwrap();
        assert_eq!((memory.rss, memory.private), (8.0, 1.0));
        assert_eq!((memory.files, memory.shared), (4.0, 3.0));
        let process = |name: &str| Process {
            name: name.to_owned(),
            memory,
        };
        let both = in_all(&[process("one"), process("other")]);
        assert_eq!((both.rss, both.private), (16.0, 2.0));
        assert_eq!(Memory::of_status("VmRSS:\t 1 kB\n"), None);
    }

    #[test]
    fn this_process_is_found_with_its_memory() {
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        let found = memory(&[name.trim_end()]);
        assert!(found.iter().any(|process| {
            let Memory {
                rss,
                private,
                files,
                shared,
            } = process.memory;
            private > 0.0 && (rss - private - files - shared).abs() < 1.0
        }));
    }

    #[test]
    fn process_that_has_ended_takes_nothing_from_the_others() {
        let before = Times::from([(1, 100), (2, 5000)]);
        let after = Times::from([(1, 130), (3, 7)]);
        assert_eq!(between(&before, &after), 37);
    }
}
