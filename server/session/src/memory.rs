//! Memory that was freed is kept while large pictures come and go, and given back when the desktop
//! rests.
//!
//! ```text
//!   at rest ── a large frame ──► at work ── none for a while ──► given back, at rest
//! ```
//!
//! A full-screen picture takes some 20 MB for a moment: what the terminal holds, packed and squeezed
//! parts. Left to itself the allocator gives them back each time and takes them anew for the next
//! picture, page by page, which takes longer than the codec does.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::content::give_back_kept;
use crate::sys;

/// Bytes of freed memory that are kept.
const KEPT: i32 = 24 << 20;
/// Frames of more bytes are large.
const LARGE: usize = 128 << 10;
/// Without one for so long the memory is of more use to others.
const REST: Duration = Duration::from_secs(2);

/// Has freed memory kept from now on. To be called once, before there are threads.
pub fn keep_freed() {
    sys::keep_freed_memory(KEPT);
}

/// Whether freed memory is worth keeping.
#[derive(Debug, Default)]
pub struct Memory {
    rests_at: Option<Instant>,
}

impl Memory {
    /// A frame of so many bytes was sent.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        if bytes >= LARGE {
            self.rests_at = Some(now + REST);
        }
    }

    /// When it is to be given back.
    pub fn deadline(&self) -> Option<Instant> {
        self.rests_at
    }
}

impl App {
    /// Gives freed memory back when the desktop has come to rest.
    pub(crate) fn give_back_memory_if_due(&mut self, now: Instant) {
        if self.memory.rests_at.take_if(|at| *at <= now).is_some() {
            give_back_kept();
            sys::give_back_freed_memory();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_frames_keep_the_session_at_work() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.sent(LARGE - 1, now);
        assert_eq!(memory.deadline(), None);
        memory.sent(LARGE, now);
        memory.sent(LARGE, now + REST / 2);
        memory.sent(100, now + REST);
        assert_eq!(memory.deadline(), Some(now + REST / 2 + REST));
    }
}
