//! Looks into the memory of surfaces, and counts what a thread allocates.

mod counting;

use std::os::fd::{AsRawFd, OwnedFd};

pub use counting::allocations;

/// Sets what the driver reads when a display is opened.
pub fn set_environment(name: &str, value: &str) {
    // SAFETY: tests that do so are alone in their process, and have no other thread that reads it.
    unsafe { std::env::set_var(name, value) };
}

/// A copy of the first bytes of a buffer.
pub fn bytes(fd: &OwnedFd, length: usize) -> Vec<u8> {
    // SAFETY: the buffer is as long as the driver has said, and nobody writes it meanwhile.
    let map = unsafe { memmap2::MmapOptions::new().len(length).map(fd.as_raw_fd()) };
    map.unwrap().to_vec()
}

/// Buffers of surfaces that this process has open and that are full of what the driver fills new ones
/// with, at their begin.
pub fn untouched() -> usize {
    let of_surface = |fd: &OwnedFd| {
        let name = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let name = name.map(|name| name.to_string_lossy().into_owned());
        name.is_ok_and(|name| name.contains("heliostat-va-surface") || name.contains("dmabuf"))
    };
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let numbers: Vec<i32> = numbers.collect();
    let open = numbers.into_iter().filter_map(|number| {
        // SAFETY: the descriptor is open, or the call says that it is not.
        let copy = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }.try_clone_to_owned();
        copy.ok()
    });
    let open = open.filter(of_surface);
    open.filter(|fd| bytes(fd, 4096).iter().all(|byte| *byte == 0xa5))
        .count()
}
