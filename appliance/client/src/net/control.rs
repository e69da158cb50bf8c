//! The control link: kept up for as long as the terminal runs, whatever happens to the broker.
//!
//! ```text
//! dialling ─► welcomed ─► served ─► lost: waits, dials again
//!                ▲          │ over TCP, nobody attached, and QUIC passes again
//!                └──────────┘
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heliostat_link::{
    Backoff, Carrier, CloseCode, Connection, Dialer, Ended, Link, LinkError, Receiver, Sender,
};
use heliostat_terminal_state::Code;
use heliostat_wire::control::{ToBroker, ToTerminal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Attached, Site};
use crate::events::{AppEvent, NetEvent, Post, Tie};

/// A broker that has not welcomed us by then is as good as none.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often a control link over TCP looks whether QUIC passes.
const PROBE: Duration = Duration::from_secs(60);

/// The control link and the task that keeps it.
pub struct Control {
    dialer: Arc<Dialer>,
    post: Post,
    attached: Attached,
    task: Option<(JoinHandle<()>, UnboundedSender<ToBroker>)>,
    site: Option<Site>,
    address: Arc<Mutex<Option<IpAddr>>>,
}

impl Control {
    /// No link yet.
    pub(super) fn new(dialer: Arc<Dialer>, post: Post, attached: Attached) -> Self {
        Self {
            dialer,
            post,
            attached,
            task: None,
            site: None,
            address: Arc::default(),
        }
    }

    /// Connects to a site, from now on and for ever.
    pub fn connect(&mut self, site: Site) {
        if self.site.as_ref() == Some(&site) {
            return;
        }
        if let Some((task, _)) = self.task.take() {
            task.abort();
        }
        let (sender, messages) = unbounded_channel();
        let keeper = Keeper {
            dialer: self.dialer.clone(),
            post: self.post.clone(),
            site: site.clone(),
            address: self.address.clone(),
            attached: self.attached.clone(),
            probe: PROBE,
            messages,
        };
        self.site = Some(site);
        self.task = Some((tokio::spawn(keeper.run()), sender));
    }

    /// Tells the broker, if it is there.
    pub fn send(&self, message: ToBroker) {
        if let Some((_, sender)) = &self.task {
            let _ = sender.send(message);
        }
    }

    /// Where the broker was last reached.
    pub fn broker_address(&self) -> Option<IpAddr> {
        self.address.lock().ok().and_then(|address| *address)
    }
}

struct Keeper {
    dialer: Arc<Dialer>,
    post: Post,
    site: Site,
    address: Arc<Mutex<Option<IpAddr>>>,
    attached: Attached,
    /// How often to look whether QUIC passes.
    probe: Duration,
    messages: UnboundedReceiver<ToBroker>,
}

/// A control link that has said hello.
struct Open {
    connection: Connection,
    sender: Sender<ToBroker>,
    receiver: Receiver<ToTerminal>,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            for broker in self.site.brokers.clone() {
                let Err(error) = self.keep(&broker, &mut backoff).await;
                let (code, why) = (code_of(&error), format!("{broker}: {error}"));
                tracing::warn!(%broker, %error, "no control link");
                (self.post)(AppEvent::Net(NetEvent::ControlDown { code, why }));
            }
            let mut jitter = [0; 4];
            // Without randomness terminals merely come back at the same time.
            let _ = getrandom::fill(&mut jitter);
            let until = backoff.failed(Instant::now(), u32::from_le_bytes(jitter));
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// Connects to one broker and serves the link until it fails.
    async fn keep(&mut self, broker: &str, backoff: &mut Backoff) -> Result<Never, LinkError> {
        let mut link = self.open(broker).await?;
        loop {
            // What was meant for an earlier link is told anew by the desk.
            while self.messages.try_recv().is_ok() {}
            let welcome = link.receiver.recv().await?;
            self.welcome(welcome, &link.connection)?;
            backoff.succeeded();
            link = self.serve(link).await?;
        }
    }

    /// Passes messages both ways. Returns a better link, which has said hello, if there is one.
    async fn serve(&mut self, mut link: Open) -> Result<Open, LinkError> {
        let better = self.better(&link.connection);
        let mut better = std::pin::pin!(better);
        loop {
            tokio::select! {
                message = link.receiver.recv() => match message {
                    Ok(message) => (self.post)(AppEvent::Net(NetEvent::FromBroker(message))),
                    Err(error) => {
                        link.connection.close_for(&error);
                        return Err(error);
                    }
                },
                message = self.messages.recv() => match message {
                    Some(message) => link.sender.send(&message).await?,
                    None => {
                        link.connection.close(CloseCode::Done, "the terminal goes");
                        return Err(Ended::ByUs.into());
                    }
                },
                connection = &mut better => return self.say_hello(connection).await,
            }
        }
    }

    /// Waits for a connection that is better than `present`: by QUIC, if that is by TCP. It is made
    /// and given out only while nobody is attached, so that nobody notices the change.
    fn better(&self, present: &Connection) -> impl Future<Output = Connection> + use<> {
        let (dialer, attached) = (self.dialer.clone(), self.attached.clone());
        let (pins, every) = (self.site.pins.clone(), self.probe);
        let (carrier, broker) = (present.carrier(), present.remote_address());
        async move {
            if carrier == Carrier::Quic {
                std::future::pending::<()>().await;
            }
            loop {
                tokio::time::sleep(every).await;
                if attached.anybody() {
                    continue;
                }
                let probe = dialer.dial_over(Carrier::Quic, broker, Link::Control, &pins);
                if let Ok(Ok(connection)) = timeout(PATIENCE, probe).await
                    && !attached.anybody()
                {
                    return connection;
                }
            }
        }
    }

    async fn open(&self, broker: &str) -> Result<Open, LinkError> {
        let setup = |error: std::io::Error| LinkError::Setup(error.to_string());
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(broker)
            .await
            .map_err(setup)?
            .collect();
        let mut last = LinkError::Setup(format!("{broker} has no address"));
        for address in addresses {
            let dialled = timeout(
                PATIENCE,
                self.dialer.dial(address, Link::Control, &self.site.pins),
            );
            match dialled.await.unwrap_or(Err(Ended::Silent.into())) {
                Ok(connection) => return self.say_hello(connection).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn say_hello(&self, connection: Connection) -> Result<Open, LinkError> {
        if let Ok(mut known) = self.address.lock() {
            *known = Some(connection.remote_address().ip());
        }
        let hello = ToBroker::Hello(self.site.hello.clone());
        let main = connection.open_main(Link::Control, &hello).await?;
        let (sender, receiver) = main.split();
        Ok(Open {
            connection,
            sender,
            receiver,
        })
    }

    fn welcome(&self, message: ToTerminal, connection: &Connection) -> Result<(), LinkError> {
        match message {
            ToTerminal::Welcome {
                terminal_name,
                site,
                login,
                ..
            } => {
                let carrier = connection.carrier().as_str();
                let tie = Tie {
                    exporter: connection.exporter()?,
                    terminal: self.site.hello.terminal_id.clone(),
                };
                tracing::info!(name = %terminal_name, %site, carrier, "welcomed by the broker");
                (self.post)(AppEvent::Net(NetEvent::ControlUp {
                    terminal_name: terminal_name.to_string(),
                    site: site.to_string(),
                    login,
                    tie,
                }));
                Ok(())
            }
            ToTerminal::Refused { text, .. } => Err(LinkError::Setup(text.to_string())),
            _ => Err(LinkError::Protocol(
                "the broker did not welcome this terminal",
            )),
        }
    }
}

/// What never comes back.
enum Never {}

fn code_of(error: &LinkError) -> Code {
    match error {
        LinkError::WrongKey(_) => Code::WrongBrokerKey,
        LinkError::NoPin => Code::NoSiteKey,
        LinkError::Version(_) => Code::VersionMismatch,
        LinkError::Ended(Ended::ByPeer {
            code: CloseCode::VersionMismatch,
            ..
        }) => Code::VersionMismatch,
        _ => Code::BrokerUnreachable,
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
