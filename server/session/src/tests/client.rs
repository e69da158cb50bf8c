//! A Wayland client that draws known pixels.

use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use wayland_client::backend::WaylandError;
use wayland_client::protocol::{
    wl_buffer, wl_callback, wl_compositor, wl_keyboard, wl_pointer, wl_registry, wl_seat, wl_shm,
    wl_shm_pool, wl_surface,
};
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, delegate_noop};
use wayland_protocols::wp::pointer_constraints::zv1::client::{
    zwp_confined_pointer_v1, zwp_locked_pointer_v1, zwp_pointer_constraints_v1,
};
use wayland_protocols::wp::presentation_time::client::{wp_presentation, wp_presentation_feedback};
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel, xdg_wm_base};

/// A picture that is wholly known by its size and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Painting {
    pub w: u32,
    pub h: u32,
    pub seed: u32,
}

impl Painting {
    /// The colour at a place, 0xRRGGBB.
    pub fn at(self, x: u32, y: u32) -> u32 {
        let flat = (x / 16 + y / 16 + self.seed).is_multiple_of(3);
        match flat {
            true => 0x20_40_60 + self.seed * 0x10,
            false => u32::from_be_bytes([
                0,
                (x * 5 + self.seed * 31) as u8,
                (y * 3) as u8,
                (x ^ y) as u8,
            ]),
        }
    }

    /// All of it, 0xffRRGGBB.
    pub fn pixels(self) -> Vec<u32> {
        let places = (0..self.h).flat_map(|y| (0..self.w).map(move |x| (x, y)));
        places.map(|(x, y)| 0xff00_0000 | self.at(x, y)).collect()
    }
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Presented {
        at: Duration,
        refresh: Duration,
        sequence: u64,
        vsync: bool,
    },
    Discarded,
}

/// What the server has said of the pointer.
#[derive(Debug, Default)]
pub struct PointerState {
    pub serial: u32,
    pub locked: bool,
    pub confined: bool,
}

/// What the server has said.
#[derive(Default)]
pub struct State {
    pub globals: Vec<(u32, String, u32)>,
    pub configured: bool,
    frames_done: usize,
    pub feedback: Vec<(u32, Told)>,
    pub pointer: PointerState,
    /// Of the last key.
    pub key_serial: u32,
    keys: Vec<(u32, bool)>,
}

/// A client with one window.
pub struct Client {
    connection: Connection,
    queue: EventQueue<State>,
    pub state: State,
    pub surface: Option<wl_surface::WlSurface>,
    pub shell: Option<(xdg_surface::XdgSurface, xdg_toplevel::XdgToplevel)>,
    pub shm: Option<wl_shm::WlShm>,
    pub pixels: Vec<u32>,
    size: (u32, u32),
    format: wl_shm::Format,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        let connection = Connection::from_socket(stream).unwrap();
        let queue = connection.new_event_queue();
        connection.display().get_registry(&queue.handle(), ());
        Self {
            connection,
            queue,
            state: State::default(),
            surface: None,
            shell: None,
            shm: None,
            pixels: Vec::new(),
            size: (0, 0),
            format: wl_shm::Format::Xrgb8888,
        }
    }

    /// Sends what waits and takes what has come, without waiting. False when the server has ended
    /// the connection.
    pub fn pump(&mut self) -> bool {
        let gone = |error: &WaylandError| match error {
            WaylandError::Io(error) => error.kind() != ErrorKind::WouldBlock,
            WaylandError::Protocol(_) => true,
        };
        let mut alive = !self.connection.flush().is_err_and(|error| gone(&error));
        if let Some(guard) = self.queue.prepare_read() {
            alive &= !guard.read().is_err_and(|error| gone(&error));
        }
        alive &= self.queue.dispatch_pending(&mut self.state).is_ok();
        let _ = self.connection.flush();
        alive && self.connection.protocol_error().is_none()
    }

    /// Why the server has ended the connection.
    pub fn error(&self) -> Option<wayland_client::backend::protocol::ProtocolError> {
        self.connection.protocol_error()
    }

    pub fn handle(&self) -> QueueHandle<State> {
        self.queue.handle()
    }

    pub fn has_globals(&self) -> bool {
        ["wl_compositor", "wl_shm", "xdg_wm_base", "wl_seat"]
            .iter()
            .all(|name| self.state.globals.iter().any(|global| global.1 == *name))
    }

    pub fn bind<I>(&self, version: u32) -> I
    where
        I: wayland_client::Proxy + 'static,
        State: Dispatch<I, ()>,
    {
        let name = I::interface().name;
        let global = self.state.globals.iter().find(|global| global.1 == name);
        let registry = self.connection.display().get_registry(&self.handle(), ());
        registry.bind(global.expect("announced").0, version, &self.handle(), ())
    }

    /// Binds what is known by this number, whether it is announced still or not.
    pub fn bind_number<I>(&self, number: u32, version: u32) -> I
    where
        I: wayland_client::Proxy + 'static,
        State: Dispatch<I, ()>,
    {
        let registry = self.connection.display().get_registry(&self.handle(), ());
        registry.bind(number, version, &self.handle(), ())
    }

    /// Asks for a window; it is configured later.
    pub fn make_window(&mut self) {
        let queue = self.handle();
        let compositor: wl_compositor::WlCompositor = self.bind(4);
        let base: xdg_wm_base::XdgWmBase = self.bind(2);
        let seat: wl_seat::WlSeat = self.bind(5);
        seat.get_keyboard(&queue, ());
        self.shm = Some(self.bind(1));
        let surface = compositor.create_surface(&queue, ());
        let shell = base.get_xdg_surface(&surface, &queue, ());
        let toplevel = shell.get_toplevel(&queue, ());
        surface.commit();
        self.surface = Some(surface);
        self.shell = Some((shell, toplevel));
    }

    pub fn is_configured(&self) -> bool {
        self.state.configured
    }

    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// What it shows it has drawn elsewhere.
    pub fn drew(&mut self, (w, h): (u32, u32), pixels: Vec<u32>) {
        (self.size, self.pixels) = ((w, h), pixels);
    }

    /// Shows what it has drawn elsewhere, and damages all of it.
    pub fn show_again(&mut self) {
        self.present(0, 0, i32::MAX, i32::MAX);
    }

    /// A buffer over a file of its own.
    pub fn buffer(
        &self,
        bytes: &[u8],
        len: i32,
        offset: i32,
        w: i32,
        h: i32,
        stride: i32,
    ) -> wl_buffer::WlBuffer {
        let mut file: File = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let shm = self.shm.as_ref().expect("bound");
        let pool = shm.create_pool(file.as_fd(), len, &self.handle(), ());
        let buffer = pool.create_buffer(offset, w, h, stride, self.format, &self.handle(), ());
        pool.destroy();
        buffer
    }

    /// Draws a painting over all of the window.
    pub fn commit(&mut self, painting: Painting) {
        self.pixels = painting.pixels();
        self.size = (painting.w, painting.h);
        self.present(0, 0, i32::MAX, i32::MAX);
    }

    /// Inverts a rectangle and damages it alone.
    pub fn invert(&mut self, x: u32, y: u32, w: u32, h: u32) {
        let (width, height) = self.size;
        for y in y..(y + h).min(height) {
            for x in x..(x + w).min(width) {
                self.pixels[(y * width + x) as usize] ^= 0x00ff_ffff;
            }
        }
        self.present(x as i32, y as i32, w as i32, h as i32);
    }

    /// Its pixels have alpha from now on.
    pub fn paints_alpha(&mut self) {
        self.format = wl_shm::Format::Argb8888;
    }

    /// Makes a pixel black and all but opaque, and damages it alone.
    pub fn pierce(&mut self, x: u32, y: u32) {
        self.pixels[(y * self.size.0 + x) as usize] = 0xfe00_0000;
        self.present(x as i32, y as i32, 1, 1);
    }

    /// Draws the picture of a film at a time, and damages it alone.
    pub fn picture(&mut self, (left, top, w, h): (u32, u32, u32, u32), time: u32) {
        let width = self.size.0;
        let hill = |v: u32| {
            if v % 256 < 128 {
                v % 256 * 2
            } else {
                510 - v % 256 * 2
            }
        };
        for y in 0..h {
            for x in 0..w {
                let (u, v) = (x + 3 * time, y + time);
                let grain = u.wrapping_mul(0x9e37_79b9)
                    ^ v.wrapping_mul(0x85eb_ca6b)
                    ^ time.wrapping_mul(0x27d4_eb2f);
                let light = hill((2 * u + v) / 3);
                let blue = hill(u + v) / 2 + (grain >> 28);
                let pixel = 0xff00_0000 | light << 16 | hill((u + 3 * v) / 5) << 8 | blue;
                self.pixels[((top + y) * width + left + x) as usize] = pixel;
            }
        }
        self.present(left as i32, top as i32, w as i32, h as i32);
    }

    /// Shows what it has drawn, and damages a rectangle alone.
    pub fn present(&mut self, x: i32, y: i32, w: i32, h: i32) {
        let bytes: Vec<u8> = self
            .pixels
            .iter()
            .flat_map(|pixel| pixel.to_le_bytes())
            .collect();
        let (width, height) = (self.size.0 as i32, self.size.1 as i32);
        let buffer = self.buffer(&bytes, bytes.len() as i32, 0, width, height, width * 4);
        let surface = self.surface.as_ref().expect("opened");
        surface.attach(Some(&buffer), 0, 0);
        surface.damage_buffer(x, y, w, h);
        surface.commit();
    }

    /// A buffer whose file has no blocks, so that it may be large.
    pub fn buffer_of_zeros(&self, w: i32, h: i32) -> wl_buffer::WlBuffer {
        let file = tempfile::tempfile().unwrap();
        file.set_len((w * h * 4) as u64).unwrap();
        let shm = self.shm.as_ref().expect("bound");
        let pool = shm.create_pool(file.as_fd(), w * h * 4, &self.handle(), ());
        let format = wl_shm::Format::Xrgb8888;
        let buffer = pool.create_buffer(0, w, h, w * 4, format, &self.handle(), ());
        pool.destroy();
        buffer
    }

    /// A buffer with a painting.
    pub fn painted(&self, painting: Painting) -> wl_buffer::WlBuffer {
        let pixels = painting.pixels();
        let bytes: Vec<u8> = pixels.iter().flat_map(|p| p.to_le_bytes()).collect();
        let (w, h) = (painting.w as i32, painting.h as i32);
        self.buffer(&bytes, bytes.len() as i32, 0, w, h, w * 4)
    }

    /// A buffer of one colour.
    pub fn plain(&self, w: i32, h: i32, rgb: u32) -> wl_buffer::WlBuffer {
        let bytes = rgb.to_le_bytes().repeat((w * h) as usize);
        self.buffer(&bytes, bytes.len() as i32, 0, w, h, w * 4)
    }

    pub fn ask_for_a_frame(&mut self) {
        let surface = self.surface.as_ref().expect("opened");
        surface.frame(&self.handle(), ());
        surface.commit();
    }

    /// Asks to be told under `name` when the next commit is shown.
    pub fn ask_when_shown(&mut self, name: u32) {
        let presentation: wp_presentation::WpPresentation = self.bind(1);
        let surface = self.surface.as_ref().expect("opened");
        presentation.feedback(surface, &self.handle(), name);
    }

    /// What became of the commits that were asked about, in the order of the answers.
    pub fn told(&self) -> &[(u32, Told)] {
        &self.state.feedback
    }

    pub fn frames_done(&self) -> usize {
        self.state.frames_done
    }

    pub fn keys(&self) -> Vec<(u32, bool)> {
        self.state.keys.clone()
    }

    /// The colour at a place of the window, 0xRRGGBB.
    pub fn at(&self, x: u32, y: u32) -> u32 {
        self.pixels[(y * self.size.0 + x) as usize] & 0x00ff_ffff
    }
}

impl Dispatch<wl_registry::WlRegistry, ()> for State {
    fn event(
        state: &mut Self,
        _: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_registry::Event::Global {
            name,
            interface,
            version,
        } = event
        {
            state.globals.push((name, interface, version));
        }
    }
}

impl Dispatch<xdg_wm_base::XdgWmBase, ()> for State {
    fn event(
        _: &mut Self,
        base: &xdg_wm_base::XdgWmBase,
        event: xdg_wm_base::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            base.pong(serial);
        }
    }
}

impl Dispatch<xdg_surface::XdgSurface, ()> for State {
    fn event(
        state: &mut Self,
        surface: &xdg_surface::XdgSurface,
        event: xdg_surface::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            surface.ack_configure(serial);
            state.configured = true;
        }
    }
}

impl Dispatch<wl_callback::WlCallback, ()> for State {
    fn event(
        state: &mut Self,
        _: &wl_callback::WlCallback,
        _: wl_callback::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.frames_done += 1;
    }
}

impl Dispatch<wl_keyboard::WlKeyboard, ()> for State {
    fn event(
        state: &mut Self,
        _: &wl_keyboard::WlKeyboard,
        event: wl_keyboard::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_keyboard::Event::Key {
            key,
            state: key_state,
            serial,
            ..
        } = event
        {
            state.key_serial = serial;
            let pressed = key_state == wayland_client::WEnum::Value(wl_keyboard::KeyState::Pressed);
            state.keys.push((key, pressed));
        }
    }
}

impl Dispatch<wp_presentation_feedback::WpPresentationFeedback, u32> for State {
    fn event(
        state: &mut Self,
        _: &wp_presentation_feedback::WpPresentationFeedback,
        event: wp_presentation_feedback::Event,
        name: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use wp_presentation_feedback::{Event, Kind};
        let long = |hi: u32, lo: u32| u64::from(hi) << 32 | u64::from(lo);
        let told = match event {
            Event::Presented {
                tv_sec_hi,
                tv_sec_lo,
                tv_nsec,
                refresh,
                seq_hi,
                seq_lo,
                flags,
            } => Told::Presented {
                at: Duration::new(long(tv_sec_hi, tv_sec_lo), tv_nsec),
                refresh: Duration::from_nanos(refresh.into()),
                sequence: long(seq_hi, seq_lo),
                vsync: flags
                    .into_result()
                    .is_ok_and(|kind| kind.contains(Kind::Vsync)),
            },
            Event::Discarded => Told::Discarded,
            _ => return,
        };
        state.feedback.push((*name, told));
    }
}

impl Dispatch<wl_pointer::WlPointer, ()> for State {
    fn event(
        state: &mut Self,
        _: &wl_pointer::WlPointer,
        event: wl_pointer::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_pointer::Event::Enter { serial, .. } = event {
            state.pointer.serial = serial;
        }
    }
}

impl Dispatch<zwp_locked_pointer_v1::ZwpLockedPointerV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &zwp_locked_pointer_v1::ZwpLockedPointerV1,
        event: zwp_locked_pointer_v1::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.pointer.locked = matches!(event, zwp_locked_pointer_v1::Event::Locked);
    }
}

impl Dispatch<zwp_confined_pointer_v1::ZwpConfinedPointerV1, ()> for State {
    fn event(
        state: &mut Self,
        _: &zwp_confined_pointer_v1::ZwpConfinedPointerV1,
        event: zwp_confined_pointer_v1::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.pointer.confined = matches!(event, zwp_confined_pointer_v1::Event::Confined);
    }
}

delegate_noop!(State: ignore zwp_pointer_constraints_v1::ZwpPointerConstraintsV1);
delegate_noop!(State: ignore wp_presentation::WpPresentation);
delegate_noop!(State: ignore wl_compositor::WlCompositor);
delegate_noop!(State: ignore wl_surface::WlSurface);
delegate_noop!(State: ignore wl_shm::WlShm);
delegate_noop!(State: ignore wl_shm_pool::WlShmPool);
delegate_noop!(State: ignore wl_buffer::WlBuffer);
delegate_noop!(State: ignore wl_seat::WlSeat);
delegate_noop!(State: ignore xdg_toplevel::XdgToplevel);
