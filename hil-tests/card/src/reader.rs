//! A card reader of a QEMU machine: the VSCard protocol towards `ccid-card-passthru`.
//!
//! Messages are big-endian: type, reader, length, data. Types as in libcacard's vscard_common.h.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context;

use crate::Card;

mod kind {
    pub const INIT: u32 = 1;
    pub const READER_ADD: u32 = 3;
    pub const ATR: u32 = 5;
    pub const CARD_REMOVE: u32 = 6;
    pub const APDU: u32 = 7;
}

/// Longer messages are not QEMU's.
const MAX_MESSAGE: u32 = 1 << 16;

/// The reader, with a card in it or none.
#[derive(Debug)]
pub struct Reader {
    stream: UnixStream,
    card: Arc<Mutex<Slot>>,
}

/// What is in the reader.
#[derive(Debug, Default)]
struct Slot {
    card: Option<Card>,
    /// Commands after which the card is torn out, answering nothing more.
    torn_after: Option<u32>,
}

impl Reader {
    /// Connects to the socket of QEMU's character device.
    pub fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connect to the card device {}", socket.display()))?;
        let card = Arc::new(Mutex::new(Slot::default()));
        let mut init = b"VSCD".to_vec();
        init.extend(2u32.to_be_bytes());
        init.extend(0u32.to_be_bytes());
        send(&stream, kind::INIT, &init)?;
        send(&stream, kind::READER_ADD, b"Heliostat\0")?;
        let (served, slot) = (stream.try_clone()?, card.clone());
        std::thread::Builder::new()
            .name("card".to_owned())
            .spawn(move || {
                // The machine is gone when its socket is.
                let _ = serve(served, &slot);
            })?;
        Ok(Self { stream, card })
    }

    /// Puts a card in.
    pub fn insert(&self, card: Card) -> anyhow::Result<()> {
        self.put(Slot {
            card: Some(card),
            torn_after: None,
        })
    }

    /// Puts a card in that is torn out after so many commands: from then on every transfer fails,
    /// until [`Reader::pull`] moves the slot's switch too.
    pub fn insert_and_tear(&self, card: Card, commands: u32) -> anyhow::Result<()> {
        self.put(Slot {
            card: Some(card),
            torn_after: Some(commands),
        })
    }

    /// Whether a card is in; one that tears itself out is gone some time after its insertion.
    pub fn has_card(&self) -> bool {
        self.card.lock().expect("no card panics").card.is_some()
    }

    fn put(&self, mut slot: Slot) -> anyhow::Result<()> {
        let atr = slot.card.as_mut().map(|card| {
            card.reset();
            card.atr().to_vec()
        });
        *self.card.lock().expect("no card panics") = slot;
        send(&self.stream, kind::ATR, &atr.unwrap_or_default()).context("insert the card")
    }

    /// Pulls the card.
    pub fn pull(&self) -> anyhow::Result<()> {
        *self.card.lock().expect("no card panics") = Slot::default();
        send(&self.stream, kind::CARD_REMOVE, &[]).context("pull the card")
    }
}

fn serve(mut stream: UnixStream, slot: &Mutex<Slot>) -> io::Result<()> {
    loop {
        let mut header = [0; 12];
        stream.read_exact(&mut header)?;
        let field = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (message, length) = (field(0), field(8));
        if length > MAX_MESSAGE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "message too long",
            ));
        }
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data)?;
        if message != kind::APDU {
            continue;
        }
        let mut slot = slot.lock().expect("no card panics");
        if slot.torn_after == Some(0) {
            slot.card = None;
            // A real reader reports the broken transfer. QEMU's waits minutes for an answer, also
            // when it is told of the removal while a transfer is under way; so the transfers fail
            // first and `pull` reports the removal.
            send(&stream, kind::APDU, &[0x6f, 0x00])?;
            continue;
        }
        slot.torn_after = slot.torn_after.map(|left| left - 1);
        if let Some(response) = slot.card.as_mut().and_then(|card| card.respond(&data)) {
            send(&stream, kind::APDU, &response)?;
        }
    }
}

fn send(mut stream: &UnixStream, message: u32, data: &[u8]) -> io::Result<()> {
    let mut bytes = message.to_be_bytes().to_vec();
    bytes.extend(0u32.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    stream.write_all(&bytes)
}
