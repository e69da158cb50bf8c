//! A surface's buffers: which are free, and what each of them lacks.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use heliostat_sys::pixels::SharedFile;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::canvas::{Canvas, Rect};

/// More rectangles than this are as good as the one around them.
const MOST_RECTS: usize = 32;

/// Several pictures in one file that the window system can read.
pub struct Sheet {
    file: File,
    memory: SharedFile,
    w: u32,
    h: u32,
    buffers: Vec<Buffer>,
}

struct Buffer {
    free: bool,
    stale: Vec<Rect>,
}

impl Sheet {
    /// `count` pictures.
    pub fn new(w: u32, h: u32, count: usize) -> anyhow::Result<Self> {
        let length = w as usize * h as usize * 4 * count;
        let file = File::from(memfd_create("hil-draw", MemfdFlags::CLOEXEC)?);
        ftruncate(&file, length as u64)?;
        let memory = SharedFile::map(&file, length).context("map the buffers")?;
        let whole = Rect::new(0, 0, w, h);
        let buffers = (0..count).map(|_| Buffer {
            free: true,
            stale: vec![whole],
        });
        Ok(Self {
            buffers: buffers.collect(),
            file,
            memory,
            w,
            h,
        })
    }

    /// The file for the window system.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes of one picture.
    pub fn picture_bytes(&self) -> usize {
        (self.w * self.h * 4) as usize
    }

    /// Whether a picture is free.
    pub fn is_free(&self) -> bool {
        self.buffers.iter().any(|buffer| buffer.free)
    }

    /// The window system has done with a picture.
    pub fn release(&mut self, index: usize) {
        if let Some(buffer) = self.buffers.get_mut(index) {
            buffer.free = true;
        }
    }

    /// Notes what changed, for all pictures.
    pub fn note(&mut self, damage: &[Rect]) {
        for buffer in &mut self.buffers {
            buffer.stale.extend_from_slice(damage);
            if buffer.stale.len() > MOST_RECTS {
                let around = buffer.stale.drain(..).reduce(Rect::around);
                buffer.stale.extend(around);
            }
        }
    }

    /// Brings a free picture up to date and takes it.
    pub fn take(&mut self, canvas: &Canvas) -> Option<usize> {
        let index = self.buffers.iter().position(|buffer| buffer.free)?;
        let picture = (self.w * self.h) as usize;
        let pixels = &mut self.memory.words_mut()[index * picture..][..picture];
        let buffer = &mut self.buffers[index];
        buffer.free = false;
        for rect in buffer.stale.drain(..) {
            for y in rect.y..rect.y + rect.h {
                let at = (y * self.w + rect.x) as usize;
                pixels[at..][..rect.w as usize].copy_from_slice(canvas.row(rect.x, y, rect.w));
            }
        }
        Some(index)
    }
}
