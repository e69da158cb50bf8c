//! Which device is used, and why none is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use heliostat_va::dmabuf::{FORMATS, Format};
use heliostat_va::probe::{EncodePath, NoPath, Probe};
use heliostat_va::{Display, Error};
use heliostat_video::Size;
use rustix::fs::fstat;
use smithay::backend::allocator::Fourcc;
use smithay::reexports::wayland_server::backend::ClientId;
use tracing::{info, warn};

use super::devices::Devices;
use super::health::Healths;
use super::low_power::LowPower;
use super::offers::Offers;
use super::readers::Reader;
use super::timelines::{NoTimelines, Timelines};
use super::trial::{Source, Trials};
use super::{Reading, RenderNode};

/// Render nodes have these numbers.
const NODES: std::ops::Range<u32> = 128..192;
/// What a device has to encode to be worth using.
const TRIAL: Size = Size { w: 1920, h: 1080 };

/// What flat outputs are composed in.
const COMPOSED: Fourcc = Fourcc::Xrgb8888;

/// How long a device and its driver have to be loaded, and to say what they offer.
pub(super) const ANSWERS: Duration = Duration::from_secs(10);

/// A device that encodes.
#[derive(Debug)]
pub struct Device {
    /// Its render node.
    pub node: PathBuf,
    /// `st_rdev` of that.
    pub number: u64,
    /// libva's handle.
    pub display: Display,
    /// What it offers.
    pub probe: Probe,
    /// How it encodes.
    pub path: EncodePath,
    /// Its entry point for low power, as far as it was tried.
    pub low_power: LowPower,
    /// Which linear buffers its encoder takes, as far as that was tried.
    pub linear: Trials,
    /// Its timelines, or why clients are offered none.
    pub timelines: Result<Timelines, NoTimelines>,
}

/// Why a device is not used.
#[derive(Debug, thiserror::Error)]
pub enum NoDevice {
    /// None is there.
    #[error("there is no render node in /dev/dri")]
    NoNode,
    /// It cannot be opened.
    #[error("{node} cannot be opened: {error}")]
    Closed {
        /// Its render node.
        node: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// libva or its driver does not work.
    #[error("{node} has no working driver: {error}")]
    NoDriver {
        /// Its render node.
        node: PathBuf,
        /// Why.
        error: Error,
    },
    /// It does not answer.
    #[error("it has not answered for {} s", ANSWERS.as_secs())]
    Silent,
    /// It does not encode.
    #[error("{node} is of no use here: {why}")]
    NoPath {
        /// Its render node.
        node: PathBuf,
        /// Why.
        why: NoPath,
        /// What it offers.
        probe: Box<Probe>,
    },
}

impl Device {
    /// Opens a render node, asks what it offers and tries it out with linear buffers. It takes as long as the
    /// driver takes to be loaded, and to encode a picture of each format.
    pub(super) fn open(node: &Path, source: Source) -> Result<Self, NoDevice> {
        let named = || node.to_owned();
        let open = || {
            let file = File::options().read(true).write(true).open(node)?;
            Ok((fstat(&file)?.st_rdev, file))
        };
        let (number, file) = open().map_err(|error| NoDevice::Closed {
            node: named(),
            error,
        })?;
        let ask = || {
            let display = Display::open(file.into())?;
            Ok((Probe::new(&display)?, display))
        };
        let (probe, display) = ask().map_err(|error| NoDevice::NoDriver {
            node: named(),
            error,
        })?;
        let mut path = match probe.plan_encoding(TRIAL, true) {
            Ok(path) => path,
            Err(why) => {
                return Err(NoDevice::NoPath {
                    node: named(),
                    why,
                    probe: Box::new(probe),
                });
            }
        };
        let low_power = LowPower::default();
        let formats = probe.takes(&path);
        let linear = Trials::run((&display, &probe), &formats, &low_power, (source, node));
        if low_power.is_refused() {
            path = probe.plan_without_low_power(TRIAL, true).unwrap_or(path);
        }
        Ok(Self {
            node: named(),
            number,
            display,
            probe,
            path,
            low_power,
            linear,
            timelines: Timelines::open(node),
        })
    }

    /// The one that is wanted, or the first that does what is wanted; or why it does not. A driver that does
    /// not answer is left to its thread.
    pub fn find(wanted: &RenderNode) -> Result<Self, Vec<NoDevice>> {
        let (node, source) = match wanted {
            #[cfg(test)]
            RenderNode::Tried(node) => (Some(node.clone()), Source::Memory),
            #[cfg(test)]
            RenderNode::Path(node) => (Some(node.clone()), Source::Nowhere),
            #[cfg(not(test))]
            RenderNode::Path(node) => (Some(node.clone()), Source::Device),
            _ => (None, Source::Device),
        };
        let find = match node {
            Some(node) => Box::new(move || Self::open(&node, source).map_err(|why| vec![why])),
            None => Box::new(Self::first) as Box<dyn FnOnce() -> _ + Send>,
        };
        let (sender, found) = mpsc::channel();
        let thread = std::thread::Builder::new().name("graphics device".to_owned());
        let started = thread.spawn(move || drop(sender.send(find())));
        if let Err(error) = started {
            warn!("no thread to look for a graphics device: {error}");
        }
        let silent = |_| Err(vec![NoDevice::Silent]);
        found.recv_timeout(ANSWERS).unwrap_or_else(silent)
    }

    fn first() -> Result<Self, Vec<NoDevice>> {
        let nodes = NODES.map(|number| PathBuf::from(format!("/dev/dri/renderD{number}")));
        let mut why = Vec::new();
        for node in nodes.filter(|node| node.exists()) {
            match Self::open(&node, Source::Device) {
                Ok(device) => return Ok(device),
                Err(error) => why.push(error),
            }
        }
        if why.is_empty() {
            why.push(NoDevice::NoNode);
        }
        Err(why)
    }

    /// Formats of buffers that it encodes, and whether it does so where they are linear.
    pub fn formats(&self) -> Vec<(Format, bool)> {
        let formats = self.probe.takes(&self.path).into_iter();
        formats
            .map(|format| (format, !self.linear.is_refused(format)))
            .collect()
    }
}

/// What works for this session.
#[derive(Debug)]
enum Backend {
    /// The processor does everything, and clients have no buffers but shared memory.
    Processor,
    /// The processor reads clients' DMA-BUFs and encodes in software.
    Reader,
    /// A device encodes.
    Device(Box<Device>),
}

/// The graphics device, if there is one.
#[derive(Debug)]
pub struct Gpu {
    backend: Backend,
    health: Healths<ClientId>,
    offers: Offers,
    /// What reads beside the processor, until whoever has the buffers takes it; or why nothing does.
    reader: Result<Reader, String>,
    /// Those that GLES uses.
    devices: Devices,
}

impl Gpu {
    /// Opens what is wanted; without it everything goes as it does where there is none.
    pub fn open(wanted: &RenderNode, reading: Reading) -> Self {
        let found = match wanted {
            RenderNode::Off => {
                info!("films are encoded by the processor: no device is wanted");
                return Self::without();
            }
            RenderNode::Read => {
                info!("films are encoded by the processor, and clients' buffers are read by it");
                return Self::without_encoder(Reader::Nobody, &[]);
            }
            #[cfg(test)]
            RenderNode::ReadByFake => {
                use super::readers::pretended::{ByFake, layouts};
                let mut gpu = Self::without_encoder(Reader::Nobody, &layouts());
                let fake = ByFake::on(gpu.devices.lease(super::readers::pretended::device()));
                gpu.reader = Ok(Reader::Fake(Box::new(fake)));
                return gpu;
            }
            wanted => Device::find(wanted),
        };
        match found {
            Ok(device) => {
                let (node, driver) = (device.node.display(), &device.probe.vendor);
                info!("films are encoded by {node} ({driver}): {}", device.path);
                if let Some(refused) = device.linear.refusals() {
                    warn!(
                        "linear buffers are not offered for the encoder, which refuses: {refused}"
                    );
                }
                if let Err(why) = &device.timelines {
                    info!("clients synchronise implicitly: {why}");
                }
                Self::with_device(device, reading)
            }
            Err(why) => {
                let why: Vec<_> = why.iter().map(ToString::to_string).collect();
                info!("films are encoded by the processor: {}", why.join("; "));
                Self::without()
            }
        }
    }

    fn without() -> Self {
        Self {
            backend: Backend::Processor,
            health: Healths::default(),
            offers: Offers::default(),
            reader: Err("there is no device for programs' buffers".to_owned()),
            devices: Devices::default(),
        }
    }

    fn without_encoder(reader: Reader, reads: &[smithay::backend::allocator::Format]) -> Self {
        Self {
            backend: Backend::Reader,
            health: Healths::default(),
            offers: Offers::new(&[], &[], &FORMATS, reads),
            reader: Ok(reader),
            devices: Devices::default(),
        }
    }

    fn with_device(device: Device, reading: Reading) -> Self {
        let devices = Devices::default();
        let opened = Reader::open(&device.node, reading, &devices);
        let (reader, reads) = match opened.map_err(|error| format!("{error:#}")) {
            Ok((reader, reads)) => (Ok(reader), reads),
            Err(why) => {
                info!("clients' buffers are linear, and read by the processor: {why}");
                (Err(why), Vec::new())
            }
        };
        // Those are what every client wants.
        let linear = FORMATS.map(|format| (!format.is_nv12).then_some(format));
        let linear: Vec<_> = linear.into_iter().flatten().take(2).collect();
        let offers = Offers::new(&device.formats(), &device.path.modifiers, &linear, &reads);
        Self {
            backend: Backend::Device(Box::new(device)),
            health: Healths::default(),
            offers,
            reader,
            devices,
        }
    }

    /// What reads beside the processor: whoever has the buffers takes it.
    pub fn take_reader(&mut self) -> Reader {
        let reader = self.reader.as_mut();
        reader.map_or(Reader::Nobody, std::mem::take)
    }

    /// The devices that GLES uses.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Who reads programs' buffers, and which are offered, for people.
    pub fn describe_reading(&self) -> String {
        if self.offered().is_none() {
            return String::new();
        }
        let reader = match &self.reader {
            Ok(reader) if reader.is_there() => {
                "programs' buffers are read by the processor, and by the device what is not linear"
                    .to_owned()
            }
            Ok(_) => "programs' buffers are read by the processor".to_owned(),
            Err(why) => format!("programs' buffers are read by the processor: {why}"),
        };
        format!("{reader}\n{}", self.offers.describe())
    }

    /// The device, if there is one.
    pub fn device(&self) -> Option<&Device> {
        match &self.backend {
            Backend::Device(device) => Some(device),
            Backend::Processor | Backend::Reader => None,
        }
    }

    /// The node of the device that encodes.
    pub fn node(&self) -> Option<&Path> {
        self.device().map(|device| device.node.as_path())
    }

    /// How the device is doing.
    pub fn health(&mut self) -> &mut Healths<ClientId> {
        &mut self.health
    }

    /// What clients are told of the buffers that they may make: the number of the device, and what they may
    /// be like. Nothing where they may make none.
    ///
    /// Only layouts that somebody here reads as well: what is not a film any more is read.
    pub fn offered(&self) -> Option<(u64, &Offers)> {
        let number = match &self.backend {
            Backend::Processor => return None,
            Backend::Reader => 0,
            Backend::Device(device) => device.number,
        };
        Some((number, &self.offers))
    }

    /// Timelines by which clients say when buffers are drawn, where the device has them.
    pub fn timelines(&self) -> Option<Timelines> {
        #[cfg(test)]
        if self.offered().is_some() {
            return Some(Timelines::pretended());
        }
        self.device()?.timelines.as_ref().ok().cloned()
    }

    /// Whether the device encodes what GLES composes here: linear buffers of RGB.
    pub fn encodes_composed(&self) -> bool {
        let takes = |device: &Device| {
            let mut formats = device.formats().into_iter();
            formats.any(|(format, linear)| format.drm == COMPOSED as u32 && linear)
        };
        self.device().is_some_and(takes)
    }

    /// Whether the device encodes such buffers.
    pub fn encodes(&self, is_nv12: bool) -> bool {
        self.device()
            .is_some_and(|device| is_nv12 || device.path.converts_from.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_that_is_none_says_what_is_wrong_and_nothing_breaks() {
        let missing = Device::open(Path::new("/nowhere/renderD128"), Source::Device).unwrap_err();
        assert!(matches!(missing, NoDevice::Closed { .. }), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let plain = Device::open(file.path(), Source::Device).unwrap_err();
        assert!(matches!(plain, NoDevice::NoDriver { .. }), "{plain}");
        let gpu = Gpu::open(&RenderNode::Path(file.path().into()), Reading::Auto);
        assert!(gpu.device().is_none() && gpu.offered().is_none());
    }
}
