//! Surfaces whose buffers are DMA-BUFs: read when they are committed, or kept for the encoder.

use std::time::Instant;

use heliostat_tiles::Rect as TileRect;
use heliostat_wire::output::Size;
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
    /// Its pixels are in the surface's content.
    pub is_read: bool,
    /// When it was committed.
    pub at: Instant,
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
        let (w, h) = loan.sides();
        let size = size_of(w, h).ok_or(Refused::TooLarge(w, h))?;
        let (known, reshaped) = self.shaped(surface, size, loan.alpha())?;
        let all = reshaped || known.is_behind();
        let damage = attached.rects(size, reshaped);
        let is_read = !known.direct.is_lending() || !known.content.is_lent();
        let new = if is_read {
            let rects = if all { vec![whole(size)] } else { damage };
            // What cannot be read stays as it was; that has been said.
            read(&mut known.content, &loan, &rects);
            // Many a program damages all of its window for a line of text, or scrolls it.
            known.content.take_changed()
        } else {
            known.content.note_damage(&damage);
            damage.iter().map(|rect| rect.area() as u64).sum()
        };
        known.direct.committed((new, area(size)), now);
        let is_kept = !is_read || known.direct.is_promising(now);
        known.newest = is_kept.then_some(Newest {
            loan,
            is_read,
            at: now,
        });
        Ok(reshaped)
    }
}

fn read(content: &mut Content, loan: &Loan, rects: &[TileRect]) {
    loan.read(|rows| {
        for rect in rects {
            content.update(*rect, &mut *rows);
        }
    });
}

impl Surface {
    /// Whether the content lacks what was committed.
    pub(super) fn is_behind(&self) -> bool {
        self.newest.as_ref().is_some_and(|newest| !newest.is_read)
    }

    /// What it looks like, going by everything but its pixels.
    pub fn looks(&self, fills_screen: bool) -> Looks {
        let Some(newest) = &self.newest else {
            return Looks::Nothing;
        };
        match self.content.hint() {
            Hint::Still => Looks::Nothing,
            _ if !self.is_opaque() => Looks::Nothing,
            Hint::Film => Looks::Film,
            Hint::Nothing if newest.loan.is_nv12() => Looks::Film,
            Hint::Nothing if fills_screen => Looks::Screen,
            Hint::Nothing => Looks::Nothing,
        }
    }

    /// Whether nothing shines through, going by what the client says.
    pub fn is_opaque(&self) -> bool {
        let Size { w, h } = self.content.size();
        let is_all = |rect: &WireRect| {
            let right = i64::from(rect.x) + i64::from(rect.w);
            let bottom = i64::from(rect.y) + i64::from(rect.h);
            rect.x <= 0 && rect.y <= 0 && right >= i64::from(w) && bottom >= i64::from(h)
        };
        !self.content.alpha() || self.view.opaque.iter().any(is_all)
    }

    /// When a buffer that is kept for a film that may begin is given back; none where none is.
    pub fn let_go_at(&self) -> Option<Instant> {
        let newest = self.newest.as_ref().filter(|newest| newest.is_read)?;
        (!self.direct.is_lending()).then_some(newest.at + PROMISING)
    }

    /// Gives such a buffer back when it is time.
    pub fn let_go_if_due(&mut self, now: Instant) {
        if self.let_go_at().is_some_and(|at| at <= now) {
            self.newest = None;
        }
    }

    /// Where the film is over that the encoder was given buffers for, reads the newest of them: exact
    /// pixels follow. Returns whether it did.
    pub fn settle_loan(&mut self) -> bool {
        if !self.direct.is_lending() || self.content.is_lent() {
            return false;
        }
        self.direct.end();
        self.catch_up()
    }

    fn catch_up(&mut self) -> bool {
        let Some(newest) = self.newest.take().filter(|newest| !newest.is_read) else {
            return false;
        };
        let all = whole(self.content.size());
        read(&mut self.content, &newest.loan, &[all]);
        true
    }
}
