//! Which surfaces' buffers are read, and which go to the encoder as they are.
//!
//! ```text
//!            pictures over all of it come often enough, or a film is found in it
//!   Reading ─────────────────────────────────────────────────────────────────────────► Lending
//!     ▲  ▲                         the film is over                                       │
//!     │  └────────────────────────────────────────────────────────────────────────────────┤
//!     │ a while later                        the encoder does not take its buffers        │
//!   Refused ◄─────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! `Reading`: what is damaged is read when it is committed, and the buffer given back. `Lending`: the
//! newest buffer is kept, the encoder reads the film in it, and nobody else does, until the film is
//! over: then that part is read once, so that exact pixels can follow. What is damaged beside the film
//! is read as ever. `Composed`: nobody reads anything; who composes takes the newest buffer as it is.
//! Only times and damage are looked at here.

use std::time::{Duration, Instant};

/// Commits that are remembered.
const KEPT: usize = 12;
/// What counts as all of it, in percent.
const ALL: u64 = 70;
/// Pixels of the smallest film that is looked for; whoever damages fewer shows none.
const SOME: u64 = 96 * 64;
/// From a client that says what it shows, so many pictures within this make a film.
const SAID: (usize, Duration) = (3, Duration::from_millis(500));
/// One is enough of luma and chroma: nothing but films is drawn so.
const PLANES: (usize, Duration) = (1, Duration::from_millis(500));
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
    /// It is drawn in planes of luma and chroma.
    Planes,
    /// The client says so.
    Film,
    /// It fills a screen, and nothing shines through it.
    Screen,
    /// Anything.
    Nothing,
}

/// When commits of a kind came.
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
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a surface, and most of them are read"
)]
pub enum Direct {
    /// They are read.
    Reading {
        /// When commits came that damage all of the surface.
        all: Times,
        /// Those that have changed all of it: many a program damages its whole window for a line of
        /// text, or scrolls it.
        changed: Times,
        /// And those that damage so much of it that it might be a film.
        some: Times,
    },
    /// They go to the encoder.
    Lending,
    /// A flat output is composed from them.
    Composed,
    /// They are read, whatever comes.
    Refused {
        /// For how long.
        until: Instant,
    },
}

impl Default for Direct {
    fn default() -> Self {
        let (all, changed, some) = Default::default();
        Self::Reading { all, changed, some }
    }
}

impl Direct {
    /// A picture was committed of which so many pixels of so many are damaged; `changed` of them are
    /// others than before and have not only moved, where that was looked at.
    pub fn committed(&mut self, (damaged, changed, of): (u64, u64, u64), now: Instant) {
        if let Self::Refused { until } = *self
            && until <= now
        {
            *self = Self::default();
        }
        let is_all = |pixels: u64| pixels * 100 >= of * ALL;
        let is_changed = is_all(changed);
        if let Self::Reading { all, changed, some } = self {
            if is_all(damaged) {
                all.note(now);
            }
            if is_changed {
                changed.note(now);
            }
            if is_all(damaged) || damaged >= SOME {
                some.note(now);
            }
        }
    }

    /// Whether the newest buffer is kept beside what was read of it.
    pub fn is_promising(&self, now: Instant) -> bool {
        matches!(self, Self::Reading { some, .. } if some.are((FEW, PROMISING), now))
    }

    /// Whether it is a film by what its client does.
    pub fn is_film(&self, looks: Looks, now: Instant) -> bool {
        let Self::Reading { all, changed, .. } = self else {
            return false;
        };
        match looks {
            Looks::Planes => all.are(PLANES, now),
            Looks::Film => all.are(SAID, now),
            Looks::Screen => changed.are(SCREEN, now),
            Looks::Nothing => false,
        }
    }

    /// Whether it may become one.
    pub fn may_lend(&self) -> bool {
        matches!(self, Self::Reading { .. })
    }

    /// Whether buffers go to the encoder.
    pub fn is_lending(&self) -> bool {
        matches!(self, Self::Lending)
    }

    /// The film begins.
    pub fn lend(&mut self) {
        *self = Self::Lending;
    }

    /// Whether a flat output is composed from the buffers, and nobody reads them.
    pub fn is_composed(&self) -> bool {
        matches!(self, Self::Composed)
    }

    /// A flat output is composed from the buffers from now on.
    pub fn compose(&mut self) {
        *self = Self::Composed;
    }

    /// The film is over, or no output is composed from the buffers any more.
    pub fn end(&mut self) {
        if self.is_lending() || self.is_composed() {
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

    const ALL_OF_IT: (u64, u64, u64) = (100, 100, 100);

    /// Commits so many pictures a second, for a time; says after how many each is promising, a film by
    /// its planes, by its client's word, by filling a screen, or by nothing.
    fn play(picture: (u64, u64, u64), rate: u32) -> [Option<u32>; 5] {
        let (mut direct, start) = (Direct::default(), Instant::now());
        let mut first = [None; 5];
        for n in 1..=rate * 2 {
            let now = start + Duration::from_secs(1) / rate * n;
            direct.committed(picture, now);
            let seen = [
                direct.is_promising(now),
                direct.is_film(Looks::Planes, now),
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
        let (one, two, three) = (Some(1), Some(2), Some(3));
        for rate in [24, 30, 60] {
            assert_eq!(play(ALL_OF_IT, rate), [two, one, three, Some(12), None]);
        }
        assert_eq!(play(ALL_OF_IT, 8), [two, one, three, None, None]);
        assert_eq!(play(ALL_OF_IT, 1), [None, one, None, None, None]);
        assert_eq!(play((60, 60, 100), 60), [None; 5]);
        let part = (SOME, SOME, SOME * 10);
        assert_eq!(play(part, 60), [two, None, None, None, None]);
    }

    #[test]
    fn screen_that_is_damaged_as_a_whole_for_a_line_of_text_is_no_film() {
        assert_eq!(play((100, 3, 100), 60)[3], None);
        assert_eq!(play((100, 90, 100), 60)[3], Some(12));
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
