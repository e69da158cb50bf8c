//! idle-inhibit: a client that is watched, as a film is, keeps the desktop from being locked.

use smithay::delegate_idle_inhibit;
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::idle_inhibit::IdleInhibitHandler;

use crate::app::App;

/// Surfaces of which somebody has said so; more than anybody has films.
const MAX_INHIBITORS: usize = 256;

impl IdleInhibitHandler for App {
    fn inhibit(&mut self, surface: WlSurface) {
        self.inhibitors.retain(WlSurface::is_alive);
        if self.inhibitors.len() < MAX_INHIBITORS && !self.inhibitors.contains(&surface) {
            self.inhibitors.push(surface);
        }
    }

    fn uninhibit(&mut self, surface: WlSurface) {
        self.inhibitors.retain(|known| *known != surface);
    }
}

impl App {
    /// Whether somebody watches something that can be seen.
    pub(crate) fn is_idle_inhibited(&self) -> bool {
        let seen = |surface: &WlSurface| surface.is_alive() && self.visible.contains(surface);
        self.inhibitors.iter().any(seen)
    }
}

delegate_idle_inhibit!(App);
