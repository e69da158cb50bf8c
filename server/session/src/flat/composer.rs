//! Who composes: the processor, always there, or GLES, where there is a driver and a use for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

#[cfg(feature = "gpu")]
use anyhow::Context;
use heliostat_compose::geometry::{Damage, Rect};
use heliostat_compose::{Picture, Shown, Target, compose};
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;

#[cfg(feature = "gpu")]
use super::gles::{Device, Gles, May, Way};
#[cfg(all(test, feature = "gpu"))]
use super::swapchain::FlatBuffer;
#[cfg(feature = "gpu")]
use crate::gpu::{Away, DeviceId, Ended, Lease, Return, Trial, Wake};
use crate::gpu::{Buffers, Gpu, Loan, RenderNode};

/// A layer of a picture that is composed.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// Its name.
    pub id: LayerId,
    /// Its pixels.
    pub picture: Picture<'a>,
    /// What of them has changed since this was last composed.
    pub touched: &'a Damage,
    /// Where its newest pixels are, if they are in its client's buffer and not in the picture.
    pub buffer: Option<&'a Loan>,
}

/// A picture that is to be composed.
#[derive(Debug, Clone, Copy)]
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
    /// Parts of it whose pixels are wanted here.
    pub read: &'a [Rect],
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
    /// With the processor, until the device comes back that was reset.
    #[cfg(feature = "gpu")]
    Away(Box<Away>),
    /// With the processor, into buffers that are lent, as GLES does.
    #[cfg(all(test, feature = "gpu"))]
    Fake(Box<super::fake::Fake>),
}

/// GLES has failed, and is not used any more, or cannot compose this output or picture: what was to be
/// composed is the processor's, once clients' buffers are read.
#[derive(Debug)]
pub struct Failed;

/// Where GLES is looked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Which device is to be used at all.
    pub render_node: RenderNode,
    /// The node on which it is taken whatever it is.
    pub flat_node: Option<PathBuf>,
    /// The encoder's node, and whether it reads what GLES draws.
    pub encoder: Option<(PathBuf, bool)>,
}

impl Composer {
    /// The best one that there is, and what is to be said of it; the processor where no device is
    /// wanted, or none that has not ended before.
    pub fn open(wish: &Wish, gpu: &Gpu) -> (Self, String) {
        let _ = gpu;
        if wish.render_node == RenderNode::Off && wish.flat_node.is_none() {
            let said = "by the processor: no device is wanted by the configuration (render_node)";
            return (Self::Software, said.to_owned());
        }
        #[cfg(feature = "gpu")]
        {
            let mut resting = None;
            let opened = open_gles(wish, &mut |id| {
                let lease = gpu.devices().lease(id);
                lease.check().inspect_err(|_| {
                    let may_return = lease.may_return();
                    resting = resting.take().or(may_return.then(|| lease.clone()));
                })?;
                Ok(lease)
            });
            match (opened, resting) {
                (Ok(gles), _) => {
                    let composer = Self::Gles(Box::new(gles));
                    let said = composer.describe();
                    (composer, said)
                }
                (Err(error), Some(lease)) => {
                    let said = format!("by the processor for now: {error:#}");
                    (Self::Away(Box::new(Away::from(lease))), said)
                }
                (Err(error), None) => (Self::Software, format!("by the processor: {error:#}")),
            }
        }
        #[cfg(not(feature = "gpu"))]
        (
            Self::Software,
            "by the processor: this build has no GLES".to_owned(),
        )
    }

    /// When to look whether GLES comes back.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            #[cfg(feature = "gpu")]
            Self::Away(away) => away.deadline(),
            _ => None,
        }
    }

    /// Whether its device was reset, and is not being tried out.
    #[cfg(feature = "gpu")]
    pub fn is_resting(&self) -> bool {
        matches!(self, Self::Away(away) if !away.is_being_tried())
    }

    /// GLES on a device that has come back, and on no other.
    #[cfg(feature = "gpu")]
    pub fn reopen(wish: &Wish, lease: Lease) -> anyhow::Result<Self> {
        let id = lease.id().clone();
        let gles = open_gles(wish, &mut only(&id, lease))?;
        Ok(Self::Gles(Box::new(gles)))
    }

    /// Whether the device has come back and composes from now on; `start` begins to try it out, and `open`
    /// opens it.
    #[cfg(feature = "gpu")]
    pub fn tend(
        &mut self,
        now: Instant,
        start: impl FnOnce(&DeviceId) -> anyhow::Result<Trial>,
        open: impl FnOnce(Lease) -> anyhow::Result<Self>,
    ) -> bool {
        let Self::Away(away) = self else {
            return false;
        };
        let (composer, is_back) = match away.tend(now, start, |lease, _| open(lease)) {
            Return::Later => return false,
            Return::Now(composer) => (composer, true),
            Return::Never => (Self::Software, false),
        };
        *self = composer;
        is_back
    }

    /// Who composes, for people.
    #[cfg(feature = "gpu")]
    pub fn describe(&self) -> String {
        match self {
            Self::Software => "by the processor".to_owned(),
            Self::Gles(gles) => format!("by GLES on {}", gles.describe()),
            Self::Away(_) => "by the processor for now".to_owned(),
            #[cfg(test)]
            Self::Fake(_) => "by a stand-in".to_owned(),
        }
    }

    /// Composes what is damaged, and gives each part of it that is to be read with its pixels, rows
    /// without gaps, to `take`. Returns the buffer that all of it is in, where it can be lent. `room` is
    /// memory that is used again.
    pub fn compose(
        &mut self,
        job: &Job<'_>,
        (room, buffers): (&mut Vec<u32>, &Buffers),
        take: impl FnMut(Rect, &[u32]),
    ) -> Result<Option<Loan>, Failed> {
        let _ = buffers;
        #[cfg(feature = "gpu")]
        let mut take = take;
        match self {
            Self::Software => {
                by_processor(job, room, take);
                Ok(None)
            }
            #[cfg(feature = "gpu")]
            Self::Away(_) => {
                by_processor(job, room, take);
                Ok(None)
            }
            #[cfg(feature = "gpu")]
            Self::Gles(gles) => {
                match gles.way(job) {
                    Way::Gles => {}
                    Way::ReadFirst => return Err(Failed),
                    Way::Processor => {
                        by_processor(job, room, take);
                        return Ok(None);
                    }
                }
                let composed = gles.compose(job, room, &mut |rect, pixels| {
                    buffers.count_read(4 * pixels.len() as u64);
                    take(rect, pixels);
                });
                let lent = composed.and_then(|buffer| {
                    let lent = buffer.map(|buffer| buffers.lend_own(buffer.slot));
                    Ok(lent.transpose().context("lend what was drawn")?)
                });
                lent.map_err(|ended| self.fail(&ended, buffers))
            }
            #[cfg(all(test, feature = "gpu"))]
            Self::Fake(fake) => {
                let composed = fake.compose(job, &mut take);
                let lend = |buffer: FlatBuffer| buffers.lend_own(buffer.slot).ok();
                let lent = composed.map(|buffer| buffer.and_then(lend));
                lent.map_err(|ended| self.fail(&ended, buffers))
            }
        }
    }

    /// Reads a part of a buffer that was composed. False where that cannot be done any more.
    pub fn read_back(
        &mut self,
        loan: &Loan,
        part: Rect,
        (room, buffers): (&mut Vec<u32>, &Buffers),
        mut take: impl FnMut(Rect, &[u32]),
    ) -> bool {
        let _ = (loan, part, &room, buffers, &mut take);
        match self {
            Self::Software => false,
            #[cfg(feature = "gpu")]
            Self::Away(_) => false,
            #[cfg(feature = "gpu")]
            Self::Gles(gles) => {
                buffers.count_read(4 * part.area() as u64);
                let read = gles.read_back(loan.dmabuf(), part, room, &mut take);
                read.map_err(|ended| self.fail(&ended, buffers)).is_ok()
            }
            #[cfg(all(test, feature = "gpu"))]
            Self::Fake(fake) => {
                let read = fake.read_back(loan, part, &mut take);
                read.map_err(|ended| self.fail(&ended, buffers)).is_ok()
            }
        }
    }

    /// Whether a client's buffer is composed on an output as it is.
    pub fn takes(&mut self, output: OutputId, loan: &Loan) -> bool {
        let _ = (output, loan);
        match self {
            Self::Software => false,
            #[cfg(feature = "gpu")]
            Self::Away(_) => false,
            #[cfg(feature = "gpu")]
            Self::Gles(gles) => gles.takes(output, loan),
            #[cfg(all(test, feature = "gpu"))]
            Self::Fake(fake) => fake.takes(loan),
        }
    }

    #[cfg(feature = "gpu")]
    fn fail(&mut self, ended: &Ended, buffers: &Buffers) -> Failed {
        if let Ended::Refused(why) = ended {
            tracing::debug!("the processor composes a picture in place of GLES: {why:#}");
            return Failed;
        }
        tracing::warn!("GLES fails, the processor composes from now on: {ended}");
        buffers.count_gles_end();
        let lease = match std::mem::take(self) {
            Self::Software | Self::Away(_) => return Failed,
            Self::Gles(gles) => gles.end(ended),
            #[cfg(test)]
            Self::Fake(fake) => fake.end(ended),
        };
        lease.has_ended(ended);
        if ended.is_of_device() && lease.may_return() {
            *self = Self::Away(Box::new(Away::from(lease)));
        }
        Failed
    }

    /// Nothing of an output is needed any more.
    pub fn forget(&mut self, output: OutputId) {
        let _ = output;
        match self {
            Self::Software => {}
            #[cfg(feature = "gpu")]
            Self::Away(_) => {}
            #[cfg(feature = "gpu")]
            Self::Gles(gles) => gles.forget(output),
            #[cfg(all(test, feature = "gpu"))]
            Self::Fake(fake) => fake.forget(),
        }
    }
}

/// Composes each part that is to be read.
pub(super) fn by_processor(job: &Job<'_>, room: &mut Vec<u32>, mut take: impl FnMut(Rect, &[u32])) {
    let layers = job.layers.iter();
    let pictures: BTreeMap<_, _> = layers.map(|layer| (layer.id, layer.picture)).collect();
    for rect in job.read {
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

/// GLES on the encoder's device, or another one of hardware, of those that it `may` use.
#[cfg(feature = "gpu")]
fn open_gles(wish: &Wish, may: &mut May<'_>) -> anyhow::Result<Gles> {
    let lends = wish.encoder.as_ref().is_some_and(|(_, lends)| *lends);
    if let Some(node) = &wish.flat_node {
        return Gles::on_node(node, Device::Any, lends, may);
    }
    let named = match &wish.render_node {
        RenderNode::Path(node) => Some(node),
        _ => None,
    };
    let node = wish.encoder.as_ref().map(|(node, _)| node).or(named);
    let by_gbm = node.map(|node| Gles::on_node(node, Device::Hardware, lends, may));
    match by_gbm {
        Some(Ok(gles)) => Ok(gles),
        Some(Err(why)) => Gles::open(Device::Hardware, may).map_err(|_| why),
        None => Gles::open(Device::Hardware, may),
    }
}

/// This device may be used, by this lease, and no other.
#[cfg(feature = "gpu")]
fn only(id: &DeviceId, lease: Lease) -> impl FnMut(DeviceId) -> anyhow::Result<Lease> {
    move |other| {
        anyhow::ensure!(other == *id, "it is another device");
        Ok(lease.clone())
    }
}

/// Has a device tried out by another thread, and no other device.
#[cfg(feature = "gpu")]
pub fn try_out(wish: Wish, id: &DeviceId, wake: Wake) -> anyhow::Result<Trial> {
    let id = id.clone();
    Trial::start(wake, move || {
        open_gles(&wish, &mut only(&id, Lease::default()))?.try_out()?;
        Ok(Vec::new())
    })
}
