//! The unsafe parts: memory that clients may change under us, and descriptors that were inherited.

#[cfg(test)]
mod counting;
#[cfg(feature = "gpu")]
mod egl;
#[cfg(feature = "gpu")]
mod gbm;
#[cfg(feature = "gpu")]
mod mapping;

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use smithay::reexports::calloop::generic::NoIoDrop;
use smithay::reexports::wayland_server::Display;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::wayland::shm::{BufferAccessError, BufferData, with_buffer_contents};

#[cfg(test)]
pub use counting::allocations;
#[cfg(feature = "gpu")]
pub use egl::{GlesContext, Reset, check_egl, is_egl_memory_used_up};
#[cfg(feature = "gpu")]
pub use gbm::{Gbm, NoBuffer};
#[cfg(feature = "gpu")]
pub use mapping::Mapping;

/// Bytes of a pixel in every format that is taken.
const PIXEL: usize = 4;

/// A client's shared memory while it may be read.
#[derive(Debug)]
pub struct ShmView {
    memory: *const u8,
    length: usize,
    /// What the client says lies there.
    pub data: BufferData,
}

impl ShmView {
    /// Copies pixels from (x, y) on; false, with nothing copied, where they do not lie in the
    /// buffer or the memory.
    pub fn read(&self, x: u32, y: u32, run: &mut [u32]) -> bool {
        let Some(start) = self.offset(x, y, run.len()) else {
            return false;
        };
        // SAFETY: `offset` has checked that the run ends inside the `length` bytes of the mapping,
        // which smithay keeps alive, guarded against SIGBUS, while this view exists. The client may
        // write to it meanwhile, so bytes are copied through raw pointers and no reference to the
        // memory is made; any bytes are valid pixels. Source and target do not overlap: the target
        // is our own memory.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.memory.add(start),
                run.as_mut_ptr().cast::<u8>(),
                run.len() * PIXEL,
            );
        }
        run.iter_mut()
            .for_each(|pixel| *pixel = u32::from_le(*pixel));
        true
    }

    fn offset(&self, x: u32, y: u32, pixels: usize) -> Option<usize> {
        let number = |n: i32| usize::try_from(n).ok();
        let (w, h) = (number(self.data.width)?, number(self.data.height)?);
        let (x, y) = (x as usize, y as usize);
        if x.checked_add(pixels)? > w || y >= h {
            return None;
        }
        let row = number(self.data.stride)?.checked_mul(y)?;
        let start = number(self.data.offset)?
            .checked_add(row)?
            .checked_add(x.checked_mul(PIXEL)?)?;
        let end = start.checked_add(pixels.checked_mul(PIXEL)?)?;
        (end <= self.length).then_some(start)
    }
}

/// Lets `f` read a client's buffer.
pub fn with_shm<T>(
    buffer: &WlBuffer,
    f: impl FnOnce(ShmView) -> T,
) -> Result<T, BufferAccessError> {
    with_buffer_contents(buffer, |memory, length, data| {
        f(ShmView {
            memory,
            length,
            data,
        })
    })
}

/// Handles what clients have sent.
pub fn dispatch_clients<D: 'static>(
    display: &mut NoIoDrop<Display<D>>,
    state: &mut D,
) -> std::io::Result<usize> {
    // SAFETY: the display is not moved out of its event source or dropped here.
    unsafe { display.get_mut() }.dispatch_clients(state)
}

/// Has the allocator keep up to `most` bytes of freed memory, of large blocks too.
pub fn keep_freed_memory(most: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes numbers; it is called before there are threads, as it asks for.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, most);
        libc::mallopt(libc::M_MMAP_THRESHOLD, most);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = most;
}

/// Gives the system what the allocator keeps of freed memory.
pub fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has a program end when the thread that starts it ends, however that comes.
pub fn end_with_parent(command: &mut Command) {
    let prepare = || {
        // SAFETY: prctl with PR_SET_PDEATHSIG takes a number and touches no memory.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec `prepare` makes one system call, which is safe after a fork,
    // and neither allocates nor takes a lock.
    unsafe { command.pre_exec(prepare) };
}

/// A descriptor that programs inherit which are started while this lives.
#[derive(Debug)]
pub struct Inheritable<'a>(std::os::fd::BorrowedFd<'a>);

impl<'a> Inheritable<'a> {
    /// Of something that is ours.
    pub fn new(fd: &'a impl std::os::fd::AsFd) -> std::io::Result<Self> {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        Ok(Self(fd.as_fd()))
    }

    /// Its number, which is the same in those programs.
    pub fn number(&self) -> RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.0)
    }
}

impl Drop for Inheritable<'_> {
    fn drop(&mut self) {
        let _ = rustix::io::fcntl_setfd(self.0, rustix::io::FdFlags::CLOEXEC);
    }
}

/// Takes a descriptor that the parent process left for this one; nothing where it is not open.
pub fn take_inherited(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: `fcntl` with F_GETFD reads a flag of whatever number it is given.
    if fd < 3 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, and by the contract with the parent process it is ours alone;
    // this is called once at start, before anything of ours was opened under that number.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    // Children of the session must not inherit it in turn.
    // SAFETY: the descriptor is open and ours.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    Some(owned)
}

#[cfg(test)]
mod tests {
    use smithay::reexports::wayland_server::protocol::wl_shm::Format;

    use super::*;

    fn view(memory: &[u8], offset: i32, width: i32, height: i32, stride: i32) -> ShmView {
        ShmView {
            memory: memory.as_ptr(),
            length: memory.len(),
            data: BufferData {
                offset,
                width,
                height,
                stride,
                format: Format::Argb8888,
            },
        }
    }

    #[test]
    fn pixels_are_read_where_the_client_says_and_never_beyond_its_memory() {
        let memory: Vec<u8> = (0..64).collect();
        let mut run = [0; 2];
        assert!(view(&memory, 8, 2, 3, 16).read(0, 1, &mut run));
        assert_eq!(run, [0x1b1a_1918, 0x1f1e_1d1c]);
        assert!(!view(&memory, 8, 2, 3, 16).read(1, 1, &mut run));
        assert!(!view(&memory, 8, 2, 3, 16).read(0, 3, &mut run));
        assert!(!view(&memory, 40, 2, 3, 16).read(0, 2, &mut run));
        assert!(!view(&memory, -8, 2, 3, 16).read(0, 0, &mut run));
        assert!(!view(&memory, 8, 2, 3, -16).read(0, 1, &mut run));
        assert!(!view(&memory, i32::MAX, i32::MAX, i32::MAX, i32::MAX).read(7, 9, &mut run));
    }
}
