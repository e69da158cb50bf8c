//! The outgoing direction of one stream.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// What waits to be sent on a stream, and how much of it may be.
///
/// ```text
/// Open ─finish()─► Ending ─last byte sent─► Ended
///   └──reset()───► Resetting ─sent────────► Ended
/// ```
#[derive(Debug)]
pub(super) struct SendSide {
    /// Higher is sent first.
    pub(super) priority: i32,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Bytes sent since the start of the stream, and how many the peer allows.
    sent: u64,
    credit: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ending,
    Resetting(u64),
    Ended,
}

/// What a stream would send next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, or nothing that the peer allows.
    Nothing,
    /// So many bytes, and whether the stream ends with them.
    Data { length: usize, last: bool },
    /// That it is given up.
    Reset(u64),
}

impl SendSide {
    pub(super) fn new(priority: i32, credit: u64) -> Self {
        Self {
            priority,
            queue: VecDeque::new(),
            queued: 0,
            sent: 0,
            credit,
            state: State::Open,
        }
    }

    /// Bytes that wait.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Whether more may be written.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(super) fn write(&mut self, bytes: Bytes) {
        if self.is_open() && !bytes.is_empty() {
            self.queued += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    pub(super) fn finish(&mut self) {
        if self.is_open() {
            self.state = State::Ending;
        }
    }

    pub(super) fn reset(&mut self, code: u64) {
        if self.state != State::Ended {
            self.queue.clear();
            self.queued = 0;
            self.state = State::Resetting(code);
        }
    }

    pub(super) fn allow(&mut self, limit: u64) {
        self.credit = self.credit.max(limit);
    }

    /// What it would send if it were its turn, at most `max` bytes.
    pub(super) fn next(&self, max: usize) -> Next {
        let ending = self.state == State::Ending;
        match self.state {
            State::Ended => return Next::Nothing,
            State::Resetting(code) => return Next::Reset(code),
            State::Open | State::Ending => {}
        }
        let credit = usize::try_from(self.credit - self.sent).unwrap_or(usize::MAX);
        let length = self.queued.min(credit).min(max);
        let last = ending && length == self.queued;
        match length == 0 && !last {
            true => Next::Nothing,
            false => Next::Data { length, last },
        }
    }

    /// Takes `length` queued bytes out, appending them.
    pub(super) fn take(&mut self, mut length: usize, out: &mut Vec<u8>) {
        self.queued -= length;
        self.sent += length as u64;
        while let Some(front) = self.queue.front_mut() {
            let piece = front.len().min(length);
            out.extend_from_slice(&front[..piece]);
            front.advance(piece);
            length -= piece;
            if !front.is_empty() {
                break;
            }
            self.queue.pop_front();
        }
    }

    /// The end has been sent.
    pub(super) fn ended(&mut self) {
        self.state = State::Ended;
    }
}
