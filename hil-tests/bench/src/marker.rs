//! The number of a frame as a block of black and white cells that survives lossy codecs.
//!
//! Two rows of twelve cells of 8×8 pixels: four that are always the same, sixteen with the number,
//! highest bit first, and four with a sum. A picture that was caught half drawn has a wrong sum.

use crate::canvas::{Canvas, Rect};

const CELL: u32 = 8;
const COLUMNS: u32 = 12;
const CELLS: u32 = 24;
const FIXED: u32 = 0b1011;

/// Width of the block.
pub const W: u32 = CELL * COLUMNS;
/// Height of the block.
pub const H: u32 = CELL * CELLS / COLUMNS;

fn bits(number: u16) -> u32 {
    let n = u32::from(number);
    let sum = (n ^ (n >> 4) ^ (n >> 8) ^ (n >> 12) ^ 0b0101) & 0xf;
    FIXED << 20 | n << 4 | sum
}

/// Draws the number with its corner at `(x, y)` and returns where it is.
pub fn draw(canvas: &mut Canvas, (x, y): (u32, u32), number: u32) -> Rect {
    let bits = bits(number as u16);
    for cell in 0..CELLS {
        let rgb = if bits >> (CELLS - 1 - cell) & 1 == 1 {
            0xff_ff_ff
        } else {
            0
        };
        let (column, row) = (cell % COLUMNS, cell / COLUMNS);
        canvas.fill(
            Rect::new(x + column * CELL, y + row * CELL, CELL, CELL),
            rgb,
        );
    }
    Rect::new(x, y, W, H)
}

/// Reads the number of a block of W×H pixels; none where there is no whole marker.
pub fn read(pixels: &[u32]) -> Option<u32> {
    let mut bits_read = 0;
    for cell in 0..CELLS {
        let (column, row) = (cell % COLUMNS, cell / COLUMNS);
        let at = (row * CELL + CELL / 2) * W + column * CELL + CELL / 2;
        let green = pixels.get(at as usize)? >> 8 & 0xff;
        bits_read = bits_read << 1 | u32::from(green > 127);
    }
    let number = bits_read >> 4 & 0xffff;
    (bits(number as u16) == bits_read).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_read_as_it_was_drawn_and_half_a_marker_is_none() {
        let mut canvas = Canvas::new(W, H, 0x80_80_80);
        for number in [0, 1, 77, 4660, 65535] {
            draw(&mut canvas, (0, 0), number);
            assert_eq!(read(&canvas.pixels), Some(number));
        }
        draw(&mut canvas, (0, 0), 1);
        canvas.fill(Rect::new(0, CELL, W, CELL), 0);
        assert_eq!(read(&canvas.pixels), None);
        assert_eq!(read(&[0; 10]), None);
    }
}
