//! What a link has found out about the size of packets, for the next one.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use heliostat_link::{Connection, Dialer, FrameReceiver, FrameSender, Link};
use heliostat_wire::List;
use heliostat_wire::scene::FrameHeader;

use crate::relay::Relay;
use crate::relay::{LARGEST, Weather};
use crate::support::*;

/// A terminal at the other end of a relay, which comes again and again.
struct Desk {
    dialer: Dialer,
    key: heliostat_link::Identity,
    server: std::sync::Arc<heliostat_link::Server>,
    relay: Relay,
}

impl Desk {
    async fn new() -> Self {
        let key = identity();
        let server = server(&key);
        let relay = Relay::start(server.local_addr().unwrap(), Weather::FINE).await;
        Self {
            dialer: Dialer::new(identity()),
            key,
            server,
            relay,
        }
    }

    fn largest(&self) -> u64 {
        self.relay.seen.largest.load(Ordering::SeqCst)
    }

    async fn link(&self) -> (Connection, Connection) {
        let pins = [self.key.pin()];
        let dialling = self.dialer.dial(self.relay.address, Link::Session, &pins);
        // What is left of a dial that was given up may come first.
        let accepting = async {
            loop {
                let handshake = self.server.accept().await.unwrap();
                if let Ok(far) = handshake.complete().await {
                    break far;
                }
            }
        };
        let (near, far) = within(async { tokio::join!(dialling, accepting) }).await;
        (near.unwrap(), far)
    }

    /// A link over which messages go until both ends have found out how large packets may be.
    async fn searched(&self) {
        let (near, far) = self.link().await;
        far.authenticated();
        self.search(near, far).await;
    }

    async fn search(&self, near: Connection, far: Connection) {
        let searched = async {
            let first = "hello".to_owned();
            let (near_main, far_main) = tokio::join!(
                near.open_main::<String, String>(Link::Session, &first),
                far.accept_main::<String, String>(Link::Session)
            );
            let (mut near_main, mut far_main) = (near_main.unwrap(), far_main.unwrap());
            let is_found = |end: &Connection| usize::from(end.stats().mtu) == LARGEST;
            while !(is_found(&near) && is_found(&far)) {
                near_main.send(&first).await.unwrap();
                far_main.recv().await.unwrap();
                far_main.send(&first).await.unwrap();
                near_main.recv().await.unwrap();
            }
        };
        within(searched).await;
        near.close(heliostat_link::CloseCode::Done, "");
        within(far.closed()).await;
    }
}

/// A picture that comes whole.
async fn show(near: &Connection, far: Connection, bytes: usize) -> Connection {
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::default(),
    };
    let picture = Bytes::from((0..bytes).map(|n| n as u8).collect::<Vec<_>>());
    let (sent, mut sender) = (picture.clone(), FrameSender::new(&far));
    let sending = tokio::spawn(async move { sender.send(&header, sent).await.map(|_| far) });
    let frame = within(FrameReceiver::new(near).next()).await.unwrap();
    assert_eq!(frame.content, picture.to_vec());
    within(sending).await.unwrap().unwrap()
}

#[tokio::test]
async fn second_link_begins_with_what_the_first_has_found_out() {
    let desk = Desk::new().await;
    desk.searched().await;
    let searched = desk.largest();
    assert!(searched >= 2, "{searched}: each end searches");
    let (near, far) = desk.link().await;
    let mtus = [near.stats().mtu, far.stats().mtu].map(usize::from);
    assert_eq!(mtus, [LARGEST, LARGEST]);
    let before = desk.relay.on_the_wire();
    show(&near, far, 300).await;
    assert_eq!(
        desk.largest(),
        searched,
        "nobody searches again: {before:?}"
    );
    let (near, far) = desk.link().await;
    show(&near, far, 100_000).await;
    assert!(desk.largest() > searched + 50);
}

#[tokio::test]
async fn stranger_s_way_is_not_remembered_by_the_server() {
    let desk = Desk::new().await;
    let (near, far) = desk.link().await;
    desk.search(near, far).await;
    let (near, far) = desk.link().await;
    assert_eq!(usize::from(near.stats().mtu), LARGEST);
    assert!(usize::from(far.stats().mtu) < LARGEST);
}

#[tokio::test]
async fn link_that_does_not_come_about_is_forgotten() {
    let desk = Desk::new().await;
    desk.searched().await;
    desk.relay.cut(true);
    let pins = [desk.key.pin()];
    let over = heliostat_link::Carrier::Quic;
    let dialling = desk
        .dialer
        .dial_over(over, desk.relay.address, Link::Session, &pins);
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(50), dialling).await;
    assert!(given_up.is_err());
    desk.relay.cut(false);
    let (near, _far) = desk.link().await;
    assert!(usize::from(near.stats().mtu) < LARGEST);
}

#[tokio::test]
async fn way_that_has_become_narrower_is_found_out() {
    let desk = Desk::new().await;
    desk.searched().await;
    desk.relay.narrow(1300);
    let (near, far) = desk.link().await;
    assert_eq!(usize::from(far.stats().mtu), LARGEST);
    let far = show(&near, far, 200_000).await;
    assert!(far.stats().mtu <= 1300, "{:?}", far.stats());
    let lost = far.stats().lost_packets;
    assert!(lost >= 4, "{lost}");
}
