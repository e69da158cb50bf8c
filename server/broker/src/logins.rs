//! What the hub does around logins: it starts sessions for those who are let in, keeps the workers
//! of those who are on their way, and serves greeters.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use heliostat_control::greetd::GreeterContext;
use heliostat_control::worker::{Limits, SessionKind};
use heliostat_wire::id::SessionId;
use nix::unistd::User;
use tokio::sync::{mpsc, watch};

use crate::directory::{Event, Hook, Kind, LoggedIn, LoginId, Start};
use crate::greetd::{self, Delay, Delays, Greeter, GreeterEvent, Outcome as Came, PamLogins};
use crate::groups;
use crate::hub::{Hub, Incoming, ToHub};
use crate::launcher::StartOrder;
use crate::network::Network;
use crate::policy::{Outcome, Weight};
use crate::session_file;
use crate::worker::Worker;

/// Words of one greeter that may wait for the hub.
const MAX_WORDS: usize = 8;

/// Logins under way.
#[derive(Debug, Default)]
pub struct Logins {
    /// Those that have succeeded and lead somewhere yet.
    held: HashMap<LoginId, Worker>,
    next: u64,
    /// What each greeter is to show; its task ends with this.
    greeters: HashMap<SessionId, watch::Sender<GreeterContext>>,
    /// What terminals have to wait whose greeters may be gone.
    delays: Delays,
}

/// A greeter that is to be served as soon as it is known as whom it runs.
#[derive(Debug)]
pub struct Greeting {
    context: watch::Receiver<GreeterContext>,
    delay: Delay,
    pam: PamLogins,
    to_hub: ToHub,
}

impl Greeting {
    /// Listens for the greeter of `order`, and has its logins served; gives its socket. The name
    /// service is asked, and may be slow.
    pub async fn serve(self, order: &StartOrder, run_dir: &Path) -> anyhow::Result<PathBuf> {
        let person = order.person.clone();
        let account = tokio::task::spawn_blocking(move || User::from_name(&person));
        let account = account.await.context("the search for a user broke off")?;
        let user = account?.with_context(|| {
            let person = &order.person;
            format!(
                "there is no user {person}: make one (useradd --system --shell /usr/sbin/nologin {person})"
            )
        })?;
        let uid = order.uid.unwrap_or(user.uid.as_raw());
        let who = (uid, user.gid.as_raw());
        let (listener, folder) = greetd::socket::listen(run_dir, order.session, who)?;
        let socket = folder.socket();
        let greeter = Greeter {
            session: order.session,
            uid,
            listener,
            context: self.context,
            delay: self.delay,
        };
        let (out, words) = mpsc::channel(MAX_WORDS);
        tokio::spawn(async move {
            greetd::serve(greeter, self.pam, out).await;
            drop(folder);
        });
        tokio::spawn(pass_on(words, self.to_hub));
        Ok(socket)
    }
}

impl Hub {
    /// Starts a session for somebody who has been let in.
    pub(crate) fn start(&mut self, start: Start) {
        let worker = start
            .login
            .and_then(|login| self.logins.held.remove(&login));
        let command = self.launcher.command();
        let mut order = StartOrder {
            session: start.session,
            kind: session_kind(&start.kind),
            bound_to: match &start.kind {
                Kind::Kiosk(bound_to) => bound_to.clone(),
                Kind::Desktop | Kind::Greeter => String::new(),
            },
            person: start.person.clone(),
            worker,
            limits: limits(&start.outcome),
            command: None,
            config: None,
            own_uid: start.kind != Kind::Desktop,
            uid: None,
            environment: Vec::new(),
            rhost: start.address.clone(),
            tty: tty_of(&start.terminal_name),
        };
        let file = match &start.kind {
            Kind::Desktop => session_file::of_desktop(&start.outcome.desktop.0),
            Kind::Kiosk(_) => Some(session_file::of_one_program(&start.outcome.kiosk.0, false)),
            Kind::Greeter => Some(session_file::of_one_program(&self.greeter_command, true)),
        };
        if let Some(file) = file {
            order.command = Some([command, &["--site".to_owned(), file]].concat());
        }
        if start.kind != Kind::Desktop {
            // What the site chooses for desktops is not for these.
            order.config = Some("/dev/null".into());
        }
        let greeting = (start.kind == Kind::Greeter).then(|| self.greeting(&start));
        self.start_session(order, greeting);
    }

    /// What serving this greeter takes. What it is to show may be said at once.
    fn greeting(&mut self, start: &Start) -> Greeting {
        let (context, shown) = watch::channel(GreeterContext::default());
        self.logins.greeters.insert(start.session, context);
        let network = start.address.parse().ok().map(Network::of);
        let name = start.terminal_name.clone();
        Greeting {
            context: shown,
            delay: self.logins.delays.of(network, name, Instant::now()),
            pam: PamLogins {
                workers: self.launcher.workers().clone(),
                service: self.launcher.service().to_owned(),
                rhost: start.address.clone(),
                tty: tty_of(&start.terminal_name),
            },
            to_hub: self.to_hub.clone(),
        }
    }

    /// Tells a greeter what it is to show.
    pub(crate) fn greet(&mut self, session: SessionId, context: GreeterContext) {
        if let Some(shown) = self.logins.greeters.get(&session) {
            let _ = shown.send(context);
        }
    }

    /// A session is over; if it was a greeter, nobody logs in there any more.
    pub(crate) fn forget_greeter(&mut self, session: SessionId) {
        self.logins.greeters.remove(&session);
    }

    /// Something has come of a login at a greeter.
    pub(crate) fn greeter_says(&mut self, said: GreeterEvent<Worker>, groups: Option<Vec<String>>) {
        let greeter = said.session;
        match said.outcome {
            Came::LoggedIn {
                person,
                worker,
                choices,
            } => {
                self.logins.next += 1;
                let login = LoginId(self.logins.next);
                self.logins.held.insert(login, worker);
                self.event(Event::LoggedIn(LoggedIn {
                    greeter,
                    person,
                    groups,
                    login,
                    enrol: choices.enrol,
                }));
            }
            Came::Failed { person, text } => self.event(Event::LoginFailed {
                greeter,
                person,
                text,
            }),
            Came::Cancelled { .. } => tracing::debug!(%greeter, "a login was given up"),
        }
    }

    /// Lets a login go that leads nowhere; its worker ends.
    pub(crate) fn drop_login(&mut self, login: LoginId) {
        self.logins.held.remove(&login);
    }

    /// Runs a command as a person, beside everything else.
    pub(crate) fn hook(&mut self, hook: Hook) {
        self.hooks.run(hook, &self.to_hub);
    }

    /// Finds out which groups people are in. The name service may be slow.
    pub(crate) fn look_up(&self, people: Vec<String>) {
        let to_hub = self.to_hub.clone();
        tokio::task::spawn_blocking(move || {
            let groups = Event::Groups(groups::of(&people));
            let _ = to_hub.blocking_send(Incoming::Event(groups));
        });
    }
}

/// Passes a greeter's words on to the hub, with the groups of whoever has logged in.
async fn pass_on(mut words: mpsc::Receiver<GreeterEvent<Worker>>, hub: ToHub) {
    while let Some(mut said) = words.recv().await {
        let groups = match &mut said.outcome {
            Came::LoggedIn { person, .. } => {
                let person = person.clone();
                let found = tokio::task::spawn_blocking(move || groups::of_one(&person));
                found.await.unwrap_or_default()
            }
            Came::Failed { person, .. } => {
                // Who types a password where a name is asked for shall not find it in the audit.
                let name = std::mem::take(person);
                let found = tokio::task::spawn_blocking(move || {
                    let account = User::from_name(&name).ok().flatten();
                    account.map(|account| account.name)
                });
                *person = found.await.ok().flatten().unwrap_or_default();
                None
            }
            Came::Cancelled { .. } => None,
        };
        if hub
            .send(Incoming::Greeter(Box::new(said), groups))
            .await
            .is_err()
        {
            return;
        }
    }
}

fn session_kind(kind: &Kind) -> SessionKind {
    match kind {
        Kind::Desktop => SessionKind::Desktop,
        Kind::Greeter => SessionKind::Greeter,
        Kind::Kiosk(_) => SessionKind::Kiosk,
    }
}

/// A weight that is not everybody's.
fn share(weight: Weight) -> Option<u16> {
    (weight.0 != 100).then_some(weight.0)
}

/// A terminal's name as PAM and logind are told of it. Terminals name themselves, so what could
/// pass for a virtual console or a display of this machine is taken from it.
fn tty_of(name: &str) -> String {
    let plain = name.chars().take(64);
    let plain = plain.map(|c| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    });
    std::iter::once("heliostat-".to_owned())
        .chain(plain.map(String::from))
        .collect()
}

/// What a session may use, as the policy has it.
pub(crate) fn limits(outcome: &Outcome) -> Limits {
    let memory = outcome.memory.0;
    Limits {
        memory_max: memory,
        // Slowed a little before it is killed.
        memory_high: memory.map(|bytes| bytes / 10 * 9),
        cpu_weight: share(outcome.cpu),
        tasks_max: Some(outcome.tasks),
        io_weight: share(outcome.disk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_terminal_passes_for_a_console_or_a_path() {
        let long = "x".repeat(5000);
        let names = [
            "",
            "tty1",
            ":0",
            "/dev/tty1",
            "../tty1",
            "pts/0",
            "a\0b",
            "a\nb",
            "ünï",
            "=",
            &long,
        ];
        for name in names {
            let tty = tty_of(name);
            assert!(tty.starts_with("heliostat-"), "{name:?} is {tty:?}");
            assert!(tty.len() <= 74, "{name:?} is {} long", tty.len());
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            assert!(tty.chars().all(plain), "{name:?} is {tty:?}");
        }
        assert_eq!(tty_of("ward-3"), "heliostat-ward-3");
    }
}
