//! Decoded pictures made RGB by the device (VideoProc), for displays whose planes take no NV12.

use std::sync::Arc;

use heliostat_video::Size;

use super::{DecodeError, Frame, Output, SHOWN, check_export};
use crate::abi::{self, ProcPipelineParameter, buffer, colour, profile};
use crate::dmabuf::{FORMATS, Format};
use crate::library::{Config, Context, Display, Surface};
use crate::probe::{NoPath, Probe};
use crate::sys::plain::zeroed;

/// Red, green and blue as all displays take them.
pub const RGB: Format = FORMATS[1];

/// Converts pictures of one video into surfaces of its own.
pub struct Converter {
    context: Context,
    pool: Vec<Arc<Output>>,
    standard: i32,
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Converter").field(&self.pool.len()).finish()
    }
}

impl Converter {
    /// A converter of pictures of `size` on a device that offers what `probe` has found.
    pub fn new(display: &Display, probe: &Probe, size: Size) -> Result<Self, DecodeError> {
        let standard = probe.rgb_standard().ok_or(NoPath::NoConversion)?;
        let size = size.even();
        let config = Config::new(display, (profile::NONE, abi::entrypoint::VIDEO_PROC), &[])?;
        let mut pool = Vec::new();
        for _ in 0..SHOWN {
            let surface = display.create_surface(RGB.rt_format(), (size.w, size.h), RGB.va)?;
            let flags = abi::EXPORT_READ_ONLY | abi::EXPORT_COMPOSED_LAYERS;
            let exported = surface.export(flags)?;
            check_export(&exported, RGB)?;
            pool.push(Arc::new(Output {
                exported,
                surface,
                size,
                format: RGB,
            }));
        }
        let targets: Vec<&Surface> = pool.iter().map(|output| &output.surface).collect();
        Ok(Self {
            context: Context::new(config, (size.w, size.h), &targets)?,
            pool,
            standard,
        })
    }

    /// Converts a picture, and waits for it. It is whole: nothing is left in the surface of what was
    /// there before.
    pub fn convert(&mut self, frame: &Frame) -> Result<Frame, DecodeError> {
        if frame.size() != self.pool[0].size {
            return Err(DecodeError::Size(frame.size()));
        }
        let is_free = |output: &&Arc<Output>| Arc::strong_count(output) == 1;
        let Some(output) = self.pool.iter().find(is_free) else {
            return Err(DecodeError::Full(self.pool.len()));
        };
        let output = Arc::clone(output);
        let parameters = to_rgb(frame.surface().id(), self.standard);
        let kind = buffer::PROC_PIPELINE_PARAMETER;
        let told = self.context.create_buffer(kind, &parameters)?;
        self.context
            .submit(&output.surface, std::slice::from_ref(&told))?;
        drop(told);
        output.surface.sync_or_lose(&output.exported)?;
        Ok(Frame(output))
    }
}

/// All of a surface of BT.709 in limited range becomes RGB of full range.
fn to_rgb(from: abi::Id, standard: i32) -> ProcPipelineParameter {
    let mut p: ProcPipelineParameter = zeroed();
    p.surface = from;
    p.surface_color_standard = colour::STANDARD_BT709;
    p.input_color_properties.color_range = colour::RANGE_REDUCED;
    p.output_color_standard = standard;
    p.output_color_properties.color_range = colour::RANGE_FULL;
    p.output_background_color = 0xff00_0000;
    p
}

impl Probe {
    /// What RGB is said to be when pictures are made it, if they can be.
    pub(crate) fn rgb_standard(&self) -> Option<i32> {
        let converter = self.converter.as_ref()?;
        let has = |list: &[u32], code| list.is_empty() || list.contains(&code);
        let can = has(&converter.reads, crate::dmabuf::NV12.va) && has(&converter.writes, RGB.va);
        // As for the way back: full range goes with sRGB.
        let knows_srgb = converter.standards.contains(&colour::STANDARD_SRGB);
        can.then_some(match knows_srgb {
            true => colour::STANDARD_SRGB,
            false => colour::STANDARD_BT709,
        })
    }

    /// The modifier of what is converted for displays, if anything is; none where it is not known.
    pub fn rgb_modifier(&self) -> Option<Option<u64>> {
        self.rgb_standard()?;
        let formats = &self.converter.as_ref()?.formats;
        let rgb = formats.iter().find(|format| format.fourcc == RGB.va)?;
        Some(rgb.modifier)
    }
}
