//! A kernel for tests: it keeps what it is told, has one commit at a time, and fails when it is to.

use std::collections::{BTreeMap, BTreeSet};

use drm::control::AtomicCommitFlags;
use nix::errno::Errno;

use super::request::Request;

/// Properties that objects here have. A property's number is its place, from 1 on.
pub const NAMES: [&str; 20] = [
    "FB_ID",
    "CRTC_ID",
    "SRC_X",
    "SRC_Y",
    "SRC_W",
    "SRC_H",
    "CRTC_X",
    "CRTC_Y",
    "CRTC_W",
    "CRTC_H",
    "zpos",
    "COLOR_ENCODING",
    "COLOR_RANGE",
    "FB_DAMAGE_CLIPS",
    "MODE_ID",
    "ACTIVE",
    "HOTSPOT_X",
    "HOTSPOT_Y",
    "pixel blend mode",
    "link-status",
];
/// The CRTC's number.
pub const CRTC: u32 = 41;

/// A commit that was taken, or refused.
#[derive(Debug, Clone)]
pub struct Commit {
    /// How it was asked for.
    pub flags: AtomicCommitFlags,
    /// What was set: object and property.
    pub sets: BTreeMap<(u32, &'static str), u64>,
    /// Whether it was taken.
    pub is_taken: bool,
}

/// What the kernel holds.
#[derive(Debug, Default)]
pub struct Kernel {
    /// Values of now.
    pub values: BTreeMap<(u32, &'static str), u64>,
    /// Every commit that was no test.
    pub commits: Vec<Commit>,
    /// A commit waits for the next retrace, and whether it wants an event.
    pub pending: Option<bool>,
    /// The number of the last commit that was taken and asked for an event.
    pub number: u64,
    /// The driver never tells of what is pending. Where it is built on Linux's helpers, that is open
    /// until a commit waits for it.
    pub is_mute: bool,
    /// Commits that fail before one is taken.
    pub failing: u32,
    /// Commits that touch this object fail.
    pub bad_object: Option<u32>,
    /// Nothing is kept of commits: they are all taken.
    pub is_deaf: bool,
    /// Framebuffers and blobs that were made and not given back.
    pub live: BTreeSet<u32>,
    next: u32,
}

impl Kernel {
    /// Makes a framebuffer or a blob.
    pub fn make(&mut self) -> u32 {
        self.next += 1;
        self.live.insert(1000 + self.next);
        1000 + self.next
    }

    /// The retrace: what was committed is shown. Whether there is an event.
    pub fn retrace(&mut self) -> bool {
        if self.is_mute {
            return false;
        }
        self.pending.take().unwrap_or(false)
    }

    /// What is on planes: which show which framebuffer.
    pub fn shown(&self) -> Vec<(u32, u64)> {
        let framebuffers = self.values.iter().filter(|((_, name), _)| *name == "FB_ID");
        let on = framebuffers.filter(|(_, value)| **value > 0);
        on.map(|((plane, _), value)| (*plane, *value)).collect()
    }

    /// Takes or refuses a commit as Linux does.
    pub fn commit(
        &mut self,
        flags: AtomicCommitFlags,
        request: &mut Request,
        number: u64,
    ) -> Result<(), Errno> {
        let arrays = request.arrays();
        if self.is_deaf {
            self.pending = Some(flags.contains(AtomicCommitFlags::PAGE_FLIP_EVENT));
            self.number = number;
            return Ok(());
        }
        let mut sets = BTreeMap::new();
        let mut at = 0;
        for (object, count) in arrays.objects.iter().zip(&arrays.counts) {
            for _ in 0..*count {
                let name = NAMES[arrays.properties[at] as usize - 1];
                sets.insert((*object, name), arrays.values[at]);
                at += 1;
            }
        }
        if flags.contains(AtomicCommitFlags::TEST_ONLY) {
            return Ok(());
        }
        let answer = self.judge(flags, &sets);
        if answer.is_ok() {
            self.values.extend(&sets);
            let asks = flags.contains(AtomicCommitFlags::PAGE_FLIP_EVENT);
            let waits = flags.contains(AtomicCommitFlags::NONBLOCK);
            self.pending = (asks || waits).then_some(asks);
            self.number = if asks { number } else { self.number };
            // Whoever may wait does so for ten seconds, and goes on.
            self.is_mute &= waits;
        }
        let is_taken = answer.is_ok();
        self.commits.push(Commit {
            flags,
            sets,
            is_taken,
        });
        answer
    }

    fn judge(
        &mut self,
        flags: AtomicCommitFlags,
        sets: &BTreeMap<(u32, &'static str), u64>,
    ) -> Result<(), Errno> {
        let touches = |object: u32| sets.keys().any(|(of, _)| *of == object);
        // An event is a CRTC's; planes bring in the one that they are on or were on.
        let mut planes = sets.iter().filter(|((_, name), _)| *name == "CRTC_ID");
        let before = |object: u32| self.values.get(&(object, "CRTC_ID")).copied();
        let brings = planes.any(|((of, _), to)| *to > 0 || before(*of).unwrap_or(0) > 0);
        let has_crtc = touches(CRTC) || brings;
        if flags.contains(AtomicCommitFlags::PAGE_FLIP_EVENT) && !has_crtc {
            return Err(Errno::EINVAL);
        }
        let lights = sets.get(&(CRTC, "ACTIVE")).copied();
        let is_lit = self.values.get(&(CRTC, "ACTIVE")) == Some(&1);
        if lights.is_some_and(|on| (on == 1) != is_lit)
            && !flags.contains(AtomicCommitFlags::ALLOW_MODESET)
        {
            return Err(Errno::EINVAL);
        }
        // What is wrong by itself is found before anything is waited for.
        if self.bad_object.is_some_and(touches) {
            return Err(Errno::EINVAL);
        }
        if self.pending.is_some() && flags.contains(AtomicCommitFlags::NONBLOCK) {
            return Err(Errno::EBUSY);
        }
        match self.failing.checked_sub(1) {
            Some(left) => {
                self.failing = left;
                Err(Errno::EIO)
            }
            None => Ok(()),
        }
    }
}
