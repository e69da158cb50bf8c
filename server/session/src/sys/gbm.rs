//! libgbm, opened at run time: buffers of a device that GLES draws into and an encoder reads.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use libloading::{Library, Symbol};
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufFlags};
use smithay::backend::allocator::{Allocator, Fourcc, Modifier};
use smithay::backend::egl::ffi::egl::PLATFORM_GBM_KHR;
use smithay::backend::egl::native::{EGLNativeDisplay, EGLPlatform};

/// `GBM_BO_USE_RENDERING` and `GBM_BO_USE_LINEAR`: rows one after the other, as encoders and other
/// devices read them without being told more.
const USES: u32 = 1 << 2 | LINEAR;
/// `GBM_BO_USE_LINEAR` alone: of what nobody draws into.
const LINEAR: u32 = 1 << 4;
/// `EGL_NONE`.
const NO_MORE: i32 = 0x3038;

type CreateDevice = unsafe extern "C" fn(c_int) -> *mut c_void;
type DestroyDevice = unsafe extern "C" fn(*mut c_void);
type CreateBuffer = unsafe extern "C" fn(*mut c_void, u32, u32, u32, u32) -> *mut c_void;
type DestroyBuffer = unsafe extern "C" fn(*mut c_void);
type FdOf = unsafe extern "C" fn(*mut c_void) -> c_int;
type StrideOf = unsafe extern "C" fn(*mut c_void) -> u32;
type CreateWithModifiers =
    unsafe extern "C" fn(*mut c_void, u32, u32, u32, *const u64, u32) -> *mut c_void;
type ModifierOf = unsafe extern "C" fn(*mut c_void) -> u64;
type CountPlanes = unsafe extern "C" fn(*mut c_void) -> c_int;
type FdOfPlane = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;
type OfPlane = unsafe extern "C" fn(*mut c_void, c_int) -> u32;

/// Why there is no buffer.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct NoBuffer(anyhow::Error);

/// A device's allocator. Cheap to clone; the last one closes the device.
#[derive(Debug, Clone)]
pub struct Gbm(Arc<Mutex<Device>>);

#[derive(Debug)]
struct Device {
    raw: NonNull<c_void>,
    destroy: DestroyDevice,
    create_buffer: CreateBuffer,
    destroy_buffer: DestroyBuffer,
    fd_of: FdOf,
    stride_of: StrideOf,
    /// None where libgbm is too old for layouts.
    layouts: Option<Layouts>,
    // In this order: the device goes before its descriptor and its code.
    _node: File,
    _library: Library,
}

/// What libgbm has for layouts of the device's own.
#[derive(Debug, Clone, Copy)]
struct Layouts {
    create: CreateWithModifiers,
    modifier_of: ModifierOf,
    count_planes: CountPlanes,
    fd_of: FdOfPlane,
    stride_of: OfPlane,
    offset_of: OfPlane,
}

impl Layouts {
    fn load(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: these are the signatures of gbm.h, which libgbm.so.1 keeps.
        unsafe {
            Ok(Self {
                create: *library.get(b"gbm_bo_create_with_modifiers\0")?,
                modifier_of: *library.get(b"gbm_bo_get_modifier\0")?,
                count_planes: *library.get(b"gbm_bo_get_plane_count\0")?,
                fd_of: *library.get(b"gbm_bo_get_fd_for_plane\0")?,
                stride_of: *library.get(b"gbm_bo_get_stride_for_plane\0")?,
                offset_of: *library.get(b"gbm_bo_get_offset\0")?,
            })
        }
    }
}

// SAFETY: libgbm keeps nothing in the thread that opened a device, and whoever uses this one holds the
// lock around it.
unsafe impl Send for Device {}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the device was made by this library, which is still there, and EGL, which was given
        // it, holds a clone of what is being dropped here.
        unsafe { (self.destroy)(self.raw.as_ptr()) }
    }
}

impl Gbm {
    /// Opens a node: a render node, or a card's where buffers of the processor's are enough.
    pub fn open(node: &Path) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).open(node);
        let file = file.with_context(|| format!("open {}", node.display()))?;
        // SAFETY: libgbm's constructors have no preconditions, and any thread may run them.
        let library = unsafe { Library::new("libgbm.so.1") }.context("open libgbm")?;
        // SAFETY: these are the signatures of gbm.h, which libgbm.so.1 keeps.
        let (create, destroy, create_buffer, destroy_buffer, fd_of, stride_of) = unsafe {
            let create: Symbol<'_, CreateDevice> = library.get(b"gbm_create_device\0")?;
            let destroy: Symbol<'_, DestroyDevice> = library.get(b"gbm_device_destroy\0")?;
            let create_buffer: Symbol<'_, CreateBuffer> = library.get(b"gbm_bo_create\0")?;
            let destroy_buffer: Symbol<'_, DestroyBuffer> = library.get(b"gbm_bo_destroy\0")?;
            let fd_of: Symbol<'_, FdOf> = library.get(b"gbm_bo_get_fd\0")?;
            let stride_of: Symbol<'_, StrideOf> = library.get(b"gbm_bo_get_stride\0")?;
            (
                *create,
                *destroy,
                *create_buffer,
                *destroy_buffer,
                *fd_of,
                *stride_of,
            )
        };
        // SAFETY: the descriptor is open, and stays so for as long as the device lives.
        let raw = NonNull::new(unsafe { create(file.as_raw_fd()) });
        let raw = raw.with_context(|| format!("libgbm has no driver for {}", node.display()))?;
        Ok(Self(Arc::new(Mutex::new(Device {
            raw,
            destroy,
            create_buffer,
            destroy_buffer,
            fd_of,
            stride_of,
            layouts: Layouts::load(&library).ok(),
            _node: file,
            _library: library,
        }))))
    }

    /// A buffer in one of these layouts, of the driver's choice.
    pub fn in_layout(
        &self,
        size: (u32, u32),
        fourcc: Fourcc,
        modifiers: &[u64],
    ) -> anyhow::Result<Dmabuf> {
        let device = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        device.in_layout(size, fourcc, modifiers)
    }

    /// A linear buffer as programs make them. One of luma and chroma (`NV12`, of even sides) is made of bytes
    /// where the device has no such format: rows of luma, and half as many of chroma behind them.
    pub fn linear(&self, size: (u32, u32), fourcc: Fourcc) -> anyhow::Result<Dmabuf> {
        let device = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fourcc {
            Fourcc::Nv12 => device
                .planes(size, fourcc)
                .or_else(|_| device.planes_of_bytes(size, fourcc)),
            _ => device.buffer(size.0, size.1, fourcc),
        }
    }

    fn raw(&self) -> *mut c_void {
        let device = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        device.raw.as_ptr()
    }
}

impl Device {
    fn buffer(&self, w: u32, h: u32, fourcc: Fourcc) -> anyhow::Result<Dmabuf> {
        // SAFETY: the device lives, and the rest are numbers.
        let buffer = unsafe { (self.create_buffer)(self.raw.as_ptr(), w, h, fourcc as u32, USES) };
        let buffer = NonNull::new(buffer)
            .with_context(|| format!("the device has no linear buffer of {w}×{h} pixels"))?;
        // SAFETY: the buffer was just made.
        let (fd, stride) = unsafe {
            (
                (self.fd_of)(buffer.as_ptr()),
                (self.stride_of)(buffer.as_ptr()),
            )
        };
        // SAFETY: it is ours, and nobody uses it after this. Its memory lives on in the descriptor.
        unsafe { (self.destroy_buffer)(buffer.as_ptr()) };
        ensure!(fd >= 0, "the device does not hand out its buffers");
        // SAFETY: libgbm has opened the descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let size = (i32::try_from(w)?, i32::try_from(h)?);
        let flags = DmabufFlags::empty();
        // It was asked for linear ones, whatever the driver calls them.
        let mut builder = Dmabuf::builder(size, fourcc, Modifier::Linear, flags);
        builder.add_plane(fd, 0, 0, stride);
        builder.build().context("a buffer has a plane")
    }
}

impl Device {
    fn in_layout(
        &self,
        (w, h): (u32, u32),
        fourcc: Fourcc,
        modifiers: &[u64],
    ) -> anyhow::Result<Dmabuf> {
        let layouts = self.layouts.context("libgbm is too old for layouts")?;
        let count = u32::try_from(modifiers.len())?;
        // SAFETY: the device lives, so many modifiers are there, and the rest are numbers.
        let buffer = unsafe {
            (layouts.create)(
                self.raw.as_ptr(),
                w,
                h,
                fourcc as u32,
                modifiers.as_ptr(),
                count,
            )
        };
        let buffer = NonNull::new(buffer).context("the device makes no buffer in its layouts")?;
        // SAFETY: the buffer is alive.
        let modifier = unsafe { (layouts.modifier_of)(buffer.as_ptr()) };
        let described = self.describe(&layouts, buffer, (w, h), (fourcc, modifier.into()));
        // SAFETY: it is ours, and nobody uses it after this. Its memory lives on in the descriptors.
        unsafe { (self.destroy_buffer)(buffer.as_ptr()) };
        described
    }

    /// A linear buffer with planes.
    fn planes(&self, (w, h): (u32, u32), fourcc: Fourcc) -> anyhow::Result<Dmabuf> {
        let layouts = self.layouts.context("libgbm is too old for planes")?;
        let code = fourcc as u32;
        // SAFETY: the device lives, and the rest are numbers.
        let buffer = unsafe { (self.create_buffer)(self.raw.as_ptr(), w, h, code, LINEAR) };
        let buffer = NonNull::new(buffer).context("the device has no such buffer")?;
        let described = self.describe(&layouts, buffer, (w, h), (fourcc, Modifier::Linear));
        // SAFETY: it is ours, and nobody uses it after this. Its memory lives on in the descriptors.
        unsafe { (self.destroy_buffer)(buffer.as_ptr()) };
        described
    }

    /// The same of luma and chroma in a buffer of bytes.
    fn planes_of_bytes(&self, (w, h): (u32, u32), fourcc: Fourcc) -> anyhow::Result<Dmabuf> {
        let bytes = self.buffer(w, h + h / 2, Fourcc::R8)?;
        let fd = bytes.handles().next().context("a buffer has a plane")?;
        let pitch = bytes.strides().next().context("a buffer has a plane")?;
        let size = (i32::try_from(w)?, i32::try_from(h)?);
        let flags = DmabufFlags::empty();
        let mut builder = Dmabuf::builder(size, fourcc, Modifier::Linear, flags);
        let chroma = pitch.checked_mul(h).context("its rows are too long")?;
        for (plane, offset) in [(0, 0), (1, chroma)] {
            builder.add_plane(fd.try_clone_to_owned()?, plane, offset, pitch);
        }
        builder.build().context("a buffer has planes")
    }

    /// A buffer, which is alive, as it is handed on.
    fn describe(
        &self,
        layouts: &Layouts,
        buffer: NonNull<c_void>,
        (w, h): (u32, u32),
        (fourcc, modifier): (Fourcc, Modifier),
    ) -> anyhow::Result<Dmabuf> {
        let buffer = buffer.as_ptr();
        // SAFETY: the buffer is alive.
        let planes = unsafe { (layouts.count_planes)(buffer) };
        let size = (i32::try_from(w)?, i32::try_from(h)?);
        let flags = DmabufFlags::empty();
        let mut builder = Dmabuf::builder(size, fourcc, modifier, flags);
        for plane in 0..planes {
            // SAFETY: the buffer is alive, and has this plane.
            let (fd, stride, offset) = unsafe {
                (
                    (layouts.fd_of)(buffer, plane),
                    (layouts.stride_of)(buffer, plane),
                    (layouts.offset_of)(buffer, plane),
                )
            };
            ensure!(fd >= 0, "the device does not hand out its buffers");
            // SAFETY: libgbm has opened the descriptor for us.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            let number = u32::try_from(plane)?;
            ensure!(
                builder.add_plane(fd, number, offset, stride),
                "it has too many planes"
            );
        }
        builder.build().context("a buffer has a plane")
    }
}

impl Allocator for Gbm {
    type Buffer = Dmabuf;
    type Error = NoBuffer;

    fn create_buffer(
        &mut self,
        width: u32,
        height: u32,
        fourcc: Fourcc,
        _modifiers: &[Modifier],
    ) -> Result<Dmabuf, NoBuffer> {
        let device = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        device.buffer(width, height, fourcc).map_err(NoBuffer)
    }
}

impl EGLNativeDisplay for Gbm {
    fn supported_platforms(&self) -> Vec<EGLPlatform<'_>> {
        // The extension's two names have one number.
        ["EGL_KHR_platform_gbm", "EGL_MESA_platform_gbm"]
            .iter()
            .map(|extension| {
                EGLPlatform::new(
                    PLATFORM_GBM_KHR,
                    "PLATFORM_GBM_KHR",
                    self.raw(),
                    vec![NO_MORE],
                    std::slice::from_ref(extension),
                )
            })
            .collect()
    }
}
