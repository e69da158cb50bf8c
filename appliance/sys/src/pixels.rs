//! Files whose memory other processes look at.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use memmap2::{MmapMut, MmapOptions};

/// The beginning of a file, mapped for reading and writing, as words of 32 bits.
///
/// Only this process writes it; others may read, and know from a sequence lock when not to.
#[derive(Debug)]
pub struct SharedFile(MmapMut);

impl SharedFile {
    /// Maps the first `length` bytes of a file that is at least as long; `length` is rounded down
    /// to whole words.
    ///
    /// # Errors
    /// What mmap says, or `InvalidInput` where the file is shorter.
    pub fn map(file: &File, length: usize) -> io::Result<Self> {
        if file.metadata()?.len() < length as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "file shorter than its map",
            ));
        }
        let mut options = MmapOptions::new();
        options.len(length & !3);
        // SAFETY: the file is as long as the map, and only its owner, who holds this map, gives it
        // another length; other processes only read it, so no byte changes under a reference here.
        unsafe { options.map_mut(file) }.map(Self)
    }

    /// The words.
    pub fn words(&self) -> &[u32] {
        bytemuck::cast_slice(&self.0)
    }

    /// The words, for writing.
    pub fn words_mut(&mut self) -> &mut [u32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    /// Stores one word so that a reader in another process sees it neither after later writes nor
    /// before earlier ones.
    pub fn store_u32(&mut self, index: usize, value: u32) {
        fence(Ordering::SeqCst);
        let word = &mut self.words_mut()[index];
        AtomicU32::from_mut_safe(word).store(value, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}

/// `AtomicU32::from_mut` is not stable in the Rust of our oldest builder.
trait FromMutSafe {
    fn from_mut_safe(word: &mut u32) -> &Self;
}

impl FromMutSafe for AtomicU32 {
    fn from_mut_safe(word: &mut u32) -> &Self {
        // SAFETY: AtomicU32 has the size and alignment of u32, and the exclusive borrow lives as
        // long as the shared one made of it.
        unsafe { &*(std::ptr::from_mut(word).cast::<AtomicU32>()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10).unwrap();
        assert!(SharedFile::map(&file, 11).is_err());
        let mut shared = SharedFile::map(&file, 10).unwrap();
        assert_eq!(shared.words().len(), 2);
        shared.store_u32(1, 0x0102_0304);
        let mut bytes = [0; 8];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
        assert_eq!(
            u32::from_ne_bytes(bytes[4..].try_into().unwrap()),
            0x0102_0304
        );
    }
}
