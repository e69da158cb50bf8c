//! What happens at the card reader.

use heliostat_piv::prove::Order;
use heliostat_wire::card::{Card, CardKind};
use heliostat_wire::id::CardId;
use heliostat_wire::proof::{Challenge, ProofFailure, statement};

use crate::app::App;
use crate::card::CardEvent;
use crate::card::prover::Job;
use crate::desk::{DeskEvent, Present, Stage};

impl App {
    pub(super) fn handle_card(&mut self, event: CardEvent) {
        match event {
            CardEvent::Edge { reader, at_us } => {
                self.timeline.begin(at_us);
                self.desk(DeskEvent::CardEdge { reader });
            }
            CardEvent::Read(card) => self.card_read(card),
            CardEvent::Unreadable(why) => self.desk(DeskEvent::CardUnreadable(why)),
            CardEvent::Gone => {
                self.desk(DeskEvent::CardGone);
                self.ask_prover(Job::Forget);
            }
            CardEvent::PinWanted {
                number,
                tries,
                wrong,
            } => self.desk(DeskEvent::PinWanted {
                number,
                tries,
                wrong,
            }),
            CardEvent::Proved { number, result } => self.desk(DeskEvent::Proved { number, result }),
            CardEvent::Readers(count) => {
                self.around.readers = Some(count);
                self.redraw();
            }
            CardEvent::Another(waits) => {
                self.around.another_card = waits;
                self.redraw();
            }
            CardEvent::Service(alive) => {
                self.around.card_service = alive;
                self.redraw();
            }
        }
    }

    fn card_read(&mut self, card: Card) {
        let piv = card.kind == CardKind::Piv;
        // The broker first; while it thinks, the card says how it would sign.
        self.desk(DeskEvent::CardRead(Box::new(card)));
        let reader = match self.desk.stage() {
            Stage::Asked {
                present: Present::Card { reader, .. },
                ..
            } => reader.clone(),
            _ => return,
        };
        if piv {
            self.ask_prover(Job::Prepare { reader });
        }
    }

    pub(super) fn ask_prover(&self, job: Job) {
        if let Some(prover) = &self.prover {
            prover.ask(job);
        }
    }

    pub(super) fn prove(
        &mut self,
        number: u32,
        reader: String,
        card: &CardId,
        challenge: &Challenge,
    ) {
        let (Some(prover), Some(tie)) = (&self.prover, &self.tie) else {
            // A card that was inserted by a line of text has no keys.
            let result = Err(ProofFailure::NoKey);
            return self.desk(DeskEvent::Proved { number, result });
        };
        let order = Order {
            seq: challenge.seq,
            key: challenge.key,
            statement: statement(challenge, &tie.exporter, &tie.terminal, card),
            want_certificate: challenge.want_certificate,
        };
        prover.ask(Job::Prove {
            number,
            reader,
            order,
        });
    }
}
