//! Starts sessions and finds those that run already.
//!
//! What a session needs lies in `<run_dir>/sessions/<id>/`: `session.sock`, on which it listens to
//! the broker, and `owner.json`, which says whose it is to a broker that comes later. Only root
//! reaches that folder; the session got the socket as a file descriptor.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, PipeWriter};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use heliostat_control::hex::Hex;
use heliostat_wire::id::SessionId;
use rustix::mount::{UnmountFlags, unmount};
use tokio::process::{Child, Command};
use tracing::{info, warn};

use crate::accounts::Account;
use crate::config::Config;
use crate::directory::Owner;
use crate::process::start_time;

/// File systems that a person may mount over their runtime folder; with more it is left there.
const MAX_MOUNTS: u32 = 64;
/// How the names of runtime folders begin that wait for their removal.
const LEFT: &str = "left-";
/// Logs of ended sessions that are kept.
const MAX_LOGS: usize = 64;

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
        };
        make_own_dir(&launcher.run_dir)?;
        make_dir(&launcher.sessions_dir(), 0o700)?;
        make_dir(&launcher.run_dir.join("user"), 0o711)?;
        make_dir(&launcher.log_dir, 0o700)?;
        Ok(launcher)
    }

    /// The lowest number of a user that may have a session.
    pub fn min_uid(&self) -> u32 {
        self.min_uid
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

    fn log_file(&self, id: SessionId) -> PathBuf {
        self.log_dir.join(format!("session-{id}.log"))
    }

    /// Starts a session's process. Must be called on a tokio runtime.
    pub fn start(
        &self,
        id: SessionId,
        person: &str,
        account: &Account,
    ) -> anyhow::Result<(Child, Owner)> {
        let runtime_dir = self.runtime_dir(account.uid);
        make_dir(&runtime_dir, 0o700)?;
        chown(&runtime_dir, Some(account.uid), Some(account.gid))
            .with_context(|| format!("cannot give {} away", runtime_dir.display()))?;
        make_dir(&self.session_dir(id), 0o700)?;
        let socket = self.socket(id);
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        let log = self.keep_log(id)?;
        let mut child = self
            .helper(id, account)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn()
            .context("cannot start a process")?;
        let pid = child.id().context("the process ended at once")?;
        let owner = Owner {
            kind: crate::directory::Kind::Desktop,
            person: person.to_owned(),
            uid: account.uid,
            pid,
            pid_start: start_time(pid).unwrap_or_default(),
            started_s: unix_s(),
        };
        if let Err(error) = self.write_owner(id, &owner) {
            // A session that no later broker could find must not run.
            let _ = child.start_kill();
            return Err(error);
        }
        info!(session = %id, person, pid, "session started");
        Ok((child, owner))
    }

    /// Starts what keeps a session's log, and gives out where the session is to write.
    fn keep_log(&self, id: SessionId) -> anyhow::Result<PipeWriter> {
        let log = open_log(&self.log_file(id))?;
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

    fn helper(&self, id: SessionId, account: &Account) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("exec-session")
            .args(["--user", &account.name])
            .args(["--uid", &account.uid.to_string()])
            .args(["--gid", &account.gid.to_string()])
            .arg("--home")
            .arg(&account.home)
            .arg("--shell")
            .arg(&account.shell)
            .arg("--runtime-dir")
            .arg(self.runtime_dir(account.uid))
            .args(["--log", &self.session_log])
            .arg("--")
            .args(&self.command)
            .args(["--id", &id.to_string()])
            .args(["--control-fd", "3", "--ports", &self.ports]);
        if let Some(config) = &self.session_config {
            command.arg("--config").arg(config);
        }
        command
    }

    fn runtime_dir(&self, uid: u32) -> PathBuf {
        self.run_dir.join("user").join(uid.to_string())
    }

    fn write_owner(&self, id: SessionId, owner: &Owner) -> anyhow::Result<()> {
        let path = self.session_dir(id).join("owner.json");
        let partial = path.with_extension("partial");
        fs::write(&partial, serde_json::to_vec(owner)?)?;
        fs::rename(&partial, &path)?;
        Ok(())
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
            match self.owner_if_alive(id) {
                Some(owner) => running.push((id, owner)),
                None => self.clean_up(id),
            }
        }
        running
    }

    fn owner(&self, id: SessionId) -> Option<Owner> {
        let bytes = fs::read(self.session_dir(id).join("owner.json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn owner_if_alive(&self, id: SessionId) -> Option<Owner> {
        let owner = self.owner(id)?;
        let alive = start_time(owner.pid) == Some(owner.pid_start);
        alive.then_some(owner)
    }

    /// Removes what a session that is gone has left, and the runtime folder of a person without
    /// another one. Must be called on a tokio runtime.
    pub fn clean_up(&self, id: SessionId) {
        let uid = self.owner(id).map(|owner| owner.uid);
        match fs::remove_dir_all(self.session_dir(id)) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                warn!(session = %id, %problem, "a session's folder could not be removed");
            }
            _ => {}
        }
        let Some(uid) = uid else { return };
        let entries = fs::read_dir(self.sessions_dir());
        let mut others = entries.into_iter().flatten().flatten().filter_map(|entry| {
            let Hex(id) = entry.file_name().to_str()?.parse().ok()?;
            self.owner(SessionId(id))
        });
        if !others.any(|owner| owner.uid == uid) {
            self.remove_runtime_dir(id, uid);
        }
    }

    /// Puts a person's runtime folder out of the way; emptying it may take long.
    fn remove_runtime_dir(&self, id: SessionId, uid: u32) {
        let folder = self.runtime_dir(uid);
        // A folder on which something is mounted cannot be moved.
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        let mut mounts = 0..MAX_MOUNTS;
        while mounts.next().is_some() && unmount(&folder, flags).is_ok() {}
        let aside = folder.with_file_name(format!("{LEFT}{uid}-{id}"));
        match fs::rename(&folder, &aside) {
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

    /// Keeps logs few.
    pub fn trim_logs(&self) {
        let entries = fs::read_dir(&self.log_dir);
        let mut logs: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            logs.push((meta.modified().unwrap_or(UNIX_EPOCH), entry.path()));
        }
        logs.sort();
        let surplus = logs.len().saturating_sub(MAX_LOGS);
        for (_, path) in logs.into_iter().take(surplus) {
            let _ = fs::remove_file(path);
        }
    }

    /// The end of a session's log, for words about why it died.
    pub fn last_words(&self, id: SessionId) -> String {
        format!("see {}", self.log_file(id).display())
    }
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
fn session_command(configured: &[String]) -> anyhow::Result<Vec<String>> {
    if !configured.is_empty() {
        return Ok(configured.to_vec());
    }
    let ours = std::env::current_exe().context("cannot find our own program")?;
    let beside = ours.with_file_name("heliostat-session");
    Ok(vec![beside.to_string_lossy().into_owned()])
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

fn make_dir(path: &Path, mode: u32) -> anyhow::Result<()> {
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

fn open_log(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
