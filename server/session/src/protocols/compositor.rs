//! wl_compositor: surfaces and their commits.

use std::sync::atomic::Ordering;
use std::time::Instant;

use smithay::reexports::wayland_server::protocol::wl_callback::WlCallback;
use smithay::reexports::wayland_server::protocol::wl_compositor::WlCompositor;
use smithay::reexports::wayland_server::protocol::wl_region::WlRegion;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{
    Client, Resource, delegate_dispatch, delegate_global_dispatch,
};
use smithay::wayland::compositor::{
    CompositorClientState, CompositorHandler, CompositorState, RegionUserData, SurfaceUserData,
    TraversalAction, get_parent, is_sync_subsurface, with_surface_tree_upward,
};
use smithay::xwayland::XWaylandClientData;

use super::limits::{MAX_SURFACES, is_tree_too_deep};
use crate::app::{App, ClientState};
use crate::x11::client_state;

impl CompositorHandler for App {
    fn compositor_state(&mut self) -> &mut CompositorState {
        &mut self.protocols.compositor
    }

    fn client_compositor_state<'a>(&self, client: &'a Client) -> &'a CompositorClientState {
        if let Some(xwayland) = client.get_data::<XWaylandClientData>() {
            return &xwayland.compositor_state;
        }
        let state = client.get_data::<ClientState>();
        &state
            .expect("every client is let in with its state")
            .compositor
    }

    fn commit(&mut self, surface: &WlSurface) {
        if !is_sync_subsurface(surface) {
            let now = Instant::now();
            if self.import_tree(surface) {
                self.committed.get_or_insert(now);
                if let Some(terminal) = &mut self.terminal {
                    terminal.rhythms.drawn(now);
                }
            }
            self.make_room();
            let mut root = surface.clone();
            while let Some(parent) = get_parent(&root) {
                root = parent;
            }
            self.committed(surface, &root);
        }
    }

    fn new_surface(&mut self, surface: &WlSurface) {
        let Some(client) = surface.client() else {
            return;
        };
        let known = client_state(&client);
        let count = known.map_or(0, |known| known.surfaces.fetch_add(1, Ordering::Relaxed));
        if count >= MAX_SURFACES {
            self.send_away(client.id(), "it has too many surfaces");
        }
        #[cfg(feature = "gpu")]
        super::dmabuf::await_fences(surface);
    }

    fn new_subsurface(&mut self, surface: &WlSurface, parent: &WlSurface) {
        if is_tree_too_deep(surface, parent) {
            self.send_away_owner(surface, "its subsurfaces are nested too deep");
        }
    }

    fn destroyed(&mut self, surface: &WlSurface) {
        let client = surface.client();
        if let Some(known) = client.as_ref().and_then(client_state) {
            known.surfaces.fetch_sub(1, Ordering::Relaxed);
        }
        if self.surfaces.remove(surface) {
            self.dirty.layout = true;
        }
        self.feedback.forget(surface);
        self.callbacks.forget(surface);
        self.drag_icon.take_if(|icon| icon == surface);
        #[cfg(feature = "gpu")]
        {
            smithay::wayland::compositor::with_states(surface, super::syncobj::forget);
            self.forget_fences(surface);
        }
    }
}

impl App {
    /// Takes what was committed to a surface and, with it, to its synchronised subsurfaces. Returns
    /// whether any of it was drawn anew.
    fn import_tree(&mut self, surface: &WlSurface) -> bool {
        let mut drawn = false;
        let (surfaces, dirty, feedback) = (&mut self.surfaces, &mut self.dirty, &mut self.feedback);
        with_surface_tree_upward(
            surface,
            (),
            |_, _, ()| TraversalAction::DoChildren(()),
            |surface, states, ()| {
                let changes = surfaces.commit(surface, states);
                dirty.add(changes);
                drawn |= changes.pixels;
                dirty.pixels |= feedback.committed(surface, states, changes.pixels);
            },
            |_, _, ()| true,
        );
        drawn
    }

    /// Another client has so many pixels that this one's did not fit.
    fn make_room(&mut self) {
        if let Some(hoarder) = self.surfaces.take_hoarder() {
            self.send_away(
                hoarder,
                "it has more pixels than any other, and there are too many",
            );
        }
    }

    fn committed(&mut self, surface: &WlSurface, root: &WlSurface) {
        self.popups.commit(surface);
        if let Some(id) = self.window_of(root) {
            self.toplevel_committed(id, surface == root);
        }
        self.x11_committed(root);
        self.popup_committed(surface);
        self.layer_committed(root, surface == root);
        if self.cursor_surface().as_ref() == Some(root) {
            self.show_cursor();
        }
    }
}

// As smithay delegates it, but for subsurfaces, whose order `subsurfaces.rs` minds.
delegate_global_dispatch!(App: [WlCompositor: ()] => CompositorState);
delegate_dispatch!(App: [WlCompositor: ()] => CompositorState);
delegate_dispatch!(App: [WlSurface: SurfaceUserData] => CompositorState);
delegate_dispatch!(App: [WlRegion: RegionUserData] => CompositorState);
delegate_dispatch!(App: [WlCallback: ()] => CompositorState);
