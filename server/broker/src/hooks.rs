//! Commands that are run as a person when they come to a terminal or leave it.
//!
//! A hook is nobody's business but the person's: it runs beside the attach, never before it, with
//! the person's rights and a bare environment, in their session's control group, and it is ended
//! when it takes too long. A person's hooks run one after the other, so that what was set last is
//! where they are.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command as Spawn, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::unistd::{Uid, User, initgroups, setgid, setuid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use crate::control_group::hook::Place;
use crate::control_group::systemd;
use crate::directory::{Event, Hook};
use crate::hub::{Incoming, ToHub};
use crate::launcher::Launcher;
use crate::logins::limits;
use crate::pam_worker::{descendants, shed};
use crate::process::Process;
use crate::sys;

/// How long a hook may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer the process may take that ends it then.
const MORE: Duration = Duration::from_secs(5);

/// Bytes of its words that are read.
const MAX_WORDS: u64 = 1024;

/// Hooks of one person that may wait for the one that runs.
const MAX_WAITING: usize = 8;

/// A queue for each person whose hooks run.
#[derive(Debug)]
pub struct Hooks {
    launcher: Arc<Launcher>,
    queues: HashMap<String, mpsc::Sender<Numbered>>,
    so_far: u64,
}

/// A hook with a number of its own.
type Numbered = (u64, Hook);

impl Hooks {
    /// Hooks in the sessions of `launcher`.
    pub fn new(launcher: Arc<Launcher>) -> Self {
        Self {
            launcher,
            queues: HashMap::new(),
            so_far: 0,
        }
    }

    /// Has a hook run after those of the same person; the hub is told if it comes to nothing. Must
    /// be called on a tokio runtime.
    pub fn run(&mut self, hook: Hook, hub: &ToHub) {
        self.queues.retain(|_, queue| !queue.is_closed());
        let queue = self.queues.entry(hook.person.clone()).or_insert_with(|| {
            let (queue, hooks) = mpsc::channel(MAX_WAITING);
            tokio::spawn(run_all(hooks, self.launcher.clone(), hub.clone()));
            queue
        });
        self.so_far += 1;
        if let Err(error) = queue.try_send((self.so_far, hook)) {
            let text = "too many hooks of this person wait already";
            let failed = failed(error.into_inner().1, text);
            let hub = hub.clone();
            tokio::spawn(async move { hub.send(failed).await });
        }
    }
}

/// Runs a person's hooks until none has come for a while.
async fn run_all(mut hooks: mpsc::Receiver<Numbered>, launcher: Arc<Launcher>, hub: ToHub) {
    while let Ok(Some(hook)) = timeout(PATIENCE, hooks.recv()).await {
        run(hook, &launcher, &hub).await;
    }
    // What was sent in between is run yet; who comes later begins a queue of their own.
    hooks.close();
    while let Some(hook) = hooks.recv().await {
        run(hook, &launcher, &hub).await;
    }
}

async fn run((number, hook): Numbered, launcher: &Launcher, hub: &ToHub) {
    let owner = hook.within.then(|| launcher.owner(hook.session)).flatten();
    let name = format!("hook-{}-{number}", hook.session);
    let place = Place::make(&name, owner.as_ref(), &limits(&hook.outcome));
    let came = carry_out(&hook, &place).await;
    // What it left behind has had its time as well.
    let _ = tokio::task::spawn_blocking(move || place.end()).await;
    match came {
        Ok(()) => debug!(person = hook.person, event = hook.event, "a hook has run"),
        Err(error) => drop(hub.send(failed(hook, &format!("{error:#}"))).await),
    }
}

fn failed(hook: Hook, why: &str) -> Incoming {
    Incoming::Event(Event::HookFailed {
        person: hook.person,
        terminal: hook.placed.terminal,
        text: format!("{}: {why}", hook.event),
    })
}

async fn carry_out(hook: &Hook, place: &Place) -> anyhow::Result<()> {
    let placed = &hook.placed;
    let mut words = place.prefix();
    // By way of this process, since what stands before would take "self" for itself.
    words.push(format!("/proc/{}/exe", std::process::id()));
    words.extend(["run-hook", "--user", &hook.person].map(str::to_owned));
    words.extend(place.arguments());
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .arg("--")
        .args(&hook.command)
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HELIOSTAT_EVENT", hook.event)
        .env("HELIOSTAT_PERSON", &hook.person)
        .env("HELIOSTAT_SESSION", hook.session.to_string())
        .env("HELIOSTAT_TERMINAL", &placed.terminal)
        .env("HELIOSTAT_TERMINAL_NAME", &placed.terminal_name)
        .env("HELIOSTAT_PLACES", placed.places.join(" "))
        .env("HELIOSTAT_ADDRESS", &placed.address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start a process")?;
    let process = Process::watch(child.id().context("it has ended already")?)?;
    let said = child.stdout.take().context("it has no output")?;
    let mut why = String::new();
    let ended = timeout(PATIENCE + MORE, async {
        let _ = said.take(MAX_WORDS).read_to_string(&mut why).await;
        child.wait().await
    });
    match ended.await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) if why.is_empty() => bail!("{} was ended: {status}", hook.command[0]),
        Ok(Ok(_)) => bail!("{why}"),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            process.kill_with_descendants();
            let _ = child.wait().await;
            bail!("{} could not be ended in time", hook.command[0])
        }
    }
}

/// Runs a hook within its bounds: `heliostat-broker run-hook`. It stays root's, so that the person
/// cannot stop it, and says on standard output what is wrong.
///
/// Whatever the hook starts has this process for an ancestor, however it hides, and ends with it;
/// also where the broker is gone by then.
#[derive(Debug, clap::Args)]
pub struct RunHook {
    /// The control group to enter.
    #[arg(long)]
    group: Option<PathBuf>,
    /// The scope of systemd's to enter.
    #[arg(long)]
    scope: Option<String>,
    #[command(flatten)]
    hook: ExecHook,
}

impl RunHook {
    /// Sees the hook to its end.
    pub fn run(&self) -> anyhow::Result<()> {
        let came = self.supervise();
        descendants::end_all();
        if let Err(why) = &came {
            print!("{why:#}");
        }
        came
    }

    fn supervise(&self) -> anyhow::Result<()> {
        if let Some(group) = &self.group {
            let entered = std::fs::write(group.join("cgroup.procs"), "0");
            entered.context("cannot enter the session's control group")?;
        }
        if let Some(scope) = &self.scope {
            systemd::enter(scope).context("cannot enter the session's scope")?;
        }
        // Neither the broker's scheduling nor its mask is the person's; and it is the subreaper.
        shed::prepare().context("cannot leave the broker behind")?;
        let program = &self.hook.command[0];
        let mut child = Spawn::new("/proc/self/exe")
            .args(["exec-hook", "--user", &self.hook.user, "--"])
            .args(&self.hook.command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a process")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let watched = pidfd_open(pid.context("a process has a number")?, PidfdFlags::empty())?;
        let patience = Timespec::try_from(PATIENCE)?;
        if poll(&mut [PollFd::new(&watched, PollFlags::IN)], Some(&patience))? == 0 {
            bail!("{program} took longer than {} s", PATIENCE.as_secs());
        }
        let status = child.wait()?;
        match status.success() {
            true => Ok(()),
            false => bail!("{program} ended with {status}"),
        }
    }
}

/// Whom to become and what to run: `heliostat-broker exec-hook`.
#[derive(Debug, clap::Args)]
pub struct ExecHook {
    /// The user's name.
    #[arg(long)]
    user: String,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl ExecHook {
    /// Becomes the person and the program; returns only why that failed.
    pub fn exec(&self) -> anyhow::Error {
        if let Err(error) = sys::close_others_on_exec() {
            return anyhow::Error::new(error).context("cannot leave the broker's files behind");
        }
        match self.become_person() {
            Err(error) => error,
            Ok(user) => {
                let error = Spawn::new(&self.command[0])
                    .args(&self.command[1..])
                    .env("HOME", &user.dir)
                    .env("USER", &user.name)
                    .env("LOGNAME", &user.name)
                    .exec();
                anyhow::Error::new(error).context(format!("cannot run {}", self.command[0]))
            }
        }
    }

    fn become_person(&self) -> anyhow::Result<User> {
        let user = User::from_name(&self.user)?
            .with_context(|| format!("{} has no account", self.user))?;
        if Uid::effective().is_root() {
            let name = CString::new(user.name.as_str())?;
            initgroups(&name, user.gid)?;
            setgid(user.gid)?;
            setuid(user.uid)?;
            if !user.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
                bail!("the way back to root is still open");
            }
        } else if Uid::effective() != user.uid {
            bail!("only root can become {}", self.user);
        }
        Ok(user)
    }
}
