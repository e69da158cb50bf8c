//! A display, its functions called with values that Rust has checked.
//!
//! Safe to call with any numbers: libva and its drivers look numbers up in tables. What they are told
//! by pointers lives through the call and is as long as is said; what they answer by counts is bounded
//! before it is believed.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::functions::{Functions, Handle, functions};
use super::plain::{Plain, zeroed};
use crate::abi::{
    self, CodedBufferSegment, ConfigAttrib, GenericValue, Id, PrimeSurfaceDescriptor,
    ProcPipelineCaps, SurfaceAttrib, buffer, status, surface_attrib,
};
use crate::library::{Error, Exported, PATIENCE};

/// Lists longer than this are no answers that a driver gives.
const MAX_LISTED: usize = 4096;
/// Parts in which a driver may hand a coded picture out.
const MAX_SEGMENTS: usize = 1024;
/// Attributes of surfaces that are read.
const MAX_SURFACE_ATTRIBUTES: usize = 128;

/// Surfaces that are let go before any is destroyed: those of some videos.
const DEFERRED: usize = 64;

/// A display.
pub(crate) struct Raw {
    functions: &'static Functions,
    handle: Handle,
    version: (i32, i32),
    /// It did not answer in time, and is asked nothing any more: every call could be the one that
    /// never ends. What it holds goes with the process.
    is_lost: AtomicBool,
    /// Surfaces that were let go and are destroyed by whoever may wait for the driver, where that is
    /// not everybody.
    deferred: OnceLock<Mutex<Vec<Id>>>,
    // libva uses the node until the display is terminated.
    _node: OwnedFd,
}

// SAFETY: a display is a handle of libva's, and belongs to no thread.
unsafe impl Send for Raw {}
// SAFETY: drivers guard their tables by locks of their own, which browsers and FFmpeg rely on; and
// what the methods fill in is theirs alone.
unsafe impl Sync for Raw {}

/// Calls a function of libva; its arguments have C's types.
macro_rules! call {
    ($self:expr, $name:ident($($value:expr),*)) => {
        match $self.is_lost.load(Ordering::Relaxed) {
            true => Err(Error::Lost),
            false => {
                // SAFETY: the function has this type; pointers are to values of ours that live through
                // the call and have as many elements as the argument beside them says.
                let status = unsafe { ($self.functions.$name)($self.handle $(, $value)*) };
                answer(stringify!($name), status)
            }
        }
    };
}

fn answer(call: &'static str, status: abi::Status) -> Result<(), Error> {
    match status {
        status::SUCCESS => Ok(()),
        status => Err(Error::Call { call, status }),
    }
}

/// As many elements as were counted, if there was room for that many.
fn listed(call: &'static str, counted: c_int, room: usize) -> Result<usize, Error> {
    match usize::try_from(counted) {
        Ok(count) if count <= room => Ok(count),
        _ => Err(Error::Lies {
            call,
            found: counted.into(),
            room,
        }),
    }
}

impl Raw {
    /// The display of a node, initialised.
    pub fn open(node: OwnedFd) -> Result<Self, Error> {
        let functions = functions()?;
        // SAFETY: the function takes a number; the node stays open as long as the display.
        let handle = unsafe { (functions.vaGetDisplayDRM)(node.as_raw_fd()) };
        if handle.is_null() {
            return Err(Error::NoDisplay);
        }
        let mut raw = Self {
            functions,
            handle,
            version: (0, 0),
            is_lost: AtomicBool::new(false),
            deferred: OnceLock::new(),
            _node: node,
        };
        // libva would greet on standard error; what it complains of is still said there.
        // SAFETY: the display is one, and no function is set.
        unsafe { (functions.vaSetInfoCallback)(handle, None, std::ptr::null_mut()) };
        let (major, minor) = (&raw mut raw.version.0, &raw mut raw.version.1);
        // A display that could not be initialised is terminated as well: libva frees it then.
        call!(raw, vaInitialize(major, minor))?;
        Ok(raw)
    }

    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    pub fn vendor(&self) -> String {
        // SAFETY: the display is one; the answer is null or a string that lives as long.
        let vendor = unsafe {
            let vendor = (self.functions.vaQueryVendorString)(self.handle);
            (!vendor.is_null()).then(|| CStr::from_ptr(vendor))
        };
        let vendor = vendor.map(|vendor| vendor.to_string_lossy().into_owned());
        vendor.unwrap_or_default()
    }

    pub fn profiles(&self) -> Result<Vec<i32>, Error> {
        // SAFETY: the function takes a display.
        let room = unsafe { (self.functions.vaMaxNumProfiles)(self.handle) };
        let mut list = vec![0; listed("vaMaxNumProfiles", room, MAX_LISTED)?];
        let mut count = 0;
        call!(
            self,
            vaQueryConfigProfiles(list.as_mut_ptr(), &raw mut count)
        )?;
        list.truncate(listed("vaQueryConfigProfiles", count, list.len())?);
        Ok(list)
    }

    pub fn entrypoints(&self, profile: i32) -> Result<Vec<i32>, Error> {
        // SAFETY: the function takes a display.
        let room = unsafe { (self.functions.vaMaxNumEntrypoints)(self.handle) };
        let mut list = vec![0; listed("vaMaxNumEntrypoints", room, MAX_LISTED)?];
        let mut count = 0;
        call!(
            self,
            vaQueryConfigEntrypoints(profile, list.as_mut_ptr(), &raw mut count)
        )?;
        list.truncate(listed("vaQueryConfigEntrypoints", count, list.len())?);
        Ok(list)
    }

    pub fn attributes(
        &self,
        profile: i32,
        entrypoint: i32,
        attributes: &mut [ConfigAttrib],
    ) -> Result<(), Error> {
        let count = attributes.len() as c_int;
        call!(
            self,
            vaGetConfigAttributes(profile, entrypoint, attributes.as_mut_ptr(), count)
        )
    }

    pub fn create_config(
        &self,
        profile: i32,
        entrypoint: i32,
        attributes: &mut [ConfigAttrib],
    ) -> Result<Id, Error> {
        let mut id = abi::INVALID_ID;
        let count = attributes.len() as c_int;
        call!(
            self,
            vaCreateConfig(
                profile,
                entrypoint,
                attributes.as_mut_ptr(),
                count,
                &raw mut id
            )
        )?;
        Ok(id)
    }

    pub fn destroy_config(&self, id: Id) -> Result<(), Error> {
        call!(self, vaDestroyConfig(id))
    }

    pub fn surface_attributes(&self, config: Id) -> Result<Vec<SurfaceAttrib>, Error> {
        let mut list: Vec<SurfaceAttrib> = vec![zeroed(); MAX_SURFACE_ATTRIBUTES];
        let mut count = MAX_SURFACE_ATTRIBUTES as c_uint;
        call!(
            self,
            vaQuerySurfaceAttributes(config, list.as_mut_ptr(), &raw mut count)
        )?;
        let count = c_int::try_from(count).unwrap_or(-1);
        list.truncate(listed("vaQuerySurfaceAttributes", count, list.len())?);
        Ok(list)
    }

    /// Makes a surface, in memory of the driver's or in that which a descriptor is of.
    pub fn create_surface(
        &self,
        rt_format: u32,
        (width, height): (u32, u32),
        fourcc: u32,
        import: Option<&PrimeSurfaceDescriptor>,
    ) -> Result<Id, Error> {
        // Drivers get a copy, so that none can write into what is shared.
        let mut descriptor = import.copied().unwrap_or_else(zeroed);
        let attribute = |kind, value_kind, value| SurfaceAttrib {
            kind,
            flags: surface_attrib::SETTABLE,
            value: GenericValue {
                kind: value_kind,
                value,
            },
        };
        let number = |kind, value: u32| attribute(kind, surface_attrib::TYPE_INTEGER, value.into());
        let pointer = (&raw mut descriptor).expose_provenance() as u64;
        let mut attributes = [
            number(surface_attrib::PIXEL_FORMAT, fourcc),
            number(surface_attrib::MEMORY_TYPE, abi::MEM_TYPE_DRM_PRIME_2),
            attribute(
                surface_attrib::EXTERNAL_BUFFER_DESCRIPTOR,
                surface_attrib::TYPE_POINTER,
                pointer,
            ),
        ];
        let count = if import.is_some() { 3 } else { 1 };
        let mut id = abi::INVALID_ID;
        call!(
            self,
            vaCreateSurfaces(
                rt_format,
                width,
                height,
                &raw mut id,
                1,
                attributes.as_mut_ptr(),
                count
            )
        )?;
        Ok(id)
    }

    pub fn destroy_surface(&self, id: Id) -> Result<(), Error> {
        let mut id = id;
        call!(self, vaDestroySurfaces(&raw mut id, 1))
    }

    /// From now on [`let_go`](Self::let_go) destroys nothing.
    pub fn defer(&self) {
        let _ = self.deferred.set(Mutex::new(Vec::with_capacity(DEFERRED)));
    }

    /// Destroys a surface, or has it destroyed by [`sweep`](Self::sweep).
    pub fn let_go(&self, id: Id) {
        match self.deferred.get() {
            Some(deferred) => lock(deferred).push(id),
            None => self.bury(id),
        }
    }

    /// Destroys the surfaces that were let go.
    pub fn sweep(&self) {
        // Not while others let go of some: a driver may hang.
        while let Some(id) = self.deferred.get().and_then(|all| lock(all).pop()) {
            self.bury(id);
        }
    }

    fn bury(&self, id: Id) {
        if self.destroy_surface(id).is_err() {
            let _ = self.sync_surface_within(id, PATIENCE);
            let _ = self.destroy_surface(id);
        }
    }

    pub fn export(&self, surface: Id, flags: u32) -> Result<Exported, Error> {
        let mut descriptor: PrimeSurfaceDescriptor = zeroed();
        let pointer = (&raw mut descriptor).cast::<c_void>();
        call!(
            self,
            vaExportSurfaceHandle(surface, abi::MEM_TYPE_DRM_PRIME_2, flags, pointer)
        )?;
        let count = descriptor.num_objects as c_int;
        let count = listed("vaExportSurfaceHandle", count, descriptor.objects.len())?;
        let objects = descriptor.objects[..count].iter();
        let fds = objects.filter(|object| object.fd >= 0).map(|object| {
            // SAFETY: the driver has given the descriptors away.
            unsafe { OwnedFd::from_raw_fd(object.fd) }
        });
        let fds = fds.collect();
        Ok(Exported { descriptor, fds })
    }

    pub fn create_context(
        &self,
        config: Id,
        (width, height): (u32, u32),
        targets: &mut [Id],
    ) -> Result<Id, Error> {
        // VA_PROGRESSIVE.
        let flag = 1;
        let mut id = abi::INVALID_ID;
        let count = targets.len() as c_int;
        call!(
            self,
            vaCreateContext(
                config,
                width as c_int,
                height as c_int,
                flag,
                targets.as_mut_ptr(),
                count,
                &raw mut id
            )
        )?;
        Ok(id)
    }

    pub fn destroy_context(&self, id: Id) -> Result<(), Error> {
        call!(self, vaDestroyContext(id))
    }

    /// A buffer that holds a structure.
    pub fn create_buffer<T: Plain>(&self, context: Id, kind: i32, value: &T) -> Result<Id, Error> {
        let mut id = abi::INVALID_ID;
        // va.h has the data as mutable; it is copied while the call lasts.
        let data = std::ptr::from_ref(value).cast_mut().cast::<c_void>();
        call!(
            self,
            vaCreateBuffer(
                context,
                kind,
                size_of::<T>() as c_uint,
                1,
                data,
                &raw mut id
            )
        )?;
        Ok(id)
    }

    /// A buffer that holds bytes.
    pub fn create_buffer_of(&self, context: Id, kind: i32, bytes: &[u8]) -> Result<Id, Error> {
        let mut id = abi::INVALID_ID;
        let data = bytes.as_ptr().cast_mut().cast::<c_void>();
        let length = bytes.len() as c_uint;
        call!(
            self,
            vaCreateBuffer(context, kind, length, 1, data, &raw mut id)
        )?;
        Ok(id)
    }

    /// A buffer with room for a coded picture.
    pub fn create_coded(&self, context: Id, room: u32) -> Result<Id, Error> {
        let mut id = abi::INVALID_ID;
        let none = std::ptr::null_mut();
        call!(
            self,
            vaCreateBuffer(context, buffer::ENC_CODED, room, 1, none, &raw mut id)
        )?;
        Ok(id)
    }

    pub fn destroy_buffer(&self, id: Id) -> Result<(), Error> {
        call!(self, vaDestroyBuffer(id))
    }

    pub fn begin(&self, context: Id, target: Id) -> Result<(), Error> {
        call!(self, vaBeginPicture(context, target))
    }

    pub fn render(&self, context: Id, buffers: &mut [Id]) -> Result<(), Error> {
        let count = buffers.len() as c_int;
        call!(self, vaRenderPicture(context, buffers.as_mut_ptr(), count))
    }

    pub fn end(&self, context: Id) -> Result<(), Error> {
        call!(self, vaEndPicture(context))
    }

    pub fn sync_surface(&self, id: Id) -> Result<(), Error> {
        call!(self, vaSyncSurface(id))
    }

    /// Waits until nothing works on a surface, or for so long: then the display is lost. Nothing where
    /// libva or its driver knows no such limit.
    pub fn sync_surface_within(&self, id: Id, limit: Duration) -> Option<Result<(), Error>> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Some(Err(Error::Lost));
        }
        let function = self.functions.vaSyncSurface2?;
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: the function has this type, and takes numbers.
        let status = unsafe { function(self.handle, id, limit_ns) };
        match status {
            status::UNIMPLEMENTED => None,
            status::TIMEDOUT => Some(Err(self.lose())),
            status => Some(answer("vaSyncSurface2", status)),
        }
    }

    /// The driver has taken too long: nothing is asked of it any more.
    pub fn lose(&self) -> Error {
        self.is_lost.store(true, Ordering::Relaxed);
        Error::Lost
    }

    /// Whether it has.
    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Waits for a buffer to be written; nothing where this libva waits for surfaces only.
    pub fn sync_buffer(&self, id: Id) -> Option<Result<(), Error>> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Some(Err(Error::Lost));
        }
        let function = self.functions.vaSyncBuffer?;
        // SAFETY: the function has this type, and takes numbers.
        let status = unsafe { function(self.handle, id, u64::MAX) };
        Some(answer("vaSyncBuffer", status))
    }

    /// Maps a coded buffer with room for so many bytes. `'a` outlives neither display nor buffer.
    pub fn map_coded<'a>(&'a self, id: Id, room: usize) -> Result<Mapped<'a>, Error> {
        Ok(Mapped {
            raw: self,
            id,
            at: self.map(id)?.cast_const().cast(),
            room,
            is_mapped: true,
            segments: PhantomData,
        })
    }

    /// An image with memory of its own, in which rows lie one after the other.
    pub fn create_image(
        &self,
        fourcc: u32,
        bits_per_pixel: u32,
        (width, height): (u32, u32),
    ) -> Result<abi::Image, Error> {
        let mut format: abi::ImageFormat = zeroed();
        format.fourcc = fourcc;
        // VA_LSB_FIRST.
        format.byte_order = 1;
        format.bits_per_pixel = bits_per_pixel;
        let mut image: abi::Image = zeroed();
        call!(
            self,
            vaCreateImage(
                &raw mut format,
                width as c_int,
                height as c_int,
                &raw mut image
            )
        )?;
        Ok(image)
    }

    pub fn destroy_image(&self, id: Id) -> Result<(), Error> {
        call!(self, vaDestroyImage(id))
    }

    /// Copies the top left of a surface into an image.
    pub fn get_image(
        &self,
        surface: Id,
        (width, height): (u32, u32),
        image: Id,
    ) -> Result<(), Error> {
        call!(self, vaGetImage(surface, 0, 0, width, height, image))
    }

    /// Maps a buffer; null where the driver has nowhere.
    pub fn map(&self, id: Id) -> Result<*mut c_void, Error> {
        let mut at = std::ptr::null_mut();
        call!(self, vaMapBuffer(id, &raw mut at))?;
        Ok(at)
    }

    /// Ends that.
    pub fn unmap(&self, id: Id) -> Result<(), Error> {
        call!(self, vaUnmapBuffer(id))
    }

    /// Colour standards that a converter reads, formats that it reads, and formats that it writes.
    pub fn conversions(&self, context: Id) -> Result<(Vec<i32>, [Vec<u32>; 2]), Error> {
        let mut caps: ProcPipelineCaps = zeroed();
        let none = std::ptr::null_mut();
        call!(
            self,
            vaQueryVideoProcPipelineCaps(context, none, 0, &raw mut caps)
        )?;
        fn list<T: Copy>(at: *const T, count: u32) -> Vec<T> {
            if at.is_null() || count as usize > MAX_LISTED {
                return Vec::new();
            }
            // SAFETY: the driver points at lists of its own, which have that many elements and stay.
            unsafe { std::slice::from_raw_parts(at, count as usize) }.to_vec()
        }
        Ok((
            list(caps.input_color_standards, caps.num_input_color_standards),
            [
                list(caps.input_pixel_format, caps.num_input_pixel_formats),
                list(caps.output_pixel_format, caps.num_output_pixel_formats),
            ],
        ))
    }
}

fn lock(deferred: &Mutex<Vec<Id>>) -> MutexGuard<'_, Vec<Id>> {
    deferred.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.sweep();
        if call!(self, vaTerminate()).is_err() {
            // libva frees its part only where the driver ended well; by now the driver is gone.
            let _ = call!(self, vaTerminate());
        }
    }
}

/// A coded buffer while it is mapped.
pub(crate) struct Mapped<'a> {
    raw: &'a Raw,
    id: Id,
    at: *const CodedBufferSegment,
    room: usize,
    is_mapped: bool,
    segments: PhantomData<&'a [u8]>,
}

impl Mapped<'_> {
    /// Gives the bytes of each part and its status to `take`, in their order.
    pub fn segments(&self, mut take: impl FnMut(&[u8], u32)) -> Result<(), Error> {
        let lies = |found: usize, room| Error::Lies {
            call: "vaMapBuffer",
            found: found as i64,
            room,
        };
        let (mut at, mut total) = (self.at, 0);
        for _ in 0..MAX_SEGMENTS {
            if at.is_null() {
                return Ok(());
            }
            // SAFETY: the driver keeps a list of segments while the buffer is mapped, which it is
            // as long as `self` lives.
            let segment = unsafe { at.read() };
            total += segment.size as usize;
            if total > self.room || segment.buf.is_null() && segment.size > 0 {
                return Err(lies(total, self.room));
            }
            let bytes = match segment.size {
                0 => &[][..],
                // SAFETY: that many bytes lie there, and not more than the buffer has room for.
                size => unsafe {
                    std::slice::from_raw_parts(segment.buf.cast::<u8>(), size as usize)
                },
            };
            take(bytes, segment.status);
            at = segment.next.cast_const().cast();
        }
        Err(lies(MAX_SEGMENTS, MAX_SEGMENTS))
    }

    /// Unmaps the buffer and says how that went.
    pub fn unmap(mut self) -> Result<(), Error> {
        let done = self.raw.unmap(self.id);
        self.is_mapped = done.is_err();
        done
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        if self.is_mapped {
            // A buffer that stays mapped cannot be destroyed either; there is nobody to tell.
            let _ = self.raw.unmap(self.id);
        }
    }
}
