//! Many streams over one: the core of the TCP carrier. Bytes in, bytes out.
//!
//! Streams are numbered and opened as on QUIC (RFC 9000, 2.1). Each has credit of its own, so none
//! can fill this end's memory or keep another from moving; and what is sent next is decided anew
//! for each small chunk, so a message never waits behind more than one chunk of a frame.
//!
//! ```text
//! write(), finish() ─► queues by stream ─► poll_output(): the most urgent chunk ─► TLS
//! TLS ─► handle_input() ─► buffers by stream ─► read()
//! ```

mod alive;
mod frame;
#[cfg(any(test, feature = "oracle"))]
mod oracle;
mod pending;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes, BytesMut};

use crate::transport::{MAX_FRAME_STREAMS, SEND_WINDOW, priority};
use crate::transport::{SERVER_STREAM_WINDOW, TERMINAL_STREAM_WINDOW};
pub(crate) use alive::{Alive, Pulse};
use frame::Frame;
#[cfg(any(test, feature = "oracle"))]
pub use oracle::hostile_peer;
use pending::Pending;
pub(crate) use receive::Read;
use receive::ReceiveSide;
use send::{Next, SendSide};

/// Bytes that may be sent on a stream before the peer has allowed any: enough for the largest
/// message and for the first frame of an attach.
pub(crate) const INITIAL_CREDIT: u64 = 512 << 10;
/// Bytes of a stream sent at once. Less makes urgent bytes wait less, more costs fewer records.
pub(crate) const CHUNK: usize = 8 << 10;
/// Bytes that may wait on the main stream. Its own, so that frames never keep a message out.
const MAIN_QUEUE: usize = 512 << 10;
/// New unidirectional streams are allowed this many at once.
const STREAMS_STEP: u64 = MAX_FRAME_STREAMS as u64 / 2;

/// The main stream: the first bidirectional one of the client.
pub(crate) const MAIN: u64 = 0;

/// How the peer has broken the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Violation(pub(crate) &'static str);

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A terminal: opens the main stream, takes frames.
    Client,
    /// A broker or a session.
    Server,
}

/// What has changed for whoever waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// There is something to read on this stream, if only its end.
    Readable(u64),
    /// There may be room to write.
    Writable,
    /// The peer has all of the main stream.
    MainDelivered,
    /// The peer has opened the main stream.
    MainOpened,
    /// The peer has opened a unidirectional stream.
    UniOpened,
    /// A unidirectional stream may be opened.
    MayOpen,
    /// The peer has closed the link.
    Closed {
        /// Why, as a number.
        code: u64,
        /// Why, in words.
        words: Bytes,
    },
}

/// The state of one end.
#[derive(Debug)]
pub(crate) struct Mux {
    role: Role,
    /// The start of a frame that is not whole.
    input: BytesMut,
    sending: BTreeMap<u64, SendSide>,
    receiving: BTreeMap<u64, ReceiveSide>,
    main_opened: bool,
    /// The peer has all of this end's direction of it.
    main_delivered: bool,
    /// Unidirectional streams opened by this end, and how many may be.
    opened: u64,
    may_open: u64,
    /// Unidirectional streams opened by the peer, how many it may, and how many are over.
    peer_opened: u64,
    peer_may_open: u64,
    peer_over: u64,
    /// Streams of the peer that nobody has taken yet.
    main_arrived: bool,
    arrived: VecDeque<u64>,
    pending: Pending,
    state: State,
}

/// ```text
/// Open ─close()─► Closing ─CLOSE sent─► Closed
///   └──CLOSE from the peer, or it broke the protocol──► Closed
/// ```
#[derive(Debug)]
enum State {
    Open,
    Closing { code: u64, words: Vec<u8> },
    Closed,
}

impl Mux {
    /// An end of a new link. It agrees with the peer without a word on what each may send first.
    pub(crate) fn new(role: Role) -> Self {
        let frames = u64::from(MAX_FRAME_STREAMS);
        let (may_open, peer_may_open) = match role {
            Role::Client => (0, frames),
            Role::Server => (frames, 0),
        };
        Self {
            role,
            input: BytesMut::new(),
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            main_opened: false,
            main_delivered: false,
            opened: 0,
            may_open,
            peer_opened: 0,
            peer_may_open,
            peer_over: 0,
            main_arrived: false,
            arrived: VecDeque::new(),
            pending: Pending::default(),
            state: State::Open,
        }
    }

    /// Opens the main stream; none where it has been opened or is not this end's to open.
    pub(crate) fn open_main(&mut self) -> Option<u64> {
        if self.role != Role::Client || self.main_opened {
            return None;
        }
        self.begin_main();
        Some(MAIN)
    }

    /// The main stream, once the peer has opened it.
    pub(crate) fn accept_main(&mut self) -> Option<u64> {
        std::mem::take(&mut self.main_arrived).then_some(MAIN)
    }

    /// Opens a unidirectional stream; none while the peer allows no more.
    pub(crate) fn open_uni(&mut self, priority: i32) -> Option<u64> {
        if self.opened >= self.may_open {
            return None;
        }
        let id = self.opened * 4 + uni_bits(self.role);
        self.opened += 1;
        let side = SendSide::new(priority, INITIAL_CREDIT);
        self.sending.insert(id, side);
        Some(id)
    }

    /// A unidirectional stream that the peer has opened.
    pub(crate) fn accept_uni(&mut self) -> Option<u64> {
        self.arrived.pop_front()
    }

    /// Bytes that may be written to a stream now; none where it is not open for writing.
    pub(crate) fn room(&self, id: u64) -> Option<usize> {
        let side = self.sending.get(&id).filter(|side| side.is_open())?;
        if id == MAIN {
            return Some(MAIN_QUEUE.saturating_sub(side.queued()));
        }
        // What may wait never keeps what is more urgent out.
        let alike =
            |(id, other): &(&u64, &SendSide)| **id != MAIN && other.priority == side.priority;
        let queued = self.sending.iter().filter(alike);
        let queued: usize = queued.map(|(_, side)| side.queued()).sum();
        Some((SEND_WINDOW as usize).saturating_sub(queued))
    }

    /// Puts bytes behind those of the stream that wait. The caller keeps to [`Mux::room`].
    pub(crate) fn write(&mut self, id: u64, bytes: Bytes) {
        if let (State::Open, Some(side)) = (&self.state, self.sending.get_mut(&id)) {
            side.write(bytes);
        }
    }

    /// Ends a stream behind what waits on it.
    pub(crate) fn finish(&mut self, id: u64) {
        if let Some(side) = self.sending.get_mut(&id) {
            side.finish();
        }
    }

    /// Gives a stream up: what waits on it is not sent.
    #[cfg_attr(not(any(test, feature = "oracle")), expect(dead_code))]
    pub(crate) fn reset(&mut self, id: u64, code: u64) {
        if let Some(side) = self.sending.get_mut(&id) {
            side.reset(code);
        }
    }

    /// Whether the peer has all of the main stream, which was finished.
    pub(crate) fn main_is_delivered(&self) -> bool {
        self.main_delivered
    }

    /// The next bytes of a stream, at most `max`.
    pub(crate) fn read(&mut self, id: u64, max: usize) -> Read {
        let Some(side) = self.receiving.get_mut(&id) else {
            return Read::End;
        };
        let read = side.read(max);
        match &read {
            Read::Data(_) => self.raise(id),
            Read::Pending => {}
            Read::End | Read::Abandoned => self.over(id),
        }
        read
    }

    /// Nobody reads this stream any more.
    pub(crate) fn discard(&mut self, id: u64) {
        if let Some(side) = self.receiving.get_mut(&id) {
            side.discard();
            match side.is_over() {
                true => self.over(id),
                false => self.raise(id),
            }
        }
    }

    /// Asks the peer whether it is there.
    pub(crate) fn ping(&mut self) {
        self.pending.ping = true;
    }

    /// Closes the link. What waits is dropped; only the word of it is still sent.
    pub(crate) fn close(&mut self, code: u64, words: &str) {
        if let State::Open = self.state {
            self.drop_queues();
            self.state = State::Closing {
                code,
                words: words.as_bytes().to_vec(),
            };
        }
    }

    /// Takes bytes from the peer, however they are cut. After an error the link is to be closed.
    pub(crate) fn handle_input(
        &mut self,
        bytes: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Violation> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        while let State::Open = self.state {
            let Some((frame, taken)) = Frame::decode(&input)? else {
                break;
            };
            self.handle(frame, events)?;
            input.advance(taken);
        }
        self.input = input;
        Ok(())
    }

    /// Puts the most urgent bytes into `out`, which is empty; nothing where there are none.
    pub(crate) fn poll_output(&mut self, out: &mut Vec<u8>, events: &mut Vec<Event>) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open => self.state = State::Open,
            State::Closing { code, words } => {
                let words = &words;
                return Frame::Close { code, words }.encode(out);
            }
            State::Closed => return,
        }
        self.pending.encode(out);
        if out.is_empty() {
            self.encode_data(out, events);
        }
    }

    /// Whether one of the small frames waits, as after reading.
    pub(crate) fn has_word(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the link has been closed by either end, and the word of it has been given out.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn encode_data(&mut self, out: &mut Vec<u8>, events: &mut Vec<Event>) {
        let ready = self
            .sending
            .iter_mut()
            .map(|(id, side)| (*id, side.next(CHUNK), side))
            .filter(|(_, next, _)| *next != Next::Nothing)
            // Of the most urgent, the one that was opened first.
            .min_by_key(|(id, _, side)| (std::cmp::Reverse(side.priority), *id));
        let Some((id, next, side)) = ready else {
            return;
        };
        match next {
            Next::Nothing => {}
            Next::Reset(code) => {
                Frame::Reset { id, code }.encode(out);
                side.ended();
            }
            Next::Data { length, last } => {
                Frame::header_of_data(id, length, last, out);
                side.take(length, out);
                if last {
                    side.ended();
                }
                events.push(Event::Writable);
            }
        }
        // The main stream stays until the peer has told that it has everything.
        if side.is_ended() && id != MAIN {
            self.sending.remove(&id);
        }
    }

    fn handle(&mut self, frame: Frame<'_>, events: &mut Vec<Event>) -> Result<(), Violation> {
        match frame {
            Frame::Data { id, bytes, last } => {
                let side = self.receiver(id, events)?;
                side.arrived(bytes, last)?;
                let (discarded, last_of_main) = (side.is_discarded(), last && id == MAIN);
                if last_of_main {
                    self.pending.received.insert(id);
                }
                match discarded && last {
                    true => self.over(id),
                    false => self.raise(id),
                }
                events.push(Event::Readable(id));
            }
            Frame::Reset { id, .. } => {
                let side = self.receiver(id, events)?;
                side.abandoned()?;
                if side.is_discarded() {
                    self.over(id);
                }
                events.push(Event::Readable(id));
            }
            Frame::Window { id, limit } => {
                self.is_ours(id)?;
                if let Some(side) = self.sending.get_mut(&id) {
                    side.allow(limit);
                }
            }
            Frame::Streams { limit } => {
                self.may_open = self.may_open.max(limit);
                events.push(Event::MayOpen);
            }
            Frame::Received { id } => {
                let ended = self.sending.get(&id).is_some_and(SendSide::is_ended);
                if id != MAIN || !ended {
                    return Err(Violation("the end of a stream was not sent"));
                }
                self.sending.remove(&id);
                self.main_delivered = true;
                events.push(Event::MainDelivered);
            }
            Frame::Ping => self.pending.pong = true,
            Frame::Pong => {}
            Frame::Close { code, words } => {
                self.drop_queues();
                self.state = State::Closed;
                let words = Bytes::copy_from_slice(words);
                events.push(Event::Closed { code, words });
            }
        }
        Ok(())
    }

    /// The incoming direction of a stream on which the peer has sent something, opened where the
    /// peer may open it.
    fn receiver(
        &mut self,
        id: u64,
        events: &mut Vec<Event>,
    ) -> Result<&mut ReceiveSide, Violation> {
        let of_peer = match self.role {
            Role::Client => uni_bits(Role::Server),
            Role::Server => uni_bits(Role::Client),
        };
        if id == MAIN {
            if !self.main_opened && self.role == Role::Server {
                self.begin_main();
                self.main_arrived = true;
                events.push(Event::MainOpened);
            }
        } else if id & 3 == of_peer {
            let number = id >> 2;
            if number >= self.peer_may_open {
                return Err(Violation("more streams than were allowed"));
            }
            // As on QUIC, a stream opens all of its kind that come before it.
            while self.peer_opened <= number {
                let id = self.peer_opened * 4 + of_peer;
                self.receiving.insert(id, ReceiveSide::new(self.window()));
                self.arrived.push_back(id);
                self.peer_opened += 1;
                events.push(Event::UniOpened);
            }
        }
        let side = self.receiving.get_mut(&id);
        side.ok_or(Violation("data on a stream that is not open"))
    }

    fn begin_main(&mut self) {
        self.main_opened = true;
        let sending = SendSide::new(priority::MAIN, INITIAL_CREDIT);
        self.sending.insert(MAIN, sending);
        self.receiving.insert(MAIN, ReceiveSide::new(self.window()));
    }

    /// Whether this end has ever sent on the stream.
    fn is_ours(&self, id: u64) -> Result<(), Violation> {
        let uni = id & 3 == uni_bits(self.role) && id >> 2 < self.opened;
        match uni || (id == MAIN && self.main_opened) {
            true => Ok(()),
            false => Err(Violation("credit for a stream that was never opened")),
        }
    }

    fn raise(&mut self, id: u64) {
        let raised = self.receiving.get_mut(&id).and_then(ReceiveSide::raise);
        if let Some(limit) = raised {
            self.pending.windows.insert(id, limit);
        }
    }

    /// Nothing more comes of a stream, and it has been read. The main stream is remembered, since
    /// there is never another.
    fn over(&mut self, id: u64) {
        self.pending.windows.remove(&id);
        if id == MAIN || self.receiving.remove(&id).is_none() {
            return;
        }
        self.arrived.retain(|arrived| *arrived != id);
        self.peer_over += 1;
        let limit = self.peer_over + u64::from(MAX_FRAME_STREAMS);
        if limit >= self.peer_may_open + STREAMS_STEP {
            self.peer_may_open = limit;
            self.pending.streams = Some(limit);
        }
    }

    fn drop_queues(&mut self) {
        self.sending.clear();
        self.pending = Pending::default();
        self.input = BytesMut::new();
    }

    fn window(&self) -> u64 {
        match self.role {
            Role::Client => u64::from(TERMINAL_STREAM_WINDOW),
            Role::Server => u64::from(SERVER_STREAM_WINDOW),
        }
    }

    /// Bytes that this end holds for the peer, as input and unread.
    #[cfg(any(test, feature = "oracle"))]
    pub(crate) fn held(&self) -> usize {
        let buffers = self.receiving.values().map(ReceiveSide::buffered);
        self.input.len() + buffers.sum::<usize>()
    }
}

/// The lowest bits of the unidirectional streams that an end opens (RFC 9000, 2.1).
fn uni_bits(role: Role) -> u64 {
    match role {
        Role::Client => 2,
        Role::Server => 3,
    }
}
