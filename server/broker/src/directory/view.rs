//! The directory as administrators see it.

use heliostat_control::admin::{CardRow, PersonRow, SessionRow, TerminalRow};
use heliostat_wire::output::Output;

use super::*;

/// How many of what there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Terminals with a live control link.
    pub terminals_online: u32,
    /// Sessions.
    pub sessions: u32,
    /// Sessions that are on a terminal.
    pub attached: u32,
    /// Cards that open something.
    pub cards: u32,
}

impl Directory {
    /// How many of what there are.
    pub fn counts(&self) -> Counts {
        let sessions = self.sessions.values();
        let cards = self.cards.values();
        Counts {
            terminals_online: self.links.len() as u32,
            sessions: self.sessions.len() as u32,
            attached: sessions.filter(|session| session.holder.is_some()).count() as u32,
            cards: cards.filter(|card| card.revoked_s.is_none()).count() as u32,
        }
    }

    /// All cards.
    pub fn card_rows(&self) -> Vec<CardRow> {
        let row = |(id, card): (&String, &Card)| CardRow {
            card: id.clone(),
            person: card.person.clone(),
            label: card.label.clone(),
            added_s: card.added_s,
            revoked_s: card.revoked_s,
            keys: card.keys.in_words(),
            standing: match (card.revoked_s, card.standing) {
                (Some(_), _) => "revoked",
                (None, Standing::Good) => "good",
                (None, Standing::FirstUse) => "first use",
                (None, Standing::Asked) => "asked",
            }
            .to_owned(),
            terminal: self.terminal_with(id),
        };
        self.cards.iter().map(row).collect()
    }

    fn terminal_with(&self, card: &str) -> Option<String> {
        let holds = |t: &&Terminal| t.slot.edge().is_some_and(|edge| edge.card == card);
        let terminal = self.terminals.values().find(holds)?;
        Some(terminal.name.clone())
    }

    /// All people; `uid_of` looks accounts up.
    pub fn person_rows(&self, uid_of: impl Fn(&str) -> Option<u32>) -> Vec<PersonRow> {
        let row = |person: &String| PersonRow {
            person: person.clone(),
            uid: uid_of(person),
            cards: self
                .cards
                .values()
                .filter(|card| card.person == *person && card.revoked_s.is_none())
                .count() as u32,
            session: self.session_of(person).map(|(id, _)| id.to_string()),
        };
        self.people.iter().map(row).collect()
    }

    /// All terminals.
    pub fn terminal_rows(&self) -> Vec<TerminalRow> {
        let row = |(id, terminal): (&String, &Terminal)| TerminalRow {
            id: id.clone(),
            name: terminal.name.clone(),
            address: terminal.online.map(|online| online.address.to_string()),
            software: terminal.software.clone(),
            outputs: terminal.outputs.iter().map(output_in_words).collect(),
            card: terminal.slot.edge().map(|edge| edge.card.clone()),
            person: self.person_on(&terminal.slot),
            seen_s: terminal.seen_s,
            boot_ms: terminal.boot_ms,
        };
        self.terminals.iter().map(row).collect()
    }

    fn person_on(&self, slot: &Slot) -> Option<String> {
        match slot {
            Slot::Joined(join) | Slot::Resumable(join) => {
                Some(self.sessions[&join.session].person.clone())
            }
            Slot::Empty | Slot::Parked(_) | Slot::Proving(_) | Slot::Waiting { .. } => None,
        }
    }

    /// All sessions.
    pub fn session_rows(&self, now: Moment) -> Vec<SessionRow> {
        let row = |(id, session): (&SessionId, &Session)| {
            let door = match &session.state {
                State::Running(door) => Some(door),
                _ => None,
            };
            SessionRow {
                id: id.to_string(),
                person: session.person.clone(),
                uid: session.uid,
                pid: session.pid,
                started_s: session.started_s,
                port: door.map(|door| door.port),
                wayland_display: door.map(|door| door.wayland_display.clone()),
                state: state_in_words(&session.state).to_owned(),
                terminal: session
                    .holder
                    .as_ref()
                    .map(|holder| self.terminals[&holder.terminal].name.clone()),
                stats: session.answers.stats().cloned(),
                stats_age_ms: session.answers.age_ms(now.ms),
            }
        };
        self.sessions.iter().map(row).collect()
    }
}

fn state_in_words(state: &State) -> &'static str {
    match state {
        State::Starting { .. } | State::Adopting { .. } => "starting",
        State::Running(_) => "running",
        State::Ending { .. } => "ending",
    }
}

fn output_in_words(output: &Output) -> String {
    format!("{}x{} {}", output.size.w, output.size.h, output.connector)
}
