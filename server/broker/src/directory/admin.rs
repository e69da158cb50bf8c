//! What an administrator asks to be changed.

use heliostat_control::admin::{Failure, Why};
use heliostat_control::session::ToSession;
use heliostat_wire::control::{CardRefusal, DetachReason, ToTerminal};
use heliostat_wire::id::SessionId;
use heliostat_wire::limits::{MAX_CARD_ID, MAX_NAME};

use super::*;

/// Ids of which one may be the next one's other.
const MAX_ALIASES: usize = 64;

/// What was done, in words, and what is to be done for it.
pub type Changed = Result<(String, Vec<Action>), Failure>;

impl Directory {
    /// Gives a card to a person, who is made known if need be.
    pub fn add_card(
        &mut self,
        now: Moment,
        card: &str,
        person: &str,
        label: &str,
        standing: Standing,
        keys: Keys,
    ) -> Changed {
        let given = Card {
            person: person.to_owned(),
            label: label.to_owned(),
            added_s: now.unix_ms / 1000,
            revoked_s: None,
            // What was read off the card just now is truer than what was known of it.
            keys: keys.or(self.keys_of(card, person)),
            standing,
            alias_of: None,
        };
        self.give(now, card, given)
    }

    fn give(&mut self, now: Moment, card: &str, given: Card) -> Changed {
        self.now = now;
        let (person, label) = (given.person.as_str(), given.label.as_str());
        check_card(card)?;
        check_person(person)?;
        if label.len() > MAX_NAME || label.chars().any(char::is_control) {
            return bad(format!("a label is at most {MAX_NAME} bytes of plain text"));
        }
        let taken = self
            .cards
            .get(card)
            .filter(|known| known.revoked_s.is_none());
        if let Some(owner) = taken
            .map(|known| &known.person)
            .filter(|owner| *owner != person)
        {
            let text = format!(
                "card {card} is {owner}'s; revoke it first if it is to change hands, \
                 or give {person} another"
            );
            return fail(Why::Conflict, text);
        }
        self.know_person(person);
        self.cards.insert(card.to_owned(), given.clone());
        let who = Who {
            person,
            card,
            terminal: "",
        };
        self.audit(now, "card_added", who, label);
        let text = format!("card {card} is {person}'s");
        self.act(Action::Keep(Record::Card(card.to_owned(), given)));
        self.open_parked(now, card);
        Ok((text, std::mem::take(&mut self.actions)))
    }

    /// The keys by which a card of this person is known already.
    fn keys_of(&self, card: &str, person: &str) -> Keys {
        let known = self.cards.get(card).filter(|known| known.person == person);
        known.map(|known| known.keys.clone()).unwrap_or_default()
    }

    /// Lets another id open what a card opens: the same piece of plastic, as another reader or another
    /// of its applications names it.
    pub fn alias_card(&mut self, now: Moment, card: &str, alias: &str) -> Changed {
        let Some(known) = self.cards.get(card) else {
            let text = format!("there is no card {card}; see heliostatctl card list");
            return fail(Why::NotFound, text);
        };
        if known.revoked_s.is_some() {
            let text = format!("card {card} is revoked; add {alias} to its person by card add");
            return fail(Why::Conflict, text);
        }
        let first = self.first_id(card);
        let revoked = self
            .cards
            .get(alias)
            .is_some_and(|other| other.revoked_s.is_some());
        if alias == first || (!revoked && self.first_id(alias) == first) {
            return fail(Why::Conflict, format!("{alias} is card {first} already"));
        }
        let given = Card {
            added_s: now.unix_ms / 1000,
            keys: self.keys_of(alias, &known.person),
            standing: Standing::Good,
            alias_of: Some(first),
            ..known.clone()
        };
        self.give(now, alias, given)
    }

    /// The id to which a card's others were added; its own where it is none of those.
    fn first_id(&self, card: &str) -> String {
        let mut first = card;
        for _ in 0..MAX_ALIASES {
            match self
                .cards
                .get(first)
                .and_then(|known| known.alias_of.as_deref())
            {
                Some(of) if of != card => first = of,
                _ => break,
            }
        }
        first.to_owned()
    }

    /// All ids of the piece of plastic that one of its ids names, that one first.
    fn ids_of(&self, card: &str) -> Vec<String> {
        let first = self.first_id(card);
        let others = self.cards.iter().filter(|(id, known)| {
            *id != card && known.revoked_s.is_none() && self.first_id(id) == first
        });
        let others = others.map(|(id, _)| id.clone());
        std::iter::once(card.to_owned()).chain(others).collect()
    }

    /// Agrees to a card that a person has asked for.
    pub fn approve_card(&mut self, now: Moment, card: &str) -> Changed {
        self.now = now;
        let Some(known) = self.cards.get_mut(card) else {
            let text = format!("there is no card {card}; see heliostatctl card list");
            return fail(Why::NotFound, text);
        };
        if known.standing != Standing::Asked {
            return fail(Why::Conflict, format!("nobody has asked for card {card}"));
        }
        known.standing = Standing::Good;
        let kept = known.clone();
        let who = Who {
            person: &kept.person,
            card,
            terminal: "",
        };
        self.audit(now, "card_approved", who, "");
        self.act(Action::Keep(Record::Card(card.to_owned(), kept.clone())));
        self.open_parked(now, card);
        let text = format!("card {card} is {}'s", kept.person);
        Ok((text, std::mem::take(&mut self.actions)))
    }

    /// Locks the session that `wanted` names.
    pub fn lock_session(&mut self, now: Moment, wanted: &str) -> Changed {
        self.now = now;
        let id = self.find_session(wanted)?;
        let session = &self.sessions[&id];
        let person = session.person.clone();
        self.graces.retain(|(_, owner), _| *owner != person);
        self.lock(now, id, "asked for by an administrator");
        self.end_lost_greeters(now, DetachReason::SessionEnded);
        let text = format!("{person}'s session is locked");
        Ok((text, std::mem::take(&mut self.actions)))
    }

    /// A card that lay in a reader unknown opens at once when it is added.
    fn open_parked(&mut self, now: Moment, card: &str) {
        let parked = self.terminals.iter().find_map(|(id, terminal)| {
            let Slot::Parked(edge) = &terminal.slot else {
                return None;
            };
            let here = terminal.online.is_some() && edge.card == card;
            here.then(|| (id.clone(), edge.clone()))
        });
        if let Some((terminal, edge)) = parked {
            self.open(now, &terminal, edge);
        }
    }

    pub(super) fn know_person(&mut self, person: &str) -> bool {
        let new = self.people.insert(person.to_owned());
        if new {
            self.act(Action::Keep(Record::Person(person.to_owned())));
        }
        new
    }

    /// Makes a person known.
    pub fn add_person(&mut self, now: Moment, person: &str) -> Changed {
        check_person(person)?;
        let new = self.know_person(person);
        if new {
            let who = Who {
                person,
                ..Who::default()
            };
            self.audit(now, "person_added", who, "");
        }
        let text = match new {
            true => format!("{person} is known now"),
            false => format!("{person} was known already"),
        };
        Ok((text, std::mem::take(&mut self.actions)))
    }

    /// A card opens nothing from now on, by none of its ids: whoever has it has them all.
    pub fn revoke_card(&mut self, now: Moment, card: &str) -> Changed {
        self.now = now;
        let Some(known) = self.cards.get(card) else {
            let text = format!("there is no card {card}; see heliostatctl card list");
            return fail(Why::NotFound, text);
        };
        let mut text = format!("card {card} of {} is revoked", known.person);
        let ids = self.ids_of(card);
        for id in &ids {
            self.revoke_id(now, id);
        }
        if ids.len() > 1 {
            text += &format!(", and with it {}", ids[1..].join(", "));
        }
        Ok((text, std::mem::take(&mut self.actions)))
    }

    fn revoke_id(&mut self, now: Moment, card: &str) {
        let Some(known) = self.cards.get_mut(card) else {
            return;
        };
        known.revoked_s.get_or_insert(now.unix_ms / 1000);
        let kept = known.clone();
        let who = Who {
            person: &kept.person,
            card,
            terminal: "",
        };
        self.audit(now, "card_revoked", who, "");
        self.act(Action::Keep(Record::Card(card.to_owned(), kept.clone())));
        self.graces.retain(|(graced, _), _| graced != card);
        let holding: Vec<String> = self
            .terminals
            .iter()
            .filter(|(_, t)| t.slot.edge().is_some_and(|edge| edge.card == card))
            .map(|(id, _)| id.clone())
            .collect();
        for terminal in &holding {
            self.take_from(now, terminal);
        }
    }

    /// The card in a terminal was revoked.
    fn take_from(&mut self, now: Moment, terminal: &str) {
        if let Slot::Joined(join) | Slot::Resumable(join) = &self.terminals[terminal].slot {
            let message = ToTerminal::Detach {
                attach_id: join.attach,
                reason: DetachReason::CardRevoked,
            };
            self.tell(terminal, message);
        }
        self.vacate_parked(terminal, DetachReason::CardRevoked);
        let text = "This card has been revoked. Ask your administrator for another.";
        self.refuse(now, terminal, CardRefusal::Revoked, text);
    }

    /// Ends the session that `wanted` names: an id, its beginning, or a person.
    pub fn end_session(&mut self, now: Moment, wanted: &str) -> Changed {
        self.now = now;
        let id = self.find_session(wanted)?;
        let session = &self.sessions[&id];
        let person = session.person.clone();
        let starting = matches!(session.state, State::Starting { .. });
        let who = Who {
            person: &person,
            ..Who::default()
        };
        self.audit(now, "session_end", who, id.to_string());
        self.ending(now, id, DetachReason::ByAdmin);
        let end = ToSession::End {
            reason: DetachReason::ByAdmin,
        };
        self.act(match starting {
            true => Action::Kill(id),
            false => Action::ToSession(id, end),
        });
        let text = format!("{person}'s session {id} is ending");
        Ok((text, std::mem::take(&mut self.actions)))
    }

    fn find_session(&self, wanted: &str) -> Result<SessionId, Failure> {
        let matches = |id: &SessionId, session: &Session| {
            session.person == wanted || (wanted.len() >= 4 && id.to_string().starts_with(wanted))
        };
        let found: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(id, session)| matches(id, session))
            .filter(|(_, session)| !matches!(session.state, State::Ending { .. }))
            .map(|(id, _)| *id)
            .collect();
        match found[..] {
            [one] => Ok(one),
            [] => fail(
                Why::NotFound,
                format!("no session matches {wanted:?}; see heliostatctl session list"),
            ),
            [..] => fail(
                Why::Conflict,
                format!(
                    "{} sessions match {wanted:?}; give more of the id",
                    found.len()
                ),
            ),
        }
    }
}

fn fail<T>(why: Why, text: String) -> Result<T, Failure> {
    Err(Failure { why, text })
}

fn bad<T>(text: String) -> Result<T, Failure> {
    fail(Why::BadRequest, text)
}

fn check_card(card: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_graphic();
    match card.is_empty() || card.len() > MAX_CARD_ID || !card.chars().all(plain) {
        true => bad(format!(
            "a card id is at most {MAX_CARD_ID} printable characters without spaces, such as \
             piv:00112233445566778899aabbccddeeff; insert the card at a terminal to see its id"
        )),
        false => Ok(()),
    }
}

fn check_person(person: &str) -> Result<(), Failure> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    let good = !person.is_empty()
        && person.len() <= 64
        && person.chars().all(allowed)
        && !person.starts_with(['-', '.']);
    match good {
        true => Ok(()),
        false => bad(format!(
            "a person is named as a Unix user (letters, digits, . _ - @), not {person:?}"
        )),
    }
}
