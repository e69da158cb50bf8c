//! What becomes of a picture that was given to a thread.

use heliostat_video::Picture;
use heliostat_wire::id::VideoId;
use smithay::reexports::calloop::channel;

use super::{Coder, Failure, Times};
use crate::app::Event;

/// A picture that was encoded.
#[derive(Debug)]
pub struct Done {
    /// Of which video.
    pub video: VideoId,
    /// Its access unit, empty where the picture was left out; or why there is none.
    pub unit: Result<Vec<u8>, Failure>,
    /// What it was encoded from, where that is ours.
    pub picture: Option<Picture>,
    /// How long it took, where that is of interest.
    pub times: Option<Times>,
    /// The client's buffer that nobody looks at any more, by its number.
    pub buffer: Option<u64>,
}

/// Travels with a picture, and says what became of it: that there is nothing of it where it is dropped,
/// be it that its thread dies or that it still waits for its turn then.
#[derive(Debug)]
pub struct Promise {
    video: VideoId,
    coder: Coder,
    buffer: Option<u64>,
    /// None once it is kept.
    events: Option<channel::Sender<Event>>,
}

impl Promise {
    /// For a picture of a video.
    pub fn new(video: VideoId, coder: Coder, events: &channel::Sender<Event>) -> Self {
        Self {
            video,
            coder,
            buffer: None,
            events: Some(events.clone()),
        }
    }

    /// For one in a client's buffer of this number.
    #[cfg(feature = "gpu")]
    pub fn of_buffer(mut self, number: u64) -> Self {
        self.buffer = Some(number);
        self
    }

    /// Of which video the picture is.
    pub fn video(&self) -> VideoId {
        self.video
    }

    /// Says what came of it. False where nobody wants to know.
    pub fn keep(
        mut self,
        unit: Result<Vec<u8>, Failure>,
        picture: Option<Picture>,
        times: Option<Times>,
    ) -> bool {
        self.say(unit, picture, times)
    }

    fn say(
        &mut self,
        unit: Result<Vec<u8>, Failure>,
        picture: Option<Picture>,
        times: Option<Times>,
    ) -> bool {
        let done = Done {
            video: self.video,
            unit,
            picture,
            times,
            buffer: self.buffer,
        };
        let events = self.events.take();
        events.is_some_and(|events| events.send(Event::Film(done)).is_ok())
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if self.events.is_some() {
            let why = "its thread has died".to_owned();
            let failure = match self.coder {
                Coder::Processor => Failure::Processor(why),
                Coder::Hardware => Failure::Device(why),
            };
            self.say(Err(failure), None, None);
        }
    }
}
