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

mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_tiles::Rect;
use heliostat_video::{Quality, Size};
use heliostat_wire::id::{LayerId, VideoId};
use heliostat_wire::limits::MAX_VIDEO_UNIT;
use heliostat_wire::scene::{Rect as WireRect, SceneOp};
use heliostat_wire::session::Capabilities;
use tracing::{debug, warn};

use crate::app::App;
use crate::content::{Content, Playing};
use worker::{Job, Worker};

pub use worker::Done;

/// Videos at once: each takes a good part of a core.
const MOST: usize = 4;
/// Pixels of all their pictures: more than this takes the processor longer than a picture lasts.
const MOST_PIXELS: usize = 1920 * 1200;
/// The part of a link that films may use, in percent.
const SHARE: u64 = 60;
/// Bits that a pixel of a picture may have at most, in thousandths.
const BITS_A_PIXEL: u64 = 500;
/// A film that a terminal fails to decode twice within this goes as tiles for a while.
const FAILED_AGAIN: Duration = Duration::from_secs(1);
/// No film is worth looking at below.
const FEWEST_BITS: u64 = 150_000;

/// The films of a session.
#[derive(Debug, Default)]
pub struct Videos {
    last: u32,
    open: BTreeMap<VideoId, Open>,
    worker: Option<Worker>,
    most: usize,
    most_pixels: usize,
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
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The next picture can be taken.
    Free,
    /// A picture is being encoded.
    Encoding,
    /// An access unit waits for a frame, from this byte on.
    Ready(Vec<u8>, usize),
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
    /// Videos whose picture is whole with this frame.
    pub shown: Vec<VideoId>,
}

impl Videos {
    /// A terminal was attached, or parted from: no video is open.
    pub fn reset(&mut self, capabilities: Option<&Capabilities>) {
        self.open.clear();
        self.worker = None;
        let (most, pixels) = capabilities.map_or((0, 0), |capabilities| {
            (capabilities.max_videos, capabilities.max_video_pixels)
        });
        self.most = MOST.min(most as usize);
        self.most_pixels = MOST_PIXELS.min(pixels as usize);
    }

    fn has_room(&self, rect: Rect) -> bool {
        let size = size_of(rect);
        let used: usize = self.open.values().map(|open| open.rect.area()).sum();
        self.open.len() < self.most
            && used + rect.area() <= self.most_pixels
            && heliostat_video::is_possible(size)
    }

    fn open(&mut self, layer: LayerId, rect: Rect) -> VideoId {
        self.last += 1;
        let video = VideoId(self.last);
        let open = Open {
            layer,
            rect,
            told: false,
            failed: None,
            stage: Stage::Free,
        };
        self.open.insert(video, open);
        video
    }

    /// Whether no film is open.
    pub fn are_none(&self) -> bool {
        self.open.is_empty()
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

    /// An access unit is there. Returns false where its film is not open any more.
    fn done(&mut self, video: VideoId, unit: Vec<u8>) -> bool {
        let Some(open) = self.open.get_mut(&video) else {
            return false;
        };
        open.stage = match unit.is_empty() {
            true => Stage::Free,
            false => Stage::Ready(unit, 0),
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
                if open.told {
                    part.before.push(SceneOp::EndVideo { video: *video });
                }
            }
            stays
        });
        let mut room = usize::try_from(room).unwrap_or(usize::MAX);
        for (video, open) in &mut self.open {
            let Stage::Ready(unit, from) = &mut open.stage else {
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
                open.stage = Stage::Free;
                part.shown.push(*video);
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
    /// Finds films, and gives their newest pictures to the encoder.
    pub(crate) fn tend_films(&mut self, now: Instant) {
        let Some(terminal) = &self.terminal else {
            return;
        };
        let rate = terminal.carries(Duration::from_secs(1));
        let mut lost = None;
        for surface in self.surfaces.all_mut() {
            let content = &mut surface.content;
            let is_busy = content
                .playing()
                .is_some_and(|playing| !self.videos.is_free(playing.video));
            self.dirty.pixels |= content.look_for_films(is_busy, now);
            if let Some(rect) = content.found_film() {
                self.videos.take_up(content, rect, now);
            }
            let is_free = |playing: &Playing| self.videos.is_free(playing.video);
            if !content.playing().is_some_and(is_free) {
                continue;
            }
            let worker = &mut self.videos.worker;
            let worker = worker.get_or_insert_with(|| Worker::start(self.events.clone()));
            let mut pixels = worker.spare();
            match content.take_picture(&mut pixels, now) {
                Some(Playing { video, rect, .. }) => {
                    let sent = worker.send(Job::Picture {
                        video,
                        size: size_of(rect),
                        pixels,
                        quality: quality(rect, rate),
                    });
                    match self.videos.open.get_mut(&video).filter(|_| sent) {
                        Some(open) => open.stage = Stage::Encoding,
                        None => lost = Some(video),
                    }
                }
                None => {
                    worker.give_back(pixels);
                    self.dirty.pixels |= content.playing().is_none();
                }
            }
        }
        if let Some(video) = lost {
            self.videos.most = 0;
            self.give_up(video, "its thread is gone");
        }
    }

    /// When a film's next picture can be taken, or one that stands still is over. Those whose picture
    /// is on its way are woken by it.
    pub(crate) fn film_deadline(&mut self, now: Instant) -> Option<Instant> {
        self.terminal.as_ref()?;
        let contents = self.surfaces.all_mut().map(|surface| &surface.content);
        let due = |content: &Content| {
            let playing = content.playing()?;
            match playing.changed {
                _ if !self.videos.is_free(playing.video) => None,
                true => Some(now),
                false => content.still_at(),
            }
        };
        contents.filter_map(due).min()
    }

    /// A picture was encoded.
    pub(crate) fn film_encoded(&mut self, done: Done) {
        if let Some(worker) = &mut self.videos.worker {
            worker.give_back(done.pixels);
        }
        match done.unit {
            Ok(unit) if unit.len() <= MAX_VIDEO_UNIT => {
                self.dirty.pixels |= self.videos.done(done.video, unit);
            }
            Ok(unit) => self.give_up(done.video, &format!("a picture of {} bytes", unit.len())),
            Err(error) => self.give_up(done.video, &error),
        }
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
        let layer = open.layer;
        if let Some(worker) = &self.videos.worker {
            worker.send(Job::End(video));
        }
        debug!(
            video = video.0,
            is_again, "the terminal's decoder has failed"
        );
        let contents = self.surfaces.all_mut().map(|surface| &mut surface.content);
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

    /// This film cannot be encoded: its surface goes as ever from now on.
    fn give_up(&mut self, video: VideoId, why: &str) {
        let is_it = |content: &Content| content.playing().is_some_and(|p| p.video == video);
        for surface in self.surfaces.all_mut().filter(|s| is_it(&s.content)) {
            warn!("a film is not encoded: {why}");
            surface.content.refuse_films();
            self.dirty.pixels = true;
        }
    }
}

impl Videos {
    fn take_up(&mut self, content: &mut Content, rect: Rect, now: Instant) {
        // The one that it was before has its room.
        let before = content.playing().map(|playing| playing.video);
        let before = before.and_then(|video| Some((video, self.open.remove(&video)?)));
        let fits = self.has_room(rect);
        if let Some((video, open)) = before {
            self.open.insert(video, open);
        }
        if !fits || !content.is_opaque(rect) {
            return content.pass_over_film(now);
        }
        let video = self.open(content.layer(), rect);
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
