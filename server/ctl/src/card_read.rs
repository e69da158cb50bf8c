//! `card read`: a card in the reader of the administrator's desk, its keys, and whether it has them.

mod reader;

use anyhow::{Context, anyhow, bail};
use heliostat_control::admin::{CardKeys, Reply, Request};
use heliostat_control::hex;
use heliostat_piv::EnrolledKey;
use heliostat_piv::identify::{self, Identify};
use heliostat_piv::prove::{self, Order, Prove, ReadKey};
use heliostat_wire::card::{Card, CardKind};
use heliostat_wire::proof::{Algorithm, ProofFailure, ProofKey};
use serde_json::{Value, json};

use crate::account;
use crate::arguments::{Arguments, CardRead};
use crate::ask;

/// What the card signs begins with this, so that it is of no use to a broker, whose statements begin
/// with another word.
const CONTEXT: &[u8] = b"heliostat card read 1";

/// Reads a card, and gives it to a person where one is named.
pub fn run(arguments: &Arguments, options: &CardRead) -> anyhow::Result<String> {
    let mut reader = reader::open(options.reader.as_deref())?;
    let atr = reader.atr().to_vec();
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| anyhow!("no random bytes: {error}"))?;
    let read = read(&atr, &nonce, |command| reader.transmit(command))?;
    reader.close();
    let done = match &options.person {
        Some(person) => Some(register(arguments, options, person, &read)?),
        None => None,
    };
    Ok(match arguments.json {
        true => format!("{}\n", read.json(done.as_deref())),
        false => read.text(done.as_deref()),
    })
}

fn register(
    arguments: &Arguments,
    options: &CardRead,
    person: &str,
    read: &Read,
) -> anyhow::Result<String> {
    let digits = |key: &Option<EnrolledKey>| key.as_ref().map(|key| hex::digits(key.spki()));
    let request = Request::CardAdd {
        card: read.card.id.to_string(),
        person: person.to_owned(),
        label: options.label.clone(),
        first_use: false,
        keys: CardKeys {
            card: digits(&read.card_key),
            owner: digits(&read.owner_key),
        },
    };
    let reply = ask::ask(arguments.broker(), &request)?;
    account::warn_of_none(&request, &reply);
    match reply {
        Reply::Done(text) => Ok(text),
        Reply::Failed(failure) => Err(failure.into()),
        other => bail!("the broker answers {other:?}: is it of another version?"),
    }
}

/// What was read.
#[derive(Debug)]
struct Read {
    card: Card,
    /// The key for card authentication, 9E. It has signed.
    card_key: Option<EnrolledKey>,
    /// Its owner's key, 9A, as its certificate has it.
    owner_key: Option<EnrolledKey>,
}

/// Reads a card: its id, and its keys where it is a PIV card. The key that signs without a PIN has to
/// sign `nonce`: a card that has the certificate of another is found out here.
fn read(
    atr: &[u8],
    nonce: &[u8; 32],
    mut transmit: impl FnMut(&[u8]) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Read> {
    let card = identify(atr, &mut transmit)?;
    let mut read = Read {
        card,
        card_key: None,
        owner_key: None,
    };
    if read.card.kind != CardKind::Piv {
        return Ok(read);
    }
    if let Some(key) = key(ProofKey::CardAuthentication, &mut transmit)? {
        read.card_key = Some(proven(key, nonce, &mut transmit)?);
    }
    if let Some(key) = key(ProofKey::PivAuthentication, &mut transmit)? {
        read.owner_key = Some(enrolled(&key, "9A")?);
    }
    Ok(read)
}

fn identify(
    atr: &[u8],
    transmit: &mut impl FnMut(&[u8]) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Card> {
    let (mut identify, mut step) = Identify::begin(atr);
    loop {
        step = match step {
            identify::Step::Transmit(command) => identify.respond(&transmit(&command)?),
            identify::Step::Done(card) => return Ok(card),
            identify::Step::Unreadable(_) => bail!(
                "the card does not say who it is (no PIV GUID): turn it round, or try it in \
                 another reader"
            ),
        }
    }
}

/// A key of the card; none where it has no such key.
fn key(
    key: ProofKey,
    transmit: &mut impl FnMut(&[u8]) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Option<prove::Key>> {
    let (mut read, mut command) = ReadKey::begin(key);
    loop {
        match read.respond(&transmit(command.as_bytes())?) {
            Ok(next) => command = next,
            Err(Ok(key)) => return Ok(Some(key)),
            Err(Err(ProofFailure::NoKey)) => return Ok(None),
            Err(Err(ProofFailure::Unsupported)) => bail!(
                "the card's certificate for {:X} is none that terminals can use: its key has to be \
                 P-256, P-384, RSA 2048 or RSA 3072",
                key.reference()
            ),
            Err(Err(_)) => bail!("the card broke off: take it out, insert it again, and try again"),
        }
    }
}

/// Has the card sign with 9E, and says that it has.
fn proven(
    key: prove::Key,
    nonce: &[u8; 32],
    transmit: &mut impl FnMut(&[u8]) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<EnrolledKey> {
    let enrolled = enrolled(&key, "9E")?;
    let statement = [CONTEXT, nonce].concat();
    let order = Order {
        seq: 0,
        key: ProofKey::CardAuthentication,
        statement: statement.clone(),
        want_certificate: false,
    };
    let (mut prove, mut step) = Prove::begin(order, Some(key));
    loop {
        step = match step {
            prove::Step::Transmit(command) => prove.respond(&transmit(command.as_bytes())?),
            prove::Step::Done(proof) => {
                let held = enrolled.verify(&statement, &proof.signature);
                held.map_err(|_| {
                    anyhow!(
                        "the card does not have the key (9E) that its certificate is of: it is a \
                         copy, or was written wrongly; do not give it to anybody"
                    )
                })?;
                return Ok(enrolled);
            }
            prove::Step::Failed(ProofFailure::NoKey) => bail!(
                "the card has a certificate for card authentication (9E), but not the key to it: \
                 have its keys made anew"
            ),
            prove::Step::Failed(why) => bail!("the card does not sign with 9E: {why:?}"),
            // 9E never asks for a PIN.
            prove::Step::AskPin { .. } | prove::Step::Reset => {
                bail!("the card wants a PIN for its key 9E, which PIV cards do not")
            }
        }
    }
}

fn enrolled(key: &prove::Key, name: &str) -> anyhow::Result<EnrolledKey> {
    let spki = key.spki().context("the card's certificate has no key")?;
    EnrolledKey::from_spki(&spki).with_context(|| format!("the card's key {name}"))
}

impl Read {
    fn text(&self, done: Option<&str>) -> String {
        let kind = match self.card.kind {
            CardKind::Piv => "PIV",
            CardKind::ContactlessUid => "contactless, known by its UID alone; it proves nothing",
            CardKind::AtrSerial => "known by its answer-to-reset alone; it proves nothing",
        };
        let mut text = format!("card    {}\nkind    {kind}\n", self.card.id);
        if self.card.kind == CardKind::Piv {
            let why_card = "has signed just now";
            let why_owner = "as its certificate says; it would sign after its PIN only";
            text.push_str(&line("9E", &self.card_key, why_card));
            text.push_str(&line("9A", &self.owner_key, why_owner));
        }
        if let Some(done) = done {
            text.push_str(&format!("\n{done}\n"));
            if self.card_key.is_none() && self.owner_key.is_none() {
                text.push_str("It has no key to prove itself by: its person needs a password.\n");
            }
        }
        text
    }

    fn json(&self, done: Option<&str>) -> Value {
        let key = |key: &EnrolledKey, proven: bool| {
            json!({
                "algorithm": algorithm(key.algorithm()),
                "fingerprint": key.fingerprint(),
                "spki": hex::digits(key.spki()),
                "proven": proven,
            })
        };
        json!({
            "card": self.card.id.as_str(),
            "kind": match self.card.kind {
                CardKind::Piv => "piv",
                CardKind::ContactlessUid => "uid",
                CardKind::AtrSerial => "atr",
            },
            "card_key": self.card_key.as_ref().map(|one| key(one, true)),
            "owner_key": self.owner_key.as_ref().map(|one| key(one, false)),
            "done": done,
        })
    }
}

fn line(name: &str, key: &Option<EnrolledKey>, why: &str) -> String {
    match key {
        None => format!("{name}      no such key\n"),
        Some(key) => format!(
            "{name}      {}, {why}\n        {}\n",
            algorithm(key.algorithm()),
            key.fingerprint()
        ),
    }
}

fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => "P-256",
        Algorithm::EcdsaP384Sha384 => "P-384",
        Algorithm::Rsa2048Sha256 => "RSA 2048",
        Algorithm::Rsa3072Sha256 => "RSA 3072",
    }
}

#[cfg(test)]
mod tests;
