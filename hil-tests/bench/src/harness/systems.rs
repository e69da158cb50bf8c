//! The systems that are compared.

mod bridge;
mod heliostat;
mod processes;
mod rdp;
mod sway;
mod vnc;
mod waypipe;
mod weston;
mod xpra;
mod xvfb;

use std::any::Any;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::viewer::Viewer;
use crate::link::Link;
use crate::workload::Workload;
use heliostat::{Keep, Network};

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// Heliostat, with its headless terminal.
    Heliostat,
    /// The same where UDP does not pass, so that its links run over TCP.
    HeliostatTcp,
    /// TigerVNC's Xvnc as its viewer asks for it: Tight with JPEG of quality 8.
    Tigervnc,
    /// The same without JPEG.
    TigervncExact,
    /// A headless sway with wayvnc, Tight with JPEG of quality 9.
    Wayvnc,
    /// The same without JPEG.
    WayvncExact,
    /// waypipe with lz4, into a headless sway.
    Waypipe,
    /// waypipe with zstd.
    WaypipeZstd,
    /// Xpra's whole desktop, with the encodings that it chooses itself.
    Xpra,
    /// FreeRDP's shadow server of an X server, as its viewer asks for it: RemoteFX Progressive.
    Freerdp,
    /// The same with H.264 in the mode that keeps all colour (AVC444).
    FreerdpH264,
    /// weston with its RDP back end, as FreeRDP's viewer gets most of it: RemoteFX.
    WestonRdp,
}

/// What TigerVNC's viewer asks for.
const TIGERVNC_QUALITY: u8 = 8;
/// wayvnc 0.5 knows only the lowest and the highest quality, and sends no JPEG for those between.
const WAYVNC_QUALITY: u8 = 9;

/// How far a viewer is to be kept from seeing a desktop that runs.
pub trait Desktop: Any {
    /// Starts a viewer and returns it when it is connected.
    fn connect(&mut self) -> anyhow::Result<Viewer>;
    /// Ends a viewer's connection; the desktop runs on. The next viewer is `again` the same one, and
    /// may know what it has seen before.
    fn disconnect(&mut self, viewer: Viewer, again: bool) -> anyhow::Result<()>;
    /// What carries the picture, where the system says; an error where it is not what the system's name
    /// promises.
    fn carrier(&self) -> anyhow::Result<Option<String>> {
        Ok(None)
    }
    /// Median time from a commit until its bytes were handed to the link, in microseconds, where the
    /// system says.
    fn commit_to_link_us(&self) -> anyhow::Result<Option<u32>> {
        Ok(None)
    }
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
            Self::HeliostatTcp => "heliostat-tcp",
            Self::Tigervnc => "tigervnc",
            Self::TigervncExact => "tigervnc-exact",
            Self::Wayvnc => "wayvnc",
            Self::WayvncExact => "wayvnc-exact",
            Self::Waypipe => "waypipe",
            Self::WaypipeZstd => "waypipe-zstd",
            Self::Xpra => "xpra",
            Self::Freerdp => "freerdp",
            Self::FreerdpH264 => "freerdp-h264",
            Self::WestonRdp => "weston-rdp",
        }
    }

    /// Whether it is Heliostat, and no peer.
    pub fn is_ours(self) -> bool {
        self.network().is_some()
    }

    /// The network that it is used on, if it is ours.
    fn network(self) -> Option<Network> {
        match self {
            Self::Heliostat => Some(Network::Whole),
            Self::HeliostatTcp => Some(Network::WithoutUdp),
            _ => None,
        }
    }

    /// What is missing on this machine, if anything.
    pub fn missing(self) -> Option<String> {
        let programs: &[&str] = match self {
            Self::Heliostat | Self::HeliostatTcp => &[],
            Self::Tigervnc | Self::TigervncExact => &["Xvnc"],
            Self::Wayvnc | Self::WayvncExact => &["sway", "wayvnc"],
            Self::Waypipe | Self::WaypipeZstd => &["sway", "waypipe"],
            Self::Xpra => &["Xvfb", "xpra"],
            Self::Freerdp | Self::FreerdpH264 => &["Xvfb", "freerdp-shadow-cli", "xfreerdp"],
            Self::WestonRdp => &["weston", "openssl", "Xvfb", "xfreerdp"],
        };
        let missing = programs.iter().find(|name| !processes::is_installed(name));
        missing.map(|name| format!("{name} is not installed"))
    }

    /// Starts it with a workload; viewers are at the far end of the link.
    pub fn start(self, workload: Workload, link: &Link) -> anyhow::Result<Running> {
        let socket = meeting_place()?;
        match self {
            Self::Heliostat => {
                heliostat::start(workload, link, &socket, Network::Whole, Keep::Nothing)
            }
            Self::HeliostatTcp => {
                heliostat::start(workload, link, &socket, Network::WithoutUdp, Keep::Nothing)
            }
            Self::Tigervnc => vnc::start_tigervnc(workload, link, &socket, Some(TIGERVNC_QUALITY)),
            Self::TigervncExact => vnc::start_tigervnc(workload, link, &socket, None),
            Self::Wayvnc => vnc::start_wayvnc(workload, link, &socket, Some(WAYVNC_QUALITY)),
            Self::WayvncExact => vnc::start_wayvnc(workload, link, &socket, None),
            Self::Waypipe => waypipe::start(workload, link, &socket, "lz4"),
            Self::WaypipeZstd => waypipe::start(workload, link, &socket, "zstd"),
            Self::Xpra => xpra::start(workload, link, &socket),
            Self::Freerdp => rdp::start(workload, link, &socket, "/gfx"),
            Self::FreerdpH264 => rdp::start(workload, link, &socket, "/gfx:AVC444"),
            Self::WestonRdp => rdp::start_weston(workload, link, &socket),
        }
        .with_context(|| format!("start {}", self.name()))
    }
}

/// Starts Heliostat, and lets its terminals keep what they hold. No other system's viewers keep any of
/// it.
pub fn start_keeping(system: System, workload: Workload, link: &Link) -> anyhow::Result<Running> {
    let network = system.network().context("its viewers keep nothing")?;
    heliostat::start(workload, link, &meeting_place()?, network, Keep::Pixels)
        .with_context(|| format!("start {}", system.name()))
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
