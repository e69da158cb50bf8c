//! systemd's groups: it alone may arrange them where it runs.
//!
//! Its own tools are asked instead of its bus: two words once a session are no reason for a bus
//! library in the broker.

use std::path::Path;
use std::process::{Command, Stdio};

use heliostat_control::worker::{Limits, SessionKind};
use heliostat_wire::id::SessionId;

/// Whether systemd runs this machine.
pub fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The scope in which logind has put this process, if it has.
pub fn scope_of_logind() -> Option<String> {
    scope(&std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

fn scope(groups: &str) -> Option<String> {
    any_scope(groups).filter(|name| name.starts_with("session-"))
}

/// The scope that a process is in, whoever made it. People cannot move theirs into another: what
/// two units have in common is root's.
pub fn scope_of(pid: u32) -> Option<String> {
    any_scope(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

fn any_scope(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let name = path.rsplit('/').next()?;
    name.ends_with(".scope").then(|| name.to_owned())
}

/// Has this process moved into a scope that is there already.
pub fn enter(scope: &str) -> std::io::Result<()> {
    let done = quietly("busctl")
        .args(attach(scope, std::process::id()))
        .status()?;
    match done.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("busctl: {done}"))),
    }
}

fn attach(scope: &str, pid: u32) -> Vec<String> {
    let pid = pid.to_string();
    let words = [
        "call",
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "AttachProcessesToUnit",
        "ssau",
        scope,
        "",
        "1",
        &pid,
    ];
    words.map(str::to_owned).to_vec()
}

/// Sets limits on a scope of logind's; says what does not hold.
pub fn limit(scope: &str, limits: &Limits) -> Vec<String> {
    let properties = super::properties(limits);
    if properties.is_empty() {
        return Vec::new();
    }
    let done = quietly("systemctl")
        .args(["--quiet", "--runtime", "set-property", scope])
        .args(properties)
        .status();
    match done {
        Ok(status) if status.success() => Vec::new(),
        Ok(status) => vec![format!("limits (systemctl set-property: {status})")],
        Err(error) => vec![format!("limits (systemctl: {error})")],
    }
}

/// What a limit on a scope of logind's does not hold: services of the person's own manager run
/// beside the scope. Their slice is the person's for all their logins, and a limit on it would
/// outlive the session, so it is the administrator's to set.
pub fn not_limited(kind: SessionKind, limits: &Limits) -> Option<String> {
    let promised = kind == SessionKind::Desktop && limits.memory_max.is_some();
    promised.then(|| {
        "a limit of memory for what systemd --user starts: that is beside the session, in \
         user@UID.service (set MemoryMax for user-.slice, as the book's page on the broker has it)"
            .to_owned()
    })
}

/// A scope for a session that logind has given none.
#[derive(Debug)]
pub struct Scope(String);

impl Scope {
    /// The scope of `session`.
    pub fn of(session: SessionId) -> Self {
        Self(format!("heliostat-session-{session}.scope"))
    }

    /// A scope of this name.
    pub fn named(name: &str) -> Self {
        Self(format!("heliostat-{name}.scope"))
    }

    /// What a command begins with that is to run in the scope; systemd-run becomes that command
    /// in the same process.
    pub fn prefix(&self, limits: &Limits) -> Vec<String> {
        let mut words: Vec<String> = ["systemd-run", "--quiet", "--scope", "--collect"]
            .into_iter()
            .map(str::to_owned)
            .collect();
        words.push("--slice=heliostat.slice".to_owned());
        words.push(format!("--unit={}", self.0));
        for property in super::properties(limits) {
            words.push(format!("--property={property}"));
        }
        words.push("--".to_owned());
        words
    }

    /// Ends everything in it.
    pub fn kill(&self) {
        let _ = quietly("systemctl")
            .args(["kill", "--signal=KILL", &self.0])
            .status();
    }
}

fn quietly(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_scope_is_taken_for_one() {
        let of = |path: &str| scope(&format!("0::{path}\n"));
        let logind = "/user.slice/user-1000.slice/session-7.scope";
        assert_eq!(of(logind).as_deref(), Some("session-7.scope"));
        assert_eq!(of("/system.slice/heliostat-broker.service"), None);
        assert_eq!(of("/"), None);
        let ours = "0::/heliostat.slice/heliostat-session-01.scope\n";
        assert_eq!(scope(ours), None);
        assert_eq!(
            any_scope(ours).as_deref(),
            Some("heliostat-session-01.scope")
        );
        assert_eq!(
            any_scope("0::/user.slice/user-1.slice/user@1.service/app\n"),
            None
        );
    }

    #[test]
    fn what_a_limit_does_not_reach_is_said_where_one_was_promised() {
        let memory = Limits {
            memory_max: Some(1 << 30),
            ..Limits::default()
        };
        let said = not_limited(SessionKind::Desktop, &memory).unwrap();
        assert!(said.contains("user-.slice"), "{said}");
        assert_eq!(not_limited(SessionKind::Desktop, &Limits::default()), None);
        assert_eq!(not_limited(SessionKind::Greeter, &memory), None);
    }

    #[test]
    fn a_process_is_moved_as_the_manager_has_it() {
        let words = attach("session-7.scope", 42).join(" ");
        assert!(
            words.ends_with("AttachProcessesToUnit ssau session-7.scope  1 42"),
            "{words}"
        );
    }

    #[test]
    fn a_scope_of_our_own_has_the_limits_from_its_first_process_on() {
        let limits = Limits {
            tasks_max: Some(9),
            ..Limits::default()
        };
        let words = Scope::of(SessionId([1; 16])).prefix(&limits);
        assert_eq!(words.first().unwrap(), "systemd-run");
        assert!(words.contains(&"--property=TasksMax=9".to_owned()));
        assert_eq!(words.last().unwrap(), "--");
    }
}
