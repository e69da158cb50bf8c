//! Commits to a display that have a number, which the kernel gives back with what it tells of them.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// `struct drm_mode_atomic` of drm/drm_mode.h.
#[repr(C)]
#[derive(Debug)]
struct Atomic {
    flags: u32,
    count_objs: u32,
    objs_ptr: u64,
    count_props_ptr: u64,
    props_ptr: u64,
    prop_values_ptr: u64,
    reserved: u64,
    user_data: u64,
}

mod ioctl {
    // DRM_IOCTL_MODE_ATOMIC.
    nix::ioctl_readwrite!(mode_atomic, b'd', 0xBC, super::Atomic);
}

/// What one commit sets. Objects, properties and values are the kernel's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// Each object once.
    pub objects: &'a [u32],
    /// How many properties each of them has.
    pub counts: &'a [u32],
    /// The properties of all objects. None whose value is an address that the kernel writes to
    /// (`OUT_FENCE_PTR`, `WRITEBACK_OUT_FENCE_PTR`).
    pub properties: &'a [u32],
    /// Their values.
    pub values: &'a [u64],
}

/// Commits, or has it judged, as `flags` (`DRM_MODE_ATOMIC_*`, `DRM_MODE_PAGE_FLIP_*`) say. Events of it
/// have `number` as their `user_data`.
///
/// # Errors
/// `EINVAL` where the lengths of the lists contradict each other, else what ioctl says.
pub fn commit(
    device: impl AsFd,
    flags: u32,
    Commit {
        objects,
        counts,
        properties,
        values,
    }: Commit<'_>,
    number: u64,
) -> io::Result<()> {
    let told: u64 = counts.iter().copied().map(u64::from).sum();
    let is_whole = objects.len() == counts.len()
        && properties.len() == values.len()
        && told == properties.len() as u64;
    if !is_whole {
        return Err(Errno::EINVAL.into());
    }
    let mut atomic = Atomic {
        flags,
        count_objs: u32::try_from(objects.len()).map_err(|_| Errno::EINVAL)?,
        objs_ptr: objects.as_ptr() as u64,
        count_props_ptr: counts.as_ptr() as u64,
        props_ptr: properties.as_ptr() as u64,
        prop_values_ptr: values.as_ptr() as u64,
        reserved: 0,
        user_data: number,
    };
    // SAFETY: the kernel reads as many objects and counts as `count_objs` says, and as many properties
    // and values as the counts sum up to, all of which was checked to be there; the lists are borrowed
    // until it returns. It writes to none of them, and elsewhere only for properties that `Commit` rules
    // out, which the client's look-up of properties by name leaves out. The structure is laid out as in
    // its header, and the descriptor open for as long as the borrow; of a file that is no display the
    // kernel refuses the request.
    unsafe { ioctl::mode_atomic(device.as_fd().as_raw_fd(), &raw mut atomic) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_contradict_each_other_do_not_reach_the_kernel_and_files_are_no_displays() {
        let file = tempfile::tempfile().unwrap();
        let good = Commit {
            objects: &[1, 2],
            counts: &[2, 1],
            properties: &[7, 8, 7],
            values: &[0; 3],
        };
        let error = |set| commit(&file, 0, set, 1).unwrap_err().raw_os_error();
        let invalid = Some(Errno::EINVAL as i32);
        assert_eq!(error(good), Some(Errno::ENOTTY as i32));
        for bad in [
            Commit {
                objects: &[1],
                ..good
            },
            Commit {
                counts: &[2, 2],
                ..good
            },
            Commit {
                counts: &[u32::MAX, 4],
                ..good
            },
            Commit {
                properties: &[7, 8],
                ..good
            },
            Commit {
                values: &[0; 2],
                ..good
            },
        ] {
            assert_eq!(error(bad), invalid, "{bad:?}");
        }
    }

    #[test]
    fn commit_is_laid_out_as_the_kernel_has_it() {
        assert_eq!(size_of::<Atomic>(), 56);
        assert_eq!(std::mem::offset_of!(Atomic, user_data), 48);
    }
}
