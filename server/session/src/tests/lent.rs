//! Clients' DMA-BUFs, in memfds that cannot shrink: what is claimed of them, and that they are read and
//! given back. What no graphics device is needed for.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use heliostat_va::abi::fourcc;
use heliostat_video::oracle::{bt709, distance};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle, delegate_noop};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_buffer_params_v1::{
    self, Flags, ZwpLinuxBufferParamsV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;

use super::client::{Client, Painting, State};
use super::fixture::{Fixture, within};
use crate::config::Config;
use crate::gpu::RenderNode;

pub const XRGB: u32 = fourcc(b"XR24");
pub const XBGR: u32 = fourcc(b"XB24");
pub const ARGB: u32 = fourcc(b"AR24");
pub const NV12: u32 = fourcc(b"NV12");

/// What has been said of something.
pub type Said = Arc<AtomicUsize>;

delegate_noop!(State: ignore ZwpLinuxDmabufV1);

impl Dispatch<WlBuffer, Said> for State {
    fn event(
        _: &mut Self,
        _: &WlBuffer,
        event: wl_buffer::Event,
        said: &Said,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_buffer::Event::Release = event {
            said.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Dispatch<ZwpLinuxBufferParamsV1, Said> for State {
    fn event(
        _: &mut Self,
        _: &ZwpLinuxBufferParamsV1,
        event: zwp_linux_buffer_params_v1::Event,
        said: &Said,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let zwp_linux_buffer_params_v1::Event::Failed = event {
            said.fetch_add(1, Ordering::Relaxed);
        }
    }

    wayland_client::event_created_child!(State, ZwpLinuxBufferParamsV1, [
        zwp_linux_buffer_params_v1::EVT_CREATED_OPCODE => (WlBuffer, Said::default()),
    ]);
}

/// Memory for a picture.
pub struct Canvas {
    pub file: File,
    pub format: u32,
    pub size: (u32, u32),
    pub pitch: u32,
    /// How often its buffer was given back.
    pub released: Said,
}

impl Canvas {
    pub fn new(format: u32, (w, h): (u32, u32)) -> Self {
        let canvas = Self::unsealed(format, (w, h));
        fcntl_add_seals(&canvas.file, SealFlags::SHRINK).unwrap();
        canvas
    }

    pub fn unsealed(format: u32, (w, h): (u32, u32)) -> Self {
        let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
        let file = File::from(memfd_create("canvas", flags).unwrap());
        let row = if format == NV12 { w } else { w * 4 };
        let pitch = row.next_multiple_of(64);
        let rows = u64::from(h.next_multiple_of(2)) * 3 / 2;
        file.set_len(u64::from(pitch) * rows).unwrap();
        Self {
            file,
            format,
            size: (w, h),
            pitch,
            released: Said::default(),
        }
    }

    fn chroma(&self) -> u32 {
        self.pitch * self.size.1.next_multiple_of(2)
    }

    /// Draws a picture. Returns its pixels.
    pub fn draw(&self, time: u32) -> Vec<u32> {
        let pixels = self.picture(time);
        self.put(&pixels);
        pixels
    }

    /// A picture that moves with `time`, and is smooth as films are.
    pub fn picture(&self, time: u32) -> Vec<u32> {
        let (w, h) = self.size;
        let hill = |value: u32| {
            let value = value % 512;
            value.min(511 - value)
        };
        let pixel = |n: u32| {
            let (x, y) = (n % w + 3 * time, n / w + time);
            // Grain, without which it would be the picture before, scrolled.
            let grain = (n.wrapping_mul(0x9e37_79b9) ^ time.wrapping_mul(0x85eb_ca6b)) >> 30;
            let [r, g, b] = [hill(x + y), hill(2 * y + x / 2), hill(x + 200) / 2 + grain];
            0xff00_0000 | r << 16 | g << 8 | b
        };
        (0..w * h).map(pixel).collect()
    }

    /// Puts pixels into it.
    pub fn put(&self, pixels: &[u32]) {
        let w = self.size.0 as usize;
        if self.format != NV12 {
            let swap = |pixel: u32| match self.format {
                XBGR => pixel & 0xff00_ff00 | (pixel & 0xff) << 16 | pixel >> 16 & 0xff,
                _ => pixel,
            };
            for (y, row) in pixels.chunks(w).enumerate() {
                let bytes = row.iter().flat_map(|pixel| swap(*pixel).to_le_bytes());
                self.write(0, y, &bytes.collect::<Vec<u8>>());
            }
            return;
        }
        let [y, u, v] = [0, 1, 2].map(|channel| {
            let of = |pixel: &u32| {
                let [b, g, r, _] = pixel.to_le_bytes().map(u32::from);
                bt709(r, g, b)[channel].round() as u8
            };
            pixels.iter().map(of).collect::<Vec<u8>>()
        });
        for (row, luma) in y.chunks(w).enumerate() {
            self.write(0, row, luma);
        }
        for (row, (u, v)) in u.chunks(w).zip(v.chunks(w)).step_by(2).enumerate() {
            let pairs = u.iter().zip(v).step_by(2);
            let bytes: Vec<u8> = pairs.flat_map(|(u, v)| [*u, *v]).collect();
            self.write(self.chroma(), row, &bytes);
        }
    }

    fn write(&self, offset: u32, row: usize, bytes: &[u8]) {
        let at = u64::from(offset) + u64::from(self.pitch) * row as u64;
        self.file.write_all_at(bytes, at).unwrap();
    }

    /// Its planes: offset and pitch of each.
    pub fn planes(&self) -> Vec<(u32, u32)> {
        let all = [(0, self.pitch), (self.chroma(), self.pitch)];
        all[..1 + usize::from(self.format == NV12)].to_vec()
    }

    /// A buffer of it.
    pub fn buffer(&self, client: &Client) -> WlBuffer {
        self.buffer_in(client, 0)
    }

    /// One that is said to have this layout.
    pub fn buffer_in(&self, client: &Client, modifier: u64) -> WlBuffer {
        let params = self.params(client, &self.planes(), modifier);
        let (w, h) = (self.size.0 as i32, self.size.1 as i32);
        let said = Arc::clone(&self.released);
        params.create_immed(w, h, self.format, Flags::empty(), &client.handle(), said)
    }

    fn params(
        &self,
        client: &Client,
        planes: &[(u32, u32)],
        modifier: u64,
    ) -> ZwpLinuxBufferParamsV1 {
        let dmabuf: ZwpLinuxDmabufV1 = client.bind(3);
        let params = dmabuf.create_params(&client.handle(), Said::default());
        for (n, (offset, pitch)) in (0..).zip(planes) {
            let [high, low] = [(modifier >> 32) as u32, modifier as u32];
            params.add(self.file.as_fd(), n, *offset, *pitch, high, low);
        }
        params
    }

    pub fn released(&self) -> usize {
        self.released.load(Ordering::Relaxed)
    }
}

/// Commits a buffer with damage.
pub fn commit(client: &mut Client, buffer: &WlBuffer, (x, y, w, h): (i32, i32, i32, i32)) {
    let surface = client.surface.as_ref().expect("opened");
    surface.attach(Some(buffer), 0, 0);
    surface.damage_buffer(x, y, w, h);
    surface.commit();
}

pub const ALL: (i32, i32, i32, i32) = (0, 0, i32::MAX, i32::MAX);

/// A window that has not been drawn.
pub fn with_window(render_node: RenderNode) -> (Fixture, usize) {
    with_window_by(Config {
        render_node,
        ..Config::default()
    })
}

/// The same in a session that is configured so.
pub fn with_window_by(config: Config) -> (Fixture, usize) {
    let mut fixture = Fixture::with(config);
    fixture.attach("a", (640, 480));
    let window = fixture.connect();
    fixture.client(window).make_window();
    within("the window is configured", || {
        fixture.turn();
        fixture.client(window).is_configured()
    });
    (fixture, window)
}

#[test]
fn buffers_of_all_formats_are_shown_as_they_were_drawn_and_given_back() {
    for (format, size) in [
        (XRGB, (200, 130)),
        (XBGR, (131, 77)),
        (ARGB, (64, 64)),
        (NV12, (200, 130)),
        (NV12, (131, 77)),
    ] {
        let (mut fixture, window) = with_window(RenderNode::Read);
        let canvas = Canvas::new(format, size);
        let drawn = canvas.draw(5);
        let buffer = canvas.buffer(fixture.client(window));
        commit(fixture.client(window), &buffer, ALL);
        fixture.settle();
        fixture.client(window).drew(size, drawn);
        assert_eq!(canvas.released(), 1);
        assert_eq!(fixture.buffers(), (1, 0));
        if format != NV12 {
            fixture.assert_shows(&[window]);
            continue;
        }
        let (left, top) = fixture.corner(window);
        let at = |n: u32| (n % size.0, n / size.0);
        // Neighbours share their chroma.
        let far = (0..size.0 * size.1).map(at).filter(|(x, y)| {
            let shown = fixture.shown(left + *x as i32, top + *y as i32);
            distance(fixture.client(window).at(*x, *y), shown) > 8
        });
        assert_eq!(far.count(), 0, "{size:?}");
    }
}

#[test]
fn only_what_is_damaged_is_read() {
    let (mut fixture, window) = with_window(RenderNode::Read);
    let canvas = Canvas::new(XRGB, (200, 150));
    let buffer = canvas.buffer(fixture.client(window));
    let mut pixels = canvas.draw(0);
    commit(fixture.client(window), &buffer, ALL);
    fixture.settle();
    let before = fixture.stats().films.read_bytes;
    // Some of it twice, for what has moved is looked for.
    let all = 200 * 150 * 4;
    assert!((all..all * 3 / 2).contains(&before), "{before}");
    for y in 20..30 {
        pixels[y * 200 + 70..][..40].fill(0xff12_3456);
    }
    canvas.put(&pixels);
    commit(fixture.client(window), &buffer, (70, 20, 40, 10));
    fixture.settle();
    fixture.client(window).drew((200, 150), pixels);
    fixture.assert_shows(&[window]);
    let (damaged, read) = (40 * 10 * 4, fixture.stats().films.read_bytes - before);
    assert!((damaged..damaged * 3).contains(&read), "{read}");
    assert_eq!(canvas.released(), 2);
}

#[test]
fn only_what_is_damaged_of_luma_and_chroma_is_converted_and_as_all_of_it_would_be() {
    for size in [(200, 150), (201, 151)] {
        let (mut fixture, window) = with_window(RenderNode::Read);
        let canvas = Canvas::new(NV12, size);
        let buffer = canvas.buffer(fixture.client(window));
        canvas.draw(0);
        commit(fixture.client(window), &buffer, ALL);
        fixture.settle();
        canvas.draw(90);
        // Odd places and sides, and the corners.
        let parts = [
            (70, 20, 41, 11),
            (0, 0, 3, 3),
            (151, 101, 50, 50),
            (33, 149, 1, 1),
        ];
        let before = fixture.stats().films.read_bytes;
        let surface = fixture.client(window).surface.clone().expect("opened");
        for (x, y, w, h) in &parts[1..] {
            surface.damage_buffer(*x, *y, *w, *h);
        }
        commit(fixture.client(window), &buffer, parts[0]);
        fixture.settle();
        let (left, top) = fixture.corner(window);
        let look = |fixture: &Fixture| -> Vec<u32> {
            let places = parts.iter().flat_map(|(x, y, w, h)| {
                let rows = *y..(y + h).min(size.1 as i32);
                let columns = *x..(x + w).min(size.0 as i32);
                rows.flat_map(move |y| columns.clone().map(move |x| (x, y)))
            });
            places
                .map(|(x, y)| fixture.shown(left + x, top + y))
                .collect()
        };
        let (of_parts, read) = (look(&fixture), fixture.stats().films.read_bytes - before);
        let damaged: i32 = parts.iter().map(|(_, _, w, h)| (w + 2) * (h + 2)).sum();
        assert!(read <= damaged as u64 * 3 / 2, "{read} of {damaged}");
        commit(fixture.client(window), &buffer, ALL);
        fixture.settle();
        assert_eq!(of_parts, look(&fixture), "{size:?}");
    }
}

#[test]
fn without_a_device_there_is_no_such_protocol() {
    let (mut fixture, window) = with_window(RenderNode::Off);
    let globals = &fixture.client(window).state.globals;
    assert!(!globals.iter().any(|global| global.1.contains("dmabuf")));
}

/// The memory, and what is claimed of it: format, planes, modifier, size.
type Lie<'a> = (&'a Canvas, u32, Vec<(u32, u32)>, u64, (i32, i32));

#[test]
fn lies_cost_a_client_its_buffer_or_its_connection_and_nobody_else_anything() {
    let size = (100, 80);
    let good = Canvas::new(XRGB, size);
    let small = Canvas::new(XRGB, (8, 8));
    let pipe = {
        let (read, _write) = std::io::pipe().unwrap();
        File::from(std::os::fd::OwnedFd::from(read))
    };
    let with_file = |file: File| Canvas {
        file,
        released: Said::default(),
        ..good
    };
    let plain = tempfile::tempfile().unwrap();
    plain.set_len(1 << 20).unwrap();
    let right = (0, good.pitch);
    let lies: Vec<Lie<'_>> = vec![
        (&good, XRGB, vec![(0, 396)], 0, (100, 80)),
        (&good, XRGB, vec![(0, 0)], 0, (100, 80)),
        (&good, XRGB, vec![(u32::MAX, 448)], 0, (100, 80)),
        (&good, XRGB, vec![(0, u32::MAX)], 0, (100, 80)),
        (&good, XRGB, vec![(448 * 60, 448)], 0, (100, 80)),
        (&good, XRGB, vec![right], 0x0100_0000_0000_0002, (100, 80)),
        (&good, XRGB, vec![right], u64::MAX, (100, 80)),
        (&good, XRGB, vec![right, right], 0, (100, 80)),
        (&good, NV12, vec![right], 0, (100, 80)),
        (&good, NV12, vec![right, right], 0, (100, 80)),
        (&good, fourcc(b"YUYV"), vec![right], 0, (100, 80)),
        (&good, XRGB, vec![right], 0, (i32::MAX, i32::MAX)),
        (&good, XRGB, vec![right], 0, (-100, -80)),
        (&good, XRGB, vec![right], 0, (0, 80)),
        (&good, XRGB, vec![], 0, (100, 80)),
        (&small, XRGB, vec![right], 0, (100, 80)),
    ];
    let unsealed = Canvas::unsealed(XRGB, size);
    let (plain, pipe) = (with_file(plain), with_file(pipe));
    let more = [&unsealed, &plain, &pipe].map(|canvas| (canvas, XRGB, vec![right], 0, (100, 80)));
    for (canvas, format, planes, modifier, (w, h)) in lies.into_iter().chain(more) {
        let (mut fixture, honest) = with_window(RenderNode::Read);
        let buffer = good.buffer(fixture.client(honest));
        let drawn = good.draw(1);
        commit(fixture.client(honest), &buffer, ALL);
        fixture.client(honest).drew(size, drawn);
        let liar = fixture.open(Painting {
            w: 30,
            h: 20,
            seed: 1,
        });
        let client = fixture.client(liar);
        let params = canvas.params(client, &planes, modifier);
        let failed = params.data::<Said>().expect("ours").clone();
        params.create(w, h, format, Flags::empty());
        within("the lie is called one", || {
            fixture.turn();
            !fixture.client(liar).pump() || failed.load(Ordering::Relaxed) == 1
        });
        fixture.close(liar);
        fixture.settle();
        fixture.assert_shows(&[honest]);
        assert_eq!(fixture.buffers().0, 1);
    }
}

#[test]
fn client_with_too_many_buffers_gets_no_more() {
    let (mut fixture, window) = with_window(RenderNode::Read);
    fixture.limit_buffers(64);
    let canvas = Canvas::new(XRGB, (16, 16));
    let mut last = None;
    for _ in 0..100 {
        let client = fixture.client(window);
        let params = canvas.params(client, &canvas.planes(), 0);
        params.create(16, 16, XRGB, Flags::empty());
        last = params.data::<Said>().cloned();
    }
    within("one is refused", || {
        fixture.turn();
        last.as_ref().unwrap().load(Ordering::Relaxed) == 1
    });
    assert_eq!(fixture.buffers(), (64, 0));
    fixture.close(window);
    within("all are gone", || {
        fixture.turn();
        fixture.buffers() == (0, 0)
    });
}

#[test]
fn client_that_describes_buffers_and_makes_none_is_sent_away_and_leaves_no_file() {
    let (mut fixture, honest) = with_window(RenderNode::Read);
    let canvas = Canvas::new(XRGB, (16, 16));
    let buffer = canvas.buffer(fixture.client(honest));
    let drawn = canvas.draw(1);
    commit(fixture.client(honest), &buffer, ALL);
    fixture.client(honest).drew((16, 16), drawn);
    fixture.settle();
    let liar = fixture.connect();
    fixture.turn();
    let mut described = Vec::new();
    for _ in 0..200 {
        let client = fixture.client(liar);
        described.push(canvas.params(client, &canvas.planes(), 0));
    }
    within("it is sent away", || {
        fixture.turn();
        !fixture.client(liar).pump()
    });
    drop(described);
    fixture.close(liar);
    // One that makes its buffers has as many descriptions as it likes, one after the other.
    for _ in 0..100 {
        let client = fixture.client(honest);
        canvas.params(client, &canvas.planes(), 0).destroy();
    }
    fixture.settle();
    fixture.assert_shows(&[honest]);
    assert_eq!(fixture.buffers().0, 1);
    // Its owner's, and one of the buffer that was made.
    assert_eq!(descriptors_of(&canvas.file), 2);
}

/// Descriptors of this process that are of a file.
pub fn descriptors_of(file: &File) -> usize {
    let inode = file.metadata().unwrap().ino();
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let of_it = links.filter_map(|link| std::fs::metadata(link.ok()?.path()).ok());
    of_it.filter(|file| file.ino() == inode).count()
}

#[test]
fn film_in_buffers_is_one_by_the_processor_too_and_settles() {
    let (mut fixture, window) = with_window(RenderNode::Read);
    let size = (320, 200);
    let canvases = [0; 2].map(|_| Canvas::new(XRGB, size));
    let buffers = canvases
        .each_ref()
        .map(|canvas| canvas.buffer(fixture.client(window)));
    let mut time = 0;
    within("the film is found", || {
        time += 1;
        let n = time as usize % 2;
        let drawn = canvases[n].draw(time);
        commit(fixture.client(window), &buffers[n], ALL);
        fixture.client(window).drew(size, drawn);
        fixture.turn_for(std::time::Duration::from_millis(33));
        fixture.films() == 1
    });
    fixture.settle();
    fixture.assert_shows(&[window]);
    let films = fixture.stats().films;
    assert!(
        films.by_processor > 0 && films.by_hardware == 0,
        "{films:?}"
    );
}
