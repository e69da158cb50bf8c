//! One set of streams, whatever carries them: QUIC, or ours over TCP.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::copies::Copies;
use crate::error::LinkError;
use crate::tcp;
use crate::transport::priority;

const CLOSED: LinkError = LinkError::Protocol("the stream is closed");

/// The streams of a link.
#[derive(Debug, Clone)]
pub(crate) enum Streams {
    Quic(quinn::Connection, Copies),
    Tcp(tcp::Connection),
}

impl Streams {
    pub(crate) async fn open_main(&self) -> Result<(SendStream, ReceiveStream), LinkError> {
        match self {
            Self::Quic(quic, _) => main_of_quic(quic.open_bi().await?),
            Self::Tcp(tcp) => Ok(main_of_tcp(tcp.open_main()?)),
        }
    }

    pub(crate) async fn accept_main(&self) -> Result<(SendStream, ReceiveStream), LinkError> {
        match self {
            Self::Quic(quic, _) => main_of_quic(quic.accept_bi().await?),
            Self::Tcp(tcp) => Ok(main_of_tcp(tcp.accept_main().await?)),
        }
    }

    pub(crate) async fn open_uni(&self, priority: i32) -> Result<SendStream, LinkError> {
        match self {
            Self::Quic(quic, _) => {
                let stream = quic.open_uni().await?;
                let rank = rank(priority, stream.id().index());
                stream.set_priority(rank).map_err(|_| CLOSED)?;
                Ok(SendStream::Quic(stream))
            }
            Self::Tcp(tcp) => Ok(SendStream::Tcp(tcp.open_uni(priority).await?)),
        }
    }

    pub(crate) async fn accept_uni(&self) -> Result<ReceiveStream, LinkError> {
        match self {
            Self::Quic(quic, _) => Ok(ReceiveStream::Quic(quic.accept_uni().await?)),
            Self::Tcp(tcp) => Ok(ReceiveStream::Tcp(tcp.accept_uni().await?)),
        }
    }

    /// What is sent twice, where a carrier can lose something: over TCP nothing is.
    pub(crate) fn copies(&self) -> Option<&Copies> {
        match self {
            Self::Quic(_, copies) => Some(copies),
            Self::Tcp(_) => None,
        }
    }
}

/// Streams of one priority that quinn tells apart.
const RANKS: i32 = 1 << 24;

/// quinn's own priority of the stream with this number: among equals the older one is sent first.
/// Without that quinn either takes turns, or lets nothing overtake a stream that has begun, not even
/// one of a higher priority (`send_fairness`).
fn rank(priority: i32, number: u64) -> i32 {
    let age = (number % u64::from(RANKS.unsigned_abs())) as i32;
    priority.saturating_mul(RANKS).saturating_sub(age)
}

fn main_of_quic(
    (send, receive): (quinn::SendStream, quinn::RecvStream),
) -> Result<(SendStream, ReceiveStream), LinkError> {
    send.set_priority(rank(priority::MAIN, 0))
        .map_err(|_| CLOSED)?;
    Ok((SendStream::Quic(send), ReceiveStream::Quic(receive)))
}

fn main_of_tcp(
    (send, receive): (tcp::SendStream, tcp::ReceiveStream),
) -> (SendStream, ReceiveStream) {
    (SendStream::Tcp(send), ReceiveStream::Tcp(receive))
}

/// The outgoing direction of a stream. Dropping it ends the stream.
#[derive(Debug)]
pub(crate) enum SendStream {
    Quic(quinn::SendStream),
    Tcp(tcp::SendStream),
}

impl SendStream {
    /// Hands over some of `bytes`, waiting while there is no room. Returns how many. Cancel-safe.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        match self {
            Self::Quic(stream) => Ok(stream.write(bytes).await?),
            Self::Tcp(stream) => stream.write(bytes).await,
        }
    }

    /// Hands over all of `parts`, without copying them.
    pub(crate) async fn write_all_chunks(&mut self, parts: &mut [Bytes]) -> Result<(), LinkError> {
        match self {
            Self::Quic(stream) => Ok(stream.write_all_chunks(parts).await?),
            Self::Tcp(stream) => stream.write_all_chunks(parts).await,
        }
    }

    /// Ends the stream behind what was written.
    pub(crate) fn finish(&mut self) -> Result<(), LinkError> {
        match self {
            Self::Quic(stream) => stream.finish().map_err(|_| CLOSED),
            Self::Tcp(stream) => stream.finish(),
        }
    }

    /// Waits until the peer has all of this stream, which was finished, or the link is over; does
    /// not wait over TCP.
    pub(crate) async fn arrived(self) {
        match self {
            Self::Quic(stream) => drop(stream.stopped().await),
            Self::Tcp(_) => {}
        }
    }

    /// Waits until the peer has all of the main stream, which was finished.
    pub(crate) async fn delivered(&mut self) -> Result<(), LinkError> {
        match self {
            Self::Quic(stream) => match stream.stopped().await {
                Ok(_) => Ok(()),
                Err(quinn::StoppedError::ConnectionLost(lost)) => Err(lost.into()),
                Err(_) => Err(CLOSED),
            },
            Self::Tcp(stream) => stream.delivered().await,
        }
    }
}

/// The incoming direction of a stream.
#[derive(Debug)]
pub(crate) enum ReceiveStream {
    Quic(quinn::RecvStream),
    Tcp(tcp::ReceiveStream),
}

impl ReceiveStream {
    /// The next bytes, at most `max`; none at the end of the stream. Cancel-safe.
    pub(crate) async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, LinkError> {
        match self {
            Self::Quic(stream) => {
                let chunk = stream.read_chunk(max, true).await?;
                Ok(chunk.map(|chunk| chunk.bytes))
            }
            Self::Tcp(stream) => stream.read_chunk(max).await,
        }
    }

    /// As [`ReceiveStream::read_chunk`], into `buffer`; 0 at the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, LinkError>> {
        match self {
            Self::Quic(stream) => stream.poll_read(cx, buffer).map_err(LinkError::from),
            Self::Tcp(stream) => stream.poll_read(cx, buffer),
        }
    }
}
