//! The card threads against a real pcscd with a virtual reader, in namespaces of their own.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use heliostat_wire::card::Card as Read;
use hil_card::readers::{self, Readers};
use hil_card::{Card, Recipe, vpcd};

use super::*;
use crate::card::pcsc::watch;

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the test of this name in a process and namespaces of its own.
fn inside(name: &str, test: fn(&World<'_>)) {
    readers::inside(name, &[], |readers| test(&World::new(readers)));
}

/// pcscd, both threads that speak with it, and what they report.
struct World<'a> {
    readers: &'a Readers,
    prover: Prover,
    events: Receiver<CardEvent>,
}

impl<'a> World<'a> {
    fn new(readers: &'a Readers) -> Self {
        let (report, events) = channel();
        let to = report.clone();
        watch(move |event| drop(to.send(event))).unwrap();
        let prover = Prover::start(move |event| drop(report.send(event))).unwrap();
        Self {
            readers,
            prover,
            events,
        }
    }

    /// Waits for an event that `take` makes something of.
    fn wait<T>(&self, take: impl Fn(&CardEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left);
            let event = event.unwrap_or_else(|_| panic!("nothing came but {seen:?}"));
            if let Some(taken) = take(&event) {
                return taken;
            }
            seen.push(event);
        }
    }

    /// Inserts a card into the reader; gives the reader and what was read.
    fn insert(&self, card: Card) -> (vpcd::Inserted, String, Read) {
        let inserted = self.readers.insert(card).unwrap();
        let reader = self.wait(|event| match event {
            CardEvent::Edge { reader, .. } => Some(reader.clone()),
            _ => None,
        });
        let card = self.wait(|event| match event {
            CardEvent::Read(card) => Some(card.clone()),
            _ => None,
        });
        (inserted, reader, card)
    }

    fn ask(&self, number: u32, reader: &str, key: ProofKey) {
        let order = Order {
            seq: number,
            key,
            statement: b"a statement".to_vec(),
            want_certificate: false,
        };
        let reader = reader.to_owned();
        self.prover.ask(Job::Prove {
            number,
            reader,
            order,
        });
    }

    fn proved(&self, wanted: u32) -> Result<Box<Proof>, ProofFailure> {
        self.wait(|event| match event {
            CardEvent::Proved { number, result } if *number == wanted => Some(result.clone()),
            CardEvent::Gone => panic!("the card is not gone"),
            _ => None,
        })
    }

    fn tries(&self, wanted: u32) -> u8 {
        self.wait(|event| match event {
            CardEvent::PinWanted { number, tries, .. } if *number == wanted => Some(*tries),
            CardEvent::Gone => panic!("the card is not gone"),
            _ => None,
        })
    }

    fn type_pin(&self, number: u32, digits: &str) {
        let mut pin = Pin::default();
        digits.bytes().for_each(|digit| pin.push(digit - b'0'));
        self.prover.ask(Job::Pin { number, pin });
    }
}

#[test]
fn card_in_a_real_reader_proves_itself_again_and_again() {
    inside(
        "card::prover::tests::card_in_a_real_reader_proves_itself_again_and_again",
        |world| {
            let (_inserted, reader, read) = world.insert(Recipe::new("alice").make());
            assert_eq!(read.id.as_str(), Card::id_of("alice"));
            let began = Instant::now();
            world.prover.ask(Job::Prepare {
                reader: reader.clone(),
            });
            for number in 1..=5 {
                let began = Instant::now();
                world.ask(number, &reader, ProofKey::CardAuthentication);
                let proof = world.proved(number).unwrap();
                assert_eq!(proof.seq, number);
                eprintln!("proof {number} without PIN took {:?}", began.elapsed());
            }
            eprintln!("all of them took {:?}", began.elapsed());
        },
    );
}

#[test]
fn pin_is_asked_for_each_time_and_the_card_stays_in_its_reader() {
    inside(
        "card::prover::tests::pin_is_asked_for_each_time_and_the_card_stays_in_its_reader",
        |world| {
            let (inserted, reader, _) = world.insert(Recipe::new("alice").make());
            world.ask(1, &reader, ProofKey::PivAuthentication);
            assert_eq!(world.tries(1), 3);
            world.type_pin(1, "111111");
            assert_eq!(world.tries(1), 2);
            world.type_pin(1, "123456");
            assert!(world.proved(1).is_ok());
            // The card was reset, so that its PIN is wanted again; nobody takes it for gone.
            world.ask(2, &reader, ProofKey::PivAuthentication);
            assert_eq!(world.tries(2), 3);
            world.prover.ask(Job::Stop);
            world.ask(3, &reader, ProofKey::CardAuthentication);
            assert!(world.proved(3).is_ok());
            // It is pulled while its person types.
            world.ask(4, &reader, ProofKey::PivAuthentication);
            assert_eq!(world.tries(4), 3);
            inserted.pull().unwrap();
            world.wait(|event| (*event == CardEvent::Gone).then_some(()));
            world.type_pin(4, "123456");
            let failed = world.proved_or_not(4);
            assert_eq!(failed, Err(ProofFailure::TornOut));
            // The next card finds nothing in the way.
            let (_inserted, reader, _) = world.insert(Recipe::new("bob").make());
            world.ask(5, &reader, ProofKey::CardAuthentication);
            assert!(world.proved(5).is_ok());
        },
    );
}

impl World<'_> {
    fn proved_or_not(&self, wanted: u32) -> Result<(), ProofFailure> {
        self.wait(|event| match event {
            CardEvent::Proved { number, result } if *number == wanted => {
                Some(result.clone().map(drop))
            }
            _ => None,
        })
    }
}
