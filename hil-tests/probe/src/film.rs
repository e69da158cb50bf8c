//! A film in buffers as graphics devices have them, of luma and chroma, which the compositor may give to
//! an encoder as they are. They are memfds that cannot shrink: the software VA driver takes them for
//! DMA-BUFs.

use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, EventQueue, Proxy as _, QueueHandle, delegate_noop};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_buffer_params_v1::{
    Flags, ZwpLinuxBufferParamsV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};

use crate::sys::Memory;

const W: u32 = 1920;
const H: u32 = 1080;
const LUMA: usize = W as usize * H as usize;
/// `DRM_FORMAT_NV12`.
const NV12: u32 = u32::from_le_bytes(*b"NV12");
/// One shown, one encoded, two to go on with.
const BUFFERS: usize = 4;

struct Window {
    buffers: Vec<(WlBuffer, bool)>,
    /// The one of the next picture, if it has been given back.
    next: usize,
    surface: WlSurface,
    configured: bool,
    closed: bool,
}

/// Plays so many pictures a second until the window is closed.
pub fn play(rate: u32) -> anyhow::Result<()> {
    let connection = Connection::connect_to_env().context("connect to the compositor")?;
    let (globals, mut queue) = registry_queue_init::<Window>(&connection)?;
    let handle = queue.handle();
    let compositor: WlCompositor = globals.bind(&handle, 4..=4, ())?;
    let shell: XdgWmBase = globals.bind(&handle, 1..=1, ())?;
    let dmabuf: ZwpLinuxDmabufV1 = globals
        .bind(&handle, 3..=4, ())
        .context("the compositor takes no DMA-BUFs")?;
    let mut memories = Vec::new();
    let mut buffers = Vec::new();
    for n in 0..BUFFERS {
        let mut memory = Memory::sealed(LUMA * 3 / 2)?;
        draw(memory.bytes_mut(), n as u32);
        let params = dmabuf.create_params(&handle, ());
        for (plane, offset) in [(0, 0), (1, LUMA as u32)] {
            params.add(memory.fd(), plane, offset, W, 0, 0);
        }
        let (w, h) = (W as i32, H as i32);
        let buffer = params.create_immed(w, h, NV12, Flags::empty(), &handle, ());
        params.destroy();
        memories.push(memory);
        buffers.push((buffer, false));
    }
    let surface = compositor.create_surface(&handle, ());
    let role = shell.get_xdg_surface(&surface, &handle, ());
    let toplevel = role.get_toplevel(&handle, ());
    toplevel.set_title("hil-probe film".to_owned());
    surface.commit();
    let mut window = Window {
        buffers,
        next: 0,
        surface,
        configured: false,
        closed: false,
    };
    let pause = Duration::from_secs(1) / rate.max(1);
    let mut due = Instant::now();
    while !window.closed {
        wait(&mut queue, &mut window, due)?;
        if Instant::now() >= due && window.show() {
            due = (due + pause).max(Instant::now());
        }
    }
    Ok(())
}

/// Draws a picture: soft waves with grain that move with `time`.
fn draw(bytes: &mut [u8], time: u32) {
    let wave = |at: u32, length: u32| (at % length).min(length - at % length) * 160 / length;
    let (luma, chroma) = bytes.split_at_mut(LUMA);
    for (n, level) in (0..).zip(luma) {
        let (x, y) = (n % W + 4 * time, n / W);
        let grain = (x ^ y << 7).wrapping_mul(0x9e37_79b9) >> 29;
        *level = (40 + wave(x, 320) + wave(x + 2 * y, 170) + grain) as u8;
    }
    for (n, level) in (0..).zip(chroma) {
        *level = (100 + wave(n % W / 2 + 2 * time, 240) / 4) as u8;
    }
}

/// Handles what comes until `due`, at most once; where no picture can be shown, whatever comes first.
fn wait(queue: &mut EventQueue<Window>, window: &mut Window, due: Instant) -> anyhow::Result<()> {
    if queue.dispatch_pending(window)? > 0 {
        return Ok(());
    }
    queue.flush()?;
    let Some(guard) = queue.prepare_read() else {
        return Ok(());
    };
    let left = due.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    };
    let timeout = window.can_show().then_some(&timeout);
    let mut fds = [PollFd::from_borrowed_fd(
        guard.connection_fd(),
        PollFlags::IN,
    )];
    if poll(&mut fds, timeout)? > 0 {
        guard.read()?;
        queue.dispatch_pending(window)?;
    }
    Ok(())
}

impl Window {
    fn can_show(&self) -> bool {
        self.configured && !self.buffers[self.next].1
    }

    /// Shows the next picture, where its buffer has been given back.
    fn show(&mut self) -> bool {
        if !self.can_show() {
            return false;
        }
        let (buffer, lent) = &mut self.buffers[self.next];
        *lent = true;
        self.surface.attach(Some(buffer), 0, 0);
        self.surface.damage_buffer(0, 0, W as i32, H as i32);
        self.surface.commit();
        self.next = (self.next + 1) % BUFFERS;
        true
    }
}

impl Dispatch<WlBuffer, ()> for Window {
    fn event(
        window: &mut Self,
        released: &WlBuffer,
        event: wl_buffer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let mut buffers = window.buffers.iter_mut();
        if let wl_buffer::Event::Release = event
            && let Some((_, lent)) = buffers.find(|(buffer, _)| buffer.id() == released.id())
        {
            *lent = false;
        }
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
            window.configured = true;
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
delegate_noop!(Window: ignore WlSurface);
delegate_noop!(Window: ignore ZwpLinuxDmabufV1);
delegate_noop!(Window: ignore ZwpLinuxBufferParamsV1);
