//! The network process: runs the [`Machine`], does what it wants done, and reports to PID 1.

use std::os::fd::RawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use heliostat_terminal_state::{LineReader, encode_line};
use rtnetlink::Handle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::lease::Lease;
use super::machine::{Action, Machine};
use super::monitor::Monitor;
use super::report::{Ask, NetReport};
use super::{apply, dhcp, srv};
use crate::boot::facts::read_cmdline;
use crate::cmdline::Cmdline;

/// PID 1 takes a report within this time, or something is very wrong with it.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The table of interfaces is read this often even when the kernel announces nothing, should an
/// announcement have been lost.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// Arguments of `heliostat-terminal network`.
#[derive(Debug, clap::Args)]
pub struct NetworkArgs {
    /// Number of the inherited socket that takes the reports
    #[arg(long, value_name = "N")]
    pub report_fd: RawFd,
}

/// Runs until PID 1 goes away.
///
/// # Errors
/// When the kernel refuses the sockets, or PID 1 does not listen any more.
pub fn run(args: &NetworkArgs) -> anyhow::Result<()> {
    let report = heliostat_sys::fd::take_inherited(args.report_fd).context("--report-fd")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut network = Network::open(StdUnixStream::from(report), read_cmdline())?;
        network.run().await
    })
}

struct Network {
    machine: Machine,
    monitor: Monitor,
    handle: Handle,
    link: UnixStream,
    asks: LineReader,
    told: Option<NetReport>,
    host_name: Option<String>,
    asking: Option<JoinHandle<()>>,
    searching: Option<JoinHandle<()>>,
    leases: (dhcp::Leases, mpsc::Receiver<(u32, Lease)>),
    found: (mpsc::Sender<Found>, mpsc::Receiver<Found>),
}

type Found = Result<Vec<String>, String>;

enum Event {
    Links,
    Lease(u32, Lease),
    Found(Found),
    SearchEnded(String),
    Asked(Vec<Ask>),
    Due,
}

impl Network {
    fn open(link: StdUnixStream, cmdline: Cmdline) -> anyhow::Result<Network> {
        link.set_nonblocking(true)?;
        let monitor = Monitor::open().context("interfaces cannot be watched")?;
        Ok(Network {
            machine: Machine::new(Instant::now(), cmdline.boot_mac, cmdline.brokers),
            handle: monitor.handle(),
            monitor,
            link: UnixStream::from_std(link)?,
            asks: LineReader::default(),
            told: None,
            host_name: cmdline.name,
            asking: None,
            searching: None,
            leases: mpsc::channel(4),
            found: mpsc::channel(4),
        })
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        self.look_at_interfaces().await;
        loop {
            for action in self.machine.poll_actions() {
                self.act(action).await;
            }
            self.tell().await?;
            match self.next().await? {
                Event::Links => self.look_at_interfaces().await,
                Event::Lease(index, lease) => {
                    self.machine.handle_lease(Instant::now(), index, lease)
                }
                Event::Found(found) => self.machine.handle_search(Instant::now(), found),
                Event::SearchEnded(why) => self.handle_search_ended(why),
                Event::Asked(asks) => asks.iter().for_each(|ask| self.handle_ask(ask)),
                Event::Due => self.machine.handle_timeout(Instant::now()),
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<Event> {
        let due = self
            .machine
            .poll_timeout()
            .filter(|due| *due > Instant::now());
        let due = due.map_or(LOOK_ANYWAY, |due| {
            due.saturating_duration_since(Instant::now())
        });
        let mut chunk = [0; 1024];
        tokio::select! {
            changed = self.monitor.changed() => match changed {
                Some(()) => Ok(Event::Links),
                None => bail!("the kernel's announcements ended"),
            },
            Some((index, lease)) = self.leases.1.recv() => Ok(Event::Lease(index, lease)),
            Some(found) = self.found.1.recv() => Ok(Event::Found(found)),
            read = self.link.read(&mut chunk) => match read? {
                0 => bail!("PID 1 does not listen any more"),
                len => Ok(Event::Asked(self.read_asks(&chunk[..len]))),
            },
            why = ended(&mut self.asking) => bail!("DHCP ended: {why}"),
            why = ended(&mut self.searching) => Ok(Event::SearchEnded(why)),
            () = tokio::time::sleep(due.min(LOOK_ANYWAY)) => match due < LOOK_ANYWAY {
                true => Ok(Event::Due),
                false => Ok(Event::Links),
            },
        }
    }

    async fn look_at_interfaces(&mut self) {
        match self.monitor.interfaces().await {
            Ok(interfaces) => self.machine.handle_interfaces(Instant::now(), interfaces),
            Err(error) => warn!(%error, "interfaces cannot be listed"),
        }
        self.machine.handle_timeout(Instant::now());
    }

    async fn act(&mut self, action: Action) {
        debug!(?action, "action");
        match action {
            Action::StartDhcp(interface) => {
                stop(&mut self.asking);
                let asking = dhcp::ask(interface, self.host_name.clone(), self.leases.0.clone());
                self.asking = Some(tokio::spawn(asking));
            }
            Action::StopDhcp => stop(&mut self.asking),
            Action::Apply(index, lease) => apply::apply(&self.handle, index, &lease).await,
            Action::Remove(index, lease) => apply::remove(&self.handle, index, &lease).await,
            Action::Search(lease) => self.search(lease),
        }
    }

    fn search(&mut self, lease: Lease) {
        stop(&mut self.searching);
        let found = self.found.0.clone();
        self.searching = Some(tokio::spawn(async move {
            let brokers = srv::find(&lease).await.map_err(|error| error.to_string());
            // Nobody waits for it only when the process is about to end.
            let _ = found.send(brokers).await;
        }));
    }

    /// The task has sent what it found, unless it failed.
    fn handle_search_ended(&mut self, why: String) {
        self.searching = None;
        let found = self.found.1.try_recv().unwrap_or(Err(why));
        self.machine.handle_search(Instant::now(), found);
    }

    fn read_asks(&mut self, bytes: &[u8]) -> Vec<Ask> {
        let asks = self.asks.handle_bytes(bytes).into_iter();
        asks.filter_map(|ask| {
            ask.inspect_err(|error| warn!(%error, "PID 1 not understood"))
                .ok()
        })
        .collect()
    }

    fn handle_ask(&mut self, ask: &Ask) {
        match ask {
            Ask::LookAgain => self.machine.handle_look_again(Instant::now()),
        }
    }

    async fn tell(&mut self) -> anyhow::Result<()> {
        let report = self.machine.report(Instant::now());
        if self.told.as_ref() == Some(&report) {
            return Ok(());
        }
        let line = encode_line(&report)?;
        tokio::time::timeout(REPORT_TIMEOUT, self.link.write_all(&line))
            .await
            .context("PID 1 does not read reports")?
            .context("PID 1 does not listen any more")?;
        self.told = Some(report);
        Ok(())
    }
}

fn stop(task: &mut Option<JoinHandle<()>>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}

/// Waits until `task` has ended by itself, for ever if there is none; why it did.
async fn ended(task: &mut Option<JoinHandle<()>>) -> String {
    match task {
        Some(task) => match task.await {
            Ok(()) => "it was done".to_owned(),
            Err(error) => error.to_string(),
        },
        None => std::future::pending().await,
    }
}
