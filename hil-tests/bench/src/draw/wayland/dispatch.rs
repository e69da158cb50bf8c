//! What the compositor says.

use wayland_client::globals::GlobalListContents;
use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_keyboard::{self, KeyState, WlKeyboard};
use wayland_client::protocol::wl_pointer::{self, WlPointer};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_seat::{self, Capability, WlSeat};
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;
use wayland_client::protocol::wl_subsurface::WlSubsurface;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::wp::content_type::v1::client::wp_content_type_manager_v1::WpContentTypeManagerV1;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_v1::WpContentTypeV1;
use wayland_protocols::xdg::shell::client::xdg_popup::XdgPopup;
use wayland_protocols::xdg::shell::client::xdg_positioner::XdgPositioner;
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};

use super::{Happening, State};

const KEY_TAB: u32 = 15;

/// A Dispatch whose events are handled by one expression.
macro_rules! on {
    ($proxy:ty, $data:ty, |$state:pat_param, $own:pat_param, $event:pat_param, $with:pat_param, $handle:pat_param| $body:block) => {
        impl Dispatch<$proxy, $data> for State {
            fn event(
                $state: &mut Self,
                $own: &$proxy,
                $event: <$proxy as wayland_client::Proxy>::Event,
                $with: &$data,
                _: &Connection,
                $handle: &QueueHandle<Self>,
            ) {
                $body
            }
        }
    };
}

on!(XdgWmBase, (), |_, shell, event, (), _| {
    if let xdg_wm_base::Event::Ping { serial } = event {
        shell.pong(serial);
    }
});

on!(XdgSurface, usize, |state, role, event, which, _| {
    if let xdg_surface::Event::Configure { serial } = event {
        role.ack_configure(serial);
        if let Some(surface) = &mut state.surfaces[*which] {
            surface.configured = true;
        }
    }
});

on!(XdgToplevel, (), |state, _, event, (), _| {
    if let xdg_toplevel::Event::Close = event {
        state.happenings.push(Happening::Closed);
    }
});

on!(WlBuffer, (usize, usize), |state,
                               _,
                               event,
                               (which, index),
                               _| {
    if let (wl_buffer::Event::Release, Some(surface)) = (event, &mut state.surfaces[*which]) {
        surface.sheet.release(*index);
    }
});

on!(WlCallback, usize, |state, _, event, which, _| {
    if let (wl_callback::Event::Done { .. }, Some(surface)) = (event, &mut state.surfaces[*which]) {
        surface.is_waiting = false;
    }
});

on!(WlSeat, (), |state, seat, event, (), handle| {
    if let wl_seat::Event::Capabilities {
        capabilities: WEnum::Value(capabilities),
    } = event
    {
        // Virtual devices come and go with viewers. A keyboard taken twice types everything twice.
        state.keyboard = capabilities
            .contains(Capability::Keyboard)
            .then(|| (state.keyboard.take()).unwrap_or_else(|| seat.get_keyboard(handle, ())));
        state.pointer = capabilities
            .contains(Capability::Pointer)
            .then(|| (state.pointer.take()).unwrap_or_else(|| seat.get_pointer(handle, ())));
    }
});

on!(WlKeyboard, (), |state, _, event, (), _| {
    if let wl_keyboard::Event::Key {
        key,
        state: WEnum::Value(KeyState::Pressed),
        ..
    } = event
    {
        let tab = key == KEY_TAB;
        state.happenings.push(Happening::Key { tab });
    }
});

on!(WlPointer, (), |_, pointer, event, (), _| {
    // Pictures are compared whole, so no pointer may lie over them.
    if let wl_pointer::Event::Enter { serial, .. } = event {
        pointer.set_cursor(serial, None, 0, 0);
    }
});

on!(WlRegistry, GlobalListContents, |_, _, _, _, _| {
    let _: Option<wl_registry::Event> = None;
});

delegate_noop!(State: WlCompositor);
delegate_noop!(State: WlSubcompositor);
delegate_noop!(State: WlSubsurface);
delegate_noop!(State: WpContentTypeManagerV1);
delegate_noop!(State: WpContentTypeV1);
delegate_noop!(State: XdgPositioner);
delegate_noop!(State: ignore XdgPopup);
delegate_noop!(State: ignore WlShm);
delegate_noop!(State: WlShmPool);
delegate_noop!(State: ignore WlSurface);
