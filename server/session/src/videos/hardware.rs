//! The thread that has the hardware encode. It waits for the device, and nobody waits for it.
//!
//! ```text
//!            first picture               an error of the device's
//!   none ─────────────────► encoder ─────────────────────────────► none (said to the compositor)
//!            (a key)          │ ▲
//!                             └─┘ each picture: bytes, or an error of its buffer's alone
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heliostat_tiles::Rect;
use heliostat_va::Display;
use heliostat_va::dmabuf::Identity;
use heliostat_va::encoder::{About, Area, EncodeError, Encoder, Rate, Settings};
use heliostat_va::probe::{Probe, RateControl};
use heliostat_video::Encoded;
use heliostat_wire::id::VideoId;
use tracing::{trace, warn};

use super::quantizer::{COARSEST, FINEST, Quantizer};
use super::{Failure, Promise, Times, size_of};
use crate::gpu::{Device, LowPower, Memory};

/// Pictures a second that drivers are told to expect.
const PICTURES_PER_SECOND: u16 = 60;
/// How often a key that is too large is encoded once more, coarser.
const MOST_TRIES: u32 = 3;
/// Units whose memory is kept for the next ones.
const MAX_SPARE: usize = 4;

/// What the thread is to do.
#[derive(Debug)]
pub enum Job {
    /// Encode a picture.
    Picture(Picture),
    /// Memory that no client has any more.
    Forget(Identity),
    /// A video is over.
    End(VideoId),
}

/// A picture that is in its client's buffer.
#[derive(Debug)]
pub struct Picture {
    /// What is said when nobody looks at it any more.
    pub promise: Promise,
    /// Where it is.
    pub memory: Arc<Memory>,
    /// Which part of that.
    pub rect: Rect,
    /// In what it may differ from the picture before, in its own pixels; nothing where nobody knows.
    pub changed: Option<Vec<Area>>,
    /// It is to build on none.
    pub key: bool,
    /// Bits a second that the video may have.
    pub bits_per_second: u32,
    /// When its client committed it.
    pub committed: Instant,
    /// Memory for its bytes.
    pub unit: Vec<u8>,
}

/// The thread, as long as this lives.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    thread: Option<JoinHandle<()>>,
    spare: Vec<Vec<u8>>,
}

impl Worker {
    /// Starts it; what it has done comes as events.
    pub fn start(device: &Device) -> Self {
        let (jobs, receiver) = mpsc::channel();
        let studio = Studio::new(device);
        let thread = std::thread::Builder::new().name("films by hardware".to_owned());
        let started = thread.spawn(move || run(&receiver, studio));
        let thread = started.inspect_err(|error| warn!("no thread for films by hardware: {error}"));
        Self {
            jobs,
            thread: thread.ok(),
            spare: Vec::new(),
        }
    }

    /// Gives it something to do. Where it could not be started, or is gone, pictures are said to have
    /// failed.
    pub fn send(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    /// Has it end when it has done what it was given, which may take for ever. Returns what tells.
    pub fn let_go(self) -> Option<JoinHandle<()>> {
        self.thread
    }

    /// Whether it is gone.
    pub fn is_gone(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Memory for a unit.
    pub fn spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes memory back.
    pub fn give_back(&mut self, unit: Vec<u8>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(unit);
        }
    }
}

fn run(jobs: &mpsc::Receiver<Job>, mut studio: Studio) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::End(video) => studio.end(video),
            Job::Forget(memory) => studio.forget(memory),
            Job::Picture(picture) => {
                if !studio.picture(picture) {
                    return;
                }
            }
        }
    }
}

/// All encoders of the device.
struct Studio {
    display: Display,
    probe: Probe,
    low_power: LowPower,
    films: BTreeMap<VideoId, Film>,
}

/// The encoder of a film.
struct Film {
    encoder: Encoder,
    quantizer: Quantizer,
    rate: Rate,
    /// When its last picture was committed.
    last: Option<Instant>,
}

impl Studio {
    fn new(device: &Device) -> Self {
        Self {
            display: device.display.clone(),
            probe: device.probe.clone(),
            low_power: device.low_power.clone(),
            films: BTreeMap::new(),
        }
    }

    fn end(&mut self, video: VideoId) {
        self.films.remove(&video);
    }

    fn forget(&mut self, memory: Identity) {
        let films = self.films.values_mut();
        films.for_each(|film| film.encoder.forget(memory));
    }

    /// Encodes a picture. False where nobody wants to know.
    fn picture(&mut self, mut picture: Picture) -> bool {
        let video = picture.promise.video();
        let mut bytes = std::mem::take(&mut picture.unit);
        let encoded = self.encode(&picture, &mut bytes);
        let times = encoded.as_ref().ok().copied().flatten();
        let unit = encoded.map(|_| bytes).map_err(|error| {
            let said = error.to_string();
            match error {
                EncodeError::Size(_)
                | EncodeError::NoPath(_)
                | EncodeError::Buffer(_)
                | EncodeError::NoConversion(_)
                | EncodeError::Import(_) => Failure::Buffer(said),
                EncodeError::Va(_) | EncodeError::Incomplete(_) | EncodeError::Bitstream(_) => {
                    Failure::Device(said)
                }
            }
        });
        if unit.is_err() {
            // What is left of its stream would begin with a picture that nobody expects.
            self.end(video);
        }
        picture.promise.keep(unit, None, times)
    }

    fn encode(
        &mut self,
        picture: &Picture,
        unit: &mut Vec<u8>,
    ) -> Result<Option<Times>, EncodeError> {
        let film = match self.films.entry(picture.promise.video()) {
            std::collections::btree_map::Entry::Occupied(film) => film.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let of = (&self.display, &self.probe);
                let encoder = |settings| self.low_power.encoder(of.0, of.1, settings);
                place.insert(Film::new(picture, encoder)?)
            }
        };
        let encoded = film.encode(picture, unit);
        self.low_power.heed(&mut film.encoder, encoded.is_ok());
        encoded
    }
}

impl Film {
    fn new(
        picture: &Picture,
        encoder: impl FnOnce(Settings) -> Result<Encoder, EncodeError>,
    ) -> Result<Self, EncodeError> {
        let quantizer = Quantizer::new(picture.bits_per_second, PICTURES_PER_SECOND);
        let rate = bounded(picture.bits_per_second, FINEST);
        let settings = Settings {
            size: size_of(picture.rect),
            pictures_per_second: PICTURES_PER_SECOND,
            rate,
        };
        Ok(Self {
            encoder: encoder(settings)?,
            quantizer,
            rate,
            last: None,
        })
    }

    fn encode(
        &mut self,
        picture: &Picture,
        unit: &mut Vec<u8>,
    ) -> Result<Option<Times>, EncodeError> {
        self.quantizer.set_bits(picture.bits_per_second);
        self.take_rate(self.wanted());
        let last = self.last.replace(picture.committed);
        let about = About {
            key: picture.key,
            changed: picture.changed.as_deref(),
            left_out: left_out(last, picture.committed),
        };
        let mut encoded = self.see(picture, about, unit)?;
        let given = self.encoder.times().map(|times| times.given);
        let mut finest = self.quantizer.now();
        for _ in 0..MOST_TRIES {
            let coarser = match encoded {
                Encoded::Key => self.quantizer.coarser_key(unit.len(), finest),
                Encoded::Difference | Encoded::LeftOut => None,
            };
            let Some(coarser) = coarser else { break };
            trace!(bytes = unit.len(), coarser, "a key is too large");
            finest = coarser;
            self.take_rate(self.at_least(coarser));
            let again = About {
                key: true,
                changed: Some(&[]),
                left_out: 0,
            };
            encoded = self.see(picture, again, unit)?;
        }
        match encoded {
            Encoded::LeftOut => unit.clear(),
            Encoded::Key => {}
            Encoded::Difference => self.quantizer.coded(unit.len()),
        }
        let times = self.encoder.times().zip(given);
        Ok(times.map(|(times, given)| Times {
            commit_to_encoder: given.saturating_duration_since(picture.committed),
            coded: times.coded,
        }))
    }

    fn see(
        &mut self,
        picture: &Picture,
        about: About<'_>,
        unit: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let (encoder, corner) = (&mut self.encoder, (picture.rect.x, picture.rect.y));
        picture
            .memory
            .with(|described| encoder.encode_part(described, corner, about, unit))
    }

    /// The rate for pictures as they come.
    fn wanted(&self) -> Rate {
        match self.is_ours() {
            true => Rate::Constant {
                quantizer: self.quantizer.now(),
            },
            false => bounded(self.quantizer.bits(), FINEST),
        }
    }

    /// The rate for a picture that is to be coarser.
    fn at_least(&self, quantizer: u8) -> Rate {
        match self.is_ours() {
            true => Rate::Constant { quantizer },
            false => bounded(self.quantizer.bits(), quantizer),
        }
    }

    /// Whether quantizers are chosen here, for the driver does not.
    fn is_ours(&self) -> bool {
        self.encoder.path().rate_control == RateControl::Constant
    }

    fn take_rate(&mut self, rate: Rate) {
        if rate != self.rate {
            self.rate = rate;
            self.encoder.set_rate(rate);
        }
    }
}

/// How many pictures there was time for between two that came, at the rate that drivers expect.
fn left_out(last: Option<Instant>, now: Instant) -> u8 {
    let since = last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
    let pictures = (since * u32::from(PICTURES_PER_SECOND))
        .as_secs_f32()
        .round();
    (pictures as u8).saturating_sub(1)
}

fn bounded(bits_per_second: u32, finest: u8) -> Rate {
    Rate::Bounded {
        bits_per_second,
        finest,
        coarsest: COARSEST.max(finest),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use heliostat_video::Size;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufFlags};
    use smithay::backend::allocator::{Fourcc, Modifier};
    use smithay::reexports::calloop::channel;

    use super::super::Coder;
    use super::*;
    use crate::gpu::RenderNode;
    use crate::tests::hardware::{alone_at, node};

    const SIZE: Size = Size { w: 640, h: 400 };
    /// What a key may have on the slowest link.
    const SLOWEST_KEY: usize = 48 << 10;

    /// NV12 that encoders do not like: grain all over. (Of samples that have nothing in common at all not
    /// even the coarsest key is small.)
    fn noise() -> Arc<Memory> {
        let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
        let file = File::from(memfd_create("noise", flags).unwrap());
        let samples = 0..SIZE.area() as u32 * 3 / 2;
        let sample = |n: u32| {
            let mixed = (n.wrapping_mul(0x9e37_79b9) ^ n << 13).wrapping_mul(0x85eb_ca6b);
            96 + (mixed >> 26)
        };
        let bytes: Vec<u8> = samples.map(|n| sample(n) as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        let size = (SIZE.w as i32, SIZE.h as i32);
        let (format, flags) = (Fourcc::Nv12, DmabufFlags::empty());
        let mut dmabuf = Dmabuf::builder(size, format, Modifier::Linear, flags);
        for (plane, offset) in [(0, 0), (1, SIZE.w * SIZE.h)] {
            dmabuf.add_plane(file.try_clone().unwrap().into(), plane, offset, SIZE.w);
        }
        Arc::new(Memory::check(dmabuf.build().unwrap(), &[0]).unwrap())
    }

    #[test]
    fn pictures_that_did_not_come_are_those_that_there_was_time_for() {
        let now = Instant::now();
        let after = |milliseconds| left_out(Some(now), now + Duration::from_millis(milliseconds));
        assert_eq!(left_out(None, now), 0);
        assert_eq!([0, 8, 17, 24].map(after), [0; 4]);
        assert_eq!([33, 42, 100, 60_000].map(after), [1, 2, 5, 254]);
    }

    #[test]
    fn key_has_no_more_bytes_than_a_slow_link_carries_in_half_a_second() {
        let name = "videos::hardware::tests::key_has_no_more_bytes_than_a_slow_link_carries_in_half_a_second";
        alone_at(name, "", || {
            let device = Device::find(&RenderNode::Path(node())).unwrap();
            let mut studio = Studio::new(&device);
            let memory = noise();
            let (events, _heard) = channel::channel();
            let mut coded = |video: u32, bits_per_second, key| {
                let picture = Picture {
                    promise: Promise::new(VideoId(video), Coder::Hardware, &events),
                    memory: Arc::clone(&memory),
                    rect: Rect {
                        x: 0,
                        y: 0,
                        w: SIZE.w,
                        h: SIZE.h,
                    },
                    changed: None,
                    key,
                    bits_per_second,
                    committed: Instant::now(),
                    unit: Vec::new(),
                };
                let mut unit = Vec::new();
                studio.encode(&picture, &mut unit).unwrap();
                unit
            };
            let free = coded(1, 20_000_000, true).len();
            assert!(free > SLOWEST_KEY * 2, "{free} bytes bound nothing");
            // The first picture of a film, and a key in the middle that a terminal asks for.
            let first = coded(2, 200_000, false);
            let differs = coded(2, 200_000, false);
            let again = coded(2, 200_000, true);
            for key in [&first, &again] {
                heliostat_video::inspect(key, SIZE).unwrap();
                assert!(key.len() <= SLOWEST_KEY, "{} of {free} bytes", key.len());
            }
            assert!(differs.len() < first.len());
            println!("{free} bytes, bounded {} and {}", first.len(), again.len());
        });
    }
}
