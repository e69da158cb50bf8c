//! A card's proof, step by step: commands out, responses in; a PIN where the key wants one.
//!
//! ```text
//!   Reading ─ select, certificate ─┐
//!   Selecting (the key is known) ──┴─▶ 9E ─▶ Signing ─▶ done
//!                                  │            ▲
//!                                  └▶ 9A ─▶ Counting ─▶ Asking ─▶ Verifying ─▶ (Signing)
//!                                                          ▲          │ wrong
//!                                                          └──────────┘
//! ```
//!
//! Commands and objects are those of NIST SP 800-73-4. The last try of a PIN is never spent: they are
//! counted before one is asked for, and after each that was wrong.

mod key;
mod sign;

use heliostat_wire::List;
use heliostat_wire::proof::{Proof, ProofFailure, ProofKey};

use crate::exchange::{Command, Exchange, Progress};
use crate::identify::SELECT_PIV;
use crate::pin::Pin;
pub use key::Key;

/// Bytes of one object; the PIV standard's largest has about 12 000, and a certificate about 3000.
const MAX_OBJECT: usize = 12 * 1024;
/// Bytes of one signature and what is around it.
const MAX_SIGNED: usize = 1024;
/// Commands between two questions for a PIN. A certificate of 3000 bytes in pieces of 256, chained
/// commands for RSA and their answers come to some twenty.
const MAX_COMMANDS: u32 = 256;
/// Questions for a PIN. A card that counts its tries has 15 at most.
const MAX_QUESTIONS: u32 = 16;

/// What is to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The card edge.
    pub seq: u32,
    /// The key that signs.
    pub key: ProofKey,
    /// What it signs.
    pub statement: Vec<u8>,
    /// Whether the proof is to bring the certificate.
    pub want_certificate: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this to the card and come back with the response.
    Transmit(Command),
    /// Ask the person, and come back with the PIN.
    AskPin {
        /// How often it may be wrong before the card is blocked; two at least.
        tries: u8,
        /// Whether one was wrong just now.
        wrong: bool,
    },
    /// Reset the card, which has taken a PIN from somebody already, and begin again.
    Reset,
    /// This is the proof.
    Done(Box<Proof>),
    /// There is none.
    Failed(ProofFailure),
}

/// Reads what a card says of one of its keys.
#[derive(Debug)]
pub struct ReadKey {
    key: ProofKey,
    selected: bool,
    exchange: Exchange,
    commands: u32,
}

impl ReadKey {
    /// Begins, with the first command.
    pub fn begin(key: ProofKey) -> (Self, Command) {
        let (exchange, command) = select();
        let read = Self {
            key,
            selected: false,
            exchange,
            commands: 1,
        };
        (read, command)
    }

    /// Takes the card's response; gives the next command, or the key.
    pub fn respond(&mut self, response: &[u8]) -> Result<Command, Result<Key, ProofFailure>> {
        self.commands += 1;
        match self.exchange.respond(response) {
            _ if self.commands > MAX_COMMANDS => Err(Err(ProofFailure::CardFailed)),
            Progress::Transmit(command) => Ok(command),
            Progress::TooLong => Err(Err(ProofFailure::CardFailed)),
            Progress::Done(_, 0x9000) if !self.selected => {
                self.selected = true;
                let [a, b, c] = key::certificate_object(self.key);
                let header = [0x00, 0xcb, 0x3f, 0xff];
                let (exchange, command) = Exchange::begin(header, &[0x5c, 3, a, b, c], MAX_OBJECT);
                self.exchange = exchange;
                Ok(command)
            }
            Progress::Done(object, 0x9000) => Err(Key::from_object(&object)),
            Progress::Done(..) => Err(Err(ProofFailure::NoKey)),
        }
    }
}

fn select() -> (Exchange, Command) {
    // Without the header and the length at both ends.
    let name = &SELECT_PIV[5..SELECT_PIV.len() - 1];
    Exchange::begin([0x00, 0xa4, 0x04, 0x00], name, MAX_OBJECT)
}

#[derive(Debug)]
enum State {
    Reading(ReadKey),
    Selecting(Exchange),
    Counting(Exchange),
    Asking,
    Verifying(Exchange),
    Signing(Exchange),
    Over,
}

/// Makes one proof.
#[derive(Debug)]
pub struct Prove {
    order: Order,
    key: Option<Key>,
    state: State,
    commands: u32,
    questions: u32,
    /// Whether the card took a PIN before we gave it one, and was reset for it.
    was_reset: bool,
    /// Whether it has taken ours.
    verified: bool,
}

impl Prove {
    /// Begins, with the first command; `known` is what was read of the key before.
    pub fn begin(order: Order, known: Option<Key>) -> (Self, Step) {
        let mut prove = Self {
            order,
            key: known,
            state: State::Over,
            commands: 0,
            questions: 0,
            was_reset: false,
            verified: false,
        };
        let step = prove.start();
        (prove, step)
    }

    /// What is known of the key by now.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Whether the card has taken the PIN, so that it would sign for anybody until it is reset.
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// The card has been reset.
    pub fn reset(&mut self) -> Step {
        self.start()
    }

    /// The person has typed a PIN.
    pub fn pin(&mut self, pin: &Pin) -> Step {
        if !matches!(self.state, State::Asking) || !pin.is_complete() {
            return self.fail(ProofFailure::CardFailed);
        }
        self.commands = 0;
        let (exchange, command) = Exchange::begin([0x00, 0x20, 0x00, 0x80], pin.padded(), 0);
        self.state = State::Verifying(exchange);
        self.transmit(command)
    }

    /// The card's response to the last command, status word included.
    pub fn respond(&mut self, response: &[u8]) -> Step {
        if let State::Reading(read) = &mut self.state {
            return match read.respond(response) {
                Ok(command) => self.transmit(command),
                Err(Ok(key)) => {
                    self.key = Some(key);
                    self.selected()
                }
                Err(Err(why)) => self.fail(why),
            };
        }
        let exchange = match &mut self.state {
            State::Selecting(exchange)
            | State::Counting(exchange)
            | State::Verifying(exchange)
            | State::Signing(exchange) => exchange,
            State::Reading(_) | State::Asking | State::Over => {
                return self.fail(ProofFailure::CardFailed);
            }
        };
        match exchange.respond(response) {
            Progress::Transmit(command) => self.transmit(command),
            Progress::TooLong => self.fail(ProofFailure::CardFailed),
            Progress::Done(data, status) => self.answered(&data, status),
        }
    }

    fn start(&mut self) -> Step {
        let (state, command) = match self.key {
            Some(_) => {
                let (exchange, command) = select();
                (State::Selecting(exchange), command)
            }
            None => {
                let (read, command) = ReadKey::begin(self.order.key);
                (State::Reading(read), command)
            }
        };
        self.state = state;
        self.transmit(command)
    }

    fn transmit(&mut self, command: Command) -> Step {
        self.commands += 1;
        if self.commands > MAX_COMMANDS {
            return self.fail(ProofFailure::CardFailed);
        }
        Step::Transmit(command)
    }

    fn fail(&mut self, why: ProofFailure) -> Step {
        self.state = State::Over;
        Step::Failed(why)
    }

    fn answered(&mut self, data: &[u8], status: u16) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), status) {
            (State::Selecting(_), 0x9000) => self.selected(),
            (State::Counting(_), status) => self.counted(status),
            (State::Verifying(_), status) => self.checked(status),
            (State::Signing(_), 0x9000) => self.signed(data),
            // The key does not exist, whatever its certificate says.
            (State::Signing(_), 0x6a80..=0x6a88) => self.fail(ProofFailure::NoKey),
            _ => self.fail(ProofFailure::CardFailed),
        }
    }

    fn selected(&mut self) -> Step {
        match self.order.key {
            ProofKey::CardAuthentication => self.sign(),
            ProofKey::PivAuthentication => {
                // VERIFY without data asks how many tries are left.
                let (exchange, command) = Exchange::begin([0x00, 0x20, 0x00, 0x80], &[], 0);
                self.state = State::Counting(exchange);
                self.transmit(command)
            }
        }
    }

    fn counted(&mut self, status: u16) -> Step {
        match status {
            // Somebody else's PIN proves nothing about this person.
            0x9000 if self.was_reset => self.fail(ProofFailure::Unsupported),
            0x9000 => {
                self.was_reset = true;
                Step::Reset
            }
            _ => self.ask(status, false),
        }
    }

    fn checked(&mut self, status: u16) -> Step {
        match status {
            0x9000 => {
                self.verified = true;
                self.sign()
            }
            _ => self.ask(status, true),
        }
    }

    /// Asks for a PIN where more than one try is left.
    fn ask(&mut self, status: u16, wrong: bool) -> Step {
        self.questions += 1;
        let tries = match status {
            0x63c0..=0x63cf => (status & 0x0f) as u8,
            0x6983 => 0,
            _ => return self.fail(ProofFailure::Unsupported),
        };
        if tries < 2 || self.questions > MAX_QUESTIONS {
            return self.fail(ProofFailure::PinBlocked);
        }
        self.state = State::Asking;
        Step::AskPin { tries, wrong }
    }

    fn sign(&mut self) -> Step {
        let Some(key) = &self.key else {
            return self.fail(ProofFailure::NoKey);
        };
        let template = sign::template(key.algorithm, &self.order.statement);
        let algorithm = sign::reference(key.algorithm);
        let header = [0x00, 0x87, algorithm, self.order.key.reference()];
        let (exchange, command) = Exchange::begin(header, &template, MAX_SIGNED);
        self.state = State::Signing(exchange);
        self.transmit(command)
    }

    fn signed(&mut self, answer: &[u8]) -> Step {
        let signature = sign::signature(answer).and_then(|bytes| List::new(bytes.to_vec()).ok());
        let (Some(key), Some(signature)) = (&self.key, signature) else {
            return self.fail(ProofFailure::CardFailed);
        };
        let certificate = match self.order.want_certificate {
            true => List::truncated(key.certificate.clone()),
            false => List::default(),
        };
        Step::Done(Box::new(Proof {
            seq: self.order.seq,
            algorithm: key.algorithm,
            signature,
            certificate,
        }))
    }
}

#[cfg(test)]
mod tests;
