//! A client that plays films.

use heliostat_video::oracle::psnr;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_manager_v1::WpContentTypeManagerV1;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_v1::Type;

use super::super::fixture::{Fixture, within};
use super::super::lent::{ALL, Canvas, XRGB, commit, with_window};
use super::{PICTURE, Place, node};
use crate::gpu::RenderNode;

/// A client that plays a film in its window, in three buffers.
pub(super) struct Player {
    pub(super) fixture: Fixture,
    pub(super) window: usize,
    pub(super) canvases: [Canvas; 3],
    pub(super) buffers: Vec<WlBuffer>,
    pub(super) time: u32,
    pub(super) drawn: Vec<u32>,
    /// Where the film is, and what is beside it, where it is in a part of the window.
    pub(super) part: Option<(Place, Vec<u32>)>,
}

impl Player {
    pub(super) fn new(format: u32, size: (u32, u32)) -> Self {
        Self::on(RenderNode::Path(node()), format, size)
    }

    /// One in a session with this device.
    pub(super) fn on(node: RenderNode, format: u32, size: (u32, u32)) -> Self {
        let (mut fixture, window) = with_window(node);
        let canvases = [0; 3].map(|_| Canvas::new(format, size));
        let client = fixture.client(window);
        let buffers = canvases
            .iter()
            .map(|canvas| canvas.buffer(client))
            .collect();
        Self {
            fixture,
            window,
            canvases,
            buffers,
            time: 0,
            drawn: Vec::new(),
            part: None,
        }
    }

    /// One whose film is in a part of a window that shows something else besides.
    pub(super) fn in_a_part(size: (u32, u32), film: Place) -> Self {
        let mut player = Self::new(XRGB, size);
        let pattern = |n: u32| 0xff00_0000 | (n % size.0 / 9 * 0x0011_0300) ^ (n / size.0 / 7);
        player.part = Some((film, (0..size.0 * size.1).map(pattern).collect()));
        player.show_all();
        player.fixture.settle();
        player
    }

    /// Draws what is beside the film and its next picture, and commits all of it.
    pub(super) fn show_all(&mut self) {
        self.show_with(&[ALL]);
    }

    /// Inverts a rectangle beside the film, and plays the next picture.
    pub(super) fn play_beside(&mut self, (x, y, w, h): Place) {
        let width = self.canvases[0].size.0;
        let ((fx, fy, fw, fh), beside) = self.part.as_mut().expect("a part");
        for n in (0..beside.len() as u32).filter(|n| {
            let (at_x, at_y) = (n % width, n / width);
            (x..x + w).contains(&at_x) && (y..y + h).contains(&at_y)
        }) {
            beside[n as usize] ^= 0x00ff_ffff;
        }
        let film = [*fx, *fy, *fw, *fh].map(|side| side as i32);
        let changed = [x, y, w, h].map(|side| side as i32);
        self.show_with(&[film, changed].map(|[x, y, w, h]| (x, y, w, h)));
        self.fixture.turn_for(PICTURE);
    }

    /// How alike the film is to what was drawn, in dB, and how many pixels beside it are not right.
    pub(super) fn likeness_of_part(&mut self) -> (f64, usize) {
        let (left, top) = self.fixture.corner(self.window);
        let width = self.canvases[0].size.0;
        let (x, y, w, h) = self.part.as_ref().expect("a part").0;
        let (mut drawn, mut shown, mut wrong) = (Vec::new(), Vec::new(), 0);
        for (n, pixel) in (0..).zip(&self.drawn) {
            let (at_x, at_y) = (n % width, n / width);
            let seen = self.fixture.shown(at_x as i32 + left, at_y as i32 + top);
            match (x..x + w).contains(&at_x) && (y..y + h).contains(&at_y) {
                true => {
                    drawn.push(*pixel);
                    shown.push(seen);
                }
                false => wrong += usize::from((seen ^ pixel) & 0x00ff_ffff != 0),
            }
        }
        (psnr(&drawn, &shown), wrong)
    }

    /// Says that this is a film.
    pub(super) fn say_film(&mut self) {
        let client = self.fixture.client(self.window);
        let manager: WpContentTypeManagerV1 = client.bind(1);
        let surface = client.surface.clone().expect("opened");
        let content = manager.get_surface_content_type(&surface, &client.handle(), ());
        content.set_content_type(Type::Video);
    }

    pub(super) fn canvas(&self) -> &Canvas {
        &self.canvases[self.time as usize % 3]
    }

    /// Plays the next picture.
    pub(super) fn play(&mut self) {
        self.show();
        self.fixture.turn_for(PICTURE);
    }

    /// Draws the next picture and commits it.
    pub(super) fn show(&mut self) {
        match self.part {
            Some(((x, y, w, h), _)) => {
                let [x, y, w, h] = [x, y, w, h].map(|side| side as i32);
                self.show_with(&[(x, y, w, h)]);
            }
            None => self.show_with(&[ALL]),
        }
    }

    pub(super) fn show_with(&mut self, damage: &[(i32, i32, i32, i32)]) {
        self.time += 1;
        self.drawn = self.canvas().picture(self.time);
        if let Some(((x, y, w, h), beside)) = &self.part {
            let width = self.canvases[0].size.0;
            for (n, pixel) in (0..).zip(&mut self.drawn) {
                let (at_x, at_y) = (n % width, n / width);
                if !(*x..x + w).contains(&at_x) || !(*y..y + h).contains(&at_y) {
                    *pixel = beside[n as usize];
                }
            }
        }
        self.canvas().put(&self.drawn);
        let client = self.fixture.client(self.window);
        client.drew(self.canvases[0].size, self.drawn.clone());
        let buffer = &self.buffers[self.time as usize % 3];
        let surface = client.surface.as_ref().expect("opened");
        for (x, y, w, h) in &damage[1..] {
            surface.damage_buffer(*x, *y, *w, *h);
        }
        commit(client, buffer, damage[0]);
    }

    /// Plays until the hardware has encoded so many pictures more.
    pub(super) fn play_by_hardware(&mut self, pictures: u64) {
        let until = self.by_hardware() + pictures;
        within("the hardware encodes", || {
            self.play();
            self.by_hardware() >= until
        });
    }

    pub(super) fn by_hardware(&mut self) -> u64 {
        self.fixture.stats().films.by_hardware
    }

    /// How alike what the terminal shows is to what was drawn, in dB.
    pub(super) fn likeness(&mut self) -> f64 {
        let (left, top) = self.fixture.corner(self.window);
        let (w, h) = self.canvases[0].size;
        let place = |n: u32| ((n % w) as i32 + left, (n / w) as i32 + top);
        let shown = (0..w * h).map(place);
        let shown: Vec<u32> = shown.map(|(x, y)| self.fixture.shown(x, y)).collect();
        psnr(&self.drawn, &shown)
    }

    /// The film stops, and what it leaves is exact.
    pub(super) fn settle(&mut self) {
        self.fixture.settle();
        assert_eq!(self.fixture.films(), 0);
        self.fixture.assert_shows(&[self.window]);
    }

    /// Everything ends, and the driver writes down what it has counted.
    pub(super) fn end(self) {
        drop(self.fixture);
        within("the hardware's thread has ended", || {
            encoding_threads() == 0
        });
    }
}

/// Threads that have the hardware encode, or wait for it.
pub(super) fn encoding_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.ok()?.path().join("comm")).ok()
    };
    let names = threads.filter_map(name);
    names.filter(|name| name.starts_with("films by")).count()
}
