use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use heliostat_link::{Budget, Identity, Server};
use heliostat_wire::List;
use heliostat_wire::control::{Hello, LoginOffer};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A way to a broker that may swallow UDP. TCP passes.
struct Way {
    address: SocketAddr,
    udp_passes: Arc<AtomicBool>,
}

impl Way {
    async fn to(broker: SocketAddr) -> Self {
        let (near, listener) = loop {
            let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(listener) = TcpListener::bind(near.local_addr().unwrap()).await {
                break (near, listener);
            }
        };
        let address = near.local_addr().unwrap();
        let udp_passes = Arc::new(AtomicBool::new(false));
        tokio::spawn(pass_udp(near, broker, udp_passes.clone()));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(broker).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Self {
            address,
            udp_passes,
        }
    }
}

async fn pass_udp(near: UdpSocket, broker: SocketAddr, passes: Arc<AtomicBool>) {
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    far.connect(broker).await.unwrap();
    let mut terminal = near.local_addr().unwrap();
    let (mut up, mut down) = ([0; 2048], [0; 2048]);
    loop {
        tokio::select! {
            Ok((length, from)) = near.recv_from(&mut up) => {
                terminal = from;
                if passes.load(Ordering::SeqCst) {
                    let _ = far.send(&up[..length]).await;
                }
            }
            Ok(length) = far.recv(&mut down) => {
                let _ = near.send_to(&down[..length], terminal).await;
            }
        }
    }
}

/// A broker that welcomes everybody, and over what each came.
fn broker(identity: &Identity) -> (SocketAddr, UnboundedReceiver<Carrier>) {
    let server = loop {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = Server::listen(socket, identity, Link::Control, Budget::default()).unwrap();
        if server.listens_on_tcp() {
            break server;
        }
    };
    let address = server.local_addr().unwrap();
    let (came, carriers) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(handshake) = server.accept().await {
            let came = came.clone();
            tokio::spawn(async move {
                let connection = handshake.complete().await?;
                let main = connection.accept_main::<ToTerminal, ToBroker>(Link::Control);
                let mut main = main.await?;
                main.recv().await?;
                connection.greeted();
                main.send(&ToTerminal::Welcome {
                    terminal_name: "desk".into(),
                    site: "Test".into(),
                    unix_time_s: 0,
                    login: LoginOffer::None,
                })
                .await?;
                let _ = came.send(connection.carrier());
                connection.closed().await;
                Ok::<_, LinkError>(())
            });
        }
    });
    (address, carriers)
}

#[tokio::test]
async fn a_control_link_over_tcp_gives_way_to_quic_when_udp_passes_and_nobody_is_attached() {
    let identity = Identity::generate().unwrap();
    let (broker, mut carriers) = broker(&identity);
    let way = Way::to(broker).await;
    let (post, events) = mpsc::channel();
    let attached = Attached::default();
    let somebody = attached.begin();
    let (_sender, messages) = unbounded_channel();
    let keeper = Keeper {
        dialer: Arc::new(Dialer::new(Identity::generate().unwrap())),
        post: Arc::new(move |event| drop(post.send(event))),
        site: Site {
            brokers: vec![way.address.to_string()],
            pins: vec![identity.pin()],
            hello: Hello {
                terminal_id: "t".into(),
                name: "desk".into(),
                software: "test".into(),
                outputs: List::default(),
                boot_ms: (0, 0),
            },
        },
        address: Arc::default(),
        attached,
        probe: Duration::from_millis(50),
        messages,
    };
    let keeping = tokio::spawn(keeper.run());
    let next = timeout(DEADLINE, carriers.recv());
    assert_eq!(next.await.unwrap(), Some(Carrier::Tcp));

    // While somebody is attached the link is left alone, however well UDP passes.
    way.udp_passes.store(true, Ordering::SeqCst);
    let next = timeout(Duration::from_millis(500), carriers.recv());
    assert!(next.await.is_err());
    drop(somebody);
    let next = timeout(DEADLINE, carriers.recv());
    assert_eq!(next.await.unwrap(), Some(Carrier::Quic));
    // QUIC is the best there is.
    let next = timeout(Duration::from_millis(500), carriers.recv());
    assert!(next.await.is_err());
    keeping.abort();
    let downs = events
        .try_iter()
        .filter(|event| matches!(event, AppEvent::Net(NetEvent::ControlDown { .. })));
    assert_eq!(downs.count(), 0, "the change is not noticed");
}
