//! A site on the loopback interface: one broker, its store and its sockets in a folder of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::programs;
use crate::terminal::Terminal;

/// How long a broker may take to come up, and its sessions to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a site is set up.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// The server's address.
    pub address: IpAddr,
    /// UDP port of the control links.
    pub port: u16,
    /// First and last UDP port of session links.
    pub session_ports: (u16, u16),
    /// A session.toml for all sessions.
    pub session_toml: String,
    /// The desktop that `make install` ships, with these lines before it.
    pub desktop: bool,
    /// More lines for the broker's configuration.
    pub more: String,
    /// The site's policy.
    pub policy: String,
}

impl Default for SiteOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 4460,
            session_ports: (4500, 4599),
            session_toml: String::new(),
            desktop: false,
            more: String::new(),
            policy: "[default]\nproof = \"none\"\n".to_owned(),
        }
    }
}

/// A running broker. Ended, with its sessions, when dropped.
pub struct Site {
    folder: TempDir,
    broker: Child,
    config: PathBuf,
    address: SocketAddr,
    pin: String,
}

impl Site {
    /// Starts a broker and waits until it answers.
    pub fn start(options: &SiteOptions) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("heliostat-").tempdir()?;
        // People's runtime folders lie below it, and people must reach them.
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o711),
        )?;
        let config = folder.path().join("broker.toml");
        let session_toml = folder.path().join("session.toml");
        let mut text = options.session_toml.clone();
        if options.desktop {
            text += &hil_rig::desktop::write(&folder.path().join("desktop"))?;
        }
        std::fs::write(&session_toml, text)?;
        std::fs::set_permissions(
            &session_toml,
            std::os::unix::fs::PermissionsExt::from_mode(0o644),
        )?;
        std::fs::write(&config, broker_toml(folder.path(), options)?)?;
        // Cards that a line of text inserts have no keys.
        std::fs::write(folder.path().join("policy.toml"), &options.policy)?;
        let pin = site_key(&config)?;
        let broker = spawn_broker(&config)?;
        let mut site = Self {
            folder,
            broker,
            config,
            address: SocketAddr::new(options.address, options.port),
            pin,
        };
        site.wait_until_up()?;
        Ok(site)
    }

    /// Runs heliostatctl and returns what it prints with `--json`.
    pub fn ctl(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = Command::new(programs::find("heliostatctl")?)
            .arg("--socket")
            .arg(self.socket())
            .arg("--json")
            .args(arguments)
            .output()
            .context("run heliostatctl")?;
        ensure!(
            output.status.success(),
            "heliostatctl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).with_context(|| format!("heliostatctl printed {text:?}"))
    }

    /// Gives a card to a person.
    pub fn add_card(&self, card: &str, person: &str) -> anyhow::Result<()> {
        self.ctl(&["card", "add", card, "--person", person])
            .map(drop)
    }

    /// Starts a terminal with the headless back end.
    pub fn headless(&self, name: &str, size: (u32, u32)) -> anyhow::Result<Terminal> {
        self.headless_with(name, size, "control")
    }

    /// Starts one whose cards come through pcscd.
    pub fn headless_with_reader(&self, name: &str, size: (u32, u32)) -> anyhow::Result<Terminal> {
        self.headless_with(name, size, "pcsc")
    }

    /// Starts one that puts films on a plane as they are decoded by the device of `node`; `environment`
    /// is what it finds besides ours.
    pub fn headless_with_plane(
        &self,
        name: &str,
        (w, h): (u32, u32),
        node: &Path,
        environment: &[(&str, &Path)],
    ) -> anyhow::Result<Terminal> {
        let mut command = self.terminal_command(name, "headless", "control")?;
        command.args(["--plane", "--size", &format!("{w}x{h}"), "--decoder"]);
        command.arg(node).envs(environment.iter().copied());
        Terminal::start(name, &mut command, None)
    }

    fn headless_with(&self, name: &str, size: (u32, u32), cards: &str) -> anyhow::Result<Terminal> {
        let framebuffer = self.folder.path().join(format!("{name}.framebuffer"));
        let mut command = self.terminal_command(name, "headless", cards)?;
        command.arg("--framebuffer").arg(&framebuffer);
        command.arg("--size").arg(format!("{}x{}", size.0, size.1));
        Terminal::start(name, &mut command, Some(&framebuffer))
    }

    /// Starts a terminal with the window back end, on the caller's own desktop.
    pub fn window(&self, name: &str, size: (u32, u32)) -> anyhow::Result<Terminal> {
        let mut command = self.terminal_command(name, "window", "control")?;
        command.arg("--size").arg(format!("{}x{}", size.0, size.1));
        Terminal::start(name, &mut command, None)
    }

    /// Starts a terminal on this machine's own display, which nobody else may be using.
    /// `environment` is what it finds besides ours.
    pub fn kms(&self, name: &str, environment: &[(&str, &str)]) -> anyhow::Result<Terminal> {
        let mut command = self.terminal_command(name, "kms", "control")?;
        command.envs(environment.iter().copied());
        Terminal::start(name, &mut command, None)
    }

    fn terminal_command(&self, name: &str, backend: &str, cards: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(programs::find("heliostat-terminal")?);
        command.args([
            "client",
            "--backend",
            backend,
            "--control",
            "--card-source",
            cards,
        ]);
        command.args(["--broker", &self.address.to_string()]);
        command.args(["--site-key", &self.pin, "--name", name, "--id", name]);
        Ok(command)
    }

    /// Kills the broker and starts it again; sessions run on.
    pub fn restart_broker(&mut self) -> anyhow::Result<()> {
        self.broker.kill()?;
        self.broker.wait()?;
        self.broker = spawn_broker(&self.config)?;
        self.wait_until_up()
    }

    /// The broker's process.
    pub fn broker_pid(&self) -> u32 {
        self.broker.id()
    }

    /// The folder of this site.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/admin.sock")
    }

    fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.broker.try_wait()? {
                bail!("heliostat-broker ended at once ({status}); see its messages above");
            }
            match self.ctl(&["status"]) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context("heliostat-broker does not answer"));
                }
                // The socket appears when the broker is ready; there is no event to wait on.
                Err(_) => std::thread::park_timeout(Duration::from_millis(20)),
            }
        }
    }

    /// Ends all sessions and then the broker: while a session runs, its runtime folder is a mount
    /// below ours, which could not be removed.
    fn end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(sessions) = self.ctl(&["session", "list"]) {
            let sessions = sessions.as_array().map_or(&[][..], Vec::as_slice);
            if sessions.is_empty() || Instant::now() > deadline {
                break;
            }
            let pids = sessions
                .iter()
                .filter_map(|session| session["pid"].as_i64());
            // One that is only starting has no number yet, and 0 would be our own group.
            for pid in pids.filter(|pid| *pid > 0) {
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
            }
            // Nobody tells of the end of sessions that no terminal shows.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = kill(Pid::from_raw(self.broker.id() as i32), Signal::SIGTERM);
        let _ = self.broker.wait();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end();
    }
}

fn broker_toml(folder: &Path, options: &SiteOptions) -> anyhow::Result<String> {
    let pam = hil_rig::pam::write(folder)?;
    let greeter = match options.more.contains("[greeter]") {
        true => "",
        false => "[greeter]\ncommand = []\n",
    };
    let (first, last) = options.session_ports;
    Ok(format!(
        "site = \"Local\"\n\
         listen = \"{listen}\"\n\
         state_dir = \"{folder}/state\"\n\
         run_dir = \"{folder}/run\"\n\
         session_ports = \"{first}-{last}\"\n\
         session_config = \"{folder}/session.toml\"\n\
         policy = \"{folder}/policy.toml\"\n\
         {more}\n\
         {pam}\
         {greeter}",
        listen = SocketAddr::new(options.address, options.port),
        folder = folder.display(),
        more = options.more,
    ))
}

fn site_key(config: &Path) -> anyhow::Result<String> {
    let output = Command::new(programs::find("heliostat-broker")?)
        .args(["site-key", "--config"])
        .arg(config)
        .output()
        .context("run heliostat-broker site-key")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn spawn_broker(config: &Path) -> anyhow::Result<Child> {
    Command::new(programs::find("heliostat-broker")?)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .spawn()
        .context("start heliostat-broker")
}
