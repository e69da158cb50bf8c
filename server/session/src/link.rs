//! The session link and the broker's socket, on a thread of their own.
//!
//! The compositor's thread gets [`LinkEvent`]s and answers through channels: one for each attach
//! ([`ToTerminalTask`]), one for the broker.

mod broker;
mod login1;
mod person;
mod terminal;
mod tickets;

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use heliostat_control::hex::Hex;
use heliostat_control::session::{Ask, FromSession, Ready};
use heliostat_link::{Budget, CloseCode, Connection, Identity, Link, Server};
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, SessionId};
use heliostat_wire::input::KeyboardState;
use heliostat_wire::output::Outputs;
use heliostat_wire::scene::FrameHeader;
use heliostat_wire::session::{Capabilities, Kept, ToSession, ToTerminal};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tracing::info;

pub use tickets::{Presented, TicketError, Tickets};

/// How long last words may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// What the compositor is told.
#[derive(Debug)]
pub enum LinkEvent {
    /// A terminal has shown its ticket.
    Attached(Box<NewAttach>),
    /// The attached terminal said something. While the permit lives it counts against what a
    /// terminal may have said and not been heard.
    Said(AttachId, ToSession, Option<OwnedSemaphorePermit>),
    /// A terminal leaves its link to come by another one at once.
    Changing(AttachId),
    /// A link is over.
    Ended(AttachId, DetachReason),
    /// The broker wants the terminal gone; any, or only this attach.
    Detach(Option<AttachId>, DetachReason),
    /// The session is to end.
    End(DetachReason),
    /// The broker asks how things are.
    Stats,
    /// The person asks for something, by `heliostat-leave`.
    Asked(Ask),
}

/// A terminal that was let in.
#[derive(Debug)]
pub struct NewAttach {
    /// The attach.
    pub id: AttachId,
    /// The terminal's name.
    pub terminal: String,
    /// Its screens.
    pub outputs: Outputs,
    /// What it can hold.
    pub capabilities: Capabilities,
    /// What is held down on it.
    pub keyboard: KeyboardState,
    /// Its keyboard layout; empty where it has none.
    pub layout: String,
    /// What it holds of an earlier attach, as it says.
    pub kept: Option<Kept>,
    /// For how long it may keep what it holds when this attach is over.
    pub keep: Duration,
    /// After how long without input the broker wants to know of it.
    pub idle: Option<Duration>,
    /// What has become of what was sent to it.
    pub delivered: Arc<Delivered>,
    /// Where messages and frames for it go.
    pub sender: UnboundedSender<ToTerminalTask>,
    /// The link itself, for what it measures; absent in tests without a network.
    pub connection: Option<Connection>,
}

/// What has become of what was sent to a terminal: the link's thread counts it for the compositor's.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Bytes of frames that have been delivered.
    pub bytes: AtomicU64,
    /// Frames that have.
    pub frames: AtomicU64,
    /// Messages that the link has taken.
    pub messages: AtomicU64,
}

/// What goes to a terminal.
#[derive(Debug)]
pub enum ToTerminalTask {
    /// A message.
    Message(ToTerminal),
    /// A frame, its content in pieces.
    Frame(FrameHeader, Vec<Bytes>),
    /// The last words.
    Bye(DetachReason),
}

/// Tells the compositor; false where it is gone.
pub type Post = Arc<dyn Fn(LinkEvent) -> bool + Send + Sync>;

/// What the links need to know.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// This session.
    pub session: SessionId,
    /// The person's name.
    pub person: String,
    /// First and last UDP port of session links.
    pub ports: (u16, u16),
    /// Name of the Wayland socket.
    pub wayland_display: String,
}

/// The links' thread.
#[derive(Debug)]
pub struct Links {
    /// What the broker is to know.
    pub broker: UnboundedSender<FromSession>,
    thread: JoinHandle<()>,
}

impl Links {
    /// Waits until last words have been said, after all senders are dropped.
    pub fn finish(self) {
        drop(self.broker);
        let _ = self.thread.join();
    }
}

/// Opens the session link and serves it and the broker until `Links::broker` is dropped.
pub fn start(options: LinkOptions, control: Option<OwnedFd>, post: Post) -> anyhow::Result<Links> {
    let identity = Identity::generate().context("make the session's key")?;
    let socket = bind(options.ports)?;
    let ready = Ready {
        pid: std::process::id(),
        uid: rustix::process::getuid().as_raw(),
        port: socket.local_addr()?.port(),
        spki_sha256: Hex(identity.pin().0),
        wayland_display: options.wayland_display.clone(),
        attached: None,
    };
    info!(port = ready.port, "the session link is open");
    let control = control.map(UnixListener::from);
    if let Some(control) = &control {
        control
            .set_nonblocking(true)
            .context("the broker's socket")?;
    }
    let (broker, words) = tokio::sync::mpsc::unbounded_channel();
    let thread = std::thread::Builder::new()
        .name("links".to_owned())
        .spawn(move || run(options, identity, socket, control, ready, words, post))
        .context("start the links' thread")?;
    Ok(Links { broker, thread })
}

#[allow(clippy::too_many_arguments)]
fn run(
    options: LinkOptions,
    identity: Identity,
    socket: UdpSocket,
    control: Option<UnixListener>,
    ready: Ready,
    words: UnboundedReceiver<FromSession>,
    post: Post,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime.context("start tokio").and_then(|runtime| {
        runtime.block_on(serve(
            options, identity, socket, control, ready, words, &post,
        ))
    });
    if let Err(error) = result {
        tracing::warn!("the session's links have failed: {error:#}");
        post(LinkEvent::End(DetachReason::SessionCrashed));
    }
}

async fn serve(
    options: LinkOptions,
    identity: Identity,
    socket: UdpSocket,
    control: Option<UnixListener>,
    ready: Ready,
    words: UnboundedReceiver<FromSession>,
    post: &Post,
) -> anyhow::Result<()> {
    let server = Server::listen(socket, &identity, Link::Session, Budget::default())?;
    let tickets = terminal::SharedTickets::default();
    let control = control
        .map(tokio::net::UnixListener::from_std)
        .transpose()?;
    let (open, mut all_closed) = tokio::sync::mpsc::channel(1);
    let door = Arc::new(terminal::Door {
        _open: open,
        session: options.session,
        person: options.person.as_str().into(),
        tickets: tickets.clone(),
        post: post.clone(),
        newest: tokio::sync::watch::Sender::new(None),
    });
    tokio::spawn(signals(post.clone()));
    tokio::spawn(person::serve(options.wayland_display.clone(), post.clone()));
    tokio::spawn(login1::serve(post.clone()));
    tokio::select! {
        () = broker::serve(control, ready, words, tickets, post) => {}
        () = terminal::accept(&server, door) => {}
    }
    // Terminals are told goodbye by their own tasks; each holds the door open until it is done.
    let _ = tokio::time::timeout(2 * GOODBYE, all_closed.recv()).await;
    let _ = tokio::time::timeout(GOODBYE, server.shutdown(CloseCode::ShuttingDown)).await;
    Ok(())
}

/// SIGTERM and SIGINT end the session as the person would.
async fn signals(post: Post) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    post(LinkEvent::End(DetachReason::SessionEnded));
}

/// Takes a free port of the range, from a place that differs between sessions.
fn bind((first, last): (u16, u16)) -> anyhow::Result<UdpSocket> {
    let count = u32::from(last.saturating_sub(first)) + 1;
    let start = std::process::id() % count;
    let mut reason = None;
    for n in 0..count {
        let port = first + ((start + n) % count) as u16;
        let both = UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, port));
        match both.or_else(|_| UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, port))) {
            Ok(socket) => return Ok(socket),
            Err(error) => reason = Some(error),
        }
    }
    match reason {
        Some(error) => bail!("no UDP port between {first} and {last} is free: {error}"),
        None => bail!("the range of ports {first}-{last} is empty"),
    }
}
