//! The device that decodes videos: opened once, and given up when it fails again and again.
//!
//! ```text
//!   working ── MOST failures with few good pictures between ──► given up
//! ```

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use heliostat_va::Display;
use heliostat_va::decoder::Decoder;
use heliostat_va::probe::{NoPath, Probe};
use heliostat_video::Size;
use tracing::{debug, info, warn};

use crate::scene::Budget;

/// Failures after which a device is not tried again.
const MOST: u32 = 4;
/// Pictures that a device decodes well before earlier failures are forgiven.
const ENOUGH: u32 = 600;
/// Pictures on two screens of 4K.
const MOST_PIXELS: u32 = 2 * 3840 * 2160;
/// Videos of a device: each has surfaces for several pictures.
const VIDEOS: usize = 6;

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum NoDevice {
    /// Nowhere to look.
    #[error("there is no render node in /dev/dri")]
    NoNode,
    /// The node cannot be opened.
    #[error("{path} cannot be opened: {error}")]
    Closed {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// libva or its driver.
    #[error(transparent)]
    Va(#[from] heliostat_va::Error),
    /// It decodes no H.264 into NV12.
    #[error(transparent)]
    NoPath(#[from] NoPath),
}

/// A device that decodes.
pub struct Device {
    display: Display,
    probe: Probe,
    failures: AtomicU32,
    /// Good pictures since the last failure.
    good: AtomicU32,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Device").field(&self.probe.vendor).finish()
    }
}

/// The smallest video: what decodes no such one decodes none.
const SMALL: Size = Size { w: 64, h: 64 };

impl Device {
    /// Opens the device of a node, and asks what it does.
    pub fn open(path: &Path) -> Result<Self, NoDevice> {
        let file = std::fs::File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| NoDevice::Closed {
            path: path.to_owned(),
            error,
        })?;
        Self::of(OwnedFd::from(file))
    }

    fn of(node: OwnedFd) -> Result<Self, NoDevice> {
        let display = Display::open(node)?;
        let probe = Probe::new(&display)?;
        probe.plan_decoding(SMALL)?;
        Ok(Self {
            display,
            probe,
            failures: AtomicU32::new(0),
            good: AtomicU32::new(0),
        })
    }

    /// Opens a device and says once which way is taken, and why.
    pub fn open_or_say_why(path: Option<&Path>) -> Option<Arc<Self>> {
        let opened = path.ok_or(NoDevice::NoNode).and_then(Self::open);
        match opened {
            Ok(device) => {
                let path = path.unwrap_or(Path::new(""));
                info!(node = %path.display(), "videos are decoded by {}", device.summary());
                Some(Arc::new(device))
            }
            Err(error) => {
                info!("videos are decoded by the processor: {error}");
                None
            }
        }
    }

    /// What it is, in a line.
    pub fn summary(&self) -> String {
        let vendor = &self.probe.vendor;
        match self.probe.plan_decoding(SMALL) {
            Ok(path) => format!("{vendor}: {path}"),
            Err(error) => format!("{vendor}: {error}"),
        }
    }

    /// What it offers.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// A decoder of one video, unless the device has failed too often, or does not decode such ones.
    pub fn decoder(&self, size: Size) -> Option<Decoder> {
        if !self.is_trusted() {
            return None;
        }
        let decoder = Decoder::new(&self.display, &self.probe, size);
        decoder
            .inspect_err(|error| debug!(%error, ?size, "the processor decodes this video"))
            .ok()
    }

    /// Whether it is still used.
    pub fn is_trusted(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < MOST
    }

    /// It has decoded a picture.
    pub fn worked(&self) {
        if self.good.fetch_add(1, Ordering::Relaxed) == ENOUGH && self.is_trusted() {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// It has failed.
    pub fn failed(&self) {
        self.good.store(0, Ordering::Relaxed);
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == MOST {
            warn!("hardware has failed {MOST} times; the processor decodes all videos from now on");
        }
    }

    /// What the terminal offers with this device.
    pub fn budget(&self, without: Budget) -> Budget {
        if !self.is_trusted() {
            return without;
        }
        let largest = self.probe.codecs.iter().filter_map(|codec| codec.most);
        let largest = largest.map(|most| most.area() as u64).max();
        let pixels = largest.map_or(MOST_PIXELS, |area| {
            u32::try_from(area.saturating_mul(2)).map_or(MOST_PIXELS, |area| area.min(MOST_PIXELS))
        });
        Budget {
            videos: without.videos.max(VIDEOS),
            video_pixels: without.video_pixels.max(pixels),
            ..without
        }
    }
}

/// The first render node.
pub fn first_node() -> Option<PathBuf> {
    let mut nodes: Vec<PathBuf> = std::fs::read_dir("/dev/dri")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("renderD")
        })
        .collect();
    nodes.sort();
    nodes.into_iter().next()
}

/// The render node of the device that has a card: both are beside each other in sysfs.
pub fn node_of(card: &Path) -> Option<PathBuf> {
    let name = card.file_name()?.to_string_lossy().into_owned();
    let beside = format!("/sys/class/drm/{name}/device/drm");
    let entries = std::fs::read_dir(beside).ok()?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.starts_with("renderD"))
        .collect();
    names.sort();
    Some(Path::new("/dev/dri").join(names.first()?))
}
