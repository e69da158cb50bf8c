//! wl_subcompositor: smithay keeps the tree, and tells nobody that a client has put surfaces in another
//! order or taken one off its parent. What such requests do is shown all the same.

use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_subcompositor::WlSubcompositor;
use smithay::reexports::wayland_server::protocol::wl_subsurface::{Error, Request, WlSubsurface};
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, Resource, delegate_dispatch,
    delegate_global_dispatch,
};
use smithay::wayland::compositor::{CompositorState, SubsurfaceUserData, get_parent};

use crate::app::App;

impl Dispatch<WlSubsurface, SubsurfaceUserData> for App {
    fn request(
        app: &mut Self,
        client: &Client,
        role: &WlSubsurface,
        request: Request,
        data: &SubsurfaceUserData,
        handle: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let is_restacked = match &request {
            Request::PlaceAbove { sibling } | Request::PlaceBelow { sibling } => {
                // Smithay takes it out of its order before it looks for itself there, and panics.
                if sibling == data.surface() {
                    return role.post_error(Error::BadSurface, "it is no sibling of itself");
                }
                true
            }
            _ => false,
        };
        <CompositorState as Dispatch<_, _, Self>>::request(
            app, client, role, request, data, handle, init,
        );
        if is_restacked && let Some(parent) = get_parent(data.surface()) {
            app.surfaces.restack(&parent);
        }
    }

    fn destroyed(app: &mut Self, client: ClientId, role: &WlSubsurface, data: &SubsurfaceUserData) {
        <CompositorState as Dispatch<_, _, Self>>::destroyed(app, client, role, data);
        // It is gone at once, whatever its parent commits.
        app.dirty.layout = true;
    }
}

delegate_dispatch!(App: [WlSubcompositor: ()] => CompositorState);
delegate_global_dispatch!(App: [WlSubcompositor: ()] => CompositorState);
