//! What happens at a desk, as a pure machine: events in, actions out.
//!
//! ```text
//!            card edge            id read             Attach              Attached
//!   Empty ───────────▶ Reading ───────────▶ Asked ───────────▶ Attaching ─────────▶ Attached
//!     ▲                   │                 │  ▲  Starting        │                    │
//!     │ card pulled       ▼                 ▼  └── Retry ──┐      ▼ link ended         │ moved, ended
//!     └──────────── Unreadable          Refused ───────────┘     Lost ── Attach ──▶ …  ▼
//!       (from every state)                                                          Parted
//!   Empty ── login ──▶ Asked, as a person without a card ── given up, left ──▶ Empty
//! ```
//!
//! A desktop stays Attached where a better link takes the place of its first one.
//!
//! The control link comes and goes beside all this: a desktop stays on the screen while the broker
//! restarts. Pulling the card blanks the screen in the same step, whatever the network does.

mod proving;

use heliostat_piv::pin::Pin;
use heliostat_wire::card::{Card, Unreadable};
use heliostat_wire::control::{Attach, CardRefusal, DetachReason, ToBroker, ToTerminal};
use heliostat_wire::id::{AttachId, CardId};
use heliostat_wire::proof::{Challenge, Proof, ProofFailure};
use heliostat_wire::receipt::Stage as ReceiptStage;

pub use proving::{PinEntry, PinKey, Proving};

/// What happens to the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskEvent {
    /// The control link is up and the broker has welcomed us.
    ControlUp,
    /// The control link is down; why, in words.
    ControlDown(String),
    /// Something is in a reader.
    CardEdge {
        /// The reader.
        reader: String,
    },
    /// What was in the reader has been read.
    CardRead(Box<Card>),
    /// What was in the reader cannot be read.
    CardUnreadable(Unreadable),
    /// It is gone.
    CardGone,
    /// The broker said something.
    FromBroker(Box<ToTerminal>),
    /// The session accepted us.
    SessionAttached(AttachId),
    /// The session link is over.
    SessionEnded(AttachId, DetachReason),
    /// A better link to the session of this attach could be had.
    BetterLink(AttachId),
    /// The person asks to try again.
    Retry,
    /// The person asks to log in without a card.
    Login,
    /// The person gives up what they began: a PIN, or a login.
    GiveUp,
    /// The person leaves the desktop, with the card still there.
    LeaveSession,
    /// A key that belongs to a PIN was pressed.
    PinKey(PinKey),
    /// The card wants a PIN.
    PinWanted {
        /// The proof.
        number: u32,
        /// How often it may be wrong before the card is blocked.
        tries: u8,
        /// Whether one was wrong just now.
        wrong: bool,
    },
    /// A proof was made, or not.
    Proved {
        /// The proof.
        number: u32,
        /// What came of it.
        result: Result<Box<Proof>, ProofFailure>,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell the broker.
    Send(ToBroker),
    /// Open the session link.
    Join(Box<Attach>),
    /// Open another session link in place of the present one. The screen stays as it is.
    Change(Box<Attach>),
    /// Leave the session at once, blank the screen, forget the pixels or put them away.
    Leave(DetachReason),
    /// Forget pixels that were put away.
    Forget,
    /// A stage of the attach has been reached now.
    Mark(ReceiptStage),
    /// Start a new receipt now.
    BeginReceipt,
    /// The link broke under a desktop that was here: start a new receipt now, unless one is under
    /// way still.
    MendReceipt,
    /// Let the card make a proof, and no other any more.
    Prove {
        /// Names it.
        number: u32,
        /// The card's reader.
        reader: String,
        /// Whose proof it is.
        card: CardId,
        /// What the broker wants.
        challenge: Box<Challenge>,
    },
    /// Give the card the PIN.
    GivePin {
        /// The proof.
        number: u32,
        /// The PIN.
        pin: Pin,
    },
    /// No proof is wanted any more.
    StopProof,
}

/// Where the desk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// No card.
    Empty,
    /// A card that is being read.
    Reading {
        /// Its reader.
        reader: String,
    },
    /// A card that cannot be read.
    Unreadable {
        /// Its reader.
        reader: String,
        /// Why.
        why: Unreadable,
    },
    /// The broker has been asked what the card opens; whose session it starts, if it said so.
    Asked {
        /// Whose it is.
        present: Present,
        /// Whose session is being started.
        starting: Option<String>,
    },
    /// The session link is being opened.
    Attaching {
        /// Whose it is.
        present: Present,
        /// The attach.
        attach: AttachId,
        /// Whose session.
        person: String,
    },
    /// The desktop is here.
    Attached {
        /// Whose it is.
        present: Present,
        /// The attach.
        attach: AttachId,
        /// Whose session.
        person: String,
    },
    /// The card opens nothing.
    Refused {
        /// Whose it is.
        present: Present,
        /// Why.
        reason: CardRefusal,
        /// The broker's words.
        text: String,
    },
    /// The desktop was here; a broken link may bring it back.
    Parted {
        /// Whose it is.
        present: Present,
        /// Whose session; empty where it was nobody's.
        person: String,
        /// Why.
        reason: DetachReason,
    },
}

/// What is at the desk and may open a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Present {
    /// A card that has been read and is still there.
    Card {
        /// Its reader.
        reader: String,
        /// What was read.
        card: Card,
    },
    /// A person without a card.
    Person,
}

/// The desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desk {
    stage: Stage,
    proving: Proving,
    /// Proofs so far.
    proofs: u32,
    /// Why there is no control link; nothing while there is one.
    control: Result<(), String>,
    /// Card edges so far.
    seq: u32,
    /// The attach in whose place another one was asked for.
    changing: Option<AttachId>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            stage: Stage::Empty,
            proving: Proving::No,
            proofs: 0,
            control: Err(String::new()),
            seq: 0,
            changing: None,
        }
    }
}

impl Desk {
    /// Where the desk is.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Whether the control link is up, or why not.
    pub fn control(&self) -> Result<(), &str> {
        self.control.as_ref().copied().map_err(String::as_str)
    }

    /// The attach that may be on the screen.
    pub fn attach(&self) -> Option<AttachId> {
        match &self.stage {
            Stage::Attaching { attach, .. } | Stage::Attached { attach, .. } => Some(*attach),
            _ => None,
        }
    }

    /// Takes an event; appends what is to be done.
    pub fn handle(&mut self, event: DeskEvent, actions: &mut Vec<Action>) {
        match event {
            DeskEvent::ControlUp => self.control_up(actions),
            DeskEvent::ControlDown(why) => self.control_down(why, actions),
            DeskEvent::CardEdge { reader } => self.card_edge(reader, actions),
            DeskEvent::CardRead(card) => self.card_read(*card, actions),
            DeskEvent::CardUnreadable(why) => self.card_unreadable(why, actions),
            DeskEvent::CardGone => self.card_gone(actions),
            DeskEvent::FromBroker(message) => self.handle_broker(*message, actions),
            DeskEvent::SessionAttached(attach) => self.session_attached(attach, actions),
            DeskEvent::SessionEnded(attach, reason) => self.session_ended(attach, reason, actions),
            DeskEvent::BetterLink(attach) => self.better_link(attach, actions),
            DeskEvent::Retry => self.retry(actions),
            DeskEvent::Login => self.login(actions),
            DeskEvent::GiveUp => self.give_up(actions),
            DeskEvent::LeaveSession => self.leave_session(actions),
            DeskEvent::PinKey(key) => self.pin_key(key, actions),
            DeskEvent::PinWanted {
                number,
                tries,
                wrong,
            } => self.pin_wanted(number, tries, wrong),
            DeskEvent::Proved { number, result } => self.proved(number, result, actions),
        }
    }

    /// What is at the desk and may open a session.
    pub fn present(&self) -> Option<&Present> {
        match &self.stage {
            Stage::Empty | Stage::Reading { .. } | Stage::Unreadable { .. } => None,
            Stage::Asked { present, .. }
            | Stage::Attaching { present, .. }
            | Stage::Attached { present, .. }
            | Stage::Refused { present, .. }
            | Stage::Parted { present, .. } => Some(present),
        }
    }

    fn send(&self, message: ToBroker, actions: &mut Vec<Action>) {
        // Without a link nothing is lost: ControlUp tells the broker how things stand then.
        if self.control.is_ok() {
            actions.push(Action::Send(message));
        }
    }

    fn leave(&mut self, reason: DetachReason, actions: &mut Vec<Action>) {
        if self.attach().is_some() {
            actions.push(Action::Leave(reason));
        }
    }

    fn announce(&self, present: &Present) -> ToBroker {
        let seq = self.seq;
        match present {
            Present::Person => ToBroker::Login { seq },
            Present::Card { reader, card } => ToBroker::CardInserted {
                seq,
                reader: reader.as_str().into(),
                card: card.clone(),
            },
        }
    }

    fn control_down(&mut self, why: String, actions: &mut Vec<Action>) {
        // A proof is good on one link only.
        self.stop_proof(actions);
        self.control = Err(why);
    }

    fn control_up(&mut self, actions: &mut Vec<Action>) {
        self.stop_proof(actions);
        self.control = Ok(());
        // A card whose session was ended or moved is not asked for again: that was somebody's will.
        let settled = matches!(&self.stage, Stage::Parted { reason, .. } if is_final(reason));
        if matches!(&self.stage, Stage::Parted { .. }) && !settled {
            // The link to the desktop broke as well. Asking anew is quicker than waiting for the
            // session to notice.
            return self.ask_anew(actions);
        }
        match (&self.stage, self.present()) {
            (Stage::Unreadable { reader, why }, _) => {
                let (seq, reader, why) = (self.seq, reader.as_str().into(), *why);
                actions.push(Action::Send(ToBroker::CardUnreadable { seq, reader, why }));
            }
            (_, Some(present)) if !settled => {
                actions.push(Action::Send(self.announce(present)));
            }
            _ => {}
        }
    }

    fn card_edge(&mut self, reader: String, actions: &mut Vec<Action>) {
        self.leave(DetachReason::CardRemoved, actions);
        self.stop_proof(actions);
        self.seq += 1;
        self.stage = Stage::Reading { reader };
        actions.push(Action::BeginReceipt);
    }

    fn card_read(&mut self, card: Card, actions: &mut Vec<Action>) {
        let Stage::Reading { reader } = &self.stage else {
            return;
        };
        let present = Present::Card {
            reader: reader.clone(),
            card,
        };
        actions.push(Action::Mark(ReceiptStage::IdRead));
        self.send(self.announce(&present), actions);
        self.stage = Stage::Asked {
            present,
            starting: None,
        };
    }

    fn card_unreadable(&mut self, why: Unreadable, actions: &mut Vec<Action>) {
        let Stage::Reading { reader } = &self.stage else {
            return;
        };
        let reader = reader.clone();
        let (seq, name) = (self.seq, reader.as_str().into());
        self.send(
            ToBroker::CardUnreadable {
                seq,
                reader: name,
                why,
            },
            actions,
        );
        self.stage = Stage::Unreadable { reader, why };
    }

    fn card_gone(&mut self, actions: &mut Vec<Action>) {
        // Who came without a card has none that could go.
        if self.stage != Stage::Empty && self.present() != Some(&Present::Person) {
            self.vacate(DetachReason::CardRemoved, actions);
        }
    }

    /// Nobody is at the desk any more.
    fn vacate(&mut self, reason: DetachReason, actions: &mut Vec<Action>) {
        // The screen first, the network after.
        self.leave(reason, actions);
        self.stop_proof(actions);
        self.send(ToBroker::CardRemoved { seq: self.seq }, actions);
        self.stage = Stage::Empty;
    }

    fn login(&mut self, actions: &mut Vec<Action>) {
        if self.stage == Stage::Empty && self.control.is_ok() {
            self.ask_for(Present::Person, actions);
        }
    }

    fn give_up(&mut self, actions: &mut Vec<Action>) {
        if self.proving.pin().is_some() {
            return self.give_up_pin(actions);
        }
        let person = self.present() == Some(&Present::Person);
        if person && !matches!(self.stage, Stage::Attached { .. }) {
            self.vacate(DetachReason::ByPerson, actions);
        }
    }

    fn leave_session(&mut self, actions: &mut Vec<Action>) {
        let Some(attach_id) = self.attach() else {
            return;
        };
        let reason = DetachReason::ByPerson;
        if self.present() == Some(&Present::Person) {
            return self.vacate(reason, actions);
        }
        self.stop_proof(actions);
        self.part(reason.clone(), actions);
        self.send(ToBroker::LinkEnded { attach_id, reason }, actions);
    }

    fn handle_broker(&mut self, message: ToTerminal, actions: &mut Vec<Action>) {
        match message {
            ToTerminal::Starting { seq, person } if seq == self.seq => {
                self.starting(&person, actions);
            }
            ToTerminal::Attach(attach) if attach.seq == self.seq => self.join(attach, actions),
            ToTerminal::CardRefused { seq, reason, text } if seq == self.seq => {
                self.refused(reason, &text, actions);
            }
            ToTerminal::Prove(challenge) if challenge.seq == self.seq && self.control.is_ok() => {
                self.prove(challenge, actions);
            }
            ToTerminal::Detach { attach_id, reason } if self.attach() == Some(attach_id) => {
                self.parted(reason, actions);
            }
            // Answers to earlier cards come too late to matter.
            _ => {}
        }
    }

    fn starting(&mut self, person: &str, actions: &mut Vec<Action>) {
        if let Some(present) = self.present().cloned() {
            // A session that is being started is not the one on the screen, nor the last one.
            self.leave(DetachReason::SessionCrashed, actions);
            self.stop_proof(actions);
            actions.push(Action::Forget);
            self.stage = Stage::Asked {
                present,
                starting: Some(person.to_owned()),
            };
        }
    }

    fn join(&mut self, attach: Attach, actions: &mut Vec<Action>) {
        let Some(present) = self.present().cloned() else {
            return;
        };
        if let Stage::Parted { reason, .. } = &self.stage
            && *reason == DetachReason::ByPerson
        {
            // It was on its way when the person left; what they left does not come back by itself.
            let (attach_id, reason) = (attach.attach_id, DetachReason::ByPerson);
            return self.send(ToBroker::LinkEnded { attach_id, reason }, actions);
        }
        let changing = self.changing.take();
        if changing.is_some() && changing == self.attach() {
            return self.change(present, attach, actions);
        }
        if self.attach().is_some() {
            // The broker has learnt sooner than we that the link is broken.
            self.leave(DetachReason::LinkLost, actions);
            actions.push(Action::MendReceipt);
        }
        self.stop_proof(actions);
        let (id, person) = (attach.attach_id, attach.person.to_string());
        self.stage = Stage::Attaching {
            present,
            attach: id,
            person,
        };
        actions.push(Action::Mark(ReceiptStage::AttachReceived));
        actions.push(Action::Join(Box::new(attach)));
    }

    /// The desktop stays where it is, on another link.
    fn change(&mut self, present: Present, attach: Attach, actions: &mut Vec<Action>) {
        self.stop_proof(actions);
        self.stage = Stage::Attached {
            present,
            attach: attach.attach_id,
            person: attach.person.to_string(),
        };
        actions.push(Action::MendReceipt);
        actions.push(Action::Mark(ReceiptStage::AttachReceived));
        actions.push(Action::Change(Box::new(attach)));
    }

    /// Asks for the attach that another link needs. To the broker that is a link that has broken.
    fn better_link(&mut self, id: AttachId, actions: &mut Vec<Action>) {
        let is_here = matches!(&self.stage, Stage::Attached { attach, .. } if *attach == id);
        if !is_here || self.control.is_err() || self.proving != Proving::No {
            return;
        }
        self.changing = Some(id);
        let (attach_id, reason) = (id, DetachReason::LinkLost);
        self.send(ToBroker::LinkEnded { attach_id, reason }, actions);
    }

    fn refused(&mut self, reason: CardRefusal, text: &str, actions: &mut Vec<Action>) {
        let Some(present) = self.present().cloned() else {
            return;
        };
        self.leave(DetachReason::CardRevoked, actions);
        actions.push(Action::Forget);
        self.stop_proof(actions);
        self.stage = Stage::Refused {
            present,
            reason,
            text: text.to_owned(),
        };
    }

    fn session_attached(&mut self, id: AttachId, actions: &mut Vec<Action>) {
        if let Stage::Attaching {
            present,
            attach,
            person,
        }
        | Stage::Attached {
            present,
            attach,
            person,
        } = &self.stage
            && *attach == id
        {
            actions.push(Action::Mark(ReceiptStage::Attached));
            let (present, person) = (present.clone(), person.clone());
            self.stage = Stage::Attached {
                present,
                attach: id,
                person,
            };
        }
    }

    fn session_ended(&mut self, id: AttachId, reason: DetachReason, actions: &mut Vec<Action>) {
        if self.attach() != Some(id) {
            return;
        }
        self.send(
            ToBroker::LinkEnded {
                attach_id: id,
                reason: reason.clone(),
            },
            actions,
        );
        self.parted(reason, actions);
    }

    /// The desktop is gone by somebody else's doing.
    fn parted(&mut self, reason: DetachReason, actions: &mut Vec<Action>) {
        // Who came without a card and leaves has left nothing here.
        let left = reason == DetachReason::ByPerson && self.present() == Some(&Present::Person);
        match left {
            true => self.vacate(reason, actions),
            false => self.part(reason, actions),
        }
    }

    fn part(&mut self, reason: DetachReason, actions: &mut Vec<Action>) {
        let Some(present) = self.present().cloned() else {
            return;
        };
        actions.push(Action::Leave(reason.clone()));
        if !is_final(&reason) {
            actions.push(Action::MendReceipt);
        }
        let person = match &mut self.stage {
            Stage::Attaching { person, .. }
            | Stage::Attached { person, .. }
            | Stage::Parted { person, .. } => std::mem::take(person),
            _ => String::new(),
        };
        self.stage = Stage::Parted {
            present,
            person,
            reason,
        };
    }

    /// Asking for the desktop here again is as good as a new card edge.
    fn ask_anew(&mut self, actions: &mut Vec<Action>) {
        if let Some(present) = self.present().cloned() {
            self.ask_for(present, actions);
        }
    }

    fn ask_for(&mut self, present: Present, actions: &mut Vec<Action>) {
        self.stop_proof(actions);
        self.seq += 1;
        actions.push(Action::BeginReceipt);
        self.send(self.announce(&present), actions);
        self.stage = Stage::Asked {
            present,
            starting: None,
        };
    }

    fn retry(&mut self, actions: &mut Vec<Action>) {
        match &self.stage {
            Stage::Refused { present, .. } => {
                let present = present.clone();
                self.send(ToBroker::Retry { seq: self.seq }, actions);
                self.stage = Stage::Asked {
                    present,
                    starting: None,
                };
            }
            Stage::Parted { .. } => self.ask_anew(actions),
            _ => {}
        }
    }
}

/// Whether a parting was somebody's will, and not an accident that should be mended.
fn is_final(reason: &DetachReason) -> bool {
    !matches!(
        reason,
        DetachReason::LinkLost | DetachReason::ProtocolViolation
    )
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
