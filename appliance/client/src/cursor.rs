//! Cursor images, and which one is shown.

use std::collections::HashMap;

use heliostat_tiles::{DecodeError, Decoder, Limits, Rect as TileRect, TileSink};
use heliostat_wire::id::CursorId;
use heliostat_wire::limits::{MAX_CURSOR_SIDE, MAX_CURSORS};
use heliostat_wire::output::Size;
use heliostat_wire::session::Cursor;

use crate::compose::Target;
use crate::geometry::Rect;

/// A cursor's pixels, premultiplied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorImage {
    /// Width and height.
    pub size: Size,
    /// The pixel that points.
    pub hotspot: (i32, i32),
    /// Rows without gaps.
    pub pixels: Vec<u32>,
}

/// Why a cursor breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// A side is zero or too long.
    #[error("cursor of an impossible size")]
    BadSize,
    /// The number is too high.
    #[error("cursor number beyond the limit")]
    BadId,
    /// It was never defined.
    #[error("unknown cursor {0:?}")]
    Unknown(CursorId),
    /// The image is wrong.
    #[error(transparent)]
    Tiles(#[from] DecodeError),
}

/// The cursors of one attach.
#[derive(Debug, Default)]
pub struct Cursors {
    images: HashMap<CursorId, CursorImage>,
    shown: Option<CursorId>,
}

impl Cursors {
    /// Shows this image.
    #[cfg(test)]
    pub fn show(&mut self, image: CursorImage) {
        self.images.insert(CursorId(0), image);
        self.shown = Some(CursorId(0));
    }

    /// Keeps an image.
    pub fn define(
        &mut self,
        id: CursorId,
        size: Size,
        hotspot: (i32, i32),
        image: &[u8],
    ) -> Result<(), CursorError> {
        let side = |side| (1..=MAX_CURSOR_SIDE).contains(&side);
        if !side(size.w) || !side(size.h) {
            return Err(CursorError::BadSize);
        }
        if usize::from(id.0) >= MAX_CURSORS {
            return Err(CursorError::BadId);
        }
        let pixels = vec![0; (size.w * size.h) as usize];
        let mut cursor = CursorImage {
            size,
            hotspot,
            pixels,
        };
        Decoder::new().decode(image, &Limits::default(), &mut cursor)?;
        self.images.insert(id, cursor);
        Ok(())
    }

    /// Shows one, or none.
    pub fn set(&mut self, cursor: Cursor) -> Result<(), CursorError> {
        self.shown = match cursor {
            Cursor::Image(id) if !self.images.contains_key(&id) => {
                return Err(CursorError::Unknown(id));
            }
            Cursor::Image(id) => Some(id),
            Cursor::Hidden | Cursor::Locked => None,
        };
        Ok(())
    }

    /// The image to draw, if any.
    pub fn shown(&self) -> Option<&CursorImage> {
        self.images.get(self.shown.as_ref()?)
    }
}

impl CursorImage {
    /// Where it covers the output when the pointer is at `(x, y)`.
    pub fn area(&self, (x, y): (i32, i32)) -> Rect {
        let left = i64::from(x) - i64::from(self.hotspot.0);
        let top = i64::from(y) - i64::from(self.hotspot.1);
        Rect::from_edges(
            left,
            top,
            left + i64::from(self.size.w),
            top + i64::from(self.size.h),
        )
    }

    /// Draws it, as far as it lies in `part`, with the pointer at `at`.
    pub fn draw(&self, at: (i32, i32), part: Rect, target: &mut Target<'_>) {
        let area = self.area(at);
        let Some(part) = area
            .intersection(part)
            .and_then(|p| p.intersection(target.bounds))
        else {
            return;
        };
        for y in part.y..part.bottom() {
            let start = (y - area.y) as usize * self.size.w as usize + (part.x - area.x) as usize;
            let source = &self.pixels[start..][..part.w as usize];
            crate::compose::blend_row(target.row(part.x, y, part.w), source, 255, true);
        }
    }
}

impl TileSink for CursorImage {
    fn layer_size(&self, layer: u32) -> Option<(u32, u32)> {
        (layer == 0).then_some((self.size.w, self.size.h))
    }

    fn pixels_mut(&mut self, _: u32, rect: TileRect) -> Option<(&mut [u32], usize)> {
        let stride = self.size.w as usize;
        Some((
            self.pixels
                .get_mut(rect.y as usize * stride + rect.x as usize..)?,
            stride,
        ))
    }

    fn damaged(&mut self, _: u32, _: TileRect) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_cursors_are_refused() {
        let mut cursors = Cursors::default();
        let empty = [0, 0, 0];
        let size = |w, h| Size { w, h };
        let mut define = |id, size, image: &[u8]| cursors.define(CursorId(id), size, (0, 0), image);
        assert_eq!(define(0, size(0, 1), &empty), Err(CursorError::BadSize));
        assert_eq!(define(0, size(257, 1), &empty), Err(CursorError::BadSize));
        assert_eq!(define(64, size(1, 1), &empty), Err(CursorError::BadId));
        assert!(matches!(
            define(0, size(1, 1), &[]),
            Err(CursorError::Tiles(_))
        ));
        assert_eq!(define(0, size(1, 1), &empty), Ok(()));
        assert_eq!(
            cursors.set(Cursor::Image(CursorId(1))),
            Err(CursorError::Unknown(CursorId(1)))
        );
        assert_eq!(cursors.set(Cursor::Image(CursorId(0))), Ok(()));
    }

    #[test]
    fn cursor_at_the_edge_is_cut_by_its_hotspot() {
        let image = CursorImage {
            size: Size { w: 4, h: 4 },
            hotspot: (1, 2),
            pixels: vec![!0; 16],
        };
        let mut pixels = vec![0; 100];
        let bounds = Rect::of_size(10, 10);
        let mut target = Target {
            pixels: &mut pixels,
            stride: 10,
            bounds,
        };
        image.draw((0, 9), bounds, &mut target);
        assert_eq!(pixels.iter().filter(|p| **p != 0).count(), 3 * 3);
        assert_eq!((pixels[70], pixels[60]), (!0, 0));
    }
}
