//! Frames of the scene, each on a unidirectional stream of its own.
//!
//! ```text
//! stream arrives ─► Reading(kind byte, length, header) ─► Reading(content) ─► whole ─► due ─► given out
//!                   always read                           read when due, or when there is room
//! ```
//!
//! Streams arrive in any order; frames are given out by serial, from 1 without gaps, but for those
//! that may overtake others: they are sent before them as well. A frame that is
//! due is always read; those before their turn share a bounded buffer and otherwise wait in the
//! peer. A small frame may come as a copy too ([`crate::copies`]), and is then given out without
//! waiting for its stream.

mod content;
mod order;
mod parse;

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use heliostat_wire::codec;
use heliostat_wire::limits::MAX_FRAME_CONTENT;
use heliostat_wire::scene::{FrameHeader, STREAM_FRAME};

use crate::carrier::{ReceiveStream, SendStream, Streams};
use crate::connection::Connection;
use crate::copies::MAX_COPY;
use crate::error::LinkError;
use crate::transport::{MAX_FRAME_STREAMS, priority};
pub use content::Content;
use content::Spare;
use order::Order;
use parse::Parser;

/// Bytes of frames read before their turn.
const MAX_EARLY: usize = 16 << 20;

/// Sends frames.
#[derive(Debug)]
pub struct FrameSender {
    connection: Connection,
    scratch: Vec<u8>,
}

impl FrameSender {
    /// Sends frames on `connection`.
    pub fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            scratch: Vec::new(),
        }
    }

    /// Sends one frame and returns when all of it waits in this end's send buffer. The content is
    /// not copied. Not cancel-safe: a frame cut off by dropping this future breaks the link.
    pub async fn send(&mut self, header: &FrameHeader, content: Bytes) -> Result<Sent, LinkError> {
        self.send_pieces(header, vec![content]).await
    }

    /// The same of content that is in pieces.
    pub async fn send_pieces(
        &mut self,
        header: &FrameHeader,
        mut content: Vec<Bytes>,
    ) -> Result<Sent, LinkError> {
        let length = content.iter().map(Bytes::len).sum();
        if length > MAX_FRAME_CONTENT {
            return Err(heliostat_wire::WireError::TooLong {
                got: length,
                max: MAX_FRAME_CONTENT,
            }
            .into());
        }
        self.scratch.clear();
        self.scratch.push(STREAM_FRAME);
        codec::encode_frame_header(header, &mut self.scratch)?;
        let streams = self.connection.streams();
        let mut copy = None;
        match self.scratch.len() + length <= MAX_COPY {
            true => {
                content
                    .iter()
                    .for_each(|piece| self.scratch.extend_from_slice(piece));
                let whole = Bytes::copy_from_slice(&self.scratch);
                copy = streams.copies().map(|copies| (copies, whole.clone()));
                content = vec![whole];
            }
            false => content.insert(0, Bytes::copy_from_slice(&self.scratch)),
        }
        let priority = match header.overtakes {
            0 => priority::FRAME,
            _ => priority::AHEAD,
        };
        let mut stream = streams.open_uni(priority).await?;
        stream.write_all_chunks(&mut content).await?;
        stream.finish()?;
        if let Some((copies, whole)) = copy {
            copies.frame_was_written(whole);
        }
        Ok(Sent { stream })
    }
}

/// A frame that is on its way.
#[derive(Debug)]
pub struct Sent {
    stream: SendStream,
}

impl Sent {
    /// Waits until all of it has been delivered, or the link is over. Over TCP nothing is known of
    /// single frames, and this is ready at once.
    pub async fn arrived(self) {
        self.stream.arrived().await;
    }
}

/// One frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it does to the scene.
    pub header: FrameHeader,
    /// Its batch of tiles, not looked at.
    pub content: Content,
}

/// Receives frames, in order.
#[derive(Debug)]
pub struct FrameReceiver {
    connection: Connection,
    reading: Vec<Reading>,
    order: Order,
    spare: Spare,
}

impl FrameReceiver {
    /// Receives the frames of an attach on `connection`, from serial 1.
    pub fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            reading: Vec::new(),
            order: Order::default(),
            spare: Spare::default(),
        }
    }

    /// The next frame. Cancel-safe.
    pub async fn next(&mut self) -> Result<Frame, LinkError> {
        let connection = self.connection.clone();
        loop {
            if let Some(frame) = self.order.next() {
                return Ok(frame);
            }
            let room = self.reading.len() < MAX_FRAME_STREAMS as usize;
            tokio::select! {
                biased;
                stream = connection.streams().accept_uni(), if room => self.begin(stream?),
                frame = poll_fn(|cx| self.poll_reading(cx)) => self.order.arrived(frame?)?,
                copy = next_copy(connection.streams()) => {
                    self.order.copied(parse::whole(&copy)?);
                }
            }
        }
    }

    fn begin(&mut self, stream: ReceiveStream) {
        self.reading.push(Reading {
            stream,
            parser: Parser::default(),
        });
    }

    /// Reads what has arrived; ready with a frame that is whole.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkError>> {
        let due = self.order.due();
        let mut early = self.order.bytes() + self.early_bytes(due);
        for n in 0..self.reading.len() {
            let reading = &mut self.reading[n];
            let before = reading.parser.early_bytes(due);
            let room = MAX_EARLY.saturating_sub(early);
            let poll = reading.poll(cx, due, room, &self.spare);
            early += reading.parser.early_bytes(due).saturating_sub(before);
            if let Poll::Ready(done) = poll {
                let reading = self.reading.swap_remove(n);
                return Poll::Ready(done.and_then(|()| reading.parser.finish()));
            }
        }
        Poll::Pending
    }

    fn early_bytes(&self, due: u32) -> usize {
        let parsers = self.reading.iter().map(|reading| &reading.parser);
        parsers.map(|parser| parser.early_bytes(due)).sum()
    }
}

/// The next copy of a frame; waits for ever over a carrier without any.
async fn next_copy(streams: &Streams) -> Bytes {
    match streams.copies() {
        Some(copies) => copies.next_frame().await,
        None => std::future::pending().await,
    }
}

/// A frame that is being read.
#[derive(Debug)]
struct Reading {
    stream: ReceiveStream,
    parser: Parser,
}

impl Reading {
    /// Reads on; ready when the stream has ended. `room` is how much of an early frame may be read.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        due: u32,
        room: usize,
        spare: &Spare,
    ) -> Poll<Result<(), LinkError>> {
        let begun = self.parser.early_bytes(due);
        loop {
            let early = self.parser.early_bytes(due).saturating_sub(begun);
            if self.parser.is_early(due) && early >= room {
                return Poll::Pending;
            }
            if self.parser.is_large(due) {
                self.parser.settle(spare);
            }
            let read = ready!(self.stream.poll_read(cx, self.parser.space()))?;
            match read {
                0 => return Poll::Ready(Ok(())),
                read => self.parser.advance(read)?,
            }
        }
    }
}
