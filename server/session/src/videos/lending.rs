//! Films whose pictures the hardware reads from their clients' buffers.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Instant;

use heliostat_tiles::Rect;
use heliostat_va::dmabuf::Identity;
use heliostat_va::encoder::Area;
use heliostat_wire::id::VideoId;
use smithay::reexports::calloop::channel;
use smithay::reexports::wayland_server::backend::ClientId;
use tracing::debug;

use super::hardware::{Job, Picture, Worker};
use super::{Coder, LONGEST, Promise, Stage, Videos, quality};
use crate::app::Event;
use crate::content::Playing;
use crate::gpu::{Device, Gpu, Loan};
use crate::surface::Surface;

/// The thread of the hardware, while there are films for it.
///
/// ```text
///   none ─► working ── let go ─► leaving (may never end) ─► none
/// ```
///
/// There is one at most that works or leaves: a driver that does not answer one will not answer another.
#[derive(Debug, Default)]
pub(super) struct Hardware {
    working: Option<Worker>,
    leaving: Option<JoinHandle<()>>,
    /// Buffers that the driver may look at, by number, and whose films are in them.
    lent: BTreeMap<u64, (Loan, Option<ClientId>)>,
    last: u64,
}

impl Hardware {
    /// A video is over.
    pub(super) fn end(&self, video: VideoId) {
        // A thread that is gone has no encoders either.
        let _ = self
            .working
            .as_ref()
            .map(|worker| worker.send(Job::End(video)));
    }

    /// Takes a unit's memory back.
    pub(super) fn give_back(&mut self, unit: Vec<u8>) {
        if let Some(worker) = &mut self.working {
            worker.give_back(unit);
        }
    }

    /// The thread is to end.
    pub(super) fn let_go(&mut self) {
        if let Some(worker) = self.working.take() {
            self.leaving = worker.let_go();
        }
    }

    /// The driver looks at a buffer no more: it is given back. Returns whose film was in it.
    pub(super) fn take_back(&mut self, buffer: Option<u64>) -> Option<ClientId> {
        let (_, client) = self.lent.remove(&buffer?)?;
        client
    }

    /// Whether there is a thread, or may be one.
    fn is_ready(&mut self) -> bool {
        self.leaving.take_if(|thread| thread.is_finished());
        self.leaving.is_none()
    }

    /// The thread.
    fn worker(&mut self, device: &Device) -> &mut Worker {
        self.working.take_if(|worker| worker.is_gone());
        self.working.get_or_insert_with(|| Worker::start(device))
    }
}

fn area(rect: Rect) -> Area {
    let Rect { x, y, w, h } = rect;
    Area { x, y, w, h }
}

impl Videos {
    /// Memory that no client has any more need not be held for the hardware.
    pub(super) fn forget(&mut self, gone: Vec<Identity>) {
        if let Some(worker) = &self.hardware.working {
            gone.into_iter()
                .for_each(|memory| worker.send(Job::Forget(memory)));
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
        // What could not be read has to be, before anything of it is lent.
        let newest = surface.newest.as_ref();
        let Some(newest) = newest.filter(|newest| newest.again.is_none()) else {
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
        let client = surface.client.as_ref();
        let rect = rect.filter(|rect| {
            // Whoever draws NV12 shows nothing but a film.
            is_new
                && (*rect == whole || !is_nv12)
                && surface.is_opaque(*rect)
                && content.may_be_lent(now)
                && gpu.encodes(is_nv12)
                && newest.loan.is_encoded()
                && gpu.health().may_be_used(client, now)
                && self.hardware.is_ready()
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
        let given = surface.content.give_picture(now);
        let Some((Playing { video, rect, .. }, news)) = given else {
            return true;
        };
        let Some(open) = self.open.get_mut(&video) else {
            return false;
        };
        self.hardware.last += 1;
        let number = self.hardware.last;
        let lent = (newest.loan.clone(), surface.client.clone());
        self.hardware.lent.insert(number, lent);
        let worker = self.hardware.worker(device);
        let picture = Picture {
            promise: Promise::new(video, Coder::Hardware, events).of_buffer(number),
            memory: newest.loan.memory(),
            rect,
            changed: news.within(rect).map(|parts| parts.map(area).collect()),
            key: std::mem::take(&mut open.key),
            bits_per_second: quality(rect, rate).bits_per_second,
            committed: newest.at,
            unit: worker.spare(),
        };
        let until = Some(now + LONGEST);
        open.stage = Stage::Encoding { until };
        worker.send(Job::Picture(picture));
        true
    }
}
