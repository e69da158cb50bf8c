//! libva's functions, found by their names when a display is first wanted.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use libloading::Library;

use crate::abi::{ConfigAttrib, Id, Image, ImageFormat, ProcPipelineCaps, Status, SurfaceAttrib};
use crate::library::Error;

/// `VADisplay`.
pub(super) type Handle = *mut c_void;
type InfoCallback = Option<unsafe extern "C" fn(*mut c_void, *const c_char)>;

/// Fields that are functions of a display with C's names; those behind `may` can be missing.
macro_rules! functions {
    (
        must { $($name:ident($($kind:ty),*);)* }
        may { $($late:ident($($late_kind:ty),*);)* }
    ) => {
        /// Functions whose first argument is a display and whose result is a status.
        #[allow(non_snake_case, reason = "the names are C's, and errors say them")]
        pub(super) struct Functions {
            $(pub $name: unsafe extern "C" fn(Handle $(, $kind)*) -> Status,)*
            $(pub $late: Option<unsafe extern "C" fn(Handle $(, $late_kind)*) -> Status>,)*
            pub vaGetDisplayDRM: unsafe extern "C" fn(c_int) -> Handle,
            pub vaQueryVendorString: unsafe extern "C" fn(Handle) -> *const c_char,
            pub vaMaxNumProfiles: unsafe extern "C" fn(Handle) -> c_int,
            pub vaMaxNumEntrypoints: unsafe extern "C" fn(Handle) -> c_int,
            pub vaSetInfoCallback: unsafe extern "C" fn(Handle, InfoCallback, *mut c_void) -> InfoCallback,
            // What the functions are in is never unloaded: drivers keep threads and handlers.
            _libraries: (Library, Library),
        }

        impl Functions {
            fn find(libva: Library, drm: Library) -> Result<Self, Error> {
                Ok(Self {
                    $($name: find(&libva, stringify!($name))?,)*
                    $($late: find(&libva, stringify!($late)).ok(),)*
                    vaGetDisplayDRM: find(&drm, "vaGetDisplayDRM")?,
                    vaQueryVendorString: find(&libva, "vaQueryVendorString")?,
                    vaMaxNumProfiles: find(&libva, "vaMaxNumProfiles")?,
                    vaMaxNumEntrypoints: find(&libva, "vaMaxNumEntrypoints")?,
                    vaSetInfoCallback: find(&libva, "vaSetInfoCallback")?,
                    _libraries: (libva, drm),
                })
            }
        }
    };
}

functions! {
    must {
        vaInitialize(*mut c_int, *mut c_int);
        vaTerminate();
        vaQueryConfigProfiles(*mut i32, *mut c_int);
        vaQueryConfigEntrypoints(i32, *mut i32, *mut c_int);
        vaGetConfigAttributes(i32, i32, *mut ConfigAttrib, c_int);
        vaCreateConfig(i32, i32, *mut ConfigAttrib, c_int, *mut Id);
        vaDestroyConfig(Id);
        vaQuerySurfaceAttributes(Id, *mut SurfaceAttrib, *mut c_uint);
        vaCreateSurfaces(c_uint, c_uint, c_uint, *mut Id, c_uint, *mut SurfaceAttrib, c_uint);
        vaDestroySurfaces(*mut Id, c_int);
        vaExportSurfaceHandle(Id, u32, u32, *mut c_void);
        vaCreateContext(Id, c_int, c_int, c_int, *mut Id, c_int, *mut Id);
        vaDestroyContext(Id);
        vaCreateBuffer(Id, c_int, c_uint, c_uint, *mut c_void, *mut Id);
        vaDestroyBuffer(Id);
        vaMapBuffer(Id, *mut *mut c_void);
        vaUnmapBuffer(Id);
        vaBeginPicture(Id, Id);
        vaRenderPicture(Id, *mut Id, c_int);
        vaEndPicture(Id);
        vaSyncSurface(Id);
        vaCreateImage(*mut ImageFormat, c_int, c_int, *mut Image);
        vaDestroyImage(Id);
        vaGetImage(Id, c_int, c_int, c_uint, c_uint, Id);
        vaQueryVideoProcPipelineCaps(Id, *mut Id, c_uint, *mut ProcPipelineCaps);
    }
    may {
        vaSyncBuffer(Id, u64);
        vaSyncSurface2(Id, u64);
    }
}

fn find<T: Copy>(library: &Library, name: &'static str) -> Result<T, Error> {
    // SAFETY: the fields of `Functions` have the types that va.h and va_drm.h declare, and the
    // library stays loaded as long as they are there.
    let symbol = unsafe { library.get::<T>(name.as_bytes()) };
    symbol.map(|symbol| *symbol).map_err(|_| Error::Lacks(name))
}

/// The functions of this process's libva.
pub(super) fn functions() -> Result<&'static Functions, Error> {
    static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
    if let Some(functions) = FUNCTIONS.get() {
        return Ok(functions);
    }
    let open = |name: &str| {
        // SAFETY: what libva does when it is loaded is to set up its own state.
        unsafe { Library::new(name) }.map_err(Error::Missing)
    };
    let found = Functions::find(open("libva.so.2")?, open("libva-drm.so.2")?)?;
    // Where another thread was faster, its functions are the same.
    Ok(FUNCTIONS.get_or_init(|| found))
}
