//! What is sent follows the rate of the way, which real links measure.

use std::net::UdpSocket;
use std::time::Duration;

use bytes::Bytes;
use heliostat_link::{
    Budget, Carrier, Connection, Dialer, FrameReceiver, FrameSender, Identity, Link, Server,
};
use heliostat_wire::bounded::List;
use heliostat_wire::id::AttachId;
use heliostat_wire::input::KeyboardState;
use heliostat_wire::scene::FrameHeader;
use heliostat_wire::session::Capabilities;
use tokio::sync::mpsc::unbounded_channel;

use crate::attach::Attachment;
use crate::link::NewAttach;
use crate::resume::Start;
use relay::{Relay, Weather};

#[path = "../../../../protocol/link/tests/link/relay.rs"]
#[expect(dead_code, reason = "the link's own tests use more of it")]
mod relay;

/// Nothing here takes longer on a machine that works.
const DEADLINE: Duration = Duration::from_secs(120);
/// Bytes a second: a megabit and a gigabit.
const NARROW: u64 = 125_000;
const WIDE: u64 = 125_000_000;
/// zstd's.
const FAST: i32 = 1;
const THOROUGH: i32 = 3;

/// A terminal behind a relay, attached.
struct Far {
    relay: Relay,
    attachment: Attachment,
    sender: FrameSender,
    receiver: FrameReceiver,
    serial: u32,
    _ends: (Connection, Connection),
    _server: Server,
}

impl Far {
    async fn behind(weather: Weather) -> Self {
        let key = Identity::generate().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = Server::listen(socket, &key, Link::Session, Budget::default()).unwrap();
        let relay = Relay::start(server.local_addr().unwrap(), weather).await;
        let dialer = Dialer::new(Identity::generate().unwrap());
        let pins = [key.pin()];
        let dialling = dialer.dial_over(Carrier::Quic, relay.address, Link::Session, &pins);
        let (near, far) = tokio::join!(dialling, async {
            server.accept().await.unwrap().complete().await
        });
        let (near, far) = (near.unwrap(), far.unwrap());
        Self {
            relay,
            attachment: attached(Some(far.clone())),
            sender: FrameSender::new(&far),
            receiver: FrameReceiver::new(&near),
            serial: 0,
            _ends: (near, far),
            _server: server,
        }
    }

    /// Sends a frame of so many bytes and waits until it is there.
    async fn frame(&mut self, bytes: usize) {
        self.serial += 1;
        let header = FrameHeader {
            serial: self.serial,
            last_input: 0,
            overtakes: 0,
            ops: List::default(),
        };
        let sending = self.sender.send(&header, Bytes::from(vec![7; bytes]));
        let (sent, frame) = tokio::join!(sending, self.receiver.next());
        sent.unwrap();
        frame.unwrap();
    }

    /// Sends frames until the level is this one. Each is more than a trickle, which says nothing
    /// about a way, and takes the narrow one half of a second.
    async fn until_level(&mut self, level: i32) {
        let sending = async {
            while self.attachment.level() != level {
                self.frame(64 << 10).await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, sending).await;
        let rate = self.attachment.rate();
        assert!(in_time.is_ok(), "not {level} at {rate:?} bytes a second");
    }
}

fn attached(connection: Option<Connection>) -> Attachment {
    let attach = NewAttach {
        id: AttachId(1),
        terminal: "a".to_owned(),
        outputs: List::default(),
        capabilities: Capabilities {
            max_layers: 64,
            max_layer_bytes: 64 << 20,
            max_cursor_side: 64,
            max_frames_in_flight: 2,
            max_kept_cells: 256,
            max_videos: 0,
            max_video_pixels: 0,
        },
        keyboard: KeyboardState::default(),
        layout: String::new(),
        kept: None,
        keep: Duration::ZERO,
        idle: None,
        delivered: std::sync::Arc::default(),
        sender: unbounded_channel().0,
        connection,
    };
    Attachment::new(attach, Start::default(), std::time::Instant::now())
}

#[test]
fn level_is_thorough_on_a_narrow_way_and_fast_on_one_that_is_wide_or_not_known() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let wide = Weather {
            rate: Some(WIDE),
            queue: Some(512 << 10),
            ..Weather::far(Duration::from_millis(1))
        };
        let narrow = Weather {
            rate: Some(NARROW),
            queue: Some(256 << 10),
            ..wide
        };
        let mut far = Far::behind(narrow).await;
        far.frame(64 << 10).await;
        far.until_level(THOROUGH).await;
        assert!(far.attachment.rate().unwrap() < 2 * NARROW);
        far.relay.change(wide);
        far.until_level(FAST).await;
        // As when a cable gives way to a phone.
        far.relay.change(narrow);
        far.until_level(THOROUGH).await;
    });
}

#[test]
fn level_is_fast_where_nothing_is_measured() {
    assert_eq!(attached(None).level(), FAST);
}
