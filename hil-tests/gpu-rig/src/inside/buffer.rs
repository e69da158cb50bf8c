//! Buffers that a display shows.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use drm::buffer::{Buffer as _, DrmFourcc, DrmModifier, Handle, PlanarBuffer};
use drm::control::Device as _;
use memmap2::MmapMut;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};

use super::card::Card;
use crate::sys;

/// The kernel makes DMA-BUFs of whole pages.
const PAGE: usize = 4096;

/// A real DMA-BUF, mapped through the memory that it is made of.
pub struct DmaBuf {
    fd: OwnedFd,
    map: MmapMut,
    _memory: Option<File>,
}

impl DmaBuf {
    /// One out of a memory file, as a client without a GPU makes them.
    pub fn from_memory(bytes: usize) -> Result<Self> {
        let size = bytes.next_multiple_of(PAGE);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("hil-planes", flags).context("make a memory file")?;
        ftruncate(&memory, size as u64)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK)?;
        let memory = File::from(memory);
        let device = File::options()
            .read(true)
            .write(true)
            .open("/dev/udmabuf")
            .context("open /dev/udmabuf")?;
        let fd =
            sys::dma_buf_of(&device, &memory, size as u64).context("make a DMA-BUF of memory")?;
        let map = sys::map(&memory, size)?;
        Ok(Self {
            fd,
            map,
            _memory: Some(memory),
        })
    }

    /// One out of the system's heap.
    pub fn from_heap(bytes: usize) -> Result<Self> {
        let size = bytes.next_multiple_of(PAGE);
        let heap = File::options()
            .read(true)
            .write(true)
            .open("/dev/dma_heap/system")
            .context("open the system's heap")?;
        let fd = sys::allocate(&heap, size as u64).context("allocate of the heap")?;
        let map = sys::map(&fd, size)?;
        Ok(Self {
            fd,
            map,
            _memory: None,
        })
    }

    /// One of a card, as a client with Mesa's software has it: XRGB8888.
    pub fn from_card(card: &Card, size: (u32, u32)) -> Result<(Self, Layout)> {
        let buffer = card.create_dumb_buffer(size, DrmFourcc::Xrgb8888, 32)?;
        let pitch = buffer.pitch();
        let fd = card.buffer_to_prime_fd(buffer.handle(), drm::CLOEXEC | drm::RDWR);
        // The descriptor holds the memory by itself.
        card.destroy_dumb_buffer(buffer)?;
        let fd = fd.context("hand a buffer of the card on")?;
        let layout = Layout {
            pitches: [pitch, 0],
            ..Layout::xrgb(size)
        };
        let map = sys::map(&fd, layout.bytes())?;
        let made = Self {
            fd,
            map,
            _memory: None,
        };
        Ok((made, layout))
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Which it is; one that is handed on keeps it.
    pub fn inode(&self) -> Result<u64> {
        inode(self.fd())
    }

    /// Its bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

/// Which file a descriptor is of.
pub fn inode(fd: BorrowedFd<'_>) -> Result<u64> {
    Ok(fstat(fd)?.st_ino)
}

/// How pixels lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Pixels.
    pub size: (u32, u32),
    /// The format.
    pub format: DrmFourcc,
    /// Bytes a row, of each plane; 0 for planes that are not there.
    pub pitches: [u32; 2],
    /// Where the planes begin.
    pub offsets: [u32; 2],
    /// The arrangement, where it is said.
    pub modifier: Option<DrmModifier>,
}

impl Layout {
    /// NV12 with the chroma right after the luma.
    pub fn nv12(size: (u32, u32), pitch: u32) -> Self {
        Self {
            size,
            format: DrmFourcc::Nv12,
            pitches: [pitch, pitch],
            offsets: [0, pitch * size.1],
            modifier: None,
        }
    }

    /// XRGB8888 without gaps.
    pub fn xrgb(size: (u32, u32)) -> Self {
        Self {
            size,
            format: DrmFourcc::Xrgb8888,
            pitches: [size.0 * 4, 0],
            offsets: [0; 2],
            modifier: None,
        }
    }

    /// How much memory that takes.
    pub fn bytes(&self) -> usize {
        let chroma = if self.pitches[1] == 0 {
            0
        } else {
            self.size.1.div_ceil(2)
        };
        let luma_end = self.offsets[0] + self.pitches[0] * self.size.1;
        luma_end.max(self.offsets[1] + self.pitches[1] * chroma) as usize
    }

    /// Fills a rectangle of an NV12 picture with one colour: luma, blue and red difference.
    pub fn fill_nv12(&self, bytes: &mut [u8], (x, y, w, h): (u32, u32, u32, u32), yuv: [u8; 3]) {
        for row in y..y + h {
            let start = (self.offsets[0] + row * self.pitches[0] + x) as usize;
            bytes[start..][..w as usize].fill(yuv[0]);
        }
        for row in y / 2..(y + h).div_ceil(2) {
            let start = (self.offsets[1] + row * self.pitches[1] + x / 2 * 2) as usize;
            for pair in bytes[start..][..w.next_multiple_of(2) as usize].chunks_exact_mut(2) {
                pair.copy_from_slice(&yuv[1..]);
            }
        }
    }
}

/// A layout in a buffer of the display's.
pub struct Imported {
    /// How the pixels lie.
    pub layout: Layout,
    /// The buffer.
    pub handle: Handle,
}

impl PlanarBuffer for Imported {
    fn size(&self) -> (u32, u32) {
        self.layout.size
    }

    fn format(&self) -> DrmFourcc {
        self.layout.format
    }

    fn modifier(&self) -> Option<DrmModifier> {
        self.layout.modifier
    }

    fn pitches(&self) -> [u32; 4] {
        let [first, second] = self.layout.pitches;
        [first, second, 0, 0]
    }

    fn handles(&self) -> [Option<Handle>; 4] {
        let second = (self.layout.pitches[1] != 0).then_some(self.handle);
        [Some(self.handle), second, None, None]
    }

    fn offsets(&self) -> [u32; 4] {
        let [first, second] = self.layout.offsets;
        [first, second, 0, 0]
    }
}
