//! Who composes: the processor, always there, or GLES, where there is a driver and a use for it.

use heliostat_compose::geometry::{Damage, Rect};
use heliostat_compose::{Picture, Shown, Target, compose};
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;

#[cfg(feature = "gpu")]
use super::gles::{Device, Gles};

/// A layer of a picture that is composed.
#[derive(Debug)]
pub struct Layer<'a> {
    /// Its name.
    pub id: LayerId,
    /// Its pixels.
    pub picture: Picture<'a>,
    /// What of them has changed since this was last composed.
    pub touched: &'a Damage,
}

/// A picture that is to be composed.
#[derive(Debug)]
pub struct Job<'a> {
    /// On which output.
    pub output: OutputId,
    /// How large that is.
    pub size: Size,
    /// What it shows.
    pub shown: Shown<'a>,
    /// All layers that it shows.
    pub layers: &'a [Layer<'a>],
    /// What of it has to be composed.
    pub damage: &'a Damage,
}

impl<'a> Job<'a> {
    /// A layer's pixels.
    pub fn picture(&self, id: LayerId) -> Option<Picture<'a>> {
        let known = self.layers.iter().find(|layer| layer.id == id);
        known.map(|layer| layer.picture)
    }
}

/// Composes outputs.
#[derive(Debug, Default)]
pub enum Composer {
    /// With the processor.
    #[default]
    Software,
    /// With GLES, on hardware or on Mesa's software.
    #[cfg(feature = "gpu")]
    Gles(Box<Gles>),
}

impl Composer {
    /// The best one that there is, and what is to be said of it; the processor where no device is
    /// wanted.
    pub fn open(wants_device: bool) -> (Self, String) {
        if !wants_device {
            let said = "by the processor: no device is wanted by the configuration (render_node)";
            return (Self::Software, said.to_owned());
        }
        #[cfg(feature = "gpu")]
        match Gles::open(Device::Hardware) {
            Ok(gles) => {
                let said = format!("by GLES on {}", gles.name());
                (Self::Gles(Box::new(gles)), said)
            }
            Err(error) => (Self::Software, format!("by the processor: {error:#}")),
        }
        #[cfg(not(feature = "gpu"))]
        (
            Self::Software,
            "by the processor: this build has no GLES".to_owned(),
        )
    }

    /// Composes what is damaged, and gives each part of it with its pixels, rows without gaps, to
    /// `take`. `room` is memory that is used again.
    pub fn compose(
        &mut self,
        job: &Job<'_>,
        room: &mut Vec<u32>,
        mut take: impl FnMut(Rect, &[u32]),
    ) {
        #[cfg(feature = "gpu")]
        if let Self::Gles(gles) = self {
            match gles.compose(job, room, &mut take) {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!("GLES fails, the processor composes from now on: {error:#}");
                    *self = Self::Software;
                }
            }
        }
        let pictures: std::collections::BTreeMap<_, _> = job
            .layers
            .iter()
            .map(|layer| (layer.id, layer.picture))
            .collect();
        for rect in job.damage.rects() {
            room.clear();
            room.resize(rect.area() as usize, 0);
            let mut target = Target {
                pixels: room,
                stride: rect.w as usize,
                bounds: *rect,
            };
            let picture = |id| pictures.get(&id).copied();
            compose(&job.shown, picture, *rect, &mut target);
            take(*rect, room);
        }
    }

    /// Nothing of an output is needed any more.
    pub fn forget(&mut self, output: OutputId) {
        match self {
            Self::Software => {
                let _ = output;
            }
            #[cfg(feature = "gpu")]
            Self::Gles(gles) => gles.forget(output),
        }
    }
}
