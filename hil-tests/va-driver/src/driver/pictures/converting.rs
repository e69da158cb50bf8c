//! A picture is converted into its target.

use super::{CONVERSION, Conversion};
use crate::driver::images::Region;
use crate::driver::surfaces::Surface;
use crate::driver::{Driver, Engine, Job};
use crate::format::{ALL, Format};
use crate::journal::Use;
use crate::process::{Colour, Pixels};
use crate::refusal::{Done, refuse};
use crate::va::{self, Id, status};

impl Driver {
    /// Whether a context converts.
    pub fn check_converts(&self, context: Id) -> Done {
        match self.contexts.get(context)?.engine {
            Engine::Process => Ok(()),
            _ => refuse(
                status::INVALID_CONTEXT,
                format!("context {context:#x} does not convert"),
            ),
        }
    }

    pub(super) fn convert(&mut self, job: Job, target: Id, conversion: &Conversion) -> Done {
        self.faults.count(CONVERSION)?;
        let parameters = &conversion.parameters;
        check_conversion(parameters)?;
        let source = parameters.surface;
        let (from, into) = (self.surfaces.get(source)?, self.surfaces.get(target)?);
        if source == target || from.lent > 0 || from.target_of.is_some() {
            return refuse(
                status::SURFACE_BUSY,
                format!("surface {source:#x} is converted while in use"),
            );
        }
        let part = |of: Option<va::Rectangle>, surface: &Surface| match of {
            None => Region::within((0, 0), surface.size, surface.size, surface.format),
            Some(of) => Region::within(
                (of.x.into(), of.y.into()),
                (of.width.into(), of.height.into()),
                surface.size,
                surface.format,
            ),
        };
        let (read, written) = (part(conversion.from, from)?, part(conversion.into, into)?);
        let colours = (
            Colour::of(
                parameters.surface_color_standard,
                parameters.input_color_properties,
                from.format,
            )?,
            Colour::of(
                parameters.output_color_standard,
                parameters.output_color_properties,
                into.format,
            )?,
        );
        let pixels = from.read((read.x, read.y), (read.width, read.height))?;
        let size = (written.width, written.height);
        let pixels = pixels.convert(colours.0, colours.1, into.format, size);
        if size != into.size {
            let background = parameters.output_background_color;
            into.write(
                (0, 0),
                &filled(background, colours.1, into.format, into.size),
            )?;
        }
        into.write((written.x, written.y), &pixels)?;
        for id in [source, target] {
            self.surfaces.get_mut(id)?.pending = Some(job);
        }
        self.count(source, Some(Use::ProcessedFrom))?;
        self.count(target, Some(Use::ProcessedInto))
    }
}

fn check_conversion(parameters: &va::ProcPipelineParameter) -> Done {
    let flags = va::FILTER_SCALING_MASK | va::FILTER_INTERPOLATION_MASK;
    let asked = [
        ("filters", parameters.num_filters != 0),
        ("rotation", parameters.rotation_state != 0),
        ("mirroring", parameters.mirror_state != 0),
        ("blending", !parameters.blend_state.is_null()),
        ("more outputs", parameters.num_additional_outputs != 0),
        (
            "references",
            parameters.num_forward_references + parameters.num_backward_references != 0,
        ),
        ("HDR", !parameters.output_hdr_metadata.is_null()),
        ("such filter flags", parameters.filter_flags & !flags != 0),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => refuse(
            status::UNSUPPORTED_FILTER,
            format!("conversions with {what} are not offered"),
        ),
        None => Ok(()),
    }
}

/// A surface of one colour, given as 0xAARRGGBB.
fn filled(argb: u32, colour: Colour, format: Format, size: (u32, u32)) -> Pixels {
    let plain = ALL[2];
    let pixels = Pixels {
        format: plain,
        size,
        planes: vec![argb.to_le_bytes().repeat((size.0 * size.1) as usize)],
    };
    pixels.convert(colour, colour, format, size)
}
