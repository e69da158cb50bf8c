//! From an account to its session, and to the session's end.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use heliostat_control::lines;
use heliostat_control::worker::{Failure, FromWorker, SessionKind, StartSession};
use nix::unistd::{Pid, Uid};

use super::channel::Voice;
use super::descendants;
use super::environment;
use super::login::{Login, failed};
use crate::accounts::Account;
use crate::control_group::own::Group;
use crate::control_group::systemd::{self, Scope};
use crate::directory::{Kind, Owner};
use crate::exec;
use crate::passing;
use crate::process::start_time;
use crate::{accounts, runtime_dir};

/// How long to wait for the end of what was ended in the session's group.
const GOING: Duration = Duration::from_secs(2);

/// Who keeps the session's processes together.
#[derive(Debug)]
enum Keeper {
    Group(Group),
    Scope(Scope),
    /// logind's scope, in which the worker is too, or nothing at all.
    Nobody,
}

/// A session that runs.
struct Running {
    pid: u32,
    uid: u32,
    keeper: Keeper,
    /// The runtime folder, where it is ours.
    runtime_dir: Option<PathBuf>,
    without: Vec<String>,
}

/// Runs the session to its end; says how it goes.
pub fn run(login: &mut Login, start: &StartSession, fds: Vec<OwnedFd>, voice: &Voice) {
    let running = match begin(login, start, fds) {
        Ok(running) => running,
        Err(why) => {
            descendants::end_all();
            let _ = voice.say(&why);
            return;
        }
    };
    let started = FromWorker::Started {
        pid: running.pid,
        uid: running.uid,
        without: running.without.clone(),
    };
    if voice.say(&started).is_err() {
        // The broker left while the session was being started, and does not know of it.
        let _ =
            nix::sys::signal::kill(Pid::from_raw(running.pid as i32), nix::sys::signal::SIGKILL);
    }
    let end = descendants::wait_for(Pid::from_raw(running.pid as i32));
    running.keeper.end();
    descendants::end_all();
    running.keeper.remove();
    if let Some(folder) = &running.runtime_dir {
        take_away(start, folder);
    }
    let (code, signal) = (end.code, end.signal);
    let _ = voice.say(&FromWorker::Ended { code, signal });
}

/// Takes away what a runtime folder of ours held, unless another session has it too.
fn take_away(start: &StartSession, folder: &Path) {
    let sessions = start.folder.parent().unwrap_or(&start.folder);
    runtime_dir::give_up(sessions, start.session, folder, || {
        runtime_dir::unmount_all(folder);
    });
}

fn begin(
    login: &mut Login,
    start: &StartSession,
    fds: Vec<OwnedFd>,
) -> Result<Running, FromWorker> {
    accounts::refuse_system(login.account(), start.min_uid)
        .map_err(|text| failed(Failure::Locked, text))?;
    login.open_session(&environment::for_modules(start.session_kind))?;
    spawn(login, start, fds).map_err(|error| {
        let (uid, kind) = (account_of(login, start).uid, start.session_kind);
        let folder = runtime_dir::path(&start.runtime_dirs, uid, kind, start.session);
        take_away(start, &folder);
        failed(Failure::NotStarted, format!("{error:#}"))
    })
}

fn spawn(login: &mut Login, start: &StartSession, fds: Vec<OwnedFd>) -> anyhow::Result<Running> {
    let Ok([socket, log]) = <[OwnedFd; 2]>::try_from(fds) else {
        bail!("the broker sent no socket and log for the session");
    };
    let mut without = Vec::new();
    if !Uid::effective().is_root() {
        without.push(
            "PAM sessions and people's accounts (the broker does not run as root)".to_owned(),
        );
    }
    let pam = login.environment();
    let mut account = account_of(login, start);
    let (runtime_dir, ours) = runtime_dir_for(&pam, &account, start, &mut without)?;
    if account.uid != login.account().uid {
        // The account's is not theirs to write to.
        account.home = runtime_dir.clone();
    }
    let account = &account;
    let keeper = keeper(start, &mut without);
    let order = exec::Order {
        user: account.name.clone(),
        uid: account.uid,
        gid: account.gid,
        home: account.home.clone(),
        environment: environment::for_session(
            account,
            pam,
            start,
            &runtime_dir,
            bus(&runtime_dir, ours),
        ),
        group: match &keeper {
            Keeper::Group(group) => Some(group.path().to_owned()),
            _ => None,
        },
        command: start.command.clone(),
    };
    let pid = exec(&order, &keeper, start, socket, log)?;
    let owner = Owner {
        kind: match start.session_kind {
            SessionKind::Desktop => Kind::Desktop,
            SessionKind::Greeter => Kind::Greeter,
            SessionKind::Kiosk => Kind::Kiosk(start.bound_to.clone()),
        },
        person: start.person.clone(),
        uid: account.uid,
        pid,
        pid_start: start_time(pid).unwrap_or_default(),
        started_s: unix_s(),
        worker: std::process::id(),
        worker_start: start_time(std::process::id()).unwrap_or_default(),
        runtime_dir: ours.then(|| runtime_dir.clone()),
        group: order.group.clone(),
    };
    // A session that no later broker could find must not run.
    owner
        .write(&start.folder)
        .context("cannot note whose the session is")?;
    Ok(Running {
        pid,
        uid: account.uid,
        keeper,
        runtime_dir: owner.runtime_dir,
        without,
    })
}

/// Whom the session runs as: the account, or a user of its own in the account's groups.
fn account_of(login: &Login, start: &StartSession) -> Account {
    let mut account = login.account().clone();
    if let Some(uid) = start.uid.filter(|_| Uid::effective().is_root()) {
        account.uid = uid;
    }
    account
}

/// PAM's runtime folder where it gives one, or else one of ours; says which.
fn runtime_dir_for(
    pam: &[(String, String)],
    account: &Account,
    start: &StartSession,
    without: &mut Vec<String>,
) -> anyhow::Result<(PathBuf, bool)> {
    let given = pam.iter().find(|(name, _)| name == "XDG_RUNTIME_DIR");
    let given = given.map(|(_, folder)| PathBuf::from(folder));
    // Several greeters of one account would share logind's.
    let given = given.filter(|folder| {
        let theirs = std::fs::symlink_metadata(folder);
        start.session_kind == SessionKind::Desktop
            && theirs.is_ok_and(|meta| meta.is_dir() && meta.uid() == account.uid)
    });
    if let Some(folder) = given {
        return Ok((folder, false));
    }
    let (kind, session) = (start.session_kind, start.session);
    let folder = runtime_dir::path(&start.runtime_dirs, account.uid, kind, session);
    without.extend(runtime_dir::take(&start.folder, &folder, account)?);
    Ok((folder, true))
}

/// The bus of the person's service manager, where there is one; else the session starts its own.
fn bus(runtime_dir: &Path, ours: bool) -> Option<String> {
    let socket = runtime_dir.join("bus");
    (!ours && socket.exists()).then(|| format!("unix:path={}", socket.display()))
}

fn keeper(start: &StartSession, without: &mut Vec<String>) -> Keeper {
    if systemd::runs() {
        return match systemd::scope_of_logind() {
            Some(scope) => {
                without.extend(systemd::limit(&scope, &start.limits));
                without.extend(systemd::not_limited(start.session_kind, &start.limits));
                Keeper::Nobody
            }
            None => Keeper::Scope(Scope::of(start.session)),
        };
    }
    match Group::make(start.session, &start.limits) {
        Ok((group, missed)) => {
            without.extend(missed);
            Keeper::Group(group)
        }
        Err(error) => {
            without.push(format!("control groups, and so without limits ({error})"));
            Keeper::Nobody
        }
    }
}

fn exec(
    order: &exec::Order,
    keeper: &Keeper,
    start: &StartSession,
    socket: OwnedFd,
    log: OwnedFd,
) -> anyhow::Result<u32> {
    let mut words = match keeper {
        Keeper::Scope(scope) => {
            let mut words = scope.prefix(&start.limits);
            // By way of this process, since systemd-run would take "self" for itself.
            words.push(format!("/proc/{}/exe", std::process::id()));
            words
        }
        Keeper::Group(_) | Keeper::Nobody => vec!["/proc/self/exe".to_owned()],
    };
    words.push("exec-session".to_owned());
    let (ours, theirs) = UnixStream::pair().context("cannot make a socket pair")?;
    let child = Command::new(&words[0])
        .args(&words[1..])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        .spawn()
        .context("cannot start a process")?;
    passing::send_all(&ours, &lines::encode(order), &[socket.as_fd()])
        .context("the session's process ended at once")?;
    Ok(child.id())
}

impl Keeper {
    fn end(&self) {
        match self {
            Self::Group(group) => group.kill(),
            Self::Scope(scope) => scope.kill(),
            Self::Nobody => {}
        }
    }

    fn remove(&self) {
        if let Self::Group(group) = self {
            // A hook within it is no descendant of ours.
            group.wait_until_empty(GOING);
            group.remove();
        }
    }
}

fn unix_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
