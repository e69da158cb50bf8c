//! What ends, and what follows when nobody is there: parts of the desktop, locks, the locker.

use std::time::Instant;

use heliostat_control::session::{Ask, FromSession};
use heliostat_wire::control::DetachReason;
use tracing::{info, warn};

use super::{App, LOCKER, MAX_FALLS};
use crate::idle::Locks;

impl App {
    pub(super) fn child_ended(&mut self, name: &str, how: &str) {
        if name == LOCKER && !self.lock.is_locked() {
            self.parts.forget(LOCKER);
            if let Some(attach) = self.absence.locking.locker_ended() {
                warn!("the locker has ended without having locked");
                self.detach(Some(attach), DetachReason::Locked);
            }
        }
        match self.parts.ended(name, Instant::now()) {
            Some(wait) => warn!("{name} has ended ({how}), it is started again in {wait:?}"),
            None => info!("{name} has ended: {how}"),
        }
        let vital = self.config.vital.as_deref() == Some(name);
        if vital && self.ending.is_none() && self.parts.falls(name) >= MAX_FALLS {
            self.failure = Some(format!(
                "{name} has ended {MAX_FALLS} times in a row, {how} the last time: {}",
                self.config.parts.get(name).map_or("", String::as_str)
            ));
        }
    }

    /// The person wants to leave, or to lock; or is not there any more.
    pub(crate) fn ask(&mut self, ask: Ask) {
        info!(?ask, "the person asks");
        if let (Ask::Lock | Ask::Idle, Some(terminal)) = (ask, &self.terminal) {
            self.absence.locking.asked(terminal.id, Instant::now());
        }
        self.tell_broker(FromSession::Asks(ask));
    }

    /// Asks for what a long silence asks for, and does itself what the broker ought to have done.
    pub(super) fn mind_absence(&mut self, now: Instant) {
        let inhibited = self.is_idle_inhibited();
        self.absence.idle.inhibit(inhibited, now);
        if self.terminal.is_some() && self.absence.idle.is_due(now) {
            self.ask(Ask::Idle);
        }
        let attach = self.terminal.as_ref().map(|terminal| terminal.id);
        let late = self.absence.locking.overdue(attach, now);
        match late.filter(|_| !self.lock.is_locked()) {
            Some(Locks::Broker) => self.lock_without_broker(now),
            Some(Locks::Locker) => {
                warn!("the locker has not locked in time");
                self.detach(None, DetachReason::Locked);
            }
            None => {}
        }
    }

    /// The broker is away: a locker locks, or else the terminal is parted from.
    pub(super) fn lock_without_broker(&mut self, now: Instant) {
        match (&self.config.locker, &self.terminal) {
            (Some(locker), Some(terminal)) => {
                info!("the broker does not lock, the locker does");
                self.parts.want(LOCKER, locker, now);
                self.absence.locking.locker_started(terminal.id, now);
            }
            _ => self.detach(None, DetachReason::Locked),
        }
    }
}
