//! A Wayland client that lays a note over everything, out of shared memory.

use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, QueueHandle, delegate_noop};
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::{
    Layer, ZwlrLayerShellV1,
};
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::{
    self, Anchor, ZwlrLayerSurfaceV1,
};

use crate::sys;

/// Where it is: left, top, width, height. Over what moves of a film in the middle of the screen, and beside what
/// tells its pictures.
pub const PLACE: (u32, u32, u32, u32) = (500, 280, 180, 100);
/// Its colour, red first.
pub const COLOUR: [u8; 3] = [0x20, 0xc0, 0xd0];

struct Note {
    buffer: WlBuffer,
    surface: WlSurface,
    is_closed: bool,
}

/// Shows the note until it is ended.
pub fn show() -> Result<()> {
    let connection = Connection::connect_to_env().context("connect to the compositor")?;
    let (globals, mut queue) = registry_queue_init::<Note>(&connection)?;
    let handle = queue.handle();
    let compositor: WlCompositor = globals.bind(&handle, 4..=4, ())?;
    let shm: WlShm = globals.bind(&handle, 1..=1, ())?;
    let shell: ZwlrLayerShellV1 = globals.bind(&handle, 1..=4, ())?;
    let (x, y, w, h) = PLACE;
    let memory = memfd_create("note", MemfdFlags::CLOEXEC).context("make a memory file")?;
    let bytes = w * h * 4;
    ftruncate(&memory, bytes.into())?;
    let [r, g, b] = COLOUR;
    for pixel in sys::map(&memory, bytes as usize)?.chunks_exact_mut(4) {
        pixel.copy_from_slice(&[b, g, r, 0xff]);
    }
    let [x, y, width, height] = [x, y, w, h].map(|side| side as i32);
    let pool = shm.create_pool(memory.as_fd(), bytes as i32, &handle, ());
    let buffer = pool.create_buffer(0, width, height, width * 4, Format::Xrgb8888, &handle, ());
    let surface = compositor.create_surface(&handle, ());
    let place = shell.get_layer_surface(
        &surface,
        None,
        Layer::Overlay,
        "note".to_owned(),
        &handle,
        (),
    );
    place.set_size(w, h);
    place.set_anchor(Anchor::Top | Anchor::Left);
    place.set_margin(y, 0, 0, x);
    place.set_exclusive_zone(-1);
    surface.commit();
    let mut note = Note {
        buffer,
        surface,
        is_closed: false,
    };
    while !note.is_closed {
        queue.blocking_dispatch(&mut note)?;
    }
    bail!("the compositor has closed the note")
}

impl Dispatch<ZwlrLayerSurfaceV1, ()> for Note {
    fn event(
        note: &mut Self,
        place: &ZwlrLayerSurfaceV1,
        event: zwlr_layer_surface_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            zwlr_layer_surface_v1::Event::Configure { serial, .. } => {
                place.ack_configure(serial);
                note.surface.attach(Some(&note.buffer), 0, 0);
                note.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
                note.surface.commit();
            }
            _ => note.is_closed = true,
        }
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for Note {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(Note: WlCompositor);
delegate_noop!(Note: WlShmPool);
delegate_noop!(Note: ZwlrLayerShellV1);
delegate_noop!(Note: ignore WlShm);
delegate_noop!(Note: ignore WlBuffer);
delegate_noop!(Note: ignore WlSurface);
