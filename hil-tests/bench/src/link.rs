//! Links that are worse than the loopback interface: the desk lies in a network namespace of its own,
//! and every packet between it and the server passes a relay of ours.
//!
//! ```text
//!   server's namespace            this process             desk's namespace
//!   10.78.0.1 ── tun ──▶ up and down, each a line ──▶ tun ── 10.78.0.2
//! ```
//!
//! Packets are whole IP packets, so loss is real loss for TCP as well as for QUIC: both ends' kernels
//! and programs do what they would do on any line.

mod desk;
mod line;
mod no_udp;
mod relay;
mod sys;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::harness::pin::{self, Pins};
use crate::harness::wire;
use desk::Desk;
pub use line::Line;
pub use no_udp::NoUdp;
use relay::Relay;

/// A kind of link; delays are for the way there and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// The loopback interface itself.
    Loopback,
    /// 100 Mbit/s, 1 ms.
    #[value(name = "100mbit")]
    M100,
    /// 20 Mbit/s, 20 ms.
    #[value(name = "20mbit")]
    M20,
    /// 5 Mbit/s, 60 ms, 1 % of the packets lost.
    #[value(name = "5mbit")]
    M5,
    /// 2 Mbit/s, 150 ms, 5 % of the packets lost.
    #[value(name = "2mbit")]
    M2,
}

/// What a line does to packets, in each direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Bits a second.
    pub bits: u64,
    /// From end to end.
    pub delay: Duration,
    /// Share of the packets that are lost on the way.
    pub loss: f64,
    /// What may wait before the line; what comes then is lost.
    pub queue_bytes: u64,
}

/// Routers hold this much of what their line carries.
const QUEUE: Duration = Duration::from_millis(200);

impl Profile {
    /// What it does; the loopback interface does nothing.
    pub fn shape(self) -> Option<Shape> {
        let (mbit, round_trip_ms, loss) = match self {
            Self::Loopback => return None,
            Self::M100 => (100, 1, 0.0),
            Self::M20 => (20, 20, 0.0),
            Self::M5 => (5, 60, 0.01),
            Self::M2 => (2, 150, 0.05),
        };
        let bits = mbit * 1_000_000;
        Some(Shape {
            bits,
            delay: Duration::from_micros(round_trip_ms * 500),
            loss,
            queue_bytes: bits / 8 * QUEUE.as_millis() as u64 / 1000,
        })
    }

    /// There and back, without any queue.
    pub fn round_trip(self) -> Duration {
        self.shape().map_or(Duration::ZERO, |shape| shape.delay * 2)
    }

    /// Its name in reports.
    pub fn name(self) -> String {
        let Some(shape) = self.shape() else {
            return "loopback".to_owned();
        };
        let loss = match shape.loss > 0.0 {
            true => format!(", {:.0} % loss", shape.loss * 100.0),
            false => String::new(),
        };
        let (mbit, ms) = (shape.bits / 1_000_000, self.round_trip().as_millis());
        format!("{mbit} Mbit/s, {ms} ms{loss}")
    }
}

/// A link between the server and the desk. Clones are the same link.
#[derive(Clone)]
pub struct Link {
    profile: Profile,
    line: Option<Arc<(Desk, Relay)>>,
    pins: Option<Pins>,
}

impl Link {
    /// Lays a link. There is one at a time, in namespaces that the process has made.
    pub fn lay(profile: Profile) -> anyhow::Result<Self> {
        let line = match profile.shape() {
            None => None,
            Some(shape) => {
                let server = sys::open_tun(desk::SERVER_TUN)?;
                desk::set_up(desk::SERVER_TUN, desk::SERVER)?;
                let (desk, far) = Desk::make()?;
                Some(Arc::new((desk, Relay::start(server, far, shape)?)))
            }
        };
        Ok(Self {
            profile,
            line,
            pins: None,
        })
    }

    /// The same link with the programs of each end on a processor of their own, if there are `pins`.
    pub fn pinned(self, pins: Option<Pins>) -> Self {
        Self { pins, ..self }
    }

    /// What kind it is.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Which processors its ends have, where they have their own.
    pub fn pins(&self) -> Option<Pins> {
        self.pins
    }

    /// The server's address on it.
    pub fn server(&self) -> IpAddr {
        self.line
            .as_ref()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |_| desk::SERVER.into())
    }

    /// The desk's address on it.
    pub fn desk(&self) -> IpAddr {
        self.line
            .as_ref()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |_| desk::DESK.into())
    }

    /// Does something at the server: programs started there are the server's.
    pub fn at_the_server<T>(&self, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        match self.pins {
            None => act(),
            Some(pins) => pin::on(pins.server, act),
        }
    }

    /// Does something at the desk: sockets made and programs started there are the desk's.
    pub fn at_the_desk<T: Send>(
        &self,
        act: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let act = || match self.pins {
            None => act(),
            Some(pins) => pin::on(pins.client, act),
        };
        match &self.line {
            None => act(),
            Some(line) => line.0.enter(act).context("act at the desk"),
        }
    }

    /// Lets no UDP pass, as long as what it returns lives.
    pub fn without_udp(&self) -> anyhow::Result<NoUdp> {
        NoUdp::on(self).context("shut UDP out")
    }

    fn relay(&self) -> Option<&Relay> {
        self.line.as_ref().map(|line| &line.1)
    }

    /// Bytes sent so far in both directions, with all headers and 14 bytes of link header a packet.
    pub fn bytes_so_far(&self) -> anyhow::Result<u64> {
        match &self.line {
            None => wire::bytes_so_far(),
            Some(line) => Ok(line.1.bytes_so_far()),
        }
    }
}
