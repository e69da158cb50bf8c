//! Proofs by the card in the reader, on a thread of their own: what is asked of it in, events out.
//!
//! The thread that watches the readers goes on watching them, so that a card that is pulled while it
//! signs is gone at once.

use std::ffi::CString;
use std::sync::mpsc::{Receiver, Sender, channel};

use heliostat_piv::pin::Pin;
use heliostat_piv::prove::{Key, Order, Prove, ReadKey, Step};
use heliostat_wire::proof::{Proof, ProofFailure, ProofKey};
use pcsc::{Context, Disposition, Error, Protocols, Scope, ShareMode, Transaction};
use tracing::{debug, info};

use super::CardEvent;
use crate::clock::monotonic_us;

/// What the prover is asked.
#[derive(Debug)]
pub enum Job {
    /// A card was read: find out how its key without PIN signs, while the broker thinks.
    Prepare {
        /// Its reader.
        reader: String,
    },
    /// Make a proof. It takes the place of any before it.
    Prove {
        /// Names the proof.
        number: u32,
        /// The card's reader.
        reader: String,
        /// What is to be proven.
        order: Order,
    },
    /// The PIN that a proof wants.
    Pin {
        /// The proof.
        number: u32,
        /// The PIN.
        pin: Pin,
    },
    /// No proof is wanted any more.
    Stop,
    /// The card is gone, and what was known of it.
    Forget,
}

/// The way to the prover's thread.
#[derive(Debug, Clone)]
pub struct Prover(Sender<Job>);

impl Prover {
    /// Starts the thread; `report` is called for every event.
    pub fn start(report: impl Fn(CardEvent) + Send + 'static) -> std::io::Result<Self> {
        let (sender, inbox) = channel();
        let mut worker = Worker {
            report,
            inbox,
            next: None,
            known: Known::default(),
        };
        std::thread::Builder::new()
            .name("prover".to_owned())
            .spawn(move || while worker.work() {})?;
        Ok(Self(sender))
    }

    /// Asks for something. The thread lives as long as the process.
    pub fn ask(&self, job: Job) {
        let _ = self.0.send(job);
    }
}

/// What was read of the keys of the card in the reader.
#[derive(Debug, Default)]
struct Known {
    without_pin: Option<Key>,
    with_pin: Option<Key>,
}

impl Known {
    fn of(&mut self, key: ProofKey) -> &mut Option<Key> {
        match key {
            ProofKey::CardAuthentication => &mut self.without_pin,
            ProofKey::PivAuthentication => &mut self.with_pin,
        }
    }
}

struct Worker<F> {
    report: F,
    inbox: Receiver<Job>,
    /// A job that came while another was done, which ended that.
    next: Option<Job>,
    known: Known,
}

/// Why a proof was not finished.
enum Broken {
    /// For the broker to know.
    Failed(ProofFailure),
    /// Another job has come.
    Dropped,
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed(failure(error))
    }
}

fn failure(error: Error) -> ProofFailure {
    match error {
        Error::NoSmartcard | Error::RemovedCard => ProofFailure::TornOut,
        _ => ProofFailure::CardFailed,
    }
}

impl<F: Fn(CardEvent)> Worker<F> {
    /// Does one job; false when there will be no more.
    fn work(&mut self) -> bool {
        let Some(job) = self.next.take().or_else(|| self.inbox.recv().ok()) else {
            return false;
        };
        match job {
            Job::Prepare { reader } => self.prepare(&reader),
            Job::Prove {
                number,
                reader,
                order,
            } => self.prove(number, &reader, order),
            Job::Forget => self.known = Known::default(),
            // Too late to matter.
            Job::Pin { .. } | Job::Stop => {}
        }
        true
    }

    fn prepare(&mut self, reader: &str) {
        self.known = Known::default();
        let began = monotonic_us();
        match Self::read_key(reader) {
            Ok((key, commands)) => {
                let us = monotonic_us() - began;
                debug!(algorithm = ?key.algorithm, commands, us, "the card's key is known");
                self.known.without_pin = Some(key);
            }
            Err(why) => debug!(?why, "the card's key is not known"),
        }
    }

    fn read_key(reader: &str) -> Result<(Key, u32), ProofFailure> {
        let context = Context::establish(Scope::User).map_err(failure)?;
        let card = context.connect(&name(reader), ShareMode::Shared, Protocols::ANY);
        let mut card = card.map_err(failure)?;
        let transaction = card.transaction().map_err(failure)?;
        let (mut read, mut command) = ReadKey::begin(ProofKey::CardAuthentication);
        let mut commands = 0;
        let result = loop {
            commands += 1;
            // A proof that is asked for meanwhile needs the key as well, so that this goes on.
            let response = match transmit(&transaction, command.as_bytes()) {
                Ok(response) => response,
                Err(error) => break Err(failure(error)),
            };
            match read.respond(&response) {
                Ok(next) => command = next,
                Err(result) => break result,
            }
        };
        end(transaction, Disposition::LeaveCard);
        let _ = card.disconnect(Disposition::LeaveCard);
        Ok((result?, commands))
    }

    fn prove(&mut self, number: u32, reader: &str, order: Order) {
        let (key, began) = (order.key, monotonic_us());
        let (prove, step) = Prove::begin(order, self.known.of(key).clone());
        let mut work = Work {
            number,
            prove,
            commands: 0,
        };
        let result = self.carry_out(reader, &mut work, step);
        if let Some(found) = work.prove.key() {
            *self.known.of(key) = Some(found.clone());
        }
        let result = match result {
            Ok(proof) => Ok(proof),
            Err(Broken::Failed(why)) => Err(why),
            Err(Broken::Dropped) => return debug!(number, "a proof is not wanted any more"),
        };
        let (commands, us) = (work.commands, monotonic_us() - began);
        let why = result.as_ref().err();
        info!(?key, commands, us, failed = ?why, "the card was asked for a proof");
        (self.report)(CardEvent::Proved { number, result });
    }

    fn carry_out(
        &mut self,
        reader: &str,
        work: &mut Work,
        step: Step,
    ) -> Result<Box<Proof>, Broken> {
        let context = Context::establish(Scope::User)?;
        let mut card = context.connect(&name(reader), ShareMode::Shared, Protocols::ANY)?;
        let mut transaction = card.transaction()?;
        let result = self.steps(&mut transaction, work, step);
        // A card that has taken the PIN would sign for anybody. Otherwise applications of the
        // session may want the card as we found it.
        let disposition = match work.prove.is_verified() {
            true => Disposition::ResetCard,
            false => Disposition::LeaveCard,
        };
        end(transaction, disposition);
        let _ = card.disconnect(Disposition::LeaveCard);
        result
    }

    fn steps(
        &mut self,
        card: &mut Transaction<'_>,
        work: &mut Work,
        mut step: Step,
    ) -> Result<Box<Proof>, Broken> {
        loop {
            step = match step {
                Step::Done(proof) => return Ok(proof),
                Step::Failed(why) => return Err(Broken::Failed(why)),
                Step::Transmit(command) => {
                    self.is_free()?;
                    work.commands += 1;
                    let response = transmit(card, command.as_bytes())?;
                    work.prove.respond(&response)
                }
                Step::Reset => {
                    card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard)?;
                    work.prove.reset()
                }
                Step::AskPin { tries, wrong } => {
                    let number = work.number;
                    (self.report)(CardEvent::PinWanted {
                        number,
                        tries,
                        wrong,
                    });
                    work.prove.pin(&self.wait_for_pin(number)?)
                }
            };
        }
    }

    fn wait_for_pin(&mut self, wanted: u32) -> Result<Pin, Broken> {
        loop {
            match self.inbox.recv() {
                Ok(Job::Pin { number, pin }) if number == wanted => return Ok(pin),
                Ok(Job::Pin { .. }) => {}
                Ok(other) => {
                    self.next = Some(other);
                    return Err(Broken::Dropped);
                }
                Err(_) => return Err(Broken::Dropped),
            }
        }
    }

    /// Whether nothing else is asked for by now.
    fn is_free(&mut self) -> Result<(), Broken> {
        match self.inbox.try_recv() {
            Ok(Job::Pin { .. }) | Err(_) => Ok(()),
            // The next job waits for this one.
            Ok(job) => {
                self.next = Some(job);
                Err(Broken::Dropped)
            }
        }
    }
}

/// A proof under way.
struct Work {
    number: u32,
    prove: Prove,
    commands: u32,
}

fn name(reader: &str) -> CString {
    // No reader has such a name, so that none is found.
    CString::new(reader).unwrap_or_default()
}

fn transmit(card: &Transaction<'_>, command: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = [0; pcsc::MAX_BUFFER_SIZE];
    Ok(card.transmit(command, &mut buffer)?.to_vec())
}

fn end(transaction: Transaction<'_>, disposition: Disposition) {
    if let Err((_, error)) = transaction.end(disposition) {
        debug!(%error, "the card was let go with an error");
    }
}

#[cfg(test)]
#[path = "prover_tests.rs"]
mod tests;
