//! A commit whose event does not come: it counts as lost, and what it was to show is committed anew.
//!
//! The kernel takes a commit that may not wait only when the one before has been done. For drivers that
//! are built on Linux's atomic helpers that is the event itself, so that one which is lost has every
//! other refused until a commit waits: such a screen is [`Stuck`]. Other drivers take the commit, which
//! says what the event would have said. Until then either of two pictures may be scanned out: both are
//! held, and nothing is drawn.

use std::io;
use std::time::Duration;

use anyhow::Context;
use drm::control::AtomicCommitFlags;
use nix::libc::EBUSY;
use tracing::{debug, info, warn};

use super::super::device::Device;
use super::super::planes::VideoPlane;
use super::{Resolved, Screen, State};
use crate::display::Caption;
use crate::display::stuck::Stuck;

impl Screen {
    /// Watches what is under way, if anything is.
    pub fn watch(&mut self, now_ns: u64) {
        let is_waiting = !self.is_free();
        self.overdue.watch(is_waiting, now_ns);
    }

    /// How long an event may still take, where one is waited for.
    pub fn event_left(&self, now_ns: u64) -> Option<Duration> {
        self.overdue.left(now_ns)
    }

    /// What is known of it, where it says nothing and takes nothing.
    pub fn stuck(&self) -> Option<Stuck> {
        let coming = match self.state {
            State::Flipping(caption) => caption.attach,
            State::Dark | State::Free | State::Moving | State::Repeating => self.seen,
        };
        (self.refused > 0).then_some(Stuck {
            output: self.id(),
            refused: self.refused,
            // The event of the commit that lights a screen needs no refresh to come.
            has_told: self.told > 1,
            attaches: [self.seen, coming],
        })
    }

    /// Where an event is overdue, commits anew and does not wait. What is shown by now, if that was a
    /// picture on its way.
    pub fn mind_overdue(
        &mut self,
        device: &Device,
        overlays: &[VideoPlane],
        now_ns: u64,
    ) -> Option<Caption> {
        let asked = self.overdue.take_due(now_ns)?;
        if matches!(self.state, State::Repeating) {
            return self.mind_silence(device, now_ns);
        }
        if asked == 0 {
            self.lost += 1;
            let (output, lost) = (self.name(), self.lost);
            warn!(%output, lost, "the display has not said that a picture is shown; it is asked anew");
        }
        match self.repeat(device, overlays) {
            Ok(()) => {
                let shown = self.done();
                self.state = State::Repeating;
                // Of what changes next the driver is told as of everything.
                self.is_followed = false;
                self.overdue.watch(false, now_ns);
                self.overdue.watch(true, now_ns);
                info!(output = self.name(), "the display takes pictures again");
                shown
            }
            Err(error) => {
                self.is_refused(&error);
                None
            }
        }
    }

    /// Nor has what was committed anew been told of. A driver that takes one more commit has done it, and
    /// does not tell: there is nothing to wait for. This one asks for no event and changes nothing.
    fn mind_silence(&mut self, device: &Device, now_ns: u64) -> Option<Caption> {
        match self.ask_crtc(device, AtomicCommitFlags::NONBLOCK) {
            Ok(_) => {
                let shown = self.done();
                self.watch(now_ns);
                shown
            }
            Err(error) => {
                self.is_refused(&error);
                None
            }
        }
    }

    fn is_refused(&mut self, error: &anyhow::Error) {
        self.refused = self.refused.saturating_add(1);
        debug!(output = self.name(), "the display is busy still: {error:#}");
    }

    /// Commits all that is shown or about to be, but for the pointer: it moves by itself later, and a
    /// plane of its own that fails says nothing of the picture.
    fn repeat(&mut self, device: &Device, overlays: &[VideoPlane]) -> anyhow::Result<()> {
        let resolved = Resolved {
            ground: self.ground,
            uses: self.newest().to_vec(),
            // Planes stand where they have been put.
            heights: Vec::new(),
        };
        let mut request = std::mem::take(&mut self.request);
        let flags = AtomicCommitFlags::NONBLOCK | AtomicCommitFlags::PAGE_FLIP_EVENT;
        request.clear();
        // An event is a CRTC's, and the primary plane may have nothing new.
        self.crtc.set(&mut request, "ACTIVE", 1);
        let named = self.show(device, &mut request, self.front, resolved.ground);
        self.show_films(&mut request, overlays, &resolved);
        let mut taken =
            named.and_then(|()| device.commit(flags, &mut request).context("commit anew"));
        if taken.as_ref().is_err_and(|error| !is_busy(error)) {
            // It does not like what it showed before. Whether that was done the CRTC alone tells.
            debug!(output = self.name(), "what is shown is refused: {taken:?}");
            taken = self.ask_crtc(device, flags);
        }
        self.request = request;
        self.asked = taken?;
        Ok(())
    }

    /// Commits that the CRTC stays as it is. Returns the number.
    fn ask_crtc(&mut self, device: &Device, flags: AtomicCommitFlags) -> anyhow::Result<u64> {
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        self.crtc.set(&mut request, "ACTIVE", 1);
        let taken = device.commit(flags, &mut request).context("ask the CRTC");
        self.request = request;
        taken
    }
}

/// Whether the commit before is not done.
pub fn is_busy(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.and_then(io::Error::raw_os_error) == Some(EBUSY)
}
