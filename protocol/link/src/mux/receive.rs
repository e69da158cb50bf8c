//! The incoming direction of one stream.

use bytes::{Bytes, BytesMut};

use super::{INITIAL_CREDIT, Violation};

/// What has come on a stream and not been read, and how much more may come.
///
/// ```text
/// Open ─last data─► Ended
///   └──RESET──────► Abandoned
/// ```
#[derive(Debug)]
pub(super) struct ReceiveSide {
    buffer: BytesMut,
    /// Bytes that may wait here.
    window: u64,
    /// Bytes come, counted from the start of the stream, and how many the peer was allowed.
    received: u64,
    allowed: u64,
    /// How far the allowance was ahead of what had come when it was last raised.
    step: u64,
    state: State,
    /// Nobody reads it any more; what comes is dropped.
    discarded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Abandoned,
}

/// What reading a stream gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The next bytes, never none.
    Data(Bytes),
    /// Nothing yet.
    Pending,
    /// Nothing any more.
    End,
    /// The peer has given the stream up.
    Abandoned,
}

impl ReceiveSide {
    pub(super) fn new(window: u64) -> Self {
        Self {
            buffer: BytesMut::new(),
            window,
            received: 0,
            allowed: INITIAL_CREDIT,
            step: INITIAL_CREDIT,
            state: State::Open,
            discarded: false,
        }
    }

    pub(super) fn arrived(&mut self, bytes: &[u8], last: bool) -> Result<(), Violation> {
        if self.state != State::Open {
            return Err(Violation("data after the end of a stream"));
        }
        if bytes.len() as u64 > self.allowed - self.received {
            return Err(Violation("more data than was allowed"));
        }
        self.received += bytes.len() as u64;
        if !self.discarded {
            self.buffer.extend_from_slice(bytes);
        }
        if last {
            self.state = State::Ended;
        }
        Ok(())
    }

    pub(super) fn abandoned(&mut self) -> Result<(), Violation> {
        if self.state != State::Open {
            return Err(Violation("a reset after the end of a stream"));
        }
        self.state = State::Abandoned;
        self.buffer = BytesMut::new();
        Ok(())
    }

    /// The next bytes, at most `max`.
    pub(super) fn read(&mut self, max: usize) -> Read {
        if !self.buffer.is_empty() {
            let length = self.buffer.len().min(max);
            return Read::Data(self.buffer.split_to(length).freeze());
        }
        match self.state {
            State::Open => Read::Pending,
            State::Ended => Read::End,
            State::Abandoned => Read::Abandoned,
        }
    }

    pub(super) fn discard(&mut self) {
        self.discarded = true;
        self.buffer = BytesMut::new();
    }

    pub(super) fn is_discarded(&self) -> bool {
        self.discarded
    }

    /// Whether nothing can come any more.
    pub(super) fn is_over(&self) -> bool {
        self.state != State::Open
    }

    /// A higher allowance, where it is worth a frame: less than half of the last one is left, and
    /// the reader has made room for a good part of a new one.
    pub(super) fn raise(&mut self) -> Option<u64> {
        let read = self.received - self.buffer.len() as u64;
        let limit = read + self.window;
        let left = self.allowed - self.received;
        let worth_it = left < self.step / 2 && limit >= self.allowed + self.window / 4;
        if self.state != State::Open || !worth_it {
            return None;
        }
        self.allowed = limit;
        self.step = limit - self.received;
        Some(limit)
    }

    #[cfg(any(test, feature = "oracle"))]
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }
}
