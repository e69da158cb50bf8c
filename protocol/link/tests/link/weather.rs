//! What a bad network does to each packet, by a seeded die. Time is given.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

/// What came to the network, towards the server and towards the terminal.
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

/// A network between a terminal and a server: its weather, and what came to it.
#[derive(Debug)]
pub struct Sky {
    pub seen: Seen,
    weather: Mutex<Weather>,
    cut: AtomicBool,
    /// Bytes of UDP payload that pass at most.
    widest: AtomicUsize,
    way: Mutex<Way>,
}

#[derive(Debug)]
struct Way {
    die: Die,
    /// Until when what came before takes the way to the terminal.
    busy_until: Option<Instant>,
}

impl Sky {
    pub fn new(weather: Weather) -> Self {
        Self {
            seen: Seen::default(),
            weather: Mutex::new(weather),
            cut: AtomicBool::new(false),
            widest: AtomicUsize::new(usize::MAX),
            way: Mutex::new(Way {
                die: Die(weather.seed),
                busy_until: None,
            }),
        }
    }

    /// Pulls the cable, or plugs it in again.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    /// What is larger than so many bytes of UDP payload does not pass any more.
    pub fn narrow(&self, bytes: usize) {
        self.widest.store(bytes, Ordering::SeqCst);
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

    /// A packet of so many bytes comes now. When it arrives; never, if it is lost.
    pub fn pass(&self, now: Instant, to_server: bool, length: usize) -> Option<Instant> {
        let weather = *self.weather.lock().unwrap();
        let seen = &self.seen;
        seen.packets.fetch_add(1, Ordering::SeqCst);
        seen.bytes.fetch_add(length as u64, Ordering::SeqCst);
        if !to_server {
            seen.down.fetch_add(length as u64, Ordering::SeqCst);
        }
        seen.sizes.lock().unwrap().push((now, to_server, length));
        if length >= LARGEST {
            seen.largest.fetch_add(1, Ordering::SeqCst);
        }
        if length > self.widest.load(Ordering::SeqCst) {
            return None;
        }
        let mut way = self.way.lock().unwrap();
        if self.cut.load(Ordering::SeqCst) || way.die.throw(1000) < weather.loss {
            return None;
        }
        let (shortest, longest) = weather.delay;
        let spread = (longest - shortest).as_micros() as u64;
        let delay = shortest + Duration::from_micros(way.die.throw(spread + 1));
        let Some(rate) = weather.rate.filter(|_| !to_server) else {
            return Some(now + delay);
        };
        let bytes = (length + HEADERS) as f64;
        let free = way.busy_until.unwrap_or(now).max(now);
        let waiting = (free - now).as_secs_f64() * rate as f64;
        if weather
            .queue
            .is_some_and(|most| waiting + bytes > most as f64)
        {
            seen.overflowed.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        let leaves = free + Duration::from_secs_f64(bytes / rate as f64);
        way.busy_until = Some(leaves);
        Some(leaves + delay)
    }
}

/// SplitMix64.
#[derive(Debug)]
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
