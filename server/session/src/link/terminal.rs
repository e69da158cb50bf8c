//! Links of terminals: the ticket at the door, then messages and frames both ways.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_control::session::Expect;
use heliostat_link::{
    CloseCode, Connection, Ended, FrameSender, Handshake, Link, LinkError, Main, Receiver, Sender,
    Server,
};
use heliostat_wire::bounded::Text;
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, SessionId};
use heliostat_wire::limits::{MAX_KEEP_S, MAX_NAME};
use heliostat_wire::scene::FrameHeader;
use heliostat_wire::session::{ToSession, ToTerminal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{
    Delivered, GOODBYE, LinkEvent, NewAttach, Post, Presented, TicketError, Tickets, ToTerminalTask,
};

/// A terminal says what it wants by then.
const PATIENCE: Duration = Duration::from_secs(4);
/// A terminal may be here before the broker has announced it.
const EARLY: Duration = Duration::from_secs(1);

/// Messages of a terminal that wait for the compositor. Above them the link is not read, so that
/// the terminal waits, and not this session's memory grows.
const MAX_UNHEARD: usize = 256;
/// A terminal may have everything anew this often.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// A terminal that takes no message for this long is gone, whatever its keep-alives say.
const STUCK: Duration = Duration::from_secs(10);

/// A terminal that changes to another link comes by that within this time.
const CHANGE: Duration = Duration::from_secs(2);
/// It is heard of meanwhile as often as one that holds a key down.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// But no longer than a quick change takes: a key that was let go meanwhile would repeat.
const HEARTBEATS: usize = 4;

/// The tickets, and word of new ones.
#[derive(Debug, Default, Clone)]
pub(super) struct SharedTickets(Arc<(Mutex<Tickets>, Notify)>);

impl SharedTickets {
    pub(super) fn expect(&self, expect: Expect) {
        let (tickets, news) = &*self.0;
        let mut tickets = tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.expect(expect, Instant::now());
        news.notify_waiters();
    }

    pub(super) fn forget(&self, attach: Option<AttachId>) {
        let (tickets, _) = &*self.0;
        let mut tickets = tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.forget(attach);
    }

    /// Redeems a ticket, waiting a moment for its announcement.
    async fn redeem(&self, presented: Presented<'_>) -> Result<Expect, TicketError> {
        let (tickets, news) = &*self.0;
        let redeem = || {
            let mut tickets = tickets.lock().unwrap_or_else(PoisonError::into_inner);
            tickets.redeem(presented, Instant::now())
        };
        let announced = async {
            loop {
                let mut word = std::pin::pin!(news.notified());
                word.as_mut().enable();
                match redeem() {
                    Err(TicketError::Unknown) => word.await,
                    decided => return decided,
                }
            }
        };
        timeout(EARLY, announced)
            .await
            .unwrap_or(Err(TicketError::Unknown))
    }
}

/// What a terminal meets at the door.
pub(super) struct Door {
    pub(super) session: SessionId,
    pub(super) person: Text<MAX_NAME>,
    pub(super) tickets: SharedTickets,
    pub(super) post: Post,
    /// The attach that the compositor has heard of last.
    pub(super) newest: watch::Sender<Option<AttachId>>,
    /// Closes when the last task at this door has ended.
    pub(super) _open: tokio::sync::mpsc::Sender<()>,
}

type Streams = Main<ToTerminal, ToSession>;

/// Takes terminals as they come.
pub(super) async fn accept(server: &Server, door: Arc<Door>) {
    while let Some(handshake) = server.accept().await {
        tokio::spawn(door.clone().meet(handshake));
    }
}

impl Door {
    async fn meet(self: Arc<Self>, handshake: Handshake) {
        let address = handshake.remote_address();
        let connection = match handshake.complete().await {
            Ok(connection) => connection,
            Err(error) => return debug!(%address, "a handshake failed: {error}"),
        };
        match timeout(PATIENCE, self.let_in(&connection)).await {
            Ok(Ok(admitted)) => self.begin(connection, admitted).await,
            Ok(Err(Refusal::Ticket(error))) => {
                warn!(%address, "a terminal is refused: {error}");
                connection.close(CloseCode::TicketRefused, &error.to_string());
            }
            Ok(Err(Refusal::Link(error))) => {
                warn!(%address, "a terminal is refused: {error}");
                connection.close_for(&error);
            }
            Err(_) => connection.close(CloseCode::Timeout, "no attach in time"),
        }
    }

    async fn let_in(&self, connection: &Connection) -> Result<Admitted, Refusal> {
        let mut main: Streams = connection.accept_main(Link::Session).await?;
        let first = main.recv().await?;
        let ToSession::Attach {
            attach_id,
            ticket,
            outputs,
            capabilities,
            keyboard,
            layout,
            kept,
        } = first
        else {
            return Err(LinkError::Protocol("the first message is not an attach").into());
        };
        let presented = Presented {
            attach: attach_id,
            ticket: &ticket,
            key: connection.peer(),
        };
        let expected = self
            .tickets
            .redeem(presented)
            .await
            .map_err(Refusal::Ticket)?;
        let idle = expected.idle_s.map(|s| Duration::from_secs(s.into()));
        let terminal = expected.terminal_name;
        connection.authenticated();
        let carrier = connection.carrier().as_str();
        info!(attach = %attach_id, terminal, carrier, "attached");
        let (sender, words) = unbounded_channel();
        let delivered = Arc::new(Delivered::default());
        let attach = NewAttach {
            id: attach_id,
            terminal,
            outputs,
            capabilities,
            keyboard,
            layout: layout.to_string(),
            kept,
            keep: Duration::from_secs(u64::from(expected.keep_pixels_s.min(MAX_KEEP_S))),
            idle,
            delivered: delivered.clone(),
            sender,
            connection: Some(connection.clone()),
        };
        // The compositor starts on the first frame while the answer is on its way.
        if !(self.post)(LinkEvent::Attached(Box::new(attach))) {
            return Err(LinkError::Ended(Ended::ByUs).into());
        }
        self.newest.send_replace(Some(attach_id));
        Ok((attach_id, main, words, delivered))
    }

    /// From here on the compositor knows of the attach, so every way out tells it of the end.
    async fn begin(&self, connection: Connection, (id, mut main, words, delivered): Admitted) {
        let answer = ToTerminal::Attached {
            session: self.session,
            person: self.person.clone(),
        };
        let sent = timeout(PATIENCE, main.send(&answer)).await;
        match sent.unwrap_or(Err(Ended::Silent.into())) {
            Ok(()) => {
                self.serve(connection, (id, main, words, delivered)).await;
            }
            Err(error) => {
                connection.close_for(&error);
                (self.post)(LinkEvent::Ended(id, DetachReason::LinkLost));
            }
        }
    }

    async fn serve(&self, connection: Connection, (id, main, words, delivered): Admitted) {
        let (sender, receiver) = main.split();
        let (frames, frame_queue) = unbounded_channel();
        let sending = tokio::spawn(send_frames(
            connection.clone(),
            frame_queue,
            delivered.clone(),
        ));
        let (reason, changes) = tokio::select! {
            reason = talk(sender, words, (frames, delivered)) => {
                // Said goodbye: the terminal closes, and is closed where it does not.
                let _ = timeout(GOODBYE, connection.closed()).await;
                connection.close(CloseCode::Done, "");
                (reason, false)
            }
            heard = self.listen(id, &connection, receiver) => match heard {
                Heard::Bye(reason) => {
                    let changes = reason == DetachReason::LinkLost;
                    (reason, changes)
                }
                Heard::Broken(reason) => (reason, false),
            },
        };
        sending.abort();
        if changes {
            self.await_next(id).await;
        }
        info!(attach = %id, ?reason, "detached");
        (self.post)(LinkEvent::Ended(id, reason));
    }

    /// Waits until a terminal that has left a link, which is not broken, has come by its next one.
    /// To the compositor it has been there all the time: what it holds down stays down, unless the change
    /// takes long.
    async fn await_next(&self, id: AttachId) {
        let mut newest = self.newest.subscribe();
        let next = newest.wait_for(|newest| *newest != Some(id));
        let beats = async {
            for _ in 0..HEARTBEATS {
                (self.post)(LinkEvent::Said(id, ToSession::Heartbeat, None));
                tokio::time::sleep(HEARTBEAT).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            _ = timeout(CHANGE, next) => {}
            () = beats => {}
        }
    }

    async fn listen(
        &self,
        id: AttachId,
        connection: &Connection,
        mut receiver: Receiver<ToSession>,
    ) -> Heard {
        let unheard = Arc::new(Semaphore::new(MAX_UNHEARD));
        let mut refreshed: Option<tokio::time::Instant> = None;
        loop {
            match receiver.recv().await {
                Ok(ToSession::Bye(reason)) => {
                    // The terminal comes by its next link when this one is closed, and not before.
                    if reason == DetachReason::LinkLost {
                        (self.post)(LinkEvent::Changing(id));
                    }
                    connection.close(CloseCode::Done, "");
                    return Heard::Bye(reason);
                }
                Ok(ToSession::Attach { .. }) => {
                    let error = LinkError::Protocol("a second attach on one link");
                    connection.close_for(&error);
                    return Heard::Broken(DetachReason::ProtocolViolation);
                }
                Ok(message) => {
                    if matches!(message, ToSession::Refresh) {
                        if let Some(last) = refreshed {
                            tokio::time::sleep_until(last + REFRESH_INTERVAL).await;
                        }
                        refreshed = Some(tokio::time::Instant::now());
                    }
                    let permit = unheard.clone().acquire_owned().await.ok();
                    if !(self.post)(LinkEvent::Said(id, message, permit)) {
                        return Heard::Broken(DetachReason::SessionEnded);
                    }
                }
                Err(error) => {
                    debug!(attach = %id, "the session link is over: {error}");
                    connection.close_for(&error);
                    return Heard::Broken(match error {
                        LinkError::Wire(_) | LinkError::Protocol(_) | LinkError::Version(_) => {
                            DetachReason::ProtocolViolation
                        }
                        _ => DetachReason::LinkLost,
                    });
                }
            }
        }
    }
}

/// The attach, its main stream, what it is to be sent, and what has become of that.
type Admitted = (
    AttachId,
    Streams,
    UnboundedReceiver<ToTerminalTask>,
    Arc<Delivered>,
);

/// How a terminal has ended.
enum Heard {
    /// With these words, after all others.
    Bye(DetachReason),
    /// Without any, or in a way that it may not.
    Broken(DetachReason),
}

enum Refusal {
    Ticket(TicketError),
    Link(LinkError),
}

impl From<LinkError> for Refusal {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// Sends what the compositor has to say, until its last words.
async fn talk(
    mut sender: Sender<ToTerminal>,
    mut words: UnboundedReceiver<ToTerminalTask>,
    (frames, delivered): (UnboundedSender<(FrameHeader, Vec<Bytes>)>, Arc<Delivered>),
) -> DetachReason {
    // A compositor that goes without last words has failed.
    let mut last = DetachReason::SessionCrashed;
    while let Some(word) = words.recv().await {
        let sent = match word {
            ToTerminalTask::Frame(header, content) => {
                let _ = frames.send((header, content));
                Ok(())
            }
            ToTerminalTask::Message(message) => {
                let sent = timeout(STUCK, sender.send(&message)).await;
                delivered.messages.fetch_add(1, Ordering::Relaxed);
                sent.unwrap_or(Err(Ended::Silent.into()))
            }
            ToTerminalTask::Bye(reason) => {
                last = reason;
                break;
            }
        };
        if sent.is_err() {
            return DetachReason::LinkLost;
        }
    }
    let goodbye = async {
        sender.queue(&ToTerminal::Bye(last.clone()))?;
        sender.finish().await
    };
    // A link that cannot take last words is closed without them.
    let _ = timeout(GOODBYE, goodbye).await;
    last
}

/// Sends what comes, until the link ends. A frame that cannot be sent ends it: the next one would wait
/// for it for ever.
async fn send_frames(
    connection: Connection,
    mut queue: UnboundedReceiver<(FrameHeader, Vec<Bytes>)>,
    delivered: Arc<Delivered>,
) {
    let mut sender = FrameSender::new(&connection);
    while let Some((header, content)) = queue.recv().await {
        let bytes = content.iter().map(|piece| piece.len() as u64).sum();
        match sender.send_pieces(&header, content).await {
            Ok(sent) => {
                let delivered = delivered.clone();
                tokio::spawn(async move {
                    sent.arrived().await;
                    delivered.bytes.fetch_add(bytes, Ordering::Relaxed);
                    delivered.frames.fetch_add(1, Ordering::Relaxed);
                });
            }
            Err(error) => {
                if connection.ended().is_none() {
                    warn!("a frame cannot be sent: {error}");
                }
                return connection.close_for(&error);
            }
        }
    }
}
