//! A picture is encoded from its target, which encoders read.

use crate::driver::buffers::Content;
use crate::driver::surfaces::Surface;
use crate::driver::{Driver, Encode, Engine, Job};
use crate::h264::encode;
use crate::h264::told::Told;
use crate::journal::Use;
use crate::refusal::{Done, refuse};
use crate::sys::codec::Planes;
use crate::va::{self, Id, buffer, status};

impl Driver {
    pub(super) fn encode(
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
        if let Content::Own(block) = &mut coded.content {
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
