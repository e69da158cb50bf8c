//! Whether a device reads what it has drawn, pixel by pixel: in rows, and in a layout of its own.

use anyhow::{Context, ensure};
use heliostat_tiles::Rect as TileRect;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Allocator, Format, Fourcc};
use smithay::backend::renderer::{Bind, Color32F, Frame};
use smithay::utils::Rectangle;

use super::ByGles;
use crate::sys::Gbm;

/// Sides that no layout's tiles divide.
const SIZE: (u32, u32) = (301, 203);
/// What is drawn, one over the other: left, top, width, height, colour.
const DRAWN: [(u32, u32, u32, u32, u32); 4] = [
    (0, 0, 301, 203, 0xff10_2030),
    (3, 5, 131, 77, 0xfffe_8001),
    (200, 150, 101, 53, 0xff00_fffe),
    (130, 60, 90, 100, 0xff7f_807f),
];
/// What is read of it.
const READ: [(u32, u32, u32, u32); 4] = [
    (0, 0, 301, 203),
    (1, 3, 5, 7),
    (129, 59, 93, 2),
    (300, 202, 1, 1),
];

/// What was drawn at a place.
fn drawn_at(x: u32, y: u32) -> u32 {
    let is_at = |(left, top, w, h, _): &&(u32, u32, u32, u32, u32)| {
        (*left..left + w).contains(&x) && (*top..top + h).contains(&y)
    };
    let top = DRAWN.iter().rev().find(is_at);
    top.map_or(0, |(.., colour)| *colour)
}

impl ByGles {
    /// Tries it. Returns the layouts of the device's own that it reads; none, where it does not even read
    /// one that it has chosen itself.
    pub(super) fn try_out(&mut self, gbm: &Gbm) -> anyhow::Result<Vec<Format>> {
        let linear = gbm
            .clone()
            .create_buffer(SIZE.0, SIZE.1, Fourcc::Xrgb8888, &[]);
        self.read_what_is_drawn(linear?)
            .context("a linear buffer")?;
        let layouts = self.layouts();
        let xrgb = layouts
            .iter()
            .filter(|format| format.code == Fourcc::Xrgb8888);
        let modifiers: Vec<u64> = xrgb.map(|format| format.modifier.into()).collect();
        if modifiers.is_empty() {
            return Ok(Vec::new());
        }
        let own = gbm.in_layout(SIZE, Fourcc::Xrgb8888, &modifiers);
        match own.and_then(|own| self.read_what_is_drawn(own)) {
            Ok(()) => Ok(layouts),
            Err(why) => {
                tracing::info!("programs get linear buffers only, for the device's own: {why:#}");
                Ok(Vec::new())
            }
        }
    }

    fn read_what_is_drawn(&mut self, mut buffer: Dmabuf) -> anyhow::Result<()> {
        let shared = buffer.clone();
        let target = self.drawing.renderer().bind(&mut buffer);
        let mut target = target.context("draw into it")?;
        let size = (SIZE.0 as i32, SIZE.1 as i32).into();
        self.drawing.draw(&mut target, size, |frame, _| {
            for (x, y, w, h, colour) in DRAWN {
                let [b, g, r, a] = colour.to_le_bytes().map(|value| f32::from(value) / 255.0);
                let [x, y, w, h] = [x, y, w, h].map(|side| side as i32);
                let rect = Rectangle::new((x, y).into(), (w, h).into());
                frame.clear(Color32F::new(r, g, b, a), &[rect])?;
            }
            Ok(())
        })?;
        drop(target);
        let parts = READ.map(|(x, y, w, h)| TileRect { x, y, w, h });
        let mut wrong = None;
        self.read(&shared, &parts, &mut |n, pixels| {
            let part = parts[n];
            for (at, pixel) in (0..).zip(pixels) {
                let (x, y) = (part.x + at % part.w, part.y + at / part.w);
                if *pixel != drawn_at(x, y) {
                    wrong.get_or_insert((x, y, *pixel));
                }
            }
        })?;
        ensure!(
            wrong.is_none(),
            "what is read of it is not what was drawn: {wrong:x?}"
        );
        Ok(())
    }
}
