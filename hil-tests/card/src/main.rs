//! One virtual card on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use hil_card::{Algorithm, Card, Kind, Reader, Recipe, Slot, TestCa, WhenSigning};

/// Puts a virtual card into a reader until the program ends: a PIV card unless told otherwise.
#[derive(Parser)]
struct Arguments {
    /// The socket of QEMU's card device
    #[arg(long, value_name = "SOCKET", conflicts_with = "vpcd")]
    qemu: Option<PathBuf>,
    /// The address of vsmartcard's reader
    #[arg(long, value_name = "HOST:PORT")]
    vpcd: Option<String>,
    /// Print the certificate of the authority that certifies cards, and do nothing else
    #[arg(long)]
    authority: bool,
    /// Insert a card that is no PIV card instead
    #[arg(long, value_enum)]
    odd: Option<Odd>,
    #[command(flatten)]
    card: CardArguments,
}

#[derive(Args)]
struct CardArguments {
    /// The card's name; the same name is the same card
    #[arg(long, default_value = "alice")]
    name: String,
    /// Pretend to be the card of this name, without having its keys
    #[arg(long, value_name = "NAME")]
    id_of: Option<String>,
    /// Show the certificates of the card of this name, without having its keys
    #[arg(long, value_name = "NAME")]
    certificates_of: Option<String>,
    /// What sort of keys it has
    #[arg(long, value_enum, default_value = "p256")]
    keys: Keys,
    /// Leave this slot empty
    #[arg(long, value_enum, value_name = "SLOT")]
    without: Vec<SlotName>,
    /// Let each key vouch for itself
    #[arg(long)]
    self_signed: bool,
    /// Give it certificates that have expired
    #[arg(long)]
    expired: bool,
    /// Pack its certificates with gzip
    #[arg(long)]
    packed: bool,
    /// Its PIN: six to eight digits
    #[arg(long, default_value = "123456", value_parser = parse_pin)]
    pin: String,
    /// What unblocks it
    #[arg(long, default_value = "12345678")]
    puk: String,
    /// How often the PIN may be wrong from now on
    #[arg(long, default_value_t = 3)]
    tries_left: u8,
    /// How long a signature takes
    #[arg(long, value_name = "MS", conflicts_with_all = ["mute", "torn_out"])]
    slow: Option<u64>,
    /// Never answer when asked to sign
    #[arg(long, conflicts_with = "torn_out")]
    mute: bool,
    /// Be torn out when asked to sign
    #[arg(long)]
    torn_out: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Odd {
    /// It has a UID, as contactless cards have
    Uid,
    /// It answers every command with nonsense
    Garbage,
    /// It never answers
    Silent,
}

#[derive(Clone, Copy, ValueEnum)]
enum Keys {
    P256,
    P384,
    Rsa2048,
    Rsa3072,
}

#[derive(Clone, Copy, ValueEnum)]
enum SlotName {
    #[value(name = "9a")]
    PivAuthentication,
    #[value(name = "9c")]
    Signature,
    #[value(name = "9d")]
    KeyManagement,
    #[value(name = "9e")]
    CardAuthentication,
}

impl CardArguments {
    fn recipe(&self) -> Recipe {
        let mut recipe = Recipe::new(&self.name)
            .algorithm(match self.keys {
                Keys::P256 => Algorithm::P256,
                Keys::P384 => Algorithm::P384,
                Keys::Rsa2048 => Algorithm::Rsa2048,
                Keys::Rsa3072 => Algorithm::Rsa3072,
            })
            .pin(&self.pin)
            .puk(&self.puk)
            .tries_left(self.tries_left)
            .when_signing(self.when_signing());
        if let Some(name) = &self.id_of {
            recipe = recipe.id_of(name);
        }
        if let Some(name) = &self.certificates_of {
            recipe = recipe.certificates_of(name);
        }
        for slot in &self.without {
            recipe = recipe.without(match slot {
                SlotName::PivAuthentication => Slot::PivAuthentication,
                SlotName::Signature => Slot::Signature,
                SlotName::KeyManagement => Slot::KeyManagement,
                SlotName::CardAuthentication => Slot::CardAuthentication,
            });
        }
        for (wanted, change) in [
            (
                self.self_signed,
                Recipe::self_signed as fn(Recipe) -> Recipe,
            ),
            (self.expired, Recipe::expired),
            (self.packed, Recipe::packed),
        ] {
            if wanted {
                recipe = change(recipe);
            }
        }
        recipe
    }

    fn when_signing(&self) -> WhenSigning {
        match self.slow {
            Some(ms) => WhenSigning::After(Duration::from_millis(ms)),
            None if self.mute => WhenSigning::NeverAnswer,
            None if self.torn_out => WhenSigning::TornOut,
            None => WhenSigning::Sign,
        }
    }
}

impl Odd {
    fn card(self) -> Card {
        Card::new(match self {
            Self::Uid => Kind::Uid(vec![0x04, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc]),
            Self::Garbage => Kind::Garbage,
            Self::Silent => Kind::Silent,
        })
    }
}

fn parse_pin(text: &str) -> Result<String, &'static str> {
    let is_pin = (6..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_pin
        .then(|| text.to_owned())
        .ok_or("a PIN has six to eight digits")
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.authority {
        print!("{}", TestCa::of_cards().pem());
        return Ok(());
    }
    let card = match arguments.odd {
        Some(odd) => odd.card(),
        None => {
            let recipe = arguments.card.recipe();
            println!("{}", recipe.id());
            recipe.make()
        }
    };
    match (arguments.qemu, arguments.vpcd) {
        (Some(socket), _) => {
            let reader = Reader::connect(&socket)?;
            reader.insert(card)?;
            println!("inserted; press Enter to pull it");
            std::io::stdin().read_line(&mut String::new())?;
            reader.pull()
        }
        (None, Some(address)) => hil_card::vpcd::insert(address, card)?.wait(),
        (None, None) => anyhow::bail!("say where the reader is: --qemu SOCKET or --vpcd HOST:PORT"),
    }
}
