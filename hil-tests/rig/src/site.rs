//! The server's side of the rig: broker and netboot service, as a site has them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::RigOptions;
use crate::network::{BRIDGE, SERVER};
use crate::programs;

/// Where sessions read their configuration: people may not be able to enter the checkout's folder.
const SESSION_TOML: &str = "/run/heliostat-session.toml";

/// Where the desktop's own files are.
const DESKTOP: &str = "/run/heliostat-desktop";

/// One terminal as the netboot service is told of it.
pub struct KnownTerminal {
    /// Its network card.
    pub mac: String,
    /// Its name.
    pub name: String,
}

/// A running site. Its programs are ended with it.
pub struct Site {
    folder: PathBuf,
    broker: Option<Child>,
    _pxe: Child,
}

impl Site {
    /// Starts broker and netboot service with their files and logs in `folder`.
    pub fn start(options: &RigOptions, terminals: &[KnownTerminal]) -> anyhow::Result<Self> {
        let folder = options.folder.as_path();
        let shell = if options.shell {
            " heliostat.shell=ttyS1"
        } else {
            ""
        };
        let broker_toml = format!(
            "site = \"Heliostat demo\"\n\
             listen = \"{SERVER}:4460\"\n\
             state_dir = \"{}/state\"\n\
             run_dir = \"/run/heliostat\"\n\
             session_config = \"{SESSION_TOML}\"\n\
             policy = \"{}/policy.toml\"\n\
             [greeter]\n\
             command = []\n\
             {}",
            folder.display(),
            folder.display(),
            crate::pam::write(folder)?,
        );
        // Each virtual card's keys are bound to it when they are seen first.
        std::fs::write(folder.join("policy.toml"), "[default]\nproof = \"card\"\n")?;
        // A site of its own, whose logs outlive it.
        let state = folder.join("state");
        if state.exists() {
            std::fs::remove_dir_all(&state)?;
        }
        std::fs::write(folder.join("broker.toml"), broker_toml)?;
        let session_toml = match options.windows {
            // People look at it: the desktop that is shipped, with something on it.
            true => crate::desktop::write(Path::new(DESKTOP))?.replacen(
                "autostart = []",
                "autostart = [\"foot\"]",
                1,
            ),
            false => "autostart = [\"foot\"]\n".to_owned(),
        };
        std::fs::write(SESSION_TOML, session_toml)?;
        let pin = site_key(folder)?;
        let names: String = terminals
            .iter()
            .map(|t| format!("[[terminal]]\nmac = \"{}\"\nname = \"{}\"\n", t.mac, t.name))
            .collect();
        let cmdline = format!("console=ttyS0 heliostat.console=ttyS0 panic=-1 quiet{shell}");
        let pin = (!options.bare).then_some(pin.as_str());
        let image = site_image(options, pin, &cmdline)?;
        let pxe_toml = format!(
            "interface = \"{BRIDGE}\"\n\
             mode = \"dhcp\"\n\
             image = \"{image}\"\n\
             broker = [\"{SERVER}:4460\"]\n\
             run_dir = \"/run/heliostat-pxe\"\n\
             state_dir = \"/run/heliostat-pxe-state\"\n\
             [dhcp]\n\
             range = \"10.77.0.100-10.77.0.199\"\n\
             router = \"{SERVER}\"\n\
             router_advertisements = true\n\
             {names}",
            image = image.display(),
        );
        std::fs::write(folder.join("pxe.toml"), pxe_toml)?;
        let broker = start_broker(folder)?;
        let pxe = spawn(folder, "heliostat-pxe", &["run", "--config"], "pxe.toml")?;
        let mut site = Self {
            folder: folder.to_owned(),
            broker: Some(broker),
            _pxe: pxe,
        };
        site.wait_for_broker()?;
        Ok(site)
    }

    /// Runs heliostatctl and returns what it prints with `--json`.
    pub fn ctl(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = Command::new(programs::find("heliostatctl")?)
            .args(["--socket", "/run/heliostat/admin.sock", "--json"])
            .args(arguments)
            .output()
            .context("run heliostatctl")?;
        let words = arguments.join(" ");
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "heliostatctl {words}: {}",
            errors.trim()
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("heliostatctl {words} printed no JSON"))
    }

    /// Kills the broker without warning.
    pub fn kill_broker(&mut self) -> anyhow::Result<()> {
        if let Some(mut broker) = self.broker.take() {
            broker.kill()?;
            broker.wait()?;
        }
        Ok(())
    }

    /// Starts the broker again.
    pub fn restart_broker(&mut self) -> anyhow::Result<()> {
        self.kill_broker()?;
        self.broker = Some(start_broker(&self.folder)?);
        self.wait_for_broker()
    }

    fn wait_for_broker(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let ended = self
                .broker
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten();
            if let Some(status) = ended {
                let log = self.folder.join("heliostat-broker.log");
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("heliostat-broker ended at once ({status}): {}", said.trim());
            }
            match self.ctl(&["status"]) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                // Its socket appears without an event.
                Err(_) => std::thread::park_timeout(Duration::from_millis(50)),
            }
        }
    }
}

/// The image with this site's key in it. A UKI has its command line inside, so the key cannot come
/// with the netboot service's answers alone.
fn site_image(options: &RigOptions, pin: Option<&str>, cmdline: &str) -> anyhow::Result<PathBuf> {
    let out = options.folder.join("image");
    let output = Command::new(programs::find("heliostat-image")?)
        .arg("site")
        .arg("--image")
        .arg(&options.image)
        .arg("--out")
        .arg(&out)
        .args(["--cmdline", cmdline])
        .args(pin.iter().flat_map(|pin| ["--site-key", pin]))
        .output()
        .context("run heliostat-image site")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "heliostat-image site: {}",
        errors.trim()
    );
    Ok(out)
}

fn start_broker(folder: &Path) -> anyhow::Result<Child> {
    spawn(folder, "heliostat-broker", &["--config"], "broker.toml")
}

fn spawn(folder: &Path, program: &str, words: &[&str], config: &str) -> anyhow::Result<Child> {
    let log = folder.join(format!("{program}.log"));
    let log = File::options().create(true).append(true).open(log)?;
    Command::new(programs::find(program)?)
        .args(words)
        .arg(folder.join(config))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {program}"))
}

fn site_key(folder: &Path) -> anyhow::Result<String> {
    let output = Command::new(programs::find("heliostat-broker")?)
        .args(["site-key", "--config"])
        .arg(folder.join("broker.toml"))
        .output()
        .context("run heliostat-broker site-key")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
