//! libva for tests: its C functions by name, with values instead of pointers.

use std::ffi::{c_int, c_uint, c_void};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use heliostat_drv_video::sys::plain::{Plain, to_bytes, zeroed};
use heliostat_drv_video::va::{self, Id, Status, status};

/// What libva answers.
pub type Answer<T = ()> = Result<T, Status>;

/// An initialised display.
pub struct Va {
    libraries: (libloading::Library, libloading::Library),
    display: *mut c_void,
    // The node stays open as long as the display.
    _node: File,
}

/// Calls a function of libva by its name in C; its arguments have C's types.
macro_rules! call {
    ($self:ident, $name:literal ( $($value:expr => $kind:ty),* )) => {{
        type Function = unsafe extern "C" fn(*mut c_void $(, $kind)*) -> Status;
        // SAFETY: va.h declares the function with this type; pointers are to values that live
        // through the call and have as many elements as is said beside them.
        let status = unsafe {
            let function = $self.libraries.0.get::<Function>($name.as_bytes()).unwrap();
            function($self.display $(, $value)*)
        };
        match status {
            status::SUCCESS => Ok(()),
            status => Err(status),
        }
    }};
}

impl Va {
    /// libva and its part for DRM.
    pub fn load() -> Result<(libloading::Library, libloading::Library), libloading::Error> {
        // SAFETY: libva's initialisers do nothing that a test could mind.
        unsafe {
            Ok((
                libloading::Library::new("libva.so.2")?,
                libloading::Library::new("libva-drm.so.2")?,
            ))
        }
    }

    /// The display of a node, initialised.
    pub fn open(node: &Path) -> Answer<Self> {
        let libraries = Self::load().unwrap();
        let node = File::options().read(true).write(true).open(node).unwrap();
        type GetDisplay = unsafe extern "C" fn(c_int) -> *mut c_void;
        // SAFETY: the function has this type, and the node stays open.
        let display = unsafe {
            let get = libraries.1.get::<GetDisplay>(b"vaGetDisplayDRM").unwrap();
            get(node.as_raw_fd())
        };
        assert!(!display.is_null(), "libva takes the node for no display");
        let va = Self {
            libraries,
            display,
            _node: node,
        };
        let (mut major, mut minor) = (0, 0);
        call!(va, "vaInitialize"(&raw mut major => *mut c_int, &raw mut minor => *mut c_int))?;
        Ok(va)
    }

    pub fn terminate(self) -> Answer {
        call!(self, "vaTerminate"())
    }

    pub fn query_profiles(&self) -> Answer<Vec<i32>> {
        let (mut list, mut count) = ([0; 16], 0);
        call!(self, "vaQueryConfigProfiles"(list.as_mut_ptr() => *mut i32, &raw mut count => *mut c_int))?;
        Ok(list[..count as usize].to_vec())
    }

    pub fn query_entrypoints(&self, profile: i32) -> Answer<Vec<i32>> {
        let (mut list, mut count) = ([0; 16], 0);
        call!(self, "vaQueryConfigEntrypoints"(
            profile => i32, list.as_mut_ptr() => *mut i32, &raw mut count => *mut c_int
        ))?;
        Ok(list[..count as usize].to_vec())
    }

    pub fn get_attribute(&self, profile: i32, entrypoint: i32, kind: i32) -> Answer<u32> {
        let mut attribute = va::ConfigAttrib { kind, value: 0 };
        call!(self, "vaGetConfigAttributes"(
            profile => i32, entrypoint => i32, &raw mut attribute => *mut va::ConfigAttrib, 1 => c_int
        ))?;
        Ok(attribute.value)
    }

    pub fn create_config(&self, profile: i32, entrypoint: i32, with: &[(i32, u32)]) -> Answer<Id> {
        let mut list: Vec<_> = with
            .iter()
            .map(|&(kind, value)| va::ConfigAttrib { kind, value })
            .collect();
        let mut id = 0;
        call!(self, "vaCreateConfig"(
            profile => i32, entrypoint => i32, list.as_mut_ptr() => *mut va::ConfigAttrib,
            list.len() as c_int => c_int, &raw mut id => *mut Id
        ))?;
        Ok(id)
    }

    pub fn query_config(&self, id: Id) -> Answer<(i32, i32)> {
        let (mut profile, mut entrypoint, mut count) = (0, 0, 0);
        let mut list = [va::ConfigAttrib { kind: 0, value: 0 }; 64];
        call!(self, "vaQueryConfigAttributes"(
            id => Id, &raw mut profile => *mut i32, &raw mut entrypoint => *mut i32,
            list.as_mut_ptr() => *mut va::ConfigAttrib, &raw mut count => *mut c_int
        ))?;
        Ok((profile, entrypoint))
    }

    pub fn destroy_config(&self, id: Id) -> Answer {
        call!(self, "vaDestroyConfig"(id => Id))
    }

    pub fn query_surface_attributes(&self, config: Id) -> Answer<usize> {
        let mut list: [va::SurfaceAttrib; 32] = [zeroed(); 32];
        let mut count = 32;
        call!(self, "vaQuerySurfaceAttributes"(
            config => Id, list.as_mut_ptr() => *mut va::SurfaceAttrib, &raw mut count => *mut c_uint
        ))?;
        Ok(count as usize)
    }

    pub fn create_surfaces(
        &self,
        rt_format: u32,
        size: (u32, u32),
        count: usize,
        attributes: &[va::SurfaceAttrib],
    ) -> Answer<Vec<Id>> {
        let mut ids = vec![0; count];
        let mut attributes = attributes.to_vec();
        call!(self, "vaCreateSurfaces"(
            rt_format => c_uint, size.0 => c_uint, size.1 => c_uint, ids.as_mut_ptr() => *mut Id,
            count as c_uint => c_uint, attributes.as_mut_ptr() => *mut va::SurfaceAttrib,
            attributes.len() as c_uint => c_uint
        ))?;
        Ok(ids)
    }

    pub fn import(&self, rt_format: u32, descriptor: va::PrimeSurfaceDescriptor) -> Answer<Id> {
        let mut descriptor = descriptor;
        let attributes = [
            integer(va::surface_attrib::MEMORY_TYPE, va::MEM_TYPE_DRM_PRIME_2),
            integer(va::surface_attrib::PIXEL_FORMAT, descriptor.fourcc),
            va::SurfaceAttrib {
                kind: va::surface_attrib::EXTERNAL_BUFFER_DESCRIPTOR,
                flags: va::surface_attrib::SETTABLE,
                value: va::GenericValue {
                    kind: va::surface_attrib::TYPE_POINTER,
                    value: (&raw mut descriptor).expose_provenance() as u64,
                },
            },
        ];
        let size = (descriptor.width, descriptor.height);
        Ok(self.create_surfaces(rt_format, size, 1, &attributes)?[0])
    }

    pub fn destroy_surfaces(&self, ids: &[Id]) -> Answer {
        let mut ids = ids.to_vec();
        call!(self, "vaDestroySurfaces"(ids.as_mut_ptr() => *mut Id, ids.len() as c_int => c_int))
    }

    pub fn create_context(&self, config: Id, size: (i32, i32), targets: &[Id]) -> Answer<Id> {
        let mut targets = targets.to_vec();
        let mut id = 0;
        call!(self, "vaCreateContext"(
            config => Id, size.0 => c_int, size.1 => c_int, 1 => c_int,
            targets.as_mut_ptr() => *mut Id, targets.len() as c_int => c_int, &raw mut id => *mut Id
        ))?;
        Ok(id)
    }

    pub fn destroy_context(&self, id: Id) -> Answer {
        call!(self, "vaDestroyContext"(id => Id))
    }

    /// A buffer of elements, or of room for a number of bytes.
    pub fn create_buffer_of(
        &self,
        context: Id,
        kind: i32,
        element: usize,
        data: &[u8],
    ) -> Answer<Id> {
        let mut id = 0;
        let mut data = data.to_vec();
        let count = data.len() / element;
        call!(self, "vaCreateBuffer"(
            context => Id, kind => i32, element as c_uint => c_uint, count as c_uint => c_uint,
            data.as_mut_ptr().cast() => *mut c_void, &raw mut id => *mut Id
        ))?;
        Ok(id)
    }

    pub fn create_buffer<T: Plain>(&self, context: Id, kind: i32, value: &T) -> Answer<Id> {
        self.create_buffer_of(context, kind, size_of::<T>(), &to_bytes(value))
    }

    pub fn set_elements(&self, id: Id, count: u32) -> Answer {
        call!(self, "vaBufferSetNumElements"(id => Id, count => c_uint))
    }

    /// Bytes of a mapped coded buffer, all its segments.
    pub fn read_coded(&self, id: Id) -> Answer<(Vec<u8>, u32)> {
        let mut at = self.map(id)?.cast::<va::CodedBufferSegment>();
        let (mut bytes, mut status) = (Vec::new(), 0);
        while !at.is_null() {
            // SAFETY: the driver promises a list of segments with that many bytes each.
            unsafe {
                let segment = at.read();
                let data = segment.buf.cast::<u8>();
                bytes.extend_from_slice(std::slice::from_raw_parts(data, segment.size as usize));
                status |= segment.status;
                at = segment.next.cast();
            }
        }
        self.unmap(id)?;
        Ok((bytes, status))
    }

    pub fn map(&self, id: Id) -> Answer<*mut c_void> {
        let mut pointer = std::ptr::null_mut();
        call!(self, "vaMapBuffer"(id => Id, &raw mut pointer => *mut *mut c_void))?;
        Ok(pointer)
    }

    pub fn unmap(&self, id: Id) -> Answer {
        call!(self, "vaUnmapBuffer"(id => Id))
    }

    /// Lets `change` at the bytes of an image.
    pub fn with_image(&self, image: &va::Image, change: impl FnOnce(&mut [u8])) -> Answer {
        let pointer = self.map(image.buf)?.cast::<u8>();
        // SAFETY: the image has that many bytes, mapped until they are unmapped below.
        change(unsafe { std::slice::from_raw_parts_mut(pointer, image.data_size as usize) });
        self.unmap(image.buf)
    }

    pub fn destroy_buffer(&self, id: Id) -> Answer {
        call!(self, "vaDestroyBuffer"(id => Id))
    }

    pub fn begin(&self, context: Id, target: Id) -> Answer {
        call!(self, "vaBeginPicture"(context => Id, target => Id))
    }

    pub fn render(&self, context: Id, buffers: &[Id]) -> Answer {
        let mut buffers = buffers.to_vec();
        call!(self, "vaRenderPicture"(
            context => Id, buffers.as_mut_ptr() => *mut Id, buffers.len() as c_int => c_int
        ))
    }

    pub fn end(&self, context: Id) -> Answer {
        call!(self, "vaEndPicture"(context => Id))
    }

    pub fn sync(&self, surface: Id) -> Answer {
        call!(self, "vaSyncSurface"(surface => Id))
    }

    pub fn sync2(&self, surface: Id) -> Answer {
        call!(self, "vaSyncSurface2"(surface => Id, u64::MAX => u64))
    }

    pub fn sync_buffer(&self, buffer: Id) -> Answer {
        call!(self, "vaSyncBuffer"(buffer => Id, u64::MAX => u64))
    }

    pub fn surface_status(&self, surface: Id) -> Answer<i32> {
        let mut answer = 0;
        call!(self, "vaQuerySurfaceStatus"(surface => Id, &raw mut answer => *mut i32))?;
        Ok(answer)
    }

    pub fn query_image_formats(&self) -> Answer<Vec<va::ImageFormat>> {
        let mut list: [va::ImageFormat; 16] = [zeroed(); 16];
        let mut count = 0;
        call!(self, "vaQueryImageFormats"(
            list.as_mut_ptr() => *mut va::ImageFormat, &raw mut count => *mut c_int
        ))?;
        Ok(list[..count as usize].to_vec())
    }

    pub fn create_image(&self, fourcc: u32, size: (u32, u32)) -> Answer<va::Image> {
        let mut format: va::ImageFormat = zeroed();
        format.fourcc = fourcc;
        let mut image: va::Image = zeroed();
        call!(self, "vaCreateImage"(
            &raw mut format => *mut va::ImageFormat, size.0 as c_int => c_int,
            size.1 as c_int => c_int, &raw mut image => *mut va::Image
        ))?;
        Ok(image)
    }

    pub fn derive_image(&self, surface: Id) -> Answer<va::Image> {
        let mut image: va::Image = zeroed();
        call!(self, "vaDeriveImage"(surface => Id, &raw mut image => *mut va::Image))?;
        Ok(image)
    }

    pub fn destroy_image(&self, image: &va::Image) -> Answer {
        call!(self, "vaDestroyImage"(image.image_id => Id))
    }

    pub fn get_image(&self, surface: Id, size: (u32, u32), image: &va::Image) -> Answer {
        call!(self, "vaGetImage"(
            surface => Id, 0 => c_int, 0 => c_int, size.0 => c_uint, size.1 => c_uint,
            image.image_id => Id
        ))
    }

    pub fn put_image(
        &self,
        surface: Id,
        image: &va::Image,
        from: (u32, u32),
        to: (u32, u32),
    ) -> Answer {
        call!(self, "vaPutImage"(
            surface => Id, image.image_id => Id, 0 => c_int, 0 => c_int, from.0 => c_uint,
            from.1 => c_uint, 0 => c_int, 0 => c_int, to.0 => c_uint, to.1 => c_uint
        ))
    }

    /// A descriptor whose files are the caller's.
    pub fn export(
        &self,
        surface: Id,
        flags: u32,
    ) -> Answer<(va::PrimeSurfaceDescriptor, Vec<OwnedFd>)> {
        let mut descriptor: va::PrimeSurfaceDescriptor = zeroed();
        call!(self, "vaExportSurfaceHandle"(
            surface => Id, va::MEM_TYPE_DRM_PRIME_2 => u32, flags => u32,
            (&raw mut descriptor).cast::<c_void>() => *mut c_void
        ))?;
        let objects = &descriptor.objects[..descriptor.num_objects as usize];
        // SAFETY: the driver has given the descriptors away.
        let fds = objects
            .iter()
            .map(|object| unsafe { OwnedFd::from_raw_fd(object.fd) })
            .collect();
        Ok((descriptor, fds))
    }

    pub fn query_filters(&self, context: Id) -> Answer<u32> {
        let (mut list, mut count) = ([0; 16], 16);
        call!(self, "vaQueryVideoProcFilters"(
            context => Id, list.as_mut_ptr() => *mut i32, &raw mut count => *mut c_uint
        ))?;
        Ok(count)
    }

    pub fn query_pipeline_caps(&self, context: Id) -> Answer<va::ProcPipelineCaps> {
        let mut caps: va::ProcPipelineCaps = zeroed();
        call!(self, "vaQueryVideoProcPipelineCaps"(
            context => Id, std::ptr::null_mut() => *mut Id, 0 => c_uint,
            &raw mut caps => *mut va::ProcPipelineCaps
        ))?;
        Ok(caps)
    }
}

/// A surface attribute that is a number.
pub fn integer(kind: i32, value: u32) -> va::SurfaceAttrib {
    va::SurfaceAttrib {
        kind,
        flags: va::surface_attrib::SETTABLE,
        value: va::GenericValue {
            kind: va::surface_attrib::TYPE_INTEGER,
            value: value.into(),
        },
    }
}

/// Sets a variable of this process's environment.
pub fn set_environment(name: &str, value: &str) {
    // SAFETY: tests that do so are alone in their process, and have no other thread that reads it.
    unsafe { std::env::set_var(name, value) };
}

/// A memfd of `size` bytes, sealed against shrinking or not.
pub fn memfd(size: usize, sealed: bool) -> OwnedFd {
    // SAFETY: a C string, numbers, and a descriptor that is nobody else's.
    unsafe {
        let fd = libc::memfd_create(
            c"test".as_ptr(),
            libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
        );
        assert!(fd >= 0 && libc::ftruncate(fd, size as libc::off_t) == 0);
        if sealed {
            assert_eq!(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK), 0);
        }
        OwnedFd::from_raw_fd(fd)
    }
}
