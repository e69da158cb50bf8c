//! Pictures copied out of surfaces, for who can show them only as pixels in ordinary memory.
//!
//! The driver copies: only it knows how a surface's memory is laid out. That is what is to be avoided;
//! whoever can shows the surface itself.

use std::sync::Arc;

use heliostat_video::{Nv12, Size};

use crate::abi;
use crate::decoder::Frame;
use crate::dmabuf::NV12;
use crate::library::{Error, Surface};
use crate::sys::{MappedImage, Raw};

/// Luma and chroma of NV12 together, for each pixel.
const BITS_PER_PIXEL: u32 = 12;
/// More bytes than this no image has: those of the largest picture with its rows far apart.
const MAX_BYTES: u32 = 64 << 20;

/// Copies frames of one video out. It keeps the memory that they are copied into.
#[derive(Default)]
pub struct Reader {
    // Dropped before what it is of.
    mapped: Option<MappedImage>,
    image: Option<Image>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_mapped = self.mapped.is_some();
        f.debug_tuple("Reader").field(&is_mapped).finish()
    }
}

impl Reader {
    /// Gives a copy of a frame to `see`. Where the driver does not map it, an error of libva's; where
    /// it lies about how the copy is laid out, [`Error::Lies`].
    pub fn read<T>(&mut self, frame: &Frame, see: impl FnOnce(&Nv12<'_>) -> T) -> Result<T, Error> {
        self.fetch(frame)?;
        let seen = self.see(see);
        self.release()?;
        seen.ok_or(Error::Lost)
    }

    /// Copies a frame out, in place of the one before. Asks the driver for all that
    /// [`see`](Self::see) needs.
    pub fn fetch(&mut self, frame: &Frame) -> Result<(), Error> {
        self.release()?;
        let (surface, size) = (frame.surface(), frame.size());
        let is_right = |image: &Image| image.size == size && Arc::ptr_eq(&image.raw, surface.raw());
        let image = match self.image.take().filter(is_right) {
            Some(image) => image,
            None => Image::new(surface, size)?,
        };
        // An image that has failed is not used again.
        self.mapped = Some(image.copy(surface)?);
        self.image = Some(image);
        Ok(())
    }

    /// Gives what was copied out last to `look`; the driver is not asked.
    pub fn see<T>(&self, look: impl FnOnce(&Nv12<'_>) -> T) -> Option<T> {
        let (mapped, image) = (self.mapped.as_ref()?, &self.image.as_ref()?.image);
        let bytes = mapped.bytes();
        let plane = |plane: usize| &bytes[image.offsets[plane] as usize..];
        Some(look(&Nv12 {
            planes: [plane(0), plane(1)],
            strides: [image.pitches[0] as usize, image.pitches[1] as usize],
        }))
    }

    /// Ends seeing. After an error the image is not used again.
    pub fn release(&mut self) -> Result<(), Error> {
        let done = self.mapped.take().map_or(Ok(()), MappedImage::unmap);
        if done.is_err() {
            self.image = None;
        }
        done
    }
}

struct Image {
    raw: Arc<Raw>,
    image: abi::Image,
    size: Size,
}

impl Image {
    fn new(of: &Surface, size: Size) -> Result<Self, Error> {
        let raw = Arc::clone(of.raw());
        let image = raw.create_image(NV12.va, BITS_PER_PIXEL, (size.w, size.h))?;
        let made = Self { raw, image, size };
        match made.is_sound() {
            true => Ok(made),
            false => Err(Error::Lies {
                call: "vaCreateImage",
                found: image.data_size.into(),
                room: size.area() * 3 / 2,
            }),
        }
    }

    /// Whether both planes lie in the image's bytes.
    fn is_sound(&self) -> bool {
        let (image, size) = (&self.image, self.size);
        let fits = |plane: usize, rows: u32| {
            let (offset, pitch) = (
                u64::from(image.offsets[plane]),
                u64::from(image.pitches[plane]),
            );
            let end = offset + pitch * u64::from(rows - 1) + u64::from(size.w);
            pitch >= size.w.into() && end <= image.data_size.into()
        };
        image.num_planes == 2
            && image.format.fourcc == NV12.va
            && image.data_size <= MAX_BYTES
            && fits(0, size.h)
            && fits(1, size.h / 2)
    }

    fn copy(&self, from: &Surface) -> Result<MappedImage, Error> {
        let size = (self.size.w, self.size.h);
        self.raw.get_image(from.id(), size, self.image.image_id)?;
        MappedImage::new(&self.raw, &self.image)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.raw.destroy_image(self.image.image_id).is_err() {
            let _ = self.raw.destroy_image(self.image.image_id);
        }
    }
}
