//! Surfaces.

use std::ffi::{c_int, c_uint, c_void};

use super::{enter, enter_within, length, list, put};
use crate::driver::Driver;
use crate::driver::surfaces::Wish;
use crate::refusal::{Done, refuse};
use crate::sys::backend::ContextPointer;
use crate::va::{self, Id, Status, status, surface_attrib};

pub(super) unsafe extern "C" fn create_surfaces(
    context: ContextPointer,
    width: c_int,
    height: c_int,
    rt_format: c_int,
    count: c_int,
    ids: *mut Id,
) -> Status {
    enter(context, "vaCreateSurfaces", |driver| {
        let side = |side: c_int| u32::try_from(side).unwrap_or(0);
        let wish = Wish {
            rt_format: rt_format.cast_unsigned(),
            size: (side(width), side(height)),
            ..Wish::default()
        };
        // SAFETY: see the head of the module above.
        unsafe { make_surfaces(driver, &wish, length(count), ids) }
    })
}

/// # Safety
///
/// As the head of the module above says.
unsafe fn make_surfaces(driver: &mut Driver, wish: &Wish, count: usize, ids: *mut Id) -> Done {
    if count == 0 || ids.is_null() {
        return refuse(
            status::INVALID_PARAMETER,
            "no surfaces, or nowhere to write them to",
        );
    }
    for (index, id) in driver.create_surfaces(wish, count)?.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { put(ids.wrapping_add(index), id)? };
    }
    Ok(())
}

pub(super) unsafe extern "C" fn create_surfaces2(
    context: ContextPointer,
    rt_format: c_uint,
    width: c_uint,
    height: c_uint,
    ids: *mut Id,
    count: c_uint,
    attributes: *mut va::SurfaceAttrib,
    attribute_count: c_uint,
) -> Status {
    enter(context, "vaCreateSurfaces2", |driver| {
        let mut wish = Wish {
            rt_format,
            size: (width, height),
            ..Wish::default()
        };
        // SAFETY: see the head of the module above.
        let attributes = unsafe { list(attributes, attribute_count as usize)? };
        for attribute in attributes {
            // SAFETY: see the head of the module above.
            unsafe { take_attribute(&mut wish, attribute, count as usize)? };
        }
        // SAFETY: see the head of the module above.
        unsafe { make_surfaces(driver, &wish, count as usize, ids) }
    })
}

/// # Safety
///
/// As the head of the module above says, for what the attribute points at.
unsafe fn take_attribute(wish: &mut Wish, attribute: &va::SurfaceAttrib, count: usize) -> Done {
    let va::GenericValue { kind, value } = attribute.value;
    let pointer = std::ptr::with_exposed_provenance::<c_void>(value as usize);
    let integer = value as u32;
    // FFmpeg's decoders leave the type of the value and the flags at 0, and real drivers do not look.
    let kind = match kind {
        0 => surface_attrib::TYPE_INTEGER,
        kind => kind,
    };
    match (attribute.kind, kind) {
        (surface_attrib::PIXEL_FORMAT, surface_attrib::TYPE_INTEGER) => {
            wish.fourcc = Some(integer);
        }
        (surface_attrib::MEMORY_TYPE, surface_attrib::TYPE_INTEGER) => {
            wish.memory = Some(integer);
        }
        (surface_attrib::USAGE_HINT, surface_attrib::TYPE_INTEGER) => {}
        (surface_attrib::EXTERNAL_BUFFER_DESCRIPTOR, surface_attrib::TYPE_POINTER) => {
            if pointer.is_null() {
                return Ok(());
            }
            // SAFETY: the caller's promise: one descriptor a surface.
            let all = unsafe { list(pointer.cast::<va::PrimeSurfaceDescriptor>(), count)? };
            wish.external = all.to_vec();
        }
        (surface_attrib::DRM_FORMAT_MODIFIERS, surface_attrib::TYPE_POINTER) => {
            // SAFETY: the caller's promise.
            let all = unsafe { list(pointer.cast::<va::DrmFormatModifierList>(), 1)? };
            // SAFETY: the caller's promise.
            let modifiers = unsafe { list(all[0].modifiers, all[0].num_modifiers as usize)? };
            wish.modifiers = Some(modifiers.to_vec());
        }
        (other, kind) => {
            return refuse(
                status::ATTR_NOT_SUPPORTED,
                format!("unknown surface attribute {other} with a value of type {kind}"),
            );
        }
    }
    Ok(())
}

pub(super) unsafe extern "C" fn destroy_surfaces(
    context: ContextPointer,
    ids: *mut Id,
    count: c_int,
) -> Status {
    enter(context, "vaDestroySurfaces", |driver| {
        // SAFETY: see the head of the module above.
        driver.destroy_surfaces(unsafe { list(ids, length(count))? })
    })
}

pub(super) unsafe extern "C" fn sync_surface(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaSyncSurface", |driver| driver.sync_surface(id))
}

pub(super) unsafe extern "C" fn sync_surface2(
    context: ContextPointer,
    id: Id,
    timeout_ns: u64,
) -> Status {
    let sync = |driver: &mut Driver| driver.sync_surface(id);
    enter_within(context, "vaSyncSurface2", timeout_ns, sync)
}

pub(super) unsafe extern "C" fn query_surface_status(
    context: ContextPointer,
    id: Id,
    answer: *mut i32,
) -> Status {
    enter(context, "vaQuerySurfaceStatus", |driver| {
        let status = driver.surface_status(id)?;
        // SAFETY: see the head of the module above.
        unsafe { put(answer, status) }
    })
}

pub(super) unsafe extern "C" fn query_surface_attributes(
    context: ContextPointer,
    config: Id,
    attributes: *mut va::SurfaceAttrib,
    count: *mut c_uint,
) -> Status {
    enter(context, "vaQuerySurfaceAttributes", |driver| {
        let all = driver.config(config)?.surface_attributes();
        // SAFETY: see the head of the module above.
        let room = unsafe { list(count.cast_const(), 1)? }[0] as usize;
        // SAFETY: see the head of the module above.
        unsafe { put(count, all.len() as c_uint)? };
        if attributes.is_null() {
            return Ok(());
        }
        if room < all.len() {
            return refuse(
                status::MAX_NUM_EXCEEDED,
                format!("{} surface attributes, and room for {room}", all.len()),
            );
        }
        for (index, attribute) in all.into_iter().enumerate() {
            // SAFETY: there is room, as was just checked.
            unsafe { put(attributes.wrapping_add(index), attribute)? };
        }
        Ok(())
    })
}

pub(super) unsafe extern "C" fn export_surface_handle(
    context: ContextPointer,
    id: Id,
    memory: u32,
    flags: u32,
    descriptor: *mut c_void,
) -> Status {
    enter(context, "vaExportSurfaceHandle", |driver| {
        if descriptor.is_null() {
            return refuse(
                status::INVALID_PARAMETER,
                "nowhere to write the descriptor to",
            );
        }
        let exported = driver.export_surface(id, memory, flags)?;
        // SAFETY: for this type of memory the client gives such a descriptor.
        unsafe { put(descriptor.cast::<va::PrimeSurfaceDescriptor>(), exported) }
    })
}
