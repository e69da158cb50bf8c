//! The Tight encoding: fills, JPEG, and palettes, gradients or plain pixels behind zlib.

use std::io::Read;

use anyhow::{Context, bail, ensure};
use flate2::{Decompress, FlushDecompress, Status};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Area, array, bytes};
use crate::picture_file::PictureFile;

/// Shorter data is not compressed.
const SHORT: usize = 12;
const FILTER_COPY: u8 = 0;
const FILTER_PALETTE: u8 = 1;
const FILTER_GRADIENT: u8 = 2;

/// The four streams that the server keeps over the whole connection.
pub struct Tight {
    streams: [Decompress; 4],
}

impl Default for Tight {
    fn default() -> Self {
        Self {
            streams: std::array::from_fn(|_| Decompress::new(true)),
        }
    }
}

fn rgb(bytes: &[u8]) -> u32 {
    0xff00_0000 | u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2])
}

impl Tight {
    /// Reads one rectangle and draws it.
    pub fn decode(
        &mut self,
        reader: &mut impl Read,
        area: Area,
        file: &mut PictureFile,
    ) -> anyhow::Result<()> {
        let [control] = array(reader)?;
        for (number, stream) in self.streams.iter_mut().enumerate() {
            if control >> number & 1 == 1 {
                stream.reset(true);
            }
        }
        match control >> 4 {
            0b1000 => {
                let colour = rgb(&array::<3>(reader)?);
                (area.y..area.y + area.h)
                    .for_each(|y| file.row_mut(area.x, y, area.w).fill(colour));
                Ok(())
            }
            0b1001 => jpeg(reader, area, file),
            basic if basic < 0b1000 => {
                let filter = match basic & 0b0100 {
                    0 => FILTER_COPY,
                    _ => array::<1>(reader)?[0],
                };
                self.basic(reader, usize::from(basic & 3), filter, area, file)
            }
            other => bail!("Tight has no compression {other}"),
        }
    }

    fn basic(
        &mut self,
        reader: &mut impl Read,
        stream: usize,
        filter: u8,
        area: Area,
        file: &mut PictureFile,
    ) -> anyhow::Result<()> {
        let (w, h) = (area.w as usize, area.h as usize);
        match filter {
            FILTER_COPY => {
                let data = self.data(reader, stream, w * h * 3)?;
                draw(file, area, data.chunks_exact(3).map(rgb));
            }
            FILTER_PALETTE => {
                let colours = usize::from(array::<1>(reader)?[0]) + 1;
                let palette: Vec<u32> = bytes(reader, colours * 3)?
                    .chunks_exact(3)
                    .map(rgb)
                    .collect();
                let colour = |index: usize| palette.get(index).copied().unwrap_or(0);
                if colours == 2 {
                    let stride = w.div_ceil(8);
                    let data = self.data(reader, stream, stride * h)?;
                    let bit = |y: usize, x: usize| data[y * stride + x / 8] >> (7 - x % 8) & 1;
                    let pixels = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
                    draw(file, area, pixels.map(|(y, x)| colour(bit(y, x).into())));
                } else {
                    let data = self.data(reader, stream, w * h)?;
                    draw(
                        file,
                        area,
                        data.iter().map(|index| colour(usize::from(*index))),
                    );
                }
            }
            FILTER_GRADIENT => {
                let mut data = self.data(reader, stream, w * h * 3)?;
                undo_gradient(&mut data, w);
                draw(file, area, data.chunks_exact(3).map(rgb));
            }
            other => bail!("Tight has no filter {other}"),
        }
        Ok(())
    }

    fn data(
        &mut self,
        reader: &mut impl Read,
        stream: usize,
        length: usize,
    ) -> anyhow::Result<Vec<u8>> {
        if length < SHORT {
            return bytes(reader, length);
        }
        let compressed = compact_length(reader)?;
        let packed = bytes(reader, compressed)?;
        let mut data = Vec::with_capacity(length);
        let stream = &mut self.streams[stream];
        let start = stream.total_in();
        while data.len() < length {
            let used = (stream.total_in() - start) as usize;
            let before = data.len();
            let status = stream
                .decompress_vec(&packed[used..], &mut data, FlushDecompress::Sync)
                .context("the zlib stream is broken")?;
            ensure!(
                status == Status::Ok && data.len() > before || data.len() == length,
                "the zlib stream is short"
            );
        }
        // What is left are the marks of a flush, which belong to the stream, too.
        let used = (stream.total_in() - start) as usize;
        if used < packed.len() {
            let mut rest = Vec::with_capacity(16);
            let _ = stream.decompress_vec(&packed[used..], &mut rest, FlushDecompress::Sync);
            ensure!(rest.is_empty(), "the zlib stream is long");
        }
        Ok(data)
    }
}

fn draw(file: &mut PictureFile, area: Area, mut pixels: impl Iterator<Item = u32>) {
    for y in area.y..area.y + area.h {
        for (pixel, drawn) in file.row_mut(area.x, y, area.w).iter_mut().zip(&mut pixels) {
            *pixel = drawn;
        }
    }
}

fn compact_length(reader: &mut impl Read) -> anyhow::Result<usize> {
    let mut length = 0;
    for (place, most) in [(0, 0x7f), (7, 0x7f), (14, 0xff)] {
        let [byte] = array(reader)?;
        length |= usize::from(byte & most) << place;
        if byte & 0x80 == 0 || place == 14 {
            break;
        }
    }
    Ok(length)
}

fn jpeg(reader: &mut impl Read, area: Area, file: &mut PictureFile) -> anyhow::Result<()> {
    let length = compact_length(reader)?;
    let data = bytes(reader, length)?;
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(&data, options);
    let pixels = decoder
        .decode()
        .map_err(|error| anyhow::anyhow!("a JPEG is broken: {error:?}"))?;
    let size = decoder.dimensions().map(|(w, h)| (w as u32, h as u32));
    ensure!(size == Some((area.w, area.h)), "a JPEG has another size");
    draw(file, area, pixels.chunks_exact(3).map(rgb));
    Ok(())
}

/// Each channel is told as the difference to left + above − above left.
fn undo_gradient(data: &mut [u8], w: usize) {
    let stride = w * 3;
    for at in 0..data.len() {
        let (row, column) = (at / stride, at % stride);
        let value = |back: usize, there: bool| if there { i32::from(data[at - back]) } else { 0 };
        let left = value(3, column >= 3);
        let above = value(stride, row > 0);
        let corner = value(stride + 3, row > 0 && column >= 3);
        let told = (left + above - corner).clamp(0, 255) as u8;
        data[at] = data[at].wrapping_add(told);
    }
}
