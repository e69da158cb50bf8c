//! The threads that load modules. A driver's probe may take seconds or for ever, so PID 1 itself
//! never waits for one: it puts a device's name into the queue and goes on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::error;

use super::{Catalogue, Tier, coldplug};
use crate::rescue::reason;

/// Most devices remembered as seen; beyond it a device is looked at again, which is harmless.
const MAX_SEEN: usize = 8192;
/// Most devices that may wait.
const MAX_QUEUE: usize = 8192;

/// A handle on the loading threads; cheap to clone.
#[derive(Clone)]
pub struct Loader {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    sys: PathBuf,
    catalogue: Catalogue,
}

#[derive(Default)]
struct Queue {
    jobs: BinaryHeap<Reverse<Job>>,
    seen: HashSet<String>,
    tried: HashSet<String>,
    next_serial: u64,
    open: Option<Tier>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    tier: Tier,
    serial: u64,
    what: What,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Module(String),
    Coldplug,
    Device(String),
}

impl Loader {
    /// Starts `threads` threads that load out of `catalogue` for the devices below `sys`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(catalogue: Catalogue, sys: &Path, threads: usize) -> io::Result<Loader> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            sys: sys.to_owned(),
            catalogue,
        });
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            let name = format!("modules-{number}");
            thread::Builder::new()
                .name(name)
                .spawn(move || shared.work())?;
        }
        Ok(Loader { shared })
    }

    /// Looks for every device there is, in a thread.
    pub fn coldplug(&self) {
        self.push(Tier::Screen, What::Coldplug);
    }

    /// Loads a module that no device asks for, if the image has it; the kernel may have it built in.
    pub fn add_module(&self, tier: Tier, name: &str) {
        self.push(tier, What::Module(name.to_owned()));
    }

    /// A device called `modalias` is there: its module is loaded in its turn.
    pub fn add_device(&self, modalias: &str) {
        self.shared.add_device(modalias.to_owned());
    }

    /// Lets devices up to `tier` through; the others wait.
    pub fn open(&self, tier: Tier) {
        let mut queue = self.shared.lock();
        queue.open = queue.open.max(Some(tier));
        self.shared.wake.notify_all();
    }

    fn push(&self, tier: Tier, what: What) {
        self.shared.lock().push(tier, what);
        self.shared.wake.notify_one();
    }
}

impl Queue {
    fn push(&mut self, tier: Tier, what: What) {
        if self.jobs.len() < MAX_QUEUE {
            let serial = self.next_serial;
            self.next_serial += 1;
            self.jobs.push(Reverse(Job { tier, serial, what }));
        }
    }

    fn pop(&mut self) -> Option<What> {
        let tier = self.jobs.peek()?.0.tier;
        let due = Some(tier) <= self.open;
        due.then(|| self.jobs.pop()).flatten().map(|job| job.0.what)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_device(&self, modalias: String) {
        let mut queue = self.lock();
        if queue.seen.len() >= MAX_SEEN {
            queue.seen.clear();
        }
        if queue.seen.insert(modalias.clone()) {
            queue.push(Tier::of(&modalias), What::Device(modalias));
            self.wake.notify_one();
        }
    }

    fn work(&self) {
        loop {
            let what = self.next();
            let outcome = catch_unwind(AssertUnwindSafe(|| self.handle(what)));
            if let Err(panic) = outcome {
                error!(
                    why = reason(panic.as_ref()),
                    "a module thread failed, and goes on"
                );
            }
        }
    }

    fn handle(&self, what: What) {
        match what {
            What::Module(name) => self.load_all(&name),
            What::Coldplug => coldplug::walk(&self.sys, |modalias| self.add_device(modalias)),
            What::Device(modalias) => self.load_all(&modalias),
        }
    }

    fn next(&self) -> What {
        let mut queue = self.lock();
        loop {
            if let Some(what) = queue.pop() {
                return what;
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn load_all(&self, name: &str) {
        for module in self.catalogue.order(name) {
            // Most devices share their modules' needs, which are tried once.
            if !self.lock().tried.contains(module) {
                self.catalogue.load(module, name);
                self.lock().tried.insert(module.to_owned());
            }
        }
    }
}
