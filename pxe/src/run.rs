//! The service at work: files written, children started and watched, and taken down together.
//!
//! ```text
//!   lock ─► copy images ─► write configuration ─► bind HTTP ─► children ─► watch ──► stop
//!                                                                 ▲          │ dnsmasq or HTTP ended: stop with why
//!                                                                 └──────────┘ signal: stop
//! ```

use std::collections::VecDeque;
use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use rustix::process::PidfdFlags;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, info, warn};

use crate::check::{Findings, Ready, check};
use crate::config::Config;
use crate::events::{Event, parse};
use crate::http::SCRIPT;
use crate::ports::{Transport, describe};
use crate::{dnsmasq, script};

/// How long a child may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(3);
/// How many of dnsmasq's last lines are shown when it fails.
const LAST_LINES: usize = 5;
/// Who serves HTTP when we are root.
const UNPRIVILEGED: &str = "nobody";

/// Runs the service until a signal, or until a child ends.
pub async fn run(config: &Config) -> Result<()> {
    let _lock = lock(config)?;
    Kind::ALL
        .into_iter()
        .try_for_each(|kind| end_leftover(config, kind))?;
    let ready = report(check(config))?;
    let conf = prepare(config, &ready)?;
    let mut children = Children {
        http: start_http(config, &ready)?,
        dnsmasq: start_dnsmasq(config, &ready.dnsmasq, &conf)?,
    };
    let url = dnsmasq::script_url(config, &ready.facts(config));
    info!("serving {} as {url}; stop with Ctrl-C", config.interface);
    let outcome = watch(config, &mut children).await;
    children.stop(config).await;
    outcome
}

/// Prints what was found; an error when anything must be repaired first.
pub fn report((ready, findings): (Option<Ready>, Findings)) -> Result<Ready> {
    for note in &findings.notes {
        warn!("{note}");
    }
    match ready {
        Some(ready) if findings.problems.is_empty() => Ok(ready),
        _ => bail!("cannot serve:\n  {}", findings.problems.join("\n  ")),
    }
}

/// Writes the script, the verified images and dnsmasq's configuration; returns the latter's path.
pub fn prepare(config: &Config, ready: &Ready) -> Result<PathBuf> {
    let root = config.run_dir.join("www");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot clear {}", root.display()))?;
    }
    for directory in [&root, &config.state_dir] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    ready.images.copy_to(&root)?;
    let facts = ready.facts(config);
    let base = format!("http://{}:{}", facts.address, config.http_port);
    let script = script::script(config, &base, &ready.images.general, &ready.images.own)?;
    fs::write(root.join(SCRIPT), script)?;
    let conf = config.run_dir.join("dnsmasq.conf");
    fs::write(&conf, dnsmasq::configuration(config, &facts))?;
    if let Err(complaint) = dnsmasq::test(&ready.dnsmasq, &conf).context("cannot run dnsmasq")? {
        bail!(
            "dnsmasq refuses {}, which is our bug: {complaint}",
            conf.display()
        );
    }
    Ok(conf)
}

struct Children {
    http: Child,
    dnsmasq: Child,
}

impl Children {
    async fn stop(&mut self, config: &Config) {
        tokio::join!(
            stop(&mut self.dnsmasq, "dnsmasq"),
            stop(&mut self.http, "the HTTP server")
        );
        for kind in Kind::ALL {
            drop(fs::remove_file(kind.pid_file(config)));
        }
    }
}

/// A child, as it can be found again after we were killed.
#[derive(Clone, Copy)]
enum Kind {
    Dnsmasq,
    Http,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Dnsmasq, Kind::Http];

    fn pid_file(self, config: &Config) -> PathBuf {
        config.run_dir.join(match self {
            Kind::Dnsmasq => "dnsmasq.pid",
            Kind::Http => "http.pid",
        })
    }

    /// The word of its command line that only ours has.
    fn mark(self, config: &Config) -> String {
        match self {
            Kind::Dnsmasq => format!(
                "--conf-file={}",
                config.run_dir.join("dnsmasq.conf").display()
            ),
            Kind::Http => config.run_dir.join("www").display().to_string(),
        }
    }

    fn remember(self, config: &Config, child: &Child) -> Result<()> {
        let pid = child.id().unwrap_or_default().to_string();
        Ok(fs::write(self.pid_file(config), pid)?)
    }
}

async fn stop(child: &mut Child, name: &str) {
    let Some(pid) = child.id() else { return };
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
    if tokio::time::timeout(STOP_DEADLINE, child.wait())
        .await
        .is_err()
    {
        warn!("{name} does not stop and is killed");
        drop(child.kill().await);
    }
}

fn start_dnsmasq(config: &Config, program: &Path, conf: &Path) -> Result<Child> {
    let mut command = Command::new(program);
    command
        .arg("--keep-in-foreground")
        .arg("--log-facility=-")
        .arg("--pid-file=");
    command.arg(format!("--conf-file={}", conf.display()));
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Kind::Dnsmasq.remember(config, &child)?;
    Ok(child)
}

/// Binds here, with whatever privileges we have, and gives the socket to a child that has none.
fn start_http(config: &Config, ready: &Ready) -> Result<Child> {
    let address = (ready.interface.address, config.http_port);
    let socket = TcpListener::bind(address).map_err(|error| {
        anyhow::anyhow!(describe(Transport::Tcp, config.http_port, "HTTP", &error))
    })?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("serve-http")
        .arg(config.run_dir.join("www"))
        .arg(std::process::id().to_string());
    command
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .kill_on_drop(true)
        .current_dir("/");
    if nix::unistd::geteuid().is_root()
        && let Some(user) = User::from_name(UNPRIVILEGED)?
    {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let child = command.spawn().context("cannot start the HTTP server")?;
    Kind::Http.remember(config, &child)?;
    Ok(child)
}

async fn watch(config: &Config, children: &mut Children) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stderr = children
        .dnsmasq
        .stderr
        .take()
        .context("dnsmasq has no standard error")?;
    let mut log = Log::new(stderr);
    let hint = tokio::time::sleep(Duration::from_secs(config.hint_seconds));
    tokio::pin!(hint);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            line = log.next() => if !line? { return dnsmasq_ended(&mut children.dnsmasq, &log).await },
            status = children.http.wait() => bail!("the HTTP server ended with {}", status?),
            () = &mut hint, if !log.hinted => log.hint(config),
        }
    }
}

/// dnsmasq's log, and what has been heard so far.
struct Log {
    lines: Lines<BufReader<ChildStderr>>,
    last: VecDeque<String>,
    /// True once somebody asked for an address, or once it was said that nobody does.
    hinted: bool,
}

impl Log {
    fn new(stderr: ChildStderr) -> Log {
        Log {
            lines: BufReader::new(stderr).lines(),
            last: VecDeque::new(),
            hinted: false,
        }
    }

    /// Takes the next line; false at the end.
    async fn next(&mut self) -> Result<bool> {
        let Some(line) = self.lines.next_line().await? else {
            return Ok(false);
        };
        debug!("{line}");
        match parse(&line) {
            Some(
                event @ (Event::Unserved { .. } | Event::NotSent { .. } | Event::Failed { .. }),
            ) => warn!("{event}"),
            Some(event @ (Event::Asked { .. } | Event::Leased { .. })) => {
                self.hinted = true;
                info!("{event}");
            }
            Some(event) => info!("{event}"),
            None => {}
        }
        self.last.push_back(line);
        if self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
        Ok(true)
    }

    fn hint(&mut self, config: &Config) {
        self.hinted = true;
        let (interface, seconds) = (&config.interface, config.hint_seconds);
        warn!(
            "nobody has asked for an address on {interface} for {seconds} s: is this the terminals' network \
             (cable, VLAN, bridge), is network boot first in their firmware, and does a firewall let UDP 67 in?"
        );
    }
}

async fn dnsmasq_ended(child: &mut Child, log: &Log) -> Result<()> {
    let status = child.wait().await?;
    let last: Vec<&str> = log.last.iter().map(String::as_str).collect();
    bail!(
        "dnsmasq ended with {status}; its last words:\n  {}",
        last.join("\n  ")
    )
}

/// Two services on one interface would answer each other's terminals.
fn lock(config: &Config) -> Result<Flock<fs::File>> {
    fs::create_dir_all(&config.run_dir)
        .with_context(|| format!("cannot make {}", config.run_dir.display()))?;
    let path = config.run_dir.join("lock");
    let file =
        fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        anyhow::anyhow!(
            "another heliostat-pxe runs with {}",
            config.run_dir.display()
        )
    })
}

/// A child whose parent was killed may go on for a while, dnsmasq for ever; it is ours if its command line says so.
fn end_leftover(config: &Config, kind: Kind) -> Result<()> {
    let text = fs::read_to_string(kind.pid_file(config)).unwrap_or_default();
    let Some(pid) = text
        .trim()
        .parse()
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    else {
        return Ok(());
    };
    // The process is held before it is looked at, so that its number cannot pass to another in between.
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(());
    };
    let cmdline = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    if !cmdline
        .split(|b| *b == 0)
        .any(|word| word == kind.mark(config).as_bytes())
    {
        return Ok(());
    }
    let name =
        fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).unwrap_or_default();
    warn!(
        "{} (pid {}) is left from an earlier run and is stopped",
        name.trim(),
        pid.as_raw_nonzero()
    );
    for sent in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let _ = rustix::process::pidfd_send_signal(&process, sent);
        let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ended, PollTimeout::try_from(STOP_DEADLINE)?)? > 0 {
            return Ok(());
        }
    }
    bail!(
        "a process of an earlier run (pid {}) cannot be stopped",
        pid.as_raw_nonzero()
    )
}
