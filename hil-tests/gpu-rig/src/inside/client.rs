//! A Wayland client that plays the film out of real DMA-BUFs, or out of shared memory.

mod dispatch;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use drm::buffer::DrmFourcc;
use memmap2::MmapMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use wayland_client::globals::{GlobalList, registry_queue_init};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, EventQueue, QueueHandle};
use wayland_protocols::wp::content_type::v1::client::wp_content_type_manager_v1::WpContentTypeManagerV1;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_v1::Type as ContentType;
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_buffer_params_v1::Flags;
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;
use wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase;

use super::buffer::{DmaBuf, Layout};
use super::card::{self, Card};
use super::film::{PART, SIZE, draw_nv12, draw_part, draw_xrgb};
use super::points::Points;
use crate::sys;

/// So many that one can be shown, one encoded, and one drawn.
const BUFFERS: usize = 4;
/// All channels of what is around a film on a whole screen.
pub const GROUND: u8 = 0x50;

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
    /// Fill a screen of this size, with the film in the middle of which a part moves, out of buffers of vgem's
    #[arg(long, num_args = 2, value_names = ["WIDTH", "HEIGHT"])]
    pub screen: Option<Vec<u32>>,
    /// A file that gets the path of the compositor's socket
    #[arg(long)]
    pub socket: Option<PathBuf>,
    /// A file that gets the inodes of its DMA-BUFs, one a line
    #[arg(long)]
    pub inodes: Option<PathBuf>,
    /// A file that gets the number of the picture at which a key press stopped it
    #[arg(long)]
    pub last: Option<PathBuf>,
    /// Synchronise explicitly, by timelines of this render node's device
    #[arg(long, requires = "held")]
    pub points: Option<PathBuf>,
    /// With that, a key press holds the next picture's point back, and another one lets it go. This file says
    /// meanwhile which picture it is, and the descriptor and the point by which the end of its buffer is told
    #[arg(long)]
    pub held: Option<PathBuf>,
}

impl Film {
    /// How large its window is, and where the film is in that.
    fn canvas(&self) -> ((u32, u32), (u32, u32)) {
        match self.screen.as_deref() {
            Some(&[w, h]) if w >= SIZE.0 && h >= SIZE.1 => {
                ((w, h), ((w - SIZE.0) / 2, (h - SIZE.1) / 2))
            }
            _ => (SIZE, (0, 0)),
        }
    }
}

/// One buffer of the film's.
struct Buffer {
    memory: Memory,
    layout: Layout,
    buffer: WlBuffer,
    /// The compositor has it.
    lent: bool,
    /// What becomes readable when it has not any more, where that is told explicitly.
    free: Option<OwnedFd>,
}

/// What becomes of points that say that a picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    /// They are signalled.
    No,
    /// The next one is not.
    Next,
    /// The newest one was not.
    Newest,
}

enum Memory {
    DmaBuf(DmaBuf),
    Shared(MmapMut),
}

struct Window {
    film: Film,
    buffers: Vec<Buffer>,
    surface: WlSurface,
    points: Option<Points>,
    holding: Holding,
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
    if film.screen.is_some() {
        toplevel.set_fullscreen(None);
    }
    surface.commit();
    let points = match &film.points {
        Some(node) => Some(Points::new(
            node,
            &globals,
            &handle,
            (&surface, buffers.len()),
        )?),
        None => None,
    };
    if let Some(path) = &film.socket {
        let (folder, name) = (env("XDG_RUNTIME_DIR")?, env("WAYLAND_DISPLAY")?);
        std::fs::write(
            path,
            PathBuf::from(folder)
                .join(name)
                .as_os_str()
                .as_encoded_bytes(),
        )?;
    }
    let mut window = Window {
        film,
        buffers,
        surface,
        points,
        holding: Holding::No,
        next: 0,
        configured: false,
        stopped: false,
        closed: false,
    };
    let pause = Duration::from_secs(1) / window.film.rate.max(1);
    let mut due = Instant::now();
    while !window.closed {
        wait(&mut queue, &mut window, due)?;
        if Instant::now() >= due && window.show_next(&connection)? {
            due = (due + pause).max(Instant::now());
        }
    }
    Ok(())
}

fn env(name: &str) -> Result<std::ffi::OsString> {
    std::env::var_os(name).with_context(|| format!("{name} is not set"))
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
    let connection = guard.connection_fd();
    let free = window
        .buffers
        .iter()
        .filter_map(|buffer| buffer.free.as_ref());
    let free = free.map(|fd| PollFd::new(fd, PollFlags::IN));
    let mut fds: Vec<_> = std::iter::once(PollFd::from_borrowed_fd(connection, PollFlags::IN))
        .chain(free)
        .collect();
    poll(&mut fds, timeout)?;
    let has_words = !fds[0].revents().is_empty();
    if has_words {
        guard.read()?;
        queue.dispatch_pending(window)?;
    }
    window.take_back()
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
        .map(|_| {
            let (memory, layout) = match film.screen {
                Some(_) => screen_buffer(film.canvas())?,
                None => (DmaBuf::from_memory(layout.bytes())?, layout),
            };
            dma_buffer(&dmabuf, memory, layout, handle)
        })
        .collect()
}

/// One of vgem's, which Mesa's software draws from: grey, with the first picture in the middle.
fn screen_buffer((size, (x, y)): ((u32, u32), (u32, u32))) -> Result<(DmaBuf, Layout)> {
    let node = card::nodes("vgem", "card")?
        .pop()
        .context("no card of vgem")?;
    let (mut memory, layout) = DmaBuf::from_card(&Card::open(&node)?, size)?;
    memory.bytes_mut().fill(GROUND);
    let corner = y * layout.pitches[0] + x * 4;
    draw_xrgb(
        &mut memory.bytes_mut()[corner as usize..],
        layout.pitches[0],
        0,
    );
    Ok((memory, layout))
}

fn dma_buffer(
    dmabuf: &ZwpLinuxDmabufV1,
    memory: DmaBuf,
    layout: Layout,
    handle: &QueueHandle<Window>,
) -> Result<Buffer> {
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
        layout,
        buffer,
        lent: false,
        free: None,
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
        layout,
        buffer,
        lent: false,
        free: None,
    })
}

impl Window {
    /// Buffers that are told to be free can be drawn into. Until then they show what nobody is to see.
    fn take_back(&mut self) -> Result<()> {
        for buffer in &mut self.buffers {
            let Some(free) = &buffer.free else {
                continue;
            };
            if poll(
                &mut [PollFd::new(free, PollFlags::IN)],
                Some(&Timespec::default()),
            )? > 0
            {
                (buffer.free, buffer.lent) = (None, false);
                if let Memory::DmaBuf(memory) = &mut buffer.memory {
                    memory.bytes_mut().fill(0xff);
                }
            }
        }
        Ok(())
    }

    /// Holds the next picture's point back, or lets the one go that is held.
    fn hold_or_let_go(&mut self, points: &Points) -> Result<()> {
        self.holding = match self.holding {
            Holding::No | Holding::Next => Holding::Next,
            Holding::Newest => {
                if let Some(path) = &self.film.held {
                    std::fs::remove_file(path)?;
                }
                points.drawn()?;
                Holding::No
            }
        };
        Ok(())
    }

    /// Somebody has pressed a key.
    fn pressed(&mut self) {
        let Some(points) = self.points.take() else {
            return self.stop();
        };
        if let Err(error) = self.hold_or_let_go(&points) {
            eprintln!("{error:#}");
        }
        self.points = Some(points);
    }

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
        let may = self.configured && !self.stopped && self.holding != Holding::Newest;
        may && self.buffers.iter().any(|buffer| !buffer.lent)
    }

    /// Shows the next picture, if there is one and a buffer for it.
    fn show_next(&mut self, connection: &Connection) -> Result<bool> {
        if !self.can_show() {
            return Ok(false);
        }
        let number = self.next;
        let (_, (x, y)) = self.film.canvas();
        let Some(at) = self.buffers.iter().position(|buffer| !buffer.lent) else {
            return Ok(false);
        };
        let buffer = &mut self.buffers[at];
        let pitch = buffer.layout.pitches[0];
        let corner = (y * pitch + x * 4) as usize;
        match (&mut buffer.memory, self.film.pixels) {
            (Memory::DmaBuf(memory), Pixels::Nv12) => {
                draw_nv12(memory.bytes_mut(), &Layout::nv12(SIZE, SIZE.0), number);
            }
            (Memory::DmaBuf(memory), _) if self.film.screen.is_some() => {
                draw_part(&mut memory.bytes_mut()[corner..], pitch, number, PART);
            }
            (Memory::DmaBuf(memory), _) => draw_xrgb(memory.bytes_mut(), pitch, number),
            (Memory::Shared(map), _) => draw_xrgb(map, pitch, number),
        }
        buffer.lent = true;
        self.surface.attach(Some(&buffer.buffer), 0, 0);
        let [x, y, w, h] = match (&self.film.screen, number) {
            (None, _) => [0, 0, SIZE.0, SIZE.1].map(|side| side as i32),
            // What does not move is to be seen as well.
            (Some(_), 0) => [0, 0, i32::MAX, i32::MAX],
            (Some(_), _) => [x + PART.0, y + PART.1, PART.2, PART.3].map(|side| side as i32),
        };
        self.surface.damage_buffer(x, y, w, h);
        if let Some(points) = &mut self.points {
            buffer.free = Some(points.set(at)?);
        }
        self.surface.commit();
        self.next += 1;
        let Some(points) = &self.points else {
            return Ok(true);
        };
        // The compositor is to see the commit first, as with drawing that goes on.
        connection.flush()?;
        match (self.holding, &self.film.held) {
            (Holding::Next, Some(path)) => {
                self.holding = Holding::Newest;
                let (fd, value) = points.end_of(at);
                let text = format!("{} {number} {fd} {value}", std::process::id());
                // Whoever sees it sees all of it.
                let new = path.with_extension("new");
                std::fs::write(&new, text)?;
                std::fs::rename(&new, path)?;
            }
            _ => points.drawn()?,
        }
        Ok(true)
    }
}
