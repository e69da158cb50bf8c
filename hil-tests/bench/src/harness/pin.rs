//! A processor for each end: the server's programs on one, the desk's on another, so that neither
//! takes time from the other.

use anyhow::{Context, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

/// Which processor each end has, by the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pins {
    /// The server's: what it is made of, and the applications, as they are on servers.
    pub server: usize,
    /// The desk's.
    pub client: usize,
}

/// This thread.
const SELF: Pid = Pid::from_raw(0);

impl Pins {
    /// The first two processors on which this process may run.
    ///
    /// # Errors
    ///
    /// Where there are fewer than two.
    pub fn of_this_machine() -> anyhow::Result<Self> {
        Self::of(&sched_getaffinity(SELF).context("ask which processors there are")?)
    }

    fn of(allowed: &CpuSet) -> anyhow::Result<Self> {
        let of_set = |number: &usize| allowed.is_set(*number).unwrap_or(false);
        let numbers: Vec<usize> = (0..CpuSet::count()).filter(of_set).collect();
        ensure!(
            numbers.len() >= 2,
            "--pin takes a processor for the server and one for the client, and this process may run \
             on {} only: measure without it, or on a machine with two",
            numbers.len()
        );
        Ok(Self {
            server: numbers[0],
            client: numbers[1],
        })
    }
}

/// Does something on one processor: programs and threads started meanwhile stay there.
pub fn on<T>(number: usize, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let _back = Back(sched_getaffinity(SELF).context("ask where this thread may run")?);
    let mut one = CpuSet::new();
    one.set(number)?;
    sched_setaffinity(SELF, &one).with_context(|| format!("go to processor {number}"))?;
    act()
}

/// Lets this thread run where it might before.
struct Back(CpuSet);

impl Drop for Back {
    fn drop(&mut self) {
        // Only processors that have gone meanwhile make this fail, and then the kernel has chosen.
        let _ = sched_setaffinity(SELF, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn set(numbers: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        numbers.iter().for_each(|number| set.set(*number).unwrap());
        set
    }

    #[test]
    fn two_ends_need_two_processors() {
        let pins = Pins::of(&set(&[3, 5, 6])).unwrap();
        assert_eq!((pins.server, pins.client), (3, 5));
        let error = Pins::of(&set(&[4])).unwrap_err().to_string();
        assert!(error.contains("may run on 1 only"), "{error}");
    }

    #[test]
    fn programs_stay_where_they_were_started_and_the_thread_goes_back() {
        let before = sched_getaffinity(SELF).unwrap();
        let mut numbers = (0..CpuSet::count()).filter(|number| before.is_set(*number).unwrap());
        let number = numbers.next_back().unwrap();
        let allowed = on(number, || {
            let mut grep = Command::new("grep");
            let said = grep.args(["Cpus_allowed_list", "/proc/self/status"]);
            Ok(String::from_utf8(said.output()?.stdout)?)
        });
        let allowed = allowed.unwrap();
        let list = allowed.split_whitespace().last().unwrap();
        assert_eq!(list, number.to_string());
        assert_eq!(sched_getaffinity(SELF).unwrap(), before);
    }
}
