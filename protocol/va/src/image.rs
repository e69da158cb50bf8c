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
use crate::sys::Raw;

/// Luma and chroma of NV12 together, for each pixel.
const BITS_PER_PIXEL: u32 = 12;
/// More bytes than this no image has: those of the largest picture with its rows far apart.
const MAX_BYTES: u32 = 64 << 20;

/// Copies frames of one video out. It keeps the memory that they are copied into.
#[derive(Default)]
pub struct Reader(Option<Image>);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reader").field(&self.0.is_some()).finish()
    }
}

impl Reader {
    /// Gives a copy of a frame to `see`. Where the driver does not map it, an error of libva's; where
    /// it lies about how the copy is laid out, [`Error::Lies`].
    pub fn read<T>(&mut self, frame: &Frame, see: impl FnOnce(&Nv12<'_>) -> T) -> Result<T, Error> {
        let (surface, size) = (frame.surface(), frame.size());
        let is_right = |image: &Image| image.size == size && Arc::ptr_eq(&image.raw, surface.raw());
        let image = match self.0.take().filter(is_right) {
            Some(image) => image,
            None => Image::new(surface, size)?,
        };
        // An image that has failed is not used again.
        let seen = image.read(surface, see)?;
        self.0 = Some(image);
        Ok(seen)
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

    fn read<T>(&self, from: &Surface, see: impl FnOnce(&Nv12<'_>) -> T) -> Result<T, Error> {
        let image = &self.image;
        let size = (self.size.w, self.size.h);
        self.raw.get_image(from.id(), size, image.image_id)?;
        self.raw.see_image(image, |bytes| {
            let plane = |plane: usize| &bytes[image.offsets[plane] as usize..];
            see(&Nv12 {
                planes: [plane(0), plane(1)],
                strides: [image.pitches[0] as usize, image.pitches[1] as usize],
            })
        })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.raw.destroy_image(self.image.image_id).is_err() {
            let _ = self.raw.destroy_image(self.image.image_id);
        }
    }
}
