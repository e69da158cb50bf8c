//! The menu that has grabbed the keyboard and the pointer, where there is one.

use smithay::desktop::{PopupGrab, PopupUngrabStrategy};
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::SERIAL_COUNTER;
use smithay::wayland::seat::WaylandFocus;

use crate::app::App;
use crate::focus::KeyFocus;
use crate::stage::Hit;

/// A menu, with those that it has opened itself.
#[derive(Debug)]
pub struct Menu {
    grab: PopupGrab<App>,
    /// Whose menu it is.
    root: KeyFocus,
}

impl Menu {
    /// Of a grab that was granted.
    pub fn new(grab: PopupGrab<App>, root: KeyFocus) -> Self {
        Self { grab, root }
    }

    /// Whether any of it is still there. One that was told to go is not, whether its client heeds that or
    /// keeps it.
    fn is_open(&self) -> bool {
        !self.grab.has_ended() && self.grab.current_grab().as_ref() != Some(&self.root)
    }
}

impl App {
    /// Whether a menu has the keyboard. What one has left of its grab is taken away: smithay would do so
    /// with the next key, which went to the menu's window whatever has the focus by then.
    pub(crate) fn menu_has_keyboard(&mut self) -> bool {
        if self.menu.as_ref().is_some_and(Menu::is_open) {
            return true;
        }
        if self.menu.take().is_some() {
            let keyboard = self.keyboard.clone();
            keyboard.unset_grab(self);
        }
        false
    }

    /// A button or a finger goes down on this: what is no surface of the menu's program closes it, and is
    /// pressed itself then. smithay only minds buttons, and has what is pressed not be focused.
    pub(crate) fn close_menu_beside(&mut self, hit: Option<&Hit>) {
        let Some(menu) = self.menu.as_mut().filter(|menu| menu.is_open()) else {
            return;
        };
        let root = menu.root.wl_surface();
        let is_its = |surface: &WlSurface| {
            let id = surface.id();
            root.as_ref()
                .is_some_and(|root| root.id().same_client_as(&id))
        };
        if let Some(Hit::Surface(surface, ..)) = hit
            && is_its(surface)
        {
            return;
        }
        drop(root);
        let _ = menu.grab.ungrab(PopupUngrabStrategy::All);
        let time = self.clock.now().as_millis();
        let pointer = self.pointer.clone();
        if pointer.is_grabbed() {
            pointer.unset_grab(self, SERIAL_COUNTER.next_serial(), time);
        }
        self.dirty.layout = true;
    }
}
