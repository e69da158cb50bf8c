//! The buffers of a picture, in the order in which drivers want them.

use heliostat_video::syntax::{PictureParameters, SequenceParameters};

use super::Job;
use super::parameters::{self, Place, Turn};
use super::told::Told;
use crate::abi::{self, EncPackedHeaderParameter, buffer, packed};
use crate::library::{Buffer, Context, Error, Surface};
use crate::probe::RateControl;
use crate::sys::plain::zeroed;

/// All that buffers are made of.
pub(super) struct Picture<'a> {
    pub job: &'a Job<'a>,
    pub context: &'a Context,
    pub sequence: &'a SequenceParameters,
    pub picture: &'a PictureParameters,
    pub turn: &'a Turn,
    pub kept: &'a [Surface; 2],
    pub coded: &'a Buffer,
    pub rate_is_due: bool,
    pub told: &'a Told,
}

/// Makes them.
pub(super) fn describe(
    buffers: &mut Vec<Buffer>,
    header: &mut Vec<u8>,
    p: &Picture<'_>,
) -> Result<(), Error> {
    let (context, turn, settings) = (p.context, p.turn, p.job.settings);
    let rate_control = p.job.path.rate_control;
    if turn.is_key {
        let sequence = parameters::enc_sequence(p.sequence, settings);
        buffers.push(context.create_buffer(buffer::ENC_SEQUENCE_PARAMETER, &sequence)?);
    }
    if turn.is_key || p.rate_is_due {
        let kind = buffer::ENC_MISC_PARAMETER;
        buffers.push(context.create_buffer(kind, &parameters::frame_rate(settings))?);
        if rate_control != RateControl::Constant {
            buffers.push(context.create_buffer(kind, &parameters::rate_control(settings))?);
            buffers.push(context.create_buffer(kind, &parameters::hrd(settings))?);
        }
    }
    let place = Place {
        current: p.kept[turn.number as usize % 2].id(),
        before: p.kept[(turn.number as usize + 1) % 2].id(),
        coded: p.coded.id(),
    };
    if turn.is_key {
        header.clear();
        p.sequence.write(header);
        pack(buffers, p, packed::SEQUENCE, header, None)?;
        header.clear();
        p.picture.write(header);
        pack(buffers, p, packed::PICTURE, header, None)?;
    }
    let picture = parameters::enc_picture(p.sequence, p.picture, turn, &place);
    buffers.push(context.create_buffer(buffer::ENC_PICTURE_PARAMETER, &picture)?);
    p.told.describe(context, buffers)?;
    let slice = parameters::slice(turn, (p.sequence, p.picture), settings, rate_control);
    let bits = slice.write_over(p.sequence, p.picture, header);
    pack(buffers, p, packed::SLICE, header, Some(bits))?;
    let slice = parameters::enc_slice(p.sequence, &slice, turn, &place);
    buffers.push(context.create_buffer(buffer::ENC_SLICE_PARAMETER, &slice)?);
    Ok(())
}

/// Packs a header, if the driver takes headers of its kind. Whole units have been made safe from start
/// codes; a header that ends at some bit is made so by the driver, together with what follows it.
fn pack(
    buffers: &mut Vec<Buffer>,
    p: &Picture<'_>,
    kind: u32,
    bytes: &[u8],
    bits: Option<usize>,
) -> Result<(), Error> {
    let flag = match kind {
        packed::SEQUENCE => abi::PACKED_SEQUENCE,
        packed::PICTURE => abi::PACKED_PICTURE,
        _ => abi::PACKED_SLICE,
    };
    if p.job.path.packed_headers & flag == 0 {
        return Ok(());
    }
    let mut announced: EncPackedHeaderParameter = zeroed();
    announced.kind = kind;
    announced.bit_length = bits.unwrap_or(bytes.len() * 8) as u32;
    announced.has_emulation_bytes = bits.is_none().into();
    let context = p.context;
    buffers.push(context.create_buffer(buffer::ENC_PACKED_HEADER_PARAMETER, &announced)?);
    buffers.push(context.create_buffer_of(buffer::ENC_PACKED_HEADER_DATA, bytes)?);
    Ok(())
}
