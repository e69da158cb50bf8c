//! The unsafe code: memory that is mapped, and two ioctls that no crate wraps.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use memmap2::MmapMut;

/// `struct udmabuf_create` of linux/udmabuf.h.
#[repr(C)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// `UDMABUF_FLAGS_CLOEXEC`.
const CLOEXEC: u32 = 1;

nix::ioctl_write_ptr!(udmabuf_create, b'u', 0x42, Create);

/// A DMA-BUF of all pages of a memory file, which must be sealed against shrinking.
pub fn dma_buf_of(udmabuf: &File, memory: &File, size: u64) -> io::Result<OwnedFd> {
    let create = Create {
        memfd: memory.as_raw_fd() as u32,
        flags: CLOEXEC,
        offset: 0,
        size,
    };
    // SAFETY: the structure is as the kernel has it and lives over the call.
    let fd = unsafe { udmabuf_create(udmabuf.as_raw_fd(), &create) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `struct dma_heap_allocation_data` of linux/dma-heap.h.
#[repr(C)]
struct Allocation {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

nix::ioctl_readwrite!(dma_heap_alloc, b'H', 0, Allocation);

/// A DMA-BUF of a heap.
pub fn allocate(heap: &File, size: u64) -> io::Result<OwnedFd> {
    let mut allocation = Allocation {
        len: size,
        fd: 0,
        fd_flags: (nix::libc::O_RDWR | nix::libc::O_CLOEXEC) as u32,
        heap_flags: 0,
    };
    // SAFETY: the structure is as the kernel has it and lives over the call.
    unsafe { dma_heap_alloc(heap.as_raw_fd(), &mut allocation) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(allocation.fd as i32) })
}

/// Maps memory to draw into.
pub fn map(memory: &impl AsFd, size: usize) -> io::Result<MmapMut> {
    let mut options = memmap2::MmapOptions::new();
    // SAFETY: the memory is a sealed memory file or a DMA-BUF, whose size never changes. The display reads it while
    // it is written, which is the business of whoever looks at the picture.
    unsafe { options.len(size).map_mut(memory.as_fd().as_raw_fd()) }
}

/// Where the kernel writes the number of a fence to.
///
/// Boxed, so that the place stays where it is for as long as this lives.
#[derive(Debug)]
pub struct FencePlace(Box<AtomicI32>);

impl FencePlace {
    /// A place without a fence.
    pub fn new() -> Self {
        Self(Box::new(AtomicI32::new(-1)))
    }

    /// Its address, for a property of an atomic commit.
    pub fn address(&self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// The fence that a commit has left there; once.
    pub fn take(&self) -> Option<OwnedFd> {
        let fd = self.0.swap(-1, Ordering::Relaxed);
        // SAFETY: only the kernel writes there, a descriptor that it has made for us, and it is taken once.
        (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
