//! An image while its memory is mapped.

use std::sync::Arc;

use super::raw::Raw;
use crate::abi;
use crate::library::Error;

/// The bytes of an image, which can be read until this is dropped. Who makes it sees to it that nothing
/// is copied into the image meanwhile.
pub(crate) struct MappedImage {
    raw: Arc<Raw>,
    buffer: abi::Id,
    at: *const u8,
    length: usize,
    is_mapped: bool,
}

// SAFETY: memory that is mapped belongs to the process, and to no thread of it.
unsafe impl Send for MappedImage {}

impl MappedImage {
    /// Maps the memory of an image.
    pub fn new(raw: &Arc<Raw>, image: &abi::Image) -> Result<Self, Error> {
        let mapped = Self {
            at: raw.map(image.buf)?.cast_const().cast(),
            raw: Arc::clone(raw),
            buffer: image.buf,
            length: image.data_size as usize,
            is_mapped: true,
        };
        match mapped.at.is_null() {
            true => Err(Error::Lies {
                call: "vaMapBuffer",
                found: 0,
                room: mapped.length,
            }),
            false => Ok(mapped),
        }
    }

    /// Its bytes, as many as the driver said when it made the image.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the image's buffer has as many bytes as the driver said when it made it, and stays
        // mapped as long as this lives, also where a driver hangs, which is asked nothing any more;
        // nobody writes it meanwhile, as who made this has promised.
        unsafe { std::slice::from_raw_parts(self.at, self.length) }
    }

    /// Ends reading, and says how that went.
    pub fn unmap(mut self) -> Result<(), Error> {
        let done = self.raw.unmap(self.buffer);
        self.is_mapped = done.is_err();
        done
    }
}

impl Drop for MappedImage {
    fn drop(&mut self) {
        if self.is_mapped {
            // An image that stays mapped cannot be destroyed; there is nobody to tell.
            let _ = self.raw.unmap(self.buffer);
        }
    }
}
