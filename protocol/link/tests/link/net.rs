//! A network in memory between a terminal and a server, in the time of the runtime: where that is
//! stopped (`start_paused`), nothing takes time but the weather and what the link itself waits for,
//! however busy the machine is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use heliostat_link::{Budget, Connection, Dialer, Identity, Link, Server};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::relay::{Sky, Weather};
use crate::support::{Strings, identity, open_main, within};

/// Now, in the time of the runtime.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A terminal, a server, and the network between them.
#[derive(Debug)]
pub struct Net {
    wires: Arc<Wires>,
    delivering: JoinHandle<()>,
    pub server: Server,
    key: Identity,
    dialer: Dialer,
}

impl Deref for Net {
    type Target = Sky;

    fn deref(&self) -> &Sky {
        &self.wires.sky
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.delivering.abort();
    }
}

impl Net {
    pub fn new(weather: Weather) -> Self {
        let wires = Arc::new(Wires {
            sky: Sky::new(weather),
            under_way: Mutex::default(),
            changed: Notify::new(),
            ends: Default::default(),
        });
        let socket = |end| {
            let wires = wires.clone();
            Arc::new(Socket { wires, end })
        };
        let key = identity();
        let budget = Budget::default();
        Self {
            server: Server::listen_on(socket(End::Server), &key, Link::Session, budget).unwrap(),
            dialer: Dialer::on(socket(End::Terminal), identity()).unwrap(),
            key,
            delivering: tokio::spawn(wires.clone().deliver()),
            wires,
        }
    }

    /// Both ends of a fresh connection.
    pub async fn connect(&self) -> (Connection, Connection) {
        let pins = [self.key.pin()];
        let over = heliostat_link::Carrier::Quic;
        let dialling = self
            .dialer
            .dial_over(over, End::Server.address(), Link::Session, &pins);
        let accepting = async { self.server.accept().await.unwrap().complete().await };
        let (near, far) = within(async { tokio::join!(dialling, accepting) }).await;
        (near.unwrap(), far.unwrap())
    }

    /// Both ends with their main streams; the first message is consumed.
    pub async fn connect_main(&self) -> ((Connection, Strings), (Connection, Strings)) {
        let (near, far) = self.connect().await;
        let (near_main, far_main) = within(open_main(&near, &far)).await;
        ((near, near_main), (far, far_main))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Server,
    Terminal,
}

impl End {
    /// Of the networks that documents name, so that nothing real is meant.
    fn address(self) -> SocketAddr {
        match self {
            Self::Server => ([192, 0, 2, 1], 4433).into(),
            Self::Terminal => ([192, 0, 2, 2], 50_000).into(),
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Server => Self::Terminal,
            Self::Terminal => Self::Server,
        }
    }
}

/// When it is due, its number, where it goes, and its bytes.
type UnderWay = (Instant, u64, End, Vec<u8>);

#[derive(Debug)]
struct Wires {
    sky: Sky,
    under_way: Mutex<(u64, BinaryHeap<Reverse<UnderWay>>)>,
    changed: Notify,
    ends: [Mutex<Inbox>; 2],
}

#[derive(Debug, Default)]
struct Inbox {
    packets: VecDeque<Vec<u8>>,
    reader: Option<Waker>,
}

impl Wires {
    fn send(&self, to: End, packet: &[u8]) {
        let Some(due) = self.sky.pass(now(), to == End::Server, packet.len()) else {
            return;
        };
        let mut under_way = self.under_way.lock().unwrap();
        under_way.0 += 1;
        let number = under_way.0;
        under_way
            .1
            .push(Reverse((due, number, to, packet.to_vec())));
        self.changed.notify_one();
    }

    async fn deliver(self: Arc<Self>) {
        loop {
            let next = self.deliver_what_is_due();
            let due = async {
                match next {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// When the next packet is due.
    fn deliver_what_is_due(&self) -> Option<Instant> {
        let mut under_way = self.under_way.lock().unwrap();
        loop {
            let Reverse((due, ..)) = under_way.1.peek()?;
            if *due > now() {
                return Some(*due);
            }
            let Reverse((_, _, to, packet)) = under_way.1.pop()?;
            let mut inbox = self.ends[to as usize].lock().unwrap();
            inbox.packets.push_back(packet);
            inbox.reader.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// One end's socket.
#[derive(Debug)]
struct Socket {
    wires: Arc<Wires>,
    end: End,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.wires.send(self.end.other(), transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = self.wires.ends[self.end as usize].lock().unwrap();
        if inbox.packets.is_empty() {
            inbox.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some(packet) = inbox.packets.pop_front() else {
                break;
            };
            buffer[..packet.len()].copy_from_slice(&packet);
            *meta = RecvMeta {
                addr: self.end.other().address(),
                len: packet.len(),
                stride: packet.len(),
                ..RecvMeta::default()
            };
            received += 1;
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.end.address())
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// What is sent is always taken.
#[derive(Debug)]
struct Writable;

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How long something takes, in the time of the runtime.
pub async fn timed<T>(what: impl Future<Output = T>) -> (Duration, T) {
    let began = now();
    let done = what.await;
    (now() - began, done)
}
