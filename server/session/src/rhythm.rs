//! The rhythm of the terminal's screen: animations are aimed at its vertical retraces.
//!
//! ```text
//!              frames are shown where retraces are expected
//!   learning ────────────────────────────────────────────────► locked
//!      ▲ │        they are not any more, or none for long         │ │
//!      │ └ ◄──────────────────────────────────────────────────────┘ │ shown as soon as they come
//!      │                                                            ▼
//!   (the next attach)                                              free: nothing waits for a retrace
//! ```
//!
//! While it is locked, frames that do not answer input go out just in time for the next retrace,
//! and clients are asked to draw as late as they have lately needed to be in time for that. So a
//! picture waits for nothing, and each retrace has one.

use std::time::{Duration, Instant};

use crate::offset::Offset;

/// Frames that come where they are expected before that is relied on.
const SURE: u32 = 12;
/// No frame for so long, and the rhythm is learnt anew.
const STALE_US: u64 = 5_000_000;
/// What a terminal needs to decode and draw a frame before the retrace, at first.
const TERMINAL: Duration = Duration::from_millis(4);
/// It is given this much more when it was too late, and half as much less after many in time.
const STEP: Duration = Duration::from_millis(1);
const IN_TIME: u32 = 600;

/// When retraces come, and what has to happen before.
#[derive(Debug, Clone)]
pub struct Rhythm {
    state: State,
    /// A retrace, by the terminal's clock.
    at_us: f64,
    period_us: f64,
    /// Mean distances of retraces from where they were expected, without and with their signs.
    off_us: f64,
    bias_us: f64,
    /// What the terminal needs.
    terminal: Duration,
    /// Less was too little.
    least: Duration,
    in_time: u32,
    draw: Draw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Learning { frames: u32 },
    Locked,
    Free,
}

/// How long clients take from their callbacks to their commits.
#[derive(Debug, Clone, Default)]
struct Draw {
    asked: Option<Instant>,
    /// Longest since then, and the longest of late.
    longest: Duration,
    usual: Option<Duration>,
}

impl Rhythm {
    /// Of a screen with this time between two retraces.
    pub fn new(interval: Duration) -> Self {
        Self {
            state: State::Learning { frames: 0 },
            at_us: 0.0,
            period_us: interval.as_micros() as f64,
            off_us: 0.0,
            bias_us: 0.0,
            terminal: TERMINAL,
            least: STEP,
            in_time: 0,
            draw: Draw::default(),
        }
    }

    /// Whether frames are aimed.
    pub fn is_locked(&self) -> bool {
        self.state == State::Locked
    }

    /// A frame was scanned out at a time of the terminal's clock, and was to be at `aimed_us`.
    pub fn shown(&mut self, at_us: u64, aimed_us: Option<u64>, interval: Duration) {
        let at = at_us as f64;
        let since = at - self.at_us;
        if self.state == State::Free || (0.0..self.period_us / 2.0).contains(&since) {
            return;
        }
        if !(0.0..STALE_US as f64).contains(&since) {
            let (terminal, least) = (self.terminal, self.least);
            let draw = self.draw.clone();
            *self = Self::new(interval);
            (self.at_us, self.draw) = (at, draw);
            (self.terminal, self.least) = (terminal, least);
            return;
        }
        self.follow(at, (since / self.period_us).round().max(1.0), interval);
        if let (State::Locked, Some(aimed)) = (self.state, aimed_us) {
            self.judge(at - aimed as f64);
        }
    }

    /// Moves the expected retraces towards one that has come, `periods` after the last one.
    fn follow(&mut self, at: f64, periods: f64, interval: Duration) {
        let expected = self.at_us + periods * self.period_us;
        let error = at - expected;
        let nominal = interval.as_micros() as f64;
        self.at_us = expected + error / 4.0;
        self.period_us += error / periods / 32.0;
        self.period_us = self.period_us.clamp(nominal * 0.99, nominal * 1.01);
        self.off_us += (error.abs() - self.off_us) / 8.0;
        self.bias_us += (error - self.bias_us) / 16.0;
        let near = error.abs() < self.period_us / 10.0;
        self.state = match self.state {
            State::Learning { frames } if near && frames + 1 >= SURE => {
                (self.off_us, self.bias_us) = (0.0, 0.0);
                State::Locked
            }
            State::Learning { frames } => State::Learning {
                frames: if near { frames + 1 } else { 0 },
            },
            // A frame that was sent earlier was shown earlier: it waits for no retrace.
            State::Locked if self.bias_us < -self.period_us / 24.0 => State::Free,
            State::Locked if self.off_us > self.period_us / 6.0 => State::Learning { frames: 0 },
            state => state,
        };
    }

    /// Gives the terminal more time, or less, by how late an aimed frame was.
    fn judge(&mut self, late_us: f64) {
        if late_us > self.period_us / 2.0 {
            let most = Duration::from_micros(self.period_us as u64 / 2);
            self.least = (self.terminal + STEP / 2).min(most);
            (self.terminal, self.in_time) = ((self.terminal + STEP).min(most), 0);
        } else {
            self.in_time += 1;
            if self.in_time >= IN_TIME {
                let less = self.terminal.saturating_sub(STEP / 2);
                (self.terminal, self.in_time) = (less.max(self.least), 0);
            }
        }
    }

    /// The first time from `earliest` on at which a frame is just in time for a retrace, and that
    /// retrace by the terminal's clock; nothing while the rhythm is not known.
    pub fn frame_at(
        &self,
        offset: &Offset,
        one_way: Duration,
        earliest: Instant,
    ) -> Option<(Instant, u64)> {
        self.before_retrace(offset, one_way, earliest, Duration::ZERO)
    }

    /// The first time from `earliest` on at which clients had better begin to draw.
    pub fn draw_at(
        &self,
        offset: &Offset,
        one_way: Duration,
        earliest: Instant,
    ) -> Option<Instant> {
        let period = Duration::from_micros(self.period_us as u64);
        let usual = self.draw.usual.map_or(period, |usual| usual + 2 * STEP);
        let drawing = usual.min(period);
        let at = self.before_retrace(offset, one_way, earliest, drawing)?;
        Some(at.0)
    }

    fn before_retrace(
        &self,
        offset: &Offset,
        one_way: Duration,
        earliest: Instant,
        more: Duration,
    ) -> Option<(Instant, u64)> {
        if self.state != State::Locked {
            return None;
        }
        let lead = (one_way + self.terminal + more).as_micros() as f64;
        let theirs = offset.theirs(earliest, one_way)? as f64;
        if theirs - self.at_us > STALE_US as f64 {
            return None;
        }
        let periods = ((theirs + lead - self.at_us) / self.period_us).ceil();
        let retrace = self.at_us + periods * self.period_us;
        let wait = (retrace - lead - theirs).clamp(0.0, 2.0 * self.period_us);
        Some((
            earliest + Duration::from_micros(wait as u64),
            retrace as u64,
        ))
    }

    /// Clients were asked to draw.
    pub fn asked(&mut self, now: Instant) {
        let fading = self
            .draw
            .usual
            .map_or(Duration::ZERO, |usual| usual * 127 / 128);
        if self.draw.longest > Duration::ZERO {
            self.draw.usual = Some(self.draw.longest.max(fading));
        }
        (self.draw.asked, self.draw.longest) = (Some(now), Duration::ZERO);
    }

    /// A client has drawn.
    pub fn drawn(&mut self, now: Instant) {
        if let Some(asked) = self.draw.asked {
            // Who draws later than that was not asked.
            let most = Duration::from_micros(self.period_us as u64);
            let took = now.saturating_duration_since(asked).min(most);
            self.draw.longest = self.draw.longest.max(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const INTERVAL: Duration = Duration::from_nanos(16_683_350);

    /// What a person sees of an animation.
    #[derive(Debug)]
    struct Seen {
        /// From a client's commit to the retrace that shows it, in microseconds.
        mean_us: u64,
        late_us: u64,
        /// Retraces that showed the picture before once more, and pictures that were never shown.
        repeated: usize,
        dropped: usize,
        locked: bool,
    }

    /// A client that animates on a terminal of 59.94 Hz for half a minute; the second half is
    /// looked at. The terminal's clock is fast by 50 millionths.
    fn animate(aims: bool, has_retraces: bool, draw: Duration) -> Seen {
        let start = Instant::now();
        let tick = Duration::from_micros(100);
        let mut noise = 1u32;
        let mut random = move |most: Duration| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            most * (noise >> 16) / 0x1_0000
        };
        let told = |at: Instant| {
            let us = (at - start).as_micros() as u64;
            7_200_000_000 + us + us / 20_000
        };
        let (mut rhythm, mut offset) = (Rhythm::new(INTERVAL), Offset::new(start));
        let one_way = Duration::from_micros(500);
        let (mut callbacks_at, mut asked) = (start, true);
        let mut drawn_at: Option<Instant> = None;
        let mut dirty: Option<Instant> = None;
        let mut last: Option<Instant> = None;
        // Frames on their way: when they are ready, when they were committed, what they aim at.
        let mut ready: Vec<(Instant, Instant, Option<u64>)> = Vec::new();
        let mut acks: Vec<(Instant, u64, Option<u64>)> = Vec::new();
        let mut retrace = start + 5 * MS;
        let (mut took, mut repeated, mut dropped) = (Vec::new(), 0, 0);
        let mut now = start;
        while now < start + 30_000 * MS {
            now += tick;
            let watched = now > start + 15_000 * MS;
            acks.retain(|(at, shown_us, aimed)| {
                if *at <= now {
                    offset.hear(*shown_us, now);
                    if aims {
                        rhythm.shown(*shown_us, *aimed, INTERVAL);
                    }
                }
                *at > now
            });
            if drawn_at.is_some_and(|at| at <= now) {
                (drawn_at, dirty, asked) = (None, Some(now), true);
                rhythm.drawn(now);
            }
            let due = last.map_or(now, |last| {
                let aim = rhythm.frame_at(&offset, one_way, last + INTERVAL / 2);
                match (last + INTERVAL > now, aim) {
                    (true, Some((at, _))) => at,
                    (true, None) => last + INTERVAL,
                    (false, _) => now,
                }
            });
            if let Some(committed) = dirty.filter(|_| due <= now) {
                // The loop wakes a little late.
                let sent = now + random(MS / 5);
                let aim = rhythm.frame_at(&offset, one_way, sent.checked_sub(MS).unwrap());
                let aimed = aim.filter(|(at, _)| *at <= sent + MS).map(|aim| aim.1);
                let way = one_way + random(MS) + MS;
                ready.push((sent + way, committed, aimed));
                (dirty, last) = (None, Some(sent));
            }
            if asked && callbacks_at <= now {
                asked = false;
                rhythm.asked(now);
                drawn_at = Some(now + draw + random(2 * MS));
                let next = rhythm.draw_at(&offset, one_way, now + INTERVAL / 2);
                callbacks_at = next.unwrap_or(now + INTERVAL);
            }
            let at_retrace = now >= retrace;
            if at_retrace {
                retrace += INTERVAL;
            }
            if at_retrace || !has_retraces {
                let shown = ready.iter().filter(|frame| frame.0 <= now).count();
                if let Some((_, committed, aimed)) = ready.drain(..shown).next_back() {
                    acks.push((now + one_way + random(MS), told(now), aimed));
                    took.extend(watched.then(|| (now - committed).as_micros() as u64));
                }
                repeated += usize::from(watched && shown == 0 && at_retrace);
                dropped += if watched { shown.saturating_sub(1) } else { 0 };
            }
        }
        took.sort_unstable();
        Seen {
            mean_us: took.iter().sum::<u64>() / took.len() as u64,
            late_us: took[took.len() * 99 / 100],
            repeated,
            dropped,
            locked: rhythm.is_locked(),
        }
    }

    #[test]
    fn animation_that_is_aimed_at_the_retraces_is_smoother_and_sooner_on_the_screen() {
        let all = [MS, 4 * MS, 9 * MS].map(|draw| {
            let seen = (animate(false, true, draw), animate(true, true, draw));
            eprintln!("drawn in {draw:?}: free {:?}, aimed {:?}", seen.0, seen.1);
            seen
        });
        for (free, aimed) in all {
            assert!(aimed.locked);
            let uneven = |seen: &Seen| seen.repeated + seen.dropped;
            assert!(uneven(&aimed) < uneven(&free));
            assert!(aimed.mean_us < free.mean_us && aimed.late_us < free.late_us);
        }
    }

    #[test]
    fn screen_that_waits_for_no_retrace_is_found_out() {
        let (free, aimed) = (animate(false, false, 2 * MS), animate(true, false, 2 * MS));
        assert!(!aimed.locked, "{aimed:?}");
        assert!(
            aimed.mean_us <= free.mean_us + 500,
            "{aimed:?} for {free:?}"
        );
    }
}
