//! Heliostat itself: broker, session and headless terminal.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hil_local::{Site, SiteOptions, programs};

use super::{Desktop, Running};
use crate::harness::viewer::Viewer;
use crate::link::{Link, NoUdp};
use crate::workload::Workload;

const STEP: Duration = Duration::from_secs(20);
/// A terminal that has shown nothing for so long has shown that it is idle.
const QUIET: Duration = Duration::from_millis(500);
const CARD: &str = "piv:00000000000000000000000000000a11";

/// Longer than any bench leaves a terminal alone.
const KEEP_PIXELS: &str = "keep_pixels = \"5min\"\n";
/// What a session calls its link where UDP does not pass.
const TCP: &str = "TCP";
/// And where it does.
const QUIC: &str = "QUIC";

/// The network between terminals and the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// All of it passes.
    Whole,
    /// UDP does not.
    WithoutUdp,
}

/// What terminals keep when a card is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// What they do by default.
    Nothing,
    /// What they showed.
    Pixels,
}

struct Heliostat {
    site: Site,
    link: Link,
    screen: (u32, u32),
    /// How many terminals there have been.
    terminals: u32,
    /// A terminal without a card, between two connections.
    waiting: Option<Viewer>,
    /// UDP passes again when everything else is gone.
    no_udp: Option<NoUdp>,
}

/// Starts a site whose sessions begin with the drawing client.
pub fn start(
    workload: Workload,
    link: &Link,
    socket: &Path,
    network: Network,
    keep: Keep,
) -> anyhow::Result<Running> {
    let no_udp = match network {
        Network::Whole => None,
        Network::WithoutUdp => Some(link.without_udp()?),
    };
    let keep = match keep {
        Keep::Nothing => "",
        Keep::Pixels => KEEP_PIXELS,
    };
    let draw = programs::find("hil-draw")?;
    let command = format!(
        "{} {} --control {}",
        draw.display(),
        workload.name(),
        socket.display()
    );
    let options = SiteOptions {
        address: link.server(),
        session_toml: format!("autostart = [\"{command}\"]\n"),
        policy: format!("[default]\nproof = \"none\"\n{keep}"),
        ..SiteOptions::default()
    };
    let site = link.at_the_server(|| Site::start(&options))?;
    site.add_card(CARD, "alice")?;
    Ok(Running {
        desktop: Box::new(Heliostat {
            site,
            link: link.clone(),
            screen: workload.screen(),
            terminals: 0,
            waiting: None,
            no_udp,
        }),
        servers: &["heliostat-broker", "heliostat-session"],
        clients: &["heliostat-terminal"],
        socket: socket.to_owned(),
    })
}

impl Heliostat {
    /// A terminal that has not been here before, without a card.
    fn terminal(&mut self) -> anyhow::Result<Viewer> {
        self.terminals += 1;
        let name = format!("desk{}", self.terminals);
        let (site, screen) = (&self.site, self.screen);
        let start = || site.headless(&name, screen);
        let mut terminal = self.link.at_the_desk(start)?;
        terminal.wait_named("connected", STEP)?;
        Viewer::new(terminal)
    }
}

impl Desktop for Heliostat {
    fn carrier(&self) -> anyhow::Result<Option<String>> {
        let deadline = Instant::now() + STEP;
        loop {
            let sessions = self.site.ctl(&["session", "list"])?;
            let carrier = sessions[0]["stats"]["link"]["carrier"].as_str();
            if let Some(carrier) = carrier.filter(|carrier| !carrier.is_empty()) {
                let expected = if self.no_udp.is_some() { TCP } else { QUIC };
                ensure!(
                    carrier == expected,
                    "the session's link is one over {carrier}, not {expected}"
                );
                return Ok(Some(carrier.to_owned()));
            }
            ensure!(
                Instant::now() < deadline,
                "the session does not say what carries its link"
            );
            // Sessions tell the broker how they are every now and then.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn commit_to_link_us(&self) -> anyhow::Result<Option<u32>> {
        let round = self.site.ctl(&["top", "--once", "--interval", "0.1"])?;
        let median = round["sessions"][0]["commit_to_link_p50_us"].as_u64();
        Ok(median.and_then(|us| u32::try_from(us).ok()))
    }

    fn connect(&mut self) -> anyhow::Result<Viewer> {
        let mut viewer = match self.waiting.take() {
            Some(viewer) => viewer,
            None => self.terminal()?,
        };
        viewer.terminal.drain();
        viewer.terminal.insert_card(CARD)?;
        Ok(viewer)
    }

    fn disconnect(&mut self, mut viewer: Viewer, again: bool) -> anyhow::Result<()> {
        viewer.terminal.pull_card()?;
        viewer.terminal.wait_named("detached", STEP)?;
        viewer.settle(QUIET);
        self.waiting = Some(if again { viewer } else { self.terminal()? });
        Ok(())
    }
}
