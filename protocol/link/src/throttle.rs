//! What a server does with strangers: so much for each address, so many at once, and under load
//! only to those who have shown that they receive at the address they send from.
//!
//! ```text
//! arrive ─► Ignore   half-open connections at their cap
//!        ─► Retry    unproven address, and either load or an empty budget
//!        ─► Refuse   proven address with an empty budget
//!        ─► Accept   half-open until finished(): a peer that authenticated gets its budget back
//! ```
//!
//! An address that is not proven may be forged. So it is never refused on its own account, and what
//! is spent in its name is not what its true owner has once proven: Retry costs the owner one round
//! trip and the forger everything.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The longest refill. So no clock runs over, whatever the burst.
const MAX_REFILL: Duration = Duration::from_secs(3600);

/// How much a server gives to strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Attempts one address has at once.
    pub burst: u32,
    /// Time after which one attempt comes back, at most an hour.
    pub refill: Duration,
    /// Half-open connections from which addresses must be proven first.
    pub busy: usize,
    /// Half-open connections at most.
    pub half_open: usize,
    /// Half-open connections of one address at most.
    pub half_open_each: u32,
    /// Addresses remembered at most.
    pub addresses: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            burst: 32,
            refill: Duration::from_millis(500),
            busy: 32,
            half_open: 256,
            half_open_each: 8,
            addresses: 4096,
        }
    }
}

/// What to do with an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Begin the handshake.
    Accept,
    /// Ask it to prove its address first.
    Retry,
    /// Say no.
    Refuse,
    /// Say nothing.
    Ignore,
}

/// The state behind the verdicts. Time is given, nothing is asked of the system.
#[derive(Debug)]
pub struct Throttle {
    budget: Budget,
    half_open: usize,
    proven: Spent,
    unproven: Spent,
}

impl Throttle {
    /// A throttle that has seen nobody.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget: Budget {
                refill: budget.refill.min(MAX_REFILL),
                ..budget
            },
            half_open: 0,
            proven: Spent::default(),
            unproven: Spent::default(),
        }
    }

    /// Judges an arrival from `address`; `proven` tells whether it has shown that it receives there.
    /// After [`Verdict::Accept`] the caller owes a [`Throttle::finished`].
    pub fn arrive(&mut self, now: Instant, address: IpAddr, proven: bool) -> Verdict {
        if self.half_open >= self.budget.half_open {
            return Verdict::Ignore;
        }
        if !proven && self.half_open >= self.budget.busy {
            return Verdict::Retry;
        }
        let (spent, otherwise) = match proven {
            true => (&mut self.proven, Verdict::Refuse),
            false => (&mut self.unproven, Verdict::Retry),
        };
        if !spent.spend(now, of_network(address), &self.budget) {
            return otherwise;
        }
        self.half_open += 1;
        Verdict::Accept
    }

    /// An arrival that was accepted is no longer a stranger or has gone.
    pub fn finished(&mut self, address: IpAddr, proven: bool, authenticated: bool) {
        self.half_open = self.half_open.saturating_sub(1);
        let spent = match proven {
            true => &mut self.proven,
            false => &mut self.unproven,
        };
        spent.finished(of_network(address), authenticated, &self.budget);
    }

    /// Connections accepted and not finished.
    pub fn half_open(&self) -> usize {
        self.half_open
    }
}

/// What each address has taken.
#[derive(Debug, Default)]
struct Spent(HashMap<IpAddr, Account>);

#[derive(Debug, Clone, Copy)]
struct Account {
    /// When it will have its whole budget again.
    whole_at: Instant,
    /// Its half-open connections.
    open: u32,
}

impl Spent {
    fn spend(&mut self, now: Instant, address: IpAddr, budget: &Budget) -> bool {
        if !self.0.contains_key(&address) {
            self.make_room(now, budget.addresses);
        }
        let account = self.0.entry(address).or_insert(Account {
            whole_at: now,
            open: 0,
        });
        let then = account.whole_at.max(now) + budget.refill;
        let affordable = then <= now + budget.refill * budget.burst;
        if !affordable || account.open >= budget.half_open_each {
            return false;
        }
        account.whole_at = then;
        account.open += 1;
        true
    }

    fn finished(&mut self, address: IpAddr, authenticated: bool, budget: &Budget) {
        if let Some(account) = self.0.get_mut(&address) {
            account.open = account.open.saturating_sub(1);
            if authenticated {
                account.whole_at -= budget.refill;
            }
        }
    }

    /// Forgets those that owe nothing, and where that is not enough, the one that owes least.
    fn make_room(&mut self, now: Instant, max: usize) {
        if self.0.len() < max {
            return;
        }
        self.0
            .retain(|_, account| account.whole_at > now || account.open > 0);
        if self.0.len() >= max {
            let least = self
                .0
                .iter()
                .min_by_key(|(_, account)| (account.open, account.whole_at));
            let least = least.map(|(address, _)| *address);
            self.0.retain(|address, _| Some(*address) != least);
        }
    }
}

/// What counts as one address: all of an IPv6 /64 belongs to whoever has one of it.
fn of_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn small() -> Throttle {
        Throttle::new(Budget {
            burst: 3,
            refill: Duration::from_secs(1),
            busy: 4,
            half_open: 6,
            half_open_each: 3,
            addresses: 8,
        })
    }

    #[test]
    fn a_guesser_is_refused_while_its_neighbour_gets_in() {
        let mut throttle = small();
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(throttle.arrive(now, address(1), true), Verdict::Accept);
            throttle.finished(address(1), true, false);
        }
        assert_eq!(throttle.arrive(now, address(1), true), Verdict::Refuse);
        assert_eq!(throttle.arrive(now, address(2), true), Verdict::Accept);
        let later = now + Duration::from_secs(1);
        assert_eq!(throttle.arrive(later, address(1), true), Verdict::Accept);
    }

    #[test]
    fn a_terminal_that_authenticates_each_time_never_runs_dry() {
        let mut throttle = small();
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(throttle.arrive(now, address(1), true), Verdict::Accept);
            throttle.finished(address(1), true, true);
        }
    }

    #[test]
    fn under_load_an_address_is_proven_before_anything_is_kept() {
        let mut throttle = small();
        let now = Instant::now();
        for n in 0..4 {
            assert_eq!(throttle.arrive(now, address(n), false), Verdict::Accept);
        }
        assert_eq!(throttle.arrive(now, address(9), false), Verdict::Retry);
        assert_eq!(throttle.arrive(now, address(9), true), Verdict::Accept);
        assert_eq!(throttle.arrive(now, address(8), true), Verdict::Accept);
        assert_eq!(throttle.arrive(now, address(7), true), Verdict::Ignore);
    }

    #[test]
    fn a_forger_cannot_have_the_forged_address_refused() {
        let mut throttle = small();
        let now = Instant::now();
        for _ in 0..50 {
            if throttle.arrive(now, address(1), false) == Verdict::Accept {
                throttle.finished(address(1), false, false);
            }
        }
        assert_eq!(throttle.arrive(now, address(1), false), Verdict::Retry);
        assert_eq!(throttle.arrive(now, address(1), true), Verdict::Accept);
    }

    #[test]
    fn a_forger_of_many_addresses_does_not_crowd_out_a_newcomer() {
        let mut throttle = small();
        let now = Instant::now();
        for n in 0..100 {
            if throttle.arrive(now, address(n), n % 2 == 0) == Verdict::Accept {
                throttle.finished(address(n), n % 2 == 0, false);
            }
        }
        assert_eq!(throttle.arrive(now, address(200), true), Verdict::Accept);
        assert_eq!(throttle.arrive(now, address(201), false), Verdict::Accept);
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let mut throttle = Throttle::new(Budget {
            half_open: 10,
            half_open_each: 2,
            ..Budget::default()
        });
        let now = Instant::now();
        assert_eq!(throttle.arrive(now, address(1), true), Verdict::Accept);
        assert_eq!(throttle.arrive(now, address(1), true), Verdict::Accept);
        assert_eq!(throttle.arrive(now, address(1), true), Verdict::Refuse);
        assert_eq!(throttle.arrive(now, address(2), true), Verdict::Accept);
        throttle.finished(address(1), true, true);
        assert_eq!(throttle.arrive(now, address(1), true), Verdict::Accept);
    }

    #[test]
    fn the_largest_budget_overflows_no_clock() {
        let mut throttle = Throttle::new(Budget {
            burst: u32::MAX,
            refill: Duration::MAX,
            ..Budget::default()
        });
        let now = Instant::now();
        for authenticated in [false, true, false] {
            assert_eq!(throttle.arrive(now, address(1), true), Verdict::Accept);
            throttle.finished(address(1), true, authenticated);
        }
    }

    #[test]
    fn a_whole_ipv6_network_shares_one_budget() {
        let mut throttle = small();
        let now = Instant::now();
        for n in 0..3 {
            let address = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, n).into();
            assert_eq!(throttle.arrive(now, address, true), Verdict::Accept);
        }
        let address = Ipv6Addr::new(0xfd00, 0, 0, 1, 9, 9, 9, 9).into();
        assert_eq!(throttle.arrive(now, address, true), Verdict::Refuse);
    }

    proptest! {
        #[test]
        fn memory_and_half_open_connections_stay_bounded(
            arrivals in proptest::collection::vec((any::<u8>(), any::<bool>(), 0u64..500), 0..400)
        ) {
            let mut throttle = small();
            let mut now = Instant::now();
            let mut open = Vec::new();
            for (n, proven, wait) in arrivals {
                now += Duration::from_millis(wait);
                if throttle.arrive(now, address(n), proven) == Verdict::Accept {
                    open.push((address(n), proven));
                }
                if wait % 3 == 0 && let Some((address, proven)) = open.pop() {
                    throttle.finished(address, proven, wait % 2 == 0);
                }
                prop_assert_eq!(throttle.half_open(), open.len());
                prop_assert!(throttle.half_open() <= 6);
                prop_assert!(throttle.proven.0.len() <= 8);
                prop_assert!(throttle.unproven.0.len() <= 8);
            }
        }
    }
}
