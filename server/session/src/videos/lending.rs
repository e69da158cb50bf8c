//! Films whose pictures the hardware reads from their clients' buffers.

use std::time::Instant;

use heliostat_va::dmabuf::Identity;
use heliostat_wire::id::VideoId;
use smithay::reexports::calloop::channel;
use tracing::debug;

use super::hardware::{Job, Picture, Worker};
use super::{Coder, Stage, Videos, quality};
use crate::app::Event;
use crate::content::Playing;
use crate::gpu::Gpu;
use crate::surface::Surface;

/// The thread of the hardware, while there are films for it.
#[derive(Debug, Default)]
pub(super) struct Hardware(Option<Worker>);

impl Hardware {
    /// A video is over.
    pub(super) fn end(&self, video: VideoId) {
        // A thread that is gone has no encoders either.
        let _ = self.0.as_ref().map(|worker| worker.send(Job::End(video)));
    }

    /// Takes a unit's memory back.
    pub(super) fn give_back(&mut self, unit: Vec<u8>) {
        if let Some(worker) = &mut self.0 {
            worker.give_back(unit);
        }
    }
}

impl Videos {
    /// Memory that no client has any more need not be held for the hardware.
    pub(super) fn forget(&mut self, gone: Vec<Identity>) {
        if let Some(worker) = &self.hardware.0 {
            gone.into_iter().for_each(|memory| {
                worker.send(Job::Forget(memory));
            });
        }
    }

    /// Looks whether the hardware can have a surface's buffers from now on.
    pub(super) fn lend(
        &mut self,
        surface: &mut Surface,
        fills_screen: bool,
        gpu: &mut Gpu,
        now: Instant,
    ) {
        let Some(newest) = &surface.newest else {
            return;
        };
        let content = &surface.content;
        let (whole, found, playing) = (content.whole(), content.found_film(), content.playing());
        // One that is lent may have grown.
        let is_new = surface.direct.may_lend() || content.is_lent() && found.is_some();
        let rect = match surface.direct.is_film(surface.looks(fills_screen), now) {
            true => Some(whole),
            false => found.or(playing.map(|playing| playing.rect)),
        };
        let before = playing.map(|playing| playing.video);
        let is_nv12 = newest.loan.is_nv12();
        let rect = rect.filter(|rect| {
            // What is beside a film is read, and NV12 is always read as a whole.
            is_new
                && (*rect == whole || !is_nv12)
                && surface.is_opaque(*rect)
                && content.may_be_lent(now)
                && gpu.encodes(is_nv12)
                && gpu.health().may_be_used(now)
                && self.has_room(*rect, Coder::Hardware, before)
        });
        let Some(rect) = rect else {
            return;
        };
        let video = self.open(content.layer(), rect, Coder::Hardware);
        if surface.content.lend(video, rect, now) {
            debug!(?rect, layer = surface.content.layer().0, "a film is lent");
            surface.direct.lend();
        } else {
            self.open.remove(&video);
        }
    }

    /// Gives the newest buffer of a film to the hardware. False where it is not there any more.
    pub(super) fn give(
        &mut self,
        surface: &mut Surface,
        rate: Option<u64>,
        (gpu, events): (&Gpu, &channel::Sender<Event>),
        now: Instant,
    ) -> bool {
        let (Some(newest), Some(device)) = (&surface.newest, gpu.device()) else {
            return false;
        };
        let Some(Playing { video, rect, .. }) = surface.content.give_picture(now) else {
            return true;
        };
        let Some(open) = self.open.get_mut(&video) else {
            return false;
        };
        let worker = self.hardware.0.as_mut();
        let worker = match worker {
            Some(worker) => worker,
            None => self
                .hardware
                .0
                .insert(Worker::start(device, events.clone())),
        };
        let picture = Picture {
            video,
            memory: newest.loan.memory(),
            rect,
            key: std::mem::take(&mut open.key),
            bits_per_second: quality(rect, rate).bits_per_second,
            committed: newest.at,
            unit: worker.spare(),
        };
        open.stage = Stage::Encoding {
            _buffer: Some(newest.loan.clone()),
        };
        let sent = worker.send(Job::Picture(picture));
        if !sent {
            self.hardware.0 = None;
        }
        sent
    }
}
