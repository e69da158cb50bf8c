//! Films on their way to the terminal: a thread encodes their pictures, frames carry them.
//!
//! ```text
//!   found in a layer ─► open ─► picture in the encoder ─► access unit ready ─► in a frame
//!                        ▲            one at a time, of the newest pixels            │
//!                        └──────────────────────────────────────────────────────────┘
//! ```
//!
//! A large access unit goes in pieces, each as large as a frame may be on this link. A picture is
//! taken only when the one before has left, so that a slow link or a slow processor means fewer
//! pictures and never older ones. Access units build on each other: all of them go out,
//! in order, or the video ends.
//!
//! Where the hardware encodes (`lending.rs`, `hardware.rs`), a picture is a client's buffer, which is
//! not given back meanwhile. What the hardware does not encode the processor does, and what it has not
//! encoded after a while it is not waited for.

#[cfg(feature = "gpu")]
mod hardware;
#[cfg(feature = "gpu")]
mod lending;
#[cfg(not(feature = "gpu"))]
#[path = "videos/without.rs"]
mod lending;
mod promise;
#[cfg(feature = "gpu")]
mod quantizer;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_tiles::Rect;
use heliostat_video::{Quality, Size};
use heliostat_wire::id::{LayerId, VideoId};
use heliostat_wire::limits::MAX_VIDEO_UNIT;
use heliostat_wire::scene::{Rect as WireRect, SceneOp};
use heliostat_wire::session::Capabilities;
#[cfg(feature = "gpu")]
use smithay::reexports::wayland_server::backend::ClientId;
use tracing::{debug, warn};

use crate::app::App;
use crate::content::{Content, Playing};
use lending::Hardware;
pub use promise::Done;
use promise::Promise;
use worker::{Job, Worker};

/// Videos at once: each takes a good part of a core.
const MOST: usize = 4;
/// Pixels of all pictures that the processor encodes: more than this takes the processor longer than a picture lasts.
const MOST_PIXELS: usize = 1920 * 1200;
/// The part of a link that films may use, in percent.
const SHARE: u64 = 60;
/// Bits that a pixel of a picture may have at most, in thousandths.
const BITS_A_PIXEL: u64 = 500;
/// A film that a terminal fails to decode twice within this goes as tiles for a while.
const FAILED_AGAIN: Duration = Duration::from_secs(1);
/// What the hardware has not encoded after this it will not encode. The slowest takes a tenth of it,
/// kernels take longer to notice that theirs hangs.
#[cfg(feature = "gpu")]
const LONGEST: Duration = Duration::from_secs(5);
/// No film is worth looking at below.
const FEWEST_BITS: u64 = 150_000;

/// The films of a session.
#[derive(Debug, Default)]
pub struct Videos {
    last: u32,
    open: BTreeMap<VideoId, Open>,
    worker: Option<Worker>,
    hardware: Hardware,
    most: usize,
    most_pixels: usize,
}

/// Who encodes a film.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coder {
    Processor,
    Hardware,
}

/// How long a picture took on its way through the hardware.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From its client's commit to the driver.
    pub commit_to_encoder: Duration,
    /// When its bytes were there.
    pub coded: Instant,
}

/// Why a picture was not encoded.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The encoder in software does not do it.
    #[error("a film is not encoded: {0}")]
    Processor(String),
    /// The hardware does not do it from such a buffer.
    #[error("the hardware does not take a film's buffers, they are read: {0}")]
    Buffer(String),
    /// The hardware fails.
    #[error("the hardware fails, a film is encoded by the processor: {0}")]
    Device(String),
}

/// A film that is encoded.
#[derive(Debug)]
struct Open {
    layer: LayerId,
    rect: Rect,
    /// The terminal has heard of it.
    told: bool,
    /// When the terminal's decoder failed last.
    failed: Option<Instant>,
    coder: Coder,
    /// The next picture is to build on none.
    key: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The next picture can be taken.
    Free,
    /// A picture is being encoded; by then it has to be, where the hardware does it.
    Encoding { until: Option<Instant> },
    /// An access unit waits for a frame, from this byte on. It is there since then.
    Ready(Vec<u8>, usize, Option<Instant>),
}

/// What a frame has of films.
#[derive(Debug, Default)]
pub struct Part {
    /// Operations that come before all others.
    pub before: Vec<SceneOp>,
    /// Operations that come after all others.
    pub after: Vec<SceneOp>,
    /// Access units, in order.
    pub units: Vec<u8>,
    /// When those of them were encoded whose picture is whole with this frame and came from the
    /// hardware.
    pub coded: [Option<Instant>; MOST],
}

impl Part {
    /// Whether a video's picture is whole with this frame.
    pub fn shows(&self, video: VideoId) -> bool {
        let whole = |op: &SceneOp| matches!(op, SceneOp::VideoPart { video: of, last: true, .. } if *of == video);
        self.after.iter().any(whole)
    }
}

/// Room for what a frame has beside access units, so that its memory need not grow.
const BESIDE: usize = 256;

impl Videos {
    /// A terminal was attached, or parted from: no video is open.
    pub fn reset(&mut self, capabilities: Option<&Capabilities>) {
        self.open.clear();
        self.worker = None;
        self.hardware.let_go();
        let (most, pixels) = capabilities.map_or((0, 0), |capabilities| {
            (capabilities.max_videos, capabilities.max_video_pixels)
        });
        self.most = MOST.min(most as usize);
        self.most_pixels = pixels as usize;
    }

    /// Whether there is room for one more, when `before` has gone.
    fn has_room(&self, rect: Rect, coder: Coder, before: Option<VideoId>) -> bool {
        let others = self.open.iter();
        let others = others.filter(|(video, _)| Some(**video) != before);
        let (mut count, mut pixels, mut by_processor) = (0, rect.area(), 0);
        for (_, open) in others {
            count += 1;
            pixels += open.rect.area();
            by_processor += match open.coder {
                Coder::Processor => open.rect.area(),
                Coder::Hardware => 0,
            };
        }
        count < self.most
            && pixels <= self.most_pixels
            && (coder == Coder::Hardware || by_processor + rect.area() <= MOST_PIXELS)
            && heliostat_video::is_possible(size_of(rect))
    }

    fn open(&mut self, layer: LayerId, rect: Rect, coder: Coder) -> VideoId {
        self.last += 1;
        let video = VideoId(self.last);
        let open = Open {
            layer,
            rect,
            told: false,
            failed: None,
            coder,
            key: false,
            stage: Stage::Free,
        };
        self.open.insert(video, open);
        video
    }

    /// Whether no film is open.
    pub fn are_none(&self) -> bool {
        self.open.is_empty()
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Whether a video is open.
    pub fn is_open(&self, video: VideoId) -> bool {
        self.open.contains_key(&video)
    }

    /// Whether the terminal decodes any.
    pub fn are_wanted(&self) -> bool {
        self.most > 0
    }

    /// Whether the next picture of a video can be taken.
    pub fn is_free(&self, video: VideoId) -> bool {
        let open = self.open.get(&video);
        open.is_some_and(|open| matches!(open.stage, Stage::Free))
    }

    /// When the hardware has to have encoded what it was given.
    fn late_at(&self) -> Option<Instant> {
        let until = |open: &Open| match open.stage {
            Stage::Encoding { until } => until,
            Stage::Free | Stage::Ready(..) => None,
        };
        self.open.values().filter_map(until).min()
    }

    /// Nobody encodes its picture any more. It stays open until a frame says that it is over.
    fn expect_nothing_of(&mut self, video: VideoId) {
        if let Some(open) = self.open.get_mut(&video) {
            open.stage = Stage::Encoding { until: None };
        }
    }

    /// An access unit is there. Returns false where its film is not open any more.
    fn done(&mut self, video: VideoId, unit: Vec<u8>, coded: Option<Instant>) -> bool {
        let Some(open) = self.open.get_mut(&video) else {
            return false;
        };
        open.stage = match unit.is_empty() {
            true => Stage::Free,
            false => Stage::Ready(unit, 0, coded),
        };
        true
    }

    /// What the next frame has of films, in at most `room` bytes; `is_playing` says which are still
    /// open.
    pub fn part(&mut self, is_playing: impl Fn(VideoId, LayerId) -> bool, room: u64) -> Part {
        let mut part = Part::default();
        self.open.retain(|video, open| {
            let stays = is_playing(*video, open.layer);
            if !stays {
                // A thread that is gone has no encoders either.
                let worker = self.worker.as_ref();
                let _ = worker.map(|worker| worker.send(Job::End(*video)));
                self.hardware.end(*video);
                if open.told {
                    part.before.push(SceneOp::EndVideo { video: *video });
                }
            }
            stays
        });
        if let Some(worker) = self.worker.as_mut().filter(|_| self.open.is_empty()) {
            worker.let_go();
        }
        let mut room = usize::try_from(room).unwrap_or(usize::MAX);
        let ready = self.open.values().map(|open| match &open.stage {
            Stage::Ready(unit, from, _) => unit.len() - from,
            Stage::Free | Stage::Encoding { .. } => 0,
        });
        let ready = ready.sum::<usize>().min(room);
        if ready > 0 {
            part.units.reserve(ready + BESIDE);
        }
        for ((video, open), coded_at) in self.open.iter_mut().zip(&mut part.coded) {
            let Stage::Ready(unit, from, coded) = &mut open.stage else {
                continue;
            };
            if room == 0 {
                break;
            }
            if !std::mem::replace(&mut open.told, true) {
                part.after.push(SceneOp::StartVideo {
                    video: *video,
                    layer: open.layer,
                    rect: wire_rect(open.rect),
                });
            }
            let piece = &unit[*from..unit.len().min(from.saturating_add(room))];
            let last = *from + piece.len() == unit.len();
            part.after.push(SceneOp::VideoPart {
                video: *video,
                bytes: piece.len() as u32,
                last,
            });
            part.units.extend_from_slice(piece);
            room -= piece.len();
            *from += piece.len();
            if last {
                *coded_at = coded.take();
                self.hardware.give_back(std::mem::take(unit));
                open.stage = Stage::Free;
            }
        }
        part
    }

    /// Whether an access unit waits for a frame.
    pub fn is_ready(&self) -> bool {
        let mut open = self.open.values();
        open.any(|open| matches!(open.stage, Stage::Ready(..)))
    }
}

impl App {
    /// Finds films, and gives their newest pictures to the encoders.
    pub(crate) fn tend_films(&mut self, now: Instant) {
        #[cfg(feature = "gpu")]
        self.videos.forget(self.surfaces.buffers.take_gone());
        #[cfg(feature = "gpu")]
        if self.videos.late_at().is_some_and(|at| at <= now) {
            self.give_up_hardware();
        }
        let Some(terminal) = &self.terminal else {
            return self.settle_loans(now);
        };
        let rate = terminal.carries(Duration::from_secs(1));
        let shows = |layer| {
            let mut outputs = terminal.told.outputs.values();
            outputs.any(|output| output.stack.iter().any(|placed| placed.layer == layer))
        };
        self.dirty.pixels |= self.flat.settle(&self.surfaces.buffers);
        for surface in self.surfaces.all_mut().chain(self.flat.all_mut()) {
            let content = &mut surface.content;
            let is_busy = content
                .playing()
                .is_some_and(|playing| !self.videos.is_free(playing.video));
            self.dirty.pixels |= content.look_for_films(is_busy, now);
            self.dirty.pixels |= surface.settle_loan(now);
            self.dirty.pixels |= surface.read_again_if_due(now);
            surface.let_go_if_due(now);
            if surface.newest.is_some() && shows(surface.content.layer()) {
                let size = surface.content.size();
                let mut screens = self.desk.screens().iter();
                let fills = screens.any(|screen| screen.size == size);
                self.videos.lend(surface, fills, &mut self.gpu, now);
            }
            let content = &mut surface.content;
            if let Some(rect) = content.found_film().filter(|_| !content.is_lent()) {
                let before = content.playing().map(|playing| playing.video);
                self.videos.take_up(content, rect, before, now);
            }
            let is_free = |playing: &Playing| self.videos.is_free(playing.video);
            if !content.playing().is_some_and(is_free) {
                continue;
            }
            if content.is_lent() {
                let hardware = (&self.gpu, &self.events);
                // A client may have come to show what is below.
                let film = surface.content.lent();
                let is_opaque = film.is_none_or(|film| surface.is_opaque(film));
                if !is_opaque || !self.videos.give(surface, rate, hardware, now) {
                    surface.content.end_video();
                    surface.settle_loan(now);
                    self.dirty.pixels = true;
                }
                if !is_opaque {
                    surface.direct.refuse(now);
                }
                continue;
            }
            let worker = &mut self.videos.worker;
            let worker = worker.get_or_insert_with(Worker::start);
            let mut picture = worker.spare();
            match content.take_picture(&mut picture, now) {
                Some(Playing { video, rect, .. }) => {
                    worker.send(Job::Picture {
                        promise: Promise::new(video, Coder::Processor, &self.events),
                        size: size_of(rect),
                        picture,
                        quality: quality(rect, rate),
                    });
                    if let Some(open) = self.videos.open.get_mut(&video) {
                        open.stage = Stage::Encoding { until: None };
                    }
                }
                None => {
                    worker.give_back(picture);
                    self.dirty.pixels |= content.playing().is_none();
                }
            }
        }
        self.dirty.pixels |= self.flat.settle(&self.surfaces.buffers);
    }

    fn settle_loans(&mut self, now: Instant) {
        for surface in self.surfaces.all_mut() {
            self.dirty.pixels |= surface.settle_loan(now);
            self.dirty.pixels |= surface.read_again_if_due(now);
        }
        // Of outputs too, also while nobody looks at them: a time that has passed is waited for by
        // nobody.
        let surfaces = self.surfaces.all_mut().chain(self.flat.all_mut());
        surfaces.for_each(|surface| surface.let_go_if_due(now));
    }

    /// When a film's next picture can be taken, or one that stands still is over, or a buffer is given
    /// back. Those whose picture is on its way are woken by it.
    pub(crate) fn film_deadline(&mut self, now: Instant) -> Option<Instant> {
        let is_shown = self.terminal.is_some();
        let due = |content: &Content| {
            let playing = content.playing().filter(|_| is_shown)?;
            match playing.changed {
                _ if !self.videos.is_free(playing.video) => None,
                true => Some(now),
                false => content.still_at(),
            }
        };
        let surfaces = self.surfaces.all_mut().chain(self.flat.all_mut());
        let dues = surfaces.flat_map(|surface| {
            let of_buffer = [surface.let_go_at(), surface.read_again_at()];
            of_buffer.into_iter().chain([due(&surface.content)])
        });
        dues.flatten().chain(self.videos.late_at()).min()
    }

    /// A picture was encoded.
    pub(crate) fn film_encoded(&mut self, done: Done) {
        #[cfg(feature = "gpu")]
        let client = self.videos.hardware.take_back(done.buffer);
        let is_wanted = !self.videos.are_none();
        let worker = self.videos.worker.as_mut().filter(|_| is_wanted);
        if let Some((picture, worker)) = done.picture.zip(worker) {
            worker.give_back(picture);
        }
        let (video, times) = (done.video, done.times);
        let failure = match done.unit {
            Ok(unit) if unit.len() <= MAX_VIDEO_UNIT => {
                self.counters.films.encoded(times);
                #[cfg(feature = "gpu")]
                if times.is_some() {
                    self.gpu.health().did_well(client.as_ref());
                }
                let coded = times.map(|times| times.coded);
                self.dirty.pixels |= self.videos.done(video, unit, coded);
                return;
            }
            Ok(unit) => {
                let why = format!("a picture of {} bytes", unit.len());
                match times {
                    Some(_) => Failure::Buffer(why),
                    None => Failure::Processor(why),
                }
            }
            Err(failure) => failure,
        };
        #[cfg(feature = "gpu")]
        if let Failure::Device(_) = failure {
            let is_here = |client: &ClientId| {
                let known = self.handle.backend_handle().get_client_data(client.clone());
                known.is_ok()
            };
            let health = self.gpu.health();
            health.failed(client.as_ref(), is_here, Instant::now());
        }
        self.give_up(video, &failure);
    }

    /// The terminal cannot go on with a film: its next picture builds on none before it.
    pub(crate) fn film_failed(&mut self, video: VideoId, now: Instant) {
        // One that has just ended was failed over already.
        let Some(open) = self.videos.open.get_mut(&video) else {
            return;
        };
        let since = |at| now.saturating_duration_since(at);
        let is_again = open.failed.is_some_and(|at| since(at) < FAILED_AGAIN);
        open.failed = Some(now);
        open.key = true;
        let layer = open.layer;
        if let Some(worker) = &self.videos.worker {
            worker.send(Job::End(video));
        }
        debug!(
            video = video.0,
            is_again, "the terminal's decoder has failed"
        );
        let surfaces = self.surfaces.all_mut().chain(self.flat.all_mut());
        let contents = surfaces.map(|surface| &mut surface.content);
        for content in contents.filter(|content| content.layer() == layer) {
            match is_again {
                true => {
                    content.end_video();
                    content.pass_over_film(now);
                }
                false => content.film_anew(),
            }
            self.dirty.pixels = true;
        }
    }

    /// The driver does not answer: the processor encodes what the hardware was to encode. Its thread may
    /// come back to say that it is done with its buffers; until then there is no other.
    #[cfg(feature = "gpu")]
    fn give_up_hardware(&mut self) {
        self.videos.hardware.let_go();
        let health = self.gpu.health();
        health.failed(None, |_| true, Instant::now());
        let open = self.videos.open.iter();
        let by_it = open.filter(|(_, open)| open.coder == Coder::Hardware);
        let by_it: Vec<VideoId> = by_it.map(|(video, _)| *video).collect();
        let why = format!("its driver has not answered for {LONGEST:?}");
        let failure = Failure::Device(why);
        by_it
            .iter()
            .for_each(|video| self.give_up(*video, &failure));
    }

    /// This film cannot be encoded so. What the hardware does not encode the processor may; its
    /// surface goes as ever from now on where that does not either.
    fn give_up(&mut self, video: VideoId, failure: &Failure) {
        let now = Instant::now();
        self.videos.expect_nothing_of(video);
        if let Failure::Device(_) = failure {
            self.counters.films.failed();
        }
        let is_it = |content: &Content| content.playing().is_some_and(|p| p.video == video);
        let mut over = Vec::new();
        let surfaces = self.surfaces.all_mut().chain(self.flat.all_mut());
        for surface in surfaces.filter(|s| is_it(&s.content)) {
            warn!("{failure}");
            self.dirty.pixels = true;
            if let Failure::Processor(_) = failure {
                surface.content.refuse_films();
                continue;
            }
            let film = surface.content.playing().map(|playing| playing.rect);
            let layer = surface.content.layer();
            over.extend(film.map(|film| (layer, film)));
            surface.content.end_video();
            surface.settle_loan(now);
        }
        self.flat.settle(&self.surfaces.buffers);
        let surfaces = self.surfaces.all_mut().chain(self.flat.all_mut());
        for surface in surfaces {
            let layer = surface.content.layer();
            let Some((_, film)) = over.iter().find(|(over, _)| *over == layer) else {
                continue;
            };
            if let Failure::Buffer(_) = failure {
                surface.direct.refuse(now);
            }
            let content = &mut surface.content;
            self.videos.take_up(content, *film, Some(video), now);
        }
    }
}

impl Videos {
    /// Opens a video for a film, in place of the one `before`, where there is room.
    fn take_up(
        &mut self,
        content: &mut Content,
        rect: Rect,
        before: Option<VideoId>,
        now: Instant,
    ) {
        if !self.has_room(rect, Coder::Processor, before) || !content.is_opaque(rect) {
            return content.pass_over_film(now);
        }
        let video = self.open(content.layer(), rect, Coder::Processor);
        debug!(?rect, layer = content.layer().0, "a film is shown");
        content.start_video(video, rect, now);
    }
}

/// What a film may cost on a link of so many bytes a second.
fn quality(rect: Rect, rate: Option<u64>) -> Quality {
    let fine = Quality::default();
    let pictures = u64::from(fine.pictures_per_second as u32);
    let enough = rect.area() as u64 * BITS_A_PIXEL * pictures / 1000;
    let share = rate.map_or(enough, |rate| rate.saturating_mul(8) / 100 * SHARE);
    Quality {
        bits_per_second: u32::try_from(share.clamp(FEWEST_BITS, enough.max(FEWEST_BITS)))
            .unwrap_or(u32::MAX),
        ..fine
    }
}

fn size_of(rect: Rect) -> Size {
    Size {
        w: rect.w,
        h: rect.h,
    }
}

fn wire_rect(rect: Rect) -> WireRect {
    WireRect {
        x: rect.x as i32,
        y: rect.y as i32,
        w: rect.w,
        h: rect.h,
    }
}
