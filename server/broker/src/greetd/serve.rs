//! The task of one greeter session.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliostat_control::greetd::frame::{self, FrameReader};
use heliostat_control::greetd::{Choices, ContextAnswer, GreeterContext, Request, Response};
use heliostat_control::worker::{FromWorker, Secret};
use heliostat_wire::id::SessionId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use super::conversation::{ConnectionId, Conversation, Input, Output};
use super::delays::Delay;
use super::socket::may_log_in;

/// Connections of one greeter at once.
const MAX_CONNECTIONS: usize = 8;
/// Requests of one connection that may be unanswered. Honest greeters leave one, and send a
/// cancel behind it.
const MAX_UNANSWERED: usize = 4;
/// A greeter that takes no answer for this long is cut off.
const SEND_TIMEOUT: Duration = Duration::from_secs(4);

/// The broker's side of a PAM worker, as far as a login needs it. Dropped, it ends the worker.
pub trait LoginWorker: Send + 'static {
    /// Says what was typed. What goes wrong with it is heard next.
    fn answer(&mut self, text: Option<Secret>) -> impl Future<Output = ()> + Send;

    /// The next word. A worker that dies or hangs has [`FromWorker::Failed`], and is asked no more
    /// after it. May be dropped and called again without a word being lost.
    fn hear(&mut self) -> impl Future<Output = FromWorker> + Send;
}

/// Starts workers.
pub trait LoginWorkers: Send + 'static {
    /// What is started.
    type Worker: LoginWorker;

    /// Starts a worker that begins the login of a person with a password.
    fn start(&mut self, person: &str) -> impl Future<Output = anyhow::Result<Self::Worker>> + Send;
}

/// A greeter session, as its logins need it.
#[derive(Debug)]
pub struct Greeter {
    /// Its id.
    pub session: SessionId,
    /// Its user, who alone may connect.
    pub uid: u32,
    /// Where it connects.
    pub listener: UnixListener,
    /// What it is to show. With the sender's end the task ends.
    pub context: watch::Receiver<GreeterContext>,
    /// What logins at its terminal have to wait.
    pub delay: Delay,
}

/// What came of a login at a greeter.
#[derive(Debug)]
pub struct GreeterEvent<W> {
    /// The greeter's session.
    pub session: SessionId,
    /// What it is.
    pub outcome: Outcome<W>,
}

/// See [`GreeterEvent`].
#[derive(Debug)]
pub enum Outcome<W> {
    /// A person is logged in, and this greeter has done its duty.
    LoggedIn {
        /// Who, as PAM has it.
        person: String,
        /// The worker that has let them in, which can start their session.
        worker: W,
        /// What they chose.
        choices: Choices,
    },
    /// A login failed.
    Failed {
        /// Who it was to be.
        person: String,
        /// Why, in PAM's words.
        text: String,
    },
    /// A login was given up.
    Cancelled {
        /// Who it was to be.
        person: String,
    },
}

/// Serves a greeter until the sender of its context is dropped.
pub async fn serve<L: LoginWorkers>(
    greeter: Greeter,
    workers: L,
    out: mpsc::Sender<GreeterEvent<L::Worker>>,
) {
    let Greeter {
        session,
        uid,
        listener,
        mut context,
        delay,
    } = greeter;
    let (requests, mut asked) = mpsc::channel(MAX_CONNECTIONS);
    let shown = ContextAnswer {
        revision: 1,
        context: context.borrow_and_update().clone(),
    };
    let mut connections = Connections {
        uid,
        next: 0,
        places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        answers: HashMap::new(),
        tasks: JoinSet::new(),
        requests,
        shown: watch::Sender::new(shown),
    };
    let mut logins = Logins {
        session,
        conversation: Conversation::default(),
        delay,
        workers,
        worker: None,
        out,
    };
    loop {
        let input = tokio::select! {
            changed = context.changed() => {
                if changed.is_err() {
                    let context = context.borrow().clone();
                    drop(logins.decide(&context, Input::Gone));
                    return;
                }
                connections.show(context.borrow_and_update().clone());
                continue;
            }
            accepted = connections.accept(&listener) => {
                connections.open(accepted);
                continue;
            }
            Some(said) = asked.recv() => said.into_input(&mut connections),
            word = heard(&mut logins.worker) => {
                if matches!(word, FromWorker::Failed { .. }) {
                    logins.worker = None;
                }
                Input::Worker(word)
            }
            () = until(logins.conversation.deadline()) => Input::Tick,
        };
        let context = context.borrow().clone();
        logins.go_on(input, &context, &connections).await;
    }
}

/// What the present worker says; never comes where there is none.
async fn heard<W: LoginWorker>(worker: &mut Option<W>) -> FromWorker {
    match worker {
        Some(worker) => worker.hear().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Does what the conversation wants done.
struct Logins<L: LoginWorkers> {
    session: SessionId,
    conversation: Conversation,
    delay: Delay,
    workers: L,
    worker: Option<L::Worker>,
    out: mpsc::Sender<GreeterEvent<L::Worker>>,
}

impl<L: LoginWorkers> Logins<L> {
    async fn go_on(&mut self, input: Input, context: &GreeterContext, connections: &Connections) {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            for output in self.decide(context, next) {
                input = self.carry_out(output, connections).await.or(input);
            }
        }
    }

    /// Has the conversation take what happens; what it has to wait, the terminal has to.
    fn decide(&mut self, context: &GreeterContext, input: Input) -> Vec<Output> {
        let now = Instant::now();
        if let Some(until) = self.delay.until() {
            self.conversation.hold(until);
        }
        let outputs = self.conversation.handle(now, context, input);
        if let Some(until) = self.conversation.not_before() {
            self.delay.extend(until, now);
        }
        outputs
    }

    /// Gives out what goes wrong with it.
    async fn carry_out(&mut self, output: Output, connections: &Connections) -> Option<Input> {
        match output {
            Output::Answer(to, response) => connections.answer(to, response),
            Output::Stop => self.worker = None,
            Output::Start(person) => match self.workers.start(&person).await {
                Ok(worker) => self.worker = Some(worker),
                Err(problem) => {
                    warn!(session = %self.session, "a login cannot begin: {problem:#}");
                    let words = "The server cannot log anybody in at present.".to_owned();
                    return Some(Input::WorkerGone(words));
                }
            },
            Output::Tell(text) => {
                if let Some(worker) = &mut self.worker {
                    worker.answer(text).await;
                }
            }
            Output::Failed { person, text } => self.say(Outcome::Failed { person, text }).await,
            Output::Cancelled { person } => self.say(Outcome::Cancelled { person }).await,
            Output::LoggedIn { person, choices } => {
                if let Some(worker) = self.worker.take() {
                    let logged_in = Outcome::LoggedIn {
                        person,
                        worker,
                        choices,
                    };
                    self.say(logged_in).await;
                }
            }
        }
        None
    }

    async fn say(&self, outcome: Outcome<L::Worker>) {
        let session = self.session;
        let _ = self.out.send(GreeterEvent { session, outcome }).await;
    }
}

/// What a connection's task says.
enum Said {
    Request(ConnectionId, Request),
    Closed(ConnectionId),
}

impl Said {
    fn into_input(self, connections: &mut Connections) -> Input {
        match self {
            Self::Request(from, request) => Input::Request(from, request),
            Self::Closed(connection) => {
                connections.answers.remove(&connection);
                // Those that have ended are forgotten.
                while connections.tasks.try_join_next().is_some() {}
                Input::Closed(connection)
            }
        }
    }
}

/// The greeter's connections, each with a task.
struct Connections {
    uid: u32,
    next: ConnectionId,
    places: Arc<Semaphore>,
    answers: HashMap<ConnectionId, mpsc::Sender<Response>>,
    tasks: JoinSet<()>,
    requests: mpsc::Sender<Said>,
    shown: watch::Sender<ContextAnswer>,
}

type Accepted = (OwnedSemaphorePermit, io::Result<UnixStream>);

impl Connections {
    fn show(&self, context: GreeterContext) {
        self.shown.send_if_modified(|shown| {
            let is_new = shown.context != context;
            if is_new {
                shown.revision += 1;
                shown.context = context;
            }
            is_new
        });
    }

    /// Waits for a connection, once there is a place for one.
    async fn accept(&self, listener: &UnixListener) -> Accepted {
        let place = self.places.clone().acquire_owned().await;
        let place = place.expect("the places are never closed");
        match listener.accept().await {
            Ok((stream, _)) => (place, Ok(stream)),
            Err(problem) => {
                // Out of file descriptors, for one: it passes, and there is no event for it.
                tokio::time::sleep(Duration::from_millis(100)).await;
                (place, Err(problem))
            }
        }
    }

    fn open(&mut self, (place, stream): Accepted) {
        let checked = stream.and_then(|stream| match may_log_in(&stream, self.uid)? {
            true => Ok(stream),
            false => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        });
        let stream = match checked {
            Ok(stream) => stream,
            Err(problem) => return warn!(%problem, "a connection to a greeter's socket is refused"),
        };
        let id = self.next;
        self.next += 1;
        let (answer, answers) = mpsc::channel(MAX_UNANSWERED);
        self.answers.insert(id, answer);
        let requests = self.requests.clone();
        let shown = self.shown.subscribe();
        self.tasks.spawn(async move {
            let connection = Connection {
                id,
                stream,
                unanswered: 0,
                watching: None,
                requests: requests.clone(),
                answers,
                shown,
            };
            if let Err(problem) = connection.converse().await {
                debug!(%problem, "a greeter's connection ended");
            }
            drop(place);
            let _ = requests.send(Said::Closed(id)).await;
        });
    }

    fn answer(&self, to: ConnectionId, response: Response) {
        if let Some(answers) = self.answers.get(&to)
            && answers.try_send(response).is_err()
        {
            // It is counted how many are unanswered, so its task has ended.
            debug!(connection = to, "nobody to answer");
        }
    }
}

struct Connection {
    id: ConnectionId,
    stream: UnixStream,
    unanswered: usize,
    /// The context that the greeter has already, while it waits for another.
    watching: Option<u64>,
    requests: mpsc::Sender<Said>,
    answers: mpsc::Receiver<Response>,
    shown: watch::Receiver<ContextAnswer>,
}

impl Connection {
    async fn converse(mut self) -> anyhow::Result<()> {
        let mut reader = FrameReader::default();
        let mut bytes = Zeroizing::new(vec![0; 4096]);
        loop {
            while let Some(request) = reader.message::<Request>()? {
                self.take(request).await?;
            }
            let watching = self.watching;
            tokio::select! {
                read = self.stream.read(&mut bytes) => match read? {
                    0 => return Ok(()),
                    length => reader.push(&bytes[..length]),
                },
                Some(response) = self.answers.recv() => {
                    self.unanswered -= 1;
                    self.send(&response).await?;
                }
                changed = changed(&mut self.shown, watching) => {
                    self.watching = None;
                    self.send(&Response::HeliostatContext(changed?)).await?;
                }
            }
        }
    }

    async fn take(&mut self, request: Request) -> anyhow::Result<()> {
        if let Request::HeliostatContext { after } = request {
            anyhow::ensure!(self.watching.is_none(), "it asks for the context twice");
            // No revision is 0.
            self.watching = Some(after.unwrap_or(0));
            return Ok(());
        }
        anyhow::ensure!(
            self.unanswered < MAX_UNANSWERED,
            "it does not wait for answers"
        );
        self.unanswered += 1;
        let _ = self.requests.send(Said::Request(self.id, request)).await;
        Ok(())
    }

    async fn send(&mut self, response: &Response) -> anyhow::Result<()> {
        let bytes = frame::encode(response)?;
        tokio::time::timeout(SEND_TIMEOUT, self.stream.write_all(&bytes)).await??;
        Ok(())
    }
}

/// The context, once it is another than the one that the greeter has.
async fn changed(
    shown: &mut watch::Receiver<ContextAnswer>,
    watching: Option<u64>,
) -> anyhow::Result<ContextAnswer> {
    match watching {
        Some(has) => Ok(shown.wait_for(|shown| shown.revision != has).await?.clone()),
        None => std::future::pending().await,
    }
}
