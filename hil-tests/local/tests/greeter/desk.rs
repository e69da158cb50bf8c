//! A site whose only program is the greeter, a terminal, and PAM by word of mouth.

use std::path::{Path, PathBuf};
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use heliostat_broker::greetd::{
    Choices, Delays, Greeter, GreeterContext, GreeterEvent, LoginWorker, LoginWorkers, Outcome,
    serve, socket,
};
use heliostat_control::worker::{Failure, FromWorker, Secret, Style};
use heliostat_wire::id::SessionId;
use hil_local::{Lent, Site, SiteOptions, Terminal, framebuffer, programs};
use hil_rig::Lack;
use nix::unistd::{Uid, User};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

const CARD: &str = "piv:00000000000000000000000000000a12";
/// What greeters' sessions are to be like.
const PACKAGED: &str = include_str!("../../../../server/packaging/greeter-session.toml");
/// Nothing here takes longer on a machine that works.
const STEP: Duration = Duration::from_secs(30);
/// A screen on which nothing comes for this long is at rest.
const REST: Duration = Duration::from_millis(400);

/// Whether all programs are there; says so where they are not.
pub fn are_there() -> bool {
    let programs = [
        "heliostat-broker",
        "heliostat-session",
        "heliostat-terminal",
        "heliostat-greeter",
    ];
    let missing = programs::missing(&programs);
    let is_none = missing.is_none();
    if let Some(missing) = missing {
        Lack::Part(missing).skip();
    }
    is_none
}

/// Whether this machine has a program; says so where it has not.
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    if !found {
        Lack::Part(format!("{name} is not installed (apt install {name})")).skip();
    }
    found
}

/// What the broker's side of a login hears.
#[derive(Debug)]
enum Heard {
    Begun(String),
    Answer(Option<String>),
}

/// A worker through which the test speaks.
struct Mouth {
    words: mpsc::UnboundedReceiver<FromWorker>,
    heard: std_mpsc::Sender<Heard>,
}

impl LoginWorker for Mouth {
    async fn answer(&mut self, text: Option<Secret>) {
        let text = text.map(|text| text.reveal().to_owned());
        let _ = self.heard.send(Heard::Answer(text));
    }

    async fn hear(&mut self) -> FromWorker {
        match self.words.recv().await {
            Some(word) => word,
            // The test has nothing more to say.
            None => std::future::pending().await,
        }
    }
}

struct Mouths {
    newest: std_mpsc::Sender<mpsc::UnboundedSender<FromWorker>>,
    heard: std_mpsc::Sender<Heard>,
}

impl LoginWorkers for Mouths {
    type Worker = Mouth;

    async fn start(&mut self, person: &str) -> anyhow::Result<Mouth> {
        let (say, words) = mpsc::unbounded_channel();
        let _ = self.newest.send(say);
        let _ = self.heard.send(Heard::Begun(person.to_owned()));
        Ok(Mouth {
            words,
            heard: self.heard.clone(),
        })
    }
}

/// The broker's greetd task.
struct Broker {
    _context: watch::Sender<GreeterContext>,
    folder: socket::Folder,
    newest: std_mpsc::Receiver<mpsc::UnboundedSender<FromWorker>>,
    heard: std_mpsc::Receiver<Heard>,
    events: mpsc::Receiver<GreeterEvent<Mouth>>,
    say: Option<mpsc::UnboundedSender<FromWorker>>,
}

pub struct Desk {
    name: &'static str,
    runtime: Runtime,
    broker: Option<Broker>,
    terminal: Terminal,
    site: Site,
    greeter: Option<Lent>,
    folder: tempfile::TempDir,
    pictures: PathBuf,
    owner: (u32, u32),
}

impl Desk {
    /// A terminal of this size with our greeter on it.
    pub fn start(name: &'static str, size: (u32, u32), context: GreeterContext) -> Self {
        let greeter = Lent::new("heliostat-greeter").unwrap();
        let command = format!("{} --socket SOCKET", greeter.path().display());
        let mut desk = Self::with_command(name, size, context, &command);
        desk.greeter = Some(greeter);
        desk.until_shown("the greeter", framebuffer::Shot::shows_greeter);
        desk
    }

    /// A terminal with another greeter on it, once that shows some words.
    pub fn start_other(name: &'static str, size: (u32, u32), command: &str) -> Self {
        let mut desk = Self::with_command(name, size, GreeterContext::default(), command);
        desk.until_shown("another greeter", |shot| {
            let pixels = shot.pixels.chunks(4);
            let bright = pixels.filter(|pixel| pixel[..3].iter().all(|part| *part > 0xa0));
            bright.count() > 300
        });
        desk
    }

    /// The session runs a command, in which `SOCKET` is where greetd's IPC is.
    fn with_command(
        name: &'static str,
        size: (u32, u32),
        context: GreeterContext,
        command: &str,
    ) -> Self {
        let user = match Uid::effective().is_root() {
            true => User::from_name("nobody").unwrap().unwrap(),
            false => User::from_uid(Uid::effective()).unwrap().unwrap(),
        };
        let owner = (user.uid.as_raw(), user.gid.as_raw());
        let folder = tempfile::tempdir().unwrap();
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder.path(), everybody).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let broker = start_broker(&runtime, folder.path(), owner, context);
        let socket = broker.folder.socket();
        let command = command.replace("SOCKET", socket.to_str().unwrap());
        let site = start_site(&command);
        site.ctl(&["card", "add", CARD, "--person", &user.name])
            .unwrap();
        let mut terminal = site.headless("desk", size).unwrap();
        terminal.wait_named("connected", STEP).unwrap();
        terminal.insert_card(CARD).unwrap();
        terminal.wait_named("frame_shown", STEP).unwrap();
        let pictures = programs::target().unwrap().join("greeter");
        std::fs::create_dir_all(&pictures).unwrap();
        Self {
            name,
            runtime,
            broker: Some(broker),
            terminal,
            site,
            greeter: None,
            folder,
            pictures,
            owner,
        }
    }

    pub fn start_broker(&mut self, context: GreeterContext) {
        let folder = self.folder.path();
        self.broker = Some(start_broker(&self.runtime, folder, self.owner, context));
    }

    pub fn stop_broker(&mut self) {
        self.broker = None;
    }

    fn broker(&mut self) -> &mut Broker {
        self.broker.as_mut().expect("the broker runs")
    }

    pub fn press(&mut self, code: u16) {
        self.terminal.press(code).unwrap();
    }

    /// Presses a key with a modifier.
    pub fn chord(&mut self, modifier: u16, code: u16) {
        self.terminal.chord(&[modifier], code).unwrap();
    }

    pub fn type_text(&mut self, text: &str) {
        self.terminal.type_text(text).unwrap();
    }

    fn heard(&mut self) -> Heard {
        self.broker().heard.recv_timeout(STEP).unwrap()
    }

    /// Whose login has begun.
    pub fn begun(&mut self) -> String {
        match self.heard() {
            Heard::Begun(person) => {
                let broker = self.broker();
                broker.say = Some(broker.newest.recv_timeout(STEP).unwrap());
                person
            }
            other => panic!("{other:?}"),
        }
    }

    /// What was typed.
    pub fn answer(&mut self) -> Option<String> {
        match self.heard() {
            Heard::Answer(text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, word: FromWorker) {
        let say = self.broker().say.as_ref().expect("a login has begun");
        say.send(word).unwrap();
    }

    pub fn prompt(&mut self, style: Style, text: &str) {
        let text = text.to_owned();
        self.terminal.drain();
        self.say(FromWorker::Prompt { style, text });
        if matches!(style, Style::Visible | Style::Secret) {
            self.terminal.wait_named("frame_shown", STEP).unwrap();
        }
    }

    pub fn fail(&mut self, why: Failure, text: &str) {
        let text = text.to_owned();
        self.say(FromWorker::Failed { why, text });
        assert!(matches!(self.outcome(), Outcome::Failed { .. }));
    }

    pub fn let_in(&mut self, person: &str) {
        let person = person.to_owned();
        self.say(FromWorker::Authenticated { person });
    }

    pub fn logged_in(&mut self, who: &str) -> Choices {
        match self.outcome() {
            Outcome::LoggedIn {
                person, choices, ..
            } => {
                assert_eq!(person, who);
                choices
            }
            _ => panic!("not logged in"),
        }
    }

    pub fn cancelled(&mut self) -> String {
        match self.outcome() {
            Outcome::Cancelled { person } => person,
            _ => panic!("not cancelled"),
        }
    }

    fn outcome(&mut self) -> Outcome<Mouth> {
        let broker = self.broker.as_mut().expect("the broker runs");
        let events = &mut broker.events;
        let next = async { tokio::time::timeout(STEP, events.recv()).await };
        self.runtime.block_on(next).unwrap().unwrap().outcome
    }

    /// Keeps a picture of the screen when nothing moves on it any more.
    pub fn picture(&mut self, name: &str) {
        self.forget_frames();
        self.keep_picture(name);
    }

    /// Forgets the frames that were shown so far.
    pub fn forget_frames(&mut self) {
        while self.terminal.next_event(Instant::now() + REST).is_some() {}
    }

    /// Keeps a picture of the screen with its next frame, where it never comes to rest.
    pub fn picture_of_next_frame(&mut self, name: &str) {
        self.terminal.wait_named("frame_shown", STEP).unwrap();
        self.keep_picture(name);
    }

    fn keep_picture(&mut self, name: &str) {
        let path = self.pictures.join(format!("{}-{name}.png", self.name));
        self.terminal
            .send(&json!({"screenshot": path.to_str().unwrap()}))
            .unwrap();
        self.terminal.wait_named("screenshot", STEP).unwrap();
    }

    fn until_shown(&mut self, what: &str, shown: impl Fn(&framebuffer::Shot) -> bool) {
        let deadline = Instant::now() + STEP;
        let path = self.terminal.framebuffer.clone().unwrap();
        while !shown(&framebuffer::read(&path).unwrap()) {
            let event = self.terminal.next_event(deadline);
            assert!(event.is_some(), "{what} is not shown");
        }
    }

    /// What the greeter's log says of its first page.
    pub fn first_page_ms(&self) -> u64 {
        let log = self.log();
        let after = log.split("first_page_ms=").nth(1).expect("it has one");
        let digits = after.split(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap().parse().unwrap()
    }

    /// Memory that only the greeter has.
    pub fn greeter_memory_kib(&self) -> u64 {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut greeters = processes.filter(|process| {
            let name = std::fs::read_to_string(process.path().join("comm"));
            let ours = std::fs::read_to_string(process.path().join("cmdline"));
            let lent = self.greeter.as_ref().and_then(|lent| lent.path().to_str());
            name.is_ok_and(|name| name.trim() == "heliostat-greet")
                && ours.is_ok_and(|line| lent.is_some_and(|lent| line.contains(lent)))
        });
        let greeter = greeters.next().expect("it runs").path();
        let map = std::fs::read_to_string(greeter.join("smaps_rollup")).unwrap();
        let own = map.lines().filter(|line| line.starts_with("Private_"));
        own.map(|line| {
            let number = line.split_whitespace().nth(1).unwrap();
            number.parse::<u64>().unwrap()
        })
        .sum()
    }

    /// How many programs the session has started.
    pub fn started(&self) -> usize {
        self.log().matches(" started: ").count()
    }

    fn log(&self) -> String {
        let logs = std::fs::read_dir(self.site.folder().join("state/log")).unwrap();
        let texts = logs
            .flatten()
            .map(|log| std::fs::read_to_string(log.path()));
        texts.map(Result::unwrap).collect()
    }

    /// Ends everything; nothing may have gone wrong unseen.
    pub fn end(self) {
        let log = self.log();
        assert!(
            !log.contains(" ERROR ") && !log.contains("panicked"),
            "{log}"
        );
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_picture("failed");
            eprintln!("the session's log:\n{}", self.log());
        }
    }
}

fn start_broker(
    runtime: &Runtime,
    folder: &Path,
    owner: (u32, u32),
    context: GreeterContext,
) -> Broker {
    let _inside = runtime.enter();
    let session = SessionId([9; 16]);
    let (listener, folder) = socket::listen(folder, session, owner).unwrap();
    let (context, receiver) = watch::channel(context);
    let (out, events) = mpsc::channel(8);
    let (newest_sender, newest) = std_mpsc::channel();
    let (heard_sender, heard) = std_mpsc::channel();
    let greeter = Greeter {
        session,
        uid: owner.0,
        listener,
        context: receiver,
        delay: Delays::default().of(None, "desk".to_owned(), Instant::now()),
    };
    let mouths = Mouths {
        newest: newest_sender,
        heard: heard_sender,
    };
    runtime.spawn(serve(greeter, mouths, out));
    Broker {
        _context: context,
        folder,
        newest,
        heard,
        events,
        say: None,
    }
}

fn start_site(command: &str) -> Site {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().min(65_000);
    drop(free);
    let session_toml = PACKAGED.replace("heliostat-greeter", command);
    let options = SiteOptions {
        port,
        session_ports: (port + 1, port + 50),
        session_toml: session_toml + "[keyboard]\nlayout = \"us\"\n",
        more: "min_uid = 1\n".to_owned(),
        ..SiteOptions::default()
    };
    Site::start(&options).unwrap()
}
