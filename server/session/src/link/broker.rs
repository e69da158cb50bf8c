//! The broker's socket: the newest connection wins, each begins with `Ready`.

use std::convert::Infallible;

use heliostat_control::lines::{self, LineReader};
use heliostat_control::session::{Attached, FromSession, Ready, ToSession};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{info, warn};

use super::terminal::SharedTickets;
use super::{LinkEvent, Post};

/// Bytes of one line from the broker.
const MAX_LINE: usize = 64 << 10;

/// Serves the broker until the compositor has no more words for it.
pub(super) async fn serve(
    control: Option<UnixListener>,
    mut ready: Ready,
    mut words: UnboundedReceiver<FromSession>,
    tickets: SharedTickets,
    post: &Post,
) {
    let mut broker: Option<(OwnedWriteHalf, tokio::task::JoinHandle<()>)> = None;
    loop {
        tokio::select! {
            stream = next(control.as_ref()) => {
                if let Some((_, reading)) = broker.take() {
                    reading.abort();
                }
                broker = greet(stream, &ready, &tickets, post).await;
            }
            word = words.recv() => {
                let Some(word) = word else { return };
                remember(&mut ready, &word);
                if let Some((writer, _)) = &mut broker
                    && writer.write_all(&lines::encode(&word)).await.is_err()
                {
                    broker = None;
                }
            }
        }
    }
}

async fn next(control: Option<&UnixListener>) -> UnixStream {
    let Some(control) = control else {
        return std::future::pending().await;
    };
    loop {
        match control.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                warn!("the broker's socket: {error}");
                // Out of descriptors, most likely; there is no event for their return.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

async fn greet(
    stream: UnixStream,
    ready: &Ready,
    tickets: &SharedTickets,
    post: &Post,
) -> Option<(OwnedWriteHalf, tokio::task::JoinHandle<()>)> {
    info!("the broker has connected");
    let (reader, mut writer) = stream.into_split();
    let line = lines::encode(&FromSession::Ready(ready.clone()));
    writer.write_all(&line).await.ok()?;
    let (tickets, post) = (tickets.clone(), post.clone());
    let reading = tokio::spawn(async move {
        let Err(why) = read(reader, tickets, post).await;
        info!("the broker has gone: {why}");
    });
    Some((writer, reading))
}

async fn read(
    mut reader: OwnedReadHalf,
    tickets: SharedTickets,
    post: Post,
) -> Result<Infallible, String> {
    let mut lines = LineReader::new(MAX_LINE);
    let mut buffer = [0; 4096];
    loop {
        let got = reader
            .read(&mut buffer)
            .await
            .map_err(|error| error.to_string())?;
        if got == 0 {
            return Err("it closed the connection".to_owned());
        }
        lines.push(&buffer[..got]);
        while let Some(message) = lines
            .message::<ToSession>()
            .map_err(|error| error.to_string())?
        {
            match message {
                ToSession::Expect(expect) => tickets.expect(expect),
                ToSession::Detach { attach_id, reason } => {
                    tickets.forget(attach_id);
                    post(LinkEvent::Detach(attach_id, reason));
                }
                ToSession::End { reason } => {
                    tickets.forget(None);
                    post(LinkEvent::End(reason));
                }
                ToSession::Stats => {
                    post(LinkEvent::Stats);
                }
            }
        }
    }
}

/// Keeps `ready` true, for the next broker.
fn remember(ready: &mut Ready, word: &FromSession) {
    match word {
        FromSession::Attached(attached) => ready.attached = Some(attached.clone()),
        FromSession::Detached { attach_id, .. } => {
            let is_it = |attached: &mut Attached| attached.attach_id == *attach_id;
            ready.attached.take_if(is_it);
        }
        _ => {}
    }
}
