//! Greeters: sessions of their own in which people log in, one for each terminal that needs it.

use heliostat_control::greetd::{CardState, Enrol as Offered, GreeterContext};
use heliostat_control::session::ToSession;
use heliostat_wire::control::{CardRefusal, DetachReason};

use super::cards::{Admission, New};
use super::proving;
use super::*;
use crate::network::Network;
use crate::policy::{self, Enrol, Outcome, Proof};

/// Seconds after which a greeter at which nobody types gives its terminal up, and its memory.
const UNUSED_S: u32 = 300;

impl Directory {
    /// Brings a greeter to a terminal; only `person` may log in there, where one is named.
    pub(super) fn greet(
        &mut self,
        now: Moment,
        terminal: &str,
        edge: Edge,
        person: Option<String>,
    ) {
        let Some(user) = self.setup.greeter_user.clone() else {
            let text = "A password is needed here, and this site has no greeter to ask for it. \
                        Ask your administrator.";
            return self.refuse(now, terminal, CardRefusal::Forbidden, text);
        };
        if !self.has_room_for_greeter(terminal) {
            let text = "Too many people are logging in at the moment. Try again soon.";
            return self.refuse(now, terminal, CardRefusal::Busy, text);
        }
        let id = self.fresh_id();
        let outcome = self.decide(terminal, edge.id(), person.as_deref());
        let context = self.context(terminal, &edge, person, outcome.enrol);
        let who = Who {
            person: context.person.as_deref().unwrap_or_default(),
            terminal,
            card: &edge.card,
        };
        self.audit(now, "greeter", who, id.to_string());
        let new = New {
            id,
            kind: Kind::Greeter,
            person: user,
            login: None,
            outcome: Outcome::default(),
        };
        self.launch(now, terminal, new);
        self.act(Action::Greet(id, context));
        self.wait(now, id, terminal, edge, Proof::None);
    }

    /// Whether a terminal may have another greeter. One that ends counts until it is gone; no
    /// terminal has more than that and the next, no address can take all there are, nor can a network: a
    /// site's terminals may well be in one, and whoever is in it has as many addresses as they like.
    fn has_room_for_greeter(&self, terminal: &str) -> bool {
        let online = self.terminals[terminal].online;
        let address = online.map(|online| online.address.ip().to_canonical());
        let network = address.map(Network::of);
        let (mut all, mut here, mut there, mut near) = (0, 0, 0, 0);
        for session in self.sessions.values().filter(|s| s.kind == Kind::Greeter) {
            all += 1;
            if let Some((greeted, from)) = &session.greets {
                here += usize::from(greeted == terminal);
                there += usize::from(Some(*from) == address);
                near += usize::from(Some(Network::of(*from)) == network);
            }
        }
        let most = self.setup.max_greeters;
        let of_address = (most * 3).div_ceil(4);
        let of_network = of_address.max(most * 15 / 16);
        all < most && here < 2 && there < of_address && near < of_network
    }

    fn context(
        &self,
        terminal: &str,
        edge: &Edge,
        person: Option<String>,
        enrol: Enrol,
    ) -> GreeterContext {
        let card = match (edge.id(), self.cards.contains_key(&edge.card)) {
            (None, _) => CardState::None,
            (Some(_), true) => CardState::Known,
            (Some(_), false) => CardState::Unknown,
        };
        let enrol = match (card, enrol) {
            (CardState::Unknown, Enrol::Offer) => Offered::Offer,
            (CardState::Unknown, Enrol::Approval) => Offered::Approval,
            _ => Offered::No,
        };
        GreeterContext {
            site: self.setup.site.clone(),
            terminal: self.terminals[terminal].name.clone(),
            card,
            enrol,
            person,
            ..GreeterContext::default()
        }
    }

    /// The terminal on which a greeter is, with the card there.
    fn greeted(&self, greeter: SessionId) -> Option<(String, Edge)> {
        let session = self.sessions.get(&greeter)?;
        if session.kind != Kind::Greeter || matches!(session.state, State::Ending { .. }) {
            return None;
        }
        let terminal = session.holder.as_ref()?.terminal.clone();
        // Without a control link there is nobody to bring a desktop to.
        self.terminals[&terminal].online?;
        let edge = self.terminals[&terminal].slot.edge()?.clone();
        Some((terminal, edge))
    }

    /// Somebody has shown a password: their desktop takes the greeter's place.
    pub(super) fn logged_in(&mut self, now: Moment, said: LoggedIn) {
        let Some((terminal, edge)) = self.greeted(said.greeter) else {
            return self.drop_login(Some(said.login));
        };
        let LoggedIn {
            person,
            groups,
            login,
            ..
        } = said;
        if let Some(groups) = groups {
            self.groups.insert(person.clone(), groups);
        }
        let who = Who {
            person: &person,
            terminal: &terminal,
            card: &edge.card,
        };
        self.audit(now, "login", who, "password");
        self.dismiss(&terminal);
        if self.policy.asks_for_groups() && !self.groups.contains_key(&person) {
            self.drop_login(Some(login));
            let text = "The server cannot look you up at the moment. Try again.";
            return self.refuse(now, &terminal, CardRefusal::SessionFailed, text);
        }
        if let Err(text) = self.may_log_in(&terminal, &edge, &person) {
            self.drop_login(Some(login));
            return self.refuse(now, &terminal, CardRefusal::Forbidden, &text);
        }
        self.know_person(&person);
        let known = self.cards.get(&edge.card);
        let outcome = self.decide(&terminal, edge.id(), Some(&person));
        let wanted = match known {
            // What the policy asks for and is not bound is bound now; what is bound already has to be
            // shown on the way there, so that no copied id gets this far.
            Some(card) => proving::lacks(&card.keys, outcome.proof),
            None => said.enrol && edge.id().is_some() && outcome.enrol != Enrol::No,
        };
        let keyless = policy::is_keyless(kind_of(&edge.card));
        match (wanted, keyless) {
            (true, false) => self.bind(now, &terminal, edge, person, login),
            (wanted, _) => {
                if wanted && known.is_none() && outcome.keyless {
                    self.give_keyless(now, &terminal, &edge.card, &person);
                }
                let admission = Admission {
                    person,
                    shown: Proof::Password,
                    login: Some(login),
                };
                self.admit(now, &terminal, edge, admission);
            }
        }
    }

    /// Whether a password is enough for this person here.
    fn may_log_in(&self, terminal: &str, edge: &Edge, person: &str) -> Result<(), String> {
        match self.cards.get(&edge.card) {
            Some(card) if card.person != person => {
                return Err("The card in the reader is somebody else's.".to_owned());
            }
            Some(card) if card.revoked_s.is_some() => {
                return Err("This card has been revoked.".to_owned());
            }
            // It is their card, and the policy has sent them to the greeter.
            Some(_) => return Ok(()),
            None => {}
        }
        let outcome = self.decide(terminal, edge.id(), Some(person));
        match outcome.login {
            true => Ok(()),
            false => Err("You cannot log in without your card here.".to_owned()),
        }
    }

    /// A card that cannot prove anything becomes somebody's.
    fn give_keyless(&mut self, now: Moment, terminal: &str, card: &str, person: &str) {
        let given = Card {
            person: person.to_owned(),
            label: String::new(),
            added_s: now.unix_ms / 1000,
            revoked_s: None,
            keys: Keys::default(),
            standing: self.standing_of_new(terminal, card, person),
            alias_of: None,
        };
        self.cards.insert(card.to_owned(), given.clone());
        let who = Who {
            person,
            card,
            terminal,
        };
        self.audit(now, "card_bound", who, "without a key");
        self.act(Action::Keep(Record::Card(card.to_owned(), given)));
    }

    /// Whether a card that a person binds at a terminal is good at once.
    pub(super) fn standing_of_new(&self, terminal: &str, card: &str, person: &str) -> Standing {
        match self.decide(terminal, Some(card), Some(person)).enrol {
            Enrol::Offer => Standing::Good,
            Enrol::No | Enrol::Approval => Standing::Asked,
        }
    }

    /// Whether somebody who has shown their password, but not their card's proof, may go on.
    pub(super) fn password_will_do(&self, terminal: &str, edge: &Edge, person: &str) -> bool {
        let outcome = self.decide(terminal, edge.id(), Some(person));
        let wanted = outcome.needs(kind_of(&edge.card)) == Some(Proof::Password);
        outcome.login || (wanted && edge.id().is_some())
    }

    pub(super) fn login_failed(
        &mut self,
        now: Moment,
        greeter: SessionId,
        person: &str,
        text: &str,
    ) {
        let Some((terminal, edge)) = self.greeted(greeter) else {
            return;
        };
        let person: String = person.chars().take(64).collect();
        let text: String = text.chars().take(200).collect();
        let who = Who {
            person: &person,
            terminal: &terminal,
            card: &edge.card,
        };
        self.audit(now, "login_failed", who, text);
    }

    /// Parts a terminal from its greeter, whose time is over. The card stays parked.
    fn dismiss(&mut self, terminal: &str) {
        self.vacate_parked(terminal, DetachReason::SessionEnded);
    }

    /// Seconds without input after which a session asks what is to become of it.
    pub(super) fn idle_of(kind: &Kind, outcome: &Outcome) -> Option<u32> {
        match kind {
            Kind::Desktop => {
                let idle = outcome.idle.0?;
                Some(u32::try_from(idle.as_secs()).unwrap_or(u32::MAX))
            }
            Kind::Greeter => Some(UNUSED_S),
            Kind::Kiosk(_) => None,
        }
    }

    /// A greeter without a terminal has nobody to greet.
    pub(super) fn end_greeter(&mut self, now: Moment, id: SessionId, reason: DetachReason) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.kind != Kind::Greeter || matches!(session.state, State::Ending { .. }) {
            return;
        }
        let starting = matches!(session.state, State::Starting { .. });
        self.ending(now, id, reason.clone());
        self.act(match starting {
            true => Action::Kill(id),
            false => Action::ToSession(id, ToSession::End { reason }),
        });
    }

    /// Lets a login go that leads nowhere.
    pub(super) fn drop_login(&mut self, login: Option<LoginId>) {
        if let Some(login) = login {
            self.act(Action::DropLogin(login));
        }
    }
}
