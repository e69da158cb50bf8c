//! The network of a terminal as a state machine. Pure: interfaces, leases, answers and the clock
//! come in, [`Action`]s, deadlines and [`NetReport`]s go out.
//!
//! ```text
//!  Waiting ──carrier──► Asking ──lease──► Bound ──carrier lost, back──► Bound (asks again)
//!     ▲                   │ ▲               │
//!     └───carrier lost────┘ └──lease lost───┘
//! ```
//!
//! While bound, `Search` says how far the brokers are: known from the command line or the lease,
//! or asked of the DNS, again and again until there are some.

use std::time::{Duration, Instant};

use heliostat_terminal_state::{Code, Link, Stage};

use super::interface::{Interface, Interfaces, choose};
use super::lease::Lease;
use super::report::NetReport;
use crate::names::Mac;

/// No interface for this long is a fault: drivers take their time.
pub const INTERFACE_PATIENCE: Duration = Duration::from_secs(8);
/// No carrier for this long is a fault: links take seconds to be negotiated.
pub const CARRIER_PATIENCE: Duration = Duration::from_secs(4);
/// No DHCP answer for this long is a fault.
pub const DHCP_PATIENCE: Duration = Duration::from_secs(6);
/// The first pause between two searches; it doubles up to [`MAX_SEARCH_PAUSE`].
pub const SEARCH_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause between two searches.
pub const MAX_SEARCH_PAUSE: Duration = Duration::from_secs(60);
/// A request to look again is heard this often at most.
pub const LOOK_AGAIN_PAUSE: Duration = Duration::from_secs(30);

/// What the machine wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask for a lease on this interface, in place of any other asking.
    StartDhcp(Interface),
    /// Stop asking.
    StopDhcp,
    /// Put the lease into force on this interface.
    Apply(u32, Lease),
    /// Take the lease back.
    Remove(u32, Lease),
    /// Ask the DNS for the brokers of the lease's domain.
    Search(Lease),
}

/// Where the network stands on the chosen interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of it in the whole process"
)]
enum Phase {
    /// No interface, or no carrier on it.
    Waiting { since: Instant },
    /// DHCP was asked.
    Asking { since: Instant, lost: bool },
    /// There is an address.
    Bound {
        lease: Lease,
        expires: Instant,
        search: Search,
        no_carrier_since: Option<Instant>,
    },
}

/// How far the brokers are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Search {
    /// These are the brokers.
    Known {
        brokers: Vec<String>,
        from_dns: bool,
    },
    /// The DNS is being asked.
    Searching { pause: Duration },
    /// It knew none: why, and when it is asked again.
    Failed {
        why: String,
        until: Instant,
        pause: Duration,
    },
}

/// The network of a terminal.
#[derive(Debug)]
pub struct Machine {
    boot_mac: Option<Mac>,
    given_brokers: Vec<String>,
    interfaces: Interfaces,
    chosen: Option<u32>,
    phase: Phase,
    actions: Vec<Action>,
    looked_again: Option<Instant>,
}

impl Machine {
    /// Begins with no interface known. `given_brokers` are those of the kernel command line.
    pub fn new(now: Instant, boot_mac: Option<Mac>, given_brokers: Vec<String>) -> Machine {
        Machine {
            boot_mac,
            given_brokers,
            interfaces: Interfaces::new(),
            chosen: None,
            phase: Phase::Waiting { since: now },
            actions: Vec::new(),
            looked_again: None,
        }
    }

    /// The interfaces are these now.
    pub fn handle_interfaces(&mut self, now: Instant, interfaces: Interfaces) {
        let had_carrier = self.carrier();
        self.interfaces = interfaces;
        let chosen = choose(&self.interfaces, self.boot_mac, self.chosen);
        if chosen != self.chosen {
            self.leave();
            self.chosen = chosen;
            self.phase = Phase::Waiting { since: now };
            self.start_if_live(now);
        } else if had_carrier != self.carrier() {
            self.handle_carrier(now);
        }
    }

    /// Gives up what belongs to the interface in use.
    fn leave(&mut self) {
        if !matches!(self.phase, Phase::Waiting { .. }) {
            self.actions.push(Action::StopDhcp);
        }
        if let (Phase::Bound { lease, .. }, Some(index)) = (&self.phase, self.chosen) {
            self.actions.push(Action::Remove(index, lease.clone()));
        }
    }

    fn handle_carrier(&mut self, now: Instant) {
        let carrier = self.carrier();
        match &mut self.phase {
            // The lease is kept: a cable that was out for a moment changes nothing. But the other
            // end may be another network, so it is asked for again.
            Phase::Bound {
                no_carrier_since, ..
            } if carrier => {
                *no_carrier_since = None;
                self.start_dhcp();
            }
            Phase::Bound {
                no_carrier_since, ..
            } => {
                *no_carrier_since = Some(now);
                self.actions.push(Action::StopDhcp);
            }
            Phase::Asking { .. } => {
                self.actions.push(Action::StopDhcp);
                self.phase = Phase::Waiting { since: now };
            }
            Phase::Waiting { .. } => self.start_if_live(now),
        }
    }

    fn start_if_live(&mut self, now: Instant) {
        if self.carrier() {
            self.phase = Phase::Asking {
                since: now,
                lost: false,
            };
            self.start_dhcp();
        }
    }

    fn start_dhcp(&mut self) {
        self.actions
            .extend(self.interface().cloned().map(Action::StartDhcp));
    }

    /// DHCP brought a lease, new or renewed, on the interface `index`.
    pub fn handle_lease(&mut self, now: Instant, index: u32, lease: Lease) {
        // What was under way when the interface changed is of no use any more.
        if self.chosen != Some(index) || matches!(self.phase, Phase::Waiting { .. }) {
            return;
        }
        let old = match std::mem::replace(&mut self.phase, Phase::Waiting { since: now }) {
            Phase::Bound { lease, search, .. } => Some((lease, search)),
            Phase::Waiting { .. } | Phase::Asking { .. } => None,
        };
        let expires = now + lease.lasts;
        let renewed = old.as_ref().is_some_and(|(old, _)| *old == lease);
        let search = match old {
            Some((_, search)) if renewed => search,
            Some((old, _)) => {
                if old.address != lease.address {
                    self.actions.push(Action::Remove(index, old));
                }
                self.begin_search(&lease)
            }
            None => self.begin_search(&lease),
        };
        self.actions.push(Action::Apply(index, lease.clone()));
        if !renewed && matches!(search, Search::Searching { .. }) {
            self.actions.push(Action::Search(lease.clone()));
        }
        self.phase = Phase::Bound {
            lease,
            expires,
            search,
            no_carrier_since: None,
        };
    }

    fn begin_search(&self, lease: &Lease) -> Search {
        let given = Some(&self.given_brokers).filter(|brokers| !brokers.is_empty());
        let leased = lease
            .brokers
            .as_ref()
            .ok()
            .filter(|brokers| !brokers.is_empty());
        match given.or(leased) {
            Some(brokers) => Search::Known {
                brokers: brokers.clone(),
                from_dns: false,
            },
            None => Search::Searching {
                pause: SEARCH_PAUSE,
            },
        }
    }

    fn lose_lease(&mut self, now: Instant) {
        if let (Phase::Bound { lease, .. }, Some(index)) = (&self.phase, self.chosen) {
            self.actions.push(Action::Remove(index, lease.clone()));
            self.phase = match self.carrier() {
                true => Phase::Asking {
                    since: now,
                    lost: true,
                },
                false => Phase::Waiting { since: now },
            };
        }
    }

    /// The DNS answered: brokers, or why there are none.
    pub fn handle_search(&mut self, now: Instant, found: Result<Vec<String>, String>) {
        let Phase::Bound { search, .. } = &mut self.phase else {
            return;
        };
        let Search::Searching { pause } = *search else {
            return;
        };
        *search = match found {
            Ok(brokers) if !brokers.is_empty() => Search::Known {
                brokers,
                from_dns: true,
            },
            Ok(_) => Search::Failed {
                why: "the record is empty".into(),
                until: now + pause,
                pause,
            },
            Err(why) => Search::Failed {
                why,
                until: now + pause,
                pause,
            },
        };
    }

    /// No broker known so far answers.
    pub fn handle_look_again(&mut self, now: Instant) {
        let heard = |at: Instant| now.saturating_duration_since(at) < LOOK_AGAIN_PAUSE;
        if self.looked_again.is_some_and(heard) || !self.carrier() {
            return;
        }
        self.looked_again = Some(now);
        match &mut self.phase {
            Phase::Bound {
                lease,
                search: Search::Known { from_dns: true, .. },
                ..
            } => {
                self.actions.push(Action::Search(lease.clone()));
                self.search_again();
            }
            // Option 224 may name others by now.
            Phase::Bound {
                search: Search::Known { .. },
                ..
            } if self.given_brokers.is_empty() => {
                self.start_dhcp();
            }
            _ => {}
        }
    }

    fn search_again(&mut self) {
        if let Phase::Bound { search, .. } = &mut self.phase {
            *search = Search::Searching {
                pause: SEARCH_PAUSE,
            };
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Phase::Bound {
            lease,
            expires,
            search,
            ..
        } = &mut self.phase
        else {
            return;
        };
        if *expires <= now {
            self.lose_lease(now);
            return;
        }
        if let Search::Failed { until, pause, .. } = *search
            && until <= now
        {
            *search = Search::Searching {
                pause: (pause * 2).min(MAX_SEARCH_PAUSE),
            };
            self.actions.push(Action::Search(lease.clone()));
        }
    }

    /// When [`Machine::handle_timeout`] or a report has something new.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting { since } => Some(*since + self.waiting_patience()),
            Phase::Asking { since, .. } => Some(*since + DHCP_PATIENCE),
            Phase::Bound {
                expires, search, ..
            } => match search {
                Search::Failed { until, .. } => Some(*until.min(expires)),
                Search::Known { .. } | Search::Searching { .. } => Some(*expires),
            },
        }
    }

    /// What is to be done next; call until there is nothing more.
    pub fn poll_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn waiting_patience(&self) -> Duration {
        if self.chosen.is_none() {
            INTERFACE_PATIENCE
        } else {
            CARRIER_PATIENCE
        }
    }

    fn interface(&self) -> Option<&Interface> {
        self.interfaces.get(&self.chosen?)
    }

    fn carrier(&self) -> bool {
        self.interface().is_some_and(|interface| interface.carrier)
    }

    /// The network as it is at `now`.
    pub fn report(&self, now: Instant) -> NetReport {
        let (stage, code, text) = self.headline(now);
        let lease = match &self.phase {
            Phase::Bound { lease, .. } => Some(lease),
            Phase::Waiting { .. } | Phase::Asking { .. } => None,
        };
        let link = self.interface().map(|interface| Link {
            interface: interface.name.clone(),
            mac: interface.mac.to_string(),
            carrier: interface.carrier,
            ip: lease.map(Lease::cidr),
        });
        NetReport {
            stage,
            code,
            text,
            link,
            host_name: lease.and_then(|lease| lease.host_name.clone()),
            default_name: self
                .interface()
                .map(|interface| interface.mac.default_name()),
            brokers: self.brokers().to_vec(),
        }
    }

    fn brokers(&self) -> &[String] {
        match &self.phase {
            Phase::Bound {
                search: Search::Known { brokers, .. },
                ..
            } => brokers,
            _ => &[],
        }
    }

    fn headline(&self, now: Instant) -> (Stage, Option<Code>, String) {
        let over = |since: Instant, patience| now.saturating_duration_since(since) >= patience;
        let fault = |stage, code: Code| (stage, Some(code), code.title().to_owned());
        match &self.phase {
            Phase::Waiting { since } if over(*since, self.waiting_patience()) => {
                let none = self.chosen.is_none();
                fault(
                    Stage::Cable,
                    if none {
                        Code::NoInterface
                    } else {
                        Code::NoCable
                    },
                )
            }
            Phase::Waiting { .. } => (Stage::Cable, None, "waiting for the network".into()),
            Phase::Asking { lost: true, .. } => fault(Stage::Dhcp, Code::LeaseLost),
            Phase::Asking { since, .. } if over(*since, DHCP_PATIENCE) => {
                fault(Stage::Dhcp, Code::NoDhcpAnswer)
            }
            Phase::Asking { .. } => (Stage::Dhcp, None, "asking for an address".into()),
            Phase::Bound {
                no_carrier_since: Some(_),
                ..
            } => fault(Stage::Cable, Code::NoCable),
            Phase::Bound { lease, search, .. } => search_headline(lease, search),
        }
    }
}

fn search_headline(lease: &Lease, search: &Search) -> (Stage, Option<Code>, String) {
    match search {
        Search::Known { .. } => (Stage::Ready, None, String::new()),
        Search::Searching { .. } => (Stage::Broker, None, "looking for the broker".into()),
        Search::Failed { why, .. } => {
            let why = match &lease.brokers {
                Err(error) => format!("DHCP option 224: {error}"),
                Ok(_) => why.clone(),
            };
            (
                Stage::Broker,
                Some(Code::NoBroker),
                format!("{}: {why}", Code::NoBroker.title()),
            )
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
