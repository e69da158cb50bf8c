//! A picture is decoded into its target.

use crate::driver::{Driver, Engine, Job};
use crate::h264::decode;
use crate::journal::Use;
use crate::refusal::{Done, refuse};
use crate::va::{self, Id, status};

impl Driver {
    pub(super) fn decode(&mut self, job: Job, target: Id, picture: &decode::Picture) -> Done {
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
}
