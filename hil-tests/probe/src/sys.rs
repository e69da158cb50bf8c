//! Memory that is shared with the compositor.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use memmap2::MmapMut;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// A file in memory, mapped.
pub struct Memory {
    file: File,
    map: MmapMut,
}

impl Memory {
    /// `length` bytes of zeros.
    pub fn new(length: usize) -> anyhow::Result<Self> {
        Self::with_seals(length, SealFlags::empty())
    }

    /// The same in a file that cannot shrink, which may be given away as a DMA-BUF.
    pub fn sealed(length: usize) -> anyhow::Result<Self> {
        Self::with_seals(length, SealFlags::SHRINK)
    }

    fn with_seals(length: usize, seals: SealFlags) -> anyhow::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("hil-probe", flags).context("make a memory file")?;
        ftruncate(&file, length as u64)?;
        fcntl_add_seals(&file, seals)?;
        let file = File::from(file);
        // SAFETY: the file is ours alone but for the compositor, which reads it, and its length
        // never changes after this.
        let map = unsafe { MmapMut::map_mut(&file) }.context("map the memory file")?;
        Ok(Self { file, map })
    }

    /// The descriptor for the compositor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}
