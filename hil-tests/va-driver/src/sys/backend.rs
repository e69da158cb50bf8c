//! What libva and drivers know of each other: `va_backend.h` and `va_backend_vpp.h` of VA-API 1.17.
#![allow(missing_docs, reason = "the fields are those of the headers")]

use std::ffi::{c_char, c_int, c_short, c_uint, c_ulong, c_ushort, c_void};

use crate::va::{self, Id, Status};

/// `VADriverContextP`.
pub type ContextPointer = *mut DriverContext;

/// Functions of one argument list, null where there is none.
macro_rules! function {
    ($($argument:ty),*) => {
        Option<unsafe extern "C" fn(ContextPointer $(, $argument)*) -> Status>
    };
}

/// `struct VADriverVTable`. libva refuses drivers that leave one of the first 42 empty.
#[repr(C)]
pub struct VTable {
    pub terminate: function!(),
    pub query_config_profiles: function!(*mut i32, *mut c_int),
    pub query_config_entrypoints: function!(i32, *mut i32, *mut c_int),
    pub get_config_attributes: function!(i32, i32, *mut va::ConfigAttrib, c_int),
    pub create_config: function!(i32, i32, *mut va::ConfigAttrib, c_int, *mut Id),
    pub destroy_config: function!(Id),
    pub query_config_attributes:
        function!(Id, *mut i32, *mut i32, *mut va::ConfigAttrib, *mut c_int),
    pub create_surfaces: function!(c_int, c_int, c_int, c_int, *mut Id),
    pub destroy_surfaces: function!(*mut Id, c_int),
    pub create_context: function!(Id, c_int, c_int, c_int, *mut Id, c_int, *mut Id),
    pub destroy_context: function!(Id),
    pub create_buffer: function!(Id, i32, c_uint, c_uint, *mut c_void, *mut Id),
    pub buffer_set_num_elements: function!(Id, c_uint),
    pub map_buffer: function!(Id, *mut *mut c_void),
    pub unmap_buffer: function!(Id),
    pub destroy_buffer: function!(Id),
    pub begin_picture: function!(Id, Id),
    pub render_picture: function!(Id, *mut Id, c_int),
    pub end_picture: function!(Id),
    pub sync_surface: function!(Id),
    pub query_surface_status: function!(Id, *mut i32),
    pub query_surface_error: function!(Id, Status, *mut *mut c_void),
    pub put_surface: function!(
        Id,
        *mut c_void,
        c_short,
        c_short,
        c_ushort,
        c_ushort,
        c_short,
        c_short,
        c_ushort,
        c_ushort,
        *mut va::Rectangle,
        c_uint,
        c_uint
    ),
    pub query_image_formats: function!(*mut va::ImageFormat, *mut c_int),
    pub create_image: function!(*mut va::ImageFormat, c_int, c_int, *mut va::Image),
    pub derive_image: function!(Id, *mut va::Image),
    pub destroy_image: function!(Id),
    pub set_image_palette: function!(Id, *mut u8),
    pub get_image: function!(Id, c_int, c_int, c_uint, c_uint, Id),
    pub put_image: function!(
        Id, Id, c_int, c_int, c_uint, c_uint, c_int, c_int, c_uint, c_uint
    ),
    pub query_subpicture_formats: function!(*mut va::ImageFormat, *mut c_uint, *mut c_uint),
    pub create_subpicture: function!(Id, *mut Id),
    pub destroy_subpicture: function!(Id),
    pub set_subpicture_image: function!(Id, Id),
    pub set_subpicture_chromakey: function!(Id, c_uint, c_uint, c_uint),
    pub set_subpicture_global_alpha: function!(Id, f32),
    pub associate_subpicture: function!(
        Id,
        *mut Id,
        c_int,
        c_short,
        c_short,
        c_ushort,
        c_ushort,
        c_short,
        c_short,
        c_ushort,
        c_ushort,
        c_uint
    ),
    pub deassociate_subpicture: function!(Id, *mut Id, c_int),
    pub query_display_attributes: function!(*mut c_void, *mut c_int),
    pub get_display_attributes: function!(*mut c_void, c_int),
    pub set_display_attributes: function!(*mut c_void, c_int),
    pub buffer_info: function!(Id, *mut i32, *mut c_uint, *mut c_uint),
    pub lock_surface: *const c_void,
    pub unlock_surface: *const c_void,
    pub get_surface_attributes: *const c_void,
    pub create_surfaces2: function!(
        c_uint,
        c_uint,
        c_uint,
        *mut Id,
        c_uint,
        *mut va::SurfaceAttrib,
        c_uint
    ),
    pub query_surface_attributes: function!(Id, *mut va::SurfaceAttrib, *mut c_uint),
    pub acquire_buffer_handle: *const c_void,
    pub release_buffer_handle: *const c_void,
    pub create_mf_context: *const c_void,
    pub mf_add_context: *const c_void,
    pub mf_release_context: *const c_void,
    pub mf_submit: *const c_void,
    pub create_buffer2: *const c_void,
    pub query_processing_rate: *const c_void,
    pub export_surface_handle: function!(Id, u32, u32, *mut c_void),
    pub sync_surface2: function!(Id, u64),
    pub sync_buffer: function!(Id, u64),
    pub copy: *const c_void,
    /// `vaMapBuffer2` of VA-API 1.21, reserved before; libva of that time calls it.
    pub map_buffer2: function!(Id, *mut *mut c_void, u32),
    pub reserved: [c_ulong; 53],
}

/// `struct VADriverVTableVPP`.
#[repr(C)]
pub struct VTableVpp {
    pub version: c_uint,
    pub query_filters: function!(Id, *mut i32, *mut c_uint),
    pub query_filter_caps: function!(Id, i32, *mut c_void, *mut c_uint),
    pub query_pipeline_caps: function!(Id, *mut Id, c_uint, *mut va::ProcPipelineCaps),
    pub reserved: [c_ulong; 16],
}

/// `struct VADriverContext`.
#[repr(C)]
pub struct DriverContext {
    pub driver_data: *mut c_void,
    pub vtable: *mut VTable,
    pub vtable_glx: *mut c_void,
    pub vtable_egl: *mut c_void,
    pub vtable_tpi: *mut c_void,
    pub native_dpy: *mut c_void,
    pub x11_screen: c_int,
    pub version_major: c_int,
    pub version_minor: c_int,
    pub max_profiles: c_int,
    pub max_entrypoints: c_int,
    pub max_attributes: c_int,
    pub max_image_formats: c_int,
    pub max_subpic_formats: c_int,
    pub max_display_attributes: c_int,
    pub str_vendor: *const c_char,
    pub handle: *mut c_void,
    pub drm_state: *mut c_void,
    pub glx: *mut c_void,
    pub display_type: c_ulong,
    pub vtable_wayland: *mut c_void,
    pub vtable_vpp: *mut VTableVpp,
    pub override_driver_name: *mut c_char,
    pub display_context: *mut c_void,
    pub error_callback: *const c_void,
    pub info_callback: *const c_void,
    pub vtable_prot: *mut c_void,
    pub reserved: [c_ulong; 37],
}
