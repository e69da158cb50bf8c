//! The devices on which GLES draws or reads, and who uses them: one state for each device, whoever has
//! something open there.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::Context;
use smithay::backend::allocator::Format;

use super::device::ANSWERS;
use super::drawing::Ended;
use super::fate::{Fate, rest_after};

/// Tells the loop that there is something to look at.
pub type Wake = Box<dyn FnOnce() + Send>;

/// Which device something is, whichever of its nodes that was opened by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceId(PathBuf);

impl DeviceId {
    /// The device of a node. Its nodes have one parent, as far as the kernel says.
    pub fn of_node(node: &Path) -> Self {
        Self::by_sysfs(Path::new("/sys"), node)
    }

    fn by_sysfs(root: &Path, node: &Path) -> Self {
        let device = || {
            let number = std::fs::metadata(node)?.rdev();
            let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
            let of_number = root.join(format!("dev/char/{major}:{minor}"));
            std::fs::canonicalize(of_number.join("device"))
        };
        let itself = |_| std::fs::canonicalize(node);
        Self(device().or_else(itself).unwrap_or_else(|_| node.to_owned()))
    }

    /// The one without a node: Mesa's software.
    pub fn without_node() -> Self {
        Self::default()
    }
}

/// All devices that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Devices(Rc<RefCell<Known>>);

type Known = Vec<(DeviceId, Rc<RefCell<Fate>>)>;

impl Devices {
    /// What is needed to open something on a device, now.
    pub fn lease(&self, id: DeviceId) -> Lease {
        let mut known = self.0.borrow_mut();
        let found = known.iter().find(|(other, _)| *other == id);
        let fate = match found {
            Some((_, fate)) => Rc::clone(fate),
            None => {
                let fate = Rc::default();
                known.push((id.clone(), Rc::clone(&fate)));
                fate
            }
        };
        let time = fate.borrow().time();
        Lease { id, fate, time }
    }
}

/// A device as whoever has opened something there sees it. It is good until the device has ended, whoever
/// has found that out.
#[derive(Debug, Clone, Default)]
pub struct Lease {
    id: DeviceId,
    fate: Rc<RefCell<Fate>>,
    time: u32,
}

impl Lease {
    /// Which device.
    pub fn id(&self) -> &DeviceId {
        &self.id
    }

    /// Whether what was opened may be used still: nothing of a device is asked that has ended.
    pub fn check(&self) -> Result<(), Ended> {
        self.fate.borrow().check(self.time)
    }

    /// The device has ended, or something of it.
    pub fn has_ended(&self, ended: &Ended) {
        let mut fate = self.fate.borrow_mut();
        fate.ended(self.time, ended, Instant::now());
    }

    /// The same device as it is now.
    pub fn renewed(&self) -> Self {
        let time = self.fate.borrow().time();
        Self {
            time,
            ..self.clone()
        }
    }

    /// Whether something may be opened there again some time.
    pub fn may_return(&self) -> bool {
        !self.fate.borrow().is_given_up()
    }

    /// As when the device's rest is over.
    #[cfg(test)]
    pub fn wake(&self) {
        self.fate.borrow_mut().wake();
    }
}

/// A device that is tried out, by a thread that a driver which does not answer may keep.
#[derive(Debug)]
pub struct Trial {
    tried: mpsc::Receiver<Result<Vec<Format>, String>>,
    until: Instant,
}

impl Trial {
    /// Begins. Says which layouts are read, where that is asked for.
    pub fn start(
        wake: Wake,
        attempt: impl FnOnce() -> anyhow::Result<Vec<Format>> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (sender, tried) = mpsc::channel();
        let thread = std::thread::Builder::new().name("reading device".to_owned());
        let started = thread.spawn(move || {
            // What is said is text, for errors of a thread that hangs must not be waited for.
            drop(sender.send(attempt().map_err(|error| format!("{error:#}"))));
            wake();
        });
        started.context("start a thread")?;
        let until = Instant::now() + ANSWERS;
        Ok(Self { tried, until })
    }

    /// Waits for what came of it.
    pub fn wait(self) -> Result<Vec<Format>, Ended> {
        let limit = self.until.saturating_duration_since(Instant::now());
        said(self.tried.recv_timeout(limit).ok())
    }

    /// What has come of it, if anything has.
    fn answer(&self, now: Instant) -> Option<Result<Vec<Format>, Ended>> {
        match self.tried.try_recv() {
            Ok(said_so) => Some(said(Some(said_so))),
            // A thread that has ended without a word has panicked.
            Err(mpsc::TryRecvError::Disconnected) => Some(said(Some(Err("it panics".to_owned())))),
            Err(mpsc::TryRecvError::Empty) => (self.until <= now).then(|| said(None)),
        }
    }
}

fn said(answer: Option<Result<Vec<Format>, String>>) -> Result<Vec<Format>, Ended> {
    match answer {
        Some(Ok(layouts)) => Ok(layouts),
        Some(Err(why)) => Err(anyhow::anyhow!(why).into()),
        None => Err(Ended::Hung),
    }
}

/// So many times a device that works is tried by somebody who cannot have of it what is wanted.
const MOST_REFUSALS: u32 = 3;

/// Somebody whose device was reset, until something is opened there again.
///
/// ```text
///   resting ── the rest is over ──► being tried ──► back
///      ▲                                │ it went wrong, or somebody else's has
///      └────────────────────────────────┤
///                                       └─ given up ─► never
/// ```
#[derive(Debug)]
pub struct Away {
    lease: Lease,
    trial: Option<Trial>,
    /// How often it was tried out, and what was wanted of it was not to be had all the same.
    refused: u32,
    /// Until when that is not tried again.
    waits_until: Option<Instant>,
}

/// How it is with somebody who is away.
#[derive(Debug)]
pub enum Return<T> {
    /// Not yet.
    Later,
    /// The trial went well, with these layouts where they were asked for; or this was opened.
    Now(T),
    /// It is not to be waited for.
    Never,
}

impl Away {
    /// From a device that rests, or is well again.
    pub fn from(lease: Lease) -> Self {
        Self {
            lease,
            trial: None,
            refused: 0,
            waits_until: None,
        }
    }

    /// Whether a thread tries the device out.
    pub fn is_being_tried(&self) -> bool {
        self.trial.is_some()
    }

    /// When to look again; what is tried out wakes the loop besides.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.trial {
            Some(trial) => Some(trial.until),
            None => self.waits_until.max(self.lease.fate.borrow().rests_until()),
        }
    }

    /// Has the device tried out when it is time, which `start` begins, and opened where that goes well,
    /// which `open` does by the lease that it is given, on that device and on no other. Where that fails
    /// the device has shown that it works, and whoever else uses it goes on; it is tried here some times
    /// more.
    pub fn tend<T>(
        &mut self,
        now: Instant,
        start: impl FnOnce(&DeviceId) -> anyhow::Result<Trial>,
        open: impl FnOnce(Lease, &[Format]) -> anyhow::Result<T>,
    ) -> Return<T> {
        let layouts = match self.try_out(now, start) {
            Return::Later => return Return::Later,
            Return::Never => return Return::Never,
            Return::Now(layouts) => layouts,
        };
        let lease = self.lease.renewed();
        match open(lease.clone(), &layouts) {
            Ok(opened) => Return::Now(opened),
            Err(error) => {
                tracing::warn!(
                    "the graphics device was tried out, and cannot be opened: {error:#}"
                );
                self.lease = lease;
                self.waits_until = Some(now + rest_after(self.refused));
                self.refused += 1;
                match self.refused < MOST_REFUSALS && self.lease.may_return() {
                    true => Return::Later,
                    false => Return::Never,
                }
            }
        }
    }

    fn try_out(
        &mut self,
        now: Instant,
        start: impl FnOnce(&DeviceId) -> anyhow::Result<Trial>,
    ) -> Return<Vec<Format>> {
        let mut fate = self.lease.fate.borrow_mut();
        if fate.is_given_up() {
            return Return::Never;
        }
        let Some(trial) = &self.trial else {
            if self.waits_until.is_some_and(|until| until > now) {
                return Return::Later;
            }
            if fate.rests_until().is_none_or(|until| until <= now) {
                match start(&self.lease.id) {
                    Ok(trial) => self.trial = Some(trial),
                    Err(error) => fate.tried(Err(error.into()), now),
                }
            }
            return Return::Later;
        };
        let Some(answer) = trial.answer(now) else {
            return Return::Later;
        };
        self.trial = None;
        let is_resting = fate.rests_until().is_some();
        let (layouts, went) = match answer {
            Ok(layouts) => (Some(layouts), Ok(())),
            Err(ended) => {
                tracing::info!("the graphics device that was reset does not work yet: {ended}");
                (None, Err(ended))
            }
        };
        fate.tried(went, now);
        let is_well = fate.check(fate.time()).is_ok();
        match layouts {
            Some(layouts) if is_well => Return::Now(layouts),
            // It works for somebody else, so that it would fail at once again.
            None if !is_resting => Return::Never,
            _ if fate.is_given_up() => Return::Never,
            _ => Return::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    #[test]
    fn devices_have_one_state_each_whatever_node_they_were_opened_by() {
        let devices = Devices::default();
        let id = |name: &str| DeviceId::of_node(Path::new(name));
        let (first, other) = (
            devices.lease(id("/nowhere/a")),
            devices.lease(id("/nowhere/b")),
        );
        let same = devices.clone().lease(id("/nowhere/a"));
        first.has_ended(&Ended::Hung);
        assert!(matches!(same.check(), Err(Ended::Hung)) && !same.may_return());
        assert!(other.check().is_ok());
        assert!(devices.lease(DeviceId::without_node()).check().is_ok());
    }

    /// Adds a node to what is laid out as Linux does, by its number and the folder of its device.
    fn add_node(root: &Path, number: &str, device: &str, name: &str) {
        let node = format!("devices/{device}/drm/{name}");
        std::fs::create_dir_all(root.join(&node)).unwrap();
        std::fs::create_dir_all(root.join("dev/char")).unwrap();
        let by_number = root.join("dev/char").join(number);
        symlink(Path::new("../..").join(&node), by_number).unwrap();
        symlink("../..", root.join(&node).join("device")).unwrap();
    }

    #[test]
    fn nodes_of_one_device_are_that_device_and_one_without_a_device_is_itself() {
        let sysfs = tempfile::tempdir().unwrap();
        let root = sysfs.path();
        // Nodes that there are everywhere stand for those of cards, by their numbers.
        let pci = "pci0000:00/0000:00:01.0/0000:03:00.0";
        add_node(root, "1:3", pci, "card0");
        add_node(root, "1:5", pci, "renderD128");
        // On a board what shows pictures is another device than what draws them.
        add_node(root, "1:7", "platform/display-subsystem", "card1");
        add_node(root, "1:8", "platform/soc/fb000000.gpu", "renderD129");
        std::fs::create_dir_all(root.join("devices/virtual/mem/urandom")).unwrap();
        let of_number = root.join("dev/char/1:9");
        symlink("../../devices/virtual/mem/urandom", of_number).unwrap();
        let id = |node: &str| DeviceId::by_sysfs(root, Path::new(node));
        let (card, render) = (id("/dev/null"), id("/dev/zero"));
        assert_eq!(card, render);
        let (display, gpu) = (id("/dev/full"), id("/dev/random"));
        assert!(display != gpu && display != card && gpu != card);
        assert!(gpu.0.ends_with("platform/soc/fb000000.gpu"), "{gpu:?}");
        // By whatever name it is called.
        let links = tempfile::tempdir().unwrap();
        for (name, node, same) in [
            ("a", "/dev/zero", &card),
            ("b", "/dev/urandom", &id("/dev/urandom")),
        ] {
            let link = links.path().join(name);
            symlink(node, &link).unwrap();
            assert_eq!(DeviceId::by_sysfs(root, &link), *same);
        }
        assert!(id("/dev/urandom") != card && id("/nowhere") != id("/dev/urandom"));
        // They share one state.
        let devices = Devices::default();
        let (by_card, by_render) = (devices.lease(card), devices.lease(render));
        by_card.has_ended(&Ended::Lost("in a test"));
        assert!(by_render.check().is_err() && devices.lease(gpu).check().is_ok());
    }

    fn no_trial(_: &DeviceId) -> anyhow::Result<Trial> {
        panic!("it is not time for a trial")
    }

    fn not_opened(_: Lease, _: &[Format]) -> anyhow::Result<()> {
        panic!("nothing says that it works")
    }

    /// Ends its rest and has it tried out, which goes well.
    fn try_out(away: &mut Away) {
        away.lease.wake();
        let (woken, waits) = mpsc::channel();
        let wake: Wake = Box::new(move || woken.send(()).unwrap());
        let start = |_: &DeviceId| Trial::start(wake, || Ok(Vec::new()));
        let begun = away.tend(Instant::now(), start, not_opened);
        assert!(matches!(begun, Return::Later));
        waits.recv().unwrap();
    }

    #[test]
    fn device_that_was_reset_is_tried_out_by_a_thread_and_opened_when_that_goes_well() {
        let devices = Devices::default();
        let lease = devices.lease(DeviceId::default());
        lease.has_ended(&Ended::Lost("in a test"));
        let mut away = Away::from(lease.clone());
        let resting = away.tend(Instant::now(), no_trial, not_opened);
        assert!(matches!(resting, Return::Later));
        assert!(away.deadline().is_some());
        try_out(&mut away);
        let back = away.tend(Instant::now(), no_trial, |lease, _| Ok(lease));
        let Return::Now(back) = back else {
            panic!("it is not opened: {back:?}");
        };
        assert!(back.check().is_ok() && back.id() == lease.id());
        assert!(lease.check().is_err(), "what was open there is gone");
        assert!(devices.lease(DeviceId::default()).check().is_ok());
    }

    #[test]
    fn device_that_was_tried_out_and_cannot_be_opened_is_tried_again_and_no_harm_to_others() {
        let devices = Devices::default();
        let lease = devices.lease(DeviceId::default());
        lease.has_ended(&Ended::Lost("in a test"));
        let mut away = Away::from(lease);
        let refuse = |_: Lease, _: &[Format]| -> anyhow::Result<()> { anyhow::bail!("no memory") };
        let mut before = Duration::ZERO;
        for is_left in [true, true, false] {
            try_out(&mut away);
            let other = devices.lease(DeviceId::default());
            let now = Instant::now();
            let refused = away.tend(now, no_trial, refuse);
            assert_eq!(matches!(refused, Return::Later), is_left, "{refused:?}");
            assert_eq!(matches!(refused, Return::Never), !is_left, "{refused:?}");
            assert!(other.check().is_ok(), "it works for somebody else");
            // It waits for longer each time, and nothing is tried meanwhile.
            let wait = away.deadline().expect("it waits") - now;
            assert!(wait > before, "{wait:?} after {before:?}");
            before = wait;
            assert!(matches!(
                away.tend(now, no_trial, not_opened),
                Return::Later
            ));
            away.waits_until = None;
        }
    }

    #[test]
    fn device_that_does_not_answer_its_trial_is_given_up() {
        let lease = Lease::default();
        lease.has_ended(&Ended::Lost("in a test"));
        lease.wake();
        let mut away = Away::from(lease.clone());
        let (hold, held) = mpsc::channel::<()>();
        let attempt = move || {
            // Until the test is over.
            let _ = held.recv();
            Ok(Vec::new())
        };
        let now = Instant::now();
        let start = |_: &DeviceId| Trial::start(Box::new(|| ()), attempt);
        let begun = away.tend(now, start, not_opened);
        assert!(matches!(begun, Return::Later));
        let waits = away.tend(now, no_trial, not_opened);
        assert!(matches!(waits, Return::Later));
        let late = away.deadline().expect("it has so long");
        let given_up = away.tend(late, no_trial, not_opened);
        assert!(matches!(given_up, Return::Never));
        assert!(!lease.may_return() && matches!(lease.check(), Err(Ended::Hung)));
        drop(hold);
    }
}
