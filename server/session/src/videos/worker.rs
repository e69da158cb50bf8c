//! The thread that encodes in software.

use std::collections::BTreeMap;
use std::sync::mpsc;

use heliostat_video::{EncodeError, Encoded, Encoder, Picture, Quality, Size};
use heliostat_wire::id::VideoId;
use tracing::warn;

use super::{Failure, Promise};

/// Pictures whose memory is kept for the next ones.
const MAX_SPARE: usize = 2;

/// What the thread is to do.
#[derive(Debug)]
pub enum Job {
    /// Encode a picture.
    Picture {
        /// What is said when it is done.
        promise: Promise,
        /// Its size, whose sides may be odd.
        size: Size,
        /// The picture.
        picture: Picture,
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
    spare: Vec<Picture>,
}

impl Worker {
    /// Starts it; what it has done comes as events.
    pub fn start() -> Self {
        let (jobs, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new().name("films".to_owned());
        let started = thread.spawn(move || run(&receiver));
        if let Err(error) = started {
            warn!("no thread for films: {error}");
        }
        Self {
            jobs,
            spare: Vec::new(),
        }
    }

    /// Gives it something to do. Where it could not be started, or is gone, pictures are said to have
    /// failed.
    pub fn send(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    /// Memory for a picture.
    pub fn spare(&mut self) -> Picture {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes memory back.
    pub fn give_back(&mut self, picture: Picture) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(picture);
        }
    }

    /// No film is open: the next one may have another size, or be a long time off.
    pub fn let_go(&mut self) {
        self.spare = Vec::new();
    }
}

fn run(jobs: &mpsc::Receiver<Job>) {
    let mut studio = Studio::default();
    while let Ok(job) = jobs.recv() {
        match job {
            Job::End(video) => studio.end(video),
            Job::Picture {
                promise,
                size,
                picture,
                quality,
            } => {
                let unit = studio.encode(promise.video(), size, &picture, quality);
                let unit = unit.map_err(|error| Failure::Processor(error.to_string()));
                if !promise.keep(unit, Some(picture), None) {
                    return;
                }
            }
        }
    }
}

/// All encoders.
#[derive(Debug, Default)]
struct Studio {
    encoders: BTreeMap<VideoId, (Encoder, Quality)>,
}

impl Studio {
    fn end(&mut self, video: VideoId) {
        self.encoders.remove(&video);
    }

    fn encode(
        &mut self,
        video: VideoId,
        size: Size,
        picture: &Picture,
        quality: Quality,
    ) -> Result<Vec<u8>, EncodeError> {
        let known = self.encoders.get(&video).map(|(_, quality)| quality);
        if known.is_none_or(|known| is_another(known, &quality)) {
            // Two at once would need twice the memory, which the allocator then keeps.
            self.encoders.remove(&video);
            let encoder = Encoder::new(size, quality)?;
            self.encoders.insert(video, (encoder, quality));
        }
        let Some((encoder, _)) = self.encoders.get_mut(&video) else {
            return Ok(Vec::new());
        };
        let mut unit = Vec::new();
        let encoded = encoder.encode(picture, false, &mut unit)?;
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
