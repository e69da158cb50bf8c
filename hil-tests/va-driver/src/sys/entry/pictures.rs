//! Contexts, buffers and the pictures that are made of them.

use std::ffi::{c_int, c_uint, c_void};

use super::{enter, enter_or, enter_within, length, list, put};
use crate::driver::Driver;
use crate::driver::pictures::{Client, Conversion};
use crate::h264::told::Pointers;
use crate::sys::backend::ContextPointer;
use crate::sys::plain::{rectangle, several};
use crate::va::{self, Id, Status};

pub(super) unsafe extern "C" fn create_context(
    context: ContextPointer,
    config: Id,
    width: c_int,
    height: c_int,
    _flag: c_int,
    targets: *mut Id,
    count: c_int,
    id: *mut Id,
) -> Status {
    enter(context, "vaCreateContext", |driver| {
        // SAFETY: see the head of the module above.
        let targets = unsafe { list(targets, length(count))? };
        let made = driver.create_context(config, (width, height), targets)?;
        // SAFETY: see the head of the module above.
        unsafe { put(id, made) }
    })
}

pub(super) unsafe extern "C" fn destroy_context(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaDestroyContext", |driver| {
        driver.destroy_context(id)
    })
}

pub(super) unsafe extern "C" fn create_buffer(
    context: ContextPointer,
    owner: Id,
    kind: i32,
    size: c_uint,
    count: c_uint,
    data: *mut c_void,
    id: *mut Id,
) -> Status {
    enter(context, "vaCreateBuffer", |driver| {
        let bytes = Driver::bytes_of_new_buffer(size, count);
        // SAFETY: libva's contract: the data, if any, has as many bytes as the buffer; they are only
        // copied.
        let data = (!data.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) });
        let made = driver.create_buffer(owner, kind, (size as usize, count as usize), data)?;
        // SAFETY: see the head of the module above.
        unsafe { put(id, made) }
    })
}

pub(super) unsafe extern "C" fn buffer_set_num_elements(
    context: ContextPointer,
    id: Id,
    count: c_uint,
) -> Status {
    enter(context, "vaBufferSetNumElements", |driver| {
        driver.set_elements(id, count as usize)
    })
}

pub(super) unsafe extern "C" fn map_buffer(
    context: ContextPointer,
    id: Id,
    pointer: *mut *mut c_void,
) -> Status {
    enter(context, "vaMapBuffer", |driver| {
        let mapped = driver.map_buffer(id)?;
        // SAFETY: see the head of the module above.
        unsafe { put(pointer, mapped) }
    })
}

pub(super) unsafe extern "C" fn map_buffer2(
    context: ContextPointer,
    id: Id,
    pointer: *mut *mut c_void,
    _flags: u32,
) -> Status {
    // SAFETY: the same contract.
    unsafe { map_buffer(context, id, pointer) }
}

pub(super) unsafe extern "C" fn unmap_buffer(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaUnmapBuffer", |driver| driver.unmap_buffer(id))
}

pub(super) unsafe extern "C" fn destroy_buffer(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaDestroyBuffer", |driver| {
        driver.destroy_buffer(id)
    })
}

pub(super) unsafe extern "C" fn buffer_info(
    context: ContextPointer,
    id: Id,
    kind: *mut i32,
    size: *mut c_uint,
    count: *mut c_uint,
) -> Status {
    enter(context, "vaBufferInfo", |driver| {
        let info = driver.buffer_info(id)?;
        // SAFETY: see the head of the module above.
        unsafe {
            put(kind, info.0)?;
            put(size, info.1 as c_uint)?;
            put(count, info.2 as c_uint)
        }
    })
}

pub(super) unsafe extern "C" fn sync_buffer(
    context: ContextPointer,
    id: Id,
    timeout_ns: u64,
) -> Status {
    let sync = |driver: &mut Driver| driver.sync_buffer(id);
    enter_within(context, "vaSyncBuffer", timeout_ns, sync)
}

pub(super) unsafe extern "C" fn begin_picture(
    context: ContextPointer,
    id: Id,
    target: Id,
) -> Status {
    enter(context, "vaBeginPicture", |driver| {
        driver.begin_picture(id, target)
    })
}

pub(super) unsafe extern "C" fn render_picture(
    context: ContextPointer,
    id: Id,
    buffers: *mut Id,
    count: c_int,
) -> Status {
    enter(context, "vaRenderPicture", |driver| {
        // SAFETY: see the head of the module above.
        for buffer in unsafe { list(buffers, length(count))? } {
            driver.render_buffer(id, *buffer, &Memory)?;
        }
        Ok(())
    })
}

/// The memory of whoever calls: parameters are the client's, whose pointers are null or good.
struct Memory;

impl Pointers for Memory {
    fn rectangles(&self, at: *const va::Rectangle, count: usize) -> Option<Vec<va::Rectangle>> {
        // SAFETY: see above.
        unsafe { several(at, count) }
    }

    fn regions(&self, at: *const va::EncRoi, count: usize) -> Option<Vec<va::EncRoi>> {
        // SAFETY: see above.
        unsafe { several(at, count) }
    }
}

impl Client for Memory {
    fn conversion(&self, parameters: va::ProcPipelineParameter) -> Conversion {
        Conversion {
            parameters,
            // SAFETY: see above.
            from: unsafe { rectangle(parameters.surface_region) },
            // SAFETY: see above.
            into: unsafe { rectangle(parameters.output_region) },
        }
    }
}

pub(super) unsafe extern "C" fn end_picture(context: ContextPointer, id: Id) -> Status {
    let end = |driver: &mut Driver| driver.end_picture(id);
    enter_or(context, "vaEndPicture", end, |driver| {
        driver.abandon_picture(id);
    })
}
