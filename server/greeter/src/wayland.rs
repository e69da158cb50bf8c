//! The Wayland side: one full-screen window, a keyboard, a pointer.

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::Context;
use wayland_client::globals::{GlobalList, GlobalListContents};
use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_keyboard::{self, KeyState, WlKeyboard};
use wayland_client::protocol::wl_pointer::{self, ButtonState, WlPointer};
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_seat::{self, Capability, WlSeat};
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::wp::cursor_shape::v1::client::wp_cursor_shape_device_v1::{
    Shape, WpCursorShapeDeviceV1,
};
use wayland_protocols::wp::cursor_shape::v1::client::wp_cursor_shape_manager_v1::WpCursorShapeManagerV1;
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1;
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_v1::{
    self, WpFractionalScaleV1,
};
use wayland_protocols::wp::viewporter::client::wp_viewport::WpViewport;
use wayland_protocols::wp::viewporter::client::wp_viewporter::WpViewporter;
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};

use crate::app::App;
use crate::login::Control;
use crate::scene::Pixels;
use crate::window::Buffers;

/// Fractional scales are in units of this.
const SCALE_UNIT: f32 = 120.0;
/// The size where the session does not name one, in logical pixels.
const USUAL: (u32, u32) = (1280, 800);
/// Bytes of a keymap that is read.
const MAX_KEYMAP: u32 = 1 << 20;
/// The left button.
const BUTTON: u32 = 0x110;

/// The window.
pub struct Surface {
    pub(crate) shm: WlShm,
    pub(crate) buffers: Option<Buffers>,
    /// Whether anything has been drawn in this size.
    pub(crate) shown: bool,
    surface: WlSurface,
    viewport: Option<WpViewport>,
    cursors: Option<WpCursorShapeManagerV1>,
    cursor: Option<WpCursorShapeDeviceV1>,
    keyboard: Option<WlKeyboard>,
    pointer: Option<WlPointer>,
    entered: u32,
    at: (f32, f32),
    logical: Option<(u32, u32)>,
    proposed: (u32, u32),
    /// In units of 1/120.
    scale: u32,
    /// A frame is on its way, and the next one waits for it.
    waits: bool,
    /// Something was damaged meanwhile.
    late: bool,
    queue: QueueHandle<App>,
}

impl Surface {
    /// Asks for a full-screen window.
    pub fn new(globals: &GlobalList, handle: &QueueHandle<App>) -> anyhow::Result<Self> {
        let compositor: WlCompositor = globals.bind(handle, 4..=4, ())?;
        let shm: WlShm = globals.bind(handle, 1..=1, ())?;
        let shell: XdgWmBase = globals
            .bind(handle, 1..=1, ())
            .context("the session has no windows")?;
        let _seat: WlSeat = globals.bind(handle, 4..=7, ())?;
        let viewporter: Option<WpViewporter> = globals.bind(handle, 1..=1, ()).ok();
        let scales: Option<WpFractionalScaleManagerV1> = globals.bind(handle, 1..=1, ()).ok();
        let cursors = globals.bind(handle, 1..=1, ()).ok();
        let surface = compositor.create_surface(handle, ());
        let viewport = viewporter.map(|all| all.get_viewport(&surface, handle, ()));
        if let (Some(scales), Some(_)) = (scales, &viewport) {
            scales.get_fractional_scale(&surface, handle, ());
        }
        let role = shell.get_xdg_surface(&surface, handle, ());
        let toplevel = role.get_toplevel(handle, ());
        toplevel.set_title("Log in".to_owned());
        toplevel.set_app_id("heliostat-greeter".to_owned());
        toplevel.set_fullscreen(None);
        surface.commit();
        Ok(Self {
            shm,
            buffers: None,
            shown: false,
            surface,
            viewport,
            cursors,
            cursor: None,
            keyboard: None,
            pointer: None,
            entered: 0,
            at: (0.0, 0.0),
            logical: None,
            proposed: (0, 0),
            scale: SCALE_UNIT as u32,
            waits: false,
            late: false,
            queue: handle.clone(),
        })
    }

    /// The size in pixels and how many of them are a logical one, once known.
    pub fn size(&self) -> Option<((u32, u32), f32)> {
        let (w, h) = self.logical?;
        let scale = self.scale as f32 / SCALE_UNIT;
        let pixels = |side: u32| ((side as f32 * scale).round() as u32).clamp(1, 16384);
        Some(((pixels(w), pixels(h)), scale))
    }

    /// Everything is to be drawn anew.
    pub fn forget(&mut self) {
        self.shown = false;
    }

    /// Shows what has changed, now or when the frame before has been shown.
    pub fn draw(
        &mut self,
        damage: Pixels,
        paint: impl FnOnce(Pixels) -> Vec<u32>,
    ) -> anyhow::Result<()> {
        if let Some(buffers) = &mut self.buffers {
            buffers.damage(damage);
            self.late = true;
            self.shown = true;
        }
        self.draw_late(paint)
    }

    /// Shows what could not be shown before, if it can be now.
    pub fn draw_late(&mut self, paint: impl FnOnce(Pixels) -> Vec<u32>) -> anyhow::Result<()> {
        let (Some(buffers), Some((w, h))) = (&mut self.buffers, self.logical) else {
            return Ok(());
        };
        if self.waits || !self.late {
            return Ok(());
        }
        let Some((buffer, part)) = buffers.next(paint)? else {
            return Ok(());
        };
        self.surface.attach(Some(buffer), 0, 0);
        let (x, y) = (part.left as i32, part.top as i32);
        let (pw, ph) = (part.w() as i32, part.h() as i32);
        self.surface.damage_buffer(x, y, pw, ph);
        if let Some(viewport) = &self.viewport {
            viewport.set_destination(w as i32, h as i32);
        }
        self.surface.frame(&self.queue, ());
        self.surface.commit();
        self.waits = true;
        self.late = false;
        Ok(())
    }

    fn configured(&mut self) {
        let or_usual = |side: u32, usual: u32| if side == 0 { usual } else { side };
        let (w, h) = self.proposed;
        self.logical = Some((or_usual(w, USUAL.0), or_usual(h, USUAL.1)));
    }

    fn moved(&mut self, (x, y): (f64, f64)) -> (f32, f32) {
        let scale = self.scale as f32 / SCALE_UNIT;
        self.at = (x as f32 * scale, y as f32 * scale);
        self.at
    }

    fn show_cursor(&self, shape: Shape) {
        if let Some(cursor) = &self.cursor {
            cursor.set_shape(self.entered, shape);
        }
    }
}

impl App {
    fn pointed(&mut self, at: (f64, f64)) {
        let at = self.surface.moved(at);
        self.surface.show_cursor(match self.target(at) {
            Some(Control::Name | Control::Answer) => Shape::Text,
            Some(_) => Shape::Pointer,
            None => Shape::Default,
        });
    }
}

impl Dispatch<XdgWmBase, ()> for App {
    fn event(
        _: &mut Self,
        shell: &XdgWmBase,
        event: xdg_wm_base::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            shell.pong(serial);
        }
    }
}

impl Dispatch<XdgSurface, ()> for App {
    fn event(
        app: &mut Self,
        role: &XdgSurface,
        event: xdg_surface::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            role.ack_configure(serial);
            app.surface.configured();
        }
    }
}

impl Dispatch<XdgToplevel, ()> for App {
    fn event(
        app: &mut Self,
        _: &XdgToplevel,
        event: xdg_toplevel::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        // There is nothing behind this window, so it does not close when it is asked to.
        if let xdg_toplevel::Event::Configure { width, height, .. } = event {
            app.surface.proposed = (width.max(0) as u32, height.max(0) as u32);
        }
    }
}

impl Dispatch<WpFractionalScaleV1, ()> for App {
    fn event(
        app: &mut Self,
        _: &WpFractionalScaleV1,
        event: wp_fractional_scale_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wp_fractional_scale_v1::Event::PreferredScale { scale } = event {
            app.surface.scale = scale.clamp(60, 1200);
        }
    }
}

impl Dispatch<WlBuffer, usize> for App {
    fn event(
        app: &mut Self,
        buffer: &WlBuffer,
        event: wl_buffer::Event,
        at: &usize,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let (wl_buffer::Event::Release, Some(buffers)) = (event, &mut app.surface.buffers) {
            buffers.release(buffer, *at);
        }
    }
}

impl Dispatch<WlCallback, ()> for App {
    fn event(
        app: &mut Self,
        _: &WlCallback,
        event: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_callback::Event::Done { .. } = event {
            app.surface.waits = false;
        }
    }
}

impl Dispatch<WlSeat, ()> for App {
    fn event(
        app: &mut Self,
        seat: &WlSeat,
        event: wl_seat::Event,
        (): &(),
        _: &Connection,
        handle: &QueueHandle<Self>,
    ) {
        let wl_seat::Event::Capabilities {
            capabilities: WEnum::Value(has),
        } = event
        else {
            return;
        };
        let surface = &mut app.surface;
        if has.contains(Capability::Keyboard) && surface.keyboard.is_none() {
            surface.keyboard = Some(seat.get_keyboard(handle, ()));
        }
        if has.contains(Capability::Pointer) && surface.pointer.is_none() {
            let pointer = seat.get_pointer(handle, ());
            let cursors = surface.cursors.as_ref();
            surface.cursor = cursors.map(|all| all.get_pointer(&pointer, handle, ()));
            surface.pointer = Some(pointer);
        }
    }
}

impl Dispatch<WlKeyboard, ()> for App {
    fn event(
        app: &mut Self,
        _: &WlKeyboard,
        event: wl_keyboard::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_keyboard::Event::Keymap { fd, size, .. } => match keymap(fd.into(), size) {
                Ok(text) => app.keys.set_keymap(text),
                Err(problem) => tracing::warn!(%problem, "the keymap cannot be read"),
            },
            wl_keyboard::Event::Key { key, state, .. } => match state {
                WEnum::Value(KeyState::Pressed) => app.key_down(key),
                WEnum::Value(KeyState::Released) => app.key_up(Some(key)),
                _ => {}
            },
            wl_keyboard::Event::Leave { .. } => app.key_up(None),
            wl_keyboard::Event::Modifiers {
                mods_depressed,
                mods_latched,
                mods_locked,
                group,
                ..
            } => app
                .keys
                .set_modifiers(mods_depressed, mods_latched, mods_locked, group),
            wl_keyboard::Event::RepeatInfo { rate, delay } => {
                let pace = (rate > 0).then(|| {
                    let delay = Duration::from_millis(delay.max(1) as u64);
                    (delay, Duration::from_secs(1) / rate as u32)
                });
                app.repeat.pace = pace;
            }
            _ => {}
        }
    }
}

/// A keymap, from the file in which it comes.
fn keymap(file: std::fs::File, size: u32) -> anyhow::Result<String> {
    anyhow::ensure!(size <= MAX_KEYMAP, "it has {size} bytes");
    let mut bytes = vec![0; size as usize];
    if file.read_exact_at(&mut bytes, 0).is_err() {
        // Not every file can be read at a place.
        bytes.clear();
        (&file).take(size.into()).read_to_end(&mut bytes)?;
    }
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    Ok(String::from_utf8(bytes)?)
}

impl Dispatch<WlPointer, ()> for App {
    fn event(
        app: &mut Self,
        _: &WlPointer,
        event: wl_pointer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_pointer::Event::Enter {
                serial,
                surface_x,
                surface_y,
                ..
            } => {
                app.surface.entered = serial;
                app.pointed((surface_x, surface_y));
            }
            wl_pointer::Event::Motion {
                surface_x,
                surface_y,
                ..
            } => app.pointed((surface_x, surface_y)),
            wl_pointer::Event::Button {
                button: BUTTON,
                state: WEnum::Value(ButtonState::Pressed),
                ..
            } => app.press(app.surface.at),
            _ => {}
        }
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for App {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: <WlRegistry as wayland_client::Proxy>::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(App: WlCompositor);
delegate_noop!(App: ignore WlShm);
delegate_noop!(App: WlShmPool);
delegate_noop!(App: ignore WlSurface);
delegate_noop!(App: WpViewporter);
delegate_noop!(App: WpViewport);
delegate_noop!(App: WpFractionalScaleManagerV1);
delegate_noop!(App: WpCursorShapeManagerV1);
delegate_noop!(App: WpCursorShapeDeviceV1);
