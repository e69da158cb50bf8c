//! The pointer moves on a screen.

use anyhow::Context;
use drm::control::AtomicCommitFlags;
use nix::libc::EBUSY;

use super::super::device::Device;
use super::{Screen, State};
use crate::cursor::CursorImage;

impl Screen {
    /// Shows the pointer, or hides it. It moves at once when no picture is on its way, and with the
    /// picture otherwise.
    pub fn set_cursor(
        &mut self,
        device: &Device,
        image: Option<&CursorImage>,
        at: (i32, i32),
    ) -> anyhow::Result<()> {
        let (crtc, is_free) = (self.crtc.object(), matches!(self.state, State::Free));
        let Some(cursor) = &mut self.cursor else {
            return Ok(());
        };
        let updated = cursor.update(device, image, at);
        let mut moved = Ok(());
        if updated.is_ok() && cursor.is_changed() && is_free {
            let request = &mut self.request;
            request.clear();
            // An event is a CRTC's, and a plane that shows nothing brings none along.
            self.crtc.set(request, "ACTIVE", 1);
            cursor.add_to(request, crtc);
            let flags = AtomicCommitFlags::NONBLOCK | AtomicCommitFlags::PAGE_FLIP_EVENT;
            moved = device
                .commit(flags, request)
                .map(|number| self.asked = number);
        }
        match (updated, moved) {
            (Ok(()), Ok(())) => {
                if cursor.is_changed() && is_free {
                    cursor.is_told();
                    self.state = State::Moving;
                }
                Ok(())
            }
            // Somebody else's commit is under way; the next picture or move takes the pointer along.
            (Ok(()), Err(error)) if error.raw_os_error() == Some(EBUSY) => Ok(()),
            (updated, moved) => {
                if let Some(cursor) = self.cursor.take() {
                    cursor.close(device);
                }
                updated.and(moved.context("move the pointer"))
            }
        }
    }
}
