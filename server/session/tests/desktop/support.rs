//! What the broker and the terminal do, in a few lines each.

mod terminal;

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use heliostat_control::hex::Hex;
use heliostat_control::lines;
use heliostat_control::session::{
    Attached, Expect, FromSession, Ready, ToSession as ToSessionProcess,
};
use heliostat_control::stats::SessionStats;
use heliostat_link::{CloseCode, Dialer, FrameReceiver, Identity, KeyPin, Link};
use heliostat_wire::bounded::List;
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, OutputId, Ticket};
use heliostat_wire::input::KeyboardState;
use heliostat_wire::output::{Output, Size};
use heliostat_wire::session::{Capabilities, Kept, ToSession};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::lack::Lack;
use crate::model::Model;
pub use terminal::Terminal;

/// Nothing here takes longer on a machine that works.
const DEADLINE: Duration = Duration::from_secs(30);

pub struct Runtime;

impl Runtime {
    pub fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(future)
    }
}

/// Whether all these programs are installed; says so, or fails, where they are not.
pub fn are_installed(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_missing =
        |name: &&&str| !std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let Some(missing) = programs.iter().find(is_missing) else {
        return true;
    };
    let how = "hil-tests/scripts/setup.sh desktop programs";
    Lack::Part(format!("{missing} is not installed ({how})")).skip();
    false
}

pub fn size(w: u32, h: u32) -> Size {
    Size { w, h }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("too late: {what}"),
    }
}

type Words = tokio::io::Lines<BufReader<OwnedReadHalf>>;

/// A session process, and its broker.
pub struct Desktop {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    process: Child,
    words: Words,
    broker: OwnedWriteHalf,
    ready: Ready,
    key: Identity,
    attaches: u64,
    /// What the next terminal says that it holds.
    kept: Option<Kept>,
}

impl Desktop {
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, None).await
    }

    /// A session that finds a shell script before the real program of this name.
    pub async fn start_with(config: &str, script: Option<(&str, &str)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut programs = std::env::var_os("PATH").unwrap();
        if let Some((name, text)) = script {
            std::fs::create_dir(path("bin")).unwrap();
            let file = path("bin").join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
            let all = std::iter::once(path("bin")).chain(std::env::split_paths(&programs));
            programs = std::env::join_paths(all).unwrap();
        }
        std::fs::write(path("session.toml"), config).unwrap();
        let socket = path("session.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let log = File::create(path("log")).unwrap();
        // The shell moves the socket from standard input to descriptor 3.
        let process = Command::new("sh")
            .args(["-c", "exec \"$0\" --id 00112233445566778899aabbccddeeff --control-fd 3 --ports 40000-49999 --config \"$1\" 3<&0 </dev/null"])
            .arg(env!("CARGO_BIN_EXE_heliostat-session"))
            .arg(path("session.toml"))
            .env("PATH", programs)
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("HOME", folder.path())
            .env("USER", "alice")
            .env("HELIOSTAT_LOG", "debug")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (words, broker, ready) = Self::connect(&socket).await;
        let key = Identity::generate().unwrap();
        Self {
            _folder: folder,
            socket,
            process,
            words,
            broker,
            ready,
            key,
            attaches: 0,
            kept: None,
        }
    }

    async fn connect(socket: &PathBuf) -> (Words, OwnedWriteHalf, Ready) {
        let stream = UnixStream::connect(socket).await.unwrap();
        let (reader, writer) = stream.into_split();
        let mut words = BufReader::new(reader).lines();
        let line = within("the session says ready", words.next_line())
            .await
            .unwrap()
            .unwrap();
        match serde_json::from_str(&line).unwrap() {
            FromSession::Ready(ready) => (words, writer, ready),
            other => panic!("{other:?}"),
        }
    }

    /// As after the broker's restart; returns who is said to be attached.
    pub async fn reconnect_broker(&mut self) -> Option<Attached> {
        (self.words, self.broker, self.ready) = Self::connect(&self.socket).await;
        self.ready.attached.clone()
    }

    pub fn make_ticket(&mut self) -> (AttachId, Ticket) {
        self.attaches += 1;
        (AttachId(self.attaches), Ticket([self.attaches as u8; 32]))
    }

    pub async fn announce(&mut self, attach_id: AttachId, ticket: &Ticket, terminal: &str) {
        let expect = ToSessionProcess::Expect(Expect {
            attach_id,
            ticket_sha256: Hex(Sha256::digest(ticket.0).into()),
            terminal_key_sha256: Hex(self.key.pin().0),
            terminal_name: terminal.to_owned(),
            keep_pixels_s: 60,
            expires_ms: 10_000,
            idle_s: None,
        });
        self.broker
            .write_all(&lines::encode(&expect))
            .await
            .unwrap();
    }

    pub async fn expect(&mut self, terminal: &str) -> (AttachId, Ticket) {
        let (attach, ticket) = self.make_ticket();
        self.announce(attach, &ticket, terminal).await;
        (attach, ticket)
    }

    pub async fn attach(&mut self, terminal: &str, size: Size) -> Terminal {
        let (attach, ticket) = self.expect(terminal).await;
        let mut terminal = self.dial_sized(&self.key, attach, &ticket, size).await;
        terminal.attached().await;
        terminal
    }

    /// The terminal goes, and attaches again with what it holds.
    pub async fn come_back(&mut self, terminal: Terminal) -> Terminal {
        let Terminal {
            mut model,
            id,
            size,
            connection,
            ..
        } = terminal;
        connection.close(CloseCode::Done, "");
        self.kept = Some(model.rest(id));
        let mut terminal = self.attach("back", size).await;
        self.kept = None;
        terminal.model = model;
        terminal
    }

    pub async fn dial(&self, attach: AttachId, ticket: &Ticket) -> Terminal {
        self.dial_sized(&self.key, attach, ticket, size(800, 600))
            .await
    }

    pub async fn dial_as_stranger(&self, attach: AttachId, ticket: &Ticket) -> CloseCode {
        let stranger = Identity::generate().unwrap();
        let terminal = self
            .dial_sized(&stranger, attach, ticket, size(800, 600))
            .await;
        terminal.refusal().await
    }

    /// A Wayland client of this session.
    pub fn client(&self) -> Client {
        Client::new(self.connection())
    }

    /// A connection to the session's Wayland socket.
    pub fn connection(&self) -> std::os::unix::net::UnixStream {
        let path = self._folder.path().join(&self.ready.wayland_display);
        std::os::unix::net::UnixStream::connect(path).unwrap()
    }

    /// A program of this session, that was started by hand.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("XDG_RUNTIME_DIR", self._folder.path())
            .env("WAYLAND_DISPLAY", &self.ready.wayland_display)
            .env("DISPLAY", self.x_display().unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// The X display of the session, if it has one.
    fn x_display(&self) -> Option<String> {
        let names = std::fs::read_dir(self._folder.path()).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.find_map(|name| Some(format!(":{}", name.strip_prefix("heliostat-x11-")?)))
    }

    /// What the session and its programs have said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self._folder.path().join("log")).unwrap()
    }

    /// Kills a program that the session itself has started.
    pub fn kill_child(&self, name: &str) {
        self.signal_child(name, "KILL");
    }

    /// Sends a signal to a program that the session itself has started.
    pub fn signal_child(&self, name: &str, signal: &str) {
        let parent = self.process.id().expect("it runs").to_string();
        let status = std::process::Command::new("pkill")
            .args([&format!("-{signal}"), "-P", &parent, "-x", name])
            .status();
        assert!(status.unwrap().success(), "{name} runs");
    }

    /// Sends a signal to a program that was started by hand.
    pub fn signal(&self, child: &Child, signal: &str) {
        let pid = child.id().expect("it runs").to_string();
        let status = std::process::Command::new("kill")
            .args(["-s", signal, &pid])
            .status();
        assert!(status.unwrap().success());
    }

    /// Runs `heliostat-leave`; whether it succeeded.
    pub fn leave(&self, wish: &str) -> impl Future<Output = bool> + use<> {
        let mut command = self.command(env!("CARGO_BIN_EXE_heliostat-leave"));
        let status = command.arg(wish).stderr(Stdio::null()).status();
        async { within("it ends", status).await.unwrap().success() }
    }

    /// The next word for the broker that is `wanted`.
    pub async fn next_word(&mut self, wanted: impl Fn(&FromSession) -> bool) -> FromSession {
        loop {
            let line = within("the session speaks", self.words.next_line())
                .await
                .unwrap();
            let word = serde_json::from_str(&line.expect("it lives")).unwrap();
            if wanted(&word) {
                return word;
            }
        }
    }

    /// Where the session's link is.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ready.port).into()
    }

    /// Forgets how much the session's process had in memory at most.
    pub fn forget_most_memory(&self) {
        let id = self.process.id().expect("it runs");
        // 5 makes the most that was resident what is resident now (proc(5)).
        std::fs::write(format!("/proc/{id}/clear_refs"), "5").unwrap();
    }

    /// What the session's process had in memory at most since that was forgotten, in KiB.
    pub fn most_memory(&self) -> u64 {
        let id = self.process.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.unwrap().split_whitespace().nth(1);
        number.unwrap().parse().unwrap()
    }

    /// Attaches by way of a relay at `address`.
    pub async fn attach_by(&mut self, address: SocketAddr, terminal: &str, size: Size) -> Terminal {
        let (attach, ticket) = self.expect(terminal).await;
        let dialled = self.dial_by(address, &self.key, attach, &ticket, size);
        let mut terminal = dialled.await;
        terminal.attached().await;
        terminal
    }

    async fn dial_sized(
        &self,
        key: &Identity,
        attach_id: AttachId,
        ticket: &Ticket,
        size: Size,
    ) -> Terminal {
        let address = self.address();
        self.dial_by(address, key, attach_id, ticket, size).await
    }

    async fn dial_by(
        &self,
        address: SocketAddr,
        key: &Identity,
        attach_id: AttachId,
        ticket: &Ticket,
        size: Size,
    ) -> Terminal {
        let dialer = Dialer::new(key.clone());
        let pins = [KeyPin(self.ready.spki_sha256.0)];
        let dialled = dialer.dial(address, Link::Session, &pins);
        let connection = within("the link opens", dialled).await.unwrap();
        let output = Output {
            id: OutputId(0),
            connector: "HEADLESS-1".into(),
            make: "".into(),
            model: "".into(),
            size,
            refresh_mhz: 60_000,
            physical_mm: Size { w: 0, h: 0 },
            x: 0,
            y: 0,
        };
        let attach = ToSession::Attach {
            attach_id,
            ticket: ticket.clone(),
            outputs: List::new(vec![output]).unwrap(),
            kept: self.kept.clone(),
            capabilities: Capabilities {
                max_layers: 256,
                max_layer_bytes: 64 << 20,
                max_cursor_side: 64,
                max_frames_in_flight: 32,
                max_kept_cells: 256,
                max_videos: 4,
                max_video_pixels: 1920 * 1200,
            },
            keyboard: KeyboardState::default(),
            layout: "us".into(),
        };
        let main = connection.open_main(Link::Session, &attach).await.unwrap();
        Terminal {
            frames: FrameReceiver::new(&connection),
            connection,
            main,
            model: Model::default(),
            id: attach_id,
            size,
        }
    }

    /// What the session says of itself.
    pub async fn stats(&mut self) -> SessionStats {
        self.broker
            .write_all(&lines::encode(&ToSessionProcess::Stats))
            .await
            .unwrap();
        loop {
            let line = within("the session answers", self.words.next_line())
                .await
                .unwrap();
            if let FromSession::Stats(stats) = serde_json::from_str(&line.unwrap()).unwrap() {
                return *stats;
            }
        }
    }

    /// Ends the session as the broker does, and waits for its process.
    pub async fn end(mut self) {
        let end = ToSessionProcess::End {
            reason: DetachReason::SessionEnded,
        };
        self.broker.write_all(&lines::encode(&end)).await.unwrap();
        let status = within("the session ends", self.process.wait())
            .await
            .unwrap();
        assert!(status.success(), "{status}");
        let log = std::fs::read_to_string(self._folder.path().join("log")).unwrap();
        assert!(
            !log.contains(" ERROR ") && !log.contains("panicked"),
            "{log}"
        );
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self._folder.path().join("log"));
            eprintln!("the session's log:\n{}", log.unwrap_or_default());
        }
    }
}
