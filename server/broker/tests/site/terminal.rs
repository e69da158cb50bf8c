//! A terminal without a screen: both links, cards by name.

use std::net::SocketAddr;
use std::time::Duration;

use heliostat_link::{Connection, Dialer, Identity, KeyPin, Link, LinkError, Main};
use heliostat_wire::List;
use heliostat_wire::card::{Card, CardKind};
use heliostat_wire::control::{
    Attach, CardRefusal, DetachReason, Hello, Host, ToBroker, ToTerminal,
};
use heliostat_wire::id::AttachId;
use heliostat_wire::session::{self, Capabilities, ToSession};

/// Nothing here takes longer on a machine that works.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Terminal {
    pub id: String,
    /// The name that it gives itself.
    pub name: String,
    pub dialer: Dialer,
    broker: SocketAddr,
    pin: KeyPin,
    seq: u32,
    control: Option<(Connection, Main<ToBroker, ToTerminal>)>,
}

/// A live session link.
pub struct Desktop {
    pub attach_id: AttachId,
    pub person: String,
    pub connection: Connection,
    pub main: Main<ToSession, session::ToTerminal>,
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("done before the deadline")
}

impl Terminal {
    pub fn new(id: &str, broker: SocketAddr, pin: KeyPin) -> Self {
        Self {
            id: id.to_owned(),
            name: format!("desk {id}"),
            dialer: Dialer::new(Identity::generate().unwrap()),
            broker,
            pin,
            seq: 0,
            control: None,
        }
    }

    pub fn hello(&self) -> ToBroker {
        ToBroker::Hello(Hello {
            terminal_id: self.id.as_str().into(),
            name: self.name.as_str().into(),
            software: "test".into(),
            outputs: List::default(),
            boot_ms: (0, 0),
        })
    }

    /// Comes online, trying until the broker is there.
    pub async fn connect(&mut self) {
        self.control = None;
        let connected = async {
            loop {
                match self.try_connect().await {
                    Ok(control) => return control,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        self.control = Some(within(connected).await);
    }

    async fn try_connect(&self) -> Result<(Connection, Main<ToBroker, ToTerminal>), LinkError> {
        let pins = [self.pin];
        let dialling = self.dialer.dial(self.broker, Link::Control, &pins);
        let connection = dialling.await?;
        let mut main: Main<ToBroker, ToTerminal> =
            connection.open_main(Link::Control, &self.hello()).await?;
        match main.recv().await? {
            ToTerminal::Welcome { terminal_name, .. } => {
                assert_eq!(&*terminal_name, self.name);
                Ok((connection, main))
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn control(&self) -> &Connection {
        &self.control.as_ref().expect("online").0
    }

    pub async fn send(&mut self, message: ToBroker) {
        let main = &mut self.control.as_mut().expect("online").1;
        within(main.send(&message)).await.unwrap();
    }

    pub async fn try_send(&mut self, message: ToBroker) -> Result<(), LinkError> {
        let main = &mut self.control.as_mut().expect("online").1;
        main.send(&message).await
    }

    pub async fn recv(&mut self) -> ToTerminal {
        let main = &mut self.control.as_mut().expect("online").1;
        within(main.recv()).await.unwrap()
    }

    pub async fn insert(&mut self, card: &str) {
        self.seq += 1;
        self.repeat(card).await;
    }

    /// Says again that the card is there, as after a broken control link.
    pub async fn repeat(&mut self, card: &str) {
        let message = ToBroker::CardInserted {
            seq: self.seq,
            reader: "test reader".into(),
            card: Card {
                id: card.into(),
                kind: CardKind::Piv,
                atr: List::default(),
            },
        };
        self.send(message).await;
    }

    pub async fn pull(&mut self) {
        self.send(ToBroker::CardRemoved { seq: self.seq }).await;
    }

    pub async fn retry(&mut self) {
        self.send(ToBroker::Retry { seq: self.seq }).await;
    }

    /// The attach that answers the card, past a word that the session is starting.
    pub async fn attach(&mut self) -> Attach {
        loop {
            match self.recv().await {
                ToTerminal::Starting { seq, .. } => assert_eq!(seq, self.seq),
                ToTerminal::Attach(attach) => {
                    assert_eq!(attach.seq, self.seq);
                    return attach;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Why the card is refused, past what else is said on the way.
    pub async fn refused(&mut self) -> (CardRefusal, String) {
        loop {
            match self.recv().await {
                ToTerminal::CardRefused { seq, reason, text } => {
                    assert_eq!(seq, self.seq);
                    return (reason, text.to_string());
                }
                ToTerminal::Starting { .. } | ToTerminal::Detach { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn detached(&mut self) -> (AttachId, DetachReason) {
        match self.recv().await {
            ToTerminal::Detach { attach_id, reason } => (attach_id, reason),
            other => panic!("{other:?}"),
        }
    }

    /// Whatever the broker has said so far is nothing: its answer to a ping comes first.
    pub async fn silence(&mut self) {
        self.send(ToBroker::Ping(77)).await;
        let answer = self.recv().await;
        assert!(matches!(answer, ToTerminal::Pong(77)), "{answer:?}");
    }

    /// Joins a session as an attach says; the error is how the session closed the link.
    pub async fn join(&self, attach: &Attach) -> Result<Desktop, LinkError> {
        assert_eq!(attach.addresses[0].host, Host::Broker);
        let address = SocketAddr::new(self.broker.ip(), attach.addresses[0].port);
        let connection = self
            .dialer
            .dial(address, Link::Session, &[attach.pin])
            .await?;
        let first = ToSession::Attach {
            attach_id: attach.attach_id,
            ticket: attach.ticket.clone(),
            outputs: List::default(),
            kept: None,
            capabilities: Capabilities {
                max_layers: 1,
                max_layer_bytes: 1 << 20,
                max_cursor_side: 64,
                max_frames_in_flight: 1,
                max_kept_cells: 0,
                max_videos: 0,
                max_video_pixels: 0,
            },
            keyboard: Default::default(),
            layout: "".into(),
        };
        let mut main: Main<ToSession, session::ToTerminal> =
            connection.open_main(Link::Session, &first).await?;
        match main.recv().await? {
            session::ToTerminal::Attached { person, .. } => Ok(Desktop {
                attach_id: attach.attach_id,
                person: person.to_string(),
                connection,
                main,
            }),
            other => panic!("{other:?}"),
        }
    }

    /// From the card to the session.
    pub async fn desktop(&mut self, card: &str) -> Desktop {
        self.insert(card).await;
        let attach = self.attach().await;
        within(self.join(&attach)).await.unwrap()
    }
}

impl Desktop {
    /// The session's farewell.
    pub async fn bye(&mut self) -> DetachReason {
        match within(self.main.recv()).await.unwrap() {
            session::ToTerminal::Bye(reason) => reason,
            other => panic!("{other:?}"),
        }
    }
}
