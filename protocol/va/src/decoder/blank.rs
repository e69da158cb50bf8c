//! Surfaces are made grey before anything is decoded into them, by what every device can: a key of
//! nothing, decoded into each.

use heliostat_video::Size;
use heliostat_video::syntax::{PictureParameters, Profile, SequenceParameters, Slice};

use super::parameters;
use super::references::References;
use crate::abi::buffer;
use crate::library::{Context, Error, Surface};

/// The level of no limits: drivers are not told of it.
const LEVEL: u8 = 52;

/// Has surfaces of a context for pictures of `size` made grey, which is to be waited for.
pub(super) fn clear(
    context: &Context,
    profile: Profile,
    size: Size,
    surfaces: &[&Surface],
) -> Result<(), Error> {
    let sequence = SequenceParameters::new(size, profile, LEVEL);
    let (picture, slice) = (PictureParameters::default(), Slice::of_key());
    let blocks = u32::from(sequence.blocks.0) * u32::from(sequence.blocks.1);
    let unit = slice.grey(&sequence, &picture, blocks);
    let header = Slice::read(&unit, &sequence, &picture);
    let current = References::<usize>::default().begin(&slice, &sequence);
    let (Ok((_, bits)), Some(current)) = (header, current) else {
        // What is written here is read here.
        return Ok(());
    };
    for surface in surfaces {
        let told = parameters::picture(&sequence, &picture, &current, surface.id(), [].into_iter());
        let of_slice = parameters::slice(&slice, &picture, [].into_iter(), (&unit, bits));
        let buffers = [
            context.create_buffer(buffer::PICTURE_PARAMETER, &told)?,
            context.create_buffer(buffer::IQ_MATRIX, &parameters::flat())?,
            context.create_buffer(buffer::SLICE_PARAMETER, &of_slice)?,
            context.create_buffer_of(buffer::SLICE_DATA, &unit)?,
        ];
        context.submit(surface, &buffers)?;
    }
    Ok(())
}
