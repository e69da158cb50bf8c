//! A UDP relay between a terminal and a server that loses, delays and reorders by a seeded die.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;

/// What the network does to each packet.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub seed: u64,
    /// Packets lost in a thousand.
    pub loss: u64,
    /// Each packet's delay is between these.
    pub delay: (Duration, Duration),
    /// Bytes a second towards the terminal, behind a queue without end; any number where absent.
    pub rate: Option<u64>,
}

impl Weather {
    pub const FINE: Self = Self {
        seed: 1,
        loss: 0,
        delay: (Duration::ZERO, Duration::ZERO),
        rate: None,
    };
}

/// What passed the relay towards the server and towards the terminal.
#[derive(Debug, Default)]
pub struct Seen {
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
}

#[derive(Debug)]
pub struct Relay {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    cut: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// One terminal can reach `server` at the relay's address.
    pub async fn start(server: SocketAddr, weather: Weather) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), server, weather).await
    }

    /// The same at an address of the caller's.
    pub async fn start_at(address: SocketAddr, server: SocketAddr, weather: Weather) -> Self {
        let near = UdpSocket::bind(address).await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(server).await.unwrap();
        let address = near.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let cut = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(relay(near, far, weather, seen.clone(), cut.clone()));
        Self {
            address,
            seen,
            cut,
            task,
        }
    }

    /// Pulls the cable, or plugs it in again.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    /// Packets and bytes on the wire so far, both ways, with 28 bytes of UDP and IPv4 headers each.
    pub fn on_the_wire(&self) -> (u64, u64) {
        let packets = self.seen.packets.load(Ordering::SeqCst);
        let bytes = self.seen.bytes.load(Ordering::SeqCst);
        (packets, bytes + packets * 28)
    }
}

/// When it is due, its number, whether it goes to the server, and its bytes.
type UnderWay = (Instant, u64, bool, Vec<u8>);

async fn relay(
    near: UdpSocket,
    far: UdpSocket,
    weather: Weather,
    seen: Arc<Seen>,
    cut: Arc<AtomicBool>,
) {
    let mut die = Die(weather.seed);
    let mut terminal = None;
    let mut under_way: BinaryHeap<Reverse<UnderWay>> = BinaryHeap::new();
    let mut number = 0u64;
    let mut busy_until = Instant::now();
    let (mut from_near, mut from_far) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let due = under_way.peek().map(|Reverse((due, ..))| *due);
        let (packet, to_server) = tokio::select! {
            Ok((length, from)) = near.recv_from(&mut from_near) => {
                terminal = Some(from);
                (from_near[..length].to_vec(), true)
            }
            // A send error of a server that is gone shows up here; the next packet is another try.
            received = far.recv(&mut from_far) => match received {
                Ok(length) => (from_far[..length].to_vec(), false),
                Err(_) => continue,
            },
            () = sleep_until(due), if due.is_some() => {
                let Some(Reverse((_, _, to_server, packet))) = under_way.pop() else { continue };
                let _ = match (to_server, terminal) {
                    (true, _) => far.send(&packet).await,
                    (false, Some(terminal)) => near.send_to(&packet, terminal).await,
                    (false, None) => Ok(0),
                };
                continue;
            }
        };
        seen.packets.fetch_add(1, Ordering::SeqCst);
        seen.bytes.fetch_add(packet.len() as u64, Ordering::SeqCst);
        if cut.load(Ordering::SeqCst) || die.throw(1000) < weather.loss {
            continue;
        }
        let (shortest, longest) = weather.delay;
        let spread = (longest - shortest).as_micros() as u64;
        let delay = shortest + Duration::from_micros(die.throw(spread + 1));
        number += 1;
        let mut leaves = Instant::now();
        if let Some(rate) = weather.rate.filter(|_| !to_server) {
            let takes = Duration::from_secs_f64((packet.len() + 28) as f64 / rate as f64);
            busy_until = busy_until.max(leaves) + takes;
            leaves = busy_until;
        }
        under_way.push(Reverse((leaves + delay, number, to_server, packet)));
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

/// SplitMix64.
struct Die(u64);

impl Die {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}
