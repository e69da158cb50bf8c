//! Pictures: begun, given buffers, ended.
//!
//! ```text
//!             vaBeginPicture        vaEndPicture          vaSync…, vaMapBuffer of a coded buffer
//!   idle ───────────────────▶ open ──────────────▶ pending ─────────────────────────────▶ idle
//! ```
//!
//! The work is done in `vaEndPicture`; what it touched is held for busy until somebody has waited for
//! it, since with hardware it would be.

use super::images::Region;
use super::surfaces::Surface;
use super::{Driver, Encode, Engine, Job};
use crate::format::Format;
use crate::h264::told::{Pointers, Told};
use crate::h264::{decode, encode};
use crate::journal::Use;
use crate::process::{Colour, Pixels};
use crate::refusal::{Done, refuse};
use crate::sys::codec::Planes;
use crate::va::{self, Id, buffer, packed, status};

/// A picture between `vaBeginPicture` and `vaEndPicture`.
#[derive(Debug)]
pub(super) struct Open {
    target: Id,
    buffers: Vec<Id>,
    work: Work,
}

/// What came for it.
#[derive(Debug)]
enum Work {
    Decode {
        parameters: Option<Box<va::PictureParameterH264>>,
        scaling: Option<Box<va::IqMatrixH264>>,
        /// Parameters whose data has not come.
        waiting: Vec<va::SliceParameterH264>,
        slices: Vec<(va::SliceParameterH264, Vec<u8>)>,
    },
    Encode {
        picture: Option<Box<va::EncPictureParameterH264>>,
        slices: Vec<va::EncSliceParameterH264>,
        /// Parameters whose header has not come.
        waiting: Option<va::EncPackedHeaderParameter>,
        headers: Vec<encode::PackedHeader>,
        told: Told,
    },
    Process(Vec<Conversion>),
}

/// One conversion, with the rectangles that its parameters point at.
#[derive(Debug, Clone, Copy)]
pub struct Conversion {
    /// The parameters. Their pointers are not followed any more.
    pub parameters: va::ProcPipelineParameter,
    /// `surface_region`.
    pub from: Option<va::Rectangle>,
    /// `output_region`.
    pub into: Option<va::Rectangle>,
}

/// Follows what parameters point at.
pub trait Client: Pointers {
    /// A conversion with its rectangles.
    fn conversion(&self, parameters: va::ProcPipelineParameter) -> Conversion;
}

/// The name of a conversion for the list of faults: `vaEndPicture` ends pictures of all kinds.
pub const CONVERSION: &str = "conversion";
/// Headers packed for one picture.
const MAX_HEADERS: usize = 64;
/// Conversions into one picture.
const MAX_CONVERSIONS: usize = 16;

impl Work {
    fn new(engine: &Engine) -> Self {
        match engine {
            Engine::Decode(_) => Self::Decode {
                parameters: None,
                scaling: None,
                waiting: Vec::new(),
                slices: Vec::new(),
            },
            Engine::Encode(_) => Self::Encode {
                picture: None,
                slices: Vec::new(),
                waiting: None,
                headers: Vec::new(),
                told: Told::default(),
            },
            Engine::Process => Self::Process(Vec::new()),
        }
    }
}

impl Driver {
    /// Begins a picture. Encoders read the target, all others write it.
    pub fn begin_picture(&mut self, context_id: Id, target: Id) -> Done {
        let context = self.contexts.get(context_id)?;
        let surface = self.surfaces.get(target)?;
        if context.open.is_some() {
            return refuse(
                status::OPERATION_FAILED,
                format!("context {context_id:#x} has an open picture"),
            );
        }
        if let Some(other) = surface.target_of {
            return refuse(
                status::SURFACE_BUSY,
                format!("surface {target:#x} is rendered to while in use by context {other:#x}"),
            );
        }
        if surface.lent > 0 {
            return refuse(
                status::SURFACE_BUSY,
                format!("surface {target:#x} is rendered to while an image of it is mapped"),
            );
        }
        if surface.format.rt_format() & context.config.rt_formats == 0 {
            return refuse(
                status::INVALID_SURFACE,
                format!("surface {target:#x} has not the format of context {context_id:#x}"),
            );
        }
        let is_codec = !matches!(context.engine, Engine::Process);
        let whole = |side: u32| side.next_multiple_of(16);
        if is_codec
            && (whole(surface.size.0) < context.size.0 || whole(surface.size.1) < context.size.1)
        {
            return refuse(
                status::INVALID_SURFACE,
                format!(
                    "surface {target:#x} of {:?} pixels in a context for {:?}",
                    surface.size, context.size
                ),
            );
        }
        let work = Work::new(&context.engine);
        self.contexts.get_mut(context_id)?.open = Some(Open {
            target,
            buffers: Vec::new(),
            work,
        });
        self.surfaces.get_mut(target)?.target_of = Some(context_id);
        Ok(())
    }

    /// Takes one buffer for the open picture.
    pub fn render_buffer(&mut self, context_id: Id, id: Id, client: &impl Client) -> Done {
        let buffer = self.buffers.get_mut(id)?;
        let context = self.contexts.get_mut(context_id)?;
        let (packed, offers) = (context.config.packed, context.config.offers);
        let Some(open) = &mut context.open else {
            return refuse(
                status::OPERATION_FAILED,
                format!("context {context_id:#x} has no open picture"),
            );
        };
        if buffer.context != Some(context_id) {
            return refuse(
                status::INVALID_BUFFER,
                format!("buffer {id:#x} is not of context {context_id:#x}"),
            );
        }
        let bytes = buffer.bytes()?;
        match (&mut open.work, &mut context.engine) {
            (
                Work::Decode {
                    parameters,
                    scaling,
                    waiting,
                    slices,
                },
                _,
            ) => match buffer.kind {
                buffer::PICTURE_PARAMETER => *parameters = buffer.elements()?.pop().map(Box::new),
                buffer::IQ_MATRIX => *scaling = buffer.elements()?.pop().map(Box::new),
                buffer::SLICE_PARAMETER => {
                    waiting.extend(buffer.elements::<va::SliceParameterH264>()?)
                }
                _ => take_slices(bytes, waiting, slices)?,
            },
            (
                Work::Encode {
                    picture,
                    slices,
                    waiting,
                    headers,
                    told,
                },
                Engine::Encode(encoder),
            ) => match buffer.kind {
                buffer::ENC_SEQUENCE_PARAMETER => encoder.sequence = buffer.elements()?.pop(),
                buffer::ENC_MISC_PARAMETER => match of_picture(bytes) {
                    // Drivers begin anew with a picture's parameters.
                    Some(_) if picture.is_none() => {
                        return refuse(
                            status::INVALID_PARAMETER,
                            "what is told of a picture before its parameters",
                        );
                    }
                    Some(of) => told.take(of, offers, client)?,
                    None => encoder.rate.take(bytes)?,
                },
                buffer::ENC_PICTURE_PARAMETER => {
                    *picture = buffer.elements()?.pop().map(Box::new);
                }
                buffer::ENC_SLICE_PARAMETER => {
                    slices.extend(buffer.elements::<va::EncSliceParameterH264>()?);
                }
                buffer::ENC_PACKED_HEADER_PARAMETER => {
                    let of = buffer.elements::<va::EncPackedHeaderParameter>()?.pop();
                    announce(waiting, of, packed)?;
                }
                buffer::ENC_PACKED_HEADER_DATA => take_header(bytes, waiting, headers)?,
                kind => {
                    return refuse(
                        status::UNSUPPORTED_BUFFERTYPE,
                        format!("buffers of type {kind} are not rendered"),
                    );
                }
            },
            (Work::Process(conversions), _) => {
                let new = buffer.elements::<va::ProcPipelineParameter>()?;
                if conversions.len() + new.len() > MAX_CONVERSIONS {
                    return refuse(
                        status::MAX_NUM_EXCEEDED,
                        "too many conversions in one picture",
                    );
                }
                conversions.extend(new.into_iter().map(|new| client.conversion(new)));
            }
            (Work::Encode { .. }, _) => {
                return refuse(status::OPERATION_FAILED, "a picture without its engine");
            }
        }
        buffer.in_picture = true;
        open.buffers.push(id);
        Ok(())
    }

    /// Closes the open picture, if there is one: nothing is in use for it any more.
    pub(super) fn close(&mut self, context_id: Id) -> Option<Open> {
        let context = self.contexts.get_mut(context_id).ok()?;
        let open = context.open.take()?;
        if let Ok(surface) = self.surfaces.get_mut(open.target) {
            surface.target_of = None;
        }
        for id in &open.buffers {
            if let Ok(buffer) = self.buffers.get_mut(*id) {
                buffer.in_picture = false;
            }
        }
        Some(open)
    }

    /// Drops the open picture of a context, if there is one.
    pub fn abandon_picture(&mut self, context_id: Id) {
        drop(self.close(context_id));
    }

    /// Ends the open picture and does what it asks for.
    pub fn end_picture(&mut self, context_id: Id) -> Done {
        self.contexts.get(context_id)?;
        let Some(open) = self.close(context_id) else {
            return refuse(
                status::OPERATION_FAILED,
                format!("context {context_id:#x} has no open picture"),
            );
        };
        let context = self.contexts.get_mut(context_id)?;
        context.jobs += 1;
        let job = Job {
            context: context_id,
            number: context.jobs,
        };
        match open.work {
            Work::Decode {
                parameters,
                scaling,
                waiting,
                slices,
            } => {
                let Some(parameters) = parameters else {
                    return refuse(status::INVALID_PARAMETER, "a picture without parameters");
                };
                if !waiting.is_empty() {
                    return refuse(
                        status::INVALID_PARAMETER,
                        "slice parameters without their data",
                    );
                }
                let picture = decode::Picture {
                    parameters: *parameters,
                    scaling: scaling.map(|scaling| *scaling),
                    slices,
                };
                self.decode(job, open.target, &picture)
            }
            Work::Encode {
                picture,
                slices,
                waiting,
                headers,
                told,
            } => {
                let Some(picture) = picture else {
                    return refuse(status::INVALID_PARAMETER, "a picture without parameters");
                };
                if waiting.is_some() {
                    return refuse(
                        status::INVALID_PARAMETER,
                        "missing packed header: parameters of one without its data",
                    );
                }
                self.encode(job, open.target, &picture, (&slices, &headers, &told))
            }
            Work::Process(conversions) => {
                if conversions.is_empty() {
                    return refuse(status::INVALID_PARAMETER, "a picture without a conversion");
                }
                for conversion in &conversions {
                    self.convert(job, open.target, conversion)?;
                }
                Ok(())
            }
        }
    }

    fn decode(&mut self, job: Job, target: Id, picture: &decode::Picture) -> Done {
        let parameters = &picture.parameters;
        let current = parameters.curr_pic.picture_id;
        if current != target {
            return refuse(
                status::INVALID_SURFACE,
                format!("the picture is {current:#x}, and its target {target:#x}"),
            );
        }
        let valid = |of: &&va::PictureH264| of.flags & va::PICTURE_H264_INVALID == 0;
        for reference in parameters.reference_frames.iter().filter(valid) {
            let surface = self.surfaces.get(reference.picture_id)?;
            let reference = reference.picture_id;
            if surface.lent > 0 {
                return refuse(
                    status::SURFACE_BUSY,
                    format!("reference {reference:#x} is mapped by a client"),
                );
            }
            if reference == target {
                return refuse(
                    status::INVALID_SURFACE,
                    format!("surface {target:#x} is a reference of its own picture"),
                );
            }
        }
        let surface = self.surfaces.get(target)?;
        let context = self.contexts.get_mut(job.context)?;
        let Engine::Decode(decoder) = &mut context.engine else {
            return refuse(status::OPERATION_FAILED, "a picture without its engine");
        };
        let plan = decoder.plan(picture)?;
        let whole = |side: u32| side.next_multiple_of(16);
        if (whole(surface.size.0), whole(surface.size.1)) != plan.size {
            return refuse(
                status::INVALID_SURFACE,
                format!(
                    "a picture of {}×{} coded pixels in a surface of {}×{}",
                    plan.size.0, plan.size.1, surface.size.0, surface.size.1
                ),
            );
        }
        let written = decoder.run(&plan, |decoded| Self::write_planes(surface, decoded));
        let failed = match written {
            Ok(written) => {
                written?;
                None
            }
            Err(why) => Some(why),
        };
        if let Some(why) = &failed {
            self.log.line(&format!("surface {target:#x}: {why}"));
        }
        let surface = self.surfaces.get_mut(target)?;
        surface.pending = Some(job);
        surface.failed = failed;
        self.count(target, Some(Use::Decoded))
    }

    fn encode(
        &mut self,
        job: Job,
        source: Id,
        picture: &va::EncPictureParameterH264,
        (slices, headers, told): (&[va::EncSliceParameterH264], &[encode::PackedHeader], &Told),
    ) -> Done {
        let recon = picture.curr_pic.picture_id;
        let held = self.surfaces.get(recon)?;
        if recon == source || held.busy().is_some_and(|_| held.pending.is_none()) {
            return refuse(
                status::SURFACE_BUSY,
                format!("surface {recon:#x} cannot hold the reconstructed picture"),
            );
        }
        let held = held.size;
        let surface = self.surfaces.get(source)?;
        let coded = self.buffers.get(picture.coded_buf)?;
        if coded.kind != buffer::ENC_CODED || coded.context != Some(job.context) {
            return refuse(
                status::INVALID_BUFFER,
                format!(
                    "{:#x} is no coded buffer of this context",
                    picture.coded_buf
                ),
            );
        }
        if coded.pending.is_some() {
            return refuse(
                status::INVALID_BUFFER,
                format!(
                    "coded buffer {:#x} is written again before anybody has read it",
                    picture.coded_buf
                ),
            );
        }
        let room = coded.bytes()?.len();
        let context = self.contexts.get_mut(job.context)?;
        let config = context.config;
        let Engine::Encode(engine) = &mut context.engine else {
            return refuse(status::OPERATION_FAILED, "a picture without its engine");
        };
        let Encode {
            encoder,
            sequence,
            rate,
            before,
            tally,
        } = &mut **engine;
        let rate = &rate.after(told.left_out());
        let plan = encoder.plan(&encode::Input {
            profile: config.profile,
            sequence: sequence.as_ref(),
            picture,
            slices,
            headers,
            rate,
        })?;
        let whole = |side: u32| side.next_multiple_of(16);
        let size = plan.coded_size();
        let fits = |of: (u32, u32)| (whole(of.0), whole(of.1)) == size;
        if !fits(surface.size) || !fits(held) {
            return refuse(
                status::INVALID_SURFACE,
                format!(
                    "{size:?} coded pixels from {:?} with references of {held:?}",
                    surface.size
                ),
            );
        }
        let is_key = slices.iter().any(|slice| slice.slice_type % 5 == 2);
        told.check(surface.size, is_key, rate.mode)?;
        let planes = planes(surface, size)?;
        told.compare((surface.size, size), &planes, before.as_ref())?;
        let unit = encoder.run(
            &plan,
            Planes {
                y: &planes[0],
                u: &planes[1],
                v: &planes[2],
            },
        )?;
        tally.count(told);
        *before = config.offers.rectangles.then_some(planes);
        let fits = unit.len() <= room;
        if !fits {
            let line = format!("{} bytes in a coded buffer of {room}", unit.len());
            self.log.line(&line);
        }
        let coded = self.buffers.get_mut(picture.coded_buf)?;
        if let super::buffers::Content::Own(block) = &mut coded.content {
            match fits {
                true => block.write_segment(&unit, 0),
                false => block.write_segment(&[], va::CODED_STATUS_SLICE_OVERFLOW),
            }
        }
        coded.pending = Some(job);
        for id in [source, recon] {
            self.surfaces.get_mut(id)?.pending = Some(job);
        }
        self.stamps.coded();
        self.count(source, Some(Use::Encoded))
    }

    fn convert(&mut self, job: Job, target: Id, conversion: &Conversion) -> Done {
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
    let plain = crate::format::ALL[2];
    let pixels = Pixels {
        format: plain,
        size,
        planes: vec![argb.to_le_bytes().repeat((size.0 * size.1) as usize)],
    };
    pixels.convert(colour, colour, format, size)
}

/// Takes the data of the slices whose parameters have come.
fn take_slices(
    data: &[u8],
    waiting: &mut Vec<va::SliceParameterH264>,
    slices: &mut Vec<(va::SliceParameterH264, Vec<u8>)>,
) -> Done {
    if waiting.is_empty() {
        return refuse(
            status::INVALID_PARAMETER,
            "slice data before its parameters",
        );
    }
    for slice in waiting.drain(..) {
        let start = slice.slice_data_offset as usize;
        let end = start.checked_add(slice.slice_data_size as usize);
        let part = end.and_then(|end| data.get(start..end));
        match part {
            Some(part) if slice.slice_data_flag == 0 && !part.is_empty() => {
                slices.push((slice, part.to_vec()));
            }
            _ => {
                return refuse(
                    status::INVALID_PARAMETER,
                    format!(
                        "a slice of {} bytes at {start} with flag {} in {} bytes of data",
                        slice.slice_data_size,
                        slice.slice_data_flag,
                        data.len()
                    ),
                );
            }
        }
    }
    Ok(())
}

/// The type of what is told of one picture only, and what follows it.
fn of_picture(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (kind, body) = bytes.split_first_chunk::<4>()?;
    let kind = u32::from_ne_bytes(*kind);
    Told::is_of(kind).then_some((kind, body))
}

/// Takes the parameters of a packed header, which the configuration must have promised.
fn announce(
    waiting: &mut Option<va::EncPackedHeaderParameter>,
    of: Option<va::EncPackedHeaderParameter>,
    promised: u32,
) -> Done {
    let kind = of.map_or(0, |of| of.kind);
    let flag = match kind {
        packed::SEQUENCE => va::PACKED_SEQUENCE,
        packed::PICTURE => va::PACKED_PICTURE,
        packed::SLICE => va::PACKED_SLICE,
        packed::RAW_DATA => va::PACKED_RAW_DATA | va::PACKED_MISC,
        packed::H264_SEI => va::PACKED_MISC,
        _ => 0,
    };
    if promised & flag == 0 {
        return refuse(
            status::INVALID_PARAMETER,
            format!("a packed header of type {kind}, which the configuration does not announce"),
        );
    }
    if waiting.is_some() {
        return refuse(
            status::INVALID_PARAMETER,
            "missing packed header: parameters of one without its data",
        );
    }
    *waiting = of;
    Ok(())
}

fn take_header(
    data: &[u8],
    waiting: &mut Option<va::EncPackedHeaderParameter>,
    headers: &mut Vec<encode::PackedHeader>,
) -> Done {
    let Some(of) = waiting.take() else {
        return refuse(
            status::INVALID_PARAMETER,
            "a packed header before its parameters",
        );
    };
    if headers.len() == MAX_HEADERS {
        return refuse(status::MAX_NUM_EXCEEDED, "too many packed headers");
    }
    headers.push(encode::PackedHeader {
        kind: of.kind,
        bytes: data.to_vec(),
        bits: of.bit_length as usize,
        escaped: of.has_emulation_bytes != 0,
    });
    Ok(())
}

/// A surface as the codec wants it: three planes, made whole by repeating its last rows and columns.
fn planes(surface: &Surface, (width, height): (u32, u32)) -> Done<[Vec<u8>; 3]> {
    let pixels = surface.read((0, 0), surface.size)?;
    let (from_width, from_height) = (surface.size.0 as usize, surface.size.1 as usize);
    let (width, height) = (width as usize, height as usize);
    let pitch = from_width.next_multiple_of(2);
    let mut y = Vec::with_capacity(width * height);
    for row in 0..height {
        let row = &pixels.planes[0][row.min(from_height - 1) * from_width..][..from_width];
        y.extend_from_slice(row);
        y.extend(std::iter::repeat_n(row[from_width - 1], width - from_width));
    }
    let mut chroma = [Vec::new(), Vec::new()];
    for row in 0..height / 2 {
        let row = row.min(from_height.div_ceil(2) - 1);
        let row = &pixels.planes[1][row * pitch..][..pitch];
        for (index, plane) in chroma.iter_mut().enumerate() {
            let half = row.chunks_exact(2).map(|pair| pair[index]);
            plane.extend(half);
            let last = row[pitch - 2 + index];
            plane.extend(std::iter::repeat_n(last, (width - pitch) / 2));
        }
    }
    let [u, v] = chroma;
    Ok([y, u, v])
}

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
}
