//! The thread that encodes in software.

use std::collections::BTreeMap;
use std::sync::mpsc;

use heliostat_video::{EncodeError, Encoded, Encoder, Picture, Quality, Size};
use heliostat_wire::id::VideoId;
use smithay::reexports::calloop::channel;
use tracing::warn;

use super::{Done, Failure};
use crate::app::Event;

/// Buffers kept for the next pictures.
const MAX_SPARE: usize = 2;

/// What the thread is to do.
#[derive(Debug)]
pub enum Job {
    /// Encode a picture.
    Picture {
        /// Of which video.
        video: VideoId,
        /// Its size.
        size: Size,
        /// Its pixels, rows without gaps.
        pixels: Vec<u32>,
        /// How good it is to be.
        quality: Quality,
    },
    /// A video is over.
    End(VideoId),
}

/// The thread, as long as this lives.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    spare: Vec<Vec<u32>>,
}

impl Worker {
    /// Starts it; what it has done comes as events.
    pub fn start(events: channel::Sender<Event>) -> Self {
        let (jobs, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new().name("films".to_owned());
        let started = thread.spawn(move || run(&receiver, &events));
        if let Err(error) = started {
            warn!("no thread for films: {error}");
        }
        Self {
            jobs,
            spare: Vec::new(),
        }
    }

    /// Gives it something to do; false where it could not be started, or is gone.
    pub fn send(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// Memory for a picture.
    pub fn spare(&mut self) -> Vec<u32> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes memory back.
    pub fn give_back(&mut self, pixels: Vec<u32>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(pixels);
        }
    }
}

fn run(jobs: &mpsc::Receiver<Job>, events: &channel::Sender<Event>) {
    let mut studio = Studio::default();
    while let Ok(job) = jobs.recv() {
        match job {
            Job::End(video) => studio.end(video),
            Job::Picture {
                video,
                size,
                pixels,
                quality,
            } => {
                let promise = Promise(video, events);
                let unit = studio.encode(video, size, &pixels, quality);
                let unit = unit.map_err(|error| Failure::Processor(error.to_string()));
                std::mem::forget(promise);
                let done = Done {
                    pixels: Some(pixels),
                    ..Done::of(video, unit)
                };
                if events.send(Event::Film(done)).is_err() {
                    return;
                }
            }
        }
    }
}

/// Says that there is no picture if the thread dies before there is one.
struct Promise<'a>(VideoId, &'a channel::Sender<Event>);

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let unit = Err(Failure::Processor("its thread has died".to_owned()));
        let _ = self.1.send(Event::Film(Done::of(self.0, unit)));
    }
}

/// All encoders.
#[derive(Debug, Default)]
struct Studio {
    encoders: BTreeMap<VideoId, (Encoder, Quality)>,
    picture: Picture,
}

impl Studio {
    fn end(&mut self, video: VideoId) {
        self.encoders.remove(&video);
        self.picture = Picture::default();
    }

    fn encode(
        &mut self,
        video: VideoId,
        size: Size,
        pixels: &[u32],
        quality: Quality,
    ) -> Result<Vec<u8>, EncodeError> {
        let known = self.encoders.get(&video).map(|(_, quality)| quality);
        if known.is_none_or(|known| is_another(known, &quality)) {
            let encoder = Encoder::new(size, quality)?;
            self.encoders.insert(video, (encoder, quality));
        }
        let Some((encoder, _)) = self.encoders.get_mut(&video) else {
            return Ok(Vec::new());
        };
        if !self.picture.take(size, pixels) {
            return Err(EncodeError::WrongPicture);
        }
        let mut unit = Vec::new();
        let encoded = encoder.encode(&self.picture, false, &mut unit)?;
        if encoded == Encoded::LeftOut {
            unit.clear();
        }
        Ok(unit)
    }
}

/// Whether qualities differ enough for a new encoder, which begins with a whole picture.
fn is_another(known: &Quality, wanted: &Quality) -> bool {
    let (known, wanted) = (
        u64::from(known.bits_per_second),
        u64::from(wanted.bits_per_second),
    );
    wanted * 3 < known * 2 || wanted > known * 2
}
