//! One request and its reply.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use heliostat_control::admin::{Reply, Request};
use heliostat_control::lines::{self, LineReader};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The broker, as this program reaches it.
#[derive(Debug, Clone, Copy)]
pub struct Broker<'a> {
    /// Its admin socket.
    pub socket: &'a Path,
    /// How long an answer is waited for.
    pub patience: Duration,
}

/// Asks the broker.
pub fn ask(broker: Broker<'_>, request: &Request) -> anyhow::Result<Reply> {
    let Broker { socket, patience } = broker;
    let explain = |error: std::io::Error| explain(broker, &error);
    let mut stream = connect(broker).map_err(explain)?;
    let deadline = Instant::now() + patience;
    let sent = stream.write_all(&lines::encode(request));
    sent.map_err(explain)?;
    let mut reader = LineReader::default();
    let mut bytes = [0; 16384];
    loop {
        let reply = reader
            .message()
            .context("the broker's answer makes no sense: is it of another version?")?;
        if let Some(reply) = reply {
            return Ok(reply);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // No time at all would mean for ever.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut bytes) {
            Ok(0) => bail!(
                "the broker closed {} without an answer: only root and the admin group may ask",
                socket.display()
            ),
            Ok(_) if left.is_zero() => return Err(silent(patience)),
            Ok(length) => reader.push(&bytes[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(silent(patience));
            }
            Err(error) => return Err(explain(error)),
        }
    }
}

/// Connects, and waits no longer than for an answer where too many others wait already.
fn connect(broker: Broker<'_>) -> std::io::Result<UnixStream> {
    let address = SocketAddrUnix::new(broker.socket)?;
    let end = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // For connecting as well as for writing.
    set_socket_timeout(&end, Timeout::Send, Some(broker.patience))?;
    rustix::net::connect(&end, &address)?;
    Ok(UnixStream::from(end))
}

fn silent(patience: Duration) -> anyhow::Error {
    anyhow!(
        "the broker does not answer within {} s; see its log (journalctl -u heliostat-broker)",
        patience.as_secs_f64()
    )
}

fn explain(broker: Broker<'_>, error: &std::io::Error) -> anyhow::Error {
    let socket = broker.socket.display();
    match error.kind() {
        ErrorKind::PermissionDenied => anyhow!(
            "{socket} is only for root and the admin group: use sudo, or ask to be let into the \
             group (admin_group in broker.toml)"
        ),
        ErrorKind::NotFound => anyhow!(
            "there is no {socket}: start heliostat-broker, or name its socket with --socket \
             (<run_dir>/admin.sock)"
        ),
        ErrorKind::WouldBlock => silent(broker.patience),
        ErrorKind::ConnectionRefused => {
            anyhow!("nobody answers on {socket}: heliostat-broker is not running, start it again")
        }
        _ => anyhow!("cannot speak with the broker on {socket}: {error}"),
    }
}
