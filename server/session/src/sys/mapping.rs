//! Memory of clients' DMA-BUFs, mapped to be read.

use std::io;
use std::os::fd::BorrowedFd;

use heliostat_va::dmabuf::is_steady;
use rustix::fs::{SeekFrom, seek};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::PIXEL;

/// What all sizes of pages divide: mappings begin with a page.
const PAGE: u64 = 1 << 16;

/// A part of a buffer.
#[derive(Debug)]
pub struct Mapping {
    memory: *mut std::ffi::c_void,
    length: usize,
    /// Bytes of the mapping before the part begins.
    before: usize,
}

impl Mapping {
    /// Maps `length` bytes from `start` on. An error where they are not all there, or could be taken
    /// away.
    pub fn new(fd: BorrowedFd<'_>, start: u64, length: usize) -> io::Result<Self> {
        let before = (start % PAGE) as usize;
        let end = start.checked_add(length as u64);
        let all = length.checked_add(before);
        if !is_steady(fd) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let bytes = seek(fd, SeekFrom::End(0))?;
        let (Some(all), true) = (all, end.is_some_and(|end| end <= bytes) && length > 0) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let null = std::ptr::null_mut();
        let (read, shared) = (ProtFlags::READ, MapFlags::SHARED);
        // SAFETY: the kernel chooses the place, so that nothing of ours is mapped over.
        let memory = unsafe { mmap(null, all, read, shared, fd, start - before as u64) }?;
        Ok(Self {
            memory,
            length: all,
            before,
        })
    }

    /// Copies pixels (little-endian) from a byte of the part on; false, with nothing copied, where
    /// they do not lie in it.
    pub fn read_pixels(&self, at: usize, run: &mut [u32]) -> bool {
        let Some(length) = run.len().checked_mul(PIXEL) else {
            return false;
        };
        // SAFETY: a run of pixels has so many bytes, all of which may be written.
        let read = unsafe { self.copy(at, run.as_mut_ptr().cast(), length) };
        run.iter_mut()
            .for_each(|pixel| *pixel = u32::from_le(*pixel));
        read
    }

    /// Copies bytes from a byte of the part on; false, with nothing copied, where they do not lie in
    /// it.
    pub fn read(&self, at: usize, bytes: &mut [u8]) -> bool {
        // SAFETY: the slice may be written.
        unsafe { self.copy(at, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// # Safety
    ///
    /// `length` bytes at `into` may be written.
    unsafe fn copy(&self, at: usize, into: *mut u8, length: usize) -> bool {
        let start = self.before.checked_add(at);
        let Some(start) = start.filter(|start| {
            let end = start.checked_add(length);
            end.is_some_and(|end| end <= self.length)
        }) else {
            return false;
        };
        // SAFETY: the bytes end inside the mapping, which lives as long as this; its memory was as
        // large when it was mapped, and cannot have become smaller. The client may write to it
        // meanwhile, so bytes are copied through raw pointers and no reference to the memory is made.
        // The target is the caller's, and no part of the mapping.
        unsafe { std::ptr::copy_nonoverlapping(self.memory.cast::<u8>().add(start), into, length) };
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and of this length, and nobody refers to it any more.
        let _ = unsafe { munmap(self.memory, self.length) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    use super::*;

    fn memory(bytes: &[u8]) -> File {
        let file = File::from(memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap());
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    #[test]
    fn what_lies_in_the_part_is_read_and_nothing_else() {
        let bytes: Vec<u8> = (0..20_000u32).map(|n| (n * 7) as u8).collect();
        let file = memory(&bytes);
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        for start in [0, 1, 4096, 5000] {
            let mapping = Mapping::new(file.as_fd(), start, 100).unwrap();
            let mut read = [0; 40];
            assert!(mapping.read(60, &mut read));
            assert_eq!(read, bytes[start as usize + 60..][..40]);
            assert!(!mapping.read(61, &mut read));
            assert!(!mapping.read(usize::MAX, &mut read));
            let mut pixels = [0; 2];
            assert!(mapping.read_pixels(92, &mut pixels));
            let last = bytes[start as usize + 96..][..4].try_into().unwrap();
            assert_eq!(pixels[1], u32::from_le_bytes(last));
            assert!(!mapping.read_pixels(93, &mut pixels));
        }
        assert!(Mapping::new(file.as_fd(), 19_999, 2).is_err());
        assert!(Mapping::new(file.as_fd(), u64::MAX, 2).is_err());
        assert!(Mapping::new(file.as_fd(), 0, 0).is_err());
    }

    #[test]
    fn memory_that_could_be_taken_away_is_not_mapped() {
        let refused = Mapping::new(memory(&[0; 100]).as_fd(), 0, 100).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
