//! A site where people log in, and desks that somebody types at.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt;

use hil_local::{Event, Lent, Site, SiteOptions, Terminal, framebuffer, keys, programs};
use hil_rig::namespaces::PEOPLE;
use serde_json::{Value, json};

/// Nothing here takes longer on a machine that works and is busy.
pub const STEP: Duration = Duration::from_secs(20);
/// How long to wait for an event before looking again at what has none: a log.
const LOOK: Duration = Duration::from_millis(100);
pub const SIZE: (u32, u32) = (1280, 800);
/// Whom greeters run as.
const GREETER: &str = "heliostat-greeter";
pub const IDLE: &str = "Insert your card";

/// The colour of a person's desktop, which their own session.toml says.
pub fn colour_of(person: &str) -> u32 {
    match person {
        "alice" => 0xaa_2244,
        _ => 0x22_aa44,
    }
}

/// The site, with what its sessions start.
pub struct People {
    pub site: Site,
    pub probe: Lent,
    leave: Lent,
    _greeter: Lent,
}

impl People {
    /// A site with this policy and our greeter.
    pub fn start(policy: &str) -> Self {
        Self::with_greeter(policy, None, "")
    }

    /// A site with another greeter, or with more in its table.
    pub fn with_greeter(policy: &str, command: Option<&str>, more: &str) -> Self {
        for person in PEOPLE {
            write_own_file(person.name, person.uid);
        }
        let greeter = Lent::new("heliostat-greeter").unwrap();
        let ours = format!("[{:?}]", greeter.path());
        let command = command.map_or(ours, |command| format!("[{command:?}]"));
        let options = SiteOptions {
            session_toml: "autostart = []\nxwayland = false\n[keyboard]\nlayout = \"us\"\n"
                .to_owned(),
            more: format!(
                "session_log = \"info,heliostat_greeter=debug\"\n\
                 [greeter]\ncommand = {command}\n{more}"
            ),
            policy: policy.to_owned(),
            ..SiteOptions::default()
        };
        Self {
            site: Site::start(&options).unwrap(),
            probe: Lent::new("hil-probe").unwrap(),
            leave: Lent::new("heliostat-leave").unwrap(),
            _greeter: greeter,
        }
    }

    /// Puts another policy into force, and waits until it is.
    pub fn policy(&self, text: &str) {
        let known = self.audited("policy_changed").len();
        std::fs::write(self.site.folder().join("policy.toml"), text).unwrap();
        self.until("the policy to be read", |people| {
            people.audited("policy_changed").len() > known
        });
    }

    /// A terminal that is up and idle.
    pub fn desk(&self, name: &str) -> Desk {
        let mut desk = self.desk_as_it_comes(name);
        desk.until_headline(IDLE);
        desk
    }

    /// A terminal that is up.
    pub fn desk_as_it_comes(&self, name: &str) -> Desk {
        let mut terminal = self.site.headless(name, SIZE).unwrap();
        terminal.wait_named("connected", STEP).unwrap();
        Desk {
            name: name.to_owned(),
            terminal,
            headline: String::new(),
            detail: String::new(),
            attached: None,
        }
    }

    /// Sessions as `heliostatctl` shows them.
    pub fn sessions(&self) -> Vec<Value> {
        let sessions = self.site.ctl(&["session", "list"]).unwrap();
        sessions.as_array().unwrap().clone()
    }

    /// The sessions of somebody.
    pub fn sessions_of(&self, person: &str) -> Vec<Value> {
        let mut sessions = self.sessions();
        sessions.retain(|session| session["person"] == person);
        sessions
    }

    /// What the audit has of one kind, oldest first.
    pub fn audited(&self, event: &str) -> Vec<Value> {
        let rows = self.site.ctl(&["audit", "--limit", "500"]).unwrap();
        let mut rows = rows.as_array().unwrap().clone();
        rows.retain(|row| row["event"] == event);
        rows.sort_by_key(|row| row["at_ms"].as_u64());
        rows
    }

    /// Waits for something of which no terminal tells.
    pub fn until(&self, what: &str, shown: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + STEP;
        while !shown(self) {
            assert!(Instant::now() < deadline, "{what}: {}", self.log());
            std::thread::park_timeout(LOOK);
        }
    }

    /// Runs `heliostat-leave` in the session of somebody, as they would.
    pub fn leave(&self, person: &str, wish: &str) -> Output {
        let session = self.sessions_of(person).remove(0);
        let uid = session["uid"].as_u64().unwrap() as u32;
        let runtime = self.site.folder().join(format!("run/user/{uid}"));
        Command::new(self.leave.path())
            .arg(wish)
            .uid(uid)
            .gid(uid)
            .current_dir("/")
            .env("XDG_RUNTIME_DIR", runtime)
            .env(
                "WAYLAND_DISPLAY",
                session["wayland_display"].as_str().unwrap(),
            )
            .output()
            .unwrap()
    }

    /// What all sessions have logged.
    pub fn log(&self) -> String {
        let logs = std::fs::read_dir(self.site.folder().join("state/log")).unwrap();
        let texts = logs
            .flatten()
            .map(|log| std::fs::read_to_string(log.path()));
        texts.map(Result::unwrap).collect()
    }

    /// How many questions greeters have shown so far.
    pub fn asked(&self) -> usize {
        self.log().matches("a question is on the page").count()
    }

    /// Nothing may have gone wrong unseen.
    pub fn end(self) {
        let log = self.log();
        assert!(
            !log.contains(" ERROR ") && !log.contains("panicked"),
            "{log}"
        );
    }
}

impl Drop for People {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let audit = self.site.ctl(&["audit", "--limit", "40"]);
            for row in audit.iter().flat_map(Value::as_array).flatten() {
                eprintln!("{row}");
            }
            eprintln!("the sessions' logs:\n{}", self.log());
        }
    }
}

fn write_own_file(person: &str, uid: u32) {
    let mut folder = Path::new("/run/home").join(person);
    for name in [".config", "heliostat"] {
        folder.push(name);
        let _ = std::fs::create_dir(&folder);
        chown(&folder, Some(uid), Some(uid)).unwrap();
    }
    let file = folder.join("session.toml");
    let text = format!("background = \"#{:06x}\"\n", colour_of(person));
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
}

/// A terminal with somebody at it.
pub struct Desk {
    name: String,
    pub terminal: Terminal,
    /// What its own screen says last.
    pub headline: String,
    pub detail: String,
    /// Whose session is on it, as it says.
    pub attached: Option<String>,
}

impl Desk {
    pub fn press(&mut self, code: u16) {
        self.terminal.press(code).unwrap();
    }

    /// Presses a key with modifiers.
    pub fn chord(&mut self, modifiers: &[u16], code: u16) {
        self.terminal.chord(modifiers, code).unwrap();
    }

    pub fn enter(&mut self, text: &str) {
        self.terminal.type_text(text).unwrap();
        self.press(keys::ENTER);
    }

    fn note(&mut self, event: &Event) {
        let word = |field: &str| event.value[field].as_str().unwrap_or_default().to_owned();
        match event.name() {
            "screen" => {
                self.headline = word("headline");
                self.detail = word("detail");
            }
            "attached" => self.attached = Some(word("person")),
            "detached" => self.attached = None,
            _ => {}
        }
    }

    /// Waits until something holds; it is looked at with each event, and now and then without.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + STEP;
        while !holds(self) {
            if Instant::now() > deadline {
                self.picture("failed");
                panic!(
                    "{}: no {what}; it says {:?} {:?}, attached {:?}",
                    self.name, self.headline, self.detail, self.attached
                );
            }
            if let Some(event) = self.terminal.next_event(Instant::now() + LOOK) {
                self.note(&event);
            }
        }
    }

    pub fn until_headline(&mut self, headline: &str) {
        self.until(headline, |desk| {
            desk.attached.is_none() && desk.headline == headline
        });
    }

    /// Waits until a greeter is shown, and all there are hear what is typed.
    pub fn until_greeter(&mut self, people: &People) {
        self.until("greeter", |desk| {
            desk.attached.as_deref() == Some(GREETER) && desk.shot().shows_greeter()
        });
        self.until("ready greeter", |_| {
            let ready = people.log().matches("the broker is there").count();
            ready >= people.audited("greeter").len()
        });
    }

    /// Waits until the desktop of a person fills the screen.
    pub fn until_desktop(&mut self, person: &str) {
        let [_, r, g, b] = colour_of(person).to_be_bytes();
        self.until(person, |desk| {
            desk.attached.as_deref() == Some(person) && desk.pixel(SIZE.0 / 4) == [b, g, r]
        });
    }

    /// A pixel of the middle row: blue, green, red.
    pub fn pixel(&self, x: u32) -> [u8; 3] {
        self.shot().pixel(x, SIZE.1 / 2)
    }

    fn shot(&self) -> framebuffer::Shot {
        framebuffer::read(self.terminal.framebuffer.as_ref().unwrap()).unwrap()
    }

    /// Asks for the greeter and says who comes; the password is asked for then.
    pub fn log_in_as_far_as_the_password(&mut self, people: &People, person: &str) {
        self.press(keys::ENTER);
        self.until_greeter(people);
        self.name(people, person);
    }

    /// Types a name, and waits for the question that it leads to.
    pub fn name(&mut self, people: &People, person: &str) {
        let asked = people.asked();
        self.enter(person);
        self.until_asked(people, asked);
    }

    /// Waits for a question after so many.
    pub fn until_asked(&mut self, people: &People, asked: usize) {
        self.until("question", |_| people.asked() > asked);
    }

    /// Without a card, by name and password.
    pub fn log_in(&mut self, people: &People, person: &str) {
        self.log_in_as_far_as_the_password(people, person);
        self.enter(person);
        self.until_desktop(person);
    }

    /// Keeps a picture of what is shown.
    pub fn picture(&mut self, name: &str) {
        let folder: PathBuf = programs::target().unwrap().join("people");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{}-{name}.png", self.name));
        self.terminal
            .send(&json!({"screenshot": path.to_str().unwrap()}))
            .unwrap();
        let deadline = Instant::now() + STEP;
        while let Some(event) = self.terminal.next_event(deadline) {
            self.note(&event);
            if event.name() == "screenshot" {
                return;
            }
        }
        panic!("{}: no picture", self.name);
    }
}
