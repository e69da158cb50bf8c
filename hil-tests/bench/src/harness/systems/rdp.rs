//! RDP: FreeRDP's shadow server of an X server, or weston with a screen of RDP, and FreeRDP's viewer.

use std::path::Path;
use std::process::Command;

use hil_local::programs;
use tempfile::TempDir;

use super::processes::{Process, listens};
use super::{Desktop, Running, weston, xvfb};
use crate::harness::viewer::Viewer;
use crate::link::Link;
use crate::workload::Workload;

const PORT: u16 = 13389;

struct Rdp {
    graphics: &'static str,
    link: Link,
    screen: (u32, u32),
    // Ended in this order.
    desk: xvfb::Desk,
    _processes: Vec<Process>,
    _folder: TempDir,
}

/// The shadow server with the drawing client on the display that it shows.
pub fn start(
    workload: Workload,
    link: &Link,
    socket: &Path,
    graphics: &'static str,
) -> anyhow::Result<Running> {
    let folder = tempfile::Builder::new().prefix("hil-bench-").tempdir()?;
    let start = || xvfb::start("Xvfb-far", xvfb::FAR, workload.screen(), folder.path());
    let x = link.at_the_server(start)?;
    let draw = link.at_the_server(|| xvfb::draw(workload, socket, folder.path()))?;
    let mut command = Command::new("freerdp-shadow-cli");
    command.arg(format!("/bind-address:{}", link.server()));
    command.args([&format!("/port:{PORT}"), "-auth"]);
    command.env("DISPLAY", xvfb::FAR).env("HOME", folder.path());
    let start = || Process::start("freerdp-shadow", &mut command, folder.path());
    let mut server = link.at_the_server(start)?;
    server.wait_until(|| listens(PORT))?;
    Ok(Running {
        desktop: Box::new(Rdp {
            graphics,
            link: link.clone(),
            screen: workload.screen(),
            desk: xvfb::Desk::new(workload, link, folder.path())?,
            _processes: vec![draw, server, x],
            _folder: folder,
        }),
        servers: &["freerdp-shadow-cli", "Xvfb-far"],
        clients: &["xfreerdp", "Xvfb-near"],
        socket: socket.to_owned(),
    })
}

/// weston with the drawing client.
pub fn start_weston(workload: Workload, link: &Link, socket: &Path) -> anyhow::Result<Running> {
    let folder = tempfile::Builder::new().prefix("hil-bench-").tempdir()?;
    let address = (link.server(), PORT);
    let start = || weston::start(folder.path(), address, workload.screen());
    let (mut server, display) = link.at_the_server(start)?;
    server.wait_until(|| listens(PORT))?;
    let mut command = Command::new(programs::find("hil-draw")?);
    command.arg(workload.name()).arg("--control").arg(socket);
    display.set(&mut command);
    let start = || Process::start("hil-draw", &mut command, folder.path());
    let mut draw = link.at_the_server(start)?;
    draw.wait_until(|| socket.exists())?;
    Ok(Running {
        desktop: Box::new(Rdp {
            graphics: "/rfx",
            link: link.clone(),
            screen: workload.screen(),
            desk: xvfb::Desk::new(workload, link, folder.path())?,
            _processes: vec![draw, server],
            _folder: folder,
        }),
        servers: &["weston", "weston-desktop-shell"],
        clients: &["xfreerdp", "Xvfb-near"],
        socket: socket.to_owned(),
    })
}

impl Desktop for Rdp {
    fn connect(&mut self) -> anyhow::Result<Viewer> {
        let mut command = Command::new("xfreerdp");
        let (w, h) = self.screen;
        command.arg(format!("/v:{}:{PORT}", self.link.server()));
        command.args([&format!("/size:{w}x{h}"), self.graphics, "/cert:ignore"]);
        command.args(["/u:alice", "/p:", "-decorations", "/network:lan", "/bpp:32"]);
        command.args(["-grab-keyboard", "/log-level:WARN"]);
        command.env("HOME", self._folder.path());
        self.desk.connect("xfreerdp", &mut command)
    }

    fn disconnect(&mut self, viewer: Viewer, _: bool) -> anyhow::Result<()> {
        self.desk.disconnect(viewer)
    }
}
