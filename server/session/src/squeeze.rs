//! Compression beside the compositor: large frames on threads of their own.
//!
//! The compositor packs a frame, which is a matter of memory; compressing it takes as long again and
//! needs nothing but the packed bytes. So parts go to other threads as they fill, as many at a time as
//! there are processors, and the frame leaves from there when its last part is done, while the
//! compositor listens to input already. The threads come with work and go when there has been none
//! for a while ([`queue`]): a server has many sessions, and most of them are at rest.
//! Small frames are compressed where they are, as long as no frame before them is still elsewhere:
//! frames leave in the order of their serials, but for those that may overtake others.

mod apart;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apart::Apart;
use bytes::Bytes;
use heliostat_tiles::{Encoder, Ending, Squeezer, pieces};
use heliostat_wire::id::AttachId;
use heliostat_wire::scene::FrameHeader;
use rustix::thread::{Pid, gettid};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::link::ToTerminalTask;
use crate::threads::Threads;
use queue::{Queue, Task};

/// Packed bytes from which a frame is worth another thread's while.
const LARGE: usize = 16 << 10;
/// Threads at most: there are other sessions.
const MOST_THREADS: usize = 4;
/// A thread without work for so long ends, and gives back what zstd needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The compositor's end of the threads.
#[derive(Debug)]
pub struct Squeeze {
    shared: Arc<Shared>,
    done: Receiver<Done>,
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
    /// When the first of what it brings was committed, where that is all that there was to send.
    pub since: Option<Instant>,
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
    /// From the commit until the link had it.
    pub took: Option<Duration>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Its content's bytes, or how many they will be by and large.
    pub bytes: usize,
    /// When the link got it; nothing where other threads compress it first.
    pub left: Option<Instant>,
    /// From the commit until then, where it has left.
    pub took: Option<Duration>,
}

#[derive(Debug)]
struct Expected {
    packed: usize,
    squeezed: usize,
}

/// What compositor and threads have in common.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
    source: Threads,
    /// Frames that have not left yet.
    under_way: AtomicUsize,
    done: Sender<Done>,
    /// Allocations of the threads.
    #[cfg(test)]
    allocated: std::sync::atomic::AtomicU64,
}

#[derive(Debug)]
struct State {
    queue: Queue<(Frame, Expected)>,
    /// Buffers of parts that are compressed, for those that come next.
    spare: Vec<Vec<u8>>,
    threads: usize,
    most_threads: usize,
    /// The last one that was wanted could not be started.
    is_refused: bool,
    /// Threads that wait for work.
    idle: usize,
    apart: Apart,
    /// The compositor is gone.
    is_over: bool,
}

impl Squeeze {
    /// Has `encoder` send full parts to threads of this source, which end with this.
    pub fn start(encoder: &mut Encoder, source: Threads) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (finished, done) = channel();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: Queue::default(),
                spare: Vec::new(),
                threads: 0,
                most_threads: cores.min(MOST_THREADS),
                is_refused: false,
                idle: 0,
                apart: Apart::default(),
                is_over: false,
            }),
            news: Condvar::new(),
            source,
            under_way: AtomicUsize::new(0),
            done: finished,
            #[cfg(test)]
            allocated: Default::default(),
        });
        let parts = shared.clone();
        encoder.set_outlet(Box::new(move |part| {
            let mut state = parts.locked();
            state.queue.add(part);
            state.apart.keep_off_here();
            let spare = state.spare.pop();
            drop(state);
            parts.see_to_it();
            spare
        }));
        Self { shared, done }
    }

    /// Sends `frame` with what `encoder` holds, now or when it has been compressed.
    pub fn send(&self, mut frame: Frame, encoder: &mut Encoder) -> Sent {
        let under_way = &self.shared.under_way;
        let is_its_turn = under_way.load(Ordering::Acquire) == 0 || frame.header.overtakes > 0;
        if encoder.len() < LARGE && is_its_turn {
            let mut content = std::mem::take(&mut frame.units);
            encoder.finish(&mut content);
            let bytes = content.len();
            let (left, took) = frame.leave(vec![content.into()]);
            return Sent {
                bytes,
                left: Some(left),
                took,
            };
        }
        let expected = Expected {
            packed: encoder.len(),
            squeezed: encoder.estimate(),
        };
        let bytes = frame.units.len() + expected.squeezed;
        under_way.fetch_add(1, Ordering::Relaxed);
        let Ending { first, last } = encoder.end();
        let end = (frame, expected);
        let mut state = self.shared.locked();
        state.queue.end(first, last, end);
        state.apart.let_go();
        drop(state);
        self.shared.see_to_it();
        Sent {
            bytes,
            left: None,
            took: None,
        }
    }

    /// Whether frames are being compressed.
    #[cfg(test)]
    pub fn is_busy(&self) -> bool {
        self.shared.under_way.load(Ordering::Acquire) > 0
    }

    /// How often the threads have allocated for what they have done so far.
    #[cfg(test)]
    pub fn allocated(&self) -> u64 {
        self.shared.allocated.load(Ordering::Acquire)
    }

    /// Frames that have left since this was last asked.
    pub fn done(&self) -> impl Iterator<Item = Done> {
        self.done.try_iter()
    }
}

impl Drop for Squeeze {
    fn drop(&mut self) {
        self.shared.locked().is_over = true;
        self.shared.news.notify_all();
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a thread, or starts one where there are too few and may be more.
    fn see_to_it(self: &Arc<Self>) {
        let mut state = self.locked();
        let is_waited_for = state.idle > 0;
        let is_short = state.queue.waiting() > state.idle && state.threads < state.most_threads;
        state.threads += usize::from(is_short);
        drop(state);
        // Whoever wakes wants the lock at once.
        if is_waited_for {
            self.news.notify_one();
        }
        if !is_short {
            return;
        }
        let shared = self.clone();
        let thread = std::thread::Builder::new().name("squeeze".to_owned());
        let started = self.source.start(thread, move || shared.run());
        let is_refused = started.is_err();
        let was_refused = std::mem::replace(&mut self.locked().is_refused, is_refused);
        if let Err(error) = started {
            // Each part of each frame asks again.
            if !was_refused {
                warn!("no thread to compress on, so that the desktop waits: {error}");
            }
            self.work(Duration::ZERO);
        }
    }

    /// A thread, from its beginning to its end.
    fn run(&self) {
        /// The kernel gives the number of a thread that is gone to another one, so that it must not
        /// be kept, however the thread ends.
        struct Known<'a>(&'a Shared, Pid);
        impl Drop for Known<'_> {
            fn drop(&mut self) {
                self.0.locked().apart.ends(self.1);
            }
        }
        let known = Known(self, gettid());
        self.locked().apart.started(known.1);
        self.work(PATIENCE);
    }

    /// Does what there is to do, until there has been nothing for so long; without patience what can be
    /// begun now.
    fn work(&self, patience: Duration) {
        let mut squeezer = Squeezer::new();
        let mut state = self.locked();
        #[cfg(test)]
        let mut counted = crate::sys::allocations();
        loop {
            #[cfg(test)]
            {
                let so_far = crate::sys::allocations();
                self.allocated
                    .fetch_add(so_far - counted, Ordering::Release);
                counted = so_far;
            }
            match state.queue.next() {
                Some(Task::Squeeze(place, mut part)) => {
                    drop(state);
                    let squeezed = squeezer.squeeze(&mut part);
                    state = self.locked();
                    state.queue.squeezed(place, squeezed);
                    if state.spare.len() < state.most_threads {
                        state.spare.push(part.into_buffer());
                    }
                }
                Some(Task::Leave(batch)) => {
                    drop(state);
                    self.leave(batch);
                    state = self.locked();
                    state.queue.left();
                }
                // Without patience this is the compositor's thread: a frame that is not complete yet waits
                // for that one alone, and what others have taken they bring to its end.
                None if state.is_over || patience.is_zero() => break,
                None => {
                    state.idle += 1;
                    let waited = self.news.wait_timeout(state, patience);
                    let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    state = woken;
                    state.idle -= 1;
                    if timeout.timed_out() && state.queue.is_idle() {
                        break;
                    }
                }
            }
        }
        state.threads -= 1;
        if state.threads == 0 {
            state.spare.clear();
        }
    }

    fn leave(&self, batch: queue::Ready<(Frame, Expected)>) {
        let (mut frame, expected) = batch.end;
        let units = std::mem::take(&mut frame.units);
        let tiles: Vec<_> = pieces(batch.parts.into_iter()).map(Bytes::from).collect();
        let squeezed = tiles.iter().map(Bytes::len).sum();
        let units = (!units.is_empty()).then(|| Bytes::from(units));
        let content = units.into_iter().chain(tiles).collect();
        let attach = frame.attach;
        let finished = Done {
            attach,
            packed: expected.packed,
            squeezed,
            expected: expected.squeezed,
            took: frame.leave(content).1,
        };
        self.under_way.fetch_sub(1, Ordering::Release);
        let _ = self.done.send(finished);
    }
}

impl Frame {
    /// Gives it to the link. Returns when, and how long that was after the commit.
    fn leave(self, content: Vec<Bytes>) -> (Instant, Option<Duration>) {
        // Where the link is gone, its end is on its way.
        let task = ToTerminalTask::Frame(self.header, content);
        // Sending wakes the link's thread, which may take this processor.
        let left = Instant::now();
        let took = self
            .since
            .map(|since| left.saturating_duration_since(since));
        let _ = self.to.send(task);
        (left, took)
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
            since: None,
            to: to.clone(),
        }
    }

    #[test]
    fn large_and_small_frames_leave_in_order_and_whole() {
        assert_frames_leave_in_order_and_whole(Threads::System);
    }

    #[test]
    fn frames_leave_as_well_where_one_thread_can_be_started_or_none() {
        for most in [0, 1] {
            assert_frames_leave_in_order_and_whole(Threads::few(most));
        }
    }

    fn assert_frames_leave_in_order_and_whole(threads: Threads) {
        let mut encoder = Encoder::new(1);
        let squeeze = Squeeze::start(&mut encoder, threads);
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
            let content = content.concat();
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
