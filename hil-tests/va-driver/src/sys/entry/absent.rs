//! Entry points that libva wants and this driver does not have, or of which it has nothing to show.

use std::ffi::{c_int, c_short, c_uint, c_ushort, c_void};

use super::{enter, put};
use crate::refusal::refuse;
use crate::sys::backend::ContextPointer;
use crate::va::{self, Id, Status, status};

/// Entry points that libva wants and this driver does not have.
fn unimplemented(context: ContextPointer, name: &'static str) -> Status {
    enter(context, name, |_| {
        refuse(status::UNIMPLEMENTED, "it is not offered")
    })
}

macro_rules! unimplemented {
    ($($function:ident $name:literal ($($argument:ty),*);)*) => {
        $(
            pub(super) unsafe extern "C" fn $function(context: ContextPointer $(, _: $argument)*) -> Status {
                unimplemented(context, $name)
            }
        )*
    };
}

unimplemented! {
    query_surface_error "vaQuerySurfaceError" (Id, Status, *mut *mut c_void);
    put_surface "vaPutSurface" (
        Id, *mut c_void, c_short, c_short, c_ushort, c_ushort, c_short, c_short, c_ushort,
        c_ushort, *mut va::Rectangle, c_uint, c_uint
    );
    set_image_palette "vaSetImagePalette" (Id, *mut u8);
    create_subpicture "vaCreateSubpicture" (Id, *mut Id);
    destroy_subpicture "vaDestroySubpicture" (Id);
    set_subpicture_image "vaSetSubpictureImage" (Id, Id);
    set_subpicture_chromakey "vaSetSubpictureChromakey" (Id, c_uint, c_uint, c_uint);
    set_subpicture_global_alpha "vaSetSubpictureGlobalAlpha" (Id, f32);
    associate_subpicture "vaAssociateSubpicture" (
        Id, *mut Id, c_int, c_short, c_short, c_ushort, c_ushort, c_short, c_short, c_ushort,
        c_ushort, c_uint
    );
    deassociate_subpicture "vaDeassociateSubpicture" (Id, *mut Id, c_int);
    get_display_attributes "vaGetDisplayAttributes" (*mut c_void, c_int);
    set_display_attributes "vaSetDisplayAttributes" (*mut c_void, c_int);
    query_filter_caps "vaQueryVideoProcFilterCaps" (Id, i32, *mut c_void, *mut c_uint);
}

pub(super) unsafe extern "C" fn query_subpicture_formats(
    context: ContextPointer,
    _formats: *mut va::ImageFormat,
    _flags: *mut c_uint,
    count: *mut c_uint,
) -> Status {
    enter(context, "vaQuerySubpictureFormats", |_| {
        // SAFETY: see the head of the module above.
        unsafe { put(count, 0) }
    })
}

pub(super) unsafe extern "C" fn query_display_attributes(
    context: ContextPointer,
    _attributes: *mut c_void,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryDisplayAttributes", |_| {
        // SAFETY: see the head of the module above.
        unsafe { put(count, 0) }
    })
}
