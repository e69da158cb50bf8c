//! The objects that clients make and name by numbers.

pub mod buffers;
pub mod capabilities;
pub mod images;
pub mod pictures;
pub mod surfaces;
mod table;

use crate::h264::told::{Offers, Tally};
use crate::h264::{decode, encode, rate::Rate};
use crate::journal::{Counters, Faults, Log, Stamps};
use crate::refusal::{Done, refuse};
use crate::va::{self, Id, entrypoint, status};

use buffers::Buffer;
use capabilities::Config;
use images::Image;
use pictures::Open;
use surfaces::Surface;
use table::Table;

/// One initialised display.
#[derive(Debug)]
pub struct Driver {
    configs: Table<Config>,
    contexts: Table<Context>,
    surfaces: Table<Surface>,
    buffers: Table<Buffer>,
    images: Table<Image>,
    /// The log.
    pub log: Log,
    /// What is to fail.
    pub faults: Faults,
    /// What encoders are told besides.
    pub offers: Offers,
    /// What is counted.
    pub counters: Counters,
    stamps: Stamps,
}

/// What runs for one configuration.
#[derive(Debug)]
struct Context {
    config_id: Id,
    config: Config,
    size: (u32, u32),
    engine: Engine,
    open: Option<Open>,
    /// Pictures that were ended.
    jobs: u64,
}

/// The engines of hardware that a context may use.
#[derive(Debug)]
enum Engine {
    Decode(Box<decode::Decoder>),
    Encode(Box<Encode>),
    Process,
}

/// An encoder and what stays from picture to picture.
#[derive(Debug)]
struct Encode {
    encoder: encode::Encoder,
    sequence: Option<va::EncSequenceParameterH264>,
    rate: Rate,
    /// The input before, where dirty rectangles are relative to it.
    before: Option<[Vec<u8>; 3]>,
    tally: Tally,
}

/// A picture that was ended and that nobody has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    context: Id,
    number: u64,
}

/// Pictures of engines other than conversions have sides up to this many pixels.
const MAX_CODED_SIDE: u32 = 4096;
/// The codec wants at least a macroblock.
const MIN_CODED_SIDE: u32 = 16;
const MAX_CONFIGS: usize = 256;
const MAX_CONTEXTS: usize = 64;

impl Driver {
    /// A driver without objects, whose journal is as the environment says.
    pub fn new(faults: Faults, offers: Offers, log: Log) -> Self {
        Self {
            configs: Table::new("config", 0x0100_0000, status::INVALID_CONFIG, MAX_CONFIGS),
            contexts: Table::new(
                "context",
                0x0200_0000,
                status::INVALID_CONTEXT,
                MAX_CONTEXTS,
            ),
            surfaces: Table::new(
                "surface",
                0x0300_0000,
                status::INVALID_SURFACE,
                surfaces::MAX_SURFACES,
            ),
            buffers: Table::new(
                "buffer",
                0x0400_0000,
                status::INVALID_BUFFER,
                buffers::MAX_BUFFERS,
            ),
            images: Table::new(
                "image",
                0x0500_0000,
                status::INVALID_IMAGE,
                buffers::MAX_BUFFERS,
            ),
            log,
            faults,
            offers,
            counters: Counters::from_environment(),
            stamps: Stamps::from_environment(),
        }
    }

    /// Makes a configuration.
    pub fn create_config(
        &mut self,
        profile: i32,
        entrypoint: i32,
        attributes: &[va::ConfigAttrib],
    ) -> Done<Id> {
        let config = Config::new((profile, entrypoint), attributes, self.offers)?;
        self.configs.add(config)
    }

    /// Forgets a configuration. Contexts of it live on.
    pub fn destroy_config(&mut self, id: Id) -> Done {
        if self
            .contexts
            .iter()
            .any(|(_, context)| context.config_id == id)
        {
            return refuse(
                status::INVALID_CONFIG,
                format!("config {id:#x} is destroyed before its contexts"),
            );
        }
        self.configs.remove(id).map(|_| ())
    }

    /// A configuration.
    pub fn config(&self, id: Id) -> Done<&Config> {
        self.configs.get(id)
    }

    /// Makes a context for pictures of up to `size` pixels.
    pub fn create_context(&mut self, config_id: Id, size: (i32, i32), targets: &[Id]) -> Done<Id> {
        let config = *self.configs.get(config_id)?;
        let size = (
            u32::try_from(size.0).unwrap_or(0),
            u32::try_from(size.1).unwrap_or(0),
        );
        let is_codec = config.entrypoint != entrypoint::VIDEO_PROC;
        let fits = |side: u32| (MIN_CODED_SIDE..=MAX_CODED_SIDE).contains(&side);
        let blocks = size.0.div_ceil(16).saturating_mul(size.1.div_ceil(16));
        if is_codec && !(fits(size.0) && fits(size.1) && blocks <= decode::MAX_MACROBLOCKS) {
            return refuse(
                status::RESOLUTION_NOT_SUPPORTED,
                format!("a context of {}×{} pixels", size.0, size.1),
            );
        }
        for target in targets {
            let surface = self.surfaces.get(*target)?;
            if surface.format.rt_format() & config.rt_formats == 0 {
                return refuse(
                    status::INVALID_SURFACE,
                    format!("render target {target:#x} has not the format of the configuration"),
                );
            }
        }
        let engine = match config.entrypoint {
            entrypoint::VLD => Engine::Decode(Box::new(decode::Decoder::new()?)),
            entrypoint::ENC_SLICE | entrypoint::ENC_SLICE_LP => Engine::Encode(Box::new(Encode {
                encoder: encode::Encoder::new()?,
                sequence: None,
                rate: Rate::new(config.rate_control),
                before: None,
                tally: Tally::default(),
            })),
            _ => Engine::Process,
        };
        self.contexts.add(Context {
            config_id,
            config,
            size,
            engine,
            open: None,
            jobs: 0,
        })
    }

    /// Ends a context. A picture that is open ends with it, as an error.
    pub fn destroy_context(&mut self, id: Id) -> Done {
        self.contexts.get(id)?;
        let open = self.close(id);
        let ended = self.contexts.remove(id)?;
        if let Engine::Encode(engine) = &ended.engine {
            let way = match ended.config.entrypoint {
                entrypoint::ENC_SLICE_LP => " by EncSliceLP",
                _ => "",
            };
            let line = format!("context {id:#x}: {}{way}", engine.tally);
            self.log.line(&line);
        }
        for (_, surface) in self.surfaces.iter_mut() {
            surface.forget_context(id);
        }
        for (_, buffer) in self.buffers.iter_mut() {
            buffer.pending = buffer.pending.filter(|job| job.context != id);
        }
        match open {
            Some(_) => refuse(
                status::INVALID_CONTEXT,
                format!("context {id:#x} is destroyed between vaBeginPicture and vaEndPicture"),
            ),
            None => Ok(()),
        }
    }

    /// What a client has not destroyed, in words; a line for each kind.
    pub fn left(&self) -> Vec<String> {
        let left = [
            self.configs.left(),
            self.contexts.left(),
            self.surfaces.left(),
            self.images.left(),
            self.buffers.left(),
        ];
        left.into_iter().flatten().collect()
    }

    /// Logs what a client has left behind.
    pub fn report_leaks(&mut self) {
        let left = self.left();
        if !left.is_empty() {
            self.log.line(&format!("left behind: {}", left.join(", ")));
        }
    }
}
