//! What a person sees and does: a process with a picture in a file and control lines, as Heliostat's
//! headless terminal has them and our clients of other systems imitate them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hil_local::framebuffer::{self, Shot};
use hil_local::terminal::monotonic_us;
use hil_local::{Event, Terminal};

use crate::canvas::{Canvas, Rect};
use crate::marker;

const HEADER: u64 = 4096;
const LOCK: u64 = 28;
const STRIDE: u64 = 20;

/// The evdev codes that the workloads use.
pub mod key {
    /// A.
    pub const A: u16 = 30;
    /// Left Alt.
    pub const ALT: u16 = 56;
    /// Tab.
    pub const TAB: u16 = 15;
    /// The left button.
    pub const LEFT: u16 = 0x110;
}

/// A viewer.
pub struct Viewer {
    /// Its process.
    pub terminal: Terminal,
    file: File,
    last_us: u64,
}

/// A picture was shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// When, in microseconds of CLOCK_MONOTONIC.
    pub at_us: u64,
}

impl Viewer {
    /// Watches a running terminal.
    pub fn new(terminal: Terminal) -> anyhow::Result<Self> {
        let path = terminal.framebuffer.as_deref();
        let path = path.context("the viewer has no picture in a file")?;
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self {
            terminal,
            file,
            last_us: monotonic_us(),
        })
    }

    /// The next picture before `deadline`.
    pub fn next_shown(&mut self, deadline: Instant) -> Option<Shown> {
        while let Some(event) = self.terminal.next_event(deadline) {
            if event.name() == "frame_shown" {
                let shown = shown(&event);
                self.last_us = shown.at_us;
                return Some(shown);
            }
        }
        None
    }

    /// The number of the marker at `(x, y)`; none where there is none or it is being drawn.
    pub fn marker(&self, (x, y): (u32, u32)) -> Option<u32> {
        marker::read(&self.part(Rect::new(x, y, marker::W, marker::H))?.pixels)
    }

    /// A part of the picture, all of it from the same moment.
    pub fn part(&self, rect: Rect) -> Option<Canvas> {
        for _ in 0..100 {
            let lock = self.word(LOCK)?;
            let stride = u64::from(self.word(STRIDE)?);
            let mut pixels = Vec::with_capacity((rect.w * rect.h) as usize);
            let mut bytes = vec![0; rect.w as usize * 4];
            for y in rect.y..rect.y + rect.h {
                let at = HEADER + u64::from(y) * stride + u64::from(rect.x) * 4;
                self.file.read_exact_at(&mut bytes, at).ok()?;
                pixels.extend(words(&bytes));
            }
            if lock.is_multiple_of(2) && self.word(LOCK)? == lock {
                let (w, h) = (rect.w, rect.h);
                return Some(Canvas { w, h, pixels });
            }
            std::thread::yield_now();
        }
        None
    }

    fn word(&self, at: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    /// The whole picture.
    pub fn picture(&self) -> anyhow::Result<Canvas> {
        Ok(canvas(&framebuffer::read(self.path()?)?))
    }

    /// The whole picture; none where it is being drawn until `deadline`.
    pub fn picture_before(&self, deadline: Instant) -> anyhow::Result<Option<Canvas>> {
        let shot = framebuffer::read_before(self.path()?, deadline)?;
        Ok(shot.as_ref().map(canvas))
    }

    fn path(&self) -> anyhow::Result<&Path> {
        let path = self.terminal.framebuffer.as_deref();
        path.context("the viewer has no picture in a file")
    }

    /// Waits until the marker at `place` is one that `wanted` takes; when that was shown, and the
    /// number.
    pub fn wait_marker(
        &mut self,
        place: (u32, u32),
        limit: Duration,
        wanted: impl Fn(u32) -> bool,
    ) -> anyhow::Result<(u64, u32)> {
        let deadline = Instant::now() + limit;
        let mut at_us = monotonic_us();
        loop {
            if let Some(number) = self.marker(place).filter(|number| wanted(*number)) {
                return Ok((at_us, number));
            }
            ensure!(
                Instant::now() < deadline,
                "the frame was not seen in {limit:?}, but {:?}",
                self.marker(place)
            );
            let poll = Instant::now() + Duration::from_millis(200);
            at_us = match self.next_shown(poll.min(deadline)) {
                Some(shown) => shown.at_us,
                None => monotonic_us(),
            };
        }
    }

    /// Waits until nothing has been shown for `quiet`.
    pub fn settle(&mut self, quiet: Duration) {
        let limit = Instant::now() + Duration::from_secs(10);
        while Instant::now() < limit && self.next_shown(Instant::now() + quiet).is_some() {}
    }

    /// Waits until the picture is exactly `expected`; when its last change was shown, if it ever is.
    pub fn wait_exact(
        &mut self,
        expected: &Canvas,
        limit: Duration,
    ) -> anyhow::Result<Option<u64>> {
        let deadline = Instant::now() + limit;
        loop {
            while self.next_shown(Instant::now()).is_some() {}
            // One that comes for seconds, as peers' do on a slow link, cannot be read meanwhile.
            if let Some(picture) = self.picture_before(deadline)?
                && difference(&picture, expected) == 0.0
            {
                return Ok(Some(self.last_us));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.next_shown(deadline.min(Instant::now() + Duration::from_millis(100)));
        }
    }
}

fn shown(event: &Event) -> Shown {
    let at_us = event.number("at_us").unwrap_or(event.read_us);
    Shown { at_us }
}

fn canvas(shot: &Shot) -> Canvas {
    Canvas {
        w: shot.w,
        h: shot.h,
        pixels: words(&shot.pixels).collect(),
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap_or_default());
    bytes
        .chunks_exact(4)
        .map(move |bytes| word(bytes) | 0xff00_0000)
}

/// Mean square of the differences of all channels; 0 for equal pictures only.
pub fn difference(one: &Canvas, two: &Canvas) -> f64 {
    if (one.w, one.h) != (two.w, two.h) {
        return f64::INFINITY;
    }
    if one.pixels == two.pixels {
        return 0.0;
    }
    let squares = one.pixels.iter().zip(&two.pixels).filter(|(a, b)| a != b);
    let square = |(a, b): (&u32, &u32)| {
        let channel = |shift: u32| (a >> shift & 0xff).abs_diff(b >> shift & 0xff).pow(2);
        u64::from(channel(0) + channel(8) + channel(16))
    };
    squares.map(square).sum::<u64>() as f64 / (one.pixels.len() * 3) as f64
}

/// Peak signal to noise ratio in dB of a difference.
pub fn psnr(difference: f64) -> f64 {
    10.0 * (255.0 * 255.0 / difference).log10()
}

/// Writes a picture as PPM, for people who want to see what was wrong.
pub fn write_ppm(canvas: &Canvas, path: &Path) -> anyhow::Result<()> {
    let mut bytes = format!("P6\n{} {}\n255\n", canvas.w, canvas.h).into_bytes();
    for pixel in &canvas.pixels {
        bytes.extend([(pixel >> 16) as u8, (pixel >> 8) as u8, *pixel as u8]);
    }
    Ok(std::fs::write(path, bytes)?)
}
