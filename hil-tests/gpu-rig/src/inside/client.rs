//! A Wayland client that plays the film out of real DMA-BUFs, or out of shared memory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use drm::buffer::DrmFourcc;
use memmap2::MmapMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use wayland_client::globals::{GlobalList, GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_keyboard::{self, KeyState, WlKeyboard};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_seat::{self, Capability, WlSeat};
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{
    Connection, Dispatch, EventQueue, Proxy as _, QueueHandle, WEnum, delegate_noop,
};
use wayland_protocols::wp::content_type::v1::client::wp_content_type_manager_v1::WpContentTypeManagerV1;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_v1::{
    Type as ContentType, WpContentTypeV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_buffer_params_v1::{
    Flags, ZwpLinuxBufferParamsV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};

use super::buffer::{DmaBuf, Layout};
use super::film::{SIZE, draw_nv12, draw_xrgb};
use crate::sys;

/// So many that one can be shown, one encoded, and one drawn.
const BUFFERS: usize = 4;

/// What the film's pixels are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pixels {
    /// DMA-BUFs of luma and chroma
    Nv12,
    /// DMA-BUFs of red, green and blue
    Xrgb,
    /// Shared memory
    Shm,
}

/// Plays the film.
#[derive(Debug, Clone, Args)]
pub struct Film {
    /// What its pixels are in
    #[arg(long, value_enum)]
    pub pixels: Pixels,
    /// Pictures a second
    #[arg(long, default_value_t = 12)]
    pub rate: u32,
    /// Say to the compositor that it is a video
    #[arg(long)]
    pub hint: bool,
    /// A file that gets the inodes of its DMA-BUFs, one a line
    #[arg(long)]
    pub inodes: Option<PathBuf>,
    /// A file that gets the number of the picture at which a key press stopped it
    #[arg(long)]
    pub last: Option<PathBuf>,
}

/// One buffer of the film's.
struct Buffer {
    memory: Memory,
    buffer: WlBuffer,
    /// The compositor has it.
    lent: bool,
}

enum Memory {
    DmaBuf(DmaBuf),
    Shared(MmapMut),
}

struct Window {
    film: Film,
    buffers: Vec<Buffer>,
    surface: WlSurface,
    next: u32,
    configured: bool,
    /// Somebody has pressed a key.
    stopped: bool,
    closed: bool,
}

/// Opens the window and plays until it is closed.
pub fn play(film: Film) -> Result<()> {
    let connection = Connection::connect_to_env().context("connect to the compositor")?;
    let (globals, mut queue) = registry_queue_init::<Window>(&connection)?;
    let handle = queue.handle();
    let compositor: WlCompositor = globals.bind(&handle, 4..=4, ())?;
    let shell: XdgWmBase = globals.bind(&handle, 1..=1, ())?;
    let _seat: WlSeat = globals.bind(&handle, 1..=1, ())?;
    let buffers = make_buffers(&film, &globals, &handle)?;
    if let Some(path) = &film.inodes {
        let of = |buffer: &Buffer| match &buffer.memory {
            Memory::DmaBuf(buffer) => buffer.inode().map(|inode| format!("{inode}\n")),
            Memory::Shared(_) => Ok(String::new()),
        };
        let text: String = buffers.iter().map(of).collect::<Result<_>>()?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    let surface = compositor.create_surface(&handle, ());
    if film.hint {
        let manager: WpContentTypeManagerV1 = globals.bind(&handle, 1..=1, ())?;
        manager
            .get_surface_content_type(&surface, &handle, ())
            .set_content_type(ContentType::Video);
    }
    let role = shell.get_xdg_surface(&surface, &handle, ());
    let toplevel = role.get_toplevel(&handle, ());
    toplevel.set_title("film".to_owned());
    surface.commit();
    let mut window = Window {
        film,
        buffers,
        surface,
        next: 0,
        configured: false,
        stopped: false,
        closed: false,
    };
    let pause = Duration::from_secs(1) / window.film.rate.max(1);
    let mut due = Instant::now();
    while !window.closed {
        wait(&mut queue, &mut window, due)?;
        if Instant::now() >= due && window.show_next() {
            due = (due + pause).max(Instant::now());
        }
    }
    Ok(())
}

/// Handles what comes until `due`, at most once. Where all buffers are lent, their release is waited for.
fn wait(queue: &mut EventQueue<Window>, window: &mut Window, due: Instant) -> Result<()> {
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
    let ready = poll(&mut fds, timeout)? > 0;
    if ready {
        guard.read()?;
        queue.dispatch_pending(window)?;
    }
    Ok(())
}

fn make_buffers(
    film: &Film,
    globals: &GlobalList,
    handle: &QueueHandle<Window>,
) -> Result<Vec<Buffer>> {
    let layout = match film.pixels {
        Pixels::Nv12 => Layout::nv12(SIZE, SIZE.0),
        Pixels::Xrgb | Pixels::Shm => Layout::xrgb(SIZE),
    };
    if film.pixels == Pixels::Shm {
        let shm: WlShm = globals.bind(handle, 1..=1, ())?;
        return (0..BUFFERS)
            .map(|_| shared_buffer(&shm, layout, handle))
            .collect();
    }
    let dmabuf: ZwpLinuxDmabufV1 = globals
        .bind(handle, 3..=4, ())
        .context("the compositor takes no DMA-BUFs")?;
    (0..BUFFERS)
        .map(|_| dma_buffer(&dmabuf, layout, handle))
        .collect()
}

fn dma_buffer(
    dmabuf: &ZwpLinuxDmabufV1,
    layout: Layout,
    handle: &QueueHandle<Window>,
) -> Result<Buffer> {
    let memory = DmaBuf::from_memory(layout.bytes())?;
    let params = dmabuf.create_params(handle, ());
    let planes = if layout.format == DrmFourcc::Nv12 {
        2
    } else {
        1
    };
    for plane in 0..planes {
        let (offset, pitch) = (layout.offsets[plane], layout.pitches[plane]);
        // The modifier in two halves: linear.
        params.add(memory.fd(), plane as u32, offset, pitch, 0, 0);
    }
    let (w, h) = layout.size;
    let buffer = params.create_immed(
        w as i32,
        h as i32,
        layout.format as u32,
        Flags::empty(),
        handle,
        (),
    );
    params.destroy();
    Ok(Buffer {
        memory: Memory::DmaBuf(memory),
        buffer,
        lent: false,
    })
}

fn shared_buffer(shm: &WlShm, layout: Layout, handle: &QueueHandle<Window>) -> Result<Buffer> {
    let size = layout.bytes();
    let memory = memfd_create("film", MemfdFlags::CLOEXEC).context("make a memory file")?;
    ftruncate(&memory, size as u64)?;
    let map = sys::map(&memory, size)?;
    let pool = shm.create_pool(std::os::fd::AsFd::as_fd(&memory), size as i32, handle, ());
    let (w, h) = layout.size;
    let pitch = layout.pitches[0] as i32;
    let buffer = pool.create_buffer(0, w as i32, h as i32, pitch, Format::Xrgb8888, handle, ());
    pool.destroy();
    Ok(Buffer {
        memory: Memory::Shared(map),
        buffer,
        lent: false,
    })
}

impl Window {
    /// Stays at the newest picture.
    fn stop(&mut self) {
        if !self.stopped
            && let Some(path) = &self.film.last
            && let Err(error) = std::fs::write(path, self.next.saturating_sub(1).to_string())
        {
            eprintln!("{}: {error}", path.display());
        }
        self.stopped = true;
    }

    fn can_show(&self) -> bool {
        self.configured && !self.stopped && self.buffers.iter().any(|buffer| !buffer.lent)
    }

    /// Shows the next picture, if there is one and a buffer for it.
    fn show_next(&mut self) -> bool {
        if !self.can_show() {
            return false;
        }
        let number = self.next;
        let Some(buffer) = self.buffers.iter_mut().find(|buffer| !buffer.lent) else {
            return false;
        };
        match (&mut buffer.memory, self.film.pixels) {
            (Memory::DmaBuf(memory), Pixels::Nv12) => {
                draw_nv12(memory.bytes_mut(), &Layout::nv12(SIZE, SIZE.0), number);
            }
            (Memory::DmaBuf(memory), _) => draw_xrgb(memory.bytes_mut(), SIZE.0 * 4, number),
            (Memory::Shared(map), _) => draw_xrgb(map, SIZE.0 * 4, number),
        }
        buffer.lent = true;
        self.surface.attach(Some(&buffer.buffer), 0, 0);
        self.surface
            .damage_buffer(0, 0, SIZE.0 as i32, SIZE.1 as i32);
        self.surface.commit();
        self.next += 1;
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
        if let wl_buffer::Event::Release = event
            && let Some(buffer) = window
                .buffers
                .iter_mut()
                .find(|b| b.buffer.id() == released.id())
        {
            buffer.lent = false;
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
        if let wl_keyboard::Event::Key {
            state: WEnum::Value(KeyState::Pressed),
            ..
        } = event
        {
            window.stop();
        }
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for Window {
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

delegate_noop!(Window: WpContentTypeManagerV1);
delegate_noop!(Window: WpContentTypeV1);
delegate_noop!(Window: WlCompositor);
delegate_noop!(Window: WlShmPool);
delegate_noop!(Window: ignore WlShm);
delegate_noop!(Window: ignore WlSurface);
delegate_noop!(Window: ignore ZwpLinuxDmabufV1);
delegate_noop!(Window: ignore ZwpLinuxBufferParamsV1);
