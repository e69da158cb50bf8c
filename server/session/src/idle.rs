//! Whether anybody is there, and whether the broker does what it is asked for.
//!
//! ```text
//!          no input for long enough                    nobody has parted us by then
//!   Here ────────────────────────────► Idle is asked ────────────────────────────────► hide
//!    ▲ input, a client that inhibits ◄──┘                                               │
//!                      part from the terminal ◄──── the locker has not locked by then ◄─┘
//! ```
//!
//! Time in, deadlines and wishes out; [`crate::app`] does what they say.

use std::time::{Duration, Instant};

use heliostat_wire::id::AttachId;

/// How long the broker has to part us from the terminal when it was asked to lock, and then the
/// locker to lock.
const LOCKING: Duration = Duration::from_secs(2);

/// Whether anybody is at the present terminal, over all of its links.
#[derive(Debug)]
pub struct Absence {
    /// How long nobody has been.
    pub idle: Idle,
    /// What was asked for since.
    pub locking: Locking,
}

impl Absence {
    /// Nobody is expected yet.
    pub fn new(now: Instant) -> Self {
        Self {
            idle: Idle::new(now),
            locking: Locking::default(),
        }
    }

    /// A terminal has come, with somebody at it: whoever that is, they are there now. A lock that was
    /// asked for at another one is not awaited here.
    pub fn begin(&mut self, after: Option<Duration>, now: Instant) {
        self.idle.begin(after, now);
    }

    /// The terminal goes on by another attach, whoever is at it.
    pub fn go_on(&mut self, (from, to): (AttachId, AttachId), after: Option<Duration>) {
        self.idle.go_on(after);
        self.locking.go_on(from, to);
    }
}

/// How long nobody has typed at the present terminal.
#[derive(Debug)]
pub struct Idle {
    /// How long is long enough; never where absent.
    after: Option<Duration>,
    since: Instant,
    inhibited: bool,
}

impl Idle {
    /// Nobody is expected yet.
    pub fn new(now: Instant) -> Self {
        Self {
            after: None,
            since: now,
            inhibited: false,
        }
    }

    fn begin(&mut self, after: Option<Duration>, now: Instant) {
        self.after = after.filter(|after| !after.is_zero());
        self.since = now;
    }

    fn go_on(&mut self, after: Option<Duration>) {
        self.after = after.filter(|after| !after.is_zero());
    }

    /// Somebody is there.
    pub fn input(&mut self, now: Instant) {
        self.since = now;
    }

    /// Whether a visible client says that being watched is enough.
    pub fn inhibit(&mut self, inhibited: bool, now: Instant) {
        if std::mem::replace(&mut self.inhibited, inhibited) && !inhibited {
            self.since = now;
        }
    }

    /// When [`Self::is_due`] may change.
    pub fn deadline(&self) -> Option<Instant> {
        match self.inhibited {
            true => None,
            false => Some(self.since + self.after?),
        }
    }

    /// Whether nobody has been there for long enough. Says so once in that time.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|at| at <= now);
        if due {
            self.since = now;
        }
        due
    }
}

/// A lock that was asked for and is not there yet.
#[derive(Debug, Default)]
pub struct Locking(Option<Awaited>);

#[derive(Debug)]
struct Awaited {
    /// The attach that is to end, or to be hidden.
    attach: AttachId,
    from: Locks,
    until: Instant,
}

/// Who is to lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// The broker, by parting us from the terminal.
    Broker,
    /// The locker, in its place.
    Locker,
}

impl Locking {
    /// The broker was asked to lock, while this attach was there.
    pub fn asked(&mut self, attach: AttachId, now: Instant) {
        self.0.get_or_insert(Awaited {
            attach,
            from: Locks::Broker,
            until: now + LOCKING,
        });
    }

    /// The other attach is to end or to be hidden in the place of the first.
    fn go_on(&mut self, from: AttachId, to: AttachId) {
        if let Some(awaited) = self.0.as_mut().filter(|awaited| awaited.attach == from) {
            awaited.attach = to;
        }
    }

    /// The locker is started in the broker's place.
    pub fn locker_started(&mut self, attach: AttachId, now: Instant) {
        self.0 = Some(Awaited {
            attach,
            from: Locks::Locker,
            until: now + LOCKING,
        });
    }

    /// Nothing but a locker is shown any more.
    pub fn locked(&mut self) {
        self.0 = None;
    }

    /// The locker has ended. Returns the attach that it was to hide and has not.
    pub fn locker_ended(&mut self) -> Option<AttachId> {
        let failed = self.0.take_if(|awaited| awaited.from == Locks::Locker)?;
        Some(failed.attach)
    }

    /// When whoever is to lock has had long enough to.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|awaited| awaited.until)
    }

    /// Who has not locked in time, while the attach is still `present`. Says so once.
    pub fn overdue(&mut self, present: Option<AttachId>, now: Instant) -> Option<Locks> {
        let Awaited {
            attach,
            from,
            until,
        } = *self.0.as_ref()?;
        let there = present == Some(attach);
        if !there || until <= now {
            self.0 = None;
        }
        (there && until <= now).then_some(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_told_once_in_its_time_and_never_while_somebody_types_or_watches() {
        enum Step {
            Input,
            Inhibit(bool),
            Attach(u64),
            GoOn(u64),
        }
        use Step::*;
        // Seconds, what happens then, and when absence is told up to the 100th second.
        type Story = (&'static [(u64, Step)], &'static [u64]);
        let table: [Story; 8] = [
            (&[(0, Attach(30))], &[30, 60, 90]),
            (&[(0, Attach(0))], &[]),
            (&[], &[]),
            (&[(0, Attach(30)), (20, Input), (49, Input)], &[79]),
            (&[(0, Attach(30)), (10, Inhibit(true))], &[]),
            (
                &[
                    (0, Attach(30)),
                    (10, Inhibit(true)),
                    (50, Inhibit(true)),
                    (65, Inhibit(false)),
                ],
                &[95],
            ),
            (&[(0, Attach(30)), (25, Attach(60))], &[85]),
            (&[(0, Attach(30)), (25, GoOn(40))], &[40, 80]),
        ];
        for (number, (steps, expected)) in table.into_iter().enumerate() {
            let start = Instant::now();
            let mut idle = Idle::new(start);
            let mut told = Vec::new();
            for second in 0..=100 {
                let now = start + Duration::from_secs(second);
                for (_, step) in steps.iter().filter(|(at, _)| *at == second) {
                    match step {
                        Input => idle.input(now),
                        Inhibit(on) => idle.inhibit(*on, now),
                        Attach(after) => idle.begin(Some(Duration::from_secs(*after)), now),
                        GoOn(after) => idle.go_on(Some(Duration::from_secs(*after))),
                    }
                }
                let expected = idle.deadline().is_some_and(|at| at <= now);
                let due = idle.is_due(now);
                assert_eq!(due, expected, "the deadline is right");
                told.extend(due.then_some(second));
            }
            assert_eq!(told, expected, "row {number}");
        }
    }

    #[test]
    fn what_was_awaited_at_one_link_of_a_desk_is_awaited_at_the_next() {
        let start = Instant::now();
        let mut absence = Absence::new(start);
        absence.begin(Some(Duration::from_secs(30)), start);
        absence.locking.asked(AttachId(1), start);
        let later = start + Duration::from_secs(1);
        absence.go_on((AttachId(1), AttachId(2)), Some(Duration::from_secs(40)));
        let due = start + Duration::from_secs(40);
        assert_eq!(absence.idle.deadline(), Some(due), "nobody has typed");
        let here = Some(AttachId(2));
        assert_eq!(absence.locking.overdue(here, later), None);
        let late = absence.locking.overdue(here, start + LOCKING);
        assert_eq!(late, Some(Locks::Broker));
    }

    #[test]
    fn broker_that_does_not_part_us_in_time_is_waited_for_once() {
        let now = Instant::now();
        let here = Some(AttachId(1));
        let mut locking = Locking::default();
        locking.asked(AttachId(1), now);
        let later = now + LOCKING;
        assert_eq!(locking.overdue(here, now), None);
        // Asking again gives no more time.
        locking.asked(AttachId(1), now + LOCKING / 2);
        assert_eq!(locking.deadline(), Some(later));
        assert_eq!(locking.overdue(here, later), Some(Locks::Broker));
        assert_eq!(locking.overdue(here, later), None);
        locking.asked(AttachId(1), now);
        assert_eq!(locking.overdue(Some(AttachId(2)), later), None);
        assert_eq!(locking.deadline(), None);
        // The same desk by another link is to be locked all the same.
        locking.asked(AttachId(1), now);
        locking.go_on(AttachId(1), AttachId(2));
        locking.go_on(AttachId(1), AttachId(3));
        assert_eq!(
            locking.overdue(Some(AttachId(2)), later),
            Some(Locks::Broker)
        );
    }

    #[test]
    fn locker_that_ends_or_hangs_without_having_locked_is_told_of_once() {
        let now = Instant::now();
        let (here, later) = (Some(AttachId(1)), now + LOCKING);
        let mut locking = Locking::default();
        locking.asked(AttachId(1), now);
        assert_eq!(locking.locker_ended(), None, "the broker's turn");
        locking.locker_started(AttachId(1), now);
        assert_eq!(locking.overdue(here, now), None);
        assert_eq!(locking.overdue(here, later), Some(Locks::Locker));
        assert_eq!(locking.deadline(), None);
        locking.locker_started(AttachId(1), now);
        assert_eq!(locking.locker_ended(), here);
        assert_eq!(locking.locker_ended(), None);
        locking.locker_started(AttachId(1), now);
        locking.locked();
        assert_eq!(locking.overdue(here, later), None);
        assert_eq!(locking.locker_ended(), None);
    }
}
