//! Rectangles, views of pixels, and the grid of cells.

/// Side of a cell in pixels.
pub const TILE: u32 = 64;

/// A rectangle in pixels of its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

impl Rect {
    /// Pixels inside.
    pub fn area(self) -> usize {
        self.w as usize * self.h as usize
    }

    /// Whether no pixel is inside.
    pub fn is_empty(self) -> bool {
        self.w == 0 || self.h == 0
    }

    /// The cell this lies in, if it is not empty and lies in one: column, row.
    pub fn cell(self) -> Option<(u32, u32)> {
        let (column, row) = (self.x / TILE, self.y / TILE);
        let fits = |start: u32, length: u32, cell: u32| {
            length > 0 && length <= TILE && start - cell * TILE + length <= TILE
        };
        (fits(self.x, self.w, column) && fits(self.y, self.h, row)).then_some((column, row))
    }

    /// What this and `other` share.
    pub fn intersection(self, other: Rect) -> Option<Rect> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = self
            .x
            .saturating_add(self.w)
            .min(other.x.saturating_add(other.w));
        let bottom = self
            .y
            .saturating_add(self.h)
            .min(other.y.saturating_add(other.h));
        (x < right && y < bottom).then(|| Rect {
            x,
            y,
            w: right - x,
            h: bottom - y,
        })
    }

    /// The smallest rectangle around this and `other`.
    #[must_use]
    pub fn around(self, other: Rect) -> Rect {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let end = |start: u32, length: u32| start.saturating_add(length);
        let right = end(self.x, self.w).max(end(other.x, other.w));
        let bottom = end(self.y, self.h).max(end(other.y, other.h));
        Rect {
            x,
            y,
            w: right - x,
            h: bottom - y,
        }
    }
}

/// `area` cut along the grid of cells: every part lies in one cell.
pub fn cells(area: Rect) -> impl Iterator<Item = Rect> {
    let right = area.x.saturating_add(area.w);
    let bottom = area.y.saturating_add(area.h);
    let rows = if area.is_empty() {
        0..0
    } else {
        area.y / TILE..bottom.div_ceil(TILE)
    };
    rows.flat_map(move |row| {
        (area.x / TILE..right.div_ceil(TILE)).filter_map(move |column| {
            let cell = Rect {
                x: column * TILE,
                y: row * TILE,
                w: TILE,
                h: TILE,
            };
            cell.intersection(area)
        })
    })
}

/// A view of pixels: rows of `w` pixels, `stride` pixels apart.
#[derive(Debug, Clone, Copy)]
pub struct PixelsRef<'a> {
    data: &'a [u32],
    stride: usize,
    w: u32,
    h: u32,
}

impl<'a> PixelsRef<'a> {
    /// A view of `data`; nothing if it is empty or does not fit.
    pub fn new(data: &'a [u32], stride: usize, w: u32, h: u32) -> Option<Self> {
        let last = stride
            .checked_mul(h.checked_sub(1)? as usize)?
            .checked_add(w as usize)?;
        (w > 0 && stride >= w as usize && last <= data.len()).then_some(Self { data, stride, w, h })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.w
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.h
    }

    /// One row. Panics beyond the height.
    pub fn row(&self, y: u32) -> &'a [u32] {
        assert!(y < self.h, "row {y} of {}", self.h);
        &self.data[y as usize * self.stride..][..self.w as usize]
    }

    /// All rows, from the top.
    pub fn rows(&self) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        let (data, stride, w) = (self.data, self.stride, self.w as usize);
        (0..self.h as usize).map(move |y| &data[y * stride..][..w])
    }

    /// The part of this view inside `rect`; nothing if it is not all inside.
    pub fn sub(&self, rect: Rect) -> Option<Self> {
        let right = rect.x.checked_add(rect.w)?;
        let bottom = rect.y.checked_add(rect.h)?;
        if rect.is_empty() || right > self.w || bottom > self.h {
            return None;
        }
        let start = rect.y as usize * self.stride + rect.x as usize;
        Self::new(&self.data[start..], self.stride, rect.w, rect.h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_is_cut_along_the_grid_without_gap_or_overlap() {
        let area = Rect {
            x: 60,
            y: 10,
            w: 70,
            h: 60,
        };
        let parts: Vec<_> = cells(area).collect();
        assert_eq!(parts.iter().map(|p| p.area()).sum::<usize>(), area.area());
        assert_eq!(
            parts[0],
            Rect {
                x: 60,
                y: 10,
                w: 4,
                h: 54
            }
        );
        assert!(parts.iter().all(|part| part.cell().is_some()));
        assert_eq!(
            cells(Rect {
                x: 3,
                y: 3,
                w: 0,
                h: 5
            })
            .count(),
            0
        );
    }

    #[test]
    fn view_that_does_not_fit_its_data_does_not_exist() {
        let data = [0; 10];
        assert!(PixelsRef::new(&data, 5, 5, 2).is_some());
        assert!(PixelsRef::new(&data, 6, 4, 2).is_some());
        assert!(PixelsRef::new(&data, 6, 5, 2).is_none());
        assert!(PixelsRef::new(&data, 4, 5, 1).is_none());
        assert!(PixelsRef::new(&data, usize::MAX, 5, 3).is_none());
        assert!(PixelsRef::new(&data, 5, 5, 0).is_none());
    }
}
