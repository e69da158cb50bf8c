//! Commands that are run as a person when they come to a terminal or leave it.
//!
//! A hook is nobody's business but the person's: it runs beside the attach, never before it, with
//! the person's rights and a bare environment, and it is ended when it takes too long. A person's
//! hooks run one after the other, so that what was set last is where they are.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::unistd::{Uid, User, initgroups, setgid, setuid};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use crate::directory::{Event, Hook};
use crate::hub::{Incoming, ToHub};

/// How long a hook may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hooks of one person that may wait for the one that runs.
const MAX_WAITING: usize = 8;

/// A queue for each person whose hooks run.
#[derive(Debug, Default)]
pub struct Hooks(HashMap<String, mpsc::Sender<Hook>>);

impl Hooks {
    /// Has a hook run after those of the same person; the hub is told if it comes to nothing. Must
    /// be called on a tokio runtime.
    pub fn run(&mut self, hook: Hook, hub: &ToHub) {
        self.0.retain(|_, queue| !queue.is_closed());
        let queue = self.0.entry(hook.person.clone()).or_insert_with(|| {
            let (queue, hooks) = mpsc::channel(MAX_WAITING);
            tokio::spawn(run_all(hooks, hub.clone()));
            queue
        });
        if let Err(error) = queue.try_send(hook) {
            let text = "too many hooks of this person wait already";
            let failed = failed(error.into_inner(), text);
            let hub = hub.clone();
            tokio::spawn(async move { hub.send(failed).await });
        }
    }
}

/// Runs a person's hooks until none has come for a while.
async fn run_all(mut hooks: mpsc::Receiver<Hook>, hub: ToHub) {
    while let Ok(Some(hook)) = timeout(PATIENCE, hooks.recv()).await {
        run(hook, &hub).await;
    }
    // What was sent in between is run yet; who comes later begins a queue of their own.
    hooks.close();
    while let Some(hook) = hooks.recv().await {
        run(hook, &hub).await;
    }
}

async fn run(hook: Hook, hub: &ToHub) {
    match carry_out(&hook).await {
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

async fn carry_out(hook: &Hook) -> anyhow::Result<()> {
    let placed = &hook.placed;
    let mut child = Command::new("/proc/self/exe")
        .args(["run-hook", "--user", &hook.person, "--"])
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
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .context("cannot start a process")?;
    let group = child.id().map(|pid| nix::unistd::Pid::from_raw(pid as i32));
    let ended = timeout(PATIENCE, child.wait()).await;
    // What it left behind has had its time as well.
    if let Some(group) = group {
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => bail!("{} ended with {status}", hook.command[0]),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => bail!(
            "{} took longer than {} s",
            hook.command[0],
            PATIENCE.as_secs()
        ),
    }
}

/// Whom to become and what to run: `heliostat-broker run-hook`.
#[derive(Debug, clap::Args)]
pub struct RunHook {
    /// The user's name.
    #[arg(long)]
    user: String,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl RunHook {
    /// Becomes the person and the program; returns only why that failed.
    pub fn exec(&self) -> anyhow::Error {
        match self.become_person() {
            Err(error) => error,
            Ok(user) => {
                let error = std::process::Command::new(&self.command[0])
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
