//! Compression beside the compositor: large frames on a thread of their own.
//!
//! The compositor packs a frame, which is a matter of memory; compressing it takes as long again and
//! needs nothing but the packed bytes. So parts go to the other thread as they fill, and the frame
//! leaves from there when its last part is done, while the compositor listens to input already.
//! Small frames are compressed where they are, as long as no frame before them is still elsewhere:
//! frames leave in the order of their serials, but for those that may overtake others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context;
use bytes::Bytes;
use heliostat_tiles::{Encoder, Ending, Part, Squeezer, join};
use heliostat_wire::id::AttachId;
use heliostat_wire::scene::FrameHeader;
use tokio::sync::mpsc::UnboundedSender;
use tracing::error;

use crate::link::ToTerminalTask;

/// Packed bytes from which a frame is worth another thread's while.
const LARGE: usize = 16 << 10;

/// The compositor's end of the thread.
#[derive(Debug)]
pub struct Squeeze {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// Frames that have not left yet.
    under_way: Arc<AtomicUsize>,
}

/// A frame but for its content.
#[derive(Debug)]
pub struct Frame {
    /// The attach that it is of.
    pub attach: AttachId,
    /// Its header.
    pub header: FrameHeader,
    /// Parts of access units, which come before the tiles.
    pub units: Vec<u8>,
    /// Where it goes. An attach that is over takes nothing from here any more.
    pub to: UnboundedSender<ToTerminalTask>,
}

/// A frame that has left.
#[derive(Debug)]
pub struct Done {
    /// The attach that it was of.
    pub attach: AttachId,
    /// Bytes before compression.
    pub packed: usize,
    /// Bytes after it.
    pub squeezed: usize,
    /// How many had been expected.
    pub expected: usize,
    /// A buffer for the encoder.
    pub buffer: Vec<u8>,
}

#[derive(Debug)]
enum Job {
    Part(Part),
    End(Box<(Ending, Frame, Expected)>),
}

#[derive(Debug)]
struct Expected {
    packed: usize,
    squeezed: usize,
}

impl Squeeze {
    /// Starts the thread, and has `encoder` send it parts. It ends with this.
    pub fn start(encoder: &mut Encoder) -> anyhow::Result<Self> {
        let (jobs, coming) = channel();
        let (finished, done) = channel();
        let under_way = Arc::new(AtomicUsize::new(0));
        let left = under_way.clone();
        std::thread::Builder::new()
            .name("squeeze".to_owned())
            .spawn(move || run(&coming, &finished, &left))
            .context("start the thread that compresses")?;
        let parts = jobs.clone();
        encoder.set_outlet(Box::new(move |part| {
            // The thread ends after everybody who could send to it.
            let _ = parts.send(Job::Part(part));
        }));
        Ok(Self {
            jobs,
            done,
            under_way,
        })
    }

    /// Sends `frame` with what `encoder` holds, now or when it has been compressed. Returns its
    /// content's bytes, or how many they will be by and large.
    pub fn send(&self, mut frame: Frame, encoder: &mut Encoder) -> usize {
        let is_its_turn = self.under_way.load(Ordering::Acquire) == 0 || frame.header.overtakes > 0;
        if encoder.len() < LARGE && is_its_turn {
            let mut content = std::mem::take(&mut frame.units);
            encoder.finish(&mut content);
            let bytes = content.len();
            frame.leave(content);
            return bytes;
        }
        let expected = Expected {
            packed: encoder.len(),
            squeezed: encoder.estimate(),
        };
        let bytes = frame.units.len() + expected.squeezed;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let job = Job::End(Box::new((encoder.end(), frame, expected)));
        if self.jobs.send(job).is_err() {
            error!("the thread that compresses is gone: the terminal sees nothing new");
        }
        bytes
    }

    /// Whether frames are being compressed.
    #[cfg(test)]
    pub fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// Frames that have left since this was last asked.
    pub fn done(&self) -> impl Iterator<Item = Done> {
        self.done.try_iter()
    }
}

impl Frame {
    fn leave(self, content: Vec<u8>) {
        // Where the link is gone, its end is on its way.
        let task = ToTerminalTask::Frame(self.header, Bytes::from(content));
        let _ = self.to.send(task);
    }
}

fn run(jobs: &Receiver<Job>, done: &Sender<Done>, under_way: &AtomicUsize) {
    let mut squeezer = Squeezer::new();
    let mut parts = Vec::new();
    for job in jobs {
        let (Ending { first, last }, mut frame, expected) = match job {
            Job::Part(part) => {
                parts.push(squeezer.squeeze(&part));
                continue;
            }
            Job::End(end) => *end,
        };
        let first = first.map(|first| squeezer.squeeze(&first));
        parts.splice(0..0, first);
        parts.push(squeezer.squeeze(&last));
        let mut content = std::mem::take(&mut frame.units);
        let units = content.len();
        join(&parts, &mut content);
        parts.clear();
        let finished = Done {
            attach: frame.attach,
            packed: expected.packed,
            squeezed: content.len() - units,
            expected: expected.squeezed,
            buffer: last.into_buffer(),
        };
        frame.leave(content);
        under_way.fetch_sub(1, Ordering::Release);
        let _ = done.send(finished);
    }
}

#[cfg(test)]
mod tests {
    use heliostat_tiles::oracle::{Layer, Layers};
    use heliostat_tiles::{Decoder, Limits, cells};
    use heliostat_wire::bounded::List;

    use super::*;

    fn frame(serial: u32, to: &UnboundedSender<ToTerminalTask>) -> Frame {
        let header = FrameHeader {
            serial,
            last_input: 0,
            overtakes: 0,
            ops: List::truncated(Vec::new()),
        };
        Frame {
            attach: AttachId(7),
            header,
            units: vec![serial as u8; 3],
            to: to.clone(),
        }
    }

    #[test]
    fn large_and_small_frames_leave_in_order_and_whole() {
        let mut encoder = Encoder::new(1);
        let squeeze = Squeeze::start(&mut encoder).unwrap();
        let (to, mut words) = tokio::sync::mpsc::unbounded_channel();
        let pictures: Vec<_> = [600u32, 4, 300, 5, 6, 500, 64]
            .into_iter()
            .enumerate()
            .map(|(n, side)| {
                let mut layer = Layer::new(600, 600);
                for (at, pixel) in layer.pixels.iter_mut().enumerate() {
                    let (x, y) = (at as u32 % 600, at as u32 / 600);
                    let noise = (at as u32 + n as u32 * 977).wrapping_mul(0x9e37_79b1);
                    *pixel = if x < side && y < side {
                        noise ^ noise >> 15
                    } else {
                        0
                    };
                }
                layer
            })
            .collect();
        for (serial, picture) in (1..).zip(&pictures) {
            for cell in cells(picture.area()) {
                encoder.push(0, cell, picture.view().sub(cell).unwrap(), None);
            }
            squeeze.send(frame(serial, &to), &mut encoder);
            assert!(encoder.is_empty());
        }
        let mut terminal = Layers(vec![Layer::new(600, 600)]);
        let mut decoder = Decoder::new();
        for (serial, picture) in (1..).zip(&pictures) {
            let Some(ToTerminalTask::Frame(header, content)) = words.blocking_recv() else {
                panic!("no frame");
            };
            assert_eq!(header.serial, serial);
            assert_eq!(content[..3], [serial as u8; 3]);
            decoder
                .decode(&content[3..], &Limits::default(), &mut terminal)
                .unwrap();
            assert_eq!(&terminal.0[0], picture);
        }
        drop((squeeze, encoder));
    }
}
