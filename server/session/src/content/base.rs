//! What the terminal holds of a cell.

use heliostat_tiles::{PixelsRef, Rect};

use super::kept::{Kept, SMALL};

/// What the terminal holds of a cell.
#[derive(Debug)]
pub(super) enum Base {
    /// The newest pixels.
    Same,
    /// Nobody knows, or nothing.
    Unknown,
    /// Something else than was sent; what it has kept may be wrong as well.
    Wrong,
    /// A part of a film, or of what is beside it.
    Film,
    /// These pixels, rows without gaps.
    Known(Kept),
    /// These pixels in a part of it, counted from its corner, and the newest elsewhere.
    Part(Rect, Kept),
}

impl Base {
    /// What a cell has that is about to change in `part` of it, as long as all its pixels `newest` are
    /// those that the terminal holds.
    pub(super) fn keeping(part: Rect, newest: PixelsRef<'_>) -> Self {
        let (w, h) = (newest.width(), newest.height());
        // Most of a cell's pixels are seldom in the processor's caches.
        let is_small = part.area() <= SMALL && (part.w, part.h) != (w, h);
        match newest.sub(part).filter(|_| is_small) {
            Some(view) => Self::Part(part, Kept::copy_of(view)),
            None => Self::Known(Kept::copy_of(newest)),
        }
    }

    /// Sees to it that the pixels of `part` are kept before they change, where it is a part that is
    /// kept and not the whole cell, whose pixels are `newest`.
    pub(super) fn keep_more(&mut self, part: Rect, newest: PixelsRef<'_>) {
        let Self::Part(kept, pixels) = self else {
            return;
        };
        let kept = *kept;
        if kept.intersection(part) == Some(part) {
            return;
        }
        let around = kept.around(part);
        let mut grown = Self::keeping(around, newest);
        let (to, into) = match &mut grown {
            Self::Part(to, into) => (*to, into),
            Self::Known(into) => {
                let (w, h) = (newest.width(), newest.height());
                (Rect { x: 0, y: 0, w, h }, into)
            }
            _ => return,
        };
        let rows = pixels.chunks(kept.w as usize);
        for (y, row) in (kept.y - to.y..).zip(rows) {
            let start = (y * to.w + kept.x - to.x) as usize;
            into[start..start + row.len()].copy_from_slice(row);
        }
        *self = grown;
    }

    /// Sees to it that the whole cell is kept where a part of it is; its pixels are `newest`.
    pub(super) fn keep_all(&mut self, newest: PixelsRef<'_>) {
        let (w, h) = (newest.width(), newest.height());
        self.keep_more(Rect { x: 0, y: 0, w, h }, newest);
    }

    /// The part of a cell of this size whose pixels are known, and what they are.
    pub(super) fn known(&self, w: u32, h: u32) -> Option<(Rect, PixelsRef<'_>)> {
        let whole = Rect { x: 0, y: 0, w, h };
        let (part, pixels) = match self {
            Self::Known(pixels) => (whole, pixels),
            Self::Part(part, pixels) => (*part, pixels),
            Self::Same | Self::Unknown | Self::Wrong | Self::Film => return None,
        };
        let view = PixelsRef::new(pixels, part.w as usize, part.w, part.h)?;
        Some((part, view))
    }

    /// Whether what the terminal holds is known and not the newest.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Part(..))
    }

    /// Whether the terminal lacks something that tiles bring.
    pub(super) fn is_dirty(&self) -> bool {
        !matches!(self, Self::Same | Self::Film)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rect() -> impl Strategy<Value = Rect> {
        (0..60u32, 0..40u32).prop_flat_map(|(x, y)| {
            (1..=60 - x, 1..=40 - y).prop_map(move |(w, h)| Rect { x, y, w, h })
        })
    }

    proptest! {
        /// Parts of a cell are drawn one after the other; what it was before is known at the end.
        #[test]
        fn a_base_is_what_was_there_before_all_changes(
            parts in prop::collection::vec((rect(), any::<bool>()), 1..8)
        ) {
            let (w, h) = (60, 40);
            let before: Vec<u32> = (0..w * h).collect();
            let mut newest = before.clone();
            let mut base: Option<Base> = None;
            for (n, (part, all)) in (1u32..).zip(&parts) {
                let view = PixelsRef::new(&newest, w as usize, w, h).unwrap();
                match &mut base {
                    None => base = Some(Base::keeping(*part, view)),
                    Some(base) if *all => base.keep_all(view),
                    Some(base) => base.keep_more(*part, view),
                }
                for y in part.y..part.y + part.h {
                    for x in part.x..part.x + part.w {
                        newest[(y * w + x) as usize] = n << 16;
                    }
                }
            }
            let base = base.unwrap();
            let (part, known) = base.known(w, h).unwrap();
            let mut told = newest.clone();
            for (y, row) in (part.y..).zip(known.rows()) {
                let start = (y * w + part.x) as usize;
                told[start..start + row.len()].copy_from_slice(row);
            }
            prop_assert_eq!(told, before);
        }
    }
}
