//! The person's own socket: what `heliostat-leave` asks for.
//!
//! It lies in their runtime folder, where only they reach it; who else does is turned away. A line
//! in, a line out.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use heliostat_control::ask::{self, Answer};
use heliostat_control::lines::{self, LineReader};
use heliostat_control::session::Ask;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use super::{LinkEvent, Post};

/// Bytes of a line.
const MAX_LINE: usize = 256;
/// Who has said nothing for this long is turned away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves the person until the session ends.
pub(super) async fn serve(wayland_display: String, post: Post) {
    let Some(path) = ask::socket_of(&wayland_display) else {
        return;
    };
    let listener = match listen(&path) {
        Ok(listener) => listener,
        Err(error) => return warn!("heliostat-leave will not work: {}: {error}", path.display()),
    };
    let _gone = Gone(path);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // One after the other: a person has one wish at a time.
                let _ = tokio::time::timeout(PATIENCE, hear(stream, &post)).await;
            }
            Err(error) => {
                warn!("the person's socket: {error}");
                // Out of descriptors, most likely; there is no event for their return.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn listen(path: &PathBuf) -> std::io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn hear(mut stream: UnixStream, post: &Post) -> std::io::Result<()> {
    let own = rustix::process::getuid().as_raw();
    if stream.peer_cred()?.uid() != own {
        warn!("somebody else has asked for something in the person's name");
        return Ok(());
    }
    let mut lines = LineReader::new(MAX_LINE);
    let mut buffer = [0; MAX_LINE];
    loop {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            return Ok(());
        }
        lines.push(&buffer[..got]);
        let answer = match lines.message::<Ask>() {
            Ok(None) => continue,
            Ok(Some(ask)) => Answer {
                done: post(LinkEvent::Asked(ask)),
                error: None,
            },
            Err(error) => Answer {
                done: false,
                error: Some(error.to_string()),
            },
        };
        return stream.write_all(&lines::encode(&answer)).await;
    }
}

/// Takes the socket away again.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
