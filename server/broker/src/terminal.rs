//! One task for each control link: it speaks with the terminal and hears the hub.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use heliostat_link::{CloseCode, Connection, Handshake, Link, LinkError, Main, Sender, Server};
use heliostat_wire::control::{Hello, ToBroker, ToTerminal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::allowance::Allowance;
use crate::directory::{Event, LinkId};
use crate::hub::{Incoming, ToHub};
use crate::network::Network;

/// A terminal that has not said hello after this time is let go.
const HELLO_TIMEOUT: Duration = Duration::from_secs(4);
/// A terminal that takes no message for this long is let go.
const SEND_TIMEOUT: Duration = Duration::from_secs(4);
/// How long last words may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Messages that may wait for a terminal.
const MAX_WAITING: usize = 64;
/// Control links at once, of one network, and of one address. A network of IPv6 has all the addresses
/// that it likes, but a large site's terminals may well be in one.
const MAX_LINKS: usize = 2048;
const MAX_LINKS_OF_NETWORK: usize = MAX_LINKS / 4 * 3;
const MAX_LINKS_EACH: usize = 128;

/// From the hub to a link's task.
#[derive(Debug)]
pub enum ToLink {
    /// Send this.
    Message(ToTerminal),
    /// Send what waits, then close.
    Close(CloseCode, String),
}

/// Accepts control links until the server is shut down.
pub async fn accept(server: Arc<Server>, hub: ToHub) {
    let places = Arc::new(Places::default());
    let numbers = AtomicU64::new(1);
    while let Some(handshake) = server.accept().await {
        let Some(place) = Place::take(&places, handshake.remote_address().ip()) else {
            continue;
        };
        let link = LinkId(numbers.fetch_add(1, Ordering::Relaxed));
        let hub = hub.clone();
        tokio::spawn(async move {
            serve(handshake, link, hub).await;
            drop(place);
        });
    }
}

/// How many links each address has.
type Places = Mutex<HashMap<IpAddr, usize>>;

/// One link's place, given up when dropped.
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Place {
    fn take(places: &Arc<Places>, address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        let network = Network::of(address);
        let mut taken = places.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut all, mut near) = (0, 0);
        for (other, links) in taken.iter() {
            all += links;
            if Network::of(*other) == network {
                near += links;
            }
        }
        let own = taken.get(&address).copied().unwrap_or(0);
        if all >= MAX_LINKS || near >= MAX_LINKS_OF_NETWORK || own >= MAX_LINKS_EACH {
            return None;
        }
        taken.insert(address, own + 1);
        Some(Self {
            places: places.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

async fn serve(handshake: Handshake, link: LinkId, hub: ToHub) {
    let address = handshake.remote_address();
    let connection = match handshake.complete().await {
        Ok(connection) => connection,
        Err(error) => return debug!(%address, %error, "no handshake"),
    };
    match greet(&connection).await {
        Ok((main, hello)) => {
            let (id, carrier) = (hello.terminal_id.as_str(), connection.carrier().as_str());
            info!(%address, id, carrier, "a terminal says hello");
            converse(&connection, main, hello, link, &hub).await;
        }
        Err(error) => {
            info!(%address, %error, "a terminal was not let in");
            connection.close_for(&error);
        }
    }
}

type Control = Main<ToTerminal, ToBroker>;

async fn greet(connection: &Connection) -> Result<(Control, Hello), LinkError> {
    let hello = async {
        let mut main: Control = connection.accept_main(Link::Control).await?;
        match main.recv().await? {
            ToBroker::Hello(hello) => Ok((main, hello)),
            _ => Err(LinkError::Protocol("a terminal says hello first")),
        }
    };
    let greeted = timeout(HELLO_TIMEOUT, hello).await;
    let greeted = greeted.map_err(|_| LinkError::Protocol("the terminal did not say hello"))??;
    // Anybody can say hello with a key of their own, so nobody gets their budget back for it.
    connection.greeted();
    Ok(greeted)
}

async fn converse(connection: &Connection, main: Control, hello: Hello, link: LinkId, hub: &ToHub) {
    let (to_link, orders) = mpsc::channel(MAX_WAITING);
    let exporter = match connection.exporter() {
        Ok(exporter) => exporter,
        Err(error) => return connection.close_for(&error),
    };
    let hello = Event::Hello {
        link,
        key: connection.peer(),
        address: connection.remote_address(),
        exporter,
        hello,
    };
    if hub
        .send(Incoming::Link(link, to_link, hello))
        .await
        .is_err()
    {
        return;
    }
    match relay(connection, main, orders, link, hub).await {
        Ok(()) => {}
        Err(error) => {
            debug!(link = link.0, %error, "control link over");
            connection.close_for(&error);
        }
    }
    let _ = hub.send(Incoming::Event(Event::LinkDown { link })).await;
}

/// Passes messages both ways until either side ends it.
async fn relay(
    connection: &Connection,
    main: Control,
    mut orders: mpsc::Receiver<ToLink>,
    link: LinkId,
    hub: &ToHub,
) -> Result<(), LinkError> {
    let (mut sender, mut receiver) = main.split();
    let mut allowance = Allowance::new(Instant::now());
    loop {
        tokio::select! {
            message = receiver.recv() => {
                let message = message?;
                if !allowance.spend(Instant::now()) {
                    return Err(LinkError::Protocol("the terminal says too much"));
                }
                let _ = hub.send(Incoming::Event(Event::Terminal { link, message })).await;
            }
            order = orders.recv() => match order {
                Some(ToLink::Message(message)) => send(&mut sender, &message).await?,
                Some(ToLink::Close(code, text)) => {
                    let _ = timeout(FAREWELL, sender.finish()).await;
                    connection.close(code, &text);
                    return Ok(());
                }
                // The hub has given this link up.
                None => {
                    connection.close(CloseCode::Timeout, "messages were not taken");
                    return Ok(());
                }
            },
        }
    }
}

async fn send(sender: &mut Sender<ToTerminal>, message: &ToTerminal) -> Result<(), LinkError> {
    match timeout(SEND_TIMEOUT, sender.send(message)).await {
        Ok(sent) => sent,
        Err(_) => Err(LinkError::Backlog(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_have_all_links() {
        let places = Arc::new(Places::default());
        let take = |host: u8| Place::take(&places, IpAddr::from([10, 0, 0, host]));
        let mut greedy: Vec<_> = (0..200).map_while(|_| take(1)).collect();
        assert_eq!(greedy.len(), MAX_LINKS_EACH);
        assert!(take(2).is_some());
        greedy.pop();
        assert!(take(1).is_some());
        drop(greedy);
        assert!(places.lock().unwrap().is_empty());
    }

    #[test]
    fn one_network_cannot_have_all_links_with_an_address_for_each() {
        let places = Arc::new(Places::default());
        let take = |address: &str| Place::take(&places, address.parse().unwrap());
        let of_one = |n| take(&format!("2001:db8:1:2::{n:x}"));
        let mut greedy: Vec<_> = (0..2 * MAX_LINKS).map_while(of_one).collect();
        assert_eq!(greedy.len(), MAX_LINKS_OF_NETWORK);
        assert!(take("2001:db8:1:3::1").is_some());
        assert!(take("192.0.2.7").is_some());
        greedy.pop();
        assert!(of_one(1).is_some());
        // An address of IPv4 is itself, however it is written.
        let mapped: Vec<_> = (0..MAX_LINKS_EACH)
            .map_while(|_| take("::ffff:192.0.2.7"))
            .collect();
        assert_eq!(mapped.len(), MAX_LINKS_EACH);
        assert!(take("192.0.2.7").is_none());
        assert!(take("::ffff:192.0.2.8").is_some());
        drop((greedy, mapped));
        assert!(places.lock().unwrap().is_empty());
    }
}
