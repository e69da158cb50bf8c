//! The picture of a headless terminal, read as its book says.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

const HEADER: usize = 4096;
const LOCK: usize = 28;

/// A whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// Width in pixels.
    pub w: u32,
    /// Height in pixels.
    pub h: u32,
    /// Rows of XRGB8888 without gaps.
    pub pixels: Vec<u8>,
}

/// The greeter's panel: blue, green, red.
const PANEL: [u8; 3] = [0x3a, 0x26, 0x16];

impl Shot {
    /// A pixel: blue, green, red.
    ///
    /// # Panics
    ///
    /// Beside the picture.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = (y * self.w + x) as usize * 4;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// Whether the greeter's panel is there, at a scale of one: its inner edge, well above the middle
    /// row, where the gradient of the terminal's own screens has that very colour.
    pub fn shows_greeter(&self) -> bool {
        self.pixel(self.w / 2 - 215, self.h / 2 - 60) == PANEL
    }
}

/// How long a picture may be written to.
const AT_REST: Duration = Duration::from_secs(5);

/// Reads the picture, whole.
///
/// # Errors
///
/// No picture can be read there, or it is never at rest for 5 s.
pub fn read(path: &Path) -> anyhow::Result<Shot> {
    read_before(path, Instant::now() + AT_REST)?
        .with_context(|| format!("{} is never at rest for {AT_REST:?}", path.display()))
}

/// Reads the picture, whole; none where it is being written to until `deadline`. One that is at rest
/// is read however late it is.
///
/// # Errors
///
/// No picture can be read there.
pub fn read_before(path: &Path, deadline: Instant) -> anyhow::Result<Option<Shot>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let word = |at: usize| -> anyhow::Result<u32> {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at as u64)
            .with_context(|| format!("read the header of {}", path.display()))?;
        Ok(u32::from_le_bytes(bytes))
    };
    loop {
        let before = word(LOCK)?;
        if before.is_multiple_of(2) {
            let (w, h, stride) = (word(12)?, word(16)?, word(20)?);
            let mut pixels = vec![0; stride as usize * h as usize];
            let whole = file.read_exact_at(&mut pixels, HEADER as u64);
            // A read that failed while the picture became another says nothing.
            if word(LOCK)? == before {
                whole.with_context(|| format!("read {w}×{h} of {}", path.display()))?;
                return Ok(Some(Shot { w, h, pixels }));
            }
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::yield_now();
    }
}

/// A number that is another for another picture.
pub fn digest(path: &Path) -> anyhow::Result<u64> {
    let shot = read(path)?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&shot.pixels);
    Ok(hasher.finish())
}
