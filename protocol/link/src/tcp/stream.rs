//! Streams of a link over TCP.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};

use super::Handle;
use super::waiters::For;
use crate::error::LinkError;
use crate::mux::{MAIN, Read};

const CLOSED: LinkError = LinkError::Protocol("the stream is closed");

/// The outgoing direction of a stream. Dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct SendStream {
    handle: Arc<Handle>,
    id: u64,
}

impl SendStream {
    pub(super) fn new(handle: Arc<Handle>, id: u64) -> Self {
        Self { handle, id }
    }

    /// Hands over some of `bytes`, waiting while there is no room. Returns how many.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        poll_fn(|cx| {
            self.poll_write(cx, |room| {
                Bytes::copy_from_slice(&bytes[..bytes.len().min(room)])
            })
        })
        .await
    }

    /// Hands over all of `parts`, without copying them.
    pub(crate) async fn write_all_chunks(&mut self, parts: &mut [Bytes]) -> Result<(), LinkError> {
        for part in parts {
            while part.has_remaining() {
                poll_fn(|cx| self.poll_write(cx, |room| part.split_to(part.len().min(room))))
                    .await?;
            }
        }
        Ok(())
    }

    fn poll_write(
        &self,
        cx: &Context<'_>,
        take: impl FnOnce(usize) -> Bytes,
    ) -> Poll<Result<usize, LinkError>> {
        let mut state = self.handle.shared.state();
        if let Some(ended) = &state.ended {
            return Poll::Ready(Err(ended.clone().into()));
        }
        match state.mux.room(self.id) {
            None => Poll::Ready(Err(CLOSED)),
            Some(0) => {
                state.waiters.wait(For::Room, cx);
                Poll::Pending
            }
            Some(room) => {
                let bytes = take(room);
                let written = bytes.len();
                state.mux.write(self.id, bytes);
                state.wake_driver();
                Poll::Ready(Ok(written))
            }
        }
    }

    /// Ends the stream behind what was written.
    pub(crate) fn finish(&mut self) -> Result<(), LinkError> {
        let mut state = self.handle.shared.state();
        if let Some(ended) = &state.ended {
            return Err(ended.clone().into());
        }
        state.mux.finish(self.id);
        state.wake_driver();
        Ok(())
    }

    /// Waits until the peer has all of the main stream, which was finished.
    pub(crate) async fn delivered(&mut self) -> Result<(), LinkError> {
        debug_assert_eq!(self.id, MAIN);
        poll_fn(|cx| {
            let mut state = self.handle.shared.state();
            if state.mux.main_is_delivered() {
                return Poll::Ready(Ok(()));
            }
            if let Some(ended) = &state.ended {
                return Poll::Ready(Err(ended.clone().into()));
            }
            state.waiters.wait(For::MainDelivered, cx);
            Poll::Pending
        })
        .await
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// The incoming direction of a stream. Dropping it drops what still comes.
#[derive(Debug)]
pub(crate) struct ReceiveStream {
    handle: Arc<Handle>,
    id: u64,
}

impl ReceiveStream {
    pub(super) fn new(handle: Arc<Handle>, id: u64) -> Self {
        Self { handle, id }
    }

    /// The next bytes, at most `max`; none at the end of the stream. Cancel-safe.
    pub(crate) async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, LinkError> {
        poll_fn(|cx| self.poll_chunk(cx, max)).await
    }

    /// As [`ReceiveStream::read_chunk`], into `buffer`; 0 at the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, LinkError>> {
        let read = self.poll_chunk(cx, buffer.len());
        read.map_ok(|bytes| {
            let bytes = bytes.unwrap_or_default();
            buffer[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        })
    }

    fn poll_chunk(
        &mut self,
        cx: &Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, LinkError>> {
        let mut state = self.handle.shared.state();
        match state.mux.read(self.id, max) {
            // Reading makes room, of which the peer may have to be told.
            Read::Data(bytes) => {
                state.wake_driver_for_credit();
                Poll::Ready(Ok(Some(bytes)))
            }
            Read::End => {
                state.wake_driver_for_credit();
                Poll::Ready(Ok(None))
            }
            Read::Abandoned => {
                state.wake_driver_for_credit();
                Poll::Ready(Err(LinkError::Protocol("the peer abandoned a stream")))
            }
            Read::Pending => match &state.ended {
                Some(ended) => Poll::Ready(Err(ended.clone().into())),
                None => {
                    state.waiters.wait(For::Read(self.id), cx);
                    Poll::Pending
                }
            },
        }
    }
}

impl Drop for ReceiveStream {
    fn drop(&mut self) {
        let mut state = self.handle.shared.state();
        state.mux.discard(self.id);
        state.wake_driver_for_credit();
    }
}
