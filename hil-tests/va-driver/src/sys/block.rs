//! Memory that clients are given pointers into.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_void;
use std::ptr::NonNull;

use crate::va::CodedBufferSegment;

/// Zeroed memory that stays where it is until it is dropped.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the block owns its memory and has no tie to a thread.
unsafe impl Send for Block {}

/// Clients put structures with pointers and numbers of 64 bits there.
const ALIGNMENT: usize = 16;

impl Block {
    /// A block of `length` bytes; nothing where memory is short.
    pub fn new(length: usize) -> Option<Self> {
        let layout = Self::layout(length)?;
        // SAFETY: the layout has a size above zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, length })
    }

    fn layout(length: usize) -> Option<Layout> {
        Layout::from_size_align(length.max(1), ALIGNMENT).ok()
    }

    /// Its bytes. Callers do so while no client has it mapped.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is ours, initialised and that long. Clients write to it between
        // vaMapBuffer and vaUnmapBuffer only, and buffers that are mapped are refused everywhere.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Its bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// What a client gets.
    pub fn pointer(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }

    /// Writes the one segment of a coded buffer, which begins with its descriptor.
    pub fn write_segment(&mut self, data: &[u8], status: u32) {
        let head = size_of::<CodedBufferSegment>();
        let room = self.length.saturating_sub(head);
        let data = &data[..data.len().min(room)];
        self.bytes_mut()[head..head + data.len()].copy_from_slice(data);
        let segment = CodedBufferSegment {
            size: data.len() as u32,
            bit_offset: 0,
            status,
            reserved: 0,
            buf: self.pointer().wrapping_byte_add(head),
            next: std::ptr::null_mut(),
            va_reserved: [0; 4],
        };
        assert!(self.length >= head, "coded buffers begin with a segment");
        // SAFETY: the block is aligned for the segment and, as just checked, large enough.
        unsafe { self.start.cast::<CodedBufferSegment>().write(segment) };
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.length) {
            // SAFETY: it was allocated with this very layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}
