//! One request and its reply.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use heliostat_control::admin::{Reply, Request};
use heliostat_control::lines::{self, LineReader};

/// A broker that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the broker behind `socket`.
pub fn ask(socket: &Path, request: &Request) -> anyhow::Result<Reply> {
    let mut stream = UnixStream::connect(socket).map_err(|error| explain(socket, &error))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let sent = stream.write_all(&lines::encode(request));
    sent.map_err(|error| explain(socket, &error))?;
    let mut reader = LineReader::default();
    let mut bytes = [0; 16384];
    loop {
        let reply = reader
            .message()
            .context("the broker's answer makes no sense: is it of another version?")?;
        if let Some(reply) = reply {
            return Ok(reply);
        }
        match stream.read(&mut bytes) {
            Ok(0) => bail!(
                "the broker closed {} without an answer: only root and the admin group may ask",
                socket.display()
            ),
            Ok(length) => reader.push(&bytes[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the broker does not answer; see its log");
            }
            Err(error) => return Err(explain(socket, &error)),
        }
    }
}

fn explain(socket: &Path, error: &std::io::Error) -> anyhow::Error {
    let socket = socket.display();
    match error.kind() {
        ErrorKind::PermissionDenied => anyhow!(
            "{socket} is only for root and the admin group: use sudo, or ask to be let into the \
             group (admin_group in broker.toml)"
        ),
        ErrorKind::NotFound => anyhow!(
            "there is no {socket}: start heliostat-broker, or name its socket with --socket \
             (<run_dir>/admin.sock)"
        ),
        ErrorKind::ConnectionRefused => {
            anyhow!("nobody answers on {socket}: heliostat-broker is not running, start it again")
        }
        _ => anyhow!("cannot speak with the broker on {socket}: {error}"),
    }
}
