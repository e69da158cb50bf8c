//! The thread that asks the graphics driver. Whoever asks waits for the answer, but not for ever.
//!
//! ```text
//!   asked ── the answer ──► asked …
//!     └───── too long ────► lost: the thread is left with what it was given, and nothing is asked
//! ```
//!
//! What a call works on goes to the thread with it and comes back with the answer, so that a call which
//! never ends holds nothing that anybody else uses.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heliostat_va::decoder::converter::Converter;
use heliostat_va::decoder::{DecodeError, Decoder, Frame};
use heliostat_va::image::Reader;
use heliostat_va::probe::Probe;
use heliostat_va::{Display, Error};
use heliostat_video::{Nv12, Size};
use tracing::warn;

use crate::clock::monotonic_ns;

/// How long a driver is waited for: in parts, so that somebody who was stopped meanwhile gives it
/// another one. Decoders wait half as long for a picture, and say so by themselves.
const PART: Duration = Duration::from_millis(100);
const PARTS: u32 = 20;
/// The same while it is opened, when devices are woken and firmware is loaded.
const OPENING: u32 = 100;
/// How long surfaces may wait for somebody to destroy them while nothing is asked.
const SWEEP: Duration = Duration::from_secs(1);

/// What is asked, with what is needed for it.
enum Job {
    Open(OwnedFd),
    MakeDecoder(Size),
    MakeConverter(Size),
    Decode(Box<Decoder>, Vec<u8>),
    Convert(Box<Converter>, Frame),
    Fetch(Box<Reader>, Frame),
    Drop(Owned),
    /// Destroys surfaces that were let go; so does every other job.
    Sweep,
    /// Says what the thread has allocated so far.
    #[cfg(test)]
    Count,
    End,
}

/// What is answered; what came for it comes back.
enum Answer {
    Opened(Result<(Display, Box<Probe>), Error>),
    Decoder(Result<Box<Decoder>, DecodeError>),
    Converter(Result<Box<Converter>, DecodeError>),
    /// With how long the decoder took, in nanoseconds.
    Decoded(Box<Decoder>, Vec<u8>, u64, Result<Frame, DecodeError>),
    Converted(Box<Converter>, Result<Frame, DecodeError>),
    Fetched(Box<Reader>, Result<(), Error>),
    #[cfg(test)]
    Counted(usize),
    Done,
}

/// What holds objects of the driver's.
enum Owned {
    Decoder(Box<Decoder>),
    Converter(Box<Converter>),
    Reader(Box<Reader>),
}

/// A driver, and the thread that asks it.
pub struct Driver {
    display: Option<Display>,
    thread: Thread,
    is_lost: AtomicBool,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

struct Thread {
    /// One job at a time: whoever asks waits for the answer.
    ends: Mutex<Ends>,
}

struct Ends {
    jobs: SyncSender<Job>,
    answers: Receiver<Answer>,
    is_lost: bool,
}

impl Thread {
    fn start() -> Result<Self, Error> {
        let (jobs, to_do) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let thread = std::thread::Builder::new().name("video".to_owned());
        let started = thread.spawn(move || work(&to_do, &answer));
        // Where there are no threads there is no driver either.
        started.map_err(|_| Error::Lost)?;
        let ends = Mutex::new(Ends {
            jobs,
            answers,
            is_lost: false,
        });
        Ok(Self { ends })
    }

    fn ask(&self, job: Job, parts: u32) -> Option<Answer> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.is_lost || ends.jobs.send(job).is_err() {
            return None;
        }
        for _ in 0..parts {
            match ends.answers.recv_timeout(PART) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        ends.is_lost = true;
        None
    }
}

impl Driver {
    /// Has a thread open the driver of a node, and asks what the device does.
    pub fn open(node: OwnedFd) -> Result<(Self, Box<Probe>), Error> {
        let thread = Thread::start()?;
        match thread.ask(Job::Open(node), OPENING) {
            Some(Answer::Opened(opened)) => {
                let (display, probe) = opened?;
                let driver = Self {
                    display: Some(display),
                    thread,
                    is_lost: AtomicBool::new(false),
                };
                Ok((driver, probe))
            }
            _ => Err(Error::Lost),
        }
    }

    fn ask(&self, job: Job) -> Result<Answer, Error> {
        let answer = self.thread.ask(job, PARTS);
        // Whoever waits for a picture there says by himself that it took too long.
        if answer.is_none() || self.display.as_ref().is_some_and(Display::is_lost) {
            self.lose();
        }
        answer.ok_or(Error::Lost)
    }

    /// It has taken too long, which is said once: nothing is asked of it any more.
    pub fn lose(&self) -> Error {
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            warn!("the graphics driver hangs; the processor decodes all videos from now on");
        }
        self.display.as_ref().map_or(Error::Lost, Display::lose)
    }

    /// Whether it has taken too long, whatever it was asked.
    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// A decoder of one video.
    pub fn decoder(self: &Arc<Self>, size: Size) -> Result<VideoDecoder, DecodeError> {
        match self.ask(Job::MakeDecoder(size))? {
            Answer::Decoder(made) => Ok(VideoDecoder {
                driver: Arc::clone(self),
                decoder: Some(made?),
                unit: Vec::new(),
                took_ns: 0,
            }),
            _ => Err(self.lose().into()),
        }
    }

    /// What makes RGB of a video's pictures.
    pub fn converter(self: &Arc<Self>, size: Size) -> Result<VideoConverter, DecodeError> {
        match self.ask(Job::MakeConverter(size))? {
            Answer::Converter(made) => Ok(VideoConverter {
                driver: Arc::clone(self),
                converter: Some(made?),
            }),
            _ => Err(self.lose().into()),
        }
    }

    /// Has surfaces destroyed that nobody shows any more.
    pub fn sweep(&self) {
        // Where it takes too long, whoever asks next is told.
        let _ = self.ask(Job::Sweep);
    }

    #[cfg(test)]
    fn allocations(&self) -> usize {
        match self.ask(Job::Count).expect("it answers") {
            Answer::Counted(allocations) => allocations,
            _ => unreachable!("it answers what it is asked"),
        }
    }

    fn drop_there(&self, owned: Owned) {
        // After a timeout it stays with the thread; of one that is lost nothing is asked in dropping.
        let _ = self.ask(Job::Drop(owned));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The thread's is the last, unless pictures are still shown.
        self.display = None;
        let _ = self.thread.ask(Job::End, PARTS);
    }
}

/// A decoder of one video; see [`Decoder`].
pub struct VideoDecoder {
    driver: Arc<Driver>,
    decoder: Option<Box<Decoder>>,
    /// Memory for access units.
    unit: Vec<u8>,
    took_ns: u64,
}

impl VideoDecoder {
    /// Decodes one access unit, and waits for it.
    pub fn decode(&mut self, unit: &[u8]) -> Result<Frame, DecodeError> {
        self.took_ns = 0;
        let decoder = self.decoder.take().ok_or(Error::Lost)?;
        let mut copy = std::mem::take(&mut self.unit);
        copy.extend_from_slice(unit);
        match self.driver.ask(Job::Decode(decoder, copy))? {
            Answer::Decoded(decoder, mut copy, took_ns, decoded) => {
                // What a person has seen does not stay.
                copy.fill(0);
                copy.clear();
                (self.decoder, self.unit) = (Some(decoder), copy);
                self.took_ns = took_ns;
                decoded
            }
            _ => Err(self.driver.lose().into()),
        }
    }

    /// How long the last unit took the decoder, without the way to its thread and back; 0 where it has
    /// not answered.
    pub fn took_ns(&self) -> u64 {
        self.took_ns
    }
}

impl Drop for VideoDecoder {
    fn drop(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.driver.drop_there(Owned::Decoder(decoder));
        }
    }
}

/// Makes RGB of a video's pictures; see [`Converter`].
pub struct VideoConverter {
    driver: Arc<Driver>,
    converter: Option<Box<Converter>>,
}

impl std::fmt::Debug for VideoConverter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VideoConverter")
    }
}

impl VideoConverter {
    /// Converts a picture, and waits for it.
    pub fn convert(&mut self, frame: &Frame) -> Result<Frame, DecodeError> {
        let converter = self.converter.take().ok_or(Error::Lost)?;
        match self.driver.ask(Job::Convert(converter, frame.clone()))? {
            Answer::Converted(converter, converted) => {
                self.converter = Some(converter);
                converted
            }
            _ => Err(self.driver.lose().into()),
        }
    }
}

impl Drop for VideoConverter {
    fn drop(&mut self) {
        if let Some(converter) = self.converter.take() {
            self.driver.drop_there(Owned::Converter(converter));
        }
    }
}

/// Copies pictures of one video out of surfaces; see [`Reader`].
#[derive(Debug)]
pub struct VideoReader {
    driver: Option<Arc<Driver>>,
    reader: Option<Box<Reader>>,
}

impl VideoReader {
    /// A reader of surfaces of a driver, where there is one.
    pub fn of(driver: Option<Arc<Driver>>) -> Self {
        let reader = None;
        Self { driver, reader }
    }

    /// Has a frame copied, waits for that, and gives the copy to `see`.
    pub fn read(&mut self, frame: &Frame, see: impl FnOnce(&Nv12<'_>)) -> Result<(), Error> {
        let driver = self.driver.as_ref().ok_or(Error::Lost)?;
        let reader = self.reader.take().unwrap_or_default();
        match driver.ask(Job::Fetch(reader, frame.clone()))? {
            Answer::Fetched(reader, fetched) => {
                let seen = fetched.map(|()| reader.see(see));
                self.reader = Some(reader);
                seen?.ok_or(Error::Lost)
            }
            _ => Err(driver.lose()),
        }
    }
}

impl Drop for VideoReader {
    fn drop(&mut self) {
        if let (Some(driver), Some(reader)) = (&self.driver, self.reader.take()) {
            driver.drop_there(Owned::Reader(reader));
        }
    }
}

/// The thread: does what it is given until nobody can ask any more.
fn work(jobs: &Receiver<Job>, answers: &SyncSender<Answer>) {
    let mut opened: Option<(Display, Box<Probe>)> = None;
    loop {
        let job = match jobs.recv_timeout(SWEEP) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                opened.iter().for_each(|(display, _)| display.sweep());
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let ends = matches!(job, Job::End);
        let answer = answer(job, &mut opened);
        opened.iter().for_each(|(display, _)| display.sweep());
        if answers.send(answer).is_err() || ends {
            return;
        }
    }
}

fn answer(job: Job, opened: &mut Option<(Display, Box<Probe>)>) -> Answer {
    match job {
        Job::Open(node) => {
            let made = open(node);
            *opened = made.as_ref().ok().cloned();
            Answer::Opened(made)
        }
        Job::MakeDecoder(size) => Answer::Decoder(match opened {
            Some((display, probe)) => Decoder::new(display, probe, size).map(Box::new),
            None => Err(Error::Lost.into()),
        }),
        Job::MakeConverter(size) => Answer::Converter(match opened {
            Some((display, probe)) => Converter::new(display, probe, size).map(Box::new),
            None => Err(Error::Lost.into()),
        }),
        Job::Decode(mut decoder, unit) => {
            let began_ns = monotonic_ns();
            let decoded = decoder.decode(&unit);
            let took_ns = monotonic_ns().saturating_sub(began_ns);
            Answer::Decoded(decoder, unit, took_ns, decoded)
        }
        Job::Convert(mut converter, frame) => {
            let converted = converter.convert(&frame);
            Answer::Converted(converter, converted)
        }
        Job::Fetch(mut reader, frame) => {
            let fetched = reader.fetch(&frame);
            Answer::Fetched(reader, fetched)
        }
        Job::Drop(owned) => {
            match owned {
                Owned::Decoder(decoder) => drop(decoder),
                Owned::Converter(converter) => drop(converter),
                Owned::Reader(reader) => drop(reader),
            }
            Answer::Done
        }
        Job::Sweep => Answer::Done,
        #[cfg(test)]
        Job::Count => Answer::Counted(crate::counting::allocations()),
        Job::End => {
            *opened = None;
            Answer::Done
        }
    }
}

fn open(node: OwnedFd) -> Result<(Display, Box<Probe>), Error> {
    let display = Display::open(node)?;
    let probe = Box::new(Probe::new(&display)?);
    display.defer();
    Ok((display, probe))
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
