//! QUIC and TCP side by side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliostat_link::{Carrier, Connection, Dialer, Identity, Link, LinkError, Server};

use crate::gate::Gate;
use crate::relay::{Relay, Weather};
use crate::support::*;

/// A server behind a network that may swallow UDP. TCP passes.
struct Place {
    key: Identity,
    address: SocketAddr,
    udp: Relay,
    _tcp: Gate,
    server: Arc<Server>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Place {
    async fn new() -> Self {
        Self::with(Weather::FINE).await
    }

    async fn with(weather: Weather) -> Self {
        let key = identity();
        let server = server(&key);
        let far = server.local_addr().unwrap();
        let (udp, tcp) = loop {
            let udp = Relay::start(far, weather).await;
            if let Some(tcp) = Gate::start(udp.address, far).await {
                break (udp, tcp);
            }
        };
        let serving = tokio::spawn({
            let server = server.clone();
            async move {
                while let Some(handshake) = server.accept().await {
                    tokio::spawn(async move {
                        let connection = handshake.complete().await?;
                        connection.authenticated();
                        Ok::<_, LinkError>(connection.closed().await)
                    });
                }
            }
        });
        Self {
            key,
            address: udp.address,
            udp,
            _tcp: tcp,
            server,
            serving,
        }
    }

    async fn dial(&self, dialer: &Dialer) -> (Result<Connection, LinkError>, Duration) {
        let pins = [self.key.pin()];
        let started = Instant::now();
        let dialled = within(dialer.dial(self.address, Link::Session, &pins)).await;
        (dialled, started.elapsed())
    }
}

#[tokio::test]
async fn quic_is_taken_where_it_passes() {
    let place = Place::new().await;
    let dialer = Dialer::new(identity());
    for _ in 0..5 {
        let (connection, _) = place.dial(&dialer).await;
        assert_eq!(connection.unwrap().carrier(), Carrier::Quic);
    }
}

#[tokio::test]
async fn where_udp_is_swallowed_tcp_takes_over_after_half_a_second_and_later_quic_again() {
    let place = Place::new().await;
    let dialer = Dialer::new(identity());
    place.udp.cut(true);
    let (connection, took) = place.dial(&dialer).await;
    assert_eq!(connection.unwrap().carrier(), Carrier::Tcp);
    eprintln!("connected over TCP after {took:?}");
    assert!(took >= Duration::from_millis(500), "{took:?}");

    // Nobody waits a second time, as the tests of the race itself show.
    let (connection, _) = place.dial(&dialer).await;
    assert_eq!(connection.unwrap().carrier(), Carrier::Tcp);

    place.udp.cut(false);
    let pins = [place.key.pin()];
    let probe = dialer.dial_over(Carrier::Quic, place.address, Link::Session, &pins);
    let probe = within(probe).await.unwrap();
    assert_eq!(probe.carrier(), Carrier::Quic);
    let (connection, _) = place.dial(&dialer).await;
    assert_eq!(connection.unwrap().carrier(), Carrier::Quic);
}

#[tokio::test]
async fn a_server_that_only_tcp_reaches_is_still_held_to_its_key() {
    let place = Place::new().await;
    place.udp.cut(true);
    let dialer = Dialer::new(identity());
    let pins = [identity().pin()];
    let dialling = dialer.dial(place.address, Link::Session, &pins);
    let error = within(dialling).await.unwrap_err();
    assert_eq!(error, LinkError::WrongKey(place.key.pin()));
}

#[tokio::test]
async fn the_carrier_that_comes_second_is_closed() {
    let slow = Duration::from_millis(400);
    let place = Place::with(Weather {
        delay: (slow, slow),
        ..Weather::FINE
    })
    .await;
    let dialer = Dialer::new(identity());
    let (connection, _) = place.dial(&dialer).await;
    assert_eq!(connection.unwrap().carrier(), Carrier::Tcp);
    // QUIC had begun, and the server sees it go.
    within(async {
        while place.udp.on_the_wire().0 < 3 || place.server.half_open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
