//! When a frame goes out: never more under way than the round trip needs, and at once on input.
//!
//! Frames are numbered, sent and acknowledged in order. Without a credit nothing is sent, and what
//! changes meanwhile accumulates as dirty tiles, of which only the newest pixels are sent later.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Frames under way on a link of no length.
const FEWEST: u32 = 3;
/// Frames under way at most.
const MOST: u32 = 32;
/// Time between pieces of what the way could not take at once.
const PIECE: Duration = Duration::from_millis(4);
/// Input this long ago no longer explains what changes now.
const INPUT_MEMORY: Duration = Duration::from_millis(120);
/// Whoever did something this long ago may well do something again.
const AT_WORK: Duration = Duration::from_secs(1);
/// One of so many frames that a terminal queues is for answers to input.
const FOR_ANSWERS: u32 = 8;

/// Frames under way.
#[derive(Debug)]
pub struct Pace {
    under_way: VecDeque<Sent>,
    next: u32,
    most: u32,
    last: Option<Instant>,
    /// When the last frame went that was an answer by itself.
    answered: Option<Instant>,
    input: Option<Instant>,
    /// The last frame was a piece, of which more is to come.
    piece: bool,
    /// The way was full when it was last asked.
    not_before: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    serial: u32,
    at: Instant,
}

/// When the next frame may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// Then.
    At(Instant),
    /// When a frame has been acknowledged.
    OnAck,
}

impl Pace {
    /// For a terminal that queues `most` frames.
    pub fn new(most: u32) -> Self {
        Self {
            under_way: VecDeque::new(),
            next: 1,
            most: most.clamp(1, MOST),
            last: None,
            answered: None,
            input: None,
            piece: false,
            not_before: None,
        }
    }

    /// Input has come.
    pub fn input(&mut self, now: Instant) {
        self.input = Some(now);
    }

    /// When a frame may go, on a link of this round trip and an output of this interval.
    pub fn due(&self, now: Instant, rtt: Duration, interval: Duration) -> Due {
        if let Some(then) = self.not_before.filter(|then| *then > now) {
            return Due::At(then);
        }
        let interval = interval.max(Duration::from_millis(1));
        let interval = if self.piece {
            interval.min(PIECE)
        } else {
            interval
        };
        let needed = (rtt.as_micros() / interval.as_micros()).min(u128::from(MOST)) as u32;
        let most = self.most - self.most / FOR_ANSWERS;
        if self.under_way.len() >= (FEWEST + needed).min(most) as usize {
            return Due::OnAck;
        }
        let answers_input = self.input.is_some_and(|input| {
            now.saturating_duration_since(input) < INPUT_MEMORY
                && self.last.is_none_or(|last| last < input)
        });
        match self.last.map(|last| last + interval) {
            Some(then) if then > now && !answers_input => Due::At(then),
            _ => Due::Now,
        }
    }

    /// Whether what changes now may be due to input.
    pub fn answers(&self, now: Instant) -> bool {
        let since = self.input.map(|input| now.saturating_duration_since(input));
        since.is_some_and(|since| since < INPUT_MEMORY)
    }

    /// When a frame may go that is nothing but an answer to input: whatever else waits or is under
    /// way does not hold it up. None where no input has come of late, or the terminal queues no more.
    pub fn answer_at(&self, now: Instant) -> Option<Instant> {
        let may = self.answers(now) && self.under_way.len() < self.most as usize;
        let next = self.answered.map_or(now, |answered| answered + PIECE);
        may.then_some(next.max(now))
    }

    /// Whether somebody is at work, so that the next answer is to find the way free.
    pub fn is_at_work(&self, now: Instant) -> bool {
        let since = self.input.map(|input| now.saturating_duration_since(input));
        since.is_some_and(|since| since < AT_WORK)
    }

    /// Takes the serial of a frame that is an answer by itself; when others go is not its matter.
    pub fn sent_answer(&mut self, now: Instant) -> u32 {
        let last = self.last;
        let serial = self.sent(now);
        (self.last, self.answered) = (last, Some(now));
        serial
    }

    /// Takes the serial of the frame that goes now.
    pub fn sent(&mut self, now: Instant) -> u32 {
        let serial = self.next;
        // 4 billion frames are two years at 60 Hz, longer than any attach.
        self.next = self.next.wrapping_add(1);
        self.last = Some(now);
        self.under_way.push_back(Sent { serial, at: now });
        serial
    }

    /// When the last frame went, where it is by the rate of the output alone that the next one
    /// waits.
    pub fn last_of_its_rate(&self, now: Instant) -> Option<Instant> {
        let full = self.not_before.is_some_and(|then| then > now);
        self.last.filter(|_| !self.piece && !full)
    }

    /// The serial that the next frame will have.
    pub fn next_serial(&self) -> u32 {
        self.next
    }

    /// Whether more is to come of what the last frame began.
    pub fn more_to_come(&mut self, more: bool) {
        self.piece = more;
    }

    /// The way is full: nothing could be sent.
    pub fn full(&mut self, now: Instant) {
        self.not_before = Some(now + PIECE);
    }

    /// A frame and all before it have been shown. Returns how long ago it was sent; nothing for a
    /// frame that is not under way.
    pub fn shown(&mut self, serial: u32, now: Instant) -> Option<Duration> {
        let at = self
            .under_way
            .iter()
            .position(|sent| sent.serial == serial)?;
        let sent = self.under_way.drain(..=at).next_back()?;
        Some(now.saturating_duration_since(sent.at))
    }

    /// The serial of the last frame that was sent; 0 where there was none.
    pub fn last_serial(&self) -> u32 {
        self.next.wrapping_sub(1)
    }

    /// Whether `serial` was sent at all.
    pub fn has_sent(&self, serial: u32) -> bool {
        (1..self.next).contains(&serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_micros(16_667);

    #[test]
    fn idle_session_answers_at_once() {
        let now = Instant::now();
        let mut pace = Pace::new(8);
        assert_eq!(pace.due(now, Duration::ZERO, FRAME), Due::Now);
        pace.sent(now);
        assert_eq!(pace.due(now + FRAME, Duration::ZERO, FRAME), Due::Now);
    }

    #[test]
    fn animations_go_at_the_rate_of_the_output_and_input_does_not_wait() {
        let now = Instant::now();
        let mut pace = Pace::new(8);
        pace.sent(now);
        let soon = now + Duration::from_millis(2);
        assert_eq!(pace.due(soon, Duration::ZERO, FRAME), Due::At(now + FRAME));
        pace.input(soon);
        assert_eq!(pace.due(soon, Duration::ZERO, FRAME), Due::Now);
        pace.sent(soon + Duration::from_millis(1));
        let later = soon + Duration::from_millis(2);
        assert!(matches!(pace.due(later, Duration::ZERO, FRAME), Due::At(_)));
    }

    #[test]
    fn without_a_credit_nothing_is_due_even_on_input() {
        let mut now = Instant::now();
        let mut pace = Pace::new(8);
        for _ in 0..FEWEST {
            pace.sent(now);
            now += FRAME;
        }
        pace.input(now);
        assert_eq!(pace.due(now, Duration::ZERO, FRAME), Due::OnAck);
        assert!(pace.shown(2, now).is_some());
        assert_eq!(pace.due(now, Duration::ZERO, FRAME), Due::Now);
    }

    #[test]
    fn long_links_carry_more_frames_but_no_more_than_the_terminal_queues() {
        let far = Duration::from_millis(50);
        for (most, carried) in [(8, 5), (4, 4)] {
            let mut now = Instant::now();
            let mut pace = Pace::new(most);
            while pace.due(now, far, FRAME) == Due::Now {
                pace.sent(now);
                now += FRAME;
            }
            assert_eq!(pace.under_way.len(), carried);
        }
    }

    #[test]
    fn pieces_follow_each_other_quickly_and_a_full_way_is_asked_again_soon() {
        let now = Instant::now();
        let mut pace = Pace::new(32);
        pace.sent(now);
        pace.more_to_come(true);
        assert_eq!(pace.due(now, Duration::ZERO, FRAME), Due::At(now + PIECE));
        let later = now + PIECE;
        assert_eq!(pace.due(later, Duration::ZERO, FRAME), Due::Now);
        pace.full(later);
        pace.input(later);
        assert_eq!(
            pace.due(later, Duration::ZERO, FRAME),
            Due::At(later + PIECE)
        );
        pace.more_to_come(false);
        pace.sent(later + PIECE);
        let then = later + PIECE + FRAME;
        assert_eq!(
            pace.due(later + PIECE, Duration::ZERO, FRAME),
            Due::At(then)
        );
    }

    #[test]
    fn answers_wait_for_neither_a_full_way_nor_the_rate_nor_pictures_that_are_under_way() {
        let now = Instant::now();
        let far = Duration::from_secs(1);
        let mut pace = Pace::new(16);
        assert_eq!(pace.answer_at(now), None, "nobody has done anything");
        pace.more_to_come(true);
        let mut then = now;
        while pace.due(then, far, FRAME) == Due::Now {
            pace.sent(then);
            then += PIECE;
        }
        assert_eq!(pace.under_way.len(), 14, "two are left for answers");
        pace.input(then);
        assert_eq!(pace.due(then, far, FRAME), Due::OnAck);
        assert_eq!(pace.answer_at(then), Some(then));
        pace.full(then);
        assert_eq!(pace.answer_at(then), Some(then));
        assert_eq!(pace.sent_answer(then), 15);
        assert_eq!(pace.answer_at(then), Some(then + PIECE));
        pace.sent_answer(then + PIECE);
        assert_eq!(pace.answer_at(then + PIECE * 2), None, "it queues no more");
        assert!(pace.is_at_work(then) && !pace.is_at_work(then + AT_WORK));
    }

    #[test]
    fn acknowledgement_of_a_frame_that_is_not_under_way_changes_nothing() {
        let now = Instant::now();
        let mut pace = Pace::new(8);
        let serial = pace.sent(now);
        assert_eq!(pace.shown(serial + 1, now), None);
        assert_eq!(pace.shown(serial, now + FRAME), Some(FRAME));
        assert_eq!(pace.shown(serial, now), None);
        assert!(pace.has_sent(serial) && !pace.has_sent(serial + 1) && !pace.has_sent(0));
    }
}
