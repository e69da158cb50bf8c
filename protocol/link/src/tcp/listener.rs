//! Where clients connect when they cannot by UDP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heliostat_wire::close::CloseCode;
use tokio::net::{TcpListener, TcpStream};

use super::{Connection, WeakConnection};

/// A machine without descriptors or memory is left alone this long.
const RECOVERY: Duration = Duration::from_millis(200);

/// A listening socket and the links that came through it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    links: Arc<Links>,
}

/// The links of a server, so that it can close them all.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    links: Vec<WeakConnection>,
    closed: Option<CloseCode>,
}

impl Listener {
    /// Listens at `address`. Must be called on a tokio runtime.
    pub(crate) fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpListener::from_std(socket)?,
            links: Arc::default(),
        })
    }

    /// The next client. Cancel-safe.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(arrival) => return arrival,
                Err(error) => {
                    tracing::warn!(%error, "a TCP connection could not be accepted");
                    tokio::time::sleep(RECOVERY).await;
                }
            }
        }
    }

    pub(crate) fn links(&self) -> Arc<Links> {
        self.links.clone()
    }
}

impl Links {
    /// Takes note of a link; one that comes after the end is closed at once.
    pub(crate) fn add(&self, connection: &Connection) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = open.closed {
            connection.close(code, "");
        }
        open.links.retain(|link| !link.is_over());
        open.links.push(connection.downgrade());
    }

    /// Closes all links and waits until their peers have been told.
    pub(crate) async fn close(&self, code: CloseCode) {
        let links = {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.closed = Some(code);
            std::mem::take(&mut open.links)
        };
        for link in &links {
            link.close(code);
        }
        for link in &links {
            link.over().await;
        }
    }
}
