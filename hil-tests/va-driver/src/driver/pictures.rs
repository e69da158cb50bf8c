//! Pictures: begun, given buffers, ended.
//!
//! ```text
//!             vaBeginPicture        vaEndPicture          vaSync…, vaMapBuffer of a coded buffer
//!   idle ───────────────────▶ open ──────────────▶ pending ─────────────────────────────▶ idle
//! ```
//!
//! The work is done in `vaEndPicture`; what it touched is held for busy until somebody has waited for
//! it, since with hardware it would be.

mod converting;
mod decoding;
mod encoding;

use super::{Driver, Engine, Job};
use crate::h264::told::{Pointers, Told};
use crate::h264::{decode, encode};
use crate::refusal::{Done, refuse};
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
