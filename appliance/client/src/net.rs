//! Both links, on a thread of their own: commands in, events out.

mod control;
mod returning;
mod session;
mod spare;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use heliostat_link::{Identity, KeyPin};
use heliostat_wire::control::{Attach, DetachReason, Hello, ToBroker};
use heliostat_wire::id::AttachId;
use heliostat_wire::session::ToSession;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::events::Post;

/// What the main loop asks of the links.
#[derive(Debug)]
pub enum NetCommand {
    /// Whom to connect to, and how to introduce ourselves. Replaces what was said before.
    Connect(Box<Site>),
    /// Tell the broker, if it is there.
    ToBroker(ToBroker),
    /// Open a session link.
    Join {
        /// Where and with which ticket.
        attach: Box<Attach>,
        /// The message that shows the ticket.
        first: Box<ToSession>,
    },
    /// Open the session link of an attach that takes the place of the present one, unseen.
    Change {
        /// Where and with which ticket.
        attach: Box<Attach>,
        /// The message that shows the ticket.
        first: Box<ToSession>,
    },
    /// Tell the session of this attach.
    ToSession(AttachId, ToSession),
    /// Close the session link of this attach.
    Leave(AttachId, DetachReason),
}

/// A site as a terminal needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// `HOST:PORT` of each broker, best first.
    pub brokers: Vec<String>,
    /// Keys of which a broker must prove one.
    pub pins: Vec<KeyPin>,
    /// The introduction.
    pub hello: Hello,
}

/// The way to the links' thread.
#[derive(Debug, Clone)]
pub struct Net(UnboundedSender<NetCommand>);

impl Net {
    /// Starts the thread.
    pub fn start(post: Post) -> anyhow::Result<Self> {
        let identity = Identity::generate()?;
        let (sender, commands) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || runtime.block_on(run(identity, commands, post)))?;
        Ok(Self(sender))
    }

    /// Commands that nobody carries out, for tests to look at.
    #[cfg(test)]
    pub fn detached() -> (Self, UnboundedReceiver<NetCommand>) {
        let (sender, commands) = unbounded_channel();
        (Self(sender), commands)
    }

    /// Asks for something. The thread lives as long as the process.
    pub fn command(&self, command: NetCommand) {
        let _ = self.0.send(command);
    }
}

async fn run(identity: Identity, mut commands: UnboundedReceiver<NetCommand>, post: Post) {
    let dialer = Arc::new(heliostat_link::Dialer::new(identity));
    let attached = Attached::default();
    let mut control = control::Control::new(dialer.clone(), post.clone(), attached.clone());
    let mut sessions = session::Sessions::new(dialer, post, attached);
    while let Some(command) = commands.recv().await {
        match command {
            NetCommand::Connect(site) => control.connect(*site),
            NetCommand::ToBroker(message) => control.send(message),
            NetCommand::Join { attach, first } => {
                sessions.join(*attach, *first, control.broker_address());
            }
            NetCommand::Change { attach, first } => {
                sessions.change(*attach, *first, control.broker_address());
            }
            NetCommand::ToSession(attach, message) => sessions.send(attach, message),
            NetCommand::Leave(attach, reason) => sessions.leave(attach, reason),
        }
    }
}

/// How many session links there are, or are being opened.
#[derive(Debug, Clone, Default)]
struct Attached(Arc<AtomicUsize>);

/// Held for as long as a session link lasts.
#[derive(Debug)]
struct Attachment(Attached);

impl Attached {
    fn begin(&self) -> Attachment {
        self.0.fetch_add(1, Ordering::Relaxed);
        Attachment(self.clone())
    }

    fn anybody(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
