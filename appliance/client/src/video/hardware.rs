//! The device that decodes videos: opened once, and given up when it fails again and again.
//!
//! ```text
//!   an attach:   lent ── MOST failures with few good pictures between ──► by the processor until its end
//!   the device:  working ── failures of its own in MOST attaches, likewise ──► given up
//! ```
//!
//! What a stream does to a device is no reason to take it from whoever comes next, so that an attach
//! counts once, and only with what no stream is to blame for.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use heliostat_va::abi;
use heliostat_va::decoder::DecodeError;
use heliostat_va::decoder::converter::RGB;
use heliostat_va::probe::{NoPath, Probe};
use heliostat_video::Size;
use tracing::{debug, info, warn};

use super::driver::{Driver, VideoConverter, VideoDecoder};
use crate::planes::{Format, LINEAR};
use crate::scene::Budget;

/// Failures after which an attach goes without, and attaches with failures after which all do.
const MOST: u32 = 4;
/// Pictures that are decoded well before earlier failures are forgiven.
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
    driver: Arc<Driver>,
    probe: Box<Probe>,
    trust: Trust,
}

/// Who is to blame for a picture that was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The device, or its driver.
    Device,
    /// The driver, which does not answer any more.
    Hanging,
    /// What it was given.
    Stream,
    /// Whoever shows more pictures than there are surfaces.
    Nobody,
}

impl Blame {
    /// As far as an error tells.
    pub fn of(error: &DecodeError) -> Self {
        match error {
            DecodeError::Full(_) => Self::Nobody,
            DecodeError::Size(_)
            | DecodeError::NoPath(_)
            | DecodeError::Refused(_)
            | DecodeError::NoKey => Self::Stream,
            DecodeError::Va(heliostat_va::Error::Call { status, .. })
                if *status == abi::status::DECODING_ERROR =>
            {
                Self::Stream
            }
            DecodeError::Va(heliostat_va::Error::Lost) => Self::Hanging,
            DecodeError::Va(_) => Self::Device,
        }
    }
}

/// Counts failures, and forgives them.
#[derive(Debug, Default)]
struct Trust {
    failures: AtomicU32,
    /// Good pictures since the last failure.
    good: AtomicU32,
}

impl Trust {
    fn is_kept(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < MOST
    }

    /// A good picture. Whether failures before are forgiven with it.
    fn worked(&self) -> bool {
        let is_enough = self.good.fetch_add(1, Ordering::Relaxed) == ENOUGH && self.is_kept();
        if is_enough {
            self.failures.store(0, Ordering::Relaxed);
        }
        is_enough
    }

    /// A failure. Whether it was the last one.
    fn failed(&self) -> bool {
        self.good.store(0, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 == MOST
    }
}

/// A device for the videos of one attach.
#[derive(Debug)]
pub struct Lent {
    device: Arc<Device>,
    trust: Trust,
    /// This attach has counted against the device.
    has_told: AtomicBool,
}

impl Lent {
    /// A decoder of one video, unless device or attach has failed too often, or the device does not
    /// decode such ones.
    pub fn decoder(&self, size: Size) -> Option<VideoDecoder> {
        let is_trusted = self.trust.is_kept() && self.device.is_trusted();
        is_trusted.then(|| self.device.decoder(size)).flatten()
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// It has decoded a picture.
    pub fn worked(&self) {
        if self.trust.worked() {
            self.has_told.store(false, Ordering::Relaxed);
        }
        self.device.trust.worked();
    }

    /// It has not.
    pub fn failed(&self, blame: Blame) {
        if blame == Blame::Nobody {
            return;
        }
        if blame == Blame::Hanging {
            self.device.driver.lose();
        }
        if self.trust.failed() {
            warn!("hardware has failed {MOST} times; the processor decodes until the person goes");
        }
        if blame == Blame::Device
            && !self.has_told.swap(true, Ordering::Relaxed)
            && self.device.trust.failed()
        {
            warn!(
                "hardware has failed {MOST} people; the processor decodes all videos from now on"
            );
        }
    }
}

impl Drop for Lent {
    /// What a person has seen goes with the attach.
    fn drop(&mut self) {
        self.device.driver.sweep();
    }
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
        let (driver, probe) = Driver::open(node)?;
        probe.plan_decoding(SMALL)?;
        Ok(Self {
            driver: Arc::new(driver),
            probe,
            trust: Trust::default(),
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

    /// Lends it to an attach.
    pub fn lend(self: Arc<Self>) -> Arc<Lent> {
        Arc::new(Lent {
            device: self,
            trust: Trust::default(),
            has_told: AtomicBool::new(false),
        })
    }

    /// A decoder of one video, unless the device does not decode such ones.
    pub fn decoder(&self, size: Size) -> Option<VideoDecoder> {
        let decoder = self.driver.decoder(size);
        decoder
            .inspect_err(|error| debug!(%error, ?size, "the processor decodes this video"))
            .ok()
    }

    /// What makes RGB of a video's pictures.
    pub fn converter(&self, size: Size) -> Result<VideoConverter, DecodeError> {
        self.driver.converter(size)
    }

    /// Its driver.
    pub fn driver(&self) -> &Arc<Driver> {
        &self.driver
    }

    /// What its pictures become then, if it converts.
    pub fn converts_into(&self) -> Option<Format> {
        let modifier = self.probe.rgb_modifier()?;
        Some(Format {
            code: RGB.drm,
            modifier: modifier.unwrap_or(LINEAR),
        })
    }

    /// Whether it is still used.
    pub fn is_trusted(&self) -> bool {
        self.trust.is_kept() && !self.driver.is_lost()
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

#[cfg(test)]
mod tests {
    use heliostat_video::Refused;

    use super::*;

    #[test]
    fn only_what_no_stream_can_do_is_the_devices_fault() {
        let failed = |status| {
            let call = "vaSyncSurface";
            DecodeError::Va(heliostat_va::Error::Call { call, status })
        };
        let of = |error| Blame::of(&error);
        assert_eq!(of(DecodeError::Full(8)), Blame::Nobody);
        assert_eq!(of(DecodeError::NoKey), Blame::Stream);
        assert_eq!(of(Refused::Malformed.into()), Blame::Stream);
        assert_eq!(of(failed(abi::status::DECODING_ERROR)), Blame::Stream);
        assert_eq!(of(failed(abi::status::OPERATION_FAILED)), Blame::Device);
        assert_eq!(of(heliostat_va::Error::Lost.into()), Blame::Hanging);
    }

    #[test]
    fn failures_are_forgiven_after_enough_good_pictures_and_not_when_it_is_over() {
        let trust = Trust::default();
        for _ in 1..MOST {
            assert!(!trust.failed());
        }
        assert!(trust.is_kept());
        let forgiven = (0..=ENOUGH).filter(|_| trust.worked()).count();
        assert_eq!(forgiven, 1);
        let last = (0..MOST).map(|_| trust.failed()).last();
        assert!(last == Some(true) && !trust.is_kept());
        assert_eq!((0..=ENOUGH).filter(|_| trust.worked()).count(), 0);
        assert!(!trust.is_kept());
    }
}
