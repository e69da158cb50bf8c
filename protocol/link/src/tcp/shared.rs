//! What the handles of a link and its driver share.

use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use heliostat_wire::close::CloseCode;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::sys;
use super::waiters::{For, Waiters};
use crate::connection::{Carrier, Stats};
use crate::error::{Ended, printable};
use crate::mux::{Event, Mux};
use crate::path::Path;

/// One end of a link over TCP.
#[derive(Debug)]
pub(super) struct Shared {
    /// Taken before `state` where both are; none once the driver has ended.
    tls: Mutex<Option<TlsStream<TcpStream>>>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) mux: Mux,
    /// Why the link is over, once it is.
    pub(super) ended: Option<Ended>,
    /// The driver has let go of the socket.
    pub(super) over: bool,
    pub(super) waiters: Waiters,
    pub(super) driver: Option<Waker>,
    last_stats: Stats,
}

impl Shared {
    pub(super) fn new(tls: TlsStream<TcpStream>, mux: Mux) -> Self {
        Self {
            tls: Mutex::new(Some(tls)),
            state: Mutex::new(State {
                mux,
                ended: None,
                over: false,
                waiters: Waiters::default(),
                driver: None,
                last_stats: Stats::default(),
            }),
        }
    }

    pub(super) fn tls(&self) -> MutexGuard<'_, Option<TlsStream<TcpStream>>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the link from this end, unless it is over.
    pub(super) fn close(&self, code: CloseCode, words: &str) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.mux.close(u64::from(code as u32), words);
            state.end(Ended::ByUs);
        }
    }

    pub(super) fn stats(&self) -> Stats {
        match &*self.tls() {
            Some(tls) => stats(tls),
            None => self.state().last_stats,
        }
    }

    /// What the kernel has measured of the way.
    pub(super) fn path(&self) -> Path {
        let Some(info) = (*self.tls()).as_ref().map(info) else {
            return Path::default();
        };
        Path {
            rate: Some(info.delivery_rate).filter(|rate| *rate > 0),
            // Where nothing has been measured yet the kernel says the greatest number.
            min_rtt: Some(info.min_rtt).filter(|rtt| *rtt < Duration::from_secs(60)),
            // The kernel's is that of segments which the peer may acknowledge late.
            rtt: None,
        }
    }

    /// The driver is done: lets go of the socket.
    pub(super) fn let_go(&self) {
        let last = self.tls().take();
        let mut state = self.state();
        if let Some(tls) = &last {
            state.last_stats = stats(tls);
        }
        state.over = true;
        state.waiters.wake_all();
    }
}

impl State {
    /// The link is over; what came before is still read.
    pub(super) fn end(&mut self, why: Ended) {
        if self.ended.is_none() {
            self.ended = Some(why);
            self.waiters.wake_all();
            self.wake_driver();
        }
    }

    /// There is something for the driver to send, or to end.
    pub(super) fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// As [`State::wake_driver`], where there is a word of credit to be sent.
    pub(super) fn wake_driver_for_credit(&mut self) {
        if self.mux.has_word() {
            self.wake_driver();
        }
    }

    /// Tells whoever waits.
    pub(super) fn tell(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            match event {
                Event::Readable(id) => self.waiters.wake(For::Read(id)),
                Event::Writable => self.waiters.wake(For::Room),
                Event::MainDelivered => self.waiters.wake(For::MainDelivered),
                Event::MainOpened => self.waiters.wake(For::Main),
                Event::UniOpened => self.waiters.wake(For::Uni),
                Event::MayOpen => self.waiters.wake(For::MayOpen),
                Event::Closed { code, words } => self.end(by_peer(code, &words)),
            }
        }
    }
}

fn by_peer(code: u64, words: &Bytes) -> Ended {
    match CloseCode::from_number(code) {
        Some(code) => Ended::ByPeer {
            code,
            text: printable(words),
        },
        None => Ended::ByPeerUnknown(code),
    }
}

fn info(tls: &TlsStream<TcpStream>) -> sys::TcpInfo {
    sys::tcp_info(tls.get_ref().0.as_fd())
}

fn stats(tls: &TlsStream<TcpStream>) -> Stats {
    let info = info(tls);
    Stats {
        carrier: Carrier::Tcp,
        rtt: info.rtt,
        sent_bytes: info.sent_bytes,
        sent_datagrams: info.sent_segments,
        received_bytes: info.received_bytes,
        received_datagrams: info.received_segments,
        lost_packets: info.retransmitted,
        congestion_window: info.congestion_window,
        mtu: 0,
    }
}
