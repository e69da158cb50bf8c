use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heliostat_control::greetd::frame::{self, FrameReader};
use heliostat_control::greetd::{ContextAnswer, GreeterContext};
use heliostat_wire::id::SessionId;
use nix::unistd::{Gid, Uid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, watch};

use super::super::conversation::AFTER_CANCEL;
use super::super::socket::{self, Folder};
use super::super::{Delay, Delays, Greeter, GreeterEvent, LoginWorker, LoginWorkers, Outcome};
use super::*;

/// A worker that asks for a password, lets in whoever says "secret" and does not come to an end
/// with "slow". For the task only: what a
/// worker really does, its own tests show.
struct Scripted {
    words: mpsc::UnboundedReceiver<FromWorker>,
    say: Option<mpsc::UnboundedSender<FromWorker>>,
    person: String,
    alive: Arc<Mutex<u32>>,
    is_slow: Arc<Notify>,
}

impl LoginWorker for Scripted {
    async fn answer(&mut self, text: Option<Secret>) {
        if text.as_ref().is_some_and(|text| text.reveal() == "slow") {
            self.is_slow.notify_one();
            return;
        }
        let say = self.say.take().expect("it asks once");
        let right = text.is_some_and(|text| text.reveal() == "secret");
        let _ = say.send(match right {
            true => authenticated(&self.person),
            false => failed("Authentication failure"),
        });
        // A worker that has let somebody in waits for its orders.
        if right {
            self.say = Some(say);
        }
    }

    async fn hear(&mut self) -> FromWorker {
        let word = self.words.recv().await;
        word.unwrap_or_else(|| failed("gone"))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        *self.alive.lock().unwrap() -= 1;
    }
}

#[derive(Clone, Default)]
struct Script {
    alive: Arc<Mutex<u32>>,
    is_slow: Arc<Notify>,
}

impl LoginWorkers for Script {
    type Worker = Scripted;

    async fn start(&mut self, person: &str) -> anyhow::Result<Scripted> {
        *self.alive.lock().unwrap() += 1;
        let (say, words) = mpsc::unbounded_channel();
        let _ = say.send(password());
        Ok(Scripted {
            words,
            say: Some(say),
            person: person.to_owned(),
            alive: self.alive.clone(),
            is_slow: self.is_slow.clone(),
        })
    }
}

struct Place {
    _folder: tempfile::TempDir,
    greeter: Folder,
    context: watch::Sender<GreeterContext>,
    events: mpsc::Receiver<GreeterEvent<Scripted>>,
    script: Script,
}

fn delay_of(delays: &Delays) -> Delay {
    delays.of(None, "desk-1".to_owned(), Instant::now())
}

impl Place {
    fn new(uid: u32) -> Self {
        Self::with(uid, delay_of(&Delays::default()))
    }

    fn with(uid: u32, delay: Delay) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = SessionId([3; 16]);
        let owner = (Uid::effective().as_raw(), Gid::effective().as_raw());
        let (listener, greeter) = socket::listen(folder.path(), session, owner).unwrap();
        let (context, receiver) = watch::channel(GreeterContext::default());
        let (out, events) = mpsc::channel(8);
        let script = Script::default();
        let served = Greeter {
            session,
            uid,
            listener,
            context: receiver,
            delay,
        };
        tokio::spawn(super::super::serve(served, script.clone(), out));
        Self {
            _folder: folder,
            greeter,
            context,
            events,
            script,
        }
    }

    fn of_ours() -> Self {
        Self::new(Uid::effective().as_raw())
    }

    async fn connect(&self) -> Client {
        Client {
            stream: UnixStream::connect(self.greeter.socket()).await.unwrap(),
            reader: FrameReader::default(),
        }
    }

    async fn outcome(&mut self) -> Outcome<Scripted> {
        within(self.events.recv()).await.unwrap().outcome
    }
}

struct Client {
    stream: UnixStream,
    reader: FrameReader,
}

impl Client {
    async fn send(&mut self, request: &Request) {
        let bytes = frame::encode(request).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn answer(&mut self) -> Option<Response> {
        loop {
            if let Some(response) = self.reader.message().unwrap() {
                return Some(response);
            }
            let mut bytes = [0; 512];
            match within(self.stream.read(&mut bytes)).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.reader.push(&bytes[..length]),
            }
        }
    }

    async fn ask(&mut self, request: Request) -> Response {
        self.send(&request).await;
        self.answer().await.expect("an answer")
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, future).await.expect("in time")
}

#[tokio::test]
async fn a_login_over_the_socket_hands_the_worker_over() {
    let mut place = Place::of_ours();
    let mut client = place.connect().await;
    let asked = message(AuthMessageType::Secret, "Password: ");
    assert_eq!(client.ask(create("ann")).await, asked);
    let error = refusal(ErrorType::AuthError, "Authentication failure");
    assert_eq!(client.ask(post("guess")).await, error);
    assert!(matches!(
        place.outcome().await,
        Outcome::Failed { person, text } if person == "ann" && text == "Authentication failure"
    ));
    assert_eq!(*place.script.alive.lock().unwrap(), 0);
    assert_eq!(client.ask(create("ann")).await, asked);
    assert_eq!(client.ask(post("secret")).await, Response::Success);
    assert_eq!(client.ask(start()).await, Response::Success);
    let Outcome::LoggedIn { person, worker, .. } = place.outcome().await else {
        panic!("not logged in");
    };
    assert_eq!(person, "ann");
    assert_eq!(*place.script.alive.lock().unwrap(), 1);
    drop(worker);
    // The greeter's end does not take the worker with it.
    drop(place.context);
    assert_eq!(client.answer().await, None);
}

#[tokio::test]
async fn a_worker_ends_with_its_greeter() {
    let place = Place::of_ours();
    let mut client = place.connect().await;
    client.ask(create("ann")).await;
    assert_eq!(*place.script.alive.lock().unwrap(), 1);
    drop(place.context);
    assert_eq!(client.answer().await, None);
    assert_eq!(*place.script.alive.lock().unwrap(), 0);
}

#[tokio::test]
async fn another_greeter_at_the_terminal_is_no_way_around_the_delay_of_pam() {
    let delays = Delays::default();
    let at = || Place::with(Uid::effective().as_raw(), delay_of(&delays));
    let first = at();
    let mut client = first.connect().await;
    client.ask(create("ann")).await;
    client.send(&post("slow")).await;
    within(first.script.is_slow.notified()).await;
    let left = Instant::now();
    drop(first.context);
    assert_eq!(client.answer().await, None);

    let asked = message(AuthMessageType::Secret, "Password: ");
    let second = at();
    let mut again = second.connect().await;
    assert_eq!(again.ask(create("ann")).await, asked);
    assert!(left.elapsed() >= AFTER_CANCEL);
}

#[tokio::test]
async fn a_context_comes_at_once_and_again_when_it_changes() {
    let place = Place::of_ours();
    let mut client = place.connect().await;
    let first = client.ask(Request::HeliostatContext { after: None }).await;
    let Response::HeliostatContext(ContextAnswer { revision, context }) = first else {
        panic!("{first:?}");
    };
    assert_eq!(context, GreeterContext::default());
    let after = Some(revision);
    client.send(&Request::HeliostatContext { after }).await;
    // The same again is no change.
    place.context.send(GreeterContext::default()).unwrap();
    place
        .context
        .send_modify(|context| context.terminal = "desk-1".to_owned());
    let Some(Response::HeliostatContext(second)) = client.answer().await else {
        panic!("no context");
    };
    assert_eq!(second.context.terminal, "desk-1");
    assert!(second.revision > revision);
}

#[tokio::test]
async fn only_the_greeters_user_is_heard() {
    let place = Place::new(Uid::effective().as_raw() + 1);
    let mut client = place.connect().await;
    // It may be closed before or after this is written.
    let bytes = frame::encode(&create("ann")).unwrap();
    let _ = client.stream.write_all(&bytes).await;
    assert_eq!(client.answer().await, None);
    assert_eq!(*place.script.alive.lock().unwrap(), 0);
}

#[tokio::test]
async fn malformed_requests_cost_the_connection_and_nothing_else() {
    let place = Place::of_ours();
    let bad: [&[u8]; 5] = [
        &u32::MAX.to_ne_bytes(),
        &[4, 0, 0, 0, b'n', b'u', b'l', b'l'],
        &[2, 0, 0, 0, b'{', b'}'],
        &[0, 0, 0, 0],
        &[1, 0, 0, 0, 0xff],
    ];
    for bytes in bad {
        let mut client = place.connect().await;
        client.stream.write_all(bytes).await.unwrap();
        assert_eq!(client.answer().await, None, "{bytes:?}");
    }
    let mut client = place.connect().await;
    let asked = message(AuthMessageType::Secret, "Password: ");
    assert_eq!(client.ask(create("ann")).await, asked);
}

#[tokio::test]
async fn a_greeter_that_does_not_wait_for_answers_is_cut_off() {
    let place = Place::of_ours();
    let mut client = place.connect().await;
    let bytes = frame::encode(&Request::CancelSession).unwrap().repeat(100);
    client.stream.write_all(&bytes).await.unwrap();
    let mut answers = 0;
    while client.answer().await.is_some() {
        answers += 1;
    }
    assert!(answers < 100);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let place = Place::of_ours();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = place.connect().await;
        assert_eq!(client.ask(Request::CancelSession).await, Response::Success);
        clients.push(client);
    }
    let mut late = place.connect().await;
    late.send(&Request::CancelSession).await;
    let quiet = tokio::time::timeout(Duration::from_millis(50), late.stream.readable());
    assert!(quiet.await.is_err());
    clients.pop();
    assert_eq!(late.answer().await, Some(Response::Success));
}

#[tokio::test]
async fn a_greeters_folder_is_the_brokers_and_goes_with_it() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::of_ours();
    let folder = place.greeter.socket().parent().unwrap().to_owned();
    assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o710);
    assert_eq!(
        place.greeter.socket().metadata().unwrap().mode() & 0o777,
        0o600
    );
    drop(place.greeter);
    assert!(!folder.exists());
}
