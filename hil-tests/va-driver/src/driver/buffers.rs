//! Buffers of parameters and data.

use std::ffi::c_void;

use super::{Driver, Engine, Job};
use crate::refusal::{Done, refuse};
use crate::sys::block::Block;
use crate::sys::memory::{Access, Mapping};
use crate::sys::plain::{Plain, read};
use crate::va::{self, Id, buffer, status};

/// Buffers, and images, of one display.
pub const MAX_BUFFERS: usize = 8192;
/// Bytes of one buffer.
const MAX_BYTES: usize = 64 << 20;

/// A buffer.
#[derive(Debug)]
pub struct Buffer {
    /// The context it was made for; none for images.
    pub context: Option<Id>,
    /// `VABufferType`.
    pub kind: i32,
    /// Bytes of an element.
    pub element: usize,
    /// Elements that count, and that there is room for.
    pub count: usize,
    room: usize,
    pub(super) content: Content,
    mapped: bool,
    /// It has been given to an open picture.
    pub(super) in_picture: bool,
    /// What writes it and was not waited for.
    pub(super) pending: Option<Job>,
}

/// What is behind a buffer.
#[derive(Debug)]
pub(super) enum Content {
    /// Memory of its own.
    Own(Block),
    /// That of a surface, mapped while a client has it.
    Derived {
        surface: Id,
        mapping: Option<Mapping>,
    },
}

impl Buffer {
    /// The elements that count. Refused while a client can still write them.
    pub fn bytes(&self) -> Done<&[u8]> {
        if self.mapped {
            return refuse(
                status::INVALID_BUFFER,
                "a buffer is used while it is mapped",
            );
        }
        match &self.content {
            Content::Own(block) => Ok(&block.bytes()[..self.element * self.count]),
            Content::Derived { .. } => refuse(
                status::INVALID_BUFFER,
                "the buffer of an image is no buffer of parameters",
            ),
        }
    }

    /// Each element as a structure.
    pub fn elements<T: Plain>(&self) -> Done<Vec<T>> {
        let chunks = self.bytes()?.chunks_exact(self.element.max(1));
        Ok(chunks.filter_map(read).collect())
    }
}

/// Bytes of an element of a kind of buffer, where they are fixed.
fn element_size(kind: i32) -> Option<usize> {
    match kind {
        buffer::PICTURE_PARAMETER => Some(size_of::<va::PictureParameterH264>()),
        buffer::IQ_MATRIX => Some(size_of::<va::IqMatrixH264>()),
        buffer::SLICE_PARAMETER => Some(size_of::<va::SliceParameterH264>()),
        buffer::ENC_SEQUENCE_PARAMETER => Some(size_of::<va::EncSequenceParameterH264>()),
        buffer::ENC_PICTURE_PARAMETER => Some(size_of::<va::EncPictureParameterH264>()),
        buffer::ENC_SLICE_PARAMETER => Some(size_of::<va::EncSliceParameterH264>()),
        buffer::ENC_PACKED_HEADER_PARAMETER => Some(size_of::<va::EncPackedHeaderParameter>()),
        buffer::PROC_PIPELINE_PARAMETER => Some(size_of::<va::ProcPipelineParameter>()),
        _ => None,
    }
}

fn is_of(kind: i32, engine: &Engine) -> bool {
    match engine {
        Engine::Decode(_) => [
            buffer::PICTURE_PARAMETER,
            buffer::IQ_MATRIX,
            buffer::SLICE_PARAMETER,
            buffer::SLICE_DATA,
        ]
        .contains(&kind),
        Engine::Encode(_) => (buffer::ENC_CODED..=buffer::ENC_MISC_PARAMETER).contains(&kind),
        Engine::Process => kind == buffer::PROC_PIPELINE_PARAMETER,
    }
}

impl Driver {
    /// Makes a buffer of `count` elements of `element` bytes.
    pub fn create_buffer(
        &mut self,
        context: Id,
        kind: i32,
        (element, count): (usize, usize),
        data: Option<&[u8]>,
    ) -> Done<Id> {
        if !is_of(kind, &self.contexts.get(context)?.engine) {
            return refuse(
                status::UNSUPPORTED_BUFFERTYPE,
                format!("buffers of type {kind} have no place in context {context:#x}"),
            );
        }
        if let Some(right) = element_size(kind).filter(|right| *right != element) {
            return refuse(
                status::INVALID_PARAMETER,
                format!("a buffer of type {kind} with {element} bytes, which has {right}"),
            );
        }
        let bytes = element.saturating_mul(count);
        if bytes == 0 || bytes > MAX_BYTES {
            return refuse(
                status::INVALID_PARAMETER,
                format!("a buffer of {count} times {element} bytes"),
            );
        }
        let head = match kind {
            buffer::ENC_CODED => size_of::<va::CodedBufferSegment>(),
            _ => 0,
        };
        let Some(mut block) = Block::new(bytes + head) else {
            return refuse(status::ALLOCATION_FAILED, "no memory for a buffer");
        };
        if let Some(data) = data {
            let length = data.len().min(bytes);
            block.bytes_mut()[..length].copy_from_slice(&data[..length]);
        }
        self.buffers.add(Buffer {
            context: Some(context),
            kind,
            element,
            count,
            room: count,
            content: Content::Own(block),
            mapped: false,
            in_picture: false,
            pending: None,
        })
    }

    /// The bytes that a client gives with a new buffer.
    pub fn bytes_of_new_buffer(element: u32, count: u32) -> usize {
        (element as usize)
            .saturating_mul(count as usize)
            .min(MAX_BYTES)
    }

    pub(super) fn add_image_buffer(&mut self, bytes: usize, content: Content) -> Done<Id> {
        self.buffers.add(Buffer {
            context: None,
            kind: buffer::IMAGE,
            element: bytes,
            count: 1,
            room: 1,
            content,
            mapped: false,
            in_picture: false,
            pending: None,
        })
    }

    /// Lets fewer elements count.
    pub fn set_elements(&mut self, id: Id, count: usize) -> Done {
        let buffer = self.buffers.get_mut(id)?;
        if count == 0 || count > buffer.room {
            return refuse(
                status::INVALID_PARAMETER,
                format!("{count} elements in a buffer with room for {}", buffer.room),
            );
        }
        buffer.count = count;
        Ok(())
    }

    /// Type, bytes of an element, and elements.
    pub fn buffer_info(&self, id: Id) -> Done<(i32, usize, usize)> {
        let buffer = self.buffers.get(id)?;
        Ok((buffer.kind, buffer.element, buffer.count))
    }

    /// Gives a client the memory of a buffer, after waiting for what writes it.
    pub fn map_buffer(&mut self, id: Id) -> Done<*mut c_void> {
        let buffer = self.buffers.get_mut(id)?;
        if buffer.mapped {
            return refuse(
                status::OPERATION_FAILED,
                format!("buffer {id:#x} is mapped already"),
            );
        }
        let pending = buffer.pending.take();
        let pointer = match &mut buffer.content {
            Content::Own(block) => block.pointer(),
            Content::Derived { surface, mapping } => {
                let on = self.surfaces.get_mut(*surface)?;
                if let Some(busy) = on.busy() {
                    return refuse(
                        status::SURFACE_BUSY,
                        format!("surface {surface:#x} is mapped while in use: {busy}"),
                    );
                }
                let mapped = match on.objects[0].map(Access::Write) {
                    Ok(mapped) => mapped,
                    Err(error) => {
                        return refuse(
                            status::OPERATION_FAILED,
                            format!("the memory of the surface cannot be mapped: {error}"),
                        );
                    }
                };
                on.lent += 1;
                self.counters.of(on.objects[0].identity).lent += 1;
                mapping.insert(mapped).pointer()
            }
        };
        buffer.mapped = true;
        if let Some(job) = pending {
            self.finish(job);
        }
        Ok(pointer)
    }

    /// Takes it back.
    pub fn unmap_buffer(&mut self, id: Id) -> Done {
        let buffer = self.buffers.get_mut(id)?;
        if !std::mem::take(&mut buffer.mapped) {
            return refuse(
                status::INVALID_BUFFER,
                format!("buffer {id:#x} is not mapped"),
            );
        }
        if let Content::Derived { surface, mapping } = &mut buffer.content {
            *mapping = None;
            self.surfaces.get_mut(*surface)?.lent -= 1;
        }
        Ok(())
    }

    /// Forgets a buffer. That of an image goes with its image.
    pub fn destroy_buffer(&mut self, id: Id) -> Done {
        if self.buffers.get(id)?.kind == buffer::IMAGE {
            return refuse(
                status::INVALID_BUFFER,
                format!("buffer {id:#x} belongs to an image"),
            );
        }
        self.remove_buffer(id)
    }

    pub(super) fn remove_buffer(&mut self, id: Id) -> Done {
        let buffer = self.buffers.get(id)?;
        let used = if buffer.mapped {
            "mapped"
        } else if buffer.in_picture {
            "part of an open picture"
        } else if buffer.pending.is_some() {
            "written by a picture that nobody has waited for"
        } else {
            return self.buffers.remove(id).map(|_| ());
        };
        refuse(
            status::INVALID_BUFFER,
            format!("buffer {id:#x} is destroyed while it is {used}"),
        )
    }

    /// Waits for what writes a buffer.
    pub fn sync_buffer(&mut self, id: Id) -> Done {
        let buffer = self.buffers.get_mut(id)?;
        if buffer.in_picture {
            return refuse(
                status::INVALID_BUFFER,
                format!("waiting for buffer {id:#x} before vaEndPicture"),
            );
        }
        if let Some(job) = buffer.pending.take() {
            self.finish(job);
        }
        Ok(())
    }
}
