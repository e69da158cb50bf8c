//! Terminals that are none: what they say of cards, to a broker that asks for proofs.

use heliostat_control::admin::{CardKeys, Reply, Request};
use heliostat_control::hex;
use heliostat_link::{CloseCode, Ended};
use heliostat_wire::List;
use heliostat_wire::control::{CardRefusal, ToBroker, ToTerminal};
use heliostat_wire::proof::{
    Algorithm, Challenge, Proof, ProofFailure, ProofKey, Purpose, statement,
};
use hil_card::{Card, Recipe, Slot};
use sha2::{Digest, Sha256};

use crate::broker::{Broker, people};
use crate::figures::rss_kib;
use crate::terminal::{Terminal, within};

/// What a signature is made for.
#[derive(Clone)]
struct Said {
    challenge: Challenge,
    exporter: [u8; 32],
    terminal: String,
    card: String,
}

/// A broker that asks for proofs, and a card of the first person's whose key it knows.
fn broker() -> Broker {
    let broker = Broker::with("# strict\n# policy: default.proof = \"card\"", &[]);
    let key = Recipe::new("alice").spki(Slot::CardAuthentication).unwrap();
    let reply = broker.ask(Request::CardAdd {
        card: Card::id_of("alice"),
        person: people()[0].clone(),
        label: String::new(),
        first_use: false,
        keys: CardKeys {
            card: Some(hex::digits(&key)),
            owner: None,
        },
    });
    assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    broker
}

/// The challenge that comes next.
async fn challenged(terminal: &mut Terminal) -> Said {
    match terminal.recv().await {
        ToTerminal::Prove(challenge) => Said {
            challenge,
            exporter: terminal.control().exporter().unwrap(),
            terminal: terminal.id.clone(),
            card: Card::id_of("alice"),
        },
        other => panic!("{other:?}"),
    }
}

/// What alice's card signs for it.
fn signed(said: &Said) -> Proof {
    let Said {
        challenge,
        exporter,
        terminal,
        card,
    } = said;
    let (terminal, card) = (terminal.as_str().into(), card.as_str().into());
    let hash = Sha256::digest(statement(challenge, exporter, &terminal, &card));
    let slot = Slot::CardAuthentication;
    Proof {
        seq: challenge.seq,
        algorithm: Algorithm::EcdsaP256Sha256,
        signature: List::new(Recipe::new("alice").sign(slot, &hash).unwrap()).unwrap(),
        certificate: List::default(),
    }
}

#[tokio::test]
async fn a_proof_for_anything_but_this_challenge_on_this_link_is_refused() {
    let broker = broker();
    let mut other = broker.terminal("b").await;
    other.insert(&Card::id_of("alice")).await;
    let of_other = challenged(&mut other).await;
    let mut terminal = broker.terminal("a").await;
    terminal.insert(&Card::id_of("alice")).await;
    let first = challenged(&mut terminal).await;

    type Change = fn(&mut Said);
    let changes: &[(&str, Change)] = &[
        ("exporter", |said| said.exporter[0] ^= 1),
        ("terminal", |said| said.terminal = "b".to_owned()),
        ("card", |said| said.card = Card::id_of("bob")),
        ("purpose", |said| said.challenge.purpose = Purpose::Enrol),
        ("unlocking", |said| said.challenge.purpose = Purpose::Unlock),
        ("key", |said| {
            said.challenge.key = ProofKey::PivAuthentication
        }),
        ("nonce", |said| said.challenge.nonce[31] ^= 1),
    ];
    let mut said = first.clone();
    for (what, change) in changes {
        let mut wrong = said.clone();
        change(&mut wrong);
        terminal.send(ToBroker::Proof(signed(&wrong))).await;
        assert_eq!(terminal.refused().await.0, CardRefusal::NotProven, "{what}");
        // Too late: the challenge is spent.
        terminal.send(ToBroker::Proof(signed(&said))).await;
        terminal.silence().await;
        terminal.retry().await;
        said = challenged(&mut terminal).await;
    }
    // What was right for the first challenge, and what is right on another's link.
    for replayed in [signed(&first), signed(&of_other)] {
        terminal.send(ToBroker::Proof(replayed)).await;
        assert_eq!(terminal.refused().await.0, CardRefusal::NotProven);
        terminal.retry().await;
        said = challenged(&mut terminal).await;
    }
    assert_eq!(broker.audited("proof_refused"), changes.len() + 2);
    assert_eq!(
        broker.audited("attach") + broker.audited("session_start"),
        0
    );

    terminal.send(ToBroker::Proof(signed(&said))).await;
    let attach = terminal.attach().await;
    within(terminal.join(&attach)).await.unwrap();
}

#[tokio::test]
async fn answers_that_nobody_asked_for_change_nothing() {
    let broker = broker();
    let mut terminal = broker.terminal("a").await;
    let nobodys = Said {
        challenge: Challenge {
            seq: 1,
            nonce: [0; 32],
            purpose: Purpose::Attach,
            key: ProofKey::CardAuthentication,
            want_certificate: false,
        },
        exporter: terminal.control().exporter().unwrap(),
        terminal: "a".to_owned(),
        card: Card::id_of("alice"),
    };
    // Before there is a card.
    terminal.send(ToBroker::Proof(signed(&nobodys))).await;
    terminal.silence().await;
    terminal.insert(&Card::id_of("alice")).await;
    let said = challenged(&mut terminal).await;
    // Of another edge.
    let mut another = said.clone();
    another.challenge.seq += 1;
    terminal.send(ToBroker::Proof(signed(&another))).await;
    let (seq, why) = (another.challenge.seq, ProofFailure::NoKey);
    terminal.send(ToBroker::NoProof { seq, why }).await;
    terminal.silence().await;
    // From a terminal that was asked nothing.
    let mut thief = broker.terminal("b").await;
    thief.send(ToBroker::Proof(signed(&said))).await;
    thief.silence().await;
    // Twice, and that there is none after all.
    terminal.send(ToBroker::Proof(signed(&said))).await;
    terminal.send(ToBroker::Proof(signed(&said))).await;
    let attach = terminal.attach().await;
    let desktop = within(terminal.join(&attach)).await.unwrap();
    terminal.send(ToBroker::Proof(signed(&said))).await;
    let seq = said.challenge.seq;
    terminal.send(ToBroker::NoProof { seq, why }).await;
    terminal.silence().await;
    assert_eq!(broker.audited("attach"), 1);
    assert_eq!(broker.sessions().len(), 1);
    drop(desktop);
}

#[tokio::test]
async fn a_terminal_that_was_booted_anew_begins_anew() {
    let broker = broker();
    let mut terminal = broker.terminal("a").await;
    terminal.insert(&Card::id_of("alice")).await;
    let said = challenged(&mut terminal).await;
    // The same terminal, by another link: the challenge was the old one's.
    terminal.connect().await;
    terminal.send(ToBroker::Proof(signed(&said))).await;
    terminal.silence().await;
    terminal.repeat(&Card::id_of("alice")).await;
    let again = challenged(&mut terminal).await;
    assert_ne!(again.challenge.nonce, said.challenge.nonce);
    assert_ne!(again.exporter, said.exporter);
    terminal.send(ToBroker::Proof(signed(&again))).await;
    terminal.attach().await;
}

#[tokio::test]
async fn a_terminal_that_says_it_all_a_thousand_times_is_cut_off_and_harms_nobody() {
    let broker = broker();
    let mut flooder = broker.terminal("a").await;
    let mut victim = broker.terminal("b").await;
    let card = Card::id_of("alice");
    for round in 0..4 {
        let control = flooder.control().clone();
        let said = flood(&mut flooder).await;
        let ended = within(control.closed()).await;
        let cut_off = CloseCode::ProtocolViolation;
        assert!(
            matches!(ended, Ended::ByPeer { code, .. } if code == cut_off),
            "{ended:?}"
        );
        // The others' cards open as ever.
        let started = std::time::Instant::now();
        victim.insert(&card).await;
        let challenge = challenged(&mut victim).await;
        victim.send(ToBroker::Proof(signed(&challenge))).await;
        victim.attach().await;
        let took = started.elapsed();
        eprintln!("round {round}: cut off after {said} messages, others attach in {took:?}");
        victim.pull().await;
        flooder.connect().await;
    }
    assert_eq!(broker.sessions().len(), 1);
    let after = rss_kib(broker.pid());
    eprintln!("broker: {after} KiB");
    assert!(after < 20 * 1024, "{after} KiB");
}

/// Says logins and answers, three thousand in all, as far as it is let; how many that is.
async fn flood(terminal: &mut Terminal) -> u32 {
    let why = ProofFailure::NoKey;
    for seq in 1..=1000 {
        let proof = Proof {
            seq,
            algorithm: Algorithm::Rsa3072Sha256,
            signature: List::new(vec![0xff; 384]).unwrap(),
            certificate: List::default(),
        };
        let messages = [
            ToBroker::Login { seq },
            ToBroker::Proof(proof),
            ToBroker::NoProof { seq, why },
        ];
        for (at, message) in messages.into_iter().enumerate() {
            if terminal.try_send(message).await.is_err() {
                return (seq - 1) * 3 + at as u32;
            }
        }
    }
    3000
}
