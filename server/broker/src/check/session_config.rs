//! Whether sessions can use their configuration: their own program reads it.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use super::Finding;

/// A session reads a small file and ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of what it says that are shown.
const MAX_SHOWN: usize = 2000;

/// Has the session's program say what is wrong with a session.toml, the usual one where absent.
pub fn read(session: &[String], file: Option<&Path>) -> anyhow::Result<Option<Finding>> {
    let [program, arguments @ ..] = session else {
        return Ok(None);
    };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).arg("--check-config");
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended =
        runtime.block_on(async { tokio::time::timeout(PATIENCE, command.output()).await.ok() });
    let said = match &ended {
        Some(Ok(output)) if output.status.success() => return Ok(None),
        Some(Ok(output)) if is_verdict(output) => {
            return Ok(Some(Finding::Fault(format!(
                "session_config: {}",
                shown(&output.stdout)
            ))));
        }
        Some(Ok(output)) => format!("{}: {}", output.status, shown(&output.stderr)),
        Some(Err(problem)) => problem.to_string(),
        None => "it does not end".to_owned(),
    };
    Ok(Some(Finding::Warning(format!(
        "session_config: {program} does not say whether it can use its configuration ({said})"
    ))))
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
    use super::*;

    fn said_by(script: &str) -> Option<Finding> {
        let session = ["/bin/sh", "-c", script, "session"].map(str::to_owned);
        read(&session, Some(Path::new("/etc/s.toml"))).unwrap()
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
}
