//! Images.

use std::ffi::{c_int, c_uint};

use super::{enter, list, put, put_all};
use crate::format;
use crate::sys::backend::ContextPointer;
use crate::va::{self, Id, Status};

pub(super) unsafe extern "C" fn query_image_formats(
    context: ContextPointer,
    formats: *mut va::ImageFormat,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryImageFormats", |_| {
        let all = format::ALL.iter().map(|format| format.image_format());
        // SAFETY: see the head of the module above.
        unsafe { put_all(formats, count, all) }
    })
}

pub(super) unsafe extern "C" fn create_image(
    context: ContextPointer,
    format: *mut va::ImageFormat,
    width: c_int,
    height: c_int,
    image: *mut va::Image,
) -> Status {
    enter(context, "vaCreateImage", |driver| {
        // SAFETY: see the head of the module above.
        let format = unsafe { list(format, 1)? };
        let made = driver.create_image(format[0].fourcc, width, height)?;
        // SAFETY: see the head of the module above.
        unsafe { put(image, made) }
    })
}

pub(super) unsafe extern "C" fn derive_image(
    context: ContextPointer,
    surface: Id,
    image: *mut va::Image,
) -> Status {
    enter(context, "vaDeriveImage", |driver| {
        let made = driver.derive_image(surface)?;
        // SAFETY: see the head of the module above.
        unsafe { put(image, made) }
    })
}

pub(super) unsafe extern "C" fn destroy_image(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaDestroyImage", |driver| driver.destroy_image(id))
}

pub(super) unsafe extern "C" fn get_image(
    context: ContextPointer,
    surface: Id,
    x: c_int,
    y: c_int,
    width: c_uint,
    height: c_uint,
    image: Id,
) -> Status {
    enter(context, "vaGetImage", |driver| {
        driver.get_image(surface, (x, y), (width, height), image)
    })
}

pub(super) unsafe extern "C" fn put_image(
    context: ContextPointer,
    surface: Id,
    image: Id,
    from_x: c_int,
    from_y: c_int,
    from_width: c_uint,
    from_height: c_uint,
    to_x: c_int,
    to_y: c_int,
    to_width: c_uint,
    to_height: c_uint,
) -> Status {
    enter(context, "vaPutImage", |driver| {
        let from = ((from_x, from_y), (from_width, from_height));
        let to = ((to_x, to_y), (to_width, to_height));
        driver.put_image(surface, image, from, to)
    })
}
