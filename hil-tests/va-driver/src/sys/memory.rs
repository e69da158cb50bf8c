//! Memory of surfaces: file descriptors that are mapped for as long as something is read or written.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

/// What stands behind a file descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// A memfd that cannot shrink; as a buffer of DMA it is a stand-in.
    Memfd,
    /// A DMA-BUF out of a memfd, by `/dev/udmabuf`.
    Udmabuf,
    /// A DMA-BUF of somebody else.
    DmaBuf,
}

impl Backing {
    /// As the log and the counters write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memfd => "memfd",
            Self::Udmabuf => "udmabuf",
            Self::DmaBuf => "dma-buf",
        }
    }
}

/// Which file a descriptor is of; DMA-BUFs and memfds have one inode each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// One buffer of pixels.
#[derive(Debug)]
pub struct Object {
    fd: OwnedFd,
    /// Bytes, as the kernel says.
    pub size: u64,
    /// What it is.
    pub backing: Backing,
    /// Which it is.
    pub identity: Identity,
}

/// Whether and how memory is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and written.
    Write,
}

/// Why a descriptor is not imported.
#[derive(Debug)]
pub enum NotImported {
    /// It is closed, or the process has too many.
    Descriptor(io::Error),
    /// Neither a DMA-BUF nor a memfd.
    NoBuffer,
    /// A memfd that could shrink under us.
    Unsealed,
}

/// `DMA_BUF_MAGIC` of linux/magic.h.
const DMA_BUF_MAGIC: u64 = 0x444d_4142;
/// `UDMABUF_CREATE`: `_IOW('u', 0x42, struct udmabuf_create)`.
const UDMABUF_CREATE: libc::Ioctl = 0x4018_7542;
/// `DMA_BUF_IOCTL_SYNC`: `_IOW('b', 0, struct dma_buf_sync)`.
const DMA_BUF_IOCTL_SYNC: libc::Ioctl = 0x4008_6200;
const SYNC_READ: u64 = 1;
const SYNC_WRITE: u64 = 2;
const SYNC_END: u64 = 4;

/// `struct udmabuf_create` of linux/udmabuf.h.
#[repr(C)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

impl Object {
    /// A new buffer of at least `size` bytes: a DMA-BUF where `/dev/udmabuf` can be had.
    pub fn allocate(size: u64) -> io::Result<Self> {
        let size = size.next_multiple_of(page());
        let memfd = sealed_memfd(size)?;
        let (fd, backing) = match udmabuf(&memfd, size) {
            Ok(fd) => (fd, Backing::Udmabuf),
            Err(_) => (memfd, Backing::Memfd),
        };
        let identity = look(fd.as_raw_fd())?.1;
        Ok(Self {
            fd,
            size,
            backing,
            identity,
        })
    }

    /// A duplicate of a client's descriptor, which stays the client's.
    pub fn import(fd: RawFd) -> Result<Self, NotImported> {
        // SAFETY: the call takes numbers only, and says where there is no such descriptor.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(NotImported::Descriptor(io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just made it, and nobody else knows of it.
        let fd = unsafe { OwnedFd::from_raw_fd(copy) };
        let (size, identity) = look(copy).map_err(NotImported::Descriptor)?;
        let backing = kind(&fd)?;
        Ok(Self {
            fd,
            size,
            backing,
            identity,
        })
    }

    /// Another descriptor of the same buffer, for a client.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Maps all of it until the mapping is dropped.
    pub fn map(&self, access: Access) -> io::Result<Mapping> {
        let length = usize::try_from(self.size).map_err(io::Error::other)?;
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::Write => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice, of a descriptor that is ours.
        let start = unsafe {
            let fd = self.fd.as_raw_fd();
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let synced = match self.backing {
            Backing::Memfd => None,
            Backing::Udmabuf | Backing::DmaBuf => Some(self.fd.try_clone()?),
        };
        let mapping = Mapping {
            start,
            length,
            access,
            synced,
        };
        mapping.sync(0);
        Ok(mapping)
    }
}

/// A mapped buffer.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
    access: Access,
    synced: Option<OwnedFd>,
}

// SAFETY: mappings belong to the process and have no tie to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// The bytes. Others may write them meanwhile; they are only ever taken as samples of pictures,
    /// of which any value is good.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: that much is mapped until `self` is dropped, and the file behind it cannot become
        // shorter: DMA-BUFs never do, and memfds are sealed against it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// The bytes, to be written; none where only reading was asked for.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if self.access == Access::Read {
            return &mut [];
        }
        // SAFETY: as above; it is mapped for writing, and this address range is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// What a client gets of a derived image.
    pub fn pointer(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }

    fn sync(&self, phase: u64) {
        let Some(fd) = &self.synced else { return };
        let access = match self.access {
            Access::Read => SYNC_READ,
            Access::Write => SYNC_READ | SYNC_WRITE,
        };
        let flags = access | phase;
        // A signal only delays it; other errors mean that there is nothing to flush.
        for _ in 0..8 {
            // SAFETY: the argument is a `struct dma_buf_sync`: one number of 64 bits.
            let rc = unsafe { libc::ioctl(fd.as_raw_fd(), DMA_BUF_IOCTL_SYNC, &raw const flags) };
            let again = [Some(libc::EINTR), Some(libc::EAGAIN)];
            if rc == 0 || !again.contains(&io::Error::last_os_error().raw_os_error()) {
                return;
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.sync(SYNC_END);
        // SAFETY: it was mapped with this length, and slices of it do not outlive `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

fn page() -> u64 {
    // SAFETY: the call has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(page).unwrap_or(4096)
}

fn sealed_memfd(size: u64) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"heliostat-va-surface".as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let length = libc::off_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: both calls take a descriptor of ours and numbers.
    let rc = unsafe {
        match libc::ftruncate(fd.as_raw_fd(), length) {
            0 => libc::fcntl(
                fd.as_raw_fd(),
                libc::F_ADD_SEALS,
                libc::F_SEAL_SHRINK | libc::F_SEAL_GROW,
            ),
            failed => failed,
        }
    };
    match rc {
        0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}

fn udmabuf(memfd: &OwnedFd, size: u64) -> io::Result<OwnedFd> {
    let device = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")?;
    let memfd = u32::try_from(memfd.as_raw_fd()).map_err(io::Error::other)?;
    let create = UdmabufCreate {
        memfd,
        flags: 1,
        offset: 0,
        size,
    };
    // SAFETY: the argument is a `struct udmabuf_create`, which the kernel reads.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), UDMABUF_CREATE, &raw const create) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn look(fd: RawFd) -> io::Result<(u64, Identity)> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel writes a `struct stat` there, of which zeros are a value as well.
    let (rc, stat) = unsafe { (libc::fstat(fd, stat.as_mut_ptr()), stat.assume_init()) };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    let identity = Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    };
    Ok((u64::try_from(stat.st_size).unwrap_or(0), identity))
}

fn kind(fd: &OwnedFd) -> Result<Backing, NotImported> {
    let mut fs = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes a `struct statfs` there, of which zeros are a value as well.
    let (rc, fs) = unsafe {
        (
            libc::fstatfs(fd.as_raw_fd(), fs.as_mut_ptr()),
            fs.assume_init(),
        )
    };
    if rc == 0 && fs.f_type as u64 == DMA_BUF_MAGIC {
        return Ok(Backing::DmaBuf);
    }
    // SAFETY: the call takes numbers; descriptors that are no memfds make it fail.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    match seals {
        ..0 => Err(NotImported::NoBuffer),
        seals if seals & libc::F_SEAL_SHRINK == 0 => Err(NotImported::Unsealed),
        _ => Ok(Backing::Memfd),
    }
}
