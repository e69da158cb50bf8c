//! X servers without a screen: one that a server shows, and one in which a viewer has its window.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hil_local::{Terminal, programs};

use super::processes::Process;
use crate::harness::viewer::Viewer;
use crate::link::Link;
use crate::workload::Workload;

/// The server's display.
pub const FAR: &str = ":97";
/// The viewer's.
const NEAR: &str = ":98";
const STEP: Duration = Duration::from_secs(10);

/// Starts one; `name` tells them apart when processor time is added up.
pub fn start(
    name: &str,
    display: &str,
    (w, h): (u32, u32),
    folder: &Path,
) -> anyhow::Result<Process> {
    let program = folder.join(name);
    std::fs::copy("/usr/bin/Xvfb", &program)?;
    let mut command = Command::new(program);
    command.args([display, "-screen", "0", &format!("{w}x{h}x24")]);
    // Without -r a key held while a slow server works types more than once.
    command.args(["-br", "-ac", "-r", "-noreset", "-nolisten", "tcp"]);
    let mut process = Process::start(name, &mut command, folder)?;
    let socket = PathBuf::from(format!("/tmp/.X11-unix/X{}", &display[1..]));
    process.wait_until(|| socket.exists())?;
    Ok(process)
}

/// The drawing client on the server's display.
pub fn draw(workload: Workload, socket: &Path, folder: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(programs::find("hil-draw")?);
    command.arg(workload.name()).arg("--control").arg(socket);
    command.arg("--x11").env("DISPLAY", FAR);
    let mut draw = Process::start("hil-draw", &mut command, folder)?;
    draw.wait_until(|| socket.exists())?;
    Ok(draw)
}

/// A desk with an X server on which foreign viewers have their windows.
pub struct Desk {
    link: Link,
    screen: (u32, u32),
    picture: PathBuf,
    folder: PathBuf,
    // Ended in this order.
    viewer: Option<Process>,
    _server: Process,
}

impl Desk {
    /// Without a viewer.
    pub fn new(workload: Workload, link: &Link, folder: &Path) -> anyhow::Result<Self> {
        let screen = workload.screen();
        Ok(Self {
            link: link.clone(),
            screen,
            picture: folder.join("picture"),
            folder: folder.to_owned(),
            viewer: None,
            _server: link.at_the_desk(|| start("Xvfb-near", NEAR, screen, folder))?,
        })
    }

    /// Starts a foreign viewer, and a program that watches the screen.
    pub fn connect(&mut self, name: &str, command: &mut Command) -> anyhow::Result<Viewer> {
        let mut watcher = Command::new(programs::find("hil-screen")?);
        watcher.arg("--x11").env("DISPLAY", NEAR);
        watcher.arg("--framebuffer").arg(&self.picture);
        let (w, h) = self.screen;
        watcher.args(["--size", &format!("{w}x{h}")]);
        let start = || Terminal::start("screen", &mut watcher, Some(&self.picture));
        let mut terminal = self.link.at_the_desk(start)?;
        terminal.wait_named("connected", STEP)?;
        command.env("DISPLAY", NEAR);
        let folder = &self.folder;
        let start = || Process::start(name, command, folder);
        self.viewer = Some(self.link.at_the_desk(start)?);
        Viewer::new(terminal)
    }

    /// Ends both.
    pub fn disconnect(&mut self, viewer: Viewer) -> anyhow::Result<()> {
        self.viewer = None;
        drop(viewer);
        // A picture of the last connection must not be taken for one of the next.
        Ok(std::fs::remove_file(&self.picture)?)
    }
}
