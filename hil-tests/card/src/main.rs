//! One virtual card on the command line.

use std::path::PathBuf;

use clap::Parser;
use hil_card::{Card, Reader};

/// Puts a virtual PIV card into a reader until the program ends.
#[derive(Parser)]
struct Args {
    /// The card's name; the same name is the same card
    #[arg(long, default_value = "alice")]
    name: String,
    /// The socket of QEMU's card device
    #[arg(long, value_name = "SOCKET", conflicts_with = "vpcd")]
    qemu: Option<PathBuf>,
    /// The address of vsmartcard's reader
    #[arg(long, value_name = "HOST:PORT")]
    vpcd: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let card = Card::named(&args.name);
    println!("{}", Card::id_of(&args.name));
    match (args.qemu, args.vpcd) {
        (Some(socket), _) => {
            let reader = Reader::connect(&socket)?;
            reader.insert(card)?;
            println!("inserted; press Enter to pull it");
            std::io::stdin().read_line(&mut String::new())?;
            reader.pull()
        }
        (None, Some(address)) => hil_card::vpcd::serve(address, card),
        (None, None) => anyhow::bail!("say where the reader is: --qemu SOCKET or --vpcd HOST:PORT"),
    }
}
