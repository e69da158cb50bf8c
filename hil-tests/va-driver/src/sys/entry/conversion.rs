//! What conversions there are.

use std::ffi::c_uint;

use super::{enter, put};
use crate::format::{self, MAX_SIDE};
use crate::refusal::refuse;
use crate::sys::backend::ContextPointer;
use crate::va::{self, Id, Status, colour, status};

pub(super) unsafe extern "C" fn query_filters(
    context: ContextPointer,
    _id: Id,
    _filters: *mut i32,
    count: *mut c_uint,
) -> Status {
    enter(context, "vaQueryVideoProcFilters", |_| {
        // SAFETY: see the head of the module above.
        unsafe { put(count, 0) }
    })
}

static INPUT_STANDARDS: [i32; 4] = [
    colour::STANDARD_BT601,
    colour::STANDARD_BT709,
    colour::STANDARD_SRGB,
    colour::STANDARD_EXPLICIT,
];
static PIXEL_FORMATS: [u32; format::ALL.len()] = {
    let mut codes = [0; format::ALL.len()];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = format::ALL[index].fourcc;
        index += 1;
    }
    codes
};

pub(super) unsafe extern "C" fn query_pipeline_caps(
    context: ContextPointer,
    id: Id,
    _filters: *mut Id,
    filter_count: c_uint,
    caps: *mut va::ProcPipelineCaps,
) -> Status {
    enter(context, "vaQueryVideoProcPipelineCaps", |driver| {
        driver.check_converts(id)?;
        if filter_count != 0 {
            return refuse(status::UNSUPPORTED_FILTER, "filters are not offered");
        }
        let mut answer: va::ProcPipelineCaps = crate::sys::plain::zeroed();
        answer.filter_flags = va::FILTER_SCALING_MASK | va::FILTER_INTERPOLATION_MASK;
        answer.input_color_standards = INPUT_STANDARDS.as_ptr();
        answer.num_input_color_standards = INPUT_STANDARDS.len() as u32;
        answer.output_color_standards = INPUT_STANDARDS.as_ptr();
        answer.num_output_color_standards = INPUT_STANDARDS.len() as u32;
        answer.rotation_flags = 1;
        answer.input_pixel_format = PIXEL_FORMATS.as_ptr();
        answer.num_input_pixel_formats = PIXEL_FORMATS.len() as u32;
        answer.output_pixel_format = PIXEL_FORMATS.as_ptr();
        answer.num_output_pixel_formats = PIXEL_FORMATS.len() as u32;
        (answer.max_input_width, answer.max_input_height) = (MAX_SIDE, MAX_SIDE);
        (answer.min_input_width, answer.min_input_height) = (1, 1);
        (answer.max_output_width, answer.max_output_height) = (MAX_SIDE, MAX_SIDE);
        (answer.min_output_width, answer.min_output_height) = (1, 1);
        // SAFETY: see the head of the module above.
        unsafe { put(caps, answer) }
    })
}
