//! The systems that are compared.

mod heliostat;

use std::any::Any;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::viewer::Viewer;
use crate::workload::Workload;

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// Heliostat, with its headless terminal.
    Heliostat,
}

/// How far a viewer is to be kept from seeing a desktop that runs.
pub trait Desktop: Any {
    /// Starts a viewer and returns it when it is connected.
    fn connect(&mut self) -> anyhow::Result<Viewer>;
    /// Ends a viewer's connection; the desktop runs on.
    fn disconnect(&mut self, viewer: Viewer) -> anyhow::Result<()>;
}

/// A desktop with the drawing client in it.
pub struct Running {
    /// The desktop.
    pub desktop: Box<dyn Desktop>,
    /// Names of the server's processes.
    pub servers: &'static [&'static str],
    /// Names of the viewer's processes.
    pub clients: &'static [&'static str],
    /// Where the drawing client listens.
    pub socket: PathBuf,
}

impl System {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heliostat => "heliostat",
        }
    }

    /// What is missing on this machine, if anything.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Heliostat => None,
        }
    }

    /// Starts it with a workload.
    pub fn start(self, workload: Workload) -> anyhow::Result<Running> {
        let socket = meeting_place()?;
        match self {
            Self::Heliostat => heliostat::start(workload, &socket),
        }
        .with_context(|| format!("start {}", self.name()))
    }
}

/// Where harness and drawing client meet; /run is the namespace's own.
fn meeting_place() -> anyhow::Result<PathBuf> {
    let folder = Path::new("/run/hil-bench");
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let socket = folder.join("draw");
    let _ = std::fs::remove_file(&socket);
    Ok(socket)
}
