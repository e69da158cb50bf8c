//! What the keyboard speaks to: a surface, and the X11 window that it belongs to.
//!
//! An X11 client hears keys only where the X server has given it the input focus, so for its
//! windows both are set.

use std::borrow::Cow;

use smithay::backend::input::KeyState;
use smithay::desktop::PopupKind;
use smithay::input::Seat;
use smithay::input::keyboard::{KeyboardTarget, KeysymHandle, ModifiersState};
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Serial};
use smithay::wayland::seat::WaylandFocus;
use smithay::xwayland::X11Surface;

use crate::app::App;

/// Something that gets keys.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyFocus {
    surface: WlSurface,
    x11: Option<X11Surface>,
}

impl KeyFocus {
    /// Of a surface, and of its X11 window where it has one.
    pub fn new(surface: WlSurface, x11: Option<X11Surface>) -> Self {
        Self { surface, x11 }
    }

    /// The surface.
    pub fn surface(&self) -> &WlSurface {
        &self.surface
    }
}

/// Whether smithay knows the window's surface, and so passes keys on to it. It does not with an older
/// Xwayland; of the window it then sets the X input focus, and no more.
fn smithay_speaks_to(window: &X11Surface) -> bool {
    window.wl_surface().is_some()
}

impl From<WlSurface> for KeyFocus {
    fn from(surface: WlSurface) -> Self {
        Self::new(surface, None)
    }
}

impl From<PopupKind> for KeyFocus {
    fn from(popup: PopupKind) -> Self {
        popup.wl_surface().clone().into()
    }
}

impl From<KeyFocus> for WlSurface {
    fn from(focus: KeyFocus) -> Self {
        focus.surface
    }
}

impl IsAlive for KeyFocus {
    fn alive(&self) -> bool {
        self.surface.is_alive() && self.x11.as_ref().is_none_or(X11Surface::alive)
    }
}

impl WaylandFocus for KeyFocus {
    fn wl_surface(&self) -> Option<Cow<'_, WlSurface>> {
        Some(Cow::Borrowed(&self.surface))
    }
}

impl KeyboardTarget<App> for KeyFocus {
    fn enter(&self, seat: &Seat<App>, app: &mut App, keys: Vec<KeysymHandle<'_>>, serial: Serial) {
        match &self.x11 {
            Some(window) if smithay_speaks_to(window) => {
                KeyboardTarget::enter(window, seat, app, keys, serial);
            }
            Some(window) => {
                KeyboardTarget::enter(window, seat, app, Vec::new(), serial);
                KeyboardTarget::enter(&self.surface, seat, app, keys, serial);
            }
            None => KeyboardTarget::enter(&self.surface, seat, app, keys, serial),
        }
    }

    fn leave(&self, seat: &Seat<App>, app: &mut App, serial: Serial) {
        match &self.x11 {
            Some(window) if smithay_speaks_to(window) => {
                KeyboardTarget::leave(window, seat, app, serial);
            }
            Some(window) => {
                KeyboardTarget::leave(window, seat, app, serial);
                KeyboardTarget::leave(&self.surface, seat, app, serial);
            }
            None => KeyboardTarget::leave(&self.surface, seat, app, serial),
        }
    }

    fn key(
        &self,
        seat: &Seat<App>,
        app: &mut App,
        key: KeysymHandle<'_>,
        state: KeyState,
        serial: Serial,
        time: u32,
    ) {
        match &self.x11 {
            Some(window) if smithay_speaks_to(window) => {
                KeyboardTarget::key(window, seat, app, key, state, serial, time)
            }
            _ => KeyboardTarget::key(&self.surface, seat, app, key, state, serial, time),
        }
    }

    fn modifiers(
        &self,
        seat: &Seat<App>,
        app: &mut App,
        modifiers: ModifiersState,
        serial: Serial,
    ) {
        match &self.x11 {
            Some(window) if smithay_speaks_to(window) => {
                KeyboardTarget::modifiers(window, seat, app, modifiers, serial)
            }
            _ => KeyboardTarget::modifiers(&self.surface, seat, app, modifiers, serial),
        }
    }
}

impl App {
    /// Whether a person uses a program: it has the keyboard, or was told of the last key, button or finger
    /// that went down. To be pointed at is not enough: the pointer lies anywhere while somebody types.
    pub(crate) fn is_used(&self, client: &ClientId) -> bool {
        let is_its = |surface: &WlSurface| surface.client().is_some_and(|of| of.id() == *client);
        let keyboard = self.keyboard.current_focus();
        let keyboard = keyboard.as_ref().and_then(WaylandFocus::wl_surface);
        keyboard.is_some_and(|surface| is_its(&surface)) || self.input.pressed() == Some(client)
    }
}
