//! Whether sessions can use their configuration: their own program reads it, as people would.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::unistd::{Uid, User};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::Finding;
use crate::process::Process;

/// A session reads a small file and ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of what it says that are shown.
const MAX_SHOWN: usize = 2000;
/// Bytes of it that are kept.
const MAX_KEPT: u64 = 4 * MAX_SHOWN as u64;
/// Who can do no more than anybody.
const ANYBODY: &str = "nobody";

/// Has the session's program say what is wrong with a session.toml, the usual one where absent. Who may
/// change users has it run as one that can do no more than anybody, as sessions are their people's.
pub fn read(session: &[String], file: Option<&Path>) -> anyhow::Result<Option<Finding>> {
    if !Uid::effective().is_root() {
        return read_as(None, session, file);
    }
    match User::from_name(ANYBODY)? {
        Some(anybody) => read_as_anybody(&anybody, session, file),
        None => Ok(Some(read_as(None, session, file)?.unwrap_or_else(|| {
            Finding::Warning(format!(
                "session_config: there is no user {ANYBODY} to read it as, so it is not known whether \
                 people can"
            ))
        }))),
    }
}

/// What only root can read is wrong, but a group may be able to that everybody is in.
fn read_as_anybody(
    anybody: &User,
    session: &[String],
    file: Option<&Path>,
) -> anyhow::Result<Option<Finding>> {
    let found = read_as(Some(anybody), session, file)?;
    let Some(Finding::Fault(text)) = found else {
        return Ok(found);
    };
    Ok(Some(match read_as(None, session, file)? {
        Some(wrong_for_all) => wrong_for_all,
        None => Finding::Warning(format!(
            "{text}; it is fine as root reads it: see to it that all who have sessions can"
        )),
    }))
}

fn read_as(
    user: Option<&User>,
    session: &[String],
    file: Option<&Path>,
) -> anyhow::Result<Option<Finding>> {
    let [program, arguments @ ..] = session else {
        return Ok(None);
    };
    let mut command = Command::new(program);
    command.args(arguments).arg("--check-config");
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    // Nothing of who checks is its business.
    command
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)));
    let mut whose = String::new();
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        whose = format!(" (as {} reads it; sessions do as their people)", user.name);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let said = match runtime.block_on(hear(command)) {
        Ok(Some(output)) if output.status.success() => return Ok(None),
        Ok(Some(output)) if is_verdict(&output) => {
            return Ok(Some(Finding::Fault(format!(
                "session_config: {}{whose}",
                shown(&output.stdout)
            ))));
        }
        Ok(Some(output)) => format!("{}: {}", output.status, shown(&output.stderr)),
        Ok(None) => "it does not end".to_owned(),
        Err(problem) => format!("{problem:#}"),
    };
    Ok(Some(Finding::Warning(format!(
        "session_config: {program} does not say whether it can use its configuration{whose}: {said}"
    ))))
}

/// Runs it to its end, and nothing that it has started for longer; nothing if that takes too long.
async fn hear(mut command: Command) -> anyhow::Result<Option<Output>> {
    command.stdin(Stdio::null()).process_group(0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().context("start it")?;
    let process = Process::watch(child.id().context("it has no number")?)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut ended = async || {
        process.exited().await;
        // Before it is waited for, so that its number is still its own. What it has left behind would
        // hold its pipes.
        process.kill();
        child.wait().await
    };
    let all = async { tokio::try_join!(ended(), beginning(stdout), beginning(stderr)) };
    let Ok(all) = tokio::time::timeout(PATIENCE, all).await else {
        process.kill();
        return Ok(None);
    };
    let (status, stdout, stderr) = all?;
    Ok(Some(Output {
        status,
        stdout,
        stderr,
    }))
}

/// The first bytes of what comes out of a pipe, when all of it has.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(MAX_KEPT).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

/// Whether it has found something wrong, rather than failed in another way.
fn is_verdict(output: &Output) -> bool {
    output.status.code() == Some(1) && !output.stdout.is_empty()
}

fn shown(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.trim().chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Read;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    use nix::sys::stat::Mode;
    use rustix::fs::OFlags;

    use super::*;

    fn said_by(script: &str) -> Option<Finding> {
        let session = ["/bin/sh", "-c", script, "session"].map(str::to_owned);
        read_as(None, &session, Some(Path::new("/etc/s.toml"))).unwrap()
    }

    #[test]
    fn what_the_session_says_of_its_file_is_passed_on() {
        assert_eq!(
            said_by("[ \"$*\" = '--check-config --config /etc/s.toml' ]"),
            None
        );
        let wrong = Finding::Fault("session_config: s.toml, line 2".to_owned());
        assert_eq!(said_by("echo s.toml, line 2; exit 1"), Some(wrong));
        let Some(Finding::Warning(text)) = said_by("echo 'what is that?' >&2; exit 2") else {
            panic!("no warning");
        };
        assert!(
            text.contains("does not say") && text.contains("what is that?"),
            "{text}"
        );
    }

    #[test]
    fn what_it_leaves_behind_is_ended_and_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alive");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let nonblocking = OFlags::NONBLOCK.bits() as i32;
        let mut alive = options
            .read(true)
            .custom_flags(nonblocking)
            .open(&path)
            .unwrap();
        // Whoever reads the pipe hears of its end when all that could write to it are gone.
        let script = format!("exec 9> {}; sleep 1000 & exit 0", path.display());
        assert_eq!(said_by(&script), None);
        rustix::fs::fcntl_setfl(&alive, OFlags::empty()).unwrap();
        assert_eq!(alive.read(&mut [0]).unwrap(), 0);
    }

    #[tokio::test]
    async fn only_the_beginning_of_what_it_says_is_kept() {
        let much = tokio::io::repeat(b'x').take(10 * MAX_KEPT);
        let kept = beginning(Some(much)).await.unwrap();
        assert_eq!(kept.len() as u64, MAX_KEPT);
    }

    #[test]
    fn file_that_only_root_can_read_is_said() {
        if !Uid::effective().is_root() {
            eprintln!("skipped: only root reads as somebody else");
            return;
        }
        let anybody = User::from_name(ANYBODY).unwrap().expect("Debian has it");
        let file = tempfile::NamedTempFile::new_in("/tmp").unwrap();
        let script = "read -r what < \"$3\" || { echo closed; exit 1; }; [ $what = right ] || { echo $what; exit 1; }";
        let session = ["/bin/sh", "-c", script, "session"].map(str::to_owned);
        let read = || read_as_anybody(&anybody, &session, Some(file.path())).unwrap();
        std::fs::write(file.path(), "right\n").unwrap();
        let Some(Finding::Warning(text)) = read() else {
            panic!("no warning");
        };
        assert!(text.contains("closed (as nobody reads it"), "{text}");
        std::fs::write(file.path(), "wrong\n").unwrap();
        assert_eq!(
            read(),
            Some(Finding::Fault("session_config: wrong".to_owned()))
        );
        let everybody = Permissions::from_mode(0o644);
        std::fs::set_permissions(file.path(), everybody).unwrap();
        std::fs::write(file.path(), "right\n").unwrap();
        assert_eq!(read(), None);
    }
}
