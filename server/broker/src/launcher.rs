//! Starts sessions and finds those that run already.
//!
//! What a session needs lies in `<run_dir>/sessions/<id>/`: `session.sock`, on which it listens to
//! the broker, and `owner.json`, in which its PAM worker says whose it is to a broker that comes
//! later. Only root reaches that folder; the session got the socket as a file descriptor.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use heliostat_control::hex::Hex;
use heliostat_control::worker::{
    Begin, Credential, Failure, FromWorker, Limits, SessionKind, StartSession, ToWorker,
};
use heliostat_wire::id::SessionId;
use tokio::process::Command;
use tracing::{info, warn};

use crate::config::{Config, Pam};
use crate::control_group::own::{self, Group};
use crate::directory::{Gone, Owner};
use crate::logs;
use crate::process::start_time;
use crate::runtime_dir;
use crate::uids::OwnUids;
use crate::worker::{Worker, Workers};

/// What PAM is told of a terminal that is not known.
const NO_TTY: &str = "heliostat";
/// How the names of runtime folders begin that wait for their removal.
const LEFT: &str = "left-";

/// What starting sessions takes.
#[derive(Debug)]
pub struct Launcher {
    run_dir: PathBuf,
    log_dir: PathBuf,
    command: Vec<String>,
    ports: String,
    session_config: Option<PathBuf>,
    session_log: String,
    min_uid: u32,
    pam: Pam,
    workers: Workers,
    uids: OwnUids,
    /// What was said of things that sessions here do without.
    said: Mutex<HashSet<String>>,
}

/// A session to be started, for somebody who has been let in.
#[derive(Debug)]
pub struct StartOrder {
    /// Its id.
    pub session: SessionId,
    /// What it is for.
    pub kind: SessionKind,
    /// The card or terminal that a kiosk is bound to; empty for others.
    pub bound_to: String,
    /// Whose it is.
    pub person: String,
    /// The worker that has logged them in; where there is none, one is started that authenticates
    /// nobody.
    pub worker: Option<Worker>,
    /// What it may use.
    pub limits: Limits,
    /// The session program with its first arguments, in place of the configured one.
    pub command: Option<Vec<String>>,
    /// The file it is told to read, in place of the configured one.
    pub config: Option<PathBuf>,
    /// Whether it runs as a user that nobody else is, where there are such (`session_uids`).
    pub own_uid: bool,
    /// The user that it runs as in place of the account's own.
    pub uid: Option<u32>,
    /// Environment beyond PAM's and the ordinary.
    pub environment: Vec<(String, String)>,
    /// The terminal's address, for PAM; empty where there is none.
    pub rhost: String,
    /// The terminal's name, for PAM; empty where there is none.
    pub tty: String,
}

impl StartOrder {
    /// The desktop of somebody who has been let in already.
    pub fn desktop(session: SessionId, person: String) -> Self {
        Self {
            session,
            kind: SessionKind::Desktop,
            bound_to: String::new(),
            person,
            worker: None,
            limits: Limits::default(),
            command: None,
            config: None,
            own_uid: false,
            uid: None,
            environment: Vec::new(),
            rhost: String::new(),
            tty: String::new(),
        }
    }
}

impl Launcher {
    /// Makes the folders that sessions need.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let launcher = Self {
            run_dir: config.run_dir.clone(),
            log_dir: config.state_dir.join("log"),
            command: session_command(&config.session_command)?,
            ports: config.session_ports.to_string(),
            session_config: config.session_config.clone(),
            session_log: config.session_log.clone(),
            min_uid: config.min_uid,
            pam: config.pam.clone(),
            workers: Workers::new(&config.pam),
            uids: OwnUids::new(config.session_uids.0.clone()),
            said: Mutex::default(),
        };
        own::move_broker();
        make_own_dir(&launcher.run_dir)?;
        make_dir(&launcher.sessions_dir(), 0o700)?;
        make_dir(&launcher.run_dir.join("user"), 0o711)?;
        make_dir(&launcher.log_dir, 0o700)?;
        Ok(launcher)
    }

    /// The session program with its first arguments.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// What need not survive a reboot.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The PAM service of people.
    pub fn service(&self) -> &str {
        &self.pam.service
    }

    /// What starts PAM workers.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// A user's number for a greeter or kiosk, until the session is cleaned up. The name service is
    /// asked, and may be slow. Must be called on a tokio runtime.
    pub async fn own_uid(&self, session: SessionId) -> anyhow::Result<Option<u32>> {
        self.uids.take(session).await
    }

    fn sessions_dir(&self) -> PathBuf {
        self.run_dir.join("sessions")
    }

    fn session_dir(&self, id: SessionId) -> PathBuf {
        self.sessions_dir().join(id.to_string())
    }

    /// The socket of a session.
    pub fn socket(&self, id: SessionId) -> PathBuf {
        self.session_dir(id).join("session.sock")
    }

    /// Starts a session; its worker sees it to its end. Must be called on a tokio runtime.
    pub async fn start(&self, order: StartOrder) -> Result<(Worker, Owner), Gone> {
        let began = std::time::Instant::now();
        let id = order.session;
        let mut order = order;
        let mut worker = match order.worker.take() {
            Some(worker) => worker,
            None => self.admit(&order).await?,
        };
        let admitted_ms = began.elapsed().as_millis() as u64;
        let prepared = self.prepare(&order);
        let (start, listener, log) = prepared.map_err(|error| {
            warn!(session = %id, "a session could not be started: {error:#}");
            Gone::NotStarted(format!("{error:#}"))
        })?;
        let start = ToWorker::Start(Box::new(start));
        worker
            .say_with(&start, &[listener.as_fd(), log.as_fd()])
            .await;
        drop((listener, log));
        let (pid, without) = loop {
            match worker.hear().await {
                FromWorker::Started { pid, without, .. } => break (pid, without),
                FromWorker::Failed { why, text } => {
                    warn!(session = %id, ?why, text, "a session could not be started");
                    return Err(gone(why, text));
                }
                _ => {}
            }
        };
        without.into_iter().for_each(|what| self.say_once(what));
        let owner = Owner::read(&self.session_dir(id))
            .ok_or_else(|| Gone::NotStarted("the worker did not say whose it is".to_owned()))?;
        let took_ms = began.elapsed().as_millis() as u64;
        info!(session = %id, person = owner.person, pid, admitted_ms, took_ms, "session started");
        Ok((worker, owner))
    }

    /// Has PAM let somebody in who is asked nothing.
    async fn admit(&self, order: &StartOrder) -> Result<Worker, Gone> {
        let mut worker = self
            .workers
            .start()
            .map_err(|error| Gone::NotStarted(format!("cannot start a worker: {error}")))?;
        let (service, by) = match order.kind {
            SessionKind::Desktop => (&self.pam.service, Credential::Card),
            SessionKind::Greeter | SessionKind::Kiosk => {
                (&self.pam.greeter_service, Credential::None)
            }
        };
        let tty = match order.tty.is_empty() {
            true => NO_TTY.to_owned(),
            false => order.tty.clone(),
        };
        let begin = Begin {
            service: service.clone(),
            person: Some(order.person.clone()),
            by,
            rhost: order.rhost.clone(),
            tty,
        };
        let admitted = worker.admit(begin).await;
        admitted.map_err(|(why, text)| gone(why, text))?;
        Ok(worker)
    }

    fn prepare(
        &self,
        order: &StartOrder,
    ) -> anyhow::Result<(StartSession, UnixListener, PipeWriter)> {
        let id = order.session;
        make_dir(&self.session_dir(id), 0o700)?;
        let socket = self.socket(id);
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        let log = keep_log(&logs::path(&self.log_dir, id, order.kind))?;
        let mut environment = vec![("HELIOSTAT_LOG".to_owned(), self.session_log.clone())];
        environment.extend(order.environment.iter().cloned());
        let start = StartSession {
            session: id,
            session_kind: order.kind,
            bound_to: order.bound_to.clone(),
            person: order.person.clone(),
            min_uid: least_uid(order.kind, self.min_uid),
            uid: order.uid,
            folder: self.session_dir(id),
            runtime_dirs: self.run_dir.join("user"),
            command: self.command_of(order),
            environment,
            limits: order.limits,
        };
        Ok((start, listener, log))
    }

    fn command_of(&self, order: &StartOrder) -> Vec<String> {
        let mut command = order
            .command
            .clone()
            .unwrap_or_else(|| self.command.clone());
        let id = order.session.to_string();
        let more = ["--id", &id, "--control-fd", "3", "--ports", &self.ports];
        command.extend(more.map(str::to_owned));
        if let Some(config) = order.config.as_ref().or(self.session_config.as_ref()) {
            command.push("--config".to_owned());
            command.push(config.to_string_lossy().into_owned());
        }
        command
    }

    /// Says what sessions do without on this machine, each thing once.
    fn say_once(&self, what: String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(what.clone()) {
            warn!("sessions here do without {what}");
        }
    }

    /// The sessions that run already. What is left of others is cleaned away. Must be called on a
    /// tokio runtime.
    pub fn running(&self) -> Vec<(SessionId, Owner)> {
        self.remove_all_left();
        let entries = fs::read_dir(self.sessions_dir());
        let names = entries.into_iter().flatten().flatten();
        let ids = names.filter_map(|entry| {
            let Hex(id) = entry.file_name().to_str()?.parse().ok()?;
            Some(SessionId(id))
        });
        let mut running = Vec::new();
        for id in ids {
            match self.owner(id) {
                Some(owner) => {
                    self.uids.hold(id, owner.uid);
                    running.push((id, owner));
                }
                None => self.clean_up(id),
            }
        }
        running
    }

    /// Whose a session is that runs.
    pub fn owner(&self, id: SessionId) -> Option<Owner> {
        let owner = Owner::read(&self.session_dir(id))?;
        let alive = start_time(owner.pid) == Some(owner.pid_start);
        alive.then_some(owner)
    }

    /// Removes what a session that is gone has left, and the runtime folder of a person without
    /// another one. Must be called on a tokio runtime.
    pub fn clean_up(&self, id: SessionId) {
        let owner = Owner::read(&self.session_dir(id));
        self.uids.give_back(id);
        match fs::remove_dir_all(self.session_dir(id)) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                warn!(session = %id, %problem, "a session's folder could not be removed");
            }
            _ => {}
        }
        let Some(owner) = owner else { return };
        if let Some(group) = owner.group.map(Group::at) {
            // Its worker did this, unless it died.
            group.kill();
            group.remove();
        }
        if let Some(folder) = owner.runtime_dir {
            runtime_dir::give_up(&self.sessions_dir(), id, &folder, || {
                self.remove_runtime_dir(id, owner.uid, &folder);
            });
        }
    }

    /// Puts a person's runtime folder out of the way; emptying it may take long.
    fn remove_runtime_dir(&self, id: SessionId, uid: u32, folder: &Path) {
        // A folder on which something is mounted cannot be moved.
        runtime_dir::unmount_all(folder);
        let aside = folder.with_file_name(format!("{LEFT}{uid}-{id}"));
        match fs::rename(folder, &aside) {
            Ok(()) => remove_left(aside, uid),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
            Err(problem) => warn!(?folder, %problem, "a runtime folder could not be removed"),
        }
    }

    /// Removes the runtime folders that an earlier broker did not get to remove.
    fn remove_all_left(&self) {
        let entries = fs::read_dir(self.run_dir.join("user"));
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let uid = name.to_str().and_then(|name| {
                let (uid, _) = name.strip_prefix(LEFT)?.split_once('-')?;
                uid.parse().ok()
            });
            if let Some(uid) = uid {
                remove_left(entry.path(), uid);
            }
        }
    }

    /// Keeps the logs few of sessions that have ended.
    pub fn trim_logs(&self) {
        logs::trim(&self.log_dir, |id| self.session_dir(id).exists());
    }

    /// The end of a session's log, for words about why it died.
    pub fn last_words(&self, id: SessionId) -> String {
        let file = logs::find(&self.log_dir, id);
        format!("see {}", file.display())
    }
}

/// Starts what keeps a session's log, and gives out where the session is to write.
fn keep_log(path: &Path) -> anyhow::Result<PipeWriter> {
    let log = logs::open(path)?;
    let (said, writer) = io::pipe().context("cannot make a pipe")?;
    // It ends with the last writer; the runtime reaps it.
    Command::new("/proc/self/exe")
        .arg("keep-log")
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::from(said))
        .stdout(Stdio::from(log))
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start what keeps the log")?;
    Ok(writer)
}

/// Has a folder emptied by a process that is its person, and removes it then.
fn remove_left(folder: PathBuf, uid: u32) {
    let mut emptying = Command::new("/proc/self/exe");
    emptying
        .args(["remove-folder", "--uid", &uid.to_string()])
        .arg(&folder)
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null());
    tokio::spawn(async move {
        let emptied = emptying.status().await;
        if let Err(problem) = emptied.and_then(|_| fs::remove_dir(&folder)) {
            warn!(?folder, %problem, "a runtime folder could not be removed");
        }
    });
}

/// The session program: as configured, or beside our own.
pub(crate) fn session_command(configured: &[String]) -> anyhow::Result<Vec<String>> {
    if !configured.is_empty() {
        return Ok(configured.to_vec());
    }
    let ours = std::env::current_exe().context("cannot find our own program")?;
    let beside = ours.with_file_name("heliostat-session");
    Ok(vec![beside.to_string_lossy().into_owned()])
}

/// The least number of an account that a session of this kind may run as. Root has many names, and
/// whoever sits at a greeter or a kiosk is not to be any of them.
fn least_uid(kind: SessionKind, min_uid: u32) -> u32 {
    match kind {
        SessionKind::Desktop => min_uid,
        SessionKind::Greeter | SessionKind::Kiosk => 1,
    }
}

/// Makes a folder that the configuration names. One that is there already may be anybody's, such as
/// /tmp, so nothing of it is changed, and it must be safe as it is.
fn make_own_dir(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        return make_dir(path, 0o711);
    }
    let meta = fs::metadata(path)?;
    let ours = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw();
    if !ours || meta.mode() & 0o022 != 0 {
        bail!(
            "{} is in the way: it is not a folder of this user that nobody else may write to; \
             name another in run_dir",
            path.display()
        );
    }
    Ok(())
}

/// Makes a folder, with those above it, or takes one that is there.
pub fn make_dir(path: &Path, mode: u32) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(false).mode(mode).create(path);
    let made = match made {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(mode).create(path)
        }
        made => made,
    };
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", path.display()));
        }
        _ => {}
    }
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        bail!("{} is in the way: it is not a folder", path.display());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the permissions of {}", path.display()))
}

/// Why there is no session, as the directory knows it.
fn gone(why: Failure, text: String) -> Gone {
    match why {
        Failure::Denied | Failure::Locked | Failure::Expired | Failure::PasswordChange => {
            Gone::NoAccount(text)
        }
        Failure::TooMany
        | Failure::Cancelled
        | Failure::Unavailable
        | Failure::NotStarted
        | Failure::Hung
        | Failure::Crashed => Gone::NotStarted(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Account, refuse_system};

    #[test]
    fn greeters_and_kiosks_are_no_account_of_root_whatever_its_name() {
        let account = |name: &str, uid| Account {
            name: name.to_owned(),
            uid,
            gid: 0,
            home: "/".into(),
            shell: "/bin/sh".into(),
        };
        for kind in [SessionKind::Greeter, SessionKind::Kiosk] {
            let least = least_uid(kind, 1000);
            assert!(refuse_system(&account("toor", 0), least).is_err());
            assert!(refuse_system(&account("heliostat-kiosk", 998), least).is_ok());
        }
    }
}
