//! A commit whose event does not come: it counts as lost, and what it was to show is committed anew.
//!
//! The kernel takes a commit that may not wait only when the one before has been done; so one that it
//! takes says what the event would have said. Until then either of two pictures may be scanned out:
//! both are held, and nothing is drawn.

use std::time::Duration;

use anyhow::Context;
use drm::control::AtomicCommitFlags;
use tracing::{debug, info, warn};

use super::super::device::Device;
use super::super::planes::VideoPlane;
use super::{Resolved, Screen, State};
use crate::display::Caption;

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
            // The driver takes what it is given and does not tell: there is nothing to wait for.
            let shown = self.flipped();
            self.watch(now_ns);
            return shown;
        }
        if asked == 0 {
            self.lost += 1;
            let (output, lost) = (self.name(), self.lost);
            warn!(%output, lost, "the display has not said that a picture is shown; it is asked anew");
        }
        match self.repeat(device, overlays) {
            Ok(()) => {
                let shown = self.flipped();
                self.state = State::Repeating;
                // Of what changes next the driver is told as of everything.
                self.is_followed = false;
                self.overdue.watch(false, now_ns);
                self.overdue.watch(true, now_ns);
                info!(output = self.name(), "the display takes pictures again");
                shown
            }
            Err(error) => {
                debug!(output = self.name(), "the display is busy still: {error:#}");
                None
            }
        }
    }

    /// Commits all that is shown or about to be.
    fn repeat(&mut self, device: &Device, overlays: &[VideoPlane]) -> anyhow::Result<()> {
        let resolved = Resolved {
            ground: self.ground,
            uses: self.newest().to_vec(),
            // Planes stand where they have been put.
            heights: Vec::new(),
        };
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        // An event is a CRTC's, and the primary plane may have nothing new.
        self.crtc.set(&mut request, "ACTIVE", 1);
        let named = self.show(device, &mut request, self.front, resolved.ground);
        self.show_films(&mut request, overlays, &resolved);
        if let Some(cursor) = &self.cursor {
            cursor.add_to(&mut request, self.crtc.object());
        }
        let flags = AtomicCommitFlags::NONBLOCK | AtomicCommitFlags::PAGE_FLIP_EVENT;
        let taken = named.and_then(|()| device.commit(flags, &mut request).context("commit anew"));
        self.request = request;
        if taken.is_ok()
            && let Some(cursor) = &mut self.cursor
        {
            cursor.is_told();
        }
        taken
    }
}
