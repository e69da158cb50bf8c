//! The smallest session that a broker can start: it has no desktop, but it takes terminals with
//! their tickets and parts from them as every session must. The broker's tests attach to it.
//!
//! It has no configuration, so `--check-config` finds nothing wrong with it.
//! `--crash-on-start` and `--never-ready` as first arguments make it fail in these ways. With
//! `--claim FILE` it says of the attach whose number is in the file that it is its own; with
//! `--hand-over SOCKET` it hands its own socket to whoever listens there, to speak in its place.

mod sys;

use std::collections::HashMap;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliostat_control::hex::Hex;
use heliostat_control::lines::{self, LineReader};
use heliostat_control::session as broker;
use heliostat_link::{Budget, CloseCode, Connection, Identity, KeyPin, Link, Main, Sender, Server};
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, SessionId};
use heliostat_wire::session::{ToSession, ToTerminal};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments
        .iter()
        .any(|argument| argument == "--check-config")
    {
        return Ok(());
    }
    if arguments
        .iter()
        .any(|argument| argument == "--crash-on-start")
    {
        eprintln!("crashing, as told to");
        std::process::exit(3);
    }
    let heir = value(&arguments, "--hand-over");
    if !heir.is_empty() {
        return hand_over(&heir);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match arguments.iter().any(|argument| argument == "--never-ready") {
            true => std::future::pending().await,
            false => serve(&value(&arguments, "--id"), &value(&arguments, "--ports")).await,
        }
    })
}

fn value(arguments: &[String], name: &str) -> String {
    let at = arguments.iter().position(|argument| argument == name);
    let value = at.and_then(|at| arguments.get(at + 1));
    value.cloned().unwrap_or_default()
}

/// Somebody else speaks with the broker from now on.
fn hand_over(heir: &str) -> anyhow::Result<()> {
    let heir = std::os::unix::net::UnixStream::connect(heir)?;
    let listener = sys::inherited_listener()?;
    heliostat_broker::passing::send_all(&heir, b"x", &[listener.as_fd()])?;
    loop {
        std::thread::park();
    }
}

/// The attach of another session, where the tests have named one.
fn claimed() -> Option<AttachId> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = std::fs::read_to_string(value(&arguments, "--claim")).ok()?;
    Some(AttachId(number.parse().ok()?))
}

/// What reaches the session's only loop.
enum Event {
    Broker(UnixStream),
    Says(broker::ToSession),
    Terminal(Connection, Box<(Main<ToTerminal, ToSession>, ToSession)>),
    LinkEnded(AttachId),
}

struct Session {
    id: SessionId,
    ready: broker::Ready,
    expected: HashMap<[u8; 32], (broker::Expect, Instant)>,
    attached: Option<(AttachId, Connection, Sender<ToTerminal>)>,
    broker: Option<tokio::net::unix::OwnedWriteHalf>,
    events: mpsc::Sender<Event>,
}

async fn serve(id: &str, ports: &str) -> anyhow::Result<()> {
    let Hex(id) = id.parse()?;
    let key = Identity::generate()?;
    let socket = bind(ports)?;
    let port = socket.local_addr()?.port();
    let server = Server::listen(socket, &key, Link::Session, Budget::default())?;
    let listener = UnixListener::from_std(sys::inherited_listener()?)?;
    let (events, mut inbox) = mpsc::channel(64);
    tokio::spawn(accept_terminals(Arc::new(server), events.clone()));
    let mut session = Session {
        id: SessionId(id),
        ready: broker::Ready {
            pid: std::process::id(),
            uid: nix::unistd::getuid().as_raw(),
            port,
            spki_sha256: Hex(key.pin().0),
            wayland_display: "none".to_owned(),
            attached: None,
        },
        expected: HashMap::new(),
        attached: None,
        broker: None,
        events,
    };
    loop {
        let event = tokio::select! {
            accepted = listener.accept() => Event::Broker(accepted?.0),
            Some(event) = inbox.recv() => event,
        };
        session.handle(event).await?;
    }
}

fn bind(ports: &str) -> anyhow::Result<UdpSocket> {
    let (first, last) = ports.split_once('-').unwrap_or(("0", "0"));
    let (first, last): (u16, u16) = (first.parse()?, last.parse()?);
    let mut sockets = (first..=last).filter_map(|port| UdpSocket::bind(("0.0.0.0", port)).ok());
    sockets
        .next()
        .ok_or_else(|| anyhow::anyhow!("no free port in {ports}"))
}

async fn accept_terminals(server: Arc<Server>, events: mpsc::Sender<Event>) {
    while let Some(handshake) = server.accept().await {
        let events = events.clone();
        tokio::spawn(async move {
            let connection = handshake.complete().await?;
            let mut main = connection.accept_main(Link::Session).await?;
            let first = main.recv().await?;
            let _ = events
                .send(Event::Terminal(connection, Box::new((main, first))))
                .await;
            Ok::<_, heliostat_link::LinkError>(())
        });
    }
}

impl Session {
    async fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Broker(stream) => self.broker_connected(stream).await,
            Event::Says(message) => self.broker_says(message).await,
            Event::Terminal(connection, opened) => {
                let (main, first) = *opened;
                self.terminal(connection, main, first).await
            }
            Event::LinkEnded(attach_id) => self.link_ended(attach_id).await,
        }
    }

    async fn broker_connected(&mut self, stream: UnixStream) -> anyhow::Result<()> {
        let (mut from, to) = stream.into_split();
        self.broker = Some(to);
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut reader = LineReader::default();
            let mut bytes = [0; 4096];
            while let Ok(1..) = from
                .read(&mut bytes)
                .await
                .inspect(|n| reader.push(&bytes[..*n]))
            {
                while let Ok(Some(message)) = reader.message() {
                    let _ = events.send(Event::Says(message)).await;
                }
            }
        });
        let mut ready = self.ready.clone();
        ready.attached = self
            .attached
            .as_ref()
            .map(|(attach_id, ..)| broker::Attached {
                attach_id: *attach_id,
                terminal: String::new(),
            });
        let Some(attach_id) = claimed() else {
            return self.tell(&broker::FromSession::Ready(ready)).await;
        };
        let claim = broker::Attached {
            attach_id,
            terminal: "a".to_owned(),
        };
        ready.attached = Some(claim.clone());
        for word in [
            broker::FromSession::Ready(ready),
            broker::FromSession::Attached(claim),
            broker::FromSession::FirstFrame {
                attach_id,
                took_ms: 1,
            },
            broker::FromSession::Detached {
                attach_id,
                reason: DetachReason::SessionEnded,
            },
        ] {
            self.tell(&word).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, message: &broker::FromSession) -> anyhow::Result<()> {
        if let Some(broker) = &mut self.broker {
            // A broker that is away connects again.
            let _ = broker.write_all(&lines::encode(message)).await;
        }
        Ok(())
    }

    async fn broker_says(&mut self, message: broker::ToSession) -> anyhow::Result<()> {
        match message {
            broker::ToSession::Expect(expect) => {
                let until = Instant::now() + Duration::from_millis(expect.expires_ms.into());
                let Hex(hash) = expect.ticket_sha256;
                self.expected.insert(hash, (expect, until));
            }
            broker::ToSession::Detach { attach_id, reason } => {
                let present = self.attached.as_ref().map(|(present, ..)| *present);
                if attach_id.is_none() || attach_id == present {
                    self.part(reason).await?;
                }
            }
            broker::ToSession::End { reason } => {
                self.part(reason.clone()).await?;
                self.tell(&broker::FromSession::Ending { reason }).await?;
                std::process::exit(0);
            }
            broker::ToSession::Stats => {
                let stats = heliostat_control::stats::SessionStats::default();
                self.tell(&broker::FromSession::Stats(stats.into())).await?;
            }
        }
        Ok(())
    }

    async fn part(&mut self, reason: DetachReason) -> anyhow::Result<()> {
        let Some((attach_id, connection, mut sender)) = self.attached.take() else {
            return Ok(());
        };
        let _ = sender.queue(&ToTerminal::Bye(reason.clone()));
        let _ = tokio::time::timeout(Duration::from_secs(1), sender.finish()).await;
        connection.close(CloseCode::Done, "");
        self.tell(&broker::FromSession::Detached { attach_id, reason })
            .await
    }

    async fn terminal(
        &mut self,
        connection: Connection,
        mut main: Main<ToTerminal, ToSession>,
        first: ToSession,
    ) -> anyhow::Result<()> {
        let ToSession::Attach {
            attach_id, ticket, ..
        } = first
        else {
            connection.close(CloseCode::ProtocolViolation, "attach comes first");
            return Ok(());
        };
        let hash: [u8; 32] = Sha256::digest(ticket.0).into();
        let expect = self.expected.remove(&hash);
        let good = expect.filter(|(expect, until)| {
            let Hex(key) = expect.terminal_key_sha256;
            expect.attach_id == attach_id
                && KeyPin(key) == connection.peer()
                && Instant::now() < *until
        });
        let Some((expect, _)) = good else {
            connection.close(CloseCode::TicketRefused, "");
            return Ok(());
        };
        connection.authenticated();
        let terminal = expect.terminal_name.as_str().into();
        self.part(DetachReason::MovedElsewhere { terminal }).await?;
        let attached = ToTerminal::Attached {
            session: self.id,
            person: std::env::var("USER").unwrap_or_default().as_str().into(),
        };
        main.send(&attached).await?;
        let (sender, mut receiver) = main.split();
        self.attached = Some((attach_id, connection, sender));
        let events = self.events.clone();
        tokio::spawn(async move {
            while receiver.recv().await.is_ok() {}
            let _ = events.send(Event::LinkEnded(attach_id)).await;
        });
        self.tell(&broker::FromSession::Attached(broker::Attached {
            attach_id,
            terminal: expect.terminal_name,
        }))
        .await
    }

    async fn link_ended(&mut self, attach_id: AttachId) -> anyhow::Result<()> {
        let present = self.attached.as_ref().map(|(present, ..)| *present);
        if present == Some(attach_id) {
            self.part(DetachReason::LinkLost).await?;
        }
        Ok(())
    }
}
