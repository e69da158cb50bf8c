//! The directory's stories, and a property test that mixes them all.

mod any_order;
mod cards;
mod greeters;
mod links;
mod offers;
mod proofs;
mod restarts;
mod sessions;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use heliostat_control::hex::Hex;
use heliostat_control::session::{Ask, Attached, FromSession, Ready, ToSession};
use heliostat_wire::card::{Card as ReadCard, CardKind};
use heliostat_wire::close::CloseCode;
use heliostat_wire::control::{CardRefusal, DetachReason, Hello, LoginOffer, ToBroker, ToTerminal};
use heliostat_wire::id::{AttachId, KeyPin, SessionId};
use heliostat_wire::receipt::{Receipt, Stage, StageTime};

use super::*;
use crate::proof::EnrolledKey;

/// A directory with a clock, and what it asked for.
struct Site {
    directory: Directory,
    ms: u64,
    links: u64,
    sessions: u8,
}

impl Site {
    fn new() -> Self {
        Self::with(
            "default.proof = \"none\"\ndefault.keep_pixels = \"5min\"",
            Remembered::default(),
        )
    }

    /// A site of this policy.
    fn with(policy: &str, remembered: Remembered) -> Self {
        let setup = Setup {
            site: "Site".to_owned(),
            greeter_user: Some("greeter".to_owned()),
            max_sessions: 3,
            max_greeters: 2,
            ..Setup::default()
        };
        let policy = Policy::parse("policy.toml", policy).unwrap();
        let mut site = Self {
            directory: Directory::new(setup, policy, None, remembered),
            ms: 1_000,
            links: 0,
            sessions: 0,
        };
        for (card, person) in [
            ("c-alice", "alice"),
            ("c-alice-2", "alice"),
            ("c-bob", "bob"),
        ] {
            site.admin(|directory, now| {
                directory.add_card(now, card, person, "", Standing::Good, Keys::default())
            });
        }
        site
    }

    fn now(&mut self) -> Moment {
        self.ms += 1;
        self.sessions = self.sessions.wrapping_add(1);
        Moment {
            ms: self.ms,
            unix_ms: 1_000_000 + self.ms,
            fresh: SessionId([self.sessions; 16]),
            nonce: [self.sessions; 32],
        }
    }

    fn admin(&mut self, change: impl FnOnce(&mut Directory, Moment) -> Changed) -> Vec<Action> {
        let now = self.now();
        let actions = change(&mut self.directory, now).unwrap().1;
        self.directory.check();
        actions
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let now = self.now();
        let actions = self.directory.handle(now, event);
        self.directory.check();
        actions
    }

    /// A terminal comes online; `boot` makes its key.
    fn online(&mut self, id: &str, boot: u8) -> (LinkId, Vec<Action>) {
        self.online_from(([127, 0, 0, 1], 1).into(), id, boot)
    }

    fn online_from(&mut self, address: SocketAddr, id: &str, boot: u8) -> (LinkId, Vec<Action>) {
        self.links += 1;
        let link = LinkId(self.links);
        let hello = Hello {
            terminal_id: id.into(),
            name: format!("desk {id}").as_str().into(),
            software: "1".into(),
            outputs: Default::default(),
            boot_ms: (1, 2),
        };
        let actions = self.event(Event::Hello {
            link,
            key: KeyPin([boot; 32]),
            address,
            exporter: exporter_of(link),
            hello,
        });
        (link, actions)
    }

    fn says(&mut self, link: LinkId, message: ToBroker) -> Vec<Action> {
        self.event(Event::Terminal { link, message })
    }

    fn insert(&mut self, link: LinkId, seq: u32, card: &str) -> Vec<Action> {
        self.says(link, inserted(seq, card))
    }

    fn ready(&mut self, session: SessionId, attached: Option<AttachId>) -> Vec<Action> {
        let attached = attached.map(|attach_id| Attached {
            attach_id,
            terminal: "somewhere".to_owned(),
        });
        self.event(Event::SessionReady {
            session,
            ready: Ready {
                pid: 42,
                uid: 1000,
                port: 4500,
                spki_sha256: Hex([1; 32]),
                wayland_display: "wayland-0".to_owned(),
                attached,
            },
        })
    }

    fn gone(&mut self, session: SessionId, how: Gone) -> Vec<Action> {
        self.event(Event::SessionGone { session, how })
    }

    /// A terminal with a card whose session is attached and seen.
    fn attached(&mut self, id: &str, boot: u8, card: &str) -> (LinkId, SessionId, AttachId) {
        let (link, _) = self.online(id, boot);
        let started = start_of(&self.insert(link, 1, card)).expect("a start");
        let offer = offer_of(&self.ready(started, None)).expect("an offer");
        self.attached_says(started, offer.attach);
        (link, started, offer.attach)
    }

    fn attached_says(&mut self, session: SessionId, attach_id: AttachId) -> Vec<Action> {
        self.event(Event::Session {
            session,
            message: FromSession::Attached(Attached {
                attach_id,
                terminal: String::new(),
            }),
        })
    }
}

fn exporter_of(link: LinkId) -> [u8; 32] {
    [link.0 as u8; 32]
}

fn owner_of(person: &str) -> Owner {
    Owner {
        person: person.to_owned(),
        ..Owner::default()
    }
}

fn inserted(seq: u32, card: &str) -> ToBroker {
    ToBroker::CardInserted {
        seq,
        reader: "reader".into(),
        card: ReadCard {
            id: card.into(),
            kind: CardKind::Piv,
            atr: Default::default(),
        },
    }
}

fn started(actions: &[Action]) -> impl Iterator<Item = &Start> {
    actions.iter().filter_map(|action| match action {
        Action::Start(start) => Some(start),
        _ => None,
    })
}

fn start_of(actions: &[Action]) -> Option<SessionId> {
    actions.iter().find_map(|action| match action {
        Action::Start(start) => Some(start.session),
        _ => None,
    })
}

fn offer_of(actions: &[Action]) -> Option<Offer> {
    actions.iter().find_map(|action| match action {
        Action::Offer(offer) => Some(offer.clone()),
        _ => None,
    })
}

fn said(actions: &[Action]) -> Vec<(LinkId, &ToTerminal)> {
    let said = actions.iter().filter_map(|action| match action {
        Action::ToTerminal(link, message) => Some((*link, message)),
        _ => None,
    });
    said.collect()
}

fn refusal(actions: &[Action]) -> Option<(LinkId, CardRefusal)> {
    said(actions)
        .into_iter()
        .find_map(|(link, message)| match message {
            ToTerminal::CardRefused { reason, .. } => Some((link, *reason)),
            _ => None,
        })
}

fn refusal_text(actions: &[Action]) -> String {
    said(actions)
        .into_iter()
        .find_map(|(_, message)| match message {
            ToTerminal::CardRefused { text, .. } => Some(text.to_string()),
            _ => None,
        })
        .expect("a refusal")
}

fn detach(actions: &[Action]) -> Option<(LinkId, AttachId, DetachReason)> {
    said(actions)
        .into_iter()
        .find_map(|(link, message)| match message {
            ToTerminal::Detach { attach_id, reason } => Some((link, *attach_id, reason.clone())),
            _ => None,
        })
}

fn told(actions: &[Action], session: SessionId) -> Vec<&ToSession> {
    let told = actions.iter().filter_map(|action| match action {
        Action::ToSession(id, message) if *id == session => Some(message),
        _ => None,
    });
    told.collect()
}

fn link_ended(attach_id: AttachId, reason: DetachReason) -> ToBroker {
    ToBroker::LinkEnded { attach_id, reason }
}
