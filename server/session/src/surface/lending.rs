//! Surfaces whose buffers are DMA-BUFs: read when they are committed, or kept for the encoder.

use std::time::{Duration, Instant};

use heliostat_tiles::Rect as TileRect;
use heliostat_wire::scene::Rect as WireRect;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;

use super::{Attached, Refused, Surface, Surfaces, area, size_of, whole};
use crate::content::{Content, Hint};
use crate::direct::{Looks, PROMISING};
use crate::gpu::Loan;

/// The newest buffer of a surface, as long as it is kept.
#[derive(Debug)]
pub struct Newest {
    /// The buffer.
    pub loan: Loan,
    /// The part whose pixels are not in the surface's content.
    pub unread: Option<TileRect>,
    /// When it was committed.
    pub at: Instant,
    /// When it is read again, which it could not be.
    pub again: Option<Again>,
}

/// The times at which a buffer is read again that could not be, each after twice as long: there may be a
/// device again that reads it, or nobody who draws into it. After the last of them, 102 seconds later, it
/// is given back: longer than a device that was reset rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    at: Instant,
    tries: u32,
}

/// How long after the first time it is read again.
const AGAIN: Duration = Duration::from_millis(50);
/// And how often.
const TRIES: u32 = 11;

impl Again {
    /// It could not be read, be it for the first time. Nothing when it was tried often enough.
    fn after(before: Option<Self>, now: Instant) -> Option<Self> {
        let tries = before.map_or(0, |before| before.tries);
        (tries < TRIES).then(|| Self {
            at: now + AGAIN * 2u32.pow(tries),
            tries: tries + 1,
        })
    }
}

impl Surfaces {
    /// Takes a commit with a DMA-BUF. Returns whether the surface has another size or kind now.
    pub(super) fn take_loan(
        &mut self,
        surface: &WlSurface,
        loan: Loan,
        attached: &Attached,
        now: Instant,
    ) -> Result<bool, Refused> {
        let mut damage = std::mem::take(&mut self.room);
        let taken = self.take_damaged(surface, loan, (attached, &mut damage), now);
        self.room = damage;
        taken
    }

    fn take_damaged(
        &mut self,
        surface: &WlSurface,
        loan: Loan,
        (attached, damage): (&Attached, &mut Vec<TileRect>),
        now: Instant,
    ) -> Result<bool, Refused> {
        let (w, h) = loan.sides();
        let size = size_of(w, h).ok_or(Refused::TooLarge(w, h))?;
        let (known, reshaped) = self.shaped(surface, size, loan.alpha())?;
        let lent = known.content.lent().filter(|_| known.direct.is_lending());
        // What of a film is unread is read when it is over.
        let all = reshaped || known.is_stale || known.is_behind() && lent.is_none();
        attached.list(damage, size, reshaped);
        if known.direct.is_composed() {
            known.keep(loan, damage, now);
            return Ok(reshaped);
        }
        let damaged = damage.iter().map(|rect| rect.area() as u64).sum();
        let all_of_it = [whole(size)];
        let wanted = if all { &all_of_it } else { &damage[..] };
        let beside_it = lent.map(|_| known.content.note_damage(wanted));
        let rects = beside_it.as_deref().unwrap_or(wanted);
        // What cannot be read stays as it was, until all of it can; that has been said. It may be all
        // that the client draws for a long time, so that it is tried again.
        let is_read = read(&mut known.content, &loan, rects);
        let again = (!is_read).then(|| Again::after(None, now)).flatten();
        known.is_stale = !is_read;
        let changed = known.content.take_changed();
        let committed = (damaged, changed, area(size));
        known.direct.committed(committed, now);
        let is_kept = lent.is_some() || known.direct.is_promising(now);
        known.newest = (is_kept || again.is_some()).then_some(Newest {
            loan,
            unread: again.map_or(lent, |_| Some(whole(size))),
            at: now,
            again,
        });
        Ok(reshaped)
    }
}

/// Reads parts of a buffer into the content of its surface. False where they cannot be read.
pub fn read(content: &mut Content, loan: &Loan, rects: &[TileRect]) -> bool {
    rects.is_empty() || loan.read(rects, |rect, rows| content.update(rect, rows))
}

impl Surface {
    /// Whether the content lacks what was committed.
    pub(super) fn is_behind(&self) -> bool {
        self.newest
            .as_ref()
            .is_some_and(|newest| newest.unread.is_some())
    }

    /// What it looks like, going by everything but its pixels.
    pub fn looks(&self, fills_screen: bool) -> Looks {
        let Some(newest) = &self.newest else {
            return Looks::Nothing;
        };
        match self.content.hint() {
            Hint::Still => Looks::Nothing,
            _ if !self.is_opaque(self.content.whole()) => Looks::Nothing,
            Hint::Film => Looks::Film,
            Hint::Nothing if newest.loan.is_nv12() => Looks::Planes,
            Hint::Nothing if fills_screen => Looks::Screen,
            Hint::Nothing => Looks::Nothing,
        }
    }

    /// Whether nothing shines through a part of it, going by what the client says.
    pub fn is_opaque(&self, part: TileRect) -> bool {
        let TileRect { x, y, w, h } = part;
        let [left, top, w, h] = [x, y, w, h].map(i64::from);
        let has_all = |rect: &WireRect| {
            let (x, y) = (i64::from(rect.x), i64::from(rect.y));
            let (right, bottom) = (x + i64::from(rect.w), y + i64::from(rect.h));
            x <= left && y <= top && right >= left + w && bottom >= top + h
        };
        !self.content.alpha() || self.view.opaque.iter().any(has_all)
    }

    /// Keeps a buffer that is composed as it is, of which `damage` is new.
    fn keep(&mut self, loan: Loan, damage: &[TileRect], now: Instant) {
        let unread = self.newest.as_ref().and_then(|newest| newest.unread);
        let unread = unread
            .iter()
            .chain(damage)
            .copied()
            .reduce(TileRect::around);
        self.content.note_drawn(damage);
        self.newest = Some(Newest {
            loan,
            unread,
            at: now,
            again: None,
        });
    }

    /// A flat output is composed from this surface's buffers, if it has any, and nobody else wants its
    /// pixels.
    pub fn compose_from_buffers(&mut self) {
        if self.direct.may_lend() || self.direct.is_lending() {
            // What of it is a film is one of the flat layer's from now on.
            self.content.end_video();
            self.direct.compose();
            // What could not be read is taken from the buffer as well.
            let owed = self.newest.as_mut().filter(|newest| newest.again.is_some());
            if let Some(newest) = owed {
                newest.again = None;
                self.content.note_drawn(newest.unread.as_slice());
            }
        }
    }

    /// Its pixels are wanted from now on: no film of it is lent, no output composed from its buffers.
    /// Returns whether anything was read.
    pub fn read_from_now_on(&mut self, now: Instant) -> bool {
        if self.content.is_lent() {
            self.content.end_video();
        }
        let is_over = self.direct.is_composed() || self.direct.is_lending();
        self.direct.end();
        is_over && self.catch_up(now)
    }

    /// When a buffer that is kept for a film that may begin is given back; none where none is.
    pub fn let_go_at(&self) -> Option<Instant> {
        let newest = self
            .newest
            .as_ref()
            .filter(|newest| newest.unread.is_none())?;
        (!self.direct.is_lending()).then_some(newest.at + PROMISING)
    }

    /// Gives such a buffer back when it is time.
    pub fn let_go_if_due(&mut self, now: Instant) {
        if self.let_go_at().is_some_and(|at| at <= now) {
            self.newest = None;
        }
    }

    /// Where the film is over that the encoder was given buffers for, reads it from the newest of them:
    /// exact pixels follow. Returns whether it did.
    pub fn settle_loan(&mut self, now: Instant) -> bool {
        let is_over = self.direct.is_lending() && !self.content.is_lent();
        // What was composed is read by whoever composes.
        let is_own = self
            .newest
            .as_ref()
            .is_some_and(|newest| newest.loan.is_own());
        if !is_over || is_own {
            return false;
        }
        self.direct.end();
        self.catch_up(now)
    }

    /// When a buffer that could not be read is read again, where its pixels are wanted; none where there is
    /// none.
    pub fn read_again_at(&self) -> Option<Instant> {
        let is_wanted = !self.direct.is_lending() && !self.direct.is_composed();
        let newest = self.newest.as_ref().filter(|_| is_wanted)?;
        newest.again.map(|again| again.at)
    }

    /// Has such a buffer read as soon as it may be: there is a device again.
    pub fn read_again_at_once(&mut self, now: Instant) {
        let again = self
            .newest
            .as_mut()
            .and_then(|newest| newest.again.as_mut());
        again.into_iter().for_each(|again| again.at = now);
    }

    /// Reads such a buffer when it is time. Returns whether it did.
    pub fn read_again_if_due(&mut self, now: Instant) -> bool {
        self.read_again_at().is_some_and(|at| at <= now) && self.catch_up(now)
    }

    /// Reads what is unread of the newest buffer, and gives that back. Where it cannot be read, it is kept
    /// for another time.
    fn catch_up(&mut self, now: Instant) -> bool {
        let Some((newest, unread)) = self.newest.take().and_then(|newest| {
            let unread = newest.unread?;
            Some((newest, unread))
        }) else {
            return false;
        };
        let unread = match self.is_stale {
            true => self.content.whole(),
            false => unread,
        };
        if read(&mut self.content, &newest.loan, &[unread]) {
            self.is_stale = false;
            return true;
        }
        match Again::after(newest.again, now) {
            again @ Some(_) => self.newest = Some(Newest { again, ..newest }),
            // The next commit is read whole.
            None => self.is_stale = true,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_tried_less_and_less_often_and_not_for_ever() {
        let start = Instant::now();
        let (mut again, mut now) = (Again::after(None, start), start);
        let mut waits = Vec::new();
        while let Some(next) = again {
            waits.push((next.at - now).as_millis());
            now = next.at;
            again = Again::after(again, now);
        }
        assert_eq!(
            waits,
            [
                50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200
            ]
        );
    }
}
