//! The picture of a viewer in a file, laid out as the book says of Heliostat's headless terminal, and
//! the events that go with it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use heliostat_sys::pixels::SharedFile;
use hil_local::terminal::monotonic_us;
use serde_json::json;

const HEADER: usize = 4096;
const LOCK: usize = 28;

/// A picture that others may read while it changes.
pub struct PictureFile {
    memory: SharedFile,
    w: u32,
    h: u32,
    lock: u32,
    serial: u64,
}

impl PictureFile {
    /// A black picture.
    pub fn create(path: &Path, w: u32, h: u32) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .with_context(|| format!("create {}", path.display()))?;
        let length = HEADER + w as usize * h as usize * 4;
        file.set_len(length as u64)?;
        let mut memory = SharedFile::map(&file, length)?;
        let magic = [u32::from_le_bytes(*b"HELI"), u32::from_le_bytes(*b"OFB\0")];
        let format = u32::from_le_bytes(*b"XR24");
        let words = [magic[0], magic[1], 1, w, h, w * 4, format];
        memory.words_mut()[..words.len()].copy_from_slice(&words);
        Ok(Self {
            memory,
            w,
            h,
            lock: 0,
            serial: 0,
        })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.w, self.h)
    }

    /// A change begins.
    pub fn begin(&mut self) {
        self.lock |= 1;
        self.memory.store_u32(LOCK / 4, self.lock);
    }

    /// The change is complete, and is announced.
    pub fn end(&mut self) {
        self.lock = (self.lock | 1).wrapping_add(1);
        self.memory.store_u32(LOCK / 4, self.lock);
        self.serial += 1;
        say(&json!({"event": "frame_shown", "serial": self.serial, "at_us": monotonic_us()}));
    }

    /// A part of a row; it must lie inside.
    pub fn row_mut(&mut self, x: u32, y: u32, w: u32) -> &mut [u32] {
        let at = HEADER / 4 + (y * self.w + x) as usize;
        &mut self.memory.words_mut()[at..][..w as usize]
    }

    /// Copies a rectangle inside the picture.
    pub fn copy(&mut self, (from_x, from_y): (u32, u32), (x, y): (u32, u32), w: u32, h: u32) {
        let width = self.w as usize;
        let mut copy_row = |row: u32| {
            let from = HEADER / 4 + (from_y + row) as usize * width + from_x as usize;
            let to = HEADER / 4 + (y + row) as usize * width + x as usize;
            let words = self.memory.words_mut();
            words.copy_within(from..from + w as usize, to);
        };
        if y > from_y {
            (0..h).rev().for_each(&mut copy_row);
        } else {
            (0..h).for_each(&mut copy_row);
        }
    }
}

/// Says an event on standard output.
pub fn say(event: &serde_json::Value) {
    // Whoever listened may have gone; that is told by standard input.
    let _ = writeln!(std::io::stdout().lock(), "{event}");
}
