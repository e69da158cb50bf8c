//! Buffers of a flat output that GLES draws into and an encoder reads, without a copy between.
//!
//! ```text
//!   free ── acquired ──► being drawn ── submitted ──► with the encoder ── dropped ──► free
//! ```
//!
//! What has to be drawn into one is all that was damaged since it was drawn into last. Where all of them are
//! with the encoder, a picture is skipped: it goes elsewhere, and the next has to make up for it.

use std::collections::VecDeque;

use anyhow::{Context, ensure};
use heliostat_compose::geometry::{Damage, Rect};
use heliostat_wire::output::Size;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Allocator, Fourcc, Modifier, Slot, Swapchain};

/// Frames whose damage is remembered; older buffers are drawn wholly.
const REMEMBERED: usize = 8;

use crate::sys::NoBuffer;

/// Where buffers come from.
pub type Source = Box<dyn Allocator<Buffer = Dmabuf, Error = NoBuffer>>;

/// A picture of a flat output in memory of the GPU. It is not drawn into again before this is dropped.
#[derive(Debug)]
pub struct FlatBuffer {
    /// The memory.
    pub dmabuf: Dmabuf,
    /// What differs from the picture before.
    pub damage: Damage,
    /// Who holds it.
    pub slot: Slot<Dmabuf>,
}

/// The buffers of one output.
#[derive(Debug)]
pub struct Chain {
    swapchain: Swapchain<Source>,
    size: Size,
    history: History,
    /// What the pictures have changed that were skipped since the last one.
    skipped: Damage,
}

impl Chain {
    /// Buffers of this size.
    pub fn new(source: Source, size: Size) -> Self {
        let linear = vec![Modifier::Linear];
        Self {
            swapchain: Swapchain::new(source, size.w, size.h, Fourcc::Xrgb8888, linear),
            size,
            history: History::default(),
            skipped: Damage::new(),
        }
    }

    /// A buffer for the next picture, which differs from the last one in `damage`, and what has to be
    /// drawn into it. None where the encoder has all of them still.
    pub fn acquire(&mut self, damage: &Damage) -> anyhow::Result<Option<(FlatBuffer, Damage)>> {
        let slot = self.swapchain.acquire();
        let Some(slot) = slot.context("get a buffer for a flat output")? else {
            return Ok(None);
        };
        let dmabuf = Dmabuf::clone(&slot);
        let size = smithay::backend::allocator::Buffer::size(&dmabuf);
        ensure!(
            (size.w as u32, size.h as u32) == (self.size.w, self.size.h),
            "a buffer of {}×{} pixels for an output of {}×{}",
            size.w,
            size.h,
            self.size.w,
            self.size.h
        );
        let whole = Rect::of_size(self.size.w, self.size.h);
        let mut damage = damage.clone();
        damage.add_all(&self.skipped);
        let drawn = self.history.since(slot.age(), &damage, whole);
        let buffer = FlatBuffer {
            dmabuf,
            damage,
            slot,
        };
        Ok(Some((buffer, drawn)))
    }

    /// A buffer was drawn into, and goes to the encoder.
    pub fn submitted(&mut self, buffer: &FlatBuffer) {
        self.swapchain.submitted(&buffer.slot);
        self.history.add(buffer.damage.clone());
        self.skipped = Damage::new();
    }

    /// A picture that differs from the one before in `damage` is drawn into none of these.
    pub fn skip(&mut self, damage: &Damage) {
        self.skipped.add_all(damage);
    }
}

/// What the last pictures have changed, the newest last.
#[derive(Debug, Default)]
struct History(VecDeque<Damage>);

impl History {
    fn add(&mut self, damage: Damage) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(damage);
    }

    /// What a buffer lacks that was drawn `age` pictures ago, or never where that is 0, once `damage`
    /// is to be seen in it as well.
    fn since(&self, age: u8, damage: &Damage, whole: Rect) -> Damage {
        let mut all = damage.clone();
        // One picture ago means all but this picture's.
        let missed = usize::from(age).checked_sub(1);
        match missed.and_then(|missed| self.0.len().checked_sub(missed)) {
            Some(first) => self.0.range(first..).for_each(|older| all.add_all(older)),
            None => all.add(whole),
        }
        all.clip(whole);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use smithay::backend::allocator::dmabuf::DmabufFlags;

    use super::*;

    const SIZE: Size = Size { w: 100, h: 80 };
    const WHOLE: Rect = Rect {
        x: 0,
        y: 0,
        w: 100,
        h: 80,
    };

    /// Files where memory of a GPU would be; nobody draws here.
    struct Files {
        side: u32,
    }

    impl Allocator for Files {
        type Buffer = Dmabuf;
        type Error = NoBuffer;

        fn create_buffer(
            &mut self,
            width: u32,
            height: u32,
            fourcc: Fourcc,
            _: &[Modifier],
        ) -> Result<Dmabuf, NoBuffer> {
            let size = ((width + self.side) as i32, height as i32);
            let flags = DmabufFlags::empty();
            let mut builder = Dmabuf::builder(size, fourcc, Modifier::Linear, flags);
            let file: OwnedFd = tempfile::tempfile().expect("a file").into();
            assert!(builder.add_plane(file, 0, 0, width * 4));
            Ok(builder.build().expect("it has a plane"))
        }
    }

    fn chain(side: u32) -> Chain {
        Chain::new(Box::new(Files { side }), SIZE)
    }

    fn at(x: i32) -> Damage {
        let mut damage = Damage::new();
        damage.add(Rect {
            x,
            y: 0,
            w: 1,
            h: 80,
        });
        damage
    }

    fn picture(chain: &mut Chain, x: i32) -> (FlatBuffer, Damage) {
        let (buffer, drawn) = chain.acquire(&at(x)).unwrap().expect("one is free");
        chain.submitted(&buffer);
        (buffer, drawn)
    }

    fn holds(damage: &Damage, x: i32) -> bool {
        let column = at(x);
        damage
            .rects()
            .iter()
            .any(|rect| rect.contains(column.rects()[0]))
    }

    #[test]
    fn buffer_that_comes_back_is_drawn_as_far_as_it_was_overtaken() {
        let mut chain = chain(0);
        let (first, drawn) = picture(&mut chain, 0);
        assert_eq!(drawn.rects(), [WHOLE], "it was never drawn");
        let (second, drawn) = picture(&mut chain, 10);
        assert_eq!(drawn.rects(), [WHOLE]);
        let memory = first.dmabuf.clone();
        drop(first);
        let (third, drawn) = picture(&mut chain, 20);
        assert_eq!(third.dmabuf, memory, "it was given back");
        assert!(holds(&drawn, 10) && holds(&drawn, 20) && drawn.rects() != [WHOLE]);
        drop(third);
        let (fourth, drawn) = picture(&mut chain, 30);
        assert_eq!(fourth.dmabuf, memory);
        assert!(holds(&drawn, 30) && !holds(&drawn, 10) && !holds(&drawn, 20));
        drop(second);
    }

    #[test]
    fn buffers_that_the_encoder_has_are_not_given_out() {
        let mut chain = chain(0);
        let mut out = Vec::new();
        while let Some((buffer, _)) = chain.acquire(&at(0)).unwrap() {
            assert!(
                out.iter()
                    .all(|other: &FlatBuffer| other.dmabuf != buffer.dmabuf)
            );
            chain.submitted(&buffer);
            out.push(buffer);
        }
        assert!(out.len() >= 3, "{} buffers", out.len());
        out.pop();
        assert!(chain.acquire(&at(0)).unwrap().is_some());
    }

    #[test]
    fn what_was_skipped_is_drawn_into_every_buffer_that_comes_later() {
        let mut chain = chain(0);
        let drawn = std::iter::from_fn(|| {
            let (buffer, _) = chain.acquire(&at(0)).unwrap()?;
            chain.submitted(&buffer);
            Some(buffer)
        });
        let out: Vec<_> = drawn.collect();
        let all = out.len();
        chain.skip(&at(10));
        chain.skip(&at(20));
        drop(out);
        let mut held = Vec::new();
        for n in 0..all {
            let (buffer, drawn) = chain.acquire(&at(30)).unwrap().expect("all are free");
            assert!(holds(&drawn, 10) && holds(&drawn, 20), "buffer {n}");
            assert_ne!(drawn.rects(), [WHOLE], "they were all drawn");
            // What came of no picture is due still.
            drop(buffer);
            let (buffer, drawn) = chain.acquire(&at(30)).unwrap().expect("it is free again");
            assert!(holds(&drawn, 10) && holds(&drawn, 20), "buffer {n}");
            chain.submitted(&buffer);
            held.push(buffer);
        }
    }

    #[test]
    fn buffer_of_another_size_is_refused() {
        assert!(chain(1).acquire(&at(0)).is_err());
    }
}
