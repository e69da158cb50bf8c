//! The Wayland side: one window, drawn anew when there is a reason to.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_keyboard::{self, KeyState, WlKeyboard};
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_seat::{self, Capability, WlSeat};
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};

use crate::canvas::Canvas;
use crate::sys::Memory;

const W: u32 = 800;
const H: u32 = 600;
const BYTES: usize = W as usize * H as usize * 4;
/// Half a blink.
const BLINK: Duration = Duration::from_millis(500);
/// The block that a key changes, and the cell that blinks.
const BLOCK: (u32, u32, u32, u32) = (100, 100, 64, 64);
const CELL: (u32, u32, u32, u32) = (200, 200, 9, 18);

/// What the window draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawing {
    /// A block that changes at every key press.
    Keys,
    /// A cell that blinks.
    Blink,
    /// A photo.
    Photo,
    /// Nothing that moves.
    Static,
    /// Everything, whenever a buffer is free.
    Storm,
}

/// The window.
struct Window {
    drawing: Drawing,
    /// Where keys are told of.
    tell: Option<File>,
    memory: Memory,
    buffers: [WlBuffer; 2],
    surface: WlSurface,
    /// How often it has been drawn.
    count: u32,
    configured: bool,
    closed: bool,
}

/// Opens the window and draws until it is closed. Keys are told of to `tell`, a file or a pipe.
pub fn run(drawing: Drawing, tell: Option<&Path>) -> anyhow::Result<()> {
    let open = |path| OpenOptions::new().append(true).open(path);
    let tell = tell.map(open).transpose().context("where keys are told")?;
    let connection = Connection::connect_to_env().context("connect to the compositor")?;
    let (globals, mut queue) = registry_queue_init::<Window>(&connection)?;
    let handle = queue.handle();
    let compositor: WlCompositor = globals.bind(&handle, 1..=4, ())?;
    let shm: WlShm = globals.bind(&handle, 1..=1, ())?;
    let shell: XdgWmBase = globals.bind(&handle, 1..=1, ())?;
    let _seat: WlSeat = globals.bind(&handle, 1..=1, ())?;
    let memory = Memory::new(BYTES * 2)?;
    let pool = shm.create_pool(memory.fd(), (BYTES * 2) as i32, &handle, ());
    let (w, h, stride) = (W as i32, H as i32, W as i32 * 4);
    let buffers = [0, BYTES as i32]
        .map(|offset| pool.create_buffer(offset, w, h, stride, Format::Xrgb8888, &handle, ()));
    let surface = compositor.create_surface(&handle, ());
    let role = shell.get_xdg_surface(&surface, &handle, ());
    let toplevel = role.get_toplevel(&handle, ());
    toplevel.set_title("hil-probe".to_owned());
    surface.commit();
    let (count, configured, closed) = (0, false, false);
    let mut window = Window {
        drawing,
        tell,
        memory,
        buffers,
        surface,
        count,
        configured,
        closed,
    };
    let mut next_blink = Instant::now() + BLINK;
    while !window.closed {
        wait(&mut queue, &mut window, next_blink)?;
        if Instant::now() >= next_blink {
            next_blink += BLINK;
            if drawing == Drawing::Blink && window.configured {
                window.draw();
            }
        }
    }
    Ok(())
}

/// Handles what comes until `deadline`, at most once.
fn wait(
    queue: &mut EventQueue<Window>,
    window: &mut Window,
    deadline: Instant,
) -> anyhow::Result<()> {
    if queue.dispatch_pending(window)? > 0 {
        return Ok(());
    }
    queue.flush()?;
    let Some(guard) = queue.prepare_read() else {
        return Ok(());
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    };
    let ready = {
        let mut fds = [PollFd::from_borrowed_fd(
            guard.connection_fd(),
            PollFlags::IN,
        )];
        poll(&mut fds, Some(&timeout))? > 0
    };
    if ready {
        guard.read()?;
        queue.dispatch_pending(window)?;
    }
    Ok(())
}

impl Window {
    /// Draws the next picture. Every other one goes into the other buffer, so a buffer is always
    /// drawn over the picture before the last.
    fn draw(&mut self) {
        let which = (self.count % 2) as usize;
        let bytes = &mut self.memory.bytes_mut()[which * BYTES..][..BYTES];
        let mut canvas = Canvas { bytes, w: W };
        if self.count < 2 {
            match self.drawing {
                Drawing::Photo => canvas.photo(),
                _ => canvas.fill((0, 0, W, H), 0x20_20_28),
            }
        }
        let changed = match self.drawing {
            Drawing::Keys => BLOCK,
            Drawing::Blink => CELL,
            Drawing::Photo | Drawing::Static => (0, 0, 1, 1),
            Drawing::Storm => (0, 0, W, H),
        };
        match self.drawing {
            Drawing::Keys => canvas.fill(BLOCK, self.count.wrapping_mul(0x35_79_bd) & 0xff_ff_ff),
            Drawing::Blink => canvas.fill(CELL, if which == 0 { 0xd0_d0_d0 } else { 0x20_20_28 }),
            Drawing::Photo | Drawing::Static => {}
            Drawing::Storm => canvas.noise(self.count),
        }
        self.surface.attach(Some(&self.buffers[which]), 0, 0);
        let (x, y, w, h) = if self.count == 0 {
            (0, 0, W, H)
        } else {
            changed
        };
        self.surface.damage(x as i32, y as i32, w as i32, h as i32);
        self.surface.commit();
        self.count += 1;
    }
}

impl Dispatch<XdgWmBase, ()> for Window {
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

impl Dispatch<XdgSurface, ()> for Window {
    fn event(
        window: &mut Self,
        role: &XdgSurface,
        event: xdg_surface::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            role.ack_configure(serial);
            if !window.configured {
                window.configured = true;
                window.draw();
                // Both buffers are always on their way.
                if window.drawing == Drawing::Storm {
                    window.draw();
                }
            }
        }
    }
}

impl Dispatch<XdgToplevel, ()> for Window {
    fn event(
        window: &mut Self,
        _: &XdgToplevel,
        event: xdg_toplevel::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_toplevel::Event::Close = event {
            window.closed = true;
        }
    }
}

impl Dispatch<WlSeat, ()> for Window {
    fn event(
        _: &mut Self,
        seat: &WlSeat,
        event: wl_seat::Event,
        (): &(),
        _: &Connection,
        handle: &QueueHandle<Self>,
    ) {
        if let wl_seat::Event::Capabilities {
            capabilities: WEnum::Value(capabilities),
        } = event
            && capabilities.contains(Capability::Keyboard)
        {
            seat.get_keyboard(handle, ());
        }
    }
}

impl Dispatch<WlKeyboard, ()> for Window {
    fn event(
        window: &mut Self,
        _: &WlKeyboard,
        event: wl_keyboard::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let wl_keyboard::Event::Key {
            key,
            state: WEnum::Value(state),
            ..
        } = event
        else {
            return;
        };
        let is_down = state == KeyState::Pressed;
        if let Some(tell) = &mut window.tell {
            // Who does not listen any more misses nothing.
            let _ = writeln!(tell, "{key} {}", u8::from(is_down));
        }
        if is_down && window.drawing == Drawing::Keys {
            window.draw();
        }
    }
}

impl Dispatch<WlBuffer, ()> for Window {
    fn event(
        window: &mut Self,
        _: &WlBuffer,
        event: wl_buffer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        // Buffers come back in the order in which they are drawn into.
        if let wl_buffer::Event::Release = event
            && window.drawing == Drawing::Storm
        {
            window.draw();
        }
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for Window {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: wayland_client::protocol::wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(Window: WlCompositor);
delegate_noop!(Window: ignore WlShm);
delegate_noop!(Window: WlShmPool);
delegate_noop!(Window: ignore WlSurface);
