//! Which surfaces' buffers are read, and which go to the encoder as they are.
//!
//! ```text
//!            pictures over all of it come often enough, or a film is found that covers it
//!   Reading ─────────────────────────────────────────────────────────────────────────► Lending
//!     ▲  ▲                         the film is over                                       │
//!     │  └────────────────────────────────────────────────────────────────────────────────┤
//!     │ a while later                        the encoder does not take its buffers        │
//!   Refused ◄─────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! `Reading`: what is damaged is read when it is committed, and the buffer given back. `Lending`: the
//! newest buffer is kept, the encoder reads it, and nobody else does, until the film is over: then it
//! is read once, so that exact pixels can follow. Only times and damage are looked at here.

use std::time::{Duration, Instant};

/// Commits that change all of a surface, and are remembered.
const KEPT: usize = 12;
/// What counts as all of it, in percent.
const ALL: u64 = 70;
/// From a client that says what it shows, so many pictures within this make a film.
const SAID: (usize, Duration) = (3, Duration::from_millis(500));
/// And so many from one that fills a screen.
const SCREEN: (usize, Duration) = (KEPT, Duration::from_secs(1));
/// A buffer is kept for so long for a film that may begin with it.
pub const PROMISING: Duration = Duration::from_millis(500);
/// One may where so many have come within that.
const FEW: usize = 2;
/// How long buffers that were not taken are not tried again.
const REFUSED: Duration = Duration::from_secs(60);

/// How much a surface looks like a film without a look at its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// The client says so, or draws luma and chroma as films are.
    Film,
    /// It fills a screen, and nothing shines through it.
    Screen,
    /// Anything.
    Nothing,
}

/// When commits over all of a surface came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    last: [Option<Instant>; KEPT],
    next: usize,
}

impl Times {
    fn note(&mut self, now: Instant) {
        self.last[self.next] = Some(now);
        self.next = (self.next + 1) % KEPT;
    }

    /// Whether so many have come within a time up to `now`.
    fn are(&self, (count, within): (usize, Duration), now: Instant) -> bool {
        let is_new = |at: &&Instant| now.saturating_duration_since(**at) <= within;
        self.last.iter().flatten().filter(is_new).count() >= count
    }
}

/// What is done with a surface's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    /// They are read.
    Reading(Times),
    /// They go to the encoder.
    Lending,
    /// They are read, whatever comes.
    Refused {
        /// For how long.
        until: Instant,
    },
}

impl Default for Direct {
    fn default() -> Self {
        Self::Reading(Times::default())
    }
}

impl Direct {
    /// A picture was committed of which so many pixels of so many are new.
    pub fn committed(&mut self, (new, all): (u64, u64), now: Instant) {
        if let Self::Refused { until } = *self
            && until <= now
        {
            *self = Self::default();
        }
        if let Self::Reading(times) = self
            && new * 100 >= all * ALL
        {
            times.note(now);
        }
    }

    /// Whether the newest buffer is kept beside what was read of it.
    pub fn is_promising(&self, now: Instant) -> bool {
        matches!(self, Self::Reading(times) if times.are((FEW, PROMISING), now))
    }

    /// Whether it is a film by what its client does.
    pub fn is_film(&self, looks: Looks, now: Instant) -> bool {
        let wanted = match looks {
            Looks::Film => SAID,
            Looks::Screen => SCREEN,
            Looks::Nothing => return false,
        };
        matches!(self, Self::Reading(times) if times.are(wanted, now))
    }

    /// Whether it may become one.
    pub fn may_lend(&self) -> bool {
        matches!(self, Self::Reading(_))
    }

    /// Whether buffers go to the encoder.
    pub fn is_lending(&self) -> bool {
        matches!(self, Self::Lending)
    }

    /// The film begins.
    pub fn lend(&mut self) {
        *self = Self::Lending;
    }

    /// The film is over.
    pub fn end(&mut self) {
        if self.is_lending() {
            *self = Self::default();
        }
    }

    /// The encoder does not take this surface's buffers.
    pub fn refuse(&mut self, now: Instant) {
        *self = Self::Refused {
            until: now + REFUSED,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_OF_IT: (u64, u64) = (100, 100);

    /// Commits so many pictures a second, for a time; says after how many each is a film.
    fn play(damage: (u64, u64), rate: u32) -> [Option<u32>; 4] {
        let (mut direct, start) = (Direct::default(), Instant::now());
        let mut first = [None; 4];
        for n in 1..=rate * 2 {
            let now = start + Duration::from_secs(1) / rate * n;
            direct.committed(damage, now);
            let seen = [
                direct.is_promising(now),
                direct.is_film(Looks::Film, now),
                direct.is_film(Looks::Screen, now),
                direct.is_film(Looks::Nothing, now),
            ];
            for (first, seen) in first.iter_mut().zip(seen) {
                *first = first.or(seen.then_some(n));
            }
        }
        first
    }

    #[test]
    fn films_are_seen_by_their_pictures_and_sooner_where_the_client_says_so() {
        for rate in [24, 30, 60] {
            assert_eq!(play(ALL_OF_IT, rate), [Some(2), Some(3), Some(12), None]);
        }
        assert_eq!(play(ALL_OF_IT, 8), [Some(2), Some(3), None, None]);
        assert_eq!(play(ALL_OF_IT, 1), [None; 4]);
        assert_eq!(play((60, 100), 60), [None; 4]);
    }

    #[test]
    fn film_that_is_over_has_to_begin_anew() {
        let (mut direct, now) = (Direct::default(), Instant::now());
        (0..3).for_each(|_| direct.committed(ALL_OF_IT, now));
        assert!(direct.is_film(Looks::Film, now));
        direct.lend();
        assert!(direct.is_lending() && !direct.may_lend());
        direct.committed(ALL_OF_IT, now);
        direct.end();
        assert!(direct.may_lend() && !direct.is_film(Looks::Film, now));
    }

    #[test]
    fn what_was_refused_is_tried_again_later() {
        let (mut direct, mut now) = (Direct::default(), Instant::now());
        direct.lend();
        direct.refuse(now);
        direct.end();
        for _ in 0..59 {
            now += Duration::from_secs(1);
            direct.committed(ALL_OF_IT, now);
            assert!(!direct.may_lend() && !direct.is_promising(now));
        }
        now += Duration::from_secs(1);
        (0..3).for_each(|_| direct.committed(ALL_OF_IT, now));
        assert!(direct.is_film(Looks::Film, now));
    }
}
