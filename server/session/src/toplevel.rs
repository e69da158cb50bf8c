//! A window's client side: an xdg_toplevel, or an X11 window behind Xwayland.

use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::xdg::{ToplevelSurface, XdgToplevelSurfaceData};
use smithay::xwayland::X11Surface;
use tracing::debug;

use crate::focus::KeyFocus;
use crate::x11::surface_of;

/// Characters of a title that are kept.
const LONGEST_TITLE: usize = 256;

/// What a client has of a window.
#[derive(Debug, Clone)]
pub enum Toplevel {
    /// Of a Wayland client.
    Xdg(ToplevelSurface),
    /// Of an X11 client.
    X11(X11Surface),
}

impl Toplevel {
    /// Its surface; X11 windows get theirs some time after they are mapped.
    pub fn surface(&self) -> Option<WlSurface> {
        match self {
            Self::Xdg(toplevel) => Some(toplevel.wl_surface().clone()),
            Self::X11(window) => surface_of(window),
        }
    }

    /// Its xdg_toplevel, if it is one.
    pub fn xdg(&self) -> Option<&ToplevelSurface> {
        match self {
            Self::Xdg(toplevel) => Some(toplevel),
            Self::X11(_) => None,
        }
    }

    /// Its X11 window, if it is one.
    pub fn x11(&self) -> Option<&X11Surface> {
        match self {
            Self::Xdg(_) => None,
            Self::X11(window) => Some(window),
        }
    }

    /// What gets its keys.
    pub fn focus(&self) -> Option<KeyFocus> {
        let surface = self.surface()?;
        Some(KeyFocus::new(surface, self.x11().cloned()))
    }

    /// Asks it to close.
    pub fn send_close(&self) {
        match self {
            Self::Xdg(toplevel) => toplevel.send_close(),
            Self::X11(window) => {
                if let Err(error) = window.close() {
                    debug!("an X11 window cannot be asked to close: {error}");
                }
            }
        }
    }

    /// What it calls itself, or its program where it has no title; one line.
    pub fn title(&self) -> String {
        let title = self.raw(|title, _| title);
        line(
            title
                .filter(|title| !title.is_empty())
                .unwrap_or_else(|| self.app_id()),
        )
    }

    /// The name of its program.
    pub fn app_id(&self) -> String {
        line(self.raw(|_, app_id| app_id).unwrap_or_default())
    }

    fn raw(
        &self,
        pick: impl FnOnce(Option<String>, Option<String>) -> Option<String>,
    ) -> Option<String> {
        match self {
            Self::Xdg(toplevel) => with_states(toplevel.wl_surface(), |states| {
                let data = states
                    .data_map
                    .get::<XdgToplevelSurfaceData>()?
                    .lock()
                    .ok()?;
                pick(data.title.clone(), data.app_id.clone())
            }),
            Self::X11(window) => pick(Some(window.title()), Some(window.class())),
        }
    }
}

fn line(text: String) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_TITLE)
        .collect()
}
