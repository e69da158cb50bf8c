//! What one client may make: enough for any program, too little to keep the session from the others.

use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::backend::protocol::ProtocolError;
use smithay::reexports::wayland_server::backend::{ClientId, DisconnectReason};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::{get_children, get_parent, with_states};
use smithay::wayland::shell::xdg::{PopupSurface, XdgPopupSurfaceData};
use tracing::warn;

use crate::app::App;

/// Surfaces at once.
pub(super) const MAX_SURFACES: usize = 4096;
/// Windows at once.
pub(super) const MAX_WINDOWS: usize = 128;
/// Subsurfaces on subsurfaces, and popups on popups. What is done with a chain takes the square of
/// its length.
pub(super) const MAX_DEPTH: usize = 32;
/// `no_memory` of wl_display.
const NO_MEMORY: u32 = 2;

impl App {
    /// A client has made more than it may.
    pub(crate) fn send_away(&self, client: ClientId, why: &str) {
        warn!("a client is sent away: {why}");
        let error = ProtocolError {
            code: NO_MEMORY,
            object_id: 1,
            object_interface: "wl_display".to_owned(),
            message: why.to_owned(),
        };
        let reason = DisconnectReason::ProtocolError(error);
        self.handle.backend_handle().kill_client(client, reason);
    }

    pub(super) fn send_away_owner(&self, surface: &WlSurface, why: &str) {
        if let Some(client) = surface.client() {
            self.send_away(client.id(), why);
        }
    }
}

/// Whether a tree of subsurfaces is too deep at a link between two of them.
pub(super) fn is_tree_too_deep(surface: &WlSurface, parent: &WlSurface) -> bool {
    let ancestors = std::iter::successors(Some(parent.clone()), get_parent);
    let above = ancestors.take(MAX_DEPTH + 1).count();
    above + height(surface, MAX_DEPTH + 1) > MAX_DEPTH
}

/// Levels below and with a surface, as far as `most` of them.
fn height(surface: &WlSurface, most: usize) -> usize {
    if most == 0 {
        return 0;
    }
    let children = get_children(surface);
    let below = children.iter().map(|child| height(child, most - 1));
    1 + below.max().unwrap_or(0)
}

/// Whether a popup stands on too many others, as one does that stands on itself. Nothing else may walk
/// to its window before this is known: smithay goes on until there is one.
pub(super) fn is_popup_too_deep(popup: &PopupSurface) -> bool {
    let below = |surface: &WlSurface| {
        with_states(surface, |states| {
            let popup = states.data_map.get::<XdgPopupSurfaceData>()?;
            popup.lock().ok()?.parent.clone()
        })
    };
    std::iter::successors(popup.get_parent_surface(), below)
        .nth(MAX_DEPTH - 1)
        .is_some()
}
