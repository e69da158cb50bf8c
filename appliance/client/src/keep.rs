//! What a session has drawn, kept for a while when it has gone from the screen.
//!
//! ```text
//!             the card is pulled or the link breaks, and the broker allows it
//!   nothing ──────────────────────────────────────────────────────────────────► kept
//!      ▲ ◄── its time is over, another session, a refusal, the end: overwritten ── │
//!      └ ◄── the same session comes back and goes on from there ───────────────────┘
//! ```
//!
//! The session is known by its key, which it has proven on the link. It can learn nothing from what
//! is kept that it has not drawn itself, and nothing of it is shown before the session places it
//! anew.

use std::time::Duration;

use heliostat_wire::List;
use heliostat_wire::control::{Attach, DetachReason};
use heliostat_wire::id::{AttachId, KeyPin};
use heliostat_wire::limits::MAX_KEEP_S;
use heliostat_wire::session::{Kept as Told, KeptLayer};

use crate::scene::Scene;

/// A scene without a session.
#[derive(Debug)]
pub struct Kept {
    /// The attach that has drawn it.
    attach: AttachId,
    /// The last frame of it.
    serial: u32,
    /// The layers.
    pub scene: Scene,
}

/// What an attach allows.
#[derive(Debug, Clone, Copy)]
struct Terms {
    pin: KeyPin,
    keep: Duration,
}

/// Keeps one scene at most.
#[derive(Debug, Default)]
pub struct Keeper {
    /// Of the present attach.
    terms: Option<Terms>,
    /// With its session's key, and until when.
    kept: Option<(Kept, KeyPin, u64)>,
}

impl Kept {
    /// As the session is told of it.
    pub fn told(&self) -> Told {
        let layer = |(layer, known): (_, &crate::scene::Layer)| KeptLayer {
            layer,
            size: known.size,
            alpha: known.alpha,
        };
        Told {
            attach_id: self.attach,
            serial: self.serial,
            layers: List::truncated(self.scene.layers().map(layer).collect()),
        }
    }
}

impl Keeper {
    /// An attach begins. What its session has drawn before, if it is still there; what another one
    /// has drawn is overwritten.
    pub fn begin(&mut self, attach: &Attach, now_ns: u64) -> Option<Kept> {
        self.tick(now_ns);
        self.terms = Some(Terms {
            pin: attach.pin,
            keep: Duration::from_secs(u64::from(attach.keep_pixels_s.min(MAX_KEEP_S))),
        });
        let (kept, pin, _) = self.kept.take()?;
        (pin == attach.pin).then_some(kept)
    }

    /// Whether the present attach is of the session with this key.
    pub fn is_of(&self, pin: KeyPin) -> bool {
        self.terms.is_some_and(|terms| terms.pin == pin)
    }

    /// The present attach, which has applied the frames up to `serial`, is over.
    pub fn end(
        &mut self,
        attach: AttachId,
        (serial, mut scene): (u32, Scene),
        reason: &DetachReason,
        now_ns: u64,
    ) {
        self.kept = None;
        let terms = self.terms.take().filter(|terms| !terms.keep.is_zero());
        // Without a frame nobody knows what the session has made of what was kept before.
        let Some(terms) = terms.filter(|_| serial > 0 && may_come_back(reason)) else {
            return scene.wipe();
        };
        scene.rest();
        let until_ns = now_ns.saturating_add(terms.keep.as_nanos() as u64);
        let kept = Kept {
            attach,
            serial,
            scene,
        };
        self.kept = Some((kept, terms.pin, until_ns));
    }

    /// Overwrites what is kept.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ns: u64) {
        self.kept.take_if(|(_, _, until_ns)| *until_ns <= now_ns);
    }

    /// How long something may still be kept.
    pub fn left(&self, now_ns: u64) -> Option<Duration> {
        let (_, _, until_ns) = self.kept.as_ref()?;
        Some(Duration::from_nanos(until_ns.saturating_sub(now_ns)))
    }
}

/// Whether the same session may soon be here again, as it was.
fn may_come_back(reason: &DetachReason) -> bool {
    matches!(reason, DetachReason::CardRemoved | DetachReason::LinkLost)
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
