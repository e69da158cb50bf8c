//! A terminal that is a kiosk has nobody to press Enter: what it shows is asked for again by itself.

use std::time::Duration;

use heliostat_wire::control::LoginOffer;

use crate::app::App;
use crate::desk::{Desk, DeskEvent, Present, Stage};

/// How long a kiosk that has ended stays away, so that one that never comes up costs little.
const AWAY: Duration = Duration::from_secs(5);

impl App {
    /// Notes whether the kiosk is gone, and since when.
    pub(super) fn mind_kiosk(&mut self, now_ns: u64) {
        let gone = self.around.login == LoginOffer::Now && is_gone(&self.desk);
        self.kiosk_at_ns = match (gone, self.kiosk_at_ns) {
            (false, _) => None,
            (true, Some(at)) => Some(at),
            (true, None) => Some(now_ns + AWAY.as_nanos() as u64),
        };
    }

    /// How long until the kiosk is asked for again.
    pub(super) fn kiosk_wait(&self, now_ns: u64) -> Option<Duration> {
        let at = self.kiosk_at_ns?;
        Some(Duration::from_nanos(at.saturating_sub(now_ns)))
    }

    pub(super) fn ask_for_kiosk_if_due(&mut self, now_ns: u64) {
        if self.kiosk_at_ns.is_some_and(|at| at <= now_ns) {
            self.kiosk_at_ns = None;
            self.desk(DeskEvent::Retry);
        }
    }
}

/// Whether a person without a card has lost what they had, or did not get it.
fn is_gone(desk: &Desk) -> bool {
    desk.control().is_ok()
        && desk.present() == Some(&Present::Person)
        && matches!(desk.stage(), Stage::Refused { .. } | Stage::Parted { .. })
}
