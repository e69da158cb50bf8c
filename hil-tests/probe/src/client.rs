//! The Wayland side: one window, drawn anew when there is a reason to.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind::WouldBlock;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wayland_client::backend::WaylandError;
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
/// Commits of a storm, a second.
const STORM: u32 = 1500;
/// How often it looks whether some are due, and how many at most it makes at once: they fit into what
/// waits for the socket.
const STORM_LOOKS: Duration = Duration::from_millis(1);
const STORM_AT_ONCE: u32 = 32;
/// Its pixels are new so often: to draw them takes longer than to commit them.
const NEW_PIXELS: Duration = Duration::from_millis(4);
/// Commits between two lines that tell of them.
const TOLD: u32 = 10;
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
    /// Everything, far more often than anybody looks.
    Storm,
}

/// The window.
struct Window {
    drawing: Drawing,
    /// Where keys, or commits of a storm, are told of.
    tell: Option<File>,
    memory: Memory,
    buffers: [WlBuffer; 2],
    surface: WlSurface,
    /// How often it has been drawn.
    count: u32,
    configured: bool,
    closed: bool,
    /// When a storm began, and when its pixels were drawn last.
    began: Instant,
    drawn: Instant,
}

/// Opens the window and draws until it is closed. Keys, or commits of a storm, are told of to `tell`, a
/// file or a pipe.
pub fn run(drawing: Drawing, tell: Option<&Path>) -> anyhow::Result<()> {
    let open = |path| OpenOptions::new().append(true).open(path);
    let tell = tell.map(open).transpose().context("where it is told")?;
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
        began: Instant::now(),
        drawn: Instant::now(),
    };
    let mut next_blink = Instant::now() + BLINK;
    while !window.closed {
        let next = match drawing {
            Drawing::Storm => Instant::now() + STORM_LOOKS,
            _ => next_blink,
        };
        if wait(&mut queue, &mut window, next)? {
            window.storm();
        }
        if Instant::now() >= next_blink {
            next_blink += BLINK;
            if drawing == Drawing::Blink && window.configured {
                window.draw();
            }
        }
    }
    Ok(())
}

/// Handles what comes until `deadline`, at most once. Returns whether the compositor has all that was
/// asked for before.
fn wait(
    queue: &mut EventQueue<Window>,
    window: &mut Window,
    deadline: Instant,
) -> anyhow::Result<bool> {
    let is_full =
        |error: &WaylandError| matches!(error, WaylandError::Io(io) if io.kind() == WouldBlock);
    if queue.dispatch_pending(window)? > 0 {
        return Ok(false);
    }
    let is_out = match queue.flush() {
        Ok(()) => true,
        Err(error) if is_full(&error) => false,
        Err(error) => return Err(error.into()),
    };
    let Some(guard) = queue.prepare_read() else {
        return Ok(is_out);
    };
    let wanted = match is_out {
        true => PollFlags::IN,
        false => PollFlags::IN | PollFlags::OUT,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    };
    let ready = {
        let mut fds = [PollFd::from_borrowed_fd(guard.connection_fd(), wanted)];
        poll(&mut fds, Some(&timeout))? > 0
            && !fds[0].revents().difference(PollFlags::OUT).is_empty()
    };
    if ready {
        guard.read()?;
        queue.dispatch_pending(window)?;
    }
    Ok(is_out)
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

    /// Commits everything as often as is due, in turns of the two buffers.
    fn storm(&mut self) {
        if self.drawing != Drawing::Storm || !self.configured {
            return;
        }
        let due = self.began.elapsed().as_secs_f64() * f64::from(STORM);
        for _ in 0..(due as u32).saturating_sub(self.count).min(STORM_AT_ONCE) {
            let buffer = &self.buffers[(self.count % 2) as usize];
            self.surface.attach(Some(buffer), 0, 0);
            self.surface.damage(0, 0, W as i32, H as i32);
            self.surface.commit();
            self.count += 1;
            if let Some(tell) = self
                .tell
                .as_mut()
                .filter(|_| self.count.is_multiple_of(TOLD))
            {
                // Who does not listen any more misses nothing.
                let _ = writeln!(tell, "{}", self.count);
            }
        }
    }

    /// Draws new noise into a buffer that was given back, now and then.
    fn draw_storm_into(&mut self, buffer: &WlBuffer) {
        let which = self.buffers.iter().position(|one| one == buffer);
        let Some(which) = which.filter(|_| self.drawn.elapsed() >= NEW_PIXELS) else {
            return;
        };
        self.drawn = Instant::now();
        let bytes = &mut self.memory.bytes_mut()[which * BYTES..][..BYTES];
        Canvas { bytes, w: W }.noise(self.count);
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
                // The other buffer has pixels, too.
                if window.drawing == Drawing::Storm {
                    window.draw();
                    window.began = Instant::now();
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
        buffer: &WlBuffer,
        event: wl_buffer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_buffer::Event::Release = event
            && window.drawing == Drawing::Storm
        {
            window.draw_storm_into(buffer);
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
