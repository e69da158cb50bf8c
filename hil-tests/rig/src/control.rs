//! The rig's control socket: one JSON request a connection, one JSON answer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Rig;

/// What can be asked of a running rig.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Insert a card.
    Insert {
        /// Whose.
        card: String,
        /// Where.
        terminal: String,
    },
    /// Pull the card.
    Pull {
        /// Where.
        terminal: String,
    },
    /// Type a text.
    Key {
        /// Where.
        terminal: String,
        /// What.
        text: String,
    },
    /// Move the pointer, and click if asked.
    Pointer {
        /// Where.
        terminal: String,
        /// From the left.
        x: u32,
        /// From the top.
        y: u32,
        /// Whether to click.
        click: bool,
    },
    /// Write the screen to a file.
    Screenshot {
        /// Where.
        terminal: String,
        /// The PNG file, absolute.
        path: PathBuf,
    },
    /// Plug the network cable in or out.
    Link {
        /// Where.
        terminal: String,
        /// In.
        up: bool,
    },
    /// Switch the power.
    Power {
        /// Where.
        terminal: String,
        /// On.
        on: bool,
    },
    /// Everything there is to say.
    Status,
    /// Run a command inside.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// End it all.
    Down,
}

/// Serves requests until one ends it.
pub fn serve(rig: &mut Rig, listener: &UnixListener) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_err() {
            continue;
        }
        let request: Result<Request, _> = serde_json::from_str(&line);
        let down = matches!(request, Ok(Request::Down));
        let answer = match request
            .map_err(anyhow::Error::from)
            .and_then(|r| obey(rig, r))
        {
            Ok(value) => json!({"ok": value}),
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        // Whoever asked may have gone.
        let _ = writeln!(&stream, "{answer}");
        if down {
            return Ok(());
        }
    }
}

/// Carries out a request.
pub fn obey(rig: &mut Rig, request: Request) -> anyhow::Result<Value> {
    match request {
        Request::Insert { card, terminal } => rig.insert(&card, &terminal)?,
        Request::Pull { terminal } => rig.pull(&terminal)?,
        Request::Key { terminal, text } => rig.machine(&terminal)?.type_text(&text)?,
        Request::Pointer {
            terminal,
            x,
            y,
            click,
        } => {
            let machine = rig.machine(&terminal)?;
            machine.pointer(x, y)?;
            if click {
                machine.button(true)?;
                machine.button(false)?;
            }
        }
        Request::Screenshot { terminal, path } => rig.screenshot(&terminal, &path)?,
        Request::Link { terminal, up } => rig.machine(&terminal)?.set_cable(up)?,
        Request::Power { terminal, on } => rig.set_power(&terminal, on)?,
        Request::Status => return rig.status(),
        Request::Exec { command } => return exec(&command),
        Request::Down => {}
    }
    Ok(json!("done"))
}

fn exec(command: &[String]) -> anyhow::Result<Value> {
    let (program, arguments) = command.split_first().context("say what to run")?;
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("run {program}"))?;
    Ok(json!({
        "status": output.status.code(),
        "stdout": String::from_utf8_lossy(&output.stdout),
        "stderr": String::from_utf8_lossy(&output.stderr),
    }))
}

/// Asks a running rig.
pub fn ask(socket: &Path, request: &Request) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("no rig is up (looked at {}): rig up", socket.display()))?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let mut answer: Value = serde_json::from_str(&line).context("the rig ended meanwhile")?;
    if let Some(error) = answer["error"].as_str() {
        bail!("{error}");
    }
    Ok(answer["ok"].take())
}
