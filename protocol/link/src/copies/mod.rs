//! What is small is sent twice while the way loses packets: on its stream, and a moment later in a
//! datagram; and once more where it loses many. Whichever comes first is taken, so that hardly
//! anything waits for a retransmission.
//!
//! ```text
//!            a packet was lost                  many of late                     few of late
//!   single ────────────────────► one copy each ──────────────► two copies each ─────────────► one
//!      ▲   each copy COPY_AFTER the one before it   │                │
//!      └────────────── none was lost for MEMORY ────┴────────────────┘
//! ```
//!
//! A terminal has sent little before the first key, so it takes a server's copies for a loss of its
//! own. A server does not: each would go on for the other's sake.
//!
//! A copy of the main stream is some of its bytes and where they belong, so it can neither change
//! the order of messages nor give one out twice. A copy of a frame is the whole frame.

mod join;
mod loss;
#[cfg(any(test, feature = "oracle"))]
mod oracle;
mod outgoing;
mod tail;
mod word;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

pub(crate) use join::Joined;
#[cfg(feature = "oracle")]
pub use oracle::hostile_copies;
use outgoing::{Outgoing, Way};
use word::{MAX_WORD, Word};

use crate::clock;
use crate::transport::DATAGRAM_BUFFER;

/// Bytes of a frame's stream of which there may be a copy.
pub(crate) const MAX_COPY: usize = MAX_WORD;
/// How long after its original a copy leaves: in a packet of its own, and when whatever took the
/// first one has perhaps passed.
const COPY_AFTER: Duration = Duration::from_millis(8);
/// Datagrams that wait for congestion control; copies behind more than that would come too late.
const MAX_UNSENT: usize = 4 << 10;
/// Frames that wait for their copy to leave, and copies of each kind that wait to be read.
const MAX_WAITING: usize = 64;

/// The copies of one QUIC connection, both ways. Clones are handles of the same.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    quic: quinn::Connection,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
    main_came: Notify,
    frame_came: Notify,
}

#[derive(Debug, Default)]
struct Incoming {
    main: Vec<(u64, Bytes)>,
    frames: Vec<Bytes>,
}

impl Copies {
    pub(crate) fn new(quic: quinn::Connection) -> Self {
        let shared = Shared {
            outgoing: Mutex::new(Outgoing::new(quic.side())),
            incoming: Mutex::default(),
            main_came: Notify::new(),
            frame_came: Notify::new(),
        };
        Self {
            quic,
            shared: Arc::new(shared),
        }
    }

    /// These bytes were handed to the main stream. Must be called for all of them.
    pub(crate) fn main_was_written(&self, bytes: &[u8]) {
        let way = self.way();
        if locked(&self.shared.outgoing).main_was_written(bytes, way) {
            self.send_soon();
        }
    }

    /// This frame was handed to its stream, which was finished: these are the stream's bytes.
    pub(crate) fn frame_was_written(&self, whole: Bytes) {
        let fits = self.quic.max_datagram_size().unwrap_or(0).min(MAX_COPY);
        let way = self.way();
        if whole.len() <= fits && locked(&self.shared.outgoing).frame_was_written(whole, way) {
            self.send_soon();
        }
    }

    /// The next bytes of the peer's main stream that came as a copy, and where they belong; waits
    /// for ever once the link is over. Cancel-safe.
    pub(crate) async fn next_of_main(&self) -> (u64, Bytes) {
        self.next(&self.shared.main_came, |incoming| take(&mut incoming.main))
            .await
    }

    /// The next frame that came as a copy, as on its stream; waits for ever once the link is over.
    /// Cancel-safe.
    pub(crate) async fn next_frame(&self) -> Bytes {
        self.next(&self.shared.frame_came, |incoming| {
            take(&mut incoming.frames)
        })
        .await
    }

    /// Waits for what `take` takes. Whoever waits sorts what comes for all.
    async fn next<T>(&self, came: &Notify, take: impl Fn(&mut Incoming) -> Option<T>) -> T {
        loop {
            let mut word = std::pin::pin!(came.notified());
            word.as_mut().enable();
            if let Some(copy) = take(&mut locked(&self.shared.incoming)) {
                return copy;
            }
            tokio::select! {
                biased;
                () = word => {}
                datagram = self.quic.read_datagram() => match datagram {
                    Ok(datagram) => self.sort(datagram),
                    // The streams say so better.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    /// What nobody reads is dropped, as the network might have done.
    fn sort(&self, datagram: Bytes) {
        let word = Word::decode(datagram);
        if word.is_some() {
            locked(&self.shared.outgoing).heard(clock::now());
        }
        let mut incoming = locked(&self.shared.incoming);
        match word {
            Some(Word::Main { at, bytes }) if incoming.main.len() < MAX_WAITING => {
                incoming.main.push((at, bytes));
                self.shared.main_came.notify_waiters();
            }
            Some(Word::Frame(bytes)) if incoming.frames.len() < MAX_WAITING => {
                incoming.frames.push(bytes);
                self.shared.frame_came.notify_waiters();
            }
            _ => {}
        }
    }

    fn way(&self) -> Way {
        let path = self.quic.stats().path;
        Way {
            sent: path.sent_packets,
            lost: path.lost_packets,
            now: clock::now(),
        }
    }

    fn send_soon(&self) {
        let copies = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(COPY_AFTER).await;
            copies.send();
        });
    }

    fn send(&self) {
        let way = self.way();
        let (words, more) = locked(&self.shared.outgoing).leave(way);
        if more {
            self.send_soon();
        }
        for word in words {
            let unsent = DATAGRAM_BUFFER.saturating_sub(self.quic.datagram_send_buffer_space());
            if unsent > MAX_UNSENT {
                break;
            }
            // The original is on its way whatever becomes of its copy.
            let _ = self.quic.send_datagram(word.encode());
        }
    }
}

fn take<T>(waiting: &mut Vec<T>) -> Option<T> {
    (!waiting.is_empty()).then(|| waiting.remove(0))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
