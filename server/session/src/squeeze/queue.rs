//! Who compresses what next, and which frame may leave: without threads and clocks.
//!
//! ```text
//!   part: Packed ──► Taken ──► Squeezed      frame: open ──► ended ──► all parts squeezed, and the
//!                                                            first of all ──► leaving ──► left
//! ```

use std::collections::{BTreeMap, VecDeque};

use heliostat_tiles::{Part, Squeezed};

/// Frames in their order, each in parts. `E` is what is known of a frame at its end.
#[derive(Debug)]
pub(super) struct Queue<E> {
    batches: VecDeque<Batch<E>>,
    /// Number of the first batch.
    first: u64,
    /// One is on its way out.
    is_leaving: bool,
}

#[derive(Debug)]
struct Batch<E> {
    /// Number 0 is for what is known only at the end and goes before all others.
    parts: BTreeMap<u32, State>,
    end: Option<E>,
}

#[derive(Debug)]
enum State {
    Packed(Part),
    Taken,
    Squeezed(Squeezed),
}

/// Which part of which batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64, u32);

/// Something to do; [`Queue::squeezed`] or [`Queue::left`] is to be told when it is done.
#[derive(Debug)]
pub(super) enum Task<E> {
    /// Compress a part.
    Squeeze(Place, Part),
    /// Send a frame.
    Leave(Ready<E>),
}

/// A frame whose parts are all compressed.
#[derive(Debug)]
pub(super) struct Ready<E> {
    pub(super) parts: Vec<Squeezed>,
    pub(super) end: E,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            batches: VecDeque::new(),
            first: 0,
            is_leaving: false,
        }
    }
}

impl<E> Queue<E> {
    /// Adds a part to the frame that is open.
    pub(super) fn add(&mut self, part: Part) {
        let batch = self.open();
        let last = batch
            .parts
            .last_key_value()
            .map_or(0, |(number, _)| *number);
        batch.parts.insert(last + 1, State::Packed(part));
    }

    /// Ends the frame that is open with its last part, and perhaps one that goes before all others.
    pub(super) fn end(&mut self, first: Option<Part>, last: Part, end: E) {
        self.add(last);
        let batch = self.open();
        if let Some(first) = first {
            batch.parts.insert(0, State::Packed(first));
        }
        batch.end = Some(end);
    }

    fn open(&mut self) -> &mut Batch<E> {
        if self.batches.back().is_none_or(|last| last.end.is_some()) {
            self.batches.push_back(Batch {
                parts: BTreeMap::new(),
                end: None,
            });
        }
        self.batches.back_mut().expect("there is one now")
    }

    /// Parts that nobody compresses yet.
    pub(super) fn waiting(&self) -> usize {
        let parts = self.batches.iter().flat_map(|batch| batch.parts.values());
        parts
            .filter(|part| matches!(part, State::Packed(_)))
            .count()
    }

    /// Whether there is nothing to do, and will not be before something is added.
    pub(super) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// What is to be done next: frames leave one after the other, in their order.
    pub(super) fn next(&mut self) -> Option<Task<E>> {
        if !self.is_leaving && self.batches.front().is_some_and(Batch::is_ready) {
            let batch = self.batches.pop_front()?;
            self.first += 1;
            self.is_leaving = true;
            return Some(Task::Leave(batch.ready()?));
        }
        for (batch, number) in self.batches.iter_mut().zip(self.first..) {
            for (place, state) in &mut batch.parts {
                if let State::Packed(part) = state {
                    let part = std::mem::take(part);
                    *state = State::Taken;
                    return Some(Task::Squeeze(Place(number, *place), part));
                }
            }
        }
        None
    }

    /// A part is compressed.
    pub(super) fn squeezed(&mut self, place: Place, squeezed: Squeezed) {
        let Place(batch, part) = place;
        // A batch leaves only when none of its parts is taken.
        if let Some(batch) = self.batches.get_mut((batch - self.first) as usize) {
            batch.parts.insert(part, State::Squeezed(squeezed));
        }
    }

    /// The frame that was to leave has left.
    pub(super) fn left(&mut self) {
        self.is_leaving = false;
    }
}

impl<E> Batch<E> {
    fn is_ready(&self) -> bool {
        let done = |part: &State| matches!(part, State::Squeezed(_));
        self.end.is_some() && self.parts.values().all(done)
    }

    fn ready(self) -> Option<Ready<E>> {
        let parts = self.parts.into_values().filter_map(|part| match part {
            State::Squeezed(squeezed) => Some(squeezed),
            State::Packed(_) | State::Taken => None,
        });
        Some(Ready {
            parts: parts.collect(),
            end: self.end?,
        })
    }
}

#[cfg(test)]
mod tests {
    use heliostat_tiles::Squeezer;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Add,
        End(bool),
        Begin,
        Finish(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Add),
            2 => any::<bool>().prop_map(Step::End),
            4 => Just(Step::Begin),
            4 => (0usize..8).prop_map(Step::Finish),
        ]
    }

    proptest! {
        #[test]
        fn frames_leave_in_order_one_at_a_time_and_with_all_their_parts_in_order(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut queue = Queue::default();
            let mut squeezer = Squeezer::new();
            let mut doing: Vec<Task<(u32, usize)>> = Vec::new();
            let (mut frame, mut parts, mut left) = (0, 0, 0);
            let rest = [Step::End(false)].into_iter().chain([Step::Begin, Step::Finish(0)].repeat(200));
            for step in steps.into_iter().chain(rest) {
                match step {
                    Step::Add => {
                        queue.add(Part::default());
                        parts += 1;
                    }
                    Step::End(first) => {
                        let one = first.then(Part::default);
                        queue.end(one, Part::default(), (frame, parts + 1 + usize::from(first)));
                        (frame, parts) = (frame + 1, 0);
                    }
                    Step::Begin => doing.extend(queue.next()),
                    Step::Finish(_) if doing.is_empty() => {}
                    Step::Finish(n) => match doing.remove(n % doing.len()) {
                        Task::Squeeze(place, mut part) => {
                            queue.squeezed(place, squeezer.squeeze(&mut part));
                        }
                        Task::Leave(ready) => {
                            prop_assert_eq!(ready.end.0, left, "in order");
                            prop_assert_eq!(ready.parts.len(), ready.end.1);
                            left += 1;
                            queue.left();
                        }
                    },
                }
                let leaving = doing.iter().filter(|task| matches!(task, Task::Leave(_)));
                prop_assert!(leaving.count() <= 1);
            }
            prop_assert_eq!(left, frame);
            prop_assert!(queue.is_idle() && queue.waiting() == 0);
        }
    }
}
