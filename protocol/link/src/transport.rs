//! How QUIC is tuned for a desk in the same building, with a desktop behind it.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{AckFrequencyConfig, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};

use crate::congestion::MeteredCubic;
use crate::identity::Identity;

/// A terminal that hears nothing for this long asks whether the server is there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A link on which nothing is heard for this long is over.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// A handshake that takes longer is given up. QUIC's own end is the idle timeout.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(4);

/// Stream priorities: higher is sent first.
pub mod priority {
    /// The main stream: input, control, cursors.
    pub const MAIN: i32 = 100;
    /// Frames that may overtake others: answers to input.
    pub const AHEAD: i32 = 50;
    /// Frames of the scene.
    pub const FRAME: i32 = 0;
    /// What may wait for everything else.
    pub const BULK: i32 = -100;
}

/// Frames that may be under way at once, as streams.
pub(crate) const MAX_FRAME_STREAMS: u32 = 34;
/// Bytes one stream may be ahead of its reader at the terminal.
pub(crate) const TERMINAL_STREAM_WINDOW: u32 = 2 << 20;
/// Bytes one stream may be ahead of its reader at the server: messages only, no pixels.
pub(crate) const SERVER_STREAM_WINDOW: u32 = 512 << 10;
/// Bytes that wait in this end for the network. More would only be stale sooner.
pub(crate) const SEND_WINDOW: u64 = 2 << 20;
/// The first frame of an attach, about 150 KB, leaves in one flight.
const INITIAL_WINDOW: u64 = 256 << 10;
/// A guess for the first flight, from which its loss is noticed after about thrice this time.
const INITIAL_RTT: Duration = Duration::from_millis(50);
/// Bytes of the connection ids that a server gives out, of which it has many. Each packet to it
/// carries one.
pub(crate) const SERVER_CONNECTION_ID: usize = 4;
/// Bytes of those that a terminal gives out, for the few links it has. Not none: a link that is
/// still closing and its successor may have the same two addresses.
pub(crate) const TERMINAL_CONNECTION_ID: usize = 2;
/// Packets of input after which a server acknowledges them by themselves, and not with what it sends
/// or after QUIC's 25 ms: its answer takes word of their arrival along, and what is sent before the
/// answer is on its way before the input is read.
const ACKS_OF_INPUT: u32 = 9;
/// A way is asked for the largest packets of Ethernet first, and only where it does not carry them
/// for those half as much larger than the ones that every way carries. To search in smaller steps,
/// from below, takes eight kilobytes more of each link, which is as much as all else that a desktop
/// needs that comes back.
const MTU_STEP: u16 = 127;
/// What Ethernet leaves of its 1500 bytes to UDP over IPv6.
const LARGEST_MTU: u16 = 1452;
/// Datagrams that wait to be sent, and to be read.
pub(crate) const DATAGRAM_BUFFER: usize = 64 << 10;

fn common(mtu: Option<u16>) -> TransportConfig {
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW);
    let mut search = MtuDiscoveryConfig::default();
    // What has been found out is not searched beyond: each search costs three packets where it fails.
    let known = mtu.map(|mtu| mtu.min(LARGEST_MTU));
    search
        .upper_bound(known.unwrap_or(LARGEST_MTU))
        .minimum_change(MTU_STEP);
    let mut config = TransportConfig::default();
    config.initial_mtu(known.unwrap_or(0));
    config
        .mtu_discovery_config(Some(search))
        .max_idle_timeout(Some(
            IDLE_TIMEOUT
                .try_into()
                .expect("eight seconds fit a QUIC integer"),
        ))
        .initial_rtt(INITIAL_RTT)
        .congestion_controller_factory(Arc::new(MeteredCubic(Arc::new(cubic))))
        .send_window(SEND_WINDOW)
        // Else nothing overtakes a frame that has begun; which stream is next says its rank.
        .send_fairness(true)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER);
    config
}

/// For the broker and sessions: the peer opens the main stream and nothing else. `mtu` is what the way
/// is known to carry ([`crate::mtu`]).
pub(crate) fn server(mtu: Option<u16>) -> TransportConfig {
    let mut config = common(mtu);
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(SERVER_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(SERVER_STREAM_WINDOW));
    config
}

/// For terminals: the peer opens frame streams. The window of the connection is not limited beyond
/// that of its streams, so that frames waiting for their turn cannot starve the one that is due.
pub(crate) fn terminal(mtu: Option<u16>) -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACKS_OF_INPUT - 1));
    // A packet that is missing is told of at once, since there is no answer to what comes behind it.
    acks.reordering_threshold(VarInt::from_u32(1));
    let mut config = common(mtu);
    config
        .ack_frequency_config(Some(acks))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_FRAME_STREAMS))
        .stream_receive_window(VarInt::from_u32(TERMINAL_STREAM_WINDOW));
    config
}

/// The endpoint's own settings. The reset key comes from the identity, so that a server that has
/// restarted can tell its former peers so at once.
pub(crate) fn endpoint(identity: &Identity, connection_id: usize) -> EndpointConfig {
    let secret = identity.derive(b"heliostat stateless reset");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
    let mut config = EndpointConfig::new(Arc::new(key));
    config.cid_generator(move || {
        Box::new(quinn_proto::RandomConnectionIdGenerator::new(connection_id))
    });
    config
}

/// Room for what comes in the milliseconds in which this process does not run: the kernel's own is
/// that for some 90 packets, a millisecond at 1 Gbit/s. It may give less than this.
const SOCKET_BUFFER: usize = 2 << 20;

/// Makes room in a socket, as far as the kernel allows.
pub(crate) fn make_room(socket: &std::net::UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    if let Err(error) = socket.set_recv_buffer_size(SOCKET_BUFFER) {
        tracing::debug!(%error, "a socket keeps its small buffer");
    }
}
