//! Session links: one at a time matters, an older one may still be saying goodbye.
//!
//! ```text
//!   dialling ─► served ─► over
//!                 │ over TCP, and QUIC has reached the session: a spare connection, another attach
//!                 └─► hands over: says goodbye, is heard to its last word ─► the other one begins
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use heliostat_link::{
    Carrier, CloseCode, Connection, Dialer, Ended, FrameReceiver, Link, LinkError, Receiver, Sender,
};
use heliostat_wire::control::{Address, Attach, DetachReason, Host};
use heliostat_wire::id::AttachId;
use heliostat_wire::session::{ToSession, ToTerminal};
use tokio::sync::mpsc::{
    UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::spare::{Spare, look_for_quic};
use super::{Attached, Attachment};
use crate::clock::monotonic_ns;
use crate::events::{AppEvent, NetEvent, Post};

/// A session that has not answered by then is as good as none.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long last words may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long a session may take to hear what was said on a link that is handed over: what is said on
/// the other one comes after it.
const HEARING: Duration = Duration::from_secs(2);

/// How long an acknowledgement may wait for company: input that follows saves a packet of its own.
/// Well under the time of a frame, of which the session sends three before it waits for one.
const ACK_DELAY: Duration = Duration::from_millis(8);
/// The same while input comes, of which some is made for each frame: a little more than a frame.
const ACK_DELAY_IN_INPUT: Duration = Duration::from_millis(20);
/// Input this long ago says that more of it comes soon.
const INPUT_COMES: Duration = Duration::from_millis(50);

/// The session link of now.
pub struct Sessions {
    dialer: Arc<Dialer>,
    post: Post,
    attached: Attached,
    spare: Spare,
    current: Option<(AttachId, UnboundedSender<Word>)>,
    /// The way to the link whose place the present one takes, until it has.
    before: Option<WeakUnboundedSender<Word>>,
}

/// What goes to a session.
enum Word {
    Message(ToSession),
    Part(Parting),
}

/// How a link is left.
enum Parting {
    /// For this reason.
    Leave(DetachReason),
    /// For another one, which begins when this is dropped.
    HandOver(oneshot::Sender<()>),
}

impl Sessions {
    /// No session yet.
    pub(super) fn new(dialer: Arc<Dialer>, post: Post, attached: Attached) -> Self {
        Self {
            dialer,
            post,
            attached,
            spare: Spare::default(),
            current: None,
            before: None,
        }
    }

    /// Opens the link of an attach.
    pub fn join(&mut self, attach: Attach, first: ToSession, broker: Option<IpAddr>) {
        self.current = None;
        self.begin(attach, first, broker);
    }

    /// Opens the link of an attach that takes the place of the present one, which is served until
    /// then; that one is then heard to its last word first.
    pub fn change(&mut self, attach: Attach, first: ToSession, broker: Option<IpAddr>) {
        self.begin(attach, first, broker);
    }

    fn begin(&mut self, attach: Attach, first: ToSession, broker: Option<IpAddr>) {
        let (sender, words) = unbounded_channel();
        let before = self.current.replace((attach.attach_id, sender));
        self.before = before.as_ref().map(|(_, words)| words.downgrade());
        let task = Task {
            dialer: self.dialer.clone(),
            post: self.post.clone(),
            spare: self.spare.clone(),
            before: before.map(|(_, words)| words),
            words,
            held: None,
            input: None,
            _attachment: self.attached.begin(),
        };
        tokio::spawn(task.run(attach, first, broker));
    }

    /// Tells the session of an attach, if it is the present one.
    pub fn send(&self, attach: AttachId, message: ToSession) {
        self.word(attach, Word::Message(message));
    }

    /// Says goodbye, also on the link whose place that of the attach has not taken yet.
    pub fn leave(&mut self, attach: AttachId, reason: DetachReason) {
        let is_present = self.current.as_ref().is_some_and(|it| it.0 == attach);
        let before = self.before.take_if(|_| is_present);
        if let Some(before) = before.and_then(|before| before.upgrade()) {
            let _ = before.send(Word::Part(Parting::Leave(reason.clone())));
        }
        self.word(attach, Word::Part(Parting::Leave(reason)));
        self.current.take_if(|(current, _)| *current == attach);
    }

    fn word(&self, attach: AttachId, word: Word) {
        if let Some((current, sender)) = &self.current
            && *current == attach
        {
            let _ = sender.send(word);
        }
    }
}

struct Task {
    dialer: Arc<Dialer>,
    post: Post,
    spare: Spare,
    /// The way to the link whose place this one takes.
    before: Option<UnboundedSender<Word>>,
    words: UnboundedReceiver<Word>,
    /// An acknowledgement that waits for company, and until when.
    held: Option<(ToSession, Instant)>,
    /// When input was last sent.
    input: Option<Instant>,
    /// The control link stays as it is meanwhile.
    _attachment: Attachment,
}

/// How a session link ends.
enum End {
    /// The main loop asked for it, for this reason, and needs no telling.
    Left(DetachReason),
    /// The session said goodbye.
    Told(DetachReason),
    /// It failed.
    Failed(LinkError),
}

impl Task {
    async fn run(mut self, attach: Attach, first: ToSession, broker: Option<IpAddr>) {
        let id = attach.attach_id;
        let goes_back = self.before.is_some();
        let end = match self.open(&attach, &first, broker).await {
            Ok((connection, sender, receiver)) => {
                (self.post)(AppEvent::Net(NetEvent::Linked));
                let carrier = connection.carrier();
                if goes_back && carrier == Carrier::Quic {
                    let now = Instant::now().into_std();
                    self.spare.returning(|known| known.went_back(now));
                }
                let end = self.serve(id, &connection, sender, receiver).await;
                if let End::Failed(error) = &end {
                    connection.close_for(error);
                }
                if carrier == Carrier::Quic {
                    let now = Instant::now().into_std();
                    // The broker may know sooner than we that nothing passes.
                    let broke = match &end {
                        End::Failed(_) => true,
                        End::Left(reason) => *reason == DetachReason::LinkLost,
                        End::Told(_) => false,
                    };
                    self.spare.returning(|known| known.ended(now, broke));
                }
                end
            }
            Err(error) => End::Failed(error),
        };
        let (reason, why) = match end {
            End::Left(_) => return,
            End::Told(reason) => (reason, "the session said goodbye".to_owned()),
            End::Failed(error) => (reason_of(&error), error.to_string()),
        };
        (self.post)(AppEvent::Net(NetEvent::SessionEnded(id, reason, why)));
    }

    async fn open(
        &mut self,
        attach: &Attach,
        first: &ToSession,
        broker: Option<IpAddr>,
    ) -> Result<(Connection, Sender<ToSession>, Receiver<ToTerminal>), LinkError> {
        let connection = match self
            .before
            .as_ref()
            .and_then(|_| self.spare.take(attach.pin))
        {
            Some(connection) => connection,
            None => self.dial(attach, broker).await?,
        };
        let carrier = connection.carrier().as_str();
        tracing::info!(attach = %attach.attach_id, carrier, "the session link is up");
        if let Some(before) = self.before.take() {
            let (parting, heard) = oneshot::channel();
            let _ = before.send(Word::Part(Parting::HandOver(parting)));
            // It answers by dropping its end, whatever has become of it; where it is stuck, it never
            // will.
            let _ = timeout(2 * HEARING, heard).await;
        }
        let main = connection.open_main(Link::Session, first).await?;
        let (sender, receiver) = main.split();
        Ok((connection, sender, receiver))
    }

    async fn dial(&self, attach: &Attach, broker: Option<IpAddr>) -> Result<Connection, LinkError> {
        let mut last = LinkError::Protocol("the attach names no address");
        for address in attach
            .addresses
            .iter()
            .filter_map(|address| resolve(*address, broker))
        {
            let pins = [attach.pin];
            let dialled = timeout(PATIENCE, self.dialer.dial(address, Link::Session, &pins));
            match dialled.await.unwrap_or(Err(Ended::Silent.into())) {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn serve(
        &mut self,
        id: AttachId,
        connection: &Connection,
        mut sender: Sender<ToSession>,
        mut receiver: Receiver<ToTerminal>,
    ) -> End {
        let mut frames = FrameReceiver::new(connection);
        let post = self.post.clone();
        let passes = || post(AppEvent::Net(NetEvent::QuicPasses(id)));
        let look = look_for_quic(&self.dialer, connection, &self.spare, passes);
        let mut look = std::pin::pin!(look);
        loop {
            let step = tokio::select! {
                biased;
                word = self.words.recv() => match word {
                    Some(Word::Message(message)) => self.send_all(&mut sender, message).await,
                    Some(Word::Part(parting)) => return goodbye(connection, sender, parting).await,
                    None => {
                        let parting = Parting::Leave(DetachReason::LinkLost);
                        return goodbye(connection, sender, parting).await;
                    }
                },
                message = receiver.recv() => match message {
                    Ok(ToTerminal::Bye(reason)) => {
                        connection.close(CloseCode::Done, "");
                        return End::Told(reason);
                    }
                    Ok(message) => {
                        post(AppEvent::Net(NetEvent::FromSession(id, message)));
                        Ok(None)
                    }
                    Err(error) => Err(error),
                },
                () = until(self.held.as_ref().map(|held| held.1)) => {
                    self.send_held(&mut sender).await.map(|()| None)
                }
                frame = frames.next() => frame.map(|frame| {
                    post(AppEvent::Net(NetEvent::Frame(id, frame, monotonic_ns())));
                    None
                }),
                never = &mut look => match never {},
            };
            match step {
                Ok(None) => {}
                Ok(Some(parting)) => return goodbye(connection, sender, parting).await,
                Err(error) => return End::Failed(error),
            }
        }
    }

    /// Sends what waits, together. Returns the parting if one was among it.
    async fn send_all(
        &mut self,
        sender: &mut Sender<ToSession>,
        first: ToSession,
    ) -> Result<Option<Parting>, LinkError> {
        let mut goodbye = None;
        let mut next = Some(Word::Message(first));
        while let Some(word) = next {
            match word {
                Word::Message(message) => self.queue(sender, message)?,
                Word::Part(parting) => {
                    goodbye = Some(parting);
                    break;
                }
            }
            next = self.words.try_recv().ok();
        }
        sender.flush().await?;
        Ok(goodbye)
    }

    /// Queues a message, behind an acknowledgement that was held; or holds it, if it is one that
    /// may be.
    fn queue(
        &mut self,
        sender: &mut Sender<ToSession>,
        message: ToSession,
    ) -> Result<(), LinkError> {
        let now = Instant::now();
        if let Some((held, _)) = self.held.take() {
            sender.queue(&held)?;
        } else if may_be_held(&message) {
            self.held = Some((message, now + ack_delay(self.input, now)));
            return Ok(());
        }
        if matches!(message, ToSession::Input(_)) {
            self.input = Some(now);
        }
        sender.queue(&message)
    }

    async fn send_held(&mut self, sender: &mut Sender<ToSession>) -> Result<(), LinkError> {
        if let Some((held, _)) = self.held.take() {
            sender.queue(&held)?;
        }
        sender.flush().await
    }
}

/// An acknowledgement may be, but for the first of an attach, which is waited for.
fn may_be_held(message: &ToSession) -> bool {
    matches!(message, ToSession::FrameShown { serial, .. } if *serial > 1)
}

/// For how long one may be, with the last input then.
fn ack_delay(input: Option<Instant>, now: Instant) -> Duration {
    match input.is_some_and(|input| now.saturating_duration_since(input) < INPUT_COMES) {
        true => ACK_DELAY_IN_INPUT,
        false => ACK_DELAY,
    }
}

/// Waits until then; without a time, for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

async fn goodbye(connection: &Connection, mut sender: Sender<ToSession>, parting: Parting) -> End {
    let (reason, heard) = match parting {
        Parting::Leave(reason) => (reason, None),
        Parting::HandOver(heard) => (DetachReason::LinkLost, Some(heard)),
    };
    let code = match &reason {
        DetachReason::ProtocolViolation => CloseCode::ProtocolViolation,
        _ => CloseCode::Done,
    };
    let limit = match heard {
        Some(_) => HEARING,
        None => GOODBYE,
    };
    let words = async {
        sender.queue(&ToSession::Bye(reason.clone()))?;
        let finished = sender.finish().await;
        if heard.is_some() {
            // The session closes when it has read the last word, and not before.
            connection.closed().await;
        }
        finished
    };
    // A link that cannot take last words is closed without them.
    let _ = timeout(limit, words).await;
    connection.close(code, "");
    End::Left(reason)
}

fn resolve(address: Address, broker: Option<IpAddr>) -> Option<SocketAddr> {
    let ip = match address.host {
        Host::Broker => broker?,
        Host::V4(octets) => octets.into(),
        Host::V6(octets) => octets.into(),
    };
    Some((ip, address.port).into())
}

fn reason_of(error: &LinkError) -> DetachReason {
    match error {
        LinkError::Wire(_) | LinkError::Protocol(_) | LinkError::Version(_) => {
            DetachReason::ProtocolViolation
        }
        _ => DetachReason::LinkLost,
    }
}
