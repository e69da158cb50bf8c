//! wl_shm: memory that clients share. The session reads it while nobody else has a turn, so it has to be
//! memory, or a file on a disk of this machine: a page of a file on FUSE or on a network comes when the
//! file's server brings it, which may be the client itself, and never.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::fcntl_get_seals;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_shm::{Error, Request, WlShm};
use smithay::reexports::wayland_server::protocol::wl_shm_pool::WlShmPool;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, Resource, delegate_dispatch,
    delegate_global_dispatch,
};
use smithay::wayland::buffer::BufferHandler;
use smithay::wayland::shm::{ShmBufferUserData, ShmHandler, ShmPoolUserData, ShmState};
use tracing::{info, warn};

use crate::app::App;

/// File systems whose pages the kernel brings by itself.
const OF_DISKS: [&str; 9] = [
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs", "zfs",
];

/// Whether reading a file's pages waits for nobody but the kernel: a memfd, a file of tmpfs, or one on a
/// disk. Everything asked here is answered from the kernel's own tables, whatever file it is: seals
/// exist on memory alone, and a mount that this process does not have is in no list of its mounts.
fn is_local(fd: BorrowedFd<'_>) -> bool {
    fcntl_get_seals(fd).is_ok() || kind_of_mount(fd).is_some_and(|kind| OF_DISKS.contains(&&*kind))
}

/// The kind of file system that a file is on.
fn kind_of_mount(fd: BorrowedFd<'_>) -> Option<String> {
    let info = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let info = std::fs::read_to_string(info).ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    kind_in(&info, &mounts).map(str::to_owned)
}

/// The same, going by what /proc says of the descriptor and of all mounts (`proc_pid_mountinfo(5)`).
fn kind_in<'a>(fdinfo: &str, mountinfo: &'a str) -> Option<&'a str> {
    let id = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))?
        .trim();
    let mount = mountinfo
        .lines()
        .find(|line| line.split(' ').next() == Some(id))?;
    // Optional fields, of which there may be any number, end with a dash.
    mount.split(' ').skip_while(|field| *field != "-").nth(1)
}

/// Closes a file that may be anybody's: that waits for its server as well.
pub(super) fn close(fd: OwnedFd) {
    let thread = std::thread::Builder::new().name("closing a file".to_owned());
    let started = thread.spawn(move || drop(fd));
    if let Err(error) = started {
        warn!("no thread for a file that is to be closed: {error}");
    }
}

impl BufferHandler for App {
    fn buffer_destroyed(&mut self, buffer: &WlBuffer) {
        self.surfaces.buffers.remove(buffer);
    }
}

impl ShmHandler for App {
    fn shm_state(&self) -> &ShmState {
        &self.protocols.shm
    }
}

impl Dispatch<WlShm, ()> for App {
    fn request(
        app: &mut Self,
        client: &Client,
        shm: &WlShm,
        request: Request,
        data: &(),
        handle: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        match request {
            Request::CreatePool { fd, .. } if !is_local(fd.as_fd()) => {
                let why = "a pool has to be memory, or a file on a local disk";
                info!("a client's pool is not taken: {why}");
                shm.post_error(Error::InvalidFd, why);
                close(fd);
            }
            request => <ShmState as Dispatch<_, _, Self>>::request(
                app, client, shm, request, data, handle, init,
            ),
        }
    }
}

// What smithay's own macro does, but for the pools above.
delegate_global_dispatch!(App: [WlShm: ()] => ShmState);
delegate_dispatch!(App: [WlShmPool: ShmPoolUserData] => ShmState);
delegate_dispatch!(App: [WlBuffer: ShmBufferUserData] => ShmState);

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
220 22 0:45 / /home/a/mnt rw,nosuid,nodev,relatime shared:9 master:2 - fuse.sshfs a@b: rw,user_id=1000
";

    #[test]
    fn file_is_known_by_its_mount() {
        let on = |id: &str| {
            kind_in(
                &format!("pos:\t0\nflags:\t02\nmnt_id:\t{id}\nino:\t5\n"),
                MOUNTS,
            )
        };
        assert_eq!(on("22"), Some("ext4"));
        assert_eq!(on("220"), Some("fuse.sshfs"));
        // A mount of another namespace, as everybody may make one.
        assert_eq!((on("2"), on("")), (None, None));
        assert_eq!(kind_in("pos:\t0\n", MOUNTS), None);
    }

    #[test]
    fn memory_and_disks_are_local() {
        let file = tempfile::tempfile().unwrap();
        assert!(is_local(file.as_fd()));
        let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert!(is_local(memory.as_fd()));
        let (pipe, _) = std::io::pipe().unwrap();
        assert!(!is_local(pipe.as_fd()));
    }
}
