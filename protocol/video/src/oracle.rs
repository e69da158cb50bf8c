//! What tests compare with.

use crate::syntax::{Kind, PictureParameters, SequenceParameters, Slice, units};
use crate::{Decoder, Size, inspect};

/// Y, Cb and Cr of a colour, by ITU-R BT.709 in limited range.
pub fn bt709(r: u32, g: u32, b: u32) -> [f64; 3] {
    let [r, g, b] = [r, g, b].map(|channel| f64::from(channel) / 255.0);
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let (cb, cr) = ((b - y) / 1.8556, (r - y) / 1.5748);
    [16.0 + 219.0 * y, 128.0 + 224.0 * cb, 128.0 + 224.0 * cr]
}

/// The largest difference of a channel.
pub fn distance(a: u32, b: u32) -> u8 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    let channels = a.iter().zip(b).take(3);
    channels.map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0)
}

/// The peak signal-to-noise ratio of two pictures in decibels.
pub fn psnr(a: &[u32], b: &[u32]) -> f64 {
    let mut squares = 0.0;
    for (a, b) in a.iter().zip(b) {
        for (a, b) in a.to_le_bytes().iter().zip(b.to_le_bytes()).take(3) {
            squares += f64::from(a.abs_diff(b)).powi(2);
        }
    }
    let mean = squares / (a.len() * 3).max(1) as f64;
    20.0 * 255f64.log10() - 10.0 * mean.max(1e-9).log10()
}

/// Decodes any bytes as two access units, as a terminal would; for fuzzing.
pub fn decode(bytes: &[u8]) {
    let size = Size { w: 64, h: 48 };
    let _ = inspect(bytes, size);
    let Ok(mut decoder) = Decoder::new(size) else {
        return;
    };
    let mut pixels = vec![0; size.area()];
    for part in bytes.chunks(bytes.len() / 2 + 1) {
        let _ = decoder.decode(part, &mut pixels, size.w as usize);
    }
}

/// Reads the headers of any bytes as a hardware decoder's driver would; parameters that can be read
/// say the same when they are written and read again. For fuzzing.
pub fn headers(bytes: &[u8]) {
    let Ok(found) = units(bytes) else { return };
    let (mut sequence, mut picture) = (None, PictureParameters::default());
    for unit in found.take(64) {
        let Some(kind) = unit.first().and_then(|head| Kind::of(*head).ok()) else {
            continue;
        };
        let mut out = Vec::new();
        match kind {
            Kind::Sequence => {
                let Ok(read) = SequenceParameters::read(unit) else {
                    continue;
                };
                read.write(&mut out);
                assert_eq!(SequenceParameters::read(&out[4..]).as_ref(), Ok(&read));
                sequence = Some(read);
            }
            Kind::Picture => {
                let Ok(read) = PictureParameters::read(unit) else {
                    continue;
                };
                read.write(&mut out);
                assert_eq!(PictureParameters::read(&out[4..]).as_ref(), Ok(&read));
                picture = read;
            }
            Kind::Slice | Kind::Idr => {
                if let Some(sequence) = &sequence {
                    let _ = Slice::read(unit, sequence, &picture);
                }
            }
            Kind::Supplemental | Kind::Delimiter => {}
        }
    }
}
