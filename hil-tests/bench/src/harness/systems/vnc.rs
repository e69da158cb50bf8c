//! VNC: TigerVNC's X server, and a headless sway with wayvnc, both seen through our RFB client.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hil_local::{Terminal, programs};
use tempfile::TempDir;

use super::processes::{Process, listens};
use super::{Desktop, Running, sway};
use crate::harness::viewer::Viewer;
use crate::link::Link;
use crate::workload::Workload;

const PORT: u16 = 5999;
const DISPLAY: &str = ":99";
const STEP: Duration = Duration::from_secs(10);

struct Vnc {
    link: Link,
    quality: Option<u8>,
    picture: std::path::PathBuf,
    // Ended in this order.
    _processes: Vec<Process>,
    _folder: TempDir,
}

/// Xvnc with the drawing client in it.
pub fn start_tigervnc(
    workload: Workload,
    link: &Link,
    socket: &Path,
    quality: Option<u8>,
) -> anyhow::Result<Running> {
    let folder = tempfile::Builder::new().prefix("hil-bench-").tempdir()?;
    let mut command = Command::new("Xvnc");
    command.args([DISPLAY, "-rfbport", &PORT.to_string(), "-interface"]);
    let (w, h) = workload.screen();
    command.arg(link.server().to_string());
    command.args(["-geometry", &format!("{w}x{h}")]);
    command.args(["-depth", "24", "-SecurityTypes", "None", "-AlwaysShared"]);
    command.args(["-ac", "-nolisten", "tcp"]);
    let start = || Process::start("Xvnc", &mut command, folder.path());
    let mut server = link.at_the_server(start)?;
    server.wait_until(|| listens(PORT))?;
    let mut command = Command::new(programs::find("hil-draw")?);
    command.arg(workload.name()).arg("--control").arg(socket);
    command.arg("--x11").env("DISPLAY", DISPLAY);
    let start = || Process::start("hil-draw", &mut command, folder.path());
    let mut draw = link.at_the_server(start)?;
    draw.wait_until(|| socket.exists())?;
    Ok(Running {
        desktop: Box::new(Vnc {
            link: link.clone(),
            quality,
            picture: folder.path().join("picture"),
            _processes: vec![draw, server],
            _folder: folder,
        }),
        servers: &["Xvnc"],
        clients: &["hil-rfb"],
        socket: socket.to_owned(),
    })
}

/// A headless sway with the drawing client in it, and wayvnc.
pub fn start_wayvnc(
    workload: Workload,
    link: &Link,
    socket: &Path,
    quality: Option<u8>,
) -> anyhow::Result<Running> {
    let folder = tempfile::Builder::new().prefix("hil-bench-").tempdir()?;
    let start = || sway::start("sway", folder.path(), workload.screen());
    let (sway, display) = link.at_the_server(start)?;
    let mut command = Command::new("wayvnc");
    command.args([link.server().to_string(), PORT.to_string()]);
    display.set(&mut command);
    let start = || Process::start("wayvnc", &mut command, folder.path());
    let mut server = link.at_the_server(start)?;
    server.wait_until(|| listens(PORT))?;
    let mut command = Command::new(programs::find("hil-draw")?);
    command.arg(workload.name()).arg("--control").arg(socket);
    display.set(&mut command);
    let start = || Process::start("hil-draw", &mut command, folder.path());
    let mut draw = link.at_the_server(start)?;
    draw.wait_until(|| socket.exists())?;
    Ok(Running {
        desktop: Box::new(Vnc {
            link: link.clone(),
            quality,
            picture: folder.path().join("picture"),
            _processes: vec![draw, server, sway],
            _folder: folder,
        }),
        servers: &["sway", "wayvnc"],
        clients: &["hil-rfb"],
        socket: socket.to_owned(),
    })
}

impl Desktop for Vnc {
    fn connect(&mut self) -> anyhow::Result<Viewer> {
        let mut command = Command::new(programs::find("hil-rfb")?);
        command.arg(format!("{}:{PORT}", self.link.server()));
        command.arg("--framebuffer").arg(&self.picture);
        if let Some(quality) = self.quality {
            command.args(["--quality", &quality.to_string()]);
        }
        let start = || Terminal::start("rfb", &mut command, Some(&self.picture));
        let mut terminal = self.link.at_the_desk(start)?;
        terminal.wait_named("connected", STEP)?;
        Viewer::new(terminal)
    }

    fn disconnect(&mut self, viewer: Viewer, _: bool) -> anyhow::Result<()> {
        drop(viewer);
        // A picture of the last connection must not be taken for one of the next.
        Ok(std::fs::remove_file(&self.picture)?)
    }
}
