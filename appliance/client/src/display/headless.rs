//! A screen that is a file: the picture behind a documented header (`docs/book/src/headless.md`).

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use heliostat_sys::pixels::SharedFile;
use heliostat_va::decoder::Frame;
use heliostat_wire::List;
use heliostat_wire::id::OutputId;
use heliostat_wire::limits::MAX_CURSOR_SIDE;
use heliostat_wire::output::{Output, Outputs, Size};

use super::{Caption, Films, OnPlane, Paint, Shown};
use crate::clock::monotonic_ns;
use crate::compose::Target;
use crate::geometry::{Damage, Rect};
use crate::planes::{
    ARGB, Arrangement, Format, Heights, LINEAR, Layout, Plane, PlaneId, Planes, Wanted, Why, plan,
};

/// Bytes before the pixels.
pub const HEADER: usize = 4096;
const MAGIC: &[u8; 8] = b"HELIOFB\0";
const VERSION: u32 = 1;
const FORMAT: &[u8; 4] = b"XR24";

/// Offsets in the header.
mod at {
    pub const VERSION: usize = 8;
    pub const WIDTH: usize = 12;
    pub const HEIGHT: usize = 16;
    pub const STRIDE: usize = 20;
    pub const FORMAT: usize = 24;
    pub const LOCK: usize = 28;
    pub const SERIAL: usize = 32;
    pub const LAST_INPUT: usize = 40;
    pub const SHOWN_NS: usize = 48;
    pub const ATTACH: usize = 56;
}

/// Layouts that are remembered as refused.
const MOST_REFUSED: usize = 64;

/// The one output of this back end.
const OUTPUT: OutputId = OutputId(0);

/// A screen in a file.
pub struct Headless {
    file: File,
    memory: SharedFile,
    size: Size,
    lock: u32,
    shown: Vec<Shown>,
    /// What it is said to have.
    planes: Option<Planes>,
    /// Layouts that were allowed and failed.
    refused: Vec<Layout>,
    /// Surfaces that planes show: held, as a display holds what it scans out.
    showing: Vec<(OnPlane, Frame)>,
    /// Pictures that cannot be shown before one can.
    #[cfg(test)]
    pub failing: u32,
    /// There is no screen for the time being.
    #[cfg(test)]
    pub is_unplugged: bool,
    /// What is said of it.
    #[cfg(test)]
    pub stuck: Vec<super::stuck::Stuck>,
    /// Pixels that the sides of a hardware cursor have.
    #[cfg(test)]
    pub cursor_side: u32,
}

impl Headless {
    /// A screen of this size, in the file named, or in one that nobody sees.
    pub fn new(path: Option<&Path>, (w, h): (u32, u32)) -> anyhow::Result<Self> {
        let unseen = PathBuf::from(format!("/dev/shm/heliostat-{}", std::process::id()));
        let name = path.unwrap_or(&unseen);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(name)
            .with_context(|| format!("create the framebuffer file {}", name.display()))?;
        if path.is_none() {
            // The open file stays, its name need not.
            let _ = std::fs::remove_file(&unseen);
        }
        let size = Size { w, h };
        let memory = map(&file, size)?;
        let mut headless = Self {
            file,
            memory,
            size,
            lock: 0,
            shown: Vec::new(),
            planes: None,
            refused: Vec::new(),
            showing: Vec::new(),
            #[cfg(test)]
            failing: 0,
            #[cfg(test)]
            is_unplugged: false,
            #[cfg(test)]
            stuck: Vec::new(),
            #[cfg(test)]
            cursor_side: MAX_CURSOR_SIDE,
        };
        headless.write_header();
        Ok(headless)
    }

    /// Makes it a screen with a plane that shows films in this format (`DRM_FORMAT_*`). They are not in
    /// the file: what this is for is everything but their pixels.
    pub fn with_plane(mut self, format: u32) -> Self {
        let plane = |id, code| Plane {
            id: PlaneId(id),
            formats: vec![Format {
                code,
                modifier: LINEAR,
            }],
            heights: Heights::Unsaid,
            is_bt709: true,
        };
        self.planes = Some(Planes {
            primary: plane(1, ARGB),
            overlays: vec![plane(2, format)],
            cursor: None,
        });
        self
    }

    /// Whether pointer images of this size are no part of its picture.
    pub fn draws_cursor(&self, size: Size) -> bool {
        #[cfg(test)]
        let side = self.cursor_side;
        #[cfg(not(test))]
        let side = MAX_CURSOR_SIDE;
        size.w <= side && size.h <= side
    }

    /// Decides how videos are shown.
    pub fn arrange(&self, wanted: &[Wanted]) -> Arrangement {
        match &self.planes {
            Some(planes) => {
                let bounds = Rect::of_size(self.size.w, self.size.h);
                plan(bounds, planes, wanted, &mut |layout| {
                    !self.refused.contains(layout)
                })
            }
            None => Arrangement::copied(wanted, Why::NoPlanes),
        }
    }

    /// A layout was allowed and failed when it was to be shown.
    pub fn distrust(&mut self, layout: &Layout) {
        if self.refused.len() < MOST_REFUSED {
            self.refused.push(layout.clone());
        }
    }

    /// What planes show.
    pub fn on_planes(&self) -> Vec<OnPlane> {
        self.showing.iter().map(|(shown, _)| *shown).collect()
    }

    fn put_on_planes(&mut self, films: &Films<'_>) -> anyhow::Result<()> {
        let before = self.showing.len();
        for planned in &films.layout.uses {
            let Some(frame) = (films.frame)(planned) else {
                self.showing.truncate(before);
                bail!("a video without a picture");
            };
            let on_plane = OnPlane {
                plane: planned.plane,
                video: planned.video,
                framebuffer: 0,
                inode: 0,
            };
            self.showing.push((on_plane, frame));
        }
        // What is shown is held until the next picture is there.
        self.showing.drain(..before);
        Ok(())
    }

    /// Gives the screen another size.
    pub fn resize(&mut self, (w, h): (u32, u32)) -> anyhow::Result<()> {
        self.size = Size { w, h };
        self.memory = map(&self.file, self.size)?;
        self.write_header();
        Ok(())
    }

    /// The one screen.
    pub fn outputs(&self) -> Outputs {
        #[cfg(test)]
        if self.is_unplugged {
            return Outputs::default();
        }
        List::truncated(vec![Output {
            id: OUTPUT,
            connector: "Headless-1".into(),
            make: "Heliostat".into(),
            model: "File".into(),
            size: self.size,
            refresh_mhz: 60_000,
            physical_mm: Size { w: 0, h: 0 },
            x: 0,
            y: 0,
        }])
    }

    /// Draws into the file and says so at once.
    pub fn present(
        &mut self,
        damage: &Damage,
        films: &Films<'_>,
        caption: Caption,
        paint: &mut Paint<'_>,
    ) -> anyhow::Result<()> {
        #[cfg(test)]
        if self.failing > 0 {
            self.failing -= 1;
            bail!("the test wants it so");
        }
        self.put_on_planes(films)?;
        self.set_lock();
        let bounds = Rect::of_size(self.size.w, self.size.h);
        let stride = self.size.w as usize;
        let pixels = &mut self.memory.words_mut()[HEADER / 4..];
        for rect in damage.rects() {
            paint(
                *rect,
                &mut Target {
                    pixels,
                    stride,
                    bounds,
                },
            );
        }
        let at_ns = monotonic_ns();
        self.put_u64(at::SERIAL, u64::from(caption.serial));
        self.put_u64(at::LAST_INPUT, u64::from(caption.last_input));
        self.put_u64(at::SHOWN_NS, at_ns);
        self.put_u64(at::ATTACH, caption.attach);
        self.set_lock();
        self.shown.push(Shown {
            output: OUTPUT,
            caption,
            at_ns,
        });
        Ok(())
    }

    /// Makes all pixels black.
    pub fn darken(&mut self) {
        self.showing.clear();
        self.set_lock();
        self.memory.words_mut()[HEADER / 4..].fill(0);
        for field in [at::SERIAL, at::LAST_INPUT, at::ATTACH] {
            self.put_u64(field, 0);
        }
        self.set_lock();
    }

    /// The pixels.
    #[cfg(test)]
    pub fn pixels(&self) -> &[u32] {
        &self.memory.words()[HEADER / 4..]
    }

    /// Pictures shown since somebody has taken them out.
    pub fn shown(&mut self) -> &mut Vec<Shown> {
        &mut self.shown
    }

    /// Writes the picture to a PNG file.
    pub fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        let pixels = &self.memory.words()[HEADER / 4..];
        super::png_file::write(
            path,
            pixels,
            self.size.w as usize,
            (self.size.w, self.size.h),
        )
    }

    fn write_header(&mut self) {
        self.put(0, MAGIC);
        self.put(at::VERSION, &VERSION.to_le_bytes());
        self.put(at::WIDTH, &self.size.w.to_le_bytes());
        self.put(at::HEIGHT, &self.size.h.to_le_bytes());
        self.put(at::STRIDE, &(self.size.w * 4).to_le_bytes());
        self.put(at::FORMAT, FORMAT);
    }

    /// Makes the lock odd before writing and even after.
    fn set_lock(&mut self) {
        self.lock = self.lock.wrapping_add(1);
        self.memory.store_u32(at::LOCK / 4, self.lock);
    }

    fn put_u64(&mut self, offset: usize, value: u64) {
        self.put(offset, &value.to_le_bytes());
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (word, bytes) in self.memory.words_mut()[offset / 4..]
            .iter_mut()
            .zip(bytes.chunks(4))
        {
            let mut le = [0; 4];
            le[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_ne_bytes(le);
        }
    }
}

fn map(file: &File, size: Size) -> anyhow::Result<SharedFile> {
    let length = HEADER as u64 + u64::from(size.w) * u64::from(size.h) * 4;
    file.set_len(length).context("size the framebuffer file")?;
    SharedFile::map(file, length as usize).context("map the framebuffer file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_as_the_book_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screen");
        let mut headless = Headless::new(Some(&path), (20, 10)).unwrap();
        let mut damage = Damage::new();
        damage.add(Rect {
            x: 3,
            y: 2,
            w: 1,
            h: 1,
        });
        let caption = Caption {
            serial: 7,
            last_input: 5,
            attach: 9,
        };
        let films = Films {
            layout: &Layout::default(),
            frame: &|_| None,
        };
        headless
            .present(&damage, &films, caption, &mut |rect, target| {
                target.fill(rect, 0xaa_bb_cc)
            })
            .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], MAGIC);
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!([8, 12, 16, 20].map(u32_at), [1, 20, 10, 80]);
        assert_eq!(&bytes[24..28], FORMAT);
        assert_eq!(u32_at(28), 2);
        assert_eq!([32, 40, 56].map(u64_at), [7, 5, 9]);
        assert_eq!(u64_at(48), headless.shown()[0].at_ns);
        assert_eq!(u32_at(HEADER + (2 * 20 + 3) * 4), 0xaa_bb_cc);
        assert_eq!(bytes.len(), HEADER + 800);
        headless.resize((5, 5)).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().len() as usize,
            HEADER + 100
        );
    }
}
