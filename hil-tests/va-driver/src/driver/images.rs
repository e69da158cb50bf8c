//! Images: pictures as clients without hardware see them.

use super::Driver;
use super::buffers::Content;
use crate::format::{Format, MAX_SIDE, PlaneLayout, name};
use crate::process::Pixels;
use crate::refusal::{Done, refuse};
use crate::sys::block::Block;
use crate::sys::memory::Access;
use crate::va::{self, Id, status};

/// An image.
#[derive(Debug)]
pub struct Image {
    format: Format,
    size: (u32, u32),
    planes: Vec<PlaneLayout>,
    buffer: Id,
    /// The surface that it is an image of.
    derived_from: Option<Id>,
}

/// A region of a surface or an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Left.
    pub x: u32,
    /// Top.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Region {
    /// Of signed numbers, where they are a region within `size`, and even where there is chroma.
    pub fn within(
        (x, y): (i32, i32),
        (width, height): (u32, u32),
        size: (u32, u32),
        format: Format,
    ) -> Done<Self> {
        let fits = |from: i32, length: u32, side: u32| {
            u32::try_from(from).is_ok_and(|from| {
                length > 0 && from.checked_add(length).is_some_and(|end| end <= side)
            })
        };
        let even = format.rgb.is_some() || x % 2 == 0 && y % 2 == 0;
        if !fits(x, width, size.0) || !fits(y, height, size.1) || !even {
            return refuse(
                status::INVALID_PARAMETER,
                format!(
                    "the region {width}×{height} at {x},{y} of a {} of {}×{} pixels",
                    name(format.fourcc),
                    size.0,
                    size.1
                ),
            );
        }
        Ok(Self {
            x: x.unsigned_abs(),
            y: y.unsigned_abs(),
            width,
            height,
        })
    }
}

impl Image {
    fn describe(&self, id: Id, bytes: u64) -> va::Image {
        let mut image: va::Image = crate::sys::plain::zeroed();
        image.image_id = id;
        image.format = self.format.image_format();
        image.buf = self.buffer;
        image.width = self.size.0 as u16;
        image.height = self.size.1 as u16;
        image.data_size = bytes as u32;
        image.num_planes = self.planes.len() as u32;
        for (index, plane) in self.planes.iter().enumerate() {
            image.pitches[index] = plane.pitch;
            image.offsets[index] = plane.offset;
        }
        image
    }
}

impl Driver {
    /// Makes an image with memory of its own.
    pub fn create_image(&mut self, fourcc: u32, width: i32, height: i32) -> Done<va::Image> {
        let Some(format) = Format::of(fourcc) else {
            return refuse(
                status::INVALID_IMAGE_FORMAT,
                format!("images of {}", name(fourcc)),
            );
        };
        let side = |side: i32| {
            u32::try_from(side)
                .ok()
                .filter(|side| (1..=MAX_SIDE).contains(side))
        };
        let (Some(width), Some(height)) = (side(width), side(height)) else {
            return refuse(
                status::RESOLUTION_NOT_SUPPORTED,
                format!("an image of {width}×{height} pixels"),
            );
        };
        self.images.check_room(1)?;
        let (planes, bytes) = format.layout(width, height);
        let Some(block) = Block::new(bytes as usize) else {
            return refuse(status::ALLOCATION_FAILED, "no memory for an image");
        };
        let buffer = self.add_image_buffer(bytes as usize, Content::Own(block))?;
        self.add_image(
            Image {
                format,
                size: (width, height),
                planes,
                buffer,
                derived_from: None,
            },
            bytes,
        )
    }

    fn add_image(&mut self, image: Image, bytes: u64) -> Done<va::Image> {
        let mut described = image.describe(0, bytes);
        described.image_id = self.images.add(image)?;
        Ok(described)
    }

    /// Makes an image whose memory is that of a surface.
    pub fn derive_image(&mut self, surface: Id) -> Done<va::Image> {
        self.images.check_room(1)?;
        let on = self.surfaces.get(surface)?;
        if on.objects.len() != 1 {
            return refuse(
                status::OPERATION_FAILED,
                "an image cannot lie in two buffers",
            );
        }
        let bytes = on.objects[0].size;
        let (format, size, planes) = (on.format, on.size, on.planes.clone());
        let content = Content::Derived {
            surface,
            mapping: None,
        };
        let buffer = self.add_image_buffer(bytes as usize, content)?;
        self.surfaces.get_mut(surface)?.derived += 1;
        self.add_image(
            Image {
                format,
                size,
                planes,
                buffer,
                derived_from: Some(surface),
            },
            bytes,
        )
    }

    /// Forgets an image and its buffer.
    pub fn destroy_image(&mut self, id: Id) -> Done {
        let image = self.images.get(id)?;
        let (buffer, surface) = (image.buffer, image.derived_from);
        self.remove_buffer(buffer)?;
        self.images.remove(id)?;
        if let Some(surface) = surface {
            self.surfaces.get_mut(surface)?.derived -= 1;
        }
        Ok(())
    }

    /// Copies a region of a surface to the top left of an image.
    pub fn get_image(
        &mut self,
        surface: Id,
        (x, y): (i32, i32),
        size: (u32, u32),
        image: Id,
    ) -> Done {
        self.check_copy(surface, image)?;
        let from = self.surfaces.get(surface)?;
        let region = Region::within((x, y), size, from.size, from.format)?;
        let into = self.images.get(image)?;
        Region::within((0, 0), size, into.size, into.format)?;
        let pixels = from.read((region.x, region.y), size)?;
        let (planes, buffer) = (into.planes.clone(), into.buffer);
        self.write_image(buffer, &planes, &pixels)?;
        self.note_copy(surface)
    }

    /// Copies a region of an image into a surface.
    pub fn put_image(
        &mut self,
        surface: Id,
        image: Id,
        (from, from_size): ((i32, i32), (u32, u32)),
        (to, to_size): ((i32, i32), (u32, u32)),
    ) -> Done {
        self.check_copy(surface, image)?;
        if from_size != to_size {
            return refuse(
                status::INVALID_PARAMETER,
                "images are put as they are, not scaled",
            );
        }
        let source = self.images.get(image)?;
        let from = Region::within(from, from_size, source.size, source.format)?;
        let target = self.surfaces.get(surface)?;
        let to = Region::within(to, to_size, target.size, target.format)?;
        let pixels = self.read_image(source, from)?;
        target.write((to.x, to.y), &pixels)?;
        self.note_copy(surface)
    }

    fn note_copy(&mut self, surface: Id) -> Done {
        let surface = self.surfaces.get(surface)?;
        for object in &surface.objects {
            self.counters.of(object.identity).copied += 1;
        }
        Ok(())
    }

    fn check_copy(&self, surface: Id, image: Id) -> Done {
        let (on, image) = (self.surfaces.get(surface)?, self.images.get(image)?);
        if let Some(busy) = on.busy() {
            return refuse(
                status::SURFACE_BUSY,
                format!("surface {surface:#x} is copied while in use: {busy}"),
            );
        }
        if image.derived_from.is_some() {
            return refuse(
                status::INVALID_IMAGE,
                "copies between a surface and an image of a surface",
            );
        }
        if image.format != on.format {
            return refuse(
                status::INVALID_IMAGE_FORMAT,
                format!(
                    "an image of {} for a surface of {}",
                    name(image.format.fourcc),
                    name(on.format.fourcc)
                ),
            );
        }
        Ok(())
    }

    fn write_image(&mut self, buffer: Id, planes: &[PlaneLayout], pixels: &Pixels) -> Done {
        let buffer = self.buffers.get_mut(buffer)?;
        // Refused where it is mapped.
        buffer.bytes()?;
        let Content::Own(block) = &mut buffer.content else {
            return refuse(status::INVALID_IMAGE, "an image without memory of its own");
        };
        let layout = pixels.format.planes(pixels.size.0, pixels.size.1);
        for ((plane, from), (bytes, _)) in planes.iter().zip(&pixels.planes).zip(layout) {
            for (row, from) in from.chunks_exact(bytes as usize).enumerate() {
                let at = plane.offset as usize + row * plane.pitch as usize;
                block.bytes_mut()[at..][..from.len()].copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn read_image(&self, image: &Image, region: Region) -> Done<Pixels> {
        let bytes = self.buffers.get(image.buffer)?.bytes()?;
        let size = (region.width, region.height);
        let mut planes = Vec::new();
        let layout = image.format.planes(size.0, size.1);
        for (index, (length, rows)) in layout.into_iter().enumerate() {
            let plane = image.planes[index];
            let (left, top) = match (image.format.rgb, index) {
                (Some(_), _) => (region.x * 4, region.y),
                (None, 0) => (region.x, region.y),
                (None, _) => (region.x, region.y / 2),
            };
            let mut pixels = Vec::with_capacity((length * rows) as usize);
            for row in 0..rows {
                let at = plane.offset + (top + row) * plane.pitch + left;
                pixels.extend_from_slice(&bytes[at as usize..][..length as usize]);
            }
            planes.push(pixels);
        }
        Ok(Pixels {
            format: image.format,
            size,
            planes,
        })
    }

    /// The planes of a decoded picture, into the top left of a surface.
    pub(super) fn write_planes(
        surface: &super::surfaces::Surface,
        decoded: crate::h264::decode::Decoded<'_>,
    ) -> Done {
        let width = decoded.size.0.min(surface.size.0 as usize);
        let height = decoded.size.1.min(surface.size.1 as usize);
        let mut rows = surface.rows(Access::Write)?;
        let [(y, y_pitch), (u, u_pitch), (v, v_pitch)] = decoded.planes;
        for row in 0..height {
            rows[0]
                .get_mut(row, 0, width)
                .copy_from_slice(&y[row * y_pitch..][..width]);
        }
        let half = width.div_ceil(2);
        for row in 0..height.div_ceil(2) {
            let (u, v) = (&u[row * u_pitch..][..half], &v[row * v_pitch..][..half]);
            let pairs = rows[1].get_mut(row, 0, half * 2).chunks_exact_mut(2);
            for (pair, (u, v)) in pairs.zip(u.iter().zip(v)) {
                pair.copy_from_slice(&[*u, *v]);
            }
        }
        Ok(())
    }
}
