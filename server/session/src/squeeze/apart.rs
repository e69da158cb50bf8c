//! On which processors the threads run: beside the compositor, and not in turns with it.
//!
//! A thread that is woken goes to a processor that is idle, as far as the scheduler knows one. On
//! virtual machines it hardly does: a processor that has halted looks like one that the host has
//! taken away. Then compositor and compression share one processor, and the other one rests until the
//! scheduler looks around, ten milliseconds later. So while a frame is being packed its parts are
//! compressed elsewhere than where it is packed.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The threads, and which processor they keep off.
#[derive(Debug, Default)]
pub(super) struct Apart {
    kept_off: Option<KeptOff>,
    threads: Vec<Pid>,
}

#[derive(Debug)]
struct KeptOff {
    processor: usize,
    /// Where whoever packs may run, and so these threads when it is done.
    allowed: CpuSet,
}

impl KeptOff {
    /// Where the threads may run; nowhere else than before where that is one processor.
    fn set(&self) -> CpuSet {
        let mut set = self.allowed;
        if set.count() > 1 && self.processor < CpuSet::MAX_CPU {
            set.unset(self.processor);
        }
        set
    }
}

impl Apart {
    /// A thread has started.
    pub(super) fn started(&mut self, thread: Pid) {
        self.threads.push(thread);
        if let Some(kept_off) = &self.kept_off {
            place(thread, &kept_off.set());
        }
    }

    /// A thread is about to end.
    pub(super) fn ends(&mut self, thread: Pid) {
        self.threads.retain(|one| *one != thread);
    }

    /// Keeps all threads off the processor that calls this, which is none of them.
    pub(super) fn keep_off_here(&mut self) {
        let processor = sched_getcpu();
        match &mut self.kept_off {
            Some(kept_off) if kept_off.processor == processor => return,
            Some(kept_off) => kept_off.processor = processor,
            None => {
                // Asked each time: processors come and go, and so do wishes of whoever is in charge.
                let allowed = sched_getaffinity(None).ok();
                self.kept_off = allowed.map(|allowed| KeptOff { processor, allowed });
            }
        }
        if let Some(kept_off) = &self.kept_off {
            self.place_all(&kept_off.set());
        }
    }

    /// Lets them run wherever whoever packed may.
    pub(super) fn let_go(&mut self) {
        if let Some(kept_off) = self.kept_off.take() {
            self.place_all(&kept_off.allowed);
        }
    }

    fn place_all(&self, set: &CpuSet) {
        self.threads.iter().for_each(|thread| place(*thread, set));
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

    /// A thread that says where it may run whenever it is asked, and where it is told to begin.
    fn thread(apart: &mut Apart) -> impl Fn() -> CpuSet + use<> {
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let (say, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            say.send((gettid(), None)).unwrap();
            for () in asked {
                let now = sched_getaffinity(None).unwrap();
                say.send((gettid(), Some(now))).unwrap();
            }
        });
        let (id, _) = said.recv().unwrap();
        apart.started(id);
        move || {
            ask.send(()).unwrap();
            said.recv().unwrap().1.unwrap()
        }
    }

    #[test]
    fn threads_keep_off_the_processor_of_who_packs_until_they_are_let_go() {
        let mut apart = Apart::default();
        let here = sched_getaffinity(None).unwrap();
        let before = thread(&mut apart);
        apart.keep_off_here();
        let off = apart.kept_off.as_ref().unwrap().processor;
        let meanwhile = thread(&mut apart);
        for thread in [&before as &dyn Fn() -> CpuSet, &meanwhile] {
            match here.count() {
                1 => assert!(thread() == here),
                more => assert!(!thread().is_set(off) && thread().count() == more - 1),
            }
        }
        assert!(sched_getaffinity(None).unwrap() == here);
        apart.let_go();
        assert!(before() == here && meanwhile() == here);
    }

    #[test]
    fn what_somebody_else_wants_of_a_thread_stays_while_nothing_is_packed() {
        let mut apart = Apart::default();
        let first = sched_getaffinity(None).unwrap();
        let mut wanted = CpuSet::new();
        wanted.set((0..CpuSet::MAX_CPU).find(|one| first.is_set(*one)).unwrap());
        let thread = thread(&mut apart);
        apart
            .threads
            .iter()
            .for_each(|thread| place(*thread, &wanted));
        apart.let_go();
        assert!(thread() == wanted);
    }
}
