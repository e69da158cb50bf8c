//! The one bidirectional stream of a link: preambles, then typed messages.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use heliostat_wire::codec;
use heliostat_wire::limits::MAX_MESSAGE;
use heliostat_wire::version::{Link, Preamble, VersionError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::carrier::{ReceiveStream, SendStream, Streams};
use crate::copies::{Copies, Joined};
use crate::error::{Ended, LinkError};

/// Bytes that may wait in a [`Sender`] before it refuses more.
const MAX_QUEUED: usize = 2 * MAX_MESSAGE;
/// How long a peer of another version may take to hear of ours.
const FAREWELL: Duration = Duration::from_millis(500);
/// Bytes taken from the stream at once.
const CHUNK: usize = 64 << 10;

/// The main stream: messages `S` out, `R` in.
#[derive(Debug)]
pub struct Main<S, R> {
    sender: Sender<S>,
    receiver: Receiver<R>,
}

impl<S: Serialize, R: DeserializeOwned> Main<S, R> {
    pub(crate) async fn open(streams: &Streams, link: Link, first: &S) -> Result<Self, LinkError> {
        let (send, receive) = streams.open_main().await?;
        let mut main = Self::new(send, receive, streams.copies(), link);
        main.sender.preamble(link);
        main.sender.send(first).await?;
        Ok(main)
    }

    pub(crate) async fn accept(streams: &Streams, link: Link) -> Result<Self, LinkError> {
        let (send, receive) = streams.accept_main().await?;
        let mut main = Self::new(send, receive, streams.copies(), link);
        let agreed = main.receiver.agree().await;
        main.sender.preamble(link);
        match agreed {
            Ok(()) => {
                main.sender.flush().await?;
                Ok(main)
            }
            Err(error) => {
                // A peer of another version is to learn which ones are spoken here.
                let _ = tokio::time::timeout(FAREWELL, main.sender.finish()).await;
                Err(error)
            }
        }
    }

    fn new(send: SendStream, receive: ReceiveStream, copies: Option<&Copies>, link: Link) -> Self {
        Self {
            sender: Sender {
                stream: send,
                copies: copies.cloned(),
                queue: BytesMut::new(),
                scratch: Vec::new(),
                message: PhantomData,
            },
            receiver: Receiver {
                stream: receive,
                copies: copies.cloned(),
                joined: Joined::default(),
                buffer: BytesMut::new(),
                state: Expecting::Preamble(link),
                message: PhantomData,
            },
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &S) -> Result<(), LinkError> {
        self.sender.send(message).await
    }

    /// The next message.
    pub async fn recv(&mut self) -> Result<R, LinkError> {
        self.receiver.recv().await
    }

    /// The two directions, for tasks of their own.
    pub fn split(self) -> (Sender<S>, Receiver<R>) {
        (self.sender, self.receiver)
    }
}

/// The outgoing direction.
#[derive(Debug)]
pub struct Sender<S> {
    stream: SendStream,
    copies: Option<Copies>,
    queue: BytesMut,
    scratch: Vec<u8>,
    message: PhantomData<fn(&S)>,
}

impl<S: Serialize> Sender<S> {
    fn preamble(&mut self, link: Link) {
        let preamble = Preamble::ours(link).encode();
        self.queue.extend_from_slice(&preamble);
    }

    /// Puts a message behind those that wait. Nothing is sent before [`Sender::flush`]; what is
    /// queued together travels together.
    pub fn queue(&mut self, message: &S) -> Result<(), LinkError> {
        if self.queue.len() > MAX_QUEUED {
            return Err(LinkError::Backlog(self.queue.len()));
        }
        self.scratch.clear();
        codec::encode(message, &mut self.scratch)?;
        self.queue.extend_from_slice(&self.scratch);
        if self.scratch.capacity() > CHUNK {
            self.scratch = Vec::new();
        }
        Ok(())
    }

    /// Hands everything queued to the network, waiting while it has no room. Cancel-safe: what was
    /// not handed over stays queued.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        while !self.queue.is_empty() {
            let written = self.stream.write(&self.queue).await?;
            if let Some(copies) = &self.copies {
                copies.main_was_written(&self.queue[..written]);
            }
            self.queue.advance(written);
        }
        Ok(())
    }

    /// Queues one message and flushes. When cancelled the message stays queued.
    pub async fn send(&mut self, message: &S) -> Result<(), LinkError> {
        self.queue(message)?;
        self.flush().await
    }

    /// Flushes, ends the stream and waits until the peer has received everything, so that the link
    /// may be closed without losing the last words. The caller sets a deadline.
    pub async fn finish(mut self) -> Result<(), LinkError> {
        self.flush().await?;
        self.stream.finish()?;
        self.stream.delivered().await
    }
}

/// The incoming direction.
#[derive(Debug)]
pub struct Receiver<R> {
    stream: ReceiveStream,
    copies: Option<Copies>,
    joined: Joined,
    buffer: BytesMut,
    state: Expecting,
    message: PhantomData<fn() -> R>,
}

/// What comes next on the stream.
#[derive(Debug, Clone, Copy)]
enum Expecting {
    /// The peer's preamble for this link.
    Preamble(Link),
    /// A message of this version.
    Message { version: u16 },
}

impl<R: DeserializeOwned> Receiver<R> {
    /// The next message. Cancel-safe: a message read in part is kept for the next call.
    pub async fn recv(&mut self) -> Result<R, LinkError> {
        self.agree().await?;
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// A message that has already arrived whole, without waiting for more.
    pub fn buffered(&mut self) -> Result<Option<R>, LinkError> {
        match self.state {
            Expecting::Preamble(_) => Ok(None),
            Expecting::Message { .. } => self.take_message(),
        }
    }

    /// The version agreed upon; none before the peer's preamble has come.
    pub fn version(&self) -> Option<u16> {
        match self.state {
            Expecting::Preamble(_) => None,
            Expecting::Message { version } => Some(version),
        }
    }

    async fn agree(&mut self) -> Result<(), LinkError> {
        while let Expecting::Preamble(link) = self.state {
            match self.buffer.first_chunk::<{ Preamble::SIZE }>() {
                None => self.fill().await?,
                Some(bytes) => {
                    let version = Preamble::agree(link, Preamble::decode(bytes)?)?;
                    self.buffer.advance(Preamble::SIZE);
                    self.state = Expecting::Message { version };
                }
            }
        }
        Ok(())
    }

    fn take_message(&mut self) -> Result<Option<R>, LinkError> {
        let Some(range) = codec::body_range(&self.buffer, MAX_MESSAGE)? else {
            return Ok(None);
        };
        let end = range.end;
        let Some(body) = self.buffer.get(range) else {
            return Ok(None);
        };
        let message = codec::decode(body)?;
        self.buffer.advance(end);
        if self.buffer.is_empty() && self.buffer.capacity() > CHUNK {
            self.buffer = BytesMut::new();
        }
        Ok(Some(message))
    }

    async fn fill(&mut self) -> Result<(), LinkError> {
        let chunk = tokio::select! {
            biased;
            chunk = self.stream.read_chunk(CHUNK) => chunk?,
            (at, bytes) = next_copy(self.copies.as_ref()) => {
                self.joined.copy(at, bytes, &mut self.buffer);
                return Ok(());
            }
        };
        match chunk {
            Some(chunk) => {
                self.joined.stream(&chunk, &mut self.buffer);
                Ok(())
            }
            None => Err(self.at_end()),
        }
    }

    fn at_end(&self) -> LinkError {
        match (self.state, self.buffer.is_empty()) {
            (Expecting::Preamble(_), _) => VersionError::NotHeliostat.into(),
            _ if self.joined.is_ahead() => {
                LinkError::Protocol("a copy went beyond the end of the main stream")
            }
            (_, false) => LinkError::Protocol("the main stream ended within a message"),
            (_, true) => Ended::ByPeer {
                code: heliostat_wire::close::CloseCode::Done,
                text: String::new(),
            }
            .into(),
        }
    }
}

/// The next copy of some of the stream; waits for ever over a carrier without any.
async fn next_copy(copies: Option<&Copies>) -> (u64, Bytes) {
    match copies {
        Some(copies) => copies.next_of_main().await,
        None => std::future::pending().await,
    }
}
