//! A UDP relay between a terminal and a server that loses, delays, queues and reorders by a seeded
//! die. It has a thread of its own, so that it is in time while the ends work, or shares the
//! caller's, so that one who sees that thread stand still knows it of the relay too.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Timers are as coarse as this; shorter waits are spun through.
const TIMER: Duration = Duration::from_micros(1500);
/// UDP and IPv4 headers.
const HEADERS: usize = 28;
/// UDP payload of an Ethernet packet over IPv6.
pub const LARGEST: usize = 1452;

/// What the network does to each packet.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub seed: u64,
    /// Packets lost in a thousand, each way.
    pub loss: u64,
    /// Each packet's delay is between these, each way.
    pub delay: (Duration, Duration),
    /// Bytes a second towards the terminal; any number where absent.
    pub rate: Option<u64>,
    /// Bytes that wait for the rate at most; what comes then is lost. Without end where absent.
    pub queue: Option<u64>,
}

impl Weather {
    pub const FINE: Self = Self {
        seed: 1,
        loss: 0,
        delay: (Duration::ZERO, Duration::ZERO),
        rate: None,
        queue: None,
    };

    /// Fine but for half of this round trip each way.
    pub fn far(trip: Duration) -> Self {
        Self {
            delay: (trip / 2, trip / 2),
            ..Self::FINE
        }
    }
}

/// What came to the relay, towards the server and towards the terminal.
#[derive(Debug, Default)]
pub struct Seen {
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
    /// Bytes towards the terminal.
    pub down: AtomicU64,
    /// Packets for which the queue had no room.
    pub overflowed: AtomicU64,
    /// Packets as large as Ethernet takes.
    pub largest: AtomicU64,
    /// When packets came, whether they go to the server, and their sizes.
    pub sizes: Mutex<Vec<(Instant, bool, usize)>>,
}

impl Seen {
    /// Bytes of the largest packet to the server since then.
    pub fn largest_up(&self, since: Instant) -> usize {
        let sizes = self.sizes.lock().unwrap();
        let late = sizes.iter().rev().take_while(|(at, ..)| *at > since);
        let up = late.filter(|(_, to_server, _)| *to_server);
        up.map(|(.., bytes)| *bytes).max().unwrap_or(0)
    }

    /// Bytes of the smallest packet since then that has room for so much, to the server or to the
    /// terminal.
    pub fn smallest_around(&self, content: usize, since: Instant, to_server: bool) -> usize {
        let sizes = self.sizes.lock().unwrap();
        let late = sizes.iter().rev().take_while(|(at, ..)| *at > since);
        let ones = late.filter(|(_, to, _)| *to == to_server);
        let sizes = ones.map(|(.., bytes)| *bytes);
        sizes.filter(|bytes| *bytes > content).min().unwrap_or(0)
    }
}

#[derive(Debug)]
pub struct Relay {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    cut: Arc<AtomicBool>,
    /// Bytes of UDP payload that pass at most.
    widest: Arc<AtomicUsize>,
    moves: Arc<AtomicBool>,
    weather: Arc<Mutex<Weather>>,
    /// Ends the thread when it is dropped.
    _running: oneshot::Sender<()>,
}

impl Relay {
    /// One terminal can reach `server` at the relay's address.
    pub async fn start(server: SocketAddr, weather: Weather) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), server, weather).await
    }

    /// The same at an address of the caller's.
    pub async fn start_at(address: SocketAddr, server: SocketAddr, weather: Weather) -> Self {
        let (relay, task) = Self::new(address, server, weather, until);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(task);
        });
        relay
    }

    /// The same as a task of the caller's runtime. Packets leave up to two milliseconds late, since
    /// nothing spins.
    pub fn start_here(server: SocketAddr, weather: Weather) -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let (relay, task) = Self::new(address, server, weather, about);
        tokio::spawn(task);
        relay
    }

    /// A relay, and what it does until it is dropped.
    fn new<W: Future<Output = ()>>(
        address: SocketAddr,
        server: SocketAddr,
        weather: Weather,
        wait: impl Fn(Option<Instant>) -> W,
    ) -> (Self, impl Future<Output = ()>) {
        let near = UdpSocket::bind(address).unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.connect(server).unwrap();
        let address = near.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let cut = Arc::new(AtomicBool::new(false));
        let widest = Arc::new(AtomicUsize::new(usize::MAX));
        let moves = Arc::new(AtomicBool::new(false));
        let now = Arc::new(Mutex::new(weather));
        let (running, ended) = oneshot::channel::<()>();
        let relay = relay(
            (near, far),
            now.clone(),
            seen.clone(),
            (cut.clone(), widest.clone(), moves.clone()),
            wait,
        );
        let task = async move {
            tokio::select! {
                () = relay => {}
                _ = ended => {}
            }
        };
        let relay = Self {
            address,
            seen,
            cut,
            widest,
            moves,
            weather: now,
            _running: running,
        };
        (relay, task)
    }

    /// Pulls the cable, or plugs it in again.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    /// What is larger than so many bytes of UDP payload does not pass any more.
    pub fn narrow(&self, bytes: usize) {
        self.widest.store(bytes, Ordering::SeqCst);
    }

    /// The terminal has another address from its next packet on, as behind a router that forgets.
    pub fn move_terminal(&self) {
        self.moves.store(true, Ordering::SeqCst);
    }

    /// The weather changes, for packets that come from now on. The seed stays.
    pub fn change(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// Packets and bytes on the wire so far, both ways, with 28 bytes of UDP and IPv4 headers each.
    pub fn on_the_wire(&self) -> (u64, u64) {
        let packets = self.seen.packets.load(Ordering::SeqCst);
        let bytes = self.seen.bytes.load(Ordering::SeqCst);
        (packets, bytes + packets * HEADERS as u64)
    }
}

/// When it is due, its number, whether it goes to the server, and its bytes.
type UnderWay = (Instant, u64, bool, Vec<u8>);

async fn relay<W: Future<Output = ()>>(
    (near, far): (UdpSocket, UdpSocket),
    weather: Arc<Mutex<Weather>>,
    seen: Arc<Seen>,
    (cut, widest, moves): (Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicBool>),
    wait: impl Fn(Option<Instant>) -> W,
) {
    let asynchronous = |socket: UdpSocket| {
        socket.set_nonblocking(true).unwrap();
        // What the kernel drops would be no part of the weather.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        tokio::net::UdpSocket::from_std(socket).unwrap()
    };
    let server = far.peer_addr().unwrap();
    let (near, mut far) = (asynchronous(near), asynchronous(far));
    let mut die = Die(weather.lock().unwrap().seed);
    let mut terminal = None;
    let mut under_way: BinaryHeap<Reverse<UnderWay>> = BinaryHeap::new();
    let mut number = 0u64;
    let mut busy_until = Instant::now();
    let (mut from_near, mut from_far) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let due = under_way.peek().map(|Reverse((due, ..))| *due);
        let (packet, to_server) = tokio::select! {
            biased;
            () = wait(due), if due.is_some() => {
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
        let now = Instant::now();
        let weather = *weather.lock().unwrap();
        seen.packets.fetch_add(1, Ordering::SeqCst);
        seen.bytes.fetch_add(packet.len() as u64, Ordering::SeqCst);
        if !to_server {
            seen.down.fetch_add(packet.len() as u64, Ordering::SeqCst);
        }
        let size = (now, to_server, packet.len());
        seen.sizes.lock().unwrap().push(size);
        if packet.len() >= LARGEST {
            seen.largest.fetch_add(1, Ordering::SeqCst);
        }
        if packet.len() > widest.load(Ordering::SeqCst) {
            continue;
        }
        if cut.load(Ordering::SeqCst) || die.throw(1000) < weather.loss {
            continue;
        }
        let (shortest, longest) = weather.delay;
        let spread = (longest - shortest).as_micros() as u64;
        let delay = shortest + Duration::from_micros(die.throw(spread + 1));
        number += 1;
        let mut leaves = now;
        if let Some(rate) = weather.rate.filter(|_| !to_server) {
            let bytes = packet.len() + HEADERS;
            let waiting = busy_until.saturating_duration_since(now).as_secs_f64() * rate as f64;
            if weather
                .queue
                .is_some_and(|most| waiting + bytes as f64 > most as f64)
            {
                seen.overflowed.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
            busy_until = busy_until.max(now) + takes;
            leaves = busy_until;
        }
        under_way.push(Reverse((leaves + delay, number, to_server, packet)));
    }
}

async fn about(due: Option<Instant>) {
    let Some(due) = due else { return };
    tokio::time::sleep_until(due.into()).await;
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
