//! A TCP relay between a terminal and a server that can be shut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Bytes that may wait in the relay's own sockets: it stands for a network, not for a store.
const BUFFER: u32 = 32 << 10;

#[derive(Debug)]
pub struct Gate {
    pub address: SocketAddr,
    /// Bytes that passed towards the terminal.
    passed: Arc<AtomicU64>,
    open: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    /// An open gate to `server`, at an address of the caller's; none where that is taken.
    pub async fn start(address: SocketAddr, server: SocketAddr) -> Option<Self> {
        let listener = TcpListener::bind(address).await.ok()?;
        let address = listener.local_addr().unwrap();
        let (open, is_open) = watch::channel(true);
        let passed = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn({
            let passed = passed.clone();
            async move {
                while let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(relay(near, server, is_open.clone(), passed.clone()));
                }
            }
        });
        Some(Self {
            address,
            passed,
            open,
            task,
        })
    }

    /// Lets nothing through any more, either way, or everything again.
    pub fn shut(&self, shut: bool) {
        self.open.send_replace(!shut);
    }

    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

async fn relay(
    near: TcpStream,
    server: SocketAddr,
    open: watch::Receiver<bool>,
    passed: Arc<AtomicU64>,
) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(BUFFER).unwrap();
    let Ok(far) = socket.connect(server).await else {
        return;
    };
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let uncounted = Arc::default();
    tokio::join!(
        copy(near_read, far_write, open.clone(), uncounted),
        copy(far_read, near_write, open, passed),
    );
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
    passed: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 4 << 10];
    loop {
        let Ok(length) = from.read(&mut buffer).await else {
            return;
        };
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        passed.fetch_add(length as u64, Ordering::SeqCst);
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
