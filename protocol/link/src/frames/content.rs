//! The bytes of frames, in buffers that come back.
//!
//! A picture that fills a screen has some megabytes. Memory for them that is new each time has to be
//! cleared by the kernel first, which takes longer than to receive them.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers kept for reuse.
const MAX_SPARE: usize = 4;
/// Bytes that they have room for, together.
const MAX_SPARE_BYTES: usize = 8 << 20;

/// A frame's batch of tiles. Its buffer serves another frame when this is dropped, as long as
/// anybody receives frames.
#[derive(Debug, Default)]
pub struct Content {
    pub(super) bytes: Vec<u8>,
    home: Spare,
}

/// Buffers that wait for frames. Clones are handles of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    /// `begun`, of which so many bytes count, in a buffer that comes back here: the largest that
    /// waits, since nobody knows yet how long the frame will be, or its own where that is larger.
    pub(super) fn adopt(&self, mut begun: Content, filled: usize) -> Content {
        let mut spare = self.locked();
        let largest = (0..spare.len()).max_by_key(|at| spare[*at].capacity());
        let larger = largest.filter(|at| spare[*at].capacity() > begun.bytes.capacity());
        let other = larger.map(|at| spare.swap_remove(at));
        drop(spare);
        let mut bytes = std::mem::take(&mut begun.bytes);
        if let Some(mut other) = other {
            // What else is in it is written over before it counts.
            if other.len() < filled {
                other.resize(filled, 0);
            }
            other[..filled].copy_from_slice(&bytes[..filled]);
            bytes = other;
        }
        Content {
            bytes,
            home: self.clone(),
        }
    }

    fn take_back(&self, bytes: Vec<u8>) {
        let mut spare = self.locked();
        if spare.len() == MAX_SPARE {
            let smallest = (0..MAX_SPARE).min_by_key(|at| spare[*at].capacity());
            let smaller = smallest.filter(|at| spare[*at].capacity() < bytes.capacity());
            smaller.map(|at| spare.swap_remove(at));
        }
        let held: usize = spare.iter().map(Vec::capacity).sum();
        if spare.len() < MAX_SPARE && held + bytes.capacity() <= MAX_SPARE_BYTES {
            spare.push(bytes);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // Whoever has the only handle left would take it back for nobody.
        if bytes.capacity() > 0 && Arc::strong_count(&self.home.0) > 1 {
            self.home.take_back(bytes);
        }
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that nobody wants back.
impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            home: Spare::default(),
        }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Content {}

impl PartialEq<Vec<u8>> for Content {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.bytes == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(spare: &Spare, size: usize) -> Content {
        spare.adopt(Vec::with_capacity(size).into(), 0)
    }

    #[test]
    fn buffers_come_back_the_largest_first_and_no_more_than_are_worth_their_memory() {
        let spare = Spare::default();
        let sizes = [1000, 300_000, 4000];
        let all: Vec<_> = sizes.map(|size| sized(&spare, size)).into();
        drop(all);
        let begun = || Content::from(vec![1, 2, 3]);
        let (largest, second) = (spare.adopt(begun(), 2), spare.adopt(begun(), 3));
        assert!(largest.bytes.capacity() >= 300_000 && largest[..2] == [1, 2]);
        assert!((4000..300_000).contains(&second.bytes.capacity()) && second[..3] == [1, 2, 3]);
        drop((largest, second));
        let own = spare.adopt(vec![7; 400_000].into(), 400_000);
        assert!(own.bytes.iter().all(|byte| *byte == 7));
        drop(own);
        let many: Vec<_> = (0..3 * MAX_SPARE).map(|_| sized(&spare, 1 << 20)).collect();
        drop(many);
        let held = spare.locked();
        assert!(held.iter().all(|bytes| bytes.capacity() >= 1 << 20));
        assert!(held.len() <= MAX_SPARE);
        assert!(held.iter().map(Vec::capacity).sum::<usize>() <= MAX_SPARE_BYTES);
    }

    #[test]
    fn a_buffer_that_is_larger_than_all_that_are_kept_goes() {
        let spare = Spare::default();
        drop(sized(&spare, MAX_SPARE_BYTES + 1));
        assert!(spare.locked().is_empty());
    }

    #[test]
    fn what_outlives_its_receiver_is_kept_for_nobody() {
        let spare = Spare::default();
        let late = sized(&spare, 1000);
        drop(spare);
        drop(late);
        let own = Content::from(vec![1, 2, 3]);
        assert_eq!(own[..], [1, 2, 3]);
    }
}
