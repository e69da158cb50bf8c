//! Frames of the scene, each on a unidirectional stream of its own.
//!
//! ```text
//! stream arrives ─► Reading(kind byte, length, header) ─► Reading(content) ─► whole ─► due ─► given out
//!                   always read                           read when due, or when there is room
//! ```
//!
//! Streams arrive in any order; frames are given out by serial, from 1 without gaps. A frame that is
//! due is always read; those before their turn share a bounded buffer and otherwise wait in the
//! peer.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use heliostat_wire::codec::{self, LENGTH_FIELD};
use heliostat_wire::limits::{MAX_FRAME_CONTENT, MAX_FRAME_HEADER};
use heliostat_wire::scene::{FrameHeader, STREAM_FRAME};

use crate::connection::Connection;
use crate::error::LinkError;
use crate::transport::{MAX_FRAME_STREAMS, priority};

/// Bytes of frames read before their turn.
const MAX_EARLY: usize = 16 << 20;
/// How far ahead of the due serial a frame may be.
const MAX_AHEAD: u32 = 2 * MAX_FRAME_STREAMS;
/// Room made in a buffer at once.
const STEP: usize = 16 << 10;
/// Buffers kept for reuse, and the size from which one is not worth keeping.
const MAX_SPARE: usize = 4;
const MAX_SPARE_SIZE: usize = 4 << 20;

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
    pub async fn send(&mut self, header: &FrameHeader, content: Bytes) -> Result<(), LinkError> {
        if content.len() > MAX_FRAME_CONTENT {
            return Err(heliostat_wire::WireError::TooLong {
                got: content.len(),
                max: MAX_FRAME_CONTENT,
            }
            .into());
        }
        self.scratch.clear();
        self.scratch.push(STREAM_FRAME);
        codec::encode_frame_header(header, &mut self.scratch)?;
        let mut parts = [Bytes::copy_from_slice(&self.scratch), content];
        let mut stream = self.connection.quic().open_uni().await?;
        stream
            .set_priority(priority::FRAME)
            .map_err(|_| LinkError::Protocol("a frame's stream is closed"))?;
        stream.write_all_chunks(&mut parts).await?;
        stream
            .finish()
            .map_err(|_| LinkError::Protocol("a frame's stream is closed"))
    }
}

/// One frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it does to the scene.
    pub header: FrameHeader,
    /// Its batch of tiles, not looked at.
    pub content: Vec<u8>,
}

/// Receives frames, in order.
#[derive(Debug)]
pub struct FrameReceiver {
    connection: Connection,
    reading: Vec<Reading>,
    early: BTreeMap<u32, Frame>,
    due: u32,
    spare: Vec<Vec<u8>>,
}

impl FrameReceiver {
    /// Receives the frames of an attach on `connection`, from serial 1.
    pub fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            reading: Vec::new(),
            early: BTreeMap::new(),
            due: 1,
            spare: Vec::new(),
        }
    }

    /// The next frame. Cancel-safe.
    pub async fn next(&mut self) -> Result<Frame, LinkError> {
        let connection = self.connection.clone();
        loop {
            if let Some(frame) = self.early.remove(&self.due) {
                self.due = self.due.wrapping_add(1);
                return Ok(frame);
            }
            let room = self.reading.len() < MAX_FRAME_STREAMS as usize;
            tokio::select! {
                biased;
                stream = connection.quic().accept_uni(), if room => self.begin(stream?),
                frame = poll_fn(|cx| self.poll_reading(cx)) => self.arrived(frame?)?,
            }
        }
    }

    /// Takes a frame's buffer back, so that the next frame need not allocate.
    pub fn recycle(&mut self, mut content: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && content.capacity() <= MAX_SPARE_SIZE {
            content.clear();
            self.spare.push(content);
        }
    }

    fn begin(&mut self, stream: quinn::RecvStream) {
        self.reading.push(Reading {
            stream,
            part: Part::Kind,
            buffer: self.spare.pop().unwrap_or_default(),
            filled: 0,
        });
    }

    /// Reads what has arrived; ready with a frame that is whole.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkError>> {
        let mut early = self.early_bytes();
        for n in 0..self.reading.len() {
            let reading = &mut self.reading[n];
            let before = reading.filled;
            let poll = reading.poll(cx, self.due, MAX_EARLY.saturating_sub(early));
            if reading.is_early(self.due) {
                early += reading.filled.saturating_sub(before);
            }
            if let Poll::Ready(done) = poll {
                let reading = self.reading.swap_remove(n);
                return Poll::Ready(done.and_then(|()| reading.into_frame()));
            }
        }
        Poll::Pending
    }

    fn early_bytes(&self) -> usize {
        let whole: usize = self.early.values().map(|frame| frame.content.len()).sum();
        let partial: usize = self
            .reading
            .iter()
            .filter(|reading| reading.is_early(self.due))
            .map(|reading| reading.filled)
            .sum();
        whole + partial
    }

    fn arrived(&mut self, frame: Frame) -> Result<(), LinkError> {
        let serial = frame.header.serial;
        if serial.wrapping_sub(self.due) >= MAX_AHEAD {
            return Err(LinkError::Protocol("a frame's serial is out of range"));
        }
        if self.early.insert(serial, frame).is_some() {
            return Err(LinkError::Protocol("two frames have the same serial"));
        }
        Ok(())
    }
}

/// A frame that is being read.
#[derive(Debug)]
struct Reading {
    stream: quinn::RecvStream,
    part: Part,
    /// The current part; zeroes from `filled` on.
    buffer: Vec<u8>,
    filled: usize,
}

/// Which part of a frame the buffer holds.
#[derive(Debug)]
enum Part {
    Kind,
    Length,
    Header { length: usize },
    Content { header: FrameHeader },
}

impl Reading {
    fn is_early(&self, due: u32) -> bool {
        matches!(&self.part, Part::Content { header } if header.serial != due)
    }

    /// Reads on; ready when the frame is whole. `room` is how much of an early frame may be read.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        due: u32,
        mut room: usize,
    ) -> Poll<Result<(), LinkError>> {
        loop {
            let wanted = match &self.part {
                Part::Kind => 1,
                Part::Length => LENGTH_FIELD,
                Part::Header { length } => *length,
                Part::Content { .. } if self.is_early(due) && room == 0 => return Poll::Pending,
                Part::Content { .. } => self.filled + STEP.max(self.filled / 2),
            };
            if self.filled == wanted {
                self.next_part()?;
                continue;
            }
            self.buffer.resize(wanted.max(self.buffer.len()), 0);
            let space = &mut self.buffer[self.filled..wanted];
            let read = std::task::ready!(self.stream.poll_read(cx, space))?;
            match (&self.part, read) {
                (Part::Content { .. }, 0) => return Poll::Ready(Ok(())),
                (_, 0) => return Poll::Ready(Err(LinkError::Protocol("a frame ended early"))),
                _ => self.filled += read,
            }
            if matches!(self.part, Part::Content { .. }) {
                room = room.saturating_sub(read);
                if self.filled > MAX_FRAME_CONTENT {
                    return Poll::Ready(Err(LinkError::Protocol("a frame is too long")));
                }
            }
        }
    }

    fn next_part(&mut self) -> Result<(), LinkError> {
        let bytes = &self.buffer[..self.filled];
        self.part = match (&self.part, bytes) {
            (Part::Kind, [STREAM_FRAME]) => Part::Length,
            (Part::Kind, _) => return Err(LinkError::Protocol("a stream of unknown kind")),
            (Part::Length, _) => {
                let field = bytes.try_into().expect("a length field was read whole");
                Part::Header {
                    length: codec::body_length(field, MAX_FRAME_HEADER)?,
                }
            }
            (Part::Header { .. }, header) => Part::Content {
                header: codec::decode(header)?,
            },
            (Part::Content { .. }, _) => return Ok(()),
        };
        self.filled = 0;
        Ok(())
    }

    fn into_frame(mut self) -> Result<Frame, LinkError> {
        self.buffer.truncate(self.filled);
        match self.part {
            Part::Content { header } => Ok(Frame {
                header,
                content: self.buffer,
            }),
            _ => Err(LinkError::Protocol("a frame ended early")),
        }
    }
}
