//! A screen is lit, goes dark, and goes.

use std::time::Instant;

use anyhow::Context;
use drm::control::AtomicCommitFlags;
use tracing::warn;

use super::super::buffer::Buffer;
use super::super::commit;
use super::super::device::Device;
use super::super::link;
use super::super::overdue::Overdue;
use super::super::planes::VideoPlane;
use super::super::request::Request;
use super::{Screen, State};
use crate::planes::Ground;

impl Screen {
    /// Adds that the CRTC drives the connector.
    pub(super) fn light(&self, request: &mut Request) {
        let crtc = u64::from(u32::from(self.crtc.object()));
        self.connector.set(request, "CRTC_ID", crtc);
        link::claim_good(&self.connector, request);
        self.crtc.set(request, "MODE_ID", self.mode_blob);
        self.crtc.set(request, "ACTIVE", 1);
    }

    /// Whether it is lit, nothing gets through to it, and it may help to light it anew.
    pub fn has_lost_link(&mut self, device: &Device, now: Instant) -> bool {
        let has_lost = self.is_lit() && link::has_failed(device, self.connector.object());
        has_lost && self.trials.may_try(now)
    }

    /// Shows nothing any more: everything is off, planes with videos as well. Fails where the driver
    /// refuses even that; what is drawn is black then, and videos are the caller's to take away.
    pub fn darken(&mut self, device: &Device, overlays: &[VideoPlane]) -> anyhow::Result<()> {
        if !self.is_lit() {
            return Ok(());
        }
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        self.put_out(&mut request, overlays);
        let flags = AtomicCommitFlags::ALLOW_MODESET;
        let mut done = device.commit(flags, &mut request);
        if done.is_err() {
            // A connector that is gone altogether, as behind a hub, cannot be named any more.
            request.clear();
            self.stop(&mut request, overlays);
            done = device.commit(flags, &mut request);
        }
        self.request = request;
        self.is_followed = false;
        if done.is_err() {
            let all = self.buffers.iter_mut();
            all.for_each(|buffer| buffer.blacken(device));
            return done.map(drop).context("switch a screen off");
        }
        self.buffers.iter_mut().for_each(Buffer::spoil);
        if let Some(cursor) = &mut self.cursor {
            cursor.is_off();
        }
        self.showing.clear();
        self.coming.clear();
        (self.ground, self.state) = (Ground::Drawn, State::Dark);
        (self.refused, self.seen) = (0, 0);
        self.overdue = Overdue::default();
        Ok(())
    }

    fn put_out(&self, request: &mut Request, overlays: &[VideoPlane]) {
        self.connector.set(request, "CRTC_ID", 0);
        self.crtc.set(request, "MODE_ID", 0);
        self.stop(request, overlays);
    }

    fn stop(&self, request: &mut Request, overlays: &[VideoPlane]) {
        self.crtc.set(request, "ACTIVE", 0);
        let held = overlays
            .iter()
            .filter(|plane| self.has_plane(plane.caps.id));
        // The primary plane may show a video as well.
        for plane in held.chain([&self.primary]).chain(self.cursor()) {
            commit::off(plane.caps.id, &mut |set| {
                plane.properties.set(request, set.name, set.value);
            });
        }
    }

    /// Gives everything back, and leaves nothing of a picture on any plane; `false` where the driver
    /// has refused to take videos off planes.
    pub fn close(mut self, device: &Device, overlays: &[VideoPlane]) -> bool {
        let is_dark = self.darken(device, overlays);
        if let Err(error) = &is_dark {
            warn!(
                connector = self.name(),
                "a screen that is gone stays on: {error:#}"
            );
        }
        self.buffers
            .into_iter()
            .for_each(|buffer| buffer.destroy(device));
        if let Some(cursor) = self.cursor {
            cursor.close(device);
        }
        device.remove_blob(self.mode_blob);
        is_dark.is_ok()
    }
}
