//! On which processors the threads run: beside the compositor, and not in turns with it.
//!
//! A thread that is woken goes to a processor that is idle, as far as the scheduler knows one. On
//! virtual machines it hardly does: a processor that has halted looks like one that the host has
//! taken away. Then compositor and compression share one processor, and the other one rests until the
//! scheduler looks around, ten milliseconds later. So while a frame is being packed its parts are
//! compressed elsewhere than where it is packed.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The threads, and which processor they keep off.
#[derive(Debug)]
pub(super) struct Apart {
    /// Where anything of this process may run; nothing where there is only one processor.
    allowed: Option<CpuSet>,
    kept_off: Option<usize>,
    threads: Vec<Pid>,
}

impl Apart {
    /// No threads yet.
    pub(super) fn new() -> Self {
        let allowed = sched_getaffinity(None).ok().filter(|all| all.count() > 1);
        Self {
            allowed,
            kept_off: None,
            threads: Vec::new(),
        }
    }

    /// A thread has started.
    pub(super) fn started(&mut self, thread: Pid) {
        self.threads.push(thread);
        if let Some(set) = self.set() {
            place(thread, &set);
        }
    }

    /// A thread is about to end.
    pub(super) fn ends(&mut self, thread: Pid) {
        self.threads.retain(|one| *one != thread);
    }

    /// Keeps all threads off the processor that calls this.
    pub(super) fn keep_off_here(&mut self) {
        self.keep_off(Some(sched_getcpu()));
    }

    /// Lets them run anywhere.
    pub(super) fn let_go(&mut self) {
        self.keep_off(None);
    }

    fn keep_off(&mut self, processor: Option<usize>) {
        if self.kept_off == processor {
            return;
        }
        self.kept_off = processor;
        if let Some(set) = self.set() {
            self.threads.iter().for_each(|thread| place(*thread, &set));
        }
    }

    /// Where the threads may run.
    fn set(&self) -> Option<CpuSet> {
        let mut set = self.allowed?;
        if let Some(processor) = self.kept_off.filter(|one| *one < CpuSet::MAX_CPU) {
            set.unset(processor);
        }
        Some(set)
    }
}

/// Where the kernel says no, it knows better: processors come and go.
fn place(thread: Pid, set: &CpuSet) {
    let _ = sched_setaffinity(Some(thread), set);
}

#[cfg(test)]
mod tests {
    use rustix::thread::gettid;

    use super::*;

    #[test]
    fn threads_keep_off_the_processor_of_who_packs_and_may_run_anywhere_else() {
        let here = gettid();
        let before = sched_getaffinity(None).unwrap();
        let mut apart = Apart::new();
        apart.started(here);
        if apart.allowed.is_none() {
            assert_eq!(before.count(), 1);
            return;
        }
        apart.keep_off_here();
        let off = apart.kept_off.unwrap();
        let now = sched_getaffinity(None).unwrap();
        assert!(!now.is_set(off) && now.count() + 1 == before.count());
        // This very thread had to move.
        assert_ne!(sched_getcpu(), off);
        apart.let_go();
        assert!(sched_getaffinity(None).unwrap() == before);
        apart.ends(here);
        apart.keep_off_here();
        assert!(sched_getaffinity(None).unwrap() == before);
    }

    #[test]
    fn a_thread_that_starts_meanwhile_keeps_off_too() {
        let mut apart = Apart::new();
        apart.keep_off_here();
        let (Some(off), Some(_)) = (apart.kept_off, apart.allowed) else {
            return;
        };
        let set = std::thread::spawn(move || {
            apart.started(gettid());
            sched_getaffinity(None).unwrap()
        });
        assert!(!set.join().unwrap().is_set(off));
    }
}
