//! The task that moves bytes between the multiplexer and the socket.
//!
//! ```text
//! Running ─close() here, or the peer broke the protocol─► Closing ─CLOSE flushed─► reads to the end
//!    └──the peer closed, went silent or vanished──► over                  └─ LINGER ─► over ◄─┘
//! ```

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use heliostat_wire::close::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsStream;

use super::shared::Shared;
use crate::clock;
use crate::error::{Ended, printable};
use crate::mux::{Alive, Event, Pulse};

/// How long the word of a close may take. A socket that is closed before the peer has read it
/// answers with a reset, which takes the word away from the peer.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read at once: a TLS record.
const INPUT: usize = 16 << 10;
/// Steps before other tasks have their turn.
const BURST: usize = 32;

type Tls = TlsStream<TcpStream>;

/// The two directions of one link.
pub(super) struct Driver {
    shared: Arc<Shared>,
    alive: Alive,
    timer: Pin<Box<Sleep>>,
    output: Output,
    input: Box<[u8]>,
    events: Vec<Event>,
    /// This end has closed the link and only sends the word of it.
    closing: bool,
    /// Why nothing can be written any more. What the peer said last may still be read.
    broken: Option<Ended>,
}

/// What was chosen to be sent next. Nothing else is chosen before the kernel has all of it, so
/// nothing urgent waits behind more.
#[derive(Debug, Default)]
struct Output {
    chunk: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, probes: bool) -> Self {
        let alive = Alive::new(clock::now(), probes);
        Self {
            timer: Box::pin(tokio::time::sleep_until(alive.deadline().into())),
            shared,
            alive,
            output: Output::default(),
            input: vec![0; INPUT].into(),
            events: Vec::new(),
            closing: false,
            broken: None,
        }
    }

    /// Runs until the link is over.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        let ended = poll_fn(|cx| {
            let mut tls = shared.tls();
            match tls.as_mut() {
                Some(tls) => self.poll(cx, tls),
                None => Poll::Ready(Ended::ByUs),
            }
        });
        let ended = ended.await;
        shared.state().end(ended);
        let goodbye = poll_fn(|cx| {
            let mut tls = shared.tls();
            match tls.as_mut() {
                Some(tls) => self.poll_goodbye(cx, tls),
                None => Poll::Ready(()),
            }
        });
        let _ = tokio::time::timeout(LINGER, goodbye).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, tls: &mut Tls) -> Poll<Ended> {
        self.note_closing(cx);
        for _ in 0..BURST {
            let wrote = self.poll_write(cx, tls);
            if let Poll::Ready(Err(ended)) = wrote {
                return Poll::Ready(ended);
            }
            let read = self.poll_read(cx, tls);
            if let Poll::Ready(Err(ended)) = read {
                return Poll::Ready(ended);
            }
            if wrote.is_pending() && read.is_pending() {
                if let Some(ended) = self.broken.take() {
                    return Poll::Ready(ended);
                }
                match ready!(self.poll_timer(cx)) {
                    Ok(()) => continue,
                    Err(ended) => return Poll::Ready(ended),
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Leaves word how to be woken, and sets the last deadline once this end has closed the link.
    fn note_closing(&mut self, cx: &Context<'_>) {
        let mut state = self.shared.state();
        state.driver = Some(cx.waker().clone());
        if state.ended.is_some() && !self.closing {
            self.closing = true;
            self.timer
                .as_mut()
                .reset(tokio::time::Instant::now() + LINGER);
        }
    }

    /// Hands one chunk to the kernel; pending where it takes none, or there is none.
    fn poll_write(&mut self, cx: &mut Context<'_>, tls: &mut Tls) -> Poll<Result<(), Ended>> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        match ready!(self.output.poll(cx, tls)) {
            Ok(()) => {}
            Err(error) => {
                self.broken = Some(ended_by(&error));
                return Poll::Pending;
            }
        }
        let mut state = self.shared.state();
        let chunk = self.output.next();
        state.mux.poll_output(chunk, &mut self.events);
        state.tell(&mut self.events);
        match (chunk.is_empty(), state.mux.is_closed()) {
            (false, _) => Poll::Ready(Ok(())),
            (true, false) => Poll::Pending,
            (true, true) => {
                self.closing = true;
                Poll::Ready(Err(Ended::ByUs))
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, tls: &mut Tls) -> Poll<Result<(), Ended>> {
        let mut buffer = ReadBuf::new(&mut self.input);
        if let Err(error) = ready!(Pin::new(tls).poll_read(cx, &mut buffer)) {
            return Poll::Ready(Err(ended_by(&error)));
        }
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(Ended::Forgotten));
        }
        self.alive.heard(clock::now());
        let mut state = self.shared.state();
        if state.ended.is_some() {
            return Poll::Ready(Ok(()));
        }
        let taken = state.mux.handle_input(buffer.filled(), &mut self.events);
        state.tell(&mut self.events);
        if let Err(violation) = taken {
            let words = violation.to_string();
            let code = u64::from(CloseCode::ProtocolViolation as u32);
            state.mux.close(code, &words);
            state.end(Ended::Transport(words));
        }
        match &state.ended {
            Some(ended @ (Ended::ByPeer { .. } | Ended::ByPeerUnknown(_))) => {
                Poll::Ready(Err(ended.clone()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Ready when something is to be sent, or it is over.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.closing {
                return Poll::Ready(Err(Ended::ByUs));
            }
            let pulse = self.alive.check(clock::now());
            self.timer.as_mut().reset(self.alive.deadline().into());
            match pulse {
                Pulse::Fine => {}
                Pulse::Over => return Poll::Ready(Err(Ended::Silent)),
                Pulse::Ask => {
                    self.shared.state().mux.ping();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Ends this direction and waits for the end of the other.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>, tls: &mut Tls) -> Poll<()> {
        if !self.closing || self.broken.is_some() {
            return Poll::Ready(());
        }
        if ready!(Pin::new(&mut *tls).poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        loop {
            let mut buffer = ReadBuf::new(&mut self.input);
            match ready!(Pin::new(&mut *tls).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// However the task ends, and if only with its runtime, the socket goes with it.
impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.state().end(Ended::ByUs);
        self.shared.let_go();
    }
}

impl Output {
    /// Ready when the kernel has the whole chunk.
    fn poll(&mut self, cx: &mut Context<'_>, tls: &mut Tls) -> Poll<io::Result<()>> {
        while let Some(rest) = self.chunk.get(self.written..)
            && !rest.is_empty()
        {
            let written = ready!(Pin::new(&mut *tls).poll_write(cx, rest))?;
            self.written += written;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(tls).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Where the next chunk goes.
    fn next(&mut self) -> &mut Vec<u8> {
        self.written = 0;
        self.chunk.clear();
        &mut self.chunk
    }
}

/// What an error of the socket means for the link. A peer that was killed leaves its kernel to say
/// so.
pub(super) fn ended_by(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Ended::Forgotten,
        io::ErrorKind::TimedOut => Ended::Silent,
        _ => Ended::Transport(printable(error.to_string().as_bytes())),
    }
}
