//! The control link: kept up for as long as the terminal runs, whatever happens to the broker.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heliostat_link::{
    Backoff, CloseCode, Connection, Dialer, Ended, Link, LinkError, Receiver, Sender,
};
use heliostat_terminal_state::Code;
use heliostat_wire::control::{ToBroker, ToTerminal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Site;
use crate::events::{AppEvent, NetEvent, Post};

/// A broker that has not welcomed us by then is as good as none.
const PATIENCE: Duration = Duration::from_secs(4);

/// The control link and the task that keeps it.
pub struct Control {
    dialer: Arc<Dialer>,
    post: Post,
    task: Option<(JoinHandle<()>, UnboundedSender<ToBroker>)>,
    site: Option<Site>,
    address: Arc<Mutex<Option<IpAddr>>>,
}

impl Control {
    /// No link yet.
    pub fn new(dialer: Arc<Dialer>, post: Post) -> Self {
        Self {
            dialer,
            post,
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
    messages: UnboundedReceiver<ToBroker>,
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
        let (connection, mut sender, mut receiver) = self.open(broker).await?;
        // What was meant for an earlier link is told anew by the desk.
        while self.messages.try_recv().is_ok() {}
        let welcome = receiver.recv().await?;
        self.welcome(welcome)?;
        backoff.succeeded();
        loop {
            tokio::select! {
                message = receiver.recv() => match message {
                    Ok(message) => (self.post)(AppEvent::Net(NetEvent::FromBroker(message))),
                    Err(error) => {
                        connection.close_for(&error);
                        return Err(error);
                    }
                },
                message = self.messages.recv() => match message {
                    Some(message) => sender.send(&message).await?,
                    None => {
                        connection.close(CloseCode::Done, "the terminal goes");
                        return Err(Ended::ByUs.into());
                    }
                },
            }
        }
    }

    async fn open(
        &self,
        broker: &str,
    ) -> Result<(Connection, Sender<ToBroker>, Receiver<ToTerminal>), LinkError> {
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
                Ok(connection) => {
                    if let Ok(mut known) = self.address.lock() {
                        *known = Some(connection.remote_address().ip());
                    }
                    let hello = ToBroker::Hello(self.site.hello.clone());
                    let main = connection.open_main(Link::Control, &hello).await?;
                    let (sender, receiver) = main.split();
                    return Ok((connection, sender, receiver));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn welcome(&self, message: ToTerminal) -> Result<(), LinkError> {
        match message {
            ToTerminal::Welcome {
                terminal_name,
                site,
                ..
            } => {
                tracing::info!(name = %terminal_name, %site, "welcomed by the broker");
                (self.post)(AppEvent::Net(NetEvent::ControlUp {
                    terminal_name: terminal_name.to_string(),
                    site: site.to_string(),
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
