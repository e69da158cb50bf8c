//! One task for each session: it watches the process and speaks over its socket.
//!
//! ```text
//! start: worker ─► process ─┐
//! adopt: process ───────────┴► connect ─► Ready ─► lines both ways ─► gone
//!                                  ▲                      │ socket lost, process alive
//!                                  └──────────────────────┘
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliostat_control::lines::{self, LineReader};
use heliostat_control::session::{FromSession, ToSession};
use heliostat_control::worker::FromWorker;
use heliostat_wire::id::SessionId;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::allowance::Allowance;
use crate::directory::{Event, Gone, Owner};
use crate::hub::{Incoming, ToHub};
use crate::launcher::{Launcher, StartOrder};
use crate::logins::Greeting;
use crate::process::Process;
use crate::speaker;
use crate::worker::{self, Worker};

/// Bytes of a line from a session, which is not trusted.
const MAX_LINE: usize = 64 << 10;
/// A session that takes no order for this long is connected to anew.
const SEND_TIMEOUT: Duration = Duration::from_secs(4);
/// How long to wait before connecting again.
const AGAIN: Duration = Duration::from_millis(500);

/// How long a start that was called off may take to come to its end.
const CALLED_OFF: Duration = Duration::from_secs(5);

/// What the hub asks for.
#[derive(Debug)]
pub enum Order {
    /// Send this.
    Say(ToSession),
    /// End the process.
    Kill,
}

/// Starts a session and stays with it to its end. A greeter is served meanwhile.
pub async fn start(
    order: StartOrder,
    greeting: Option<Greeting>,
    launcher: Arc<Launcher>,
    mut inbox: mpsc::Receiver<Order>,
    hub: ToHub,
) {
    let id = order.session;
    let begun = begin(order, greeting, &launcher, &mut inbox).await;
    let how = match begun {
        Err(how) => how,
        Ok((worker, owner)) => {
            let started = Event::SessionStarted {
                session: id,
                pid: owner.pid,
                uid: owner.uid,
            };
            let _ = hub.send(Incoming::Event(started)).await;
            accompany(id, &owner, &launcher, inbox, &hub).await;
            ended(worker, &launcher, id).await
        }
    };
    finish(id, launcher, how, hub).await;
}

/// Starts a session, unless it is called off; what has begun by then is seen to its end.
async fn begin(
    order: StartOrder,
    greeting: Option<Greeting>,
    launcher: &Launcher,
    inbox: &mut mpsc::Receiver<Order>,
) -> Result<(Worker, Owner), Gone> {
    let id = order.session;
    let starting = async {
        let order = introduced(order, greeting, launcher).await;
        let order = order.map_err(|error| {
            warn!(session = %id, "a session cannot be started: {error:#}");
            Gone::NotStarted(format!("{error:#}"))
        })?;
        launcher.start(order).await
    };
    let mut starting = std::pin::pin!(starting);
    tokio::select! {
        biased;
        begun = &mut starting => return begun,
        () = called_off(inbox) => {}
    }
    // A worker that hangs in PAM ends with what waits for it here.
    let begun = tokio::time::timeout(CALLED_OFF, starting).await;
    let called_off = Gone::NotStarted("it was called off".to_owned());
    let (worker, owner) = begun.map_err(|_| called_off)??;
    if let Ok(process) = Process::watch(owner.pid) {
        process.kill();
    }
    Ok((worker, owner))
}

/// The order with what only the name service knows: as whom the session runs, and where its greeter
/// logs people in.
async fn introduced(
    mut order: StartOrder,
    greeting: Option<Greeting>,
    launcher: &Launcher,
) -> anyhow::Result<StartOrder> {
    if order.own_uid {
        order.uid = launcher.own_uid(order.session).await?;
    }
    if let Some(greeting) = greeting {
        let socket = greeting.serve(&order, launcher.run_dir()).await?;
        let socket = socket.to_string_lossy().into_owned();
        order.environment.push(("GREETD_SOCK".to_owned(), socket));
    }
    Ok(order)
}

/// Resolves when a session is not wanted any more that does not run yet.
async fn called_off(inbox: &mut mpsc::Receiver<Order>) {
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Kill => return,
            // What matters is said again when the session has introduced itself.
            Order::Say(message) => debug!(?message, "nobody to say it to yet"),
        }
    }
    std::future::pending().await
}

/// Takes up a running session and stays with it to its end.
pub async fn adopt(
    id: SessionId,
    owner: Owner,
    launcher: Arc<Launcher>,
    inbox: mpsc::Receiver<Order>,
    hub: ToHub,
) {
    accompany(id, &owner, &launcher, inbox, &hub).await;
    worker::wait_for_adopted(owner.worker, owner.worker_start).await;
    // Nobody but its parent learns how a process ended, and that is no more. A session that ends in
    // order has said so before.
    let how = Gone::Died(format!("it is gone ({})", launcher.last_words(id)));
    finish(id, launcher, how, hub).await;
}

/// Hears how a session ended, and waits until all that it left is gone.
async fn ended(mut worker: Worker, launcher: &Launcher, id: SessionId) -> Gone {
    let see = launcher.last_words(id);
    let how = match worker.hear_end().await {
        Some(FromWorker::Ended { code: Some(0), .. }) => Gone::Exited,
        Some(FromWorker::Ended { code, signal }) => Gone::Died(in_words(code, signal, &see)),
        _ => Gone::Died(format!("it is gone ({see})")),
    };
    worker.gone().await;
    how
}

fn in_words(code: Option<i32>, signal: Option<i32>, see: &str) -> String {
    match (code, signal) {
        (Some(code), _) => format!("it exited with code {code} ({see})"),
        (None, Some(signal)) => format!("it was ended by signal {signal} ({see})"),
        (None, None) => format!("it ended strangely ({see})"),
    }
}

async fn finish(id: SessionId, launcher: Arc<Launcher>, how: Gone, hub: ToHub) {
    info!(session = %id, ?how, "session gone");
    launcher.clean_up(id);
    let gone = Event::SessionGone { session: id, how };
    let _ = hub.send(Incoming::Event(gone)).await;
}

/// Stays with a process until it is gone.
async fn accompany(
    id: SessionId,
    owner: &Owner,
    launcher: &Launcher,
    mut inbox: mpsc::Receiver<Order>,
    hub: &ToHub,
) {
    let process = match Process::watch(owner.pid) {
        Ok(process) => process,
        Err(error) => return debug!(session = %id, %error, "gone before it was watched"),
    };
    let socket = launcher.socket(id);
    // Connecting anew gives no more of it.
    let mut allowance = Allowance::new(Instant::now());
    loop {
        tokio::select! {
            biased;
            () = process.exited() => return,
            problem = talk(id, (&socket, owner), &process, &mut allowance, &mut inbox, hub) => {
                debug!(session = %id, %problem, "a session's socket was lost");
            }
        }
        tokio::select! {
            biased;
            () = process.exited() => return,
            () = pause(&process, &mut inbox) => {}
        }
    }
}

/// Waits before the next connection; meanwhile nothing can be said, but the process can be ended.
async fn pause(process: &Process, inbox: &mut mpsc::Receiver<Order>) {
    let orders = async {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Kill => process.kill(),
                // What matters is said again when the session has introduced itself anew.
                Order::Say(message) => debug!(?message, "nobody to say it to"),
            }
        }
        std::future::pending::<()>().await;
    };
    let _ = tokio::time::timeout(AGAIN, orders).await;
}

/// Speaks with a session until its socket is lost; says why.
async fn talk(
    id: SessionId,
    (socket, owner): (&Path, &Owner),
    process: &Process,
    allowance: &mut Allowance,
    inbox: &mut mpsc::Receiver<Order>,
    hub: &ToHub,
) -> anyhow::Error {
    match exchange(id, (socket, owner), process, allowance, inbox, hub).await {
        Err(error) => error,
        Ok(()) => anyhow::anyhow!("closed"),
    }
}

async fn exchange(
    id: SessionId,
    (socket, owner): (&Path, &Owner),
    process: &Process,
    allowance: &mut Allowance,
    inbox: &mut mpsc::Receiver<Order>,
    hub: &ToHub,
) -> anyhow::Result<()> {
    let mut stream = speaker::open(socket)?;
    let mut reader = LineReader::new(MAX_LINE);
    let mut bytes = vec![0; 4096];
    let (mut is_ready, mut asked) = (false, 0u32);
    loop {
        while let Some(message) = reader.message()? {
            // What it was asked for is no flood of its own, however often that was.
            let is_answer = matches!(message, FromSession::Stats(_)) && asked > 0;
            asked -= u32::from(is_answer);
            let may_speak = is_answer || allowance.spend(Instant::now());
            anyhow::ensure!(may_speak, "it says too much");
            let introduces_itself = matches!(message, FromSession::Ready(_));
            anyhow::ensure!(introduces_itself != is_ready, "it is ready first, and once");
            is_ready = true;
            let _ = hub.send(Incoming::Event(heard(id, message))).await;
        }
        tokio::select! {
            read = speaker::receive(&stream, &mut bytes) => match read? {
                (0, _) => return Ok(()),
                (length, by) => {
                    speaker::ensure_is_of(owner, by)?;
                    reader.push(&bytes[..length]);
                }
            },
            Some(order) = inbox.recv() => match order {
                Order::Kill => process.kill(),
                Order::Say(message) => {
                    asked += u32::from(message == ToSession::Stats);
                    let line = lines::encode(&message);
                    tokio::time::timeout(SEND_TIMEOUT, stream.write_all(&line)).await??;
                }
            },
        }
    }
}

fn heard(session: SessionId, message: FromSession) -> Event {
    match message {
        FromSession::Ready(ready) => Event::SessionReady { session, ready },
        FromSession::Asks(ask) => {
            tracing::info!(%session, ?ask, "the person asks from within their session");
            Event::Session {
                session,
                message: FromSession::Asks(ask),
            }
        }
        message => Event::Session { session, message },
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use heliostat_control::hex::Hex;
    use heliostat_control::session::{Ask, Ready};
    use tokio::io::AsyncBufReadExt;
    use tokio::net::UnixListener;

    use super::*;
    use crate::directory::Kind;

    /// What comes of a session that says this at once, and what the hub hears of it.
    async fn exchanged(words: &[FromSession], allowance: &mut Allowance) -> (String, usize) {
        exchanged_with(&ourselves(), words, allowance).await
    }

    /// The same of one that should be another's.
    async fn exchanged_with(
        owner: &Owner,
        words: &[FromSession],
        allowance: &mut Allowance,
    ) -> (String, usize) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("session.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let said: Vec<u8> = words.iter().flat_map(lines::encode).collect();
        let session = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The broker may have heard enough.
            let _ = stream.write_all(&said).await;
        });
        let process = Process::watch(std::process::id()).unwrap();
        let (_orders, mut inbox) = mpsc::channel(1);
        let (hub, mut heard) = mpsc::channel(words.len());
        let id = SessionId([5; 16]);
        let problem = talk(id, (&socket, owner), &process, allowance, &mut inbox, &hub).await;
        session.await.unwrap();
        let mut count = 0;
        while heard.try_recv().is_ok() {
            count += 1;
        }
        (problem.to_string(), count)
    }

    fn ourselves() -> Owner {
        Owner {
            kind: Kind::Desktop,
            person: "alice".to_owned(),
            uid: nix::unistd::getuid().as_raw(),
            pid: std::process::id(),
            pid_start: 0,
            started_s: 0,
            worker: 0,
            worker_start: 0,
            runtime_dir: None,
            group: None,
        }
    }

    fn ready() -> FromSession {
        FromSession::Ready(Ready {
            pid: 1,
            uid: 1,
            port: 1,
            spki_sha256: Hex([0; 32]),
            wayland_display: String::new(),
            attached: None,
        })
    }

    #[tokio::test]
    async fn a_session_that_floods_is_parted_from_and_has_no_more_for_connecting_again() {
        let mut words = vec![FromSession::Asks(Ask::Lock); 1000];
        words.insert(0, ready());
        let mut allowance = Allowance::new(Instant::now());
        let (problem, heard) = exchanged(&words, &mut allowance).await;
        assert_eq!(problem, "it says too much");
        assert!((200..1000).contains(&heard), "{heard}");
        let (problem, again) = exchanged(&words, &mut allowance).await;
        assert_eq!(problem, "it says too much");
        assert!(again < 200, "{again}");
    }

    #[tokio::test]
    async fn a_session_may_answer_as_often_as_it_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("session.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let answers = 500;
        let session = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&lines::encode(&ready())).await.unwrap();
            let mut asked = tokio::io::BufReader::new(stream);
            let mut line = String::new();
            for _ in 0..answers {
                asked.read_line(&mut line).await.unwrap();
                let said = lines::encode(&FromSession::Stats(Default::default()));
                asked.write_all(&said).await.unwrap();
            }
        });
        let process = Process::watch(std::process::id()).unwrap();
        let (orders, mut inbox) = mpsc::channel(answers);
        for _ in 0..answers {
            orders.try_send(Order::Say(ToSession::Stats)).unwrap();
        }
        let (hub, mut heard) = mpsc::channel(2 * answers);
        let (id, owner) = (SessionId([5; 16]), ourselves());
        let mut allowance = Allowance::new(Instant::now());
        let at = (socket.as_path(), &owner);
        let problem = talk(id, at, &process, &mut allowance, &mut inbox, &hub).await;
        assert_eq!(problem.to_string(), "closed");
        session.await.unwrap();
        let mut count = 0;
        while heard.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, 1 + answers);
    }

    #[tokio::test]
    async fn a_session_introduces_itself_first_and_once() {
        let ask = FromSession::Asks(Ask::Detach);
        let table = [
            (vec![ready(), ask.clone()], "closed", 2),
            (
                vec![ready(), ask.clone(), ready()],
                "it is ready first, and once",
                2,
            ),
            (vec![ask], "it is ready first, and once", 0),
        ];
        for (words, problem, heard) in table {
            let mut allowance = Allowance::new(Instant::now());
            let said = exchanged(&words, &mut allowance).await;
            assert_eq!(said, (problem.to_owned(), heard), "{words:?}");
        }
    }

    #[tokio::test]
    async fn who_speaks_for_a_session_is_its_user_and_one_of_its_processes() {
        let another_user = Owner {
            uid: ourselves().uid + 1,
            ..ourselves()
        };
        // A process of ours that is a session of processes by itself.
        let mut elsewhere = Command::new("setsid")
            .args(["sh", "-c", "echo; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut begun = [0];
        let mut said = elsewhere.stdout.take().unwrap();
        std::io::Read::read_exact(&mut said, &mut begun).unwrap();
        let another_session = Owner {
            pid: elsewhere.id(),
            ..ourselves()
        };
        for (owner, heard) in [(ourselves(), 1), (another_user, 0), (another_session, 0)] {
            let mut allowance = Allowance::new(Instant::now());
            let (problem, count) = exchanged_with(&owner, &[ready()], &mut allowance).await;
            assert_eq!(count, heard, "{owner:?}: {problem}");
            assert_eq!(problem.contains("in its place"), heard == 0, "{problem}");
        }
        elsewhere.kill().unwrap();
        elsewhere.wait().unwrap();
    }
}
