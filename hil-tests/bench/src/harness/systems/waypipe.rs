//! waypipe: an application's windows in a headless sway, which is the viewer's own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use hil_local::{Terminal, programs};
use tempfile::TempDir;

use super::processes::Process;
use super::{Desktop, Running, bridge, sway};
use crate::harness::viewer::Viewer;
use crate::link::Link;
use crate::workload::Workload;

const STEP: Duration = Duration::from_secs(10);

struct Waypipe {
    link: Link,
    screen: (u32, u32),
    picture: std::path::PathBuf,
    display: sway::Display,
    // Ended in this order.
    _processes: Vec<Process>,
    _folder: TempDir,
}

/// Starts both ends of waypipe with the drawing client at the far one.
pub fn start(
    workload: Workload,
    link: &Link,
    socket: &Path,
    compression: &str,
) -> anyhow::Result<Running> {
    let folder = tempfile::Builder::new().prefix("hil-bench-").tempdir()?;
    let start = || sway::start("sway", folder.path(), workload.screen());
    let (sway, display) = link.at_the_desk(start)?;
    let far = sway::runtime_folder(folder.path(), "far")?;
    let near = sway::runtime_folder(folder.path(), "near")?;
    let (server_socket, client_socket) = (folder.path().join("server"), near.join("client"));
    bridge::join(link, &server_socket, client_socket.clone())?;
    // The names tell the two ends apart when their processor time is added up.
    let (near_end, far_end) = ("waypipe-near", "waypipe-far");
    let program = |name: &str| -> anyhow::Result<Command> {
        let path = folder.path().join(name);
        std::fs::copy("/usr/bin/waypipe", &path).context("copy waypipe")?;
        let mut command = Command::new(path);
        command.args(["--no-gpu", "--compress", compression, "--socket"]);
        Ok(command)
    };
    let mut command = program(near_end)?;
    command.arg(&client_socket).arg("client");
    display.set(&mut command);
    let start = || Process::start(near_end, &mut command, folder.path());
    let mut client = link.at_the_desk(start)?;
    client.wait_until(|| client_socket.exists())?;
    let mut command = program(far_end)?;
    command.arg(&server_socket).args(["server", "--"]);
    command.arg(programs::find("hil-draw")?);
    command.arg(workload.name()).arg("--control").arg(socket);
    display.set(&mut command);
    command
        .env("XDG_RUNTIME_DIR", far)
        .env_remove("WAYLAND_DISPLAY");
    let start = || Process::start(far_end, &mut command, folder.path());
    let mut server = link.at_the_server(start)?;
    server.wait_until(|| socket.exists())?;
    Ok(Running {
        desktop: Box::new(Waypipe {
            link: link.clone(),
            screen: workload.screen(),
            picture: folder.path().join("picture"),
            display,
            _processes: vec![server, client, sway],
            _folder: folder,
        }),
        servers: &["waypipe-far"],
        clients: &["waypipe-near", "sway"],
        socket: socket.to_owned(),
    })
}

impl Desktop for Waypipe {
    fn connect(&mut self) -> anyhow::Result<Viewer> {
        let mut command = Command::new(programs::find("hil-screen")?);
        command.arg("--framebuffer").arg(&self.picture);
        let (w, h) = self.screen;
        command.args(["--size", &format!("{w}x{h}")]);
        self.display.point(&mut command);
        let start = || Terminal::start("screen", &mut command, Some(&self.picture));
        let mut terminal = self.link.at_the_desk(start)?;
        terminal.wait_named("connected", STEP)?;
        Viewer::new(terminal)
    }

    fn disconnect(&mut self, _: Viewer, _: bool) -> anyhow::Result<()> {
        bail!("its windows do not outlive their viewer")
    }
}
