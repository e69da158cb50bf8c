//! A card reader of a QEMU machine: the VSCard protocol towards `ccid-card-passthru`.
//!
//! Messages are big-endian: type, reader, length, data. Types as in libcacard's vscard_common.h.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context;

use crate::{Answer, Card};

mod kind {
    pub const INIT: u32 = 1;
    pub const READER_ADD: u32 = 3;
    pub const ATR: u32 = 5;
    pub const CARD_REMOVE: u32 = 6;
    pub const APDU: u32 = 7;
}

/// What a transfer gives whose card is gone. A real reader reports the broken transfer. QEMU's
/// waits minutes for an answer, also when it is told of the removal while a transfer is under way;
/// so the transfers fail first and [`Reader::pull`] reports the removal.
const BROKEN: [u8; 2] = [0x6f, 0x00];
/// Longer messages are not QEMU's.
const MAX_MESSAGE: u32 = 1 << 16;

/// The reader, with a card in it or none.
#[derive(Debug)]
pub struct Reader {
    stream: UnixStream,
    slot: Arc<Slot>,
}

/// What is in the reader, and word of every change of it.
#[derive(Debug, Default)]
struct Slot {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    card: Option<Card>,
    /// Commands after which the card is torn out, answering nothing more.
    torn_after: Option<u32>,
    /// Counts cards in and out.
    changes: u64,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no card panics")
    }

    fn put(&self, card: Option<Card>, torn_after: Option<u32>) {
        let mut content = self.lock();
        *content = Content {
            card,
            torn_after,
            changes: content.changes + 1,
        };
        self.changed.notify_all();
    }

    /// What the reader says to a command; nothing where the card never answers.
    fn transfer(&self, command: &[u8]) -> Option<Vec<u8>> {
        let mut content = self.lock();
        if content.torn_after == Some(0) {
            content.card = None;
            return Some(BROKEN.to_vec());
        }
        content.torn_after = content.torn_after.map(|left| left - 1);
        let Some(card) = content.card.as_mut() else {
            return Some(BROKEN.to_vec());
        };
        match card.answer(command) {
            Answer::After(Duration::ZERO, response) => Some(response),
            Answer::After(time, response) => {
                let before = content.changes;
                let same = |content: &mut Content| content.changes == before;
                let waited = self.changed.wait_timeout_while(content, time, same);
                match waited.expect("no card panics").1.timed_out() {
                    true => Some(response),
                    false => Some(BROKEN.to_vec()),
                }
            }
            Answer::Never => None,
            Answer::TornOut => {
                content.card = None;
                content.torn_after = Some(0);
                Some(BROKEN.to_vec())
            }
        }
    }
}

impl Reader {
    /// Connects to the socket of QEMU's character device.
    pub fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connect to the card device {}", socket.display()))?;
        let slot = Arc::new(Slot::default());
        let mut init = b"VSCD".to_vec();
        init.extend(2u32.to_be_bytes());
        init.extend(0u32.to_be_bytes());
        send(&stream, kind::INIT, &init)?;
        send(&stream, kind::READER_ADD, b"Heliostat\0")?;
        let (served, theirs) = (stream.try_clone()?, slot.clone());
        std::thread::Builder::new()
            .name("card".to_owned())
            .spawn(move || {
                // The machine is gone when its socket is.
                let _ = serve(served, &theirs);
            })?;
        Ok(Self { stream, slot })
    }

    /// Puts a card in.
    pub fn insert(&self, card: Card) -> anyhow::Result<()> {
        self.put(card, None)
    }

    /// Puts a card in that is torn out after so many commands: from then on every transfer fails,
    /// until [`Reader::pull`] moves the slot's switch too.
    pub fn insert_and_tear(&self, card: Card, commands: u32) -> anyhow::Result<()> {
        self.put(card, Some(commands))
    }

    /// Whether a card is in; one that is torn out is gone some time after its insertion.
    pub fn has_card(&self) -> bool {
        self.slot.lock().card.is_some()
    }

    fn put(&self, mut card: Card, torn_after: Option<u32>) -> anyhow::Result<()> {
        card.reset();
        let atr = card.atr().to_vec();
        self.slot.put(Some(card), torn_after);
        send(&self.stream, kind::ATR, &atr).context("insert the card")
    }

    /// Pulls the card.
    pub fn pull(&self) -> anyhow::Result<()> {
        self.slot.put(None, None);
        send(&self.stream, kind::CARD_REMOVE, &[]).context("pull the card")
    }
}

fn serve(mut stream: UnixStream, slot: &Slot) -> io::Result<()> {
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
        if let Some(response) = slot.transfer(&data) {
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
