//! Pictures as PNG files.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Context;

/// Writes `w`×`h` pixels (XRGB8888, rows `stride` apart) to a file.
pub fn write(path: &Path, pixels: &[u32], stride: usize, (w, h): (u32, u32)) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), w, h);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut bytes = Vec::with_capacity(w as usize * h as usize * 3);
    for row in pixels.chunks(stride).take(h as usize) {
        bytes.extend(row[..w as usize].iter().flat_map(|pixel| {
            let [blue, green, red, _] = pixel.to_le_bytes();
            [red, green, blue]
        }));
    }
    encoder.write_header()?.write_image_data(&bytes)?;
    Ok(())
}
