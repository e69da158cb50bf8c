//! Which surface an X11 window has.
//!
//! Xwayland from version 23.1 on says so by xwayland-shell, and smithay keeps it. Older ones, such
//! as Debian 12's, tell the X11 side the surface's number, which may be in use for another surface
//! by the time that it is heard: so a number is looked up again whenever it is another one, and no
//! surface belongs to two windows.

use std::sync::{Mutex, PoisonError};

use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::xwayland::X11Surface;

use super::{Server, X11};
use crate::app::App;

/// What an older Xwayland has said of a window.
#[derive(Debug, Default)]
struct Pair(Mutex<Option<(u32, WlSurface)>>);

/// The surface of a window, if it has one by now.
pub fn surface_of(window: &X11Surface) -> Option<WlSurface> {
    let paired = || {
        let pair = window.user_data().get::<Pair>()?;
        let pair = pair.0.lock().unwrap_or_else(PoisonError::into_inner);
        pair.as_ref().map(|(_, surface)| surface.clone())
    };
    window
        .wl_surface()
        .or_else(paired)
        .filter(WlSurface::is_alive)
}

/// A window has no surface any more.
pub fn part(window: &X11Surface) {
    set(window, None);
}

fn set(window: &X11Surface, pair: Option<(u32, WlSurface)>) {
    let data = window.user_data();
    data.insert_if_missing_threadsafe(Pair::default);
    if let Some(kept) = data.get::<Pair>() {
        *kept.0.lock().unwrap_or_else(PoisonError::into_inner) = pair;
    }
}

fn number_of(window: &X11Surface) -> Option<u32> {
    let pair = window.user_data().get::<Pair>()?;
    let pair = pair.0.lock().unwrap_or_else(PoisonError::into_inner);
    pair.as_ref()
        .filter(|(_, surface)| surface.is_alive())
        .map(|(number, _)| *number)
}

impl X11 {
    fn find(&self, display: &DisplayHandle, number: u32) -> Option<WlSurface> {
        let Server::Running(process, _) = &self.server else {
            return None;
        };
        process.client.object_from_protocol_id(display, number).ok()
    }
}

impl App {
    /// Finds the surfaces of windows of which an older Xwayland has told the number.
    pub(crate) fn pair_x11(&mut self) {
        let Some(x11) = &self.x11 else {
            return;
        };
        let managed = self
            .toplevels
            .values()
            .filter_map(|toplevel| toplevel.x11());
        let all: Vec<_> = managed.chain(&x11.loose).cloned().collect();
        let mut paired = Vec::new();
        for window in &all {
            #[expect(deprecated, reason = "Debian 12's Xwayland has no other way")]
            let number = window.wl_surface_id();
            let Some(number) = number.filter(|number| number_of(window) != Some(*number)) else {
                continue;
            };
            let Some(surface) = x11.find(&self.handle, number) else {
                continue;
            };
            if all
                .iter()
                .all(|other| surface_of(other).as_ref() != Some(&surface))
            {
                set(window, Some((number, surface.clone())));
                paired.push(surface);
            }
        }
        for surface in paired {
            // Its pixels may have come before.
            self.x11_committed(&surface);
            self.dirty.layout = true;
        }
    }
}
