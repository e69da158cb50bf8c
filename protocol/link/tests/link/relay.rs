//! A UDP relay between a terminal and a server, with weather, for what needs sockets of the kernel.
//! It has a thread of its own, so that it is in time while the ends work. What asks how long
//! something takes has a network in memory (`net.rs`) instead.

#[path = "weather.rs"]
mod weather;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use weather::*;

/// Timers are as coarse as this; shorter waits are spun through.
const TIMER: Duration = Duration::from_micros(1500);

#[derive(Debug)]
pub struct Relay {
    pub address: SocketAddr,
    sky: Arc<Sky>,
    moves: Arc<AtomicBool>,
    /// Ends the thread when it is dropped.
    _running: oneshot::Sender<()>,
}

impl Deref for Relay {
    type Target = Sky;

    fn deref(&self) -> &Sky {
        &self.sky
    }
}

impl Relay {
    /// One terminal can reach `server` at the relay's address.
    pub async fn start(server: SocketAddr, weather: Weather) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), server, weather).await
    }

    /// The same at an address of the caller's.
    pub async fn start_at(address: SocketAddr, server: SocketAddr, weather: Weather) -> Self {
        let near = UdpSocket::bind(address).unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.connect(server).unwrap();
        let address = near.local_addr().unwrap();
        let sky = Arc::new(Sky::new(weather));
        let moves = Arc::new(AtomicBool::new(false));
        let (running, ended) = oneshot::channel::<()>();
        let relaying = relay((near, far), sky.clone(), moves.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                tokio::select! {
                    () = relaying => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            address,
            sky,
            moves,
            _running: running,
        }
    }

    /// The terminal has another address from its next packet on, as behind a router that forgets.
    pub fn move_terminal(&self) {
        self.moves.store(true, Ordering::SeqCst);
    }
}

/// When it is due, its number, whether it goes to the server, and its bytes.
type UnderWay = (Instant, u64, bool, Vec<u8>);

async fn relay((near, far): (UdpSocket, UdpSocket), sky: Arc<Sky>, moves: Arc<AtomicBool>) {
    let asynchronous = |socket: UdpSocket| {
        socket.set_nonblocking(true).unwrap();
        // What the kernel drops would be no part of the weather.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        tokio::net::UdpSocket::from_std(socket).unwrap()
    };
    let server = far.peer_addr().unwrap();
    let (near, mut far) = (asynchronous(near), asynchronous(far));
    let mut terminal = None;
    let mut under_way: BinaryHeap<Reverse<UnderWay>> = BinaryHeap::new();
    let mut number = 0u64;
    let (mut from_near, mut from_far) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let due = under_way.peek().map(|Reverse((due, ..))| *due);
        let (packet, to_server) = tokio::select! {
            biased;
            () = until(due), if due.is_some() => {
                let Some(Reverse((_, _, to_server, packet))) = under_way.pop() else { continue };
                let _ = match (to_server, terminal) {
                    (true, _) => far.send(&packet).await,
                    (false, Some(terminal)) => near.send_to(&packet, terminal).await,
                    (false, None) => Ok(0),
                };
                continue;
            }
            Ok((length, from)) = near.recv_from(&mut from_near) => {
                terminal = Some(from);
                (from_near[..length].to_vec(), true)
            }
            // A send error of a server that is gone shows up here; the next packet is another try.
            received = far.recv(&mut from_far) => match received {
                Ok(length) => (from_far[..length].to_vec(), false),
                Err(_) => continue,
            },
        };
        if to_server && moves.swap(false, Ordering::SeqCst) {
            let other = UdpSocket::bind("127.0.0.1:0").unwrap();
            other.connect(server).unwrap();
            far = asynchronous(other);
        }
        if let Some(due) = sky.pass(Instant::now(), to_server, packet.len()) {
            number += 1;
            under_way.push(Reverse((due, number, to_server, packet)));
        }
    }
}

async fn until(due: Option<Instant>) {
    let Some(due) = due else { return };
    while let Some(left) = due.checked_duration_since(Instant::now()) {
        match left.checked_sub(TIMER) {
            Some(long) if !long.is_zero() => tokio::time::sleep(long).await,
            _ => tokio::task::yield_now().await,
        }
    }
}
