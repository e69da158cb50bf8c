//! Whether the way loses packets, and how many; time is given.

use std::time::{Duration, Instant};

/// How long a lost packet is remembered: at one loss in a hundred, typing sends enough in this time
/// to see the next.
const MEMORY: Duration = Duration::from_secs(30);
/// Of so many packets one is lost where losses are frequent: an original and its copy are then both
/// lost often enough to be felt.
const FREQUENT_OF: u64 = 40;
/// Packets after which each counts half as much as one that is sent now.
const JUDGED: u64 = 256;

/// What was lost, and when last.
#[derive(Debug, Default)]
pub(super) struct Losses {
    sent: u64,
    lost: u64,
    last: Option<Instant>,
    /// When the peer has last shown that it loses packets.
    told: Option<Instant>,
    /// The same as the first two, of late.
    sent_of_late: u64,
    lost_of_late: u64,
}

/// How often the way loses packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    No,
    Some,
    Frequent,
}

impl Losses {
    /// How it is when `lost` of the `sent` packets have been lost in all.
    pub(super) fn judge(&mut self, sent: u64, lost: u64, now: Instant) -> Loss {
        let new = (
            sent.saturating_sub(self.sent),
            lost.saturating_sub(self.lost),
        );
        (self.sent, self.lost) = (self.sent.max(sent), self.lost.max(lost));
        self.sent_of_late += new.0;
        self.lost_of_late += new.1;
        while self.sent_of_late > JUDGED {
            self.sent_of_late /= 2;
            self.lost_of_late /= 2;
        }
        if new.1 > 0 {
            self.last = Some(now);
        }
        let is_recent = |at: Instant| now.saturating_duration_since(at) < MEMORY;
        let is_frequent =
            self.lost_of_late > 1 && self.lost_of_late * FREQUENT_OF > self.sent_of_late;
        match (
            self.last.is_some_and(is_recent),
            self.told.is_some_and(is_recent),
        ) {
            (true, _) if is_frequent => Loss::Frequent,
            (false, false) => Loss::No,
            _ => Loss::Some,
        }
    }

    /// The peer has lost packets on its way to here.
    pub(super) fn told(&mut self, now: Instant) {
        self.told = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_remembered_for_a_while_and_no_longer() {
        let now = Instant::now();
        let mut losses = Losses::default();
        assert_eq!(losses.judge(10, 0, now), Loss::No);
        assert_eq!(losses.judge(200, 1, now), Loss::Some);
        assert_eq!(losses.judge(200, 1, now + MEMORY / 2), Loss::Some);
        assert_eq!(losses.judge(200, 1, now + MEMORY), Loss::No);
        assert_eq!(losses.judge(400, 2, now + MEMORY * 2), Loss::Some);
    }

    #[test]
    fn losses_are_frequent_while_many_of_the_packets_of_late_are_lost() {
        let now = Instant::now();
        let mut losses = Losses::default();
        assert_eq!(losses.judge(10, 1, now), Loss::Some);
        let (mut sent, mut lost) = (10, 1);
        for _ in 0..20 {
            (sent, lost) = (sent + 20, lost + 1);
            assert_eq!(losses.judge(sent, lost, now), Loss::Frequent);
        }
        for _ in 0..20 {
            (sent, lost) = (sent + 200, lost + 2);
            losses.judge(sent, lost, now);
        }
        assert_eq!(losses.judge(sent, lost, now), Loss::Some);
        assert_eq!(losses.judge(sent, lost, now + MEMORY), Loss::No);
    }

    #[test]
    fn peers_losses_count_as_some() {
        let now = Instant::now();
        let mut losses = Losses::default();
        losses.told(now);
        assert_eq!(losses.judge(10, 0, now), Loss::Some);
        assert_eq!(losses.judge(20, 0, now + MEMORY), Loss::No);
    }
}
