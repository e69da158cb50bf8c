//! The attached terminal: what it was told, what is under way, how it is doing.
//!
//! ```text
//!              LinkEvent::Attached                 a newer one, Bye, a fault, the broker
//!   detached ──────────────────────► attached ────────────────────────────────────────► detached
//! ```

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use heliostat_control::stats::LinkStats;
use heliostat_tiles::Encoder;
use heliostat_wire::bounded::List;
use heliostat_wire::clock::Clock;
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, LayerId, OutputId};
use heliostat_wire::limits::{MAX_LAYERS, MAX_SCENE_OPS};
use heliostat_wire::scene::{FrameHeader, SceneOp};
use heliostat_wire::session::{Capabilities, ToTerminal};

use crate::allowance::Allowance;
use crate::desk::Announced;
use crate::healing::Healing;
use crate::link::{Delivered, NewAttach, ToTerminalTask};
use crate::offset::Offset;
use crate::order::Order;
use crate::pace::{Due, Pace};
use crate::presentation::{Feedback, Retraces, supersede};
use crate::progress::{Layers, Lossless};
use crate::resume::Start;
use crate::rhythms::Rhythms;
use crate::scene::{Budget, Scene};
use crate::squeeze::{Frame, Sent, Squeeze};
use crate::stats::Percentiles;
use crate::way::Way;

/// Pixels of one frame: more wait for the next one.
pub const MAX_FRAME_PIXELS: usize = 10 << 20;
/// Placements at once, so that the operations of any frame fit.
const MAX_PLACED: usize = 512;
/// Input batches whose times are kept.
const MAX_BATCHES: usize = 64;
/// A frame that goes so near the time for a retrace is meant for it.
const NEAR: Duration = Duration::from_millis(1);
/// Bytes a second below which a link is slow: a frame takes longer to send than to compress well.
const SLOW: u64 = 2_000_000;
const SLOW_LEVEL: i32 = 3;
const FAST_LEVEL: i32 = 1;
/// Frames that the link has not delivered, of which a terminal that tells the truth cannot have seen so
/// many: it queues 32 at most, and what is lost on the way is sent again within a few round trips.
const MOST_UNDELIVERED: u64 = 128;
/// An answer to input that comes later is no answer to it.
const LATEST_ANSWER_US: u64 = 1_000_000;

/// An attached terminal.
#[derive(Debug)]
pub struct Attachment {
    /// The attach.
    pub id: AttachId,
    /// The terminal's name.
    pub terminal: String,
    /// It leaves its link to come by another one at once.
    pub changes: bool,
    /// What it has been told of.
    pub told: Scene,
    /// What its first frame makes it forget before anything else.
    forget: Option<SceneOp>,
    /// For how long it may keep what it holds when the attach is over.
    pub keep: Duration,
    /// When frames go out.
    pub pace: Pace,
    /// Serial of the last input batch.
    pub last_input: u32,
    /// Since when it holds the newest pixels.
    pub lossless: Lossless,
    /// The same of each layer that it shows.
    pub layers: Layers,
    /// Which those are, in their order, where that was last looked at; its memory is kept.
    pub shown: Vec<LayerId>,
    /// Vertical retraces of its outputs.
    pub retraces: Retraces,
    /// Its screens, where they have changed.
    pub announced: Announced,
    /// What it holds wrongly.
    pub healing: Healing,
    /// Of the times that the terminal tells.
    clock: Clock,
    offset: Offset,
    /// Of its screens.
    pub rhythms: Rhythms,
    /// Side of the largest cursor image.
    pub max_cursor_side: u32,
    capabilities: Capabilities,
    link: NewLink,
    allowance: Allowance,
    /// What answers must not overtake.
    pub order: Order,
    since: Instant,
    shown_any: bool,
    batches: VecDeque<(u32, u64)>,
    waiting: VecDeque<Waiting>,
    to_photon: Percentiles,
    to_photon_count: u64,
    to_photon_sum_us: u64,
}

#[derive(Debug)]
struct NewLink {
    sender: tokio::sync::mpsc::UnboundedSender<ToTerminalTask>,
    delivered: Arc<Delivered>,
    /// Messages so far.
    said: Cell<u64>,
    /// Frames so far.
    frames: u64,
    way: Way,
}

/// A frame that was sent and not shown.
#[derive(Debug)]
struct Waiting {
    serial: u32,
    /// Tiles that it brings up to date.
    tiles: u64,
    /// Kernel time of the input it answers, in the terminal's clock.
    input_us: Option<u64>,
    sent: Instant,
    /// The retrace that it is to be in time for, in the terminal's clock.
    aimed_us: Option<u64>,
    feedback: Vec<Feedback>,
}

/// What a frame has beside tiles.
#[derive(Debug, Default)]
pub struct Outgoing<'a> {
    /// It may go ahead of all frames but these; in its turn where absent.
    pub after: Option<&'a [u32]>,
    /// Its operations.
    pub ops: Vec<SceneOp>,
    /// Access units that they name.
    pub units: Vec<u8>,
    /// Who wants to know when it is shown.
    pub feedback: Vec<Feedback>,
    /// When the first of what it brings was committed, where that is all that there was to send.
    pub since: Option<Instant>,
}

/// What an acknowledgement brought.
#[derive(Debug)]
pub struct Shown {
    /// How many frames it acknowledges.
    pub frames: u64,
    /// The first one of this attach came this long after its start.
    pub first_after: Option<Duration>,
    /// When it was scanned out, by our clock.
    pub at: Instant,
    /// Who wants to know.
    pub feedback: Vec<Feedback>,
}

impl Attachment {
    /// Of a terminal that was let in.
    pub fn new(attach: NewAttach, start: Start, now: Instant) -> Self {
        Self {
            id: attach.id,
            terminal: attach.terminal,
            changes: false,
            told: start.told,
            forget: start.forget,
            keep: attach.keep,
            pace: Pace::new(attach.capabilities.max_frames_in_flight),
            last_input: 0,
            lossless: Lossless::default(),
            layers: Layers::default(),
            shown: Vec::new(),
            retraces: Retraces::default(),
            announced: Announced::new(now),
            healing: Healing::new(now),
            clock: Clock::default(),
            offset: Offset::new(now),
            rhythms: Rhythms::default(),
            max_cursor_side: attach.capabilities.max_cursor_side,
            capabilities: attach.capabilities,
            link: NewLink {
                sender: attach.sender,
                delivered: attach.delivered,
                said: Cell::new(0),
                frames: 0,
                way: attach.connection.into(),
            },
            allowance: Allowance::default(),
            order: Order::default(),
            since: now,
            shown_any: false,
            batches: VecDeque::new(),
            waiting: VecDeque::new(),
            to_photon: Percentiles::default(),
            to_photon_count: 0,
            to_photon_sum_us: 0,
        }
    }

    /// What it can hold.
    pub fn budget(&self) -> Budget {
        let layers = self.capabilities.max_layers as usize;
        Budget {
            layers: layers.min(MAX_PLACED).min(MAX_LAYERS),
            bytes: self.capabilities.max_layer_bytes,
        }
    }

    /// From now on the way is taken to be like this.
    #[cfg(test)]
    pub fn say_of_way(&mut self, path: heliostat_link::Path) {
        self.link.way = Way::Said(path);
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What it is to forget first, once.
    pub fn take_forget(&mut self) -> Option<SceneOp> {
        self.forget.take()
    }

    /// Whether it has to forget something before anything else.
    pub fn has_to_forget(&self) -> bool {
        self.forget.is_some()
    }

    /// Sends a message.
    pub fn say(&self, message: ToTerminal) {
        self.link.said.set(self.link.said.get() + 1);
        // Where the link is gone, its end is on its way.
        let _ = self.link.sender.send(ToTerminalTask::Message(message));
    }

    /// Whether the link has taken every message.
    pub fn has_said_all(&self) -> bool {
        self.link.delivered.messages.load(Ordering::Relaxed) >= self.link.said.get()
    }

    /// Whether so many frames have not been delivered that the terminal must have acknowledged some
    /// that it does not have.
    fn is_behind_its_word(&self) -> bool {
        let delivered = self.link.delivered.frames.load(Ordering::Relaxed);
        self.link.frames.saturating_sub(delivered) >= MOST_UNDELIVERED
    }

    /// Says goodbye.
    pub fn bye(&self, reason: DetachReason) {
        let _ = self.link.sender.send(ToTerminalTask::Bye(reason));
    }

    /// When the next frame may go.
    pub fn due(&self, now: Instant, interval: Duration) -> Due {
        if self.is_behind_its_word() {
            return Due::OnAck;
        }
        let due = self.pace.due(now, self.rtt(), interval);
        let last = match due {
            Due::At(_) => self.pace.last_of_its_rate(now),
            Due::Now | Due::OnAck => None,
        };
        let aim = last.and_then(|last| self.aim(last + interval / 2));
        match aim.map(|(at, _)| at) {
            Some(at) if at <= now => Due::Now,
            Some(at) => Due::At(at),
            None => due,
        }
    }

    /// When a frame with nothing but an answer to input may go.
    pub fn answer_at(&self, now: Instant) -> Option<Instant> {
        let at = self.pace.answer_at(now);
        at.filter(|_| !self.is_behind_its_word())
    }

    /// When a frame from `earliest` on would be just in time for a retrace, and for which.
    fn aim(&self, earliest: Instant) -> Option<(Instant, u64)> {
        match self.rhythms.is_locked() {
            true => self
                .rhythms
                .frame_at(&self.offset, self.one_way(), earliest),
            false => None,
        }
    }

    /// Clients are asked to draw. When they are next, if that follows the terminal's retraces.
    pub fn asked(&mut self, now: Instant, interval: Duration) -> Option<Instant> {
        self.rhythms.asked(now);
        match self.rhythms.is_locked() {
            true => {
                let one_way = self.one_way();
                self.rhythms
                    .draw_at(&self.offset, one_way, now + interval / 2)
            }
            false => None,
        }
    }

    /// Bytes that a frame may have now; nothing where the way is full.
    pub fn allowance(&mut self, now: Instant) -> Option<u64> {
        let delivered = self.link.delivered.bytes.load(Ordering::Relaxed);
        self.allowance.leave_room(self.pace.is_at_work(now));
        match self.link.way.path() {
            Some(path) => self.allowance.bytes(&path, delivered, now),
            None => Some(u64::MAX),
        }
    }

    /// There was more to send than the allowance.
    pub fn more_to_come(&mut self) {
        self.allowance.fell_short();
    }

    fn rtt(&self) -> Duration {
        self.link.way.rtt()
    }

    /// Bytes a second that the link carries, where that is known.
    pub fn rate(&self) -> Option<u64> {
        self.link.way.path()?.rate
    }

    /// Bytes that the link carries in a time, by what is known of it.
    pub fn carries(&self, time: Duration) -> Option<u64> {
        let path = self.link.way.path()?;
        Some((self.allowance.rate(&path) * time.as_secs_f64()) as u64)
    }

    /// Half of the shortest round trip.
    fn one_way(&self) -> Duration {
        let shortest = self.link.way.path().and_then(|path| path.min_rtt);
        shortest.unwrap_or_else(|| self.rtt()) / 2
    }

    /// A frame that was compressed elsewhere had other bytes than expected.
    pub fn correct(&mut self, expected: u64, bytes: u64) {
        self.allowance.correct(expected, bytes);
    }

    /// The zstd level that is worth its time on this link.
    pub fn level(&self) -> i32 {
        match self.rate() {
            Some(rate) if rate < SLOW => SLOW_LEVEL,
            _ => FAST_LEVEL,
        }
    }

    /// Sends a frame of `out` and what `encoder` holds.
    pub fn send_frame(
        &mut self,
        now: Instant,
        out: Outgoing<'_>,
        (encoder, squeeze): (&mut Encoder, &Squeeze),
    ) -> Sent {
        let Outgoing {
            after,
            mut ops,
            units,
            feedback,
            since,
        } = out;
        debug_assert!(ops.len() <= MAX_SCENE_OPS, "{} operations", ops.len());
        ops.truncate(MAX_SCENE_OPS);
        let ops_bytes = ops.len() * 8;
        let serial = match after {
            None => self.pace.sent(now),
            Some(_) => self.pace.sent_answer(now),
        };
        self.order.sent(serial, &ops);
        let overtakes = after.map_or(0, |after| self.overtakes(serial, after));
        let header = FrameHeader {
            serial,
            last_input: self.last_input,
            overtakes,
            ops: List::truncated(ops),
        };
        let known = |batch: &&(u32, u64)| batch.0 == self.last_input;
        let input_us = self.batches.iter().find(known).map(|batch| batch.1);
        self.batches.clear();
        let aim = now.checked_sub(NEAR).and_then(|before| self.aim(before));
        let aimed_us = aim.filter(|(at, _)| *at <= now + NEAR).map(|aim| aim.1);
        self.waiting.push_back(Waiting {
            serial: header.serial,
            tiles: 0,
            input_us,
            sent: now,
            aimed_us,
            feedback,
        });
        let frame = Frame {
            attach: self.id,
            header,
            units,
            since,
            to: self.link.sender.clone(),
        };
        let sent = squeeze.send(frame, encoder);
        self.link.frames += 1;
        self.allowance.sent(sent.bytes as u64);
        Sent {
            bytes: sent.bytes + ops_bytes,
            ..sent
        }
    }

    /// Which frames under way the frame `serial` may overtake, that has to come after some.
    fn overtakes(&self, serial: u32, after: &[u32]) -> u32 {
        let bit = |other: u32| {
            let between = serial.wrapping_sub(other).wrapping_sub(1);
            1u32.checked_shl(between).unwrap_or(0)
        };
        let under_way = self.waiting.iter().map(|frame| bit(frame.serial));
        let kept = after.iter().fold(0, |bits, other| bits | bit(*other));
        under_way.fold(0, |bits, frame| bits | frame) & !kept
    }

    /// A batch of input has come. Returns when it was made, in microseconds of the terminal's clock.
    pub fn input(&mut self, after_us: i64, now: Instant) -> u64 {
        let time_us = self.clock.hear(after_us);
        self.offset.hear(time_us, now);
        self.last_input = self.last_input.wrapping_add(1);
        self.pace.input(now);
        if self.batches.len() == MAX_BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back((self.last_input, time_us));
        time_us
    }

    /// A frame was shown, at a retrace of `screen`, which has an interval. Nothing where it was never
    /// sent.
    pub fn shown(
        &mut self,
        serial: u32,
        after_us: i64,
        now: Instant,
        screen: Option<(OutputId, Duration)>,
    ) -> Option<Shown> {
        let at_us = self.clock.hear(after_us);
        if !self.pace.has_sent(serial) {
            return None;
        }
        self.offset.hear(at_us, now);
        self.pace.shown(serial, now);
        let (mut sent, mut aimed_us) = (now, None);
        let mut feedback = Vec::new();
        let waiting = self.waiting.len();
        while let Some(frame) = self
            .waiting
            .front()
            .is_some_and(|frame| frame.serial <= serial)
            .then(|| self.waiting.pop_front())
            .flatten()
        {
            sent = frame.sent;
            aimed_us = frame.aimed_us;
            supersede(&mut feedback, frame.feedback);
            let took = frame.input_us.and_then(|input| at_us.checked_sub(input));
            if let Some(took) = took.filter(|took| *took < LATEST_ANSWER_US) {
                self.to_photon.add(took as u32);
                self.to_photon_count += 1;
                self.to_photon_sum_us += took;
            }
        }
        let screen = screen.filter(|_| self.waiting.len() < waiting);
        if let Some((output, interval)) = screen {
            self.rhythms.shown(output, at_us, aimed_us, interval);
        }
        let first = !std::mem::replace(&mut self.shown_any, true);
        let first_after = first.then(|| now.saturating_duration_since(self.since));
        Some(Shown {
            frames: (waiting - self.waiting.len()) as u64,
            first_after,
            at: self.offset.local(at_us, self.one_way(), (sent, now)),
            feedback,
        })
    }

    /// What is already under way, or was shown, is the answer to these as well. They come back
    /// where nothing is under way.
    pub fn also_wants(&mut self, feedback: Vec<Feedback>) -> Vec<Feedback> {
        match self.waiting.back_mut() {
            Some(frame) => {
                supersede(&mut frame.feedback, feedback);
                Vec::new()
            }
            None => feedback,
        }
    }

    /// Notes how many tiles the last frame that was sent brings up to date.
    pub fn note_tiles(&mut self, tiles: u64) {
        if let Some(frame) = self.waiting.back_mut() {
            frame.tiles = tiles;
        }
    }

    /// Frames that were sent and not shown, and their tiles.
    pub fn in_flight(&self) -> (u32, u64) {
        let tiles = self.waiting.iter().map(|frame| frame.tiles).sum();
        (self.waiting.len() as u32, tiles)
    }

    /// Serial of the last frame that it has shown, with all frames before it.
    pub fn shown_up_to(&self) -> u32 {
        let next = self.waiting.front().map(|frame| frame.serial);
        next.unwrap_or_else(|| self.pace.next_serial())
            .wrapping_sub(1)
    }

    /// Whether it has shown everything that it was sent, and was sent anything.
    pub fn is_acknowledged(&self) -> bool {
        self.shown_any && self.waiting.is_empty()
    }

    /// How the link is doing, but for how far it is behind, and each layer.
    pub fn stats(&self) -> LinkStats {
        let link = self.link.way.stats();
        LinkStats {
            carrier: link.carrier.as_str().to_owned(),
            attach_id: Some(self.id),
            rtt_us: link.rtt.as_micros() as u32,
            sent_bytes: link.sent_bytes,
            sent_datagrams: link.sent_datagrams,
            received_bytes: link.received_bytes,
            received_datagrams: link.received_datagrams,
            lost_packets: link.lost_packets,
            congestion_window_bytes: link.congestion_window,
            input_to_photon_p50_us: self.to_photon.at(50),
            input_to_photon_p99_us: self.to_photon.at(99),
            input_to_photon_count: self.to_photon_count,
            input_to_photon_sum_us: self.to_photon_sum_us,
            behind: None,
            layers: None,
        }
    }
}
