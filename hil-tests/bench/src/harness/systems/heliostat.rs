//! Heliostat itself: broker, session and headless terminal.

use std::path::Path;
use std::time::Duration;

use hil_local::{Site, SiteOptions, programs};

use super::{Desktop, Running};
use crate::harness::viewer::Viewer;
use crate::workload::{SCREEN, Workload};

const STEP: Duration = Duration::from_secs(20);
const CARD: &str = "piv:00000000000000000000000000000a11";

struct Heliostat {
    site: Site,
    /// A terminal without a card, between two connections.
    waiting: Option<Viewer>,
}

/// Starts a site whose sessions begin with the drawing client.
pub fn start(workload: Workload, socket: &Path) -> anyhow::Result<Running> {
    let draw = programs::find("hil-draw")?;
    let command = format!(
        "{} {} --control {}",
        draw.display(),
        workload.name(),
        socket.display()
    );
    let options = SiteOptions {
        session_toml: format!("autostart = [\"{command}\"]\n"),
        ..SiteOptions::default()
    };
    let site = Site::start(&options)?;
    site.add_card(CARD, "alice")?;
    Ok(Running {
        desktop: Box::new(Heliostat {
            site,
            waiting: None,
        }),
        servers: &["heliostat-broker", "heliostat-session"],
        clients: &["heliostat-terminal"],
        socket: socket.to_owned(),
    })
}

impl Desktop for Heliostat {
    fn connect(&mut self) -> anyhow::Result<Viewer> {
        let mut viewer = match self.waiting.take() {
            Some(viewer) => viewer,
            None => {
                let mut terminal = self.site.headless("desk", SCREEN)?;
                terminal.wait_named("connected", STEP)?;
                Viewer::new(terminal)?
            }
        };
        viewer.terminal.drain();
        viewer.terminal.insert_card(CARD)?;
        Ok(viewer)
    }

    fn disconnect(&mut self, mut viewer: Viewer) -> anyhow::Result<()> {
        viewer.terminal.pull_card()?;
        viewer.terminal.wait_named("detached", STEP)?;
        viewer.settle();
        self.waiting = Some(viewer);
        Ok(())
    }
}
