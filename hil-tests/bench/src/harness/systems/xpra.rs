//! Xpra: a whole desktop of its own X server, and its viewer.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::processes::{Process, listens};
use super::{Desktop, Running, xvfb};
use crate::harness::viewer::Viewer;
use crate::link::Link;
use crate::workload::Workload;

const PORT: u16 = 14500;
/// What has nothing to do with pictures, and memory that only ends on one machine can share.
const WITHOUT: [&str; 12] = [
    "--mmap=no",
    "--mdns=no",
    "--pulseaudio=no",
    "--speaker=disabled",
    "--microphone=disabled",
    "--notifications=no",
    "--dbus-proxy=no",
    "--webcam=no",
    "--printing=no",
    "--file-transfer=off",
    "--clipboard=no",
    "--bell=no",
];

struct Xpra {
    link: Link,
    // Ended in this order.
    desk: xvfb::Desk,
    _processes: Vec<Process>,
    folder: TempDir,
}

/// Its server with the drawing client on its display.
pub fn start(workload: Workload, link: &Link, socket: &Path) -> anyhow::Result<Running> {
    let folder = tempfile::Builder::new().prefix("hil-bench-").tempdir()?;
    let start = || xvfb::start("Xvfb-far", xvfb::FAR, workload.screen(), folder.path());
    let x = link.at_the_server(start)?;
    let mut command = program("xpra-far", folder.path())?;
    command.args(["start-desktop", xvfb::FAR, "--use-display=yes"]);
    command.args(["--daemon=no", "--html=off", "--resize-display=no"]);
    command.arg(format!("--bind-tcp={}:{PORT}", link.server()));
    command.arg(format!("--socket-dirs={}", folder.path().display()));
    command.args(WITHOUT);
    let start = || Process::start("xpra-far", &mut command, folder.path());
    let mut server = link.at_the_server(start)?;
    server.wait_until(|| listens(PORT))?;
    let draw = link.at_the_server(|| xvfb::draw(workload, socket, folder.path()))?;
    Ok(Running {
        desktop: Box::new(Xpra {
            link: link.clone(),
            desk: xvfb::Desk::new(workload, link, folder.path())?,
            _processes: vec![draw, server, x],
            folder,
        }),
        servers: &["xpra-far", "Xvfb-far"],
        clients: &["xpra-near", "Xvfb-near"],
        socket: socket.to_owned(),
    })
}

/// Xpra is a script; an interpreter by another name tells its two ends apart.
fn program(name: &str, folder: &Path) -> anyhow::Result<Command> {
    let path = folder.join(name);
    std::os::unix::fs::symlink("/usr/bin/python3", &path)
        .or_else(|error| if path.exists() { Ok(()) } else { Err(error) })?;
    let mut command = Command::new(path);
    command.arg("/usr/bin/xpra");
    command.env("HOME", folder).env("XDG_RUNTIME_DIR", folder);
    Ok(command)
}

impl Desktop for Xpra {
    fn connect(&mut self) -> anyhow::Result<Viewer> {
        let mut command = program("xpra-near", self.folder.path())?;
        command.arg("attach");
        command.arg(format!("tcp://{}:{PORT}/", self.link.server()));
        command.args(["--opengl=no", "--tray=no", "--border=off"]);
        command.args(WITHOUT);
        self.desk.connect("xpra-near", &mut command)
    }

    fn disconnect(&mut self, viewer: Viewer, _: bool) -> anyhow::Result<()> {
        self.desk.disconnect(viewer)
    }
}
