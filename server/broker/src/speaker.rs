//! Who speaks on a session's socket, as the kernel has it.
//!
//! The broker connects to the socket, and whoever accepts may be another than it was made for: a
//! listening socket can be handed on. So the kernel is asked to say of all that comes which process
//! and which user have written it.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::ensure;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials,
    connect, recvmsg, setsockopt, socket, sockopt,
};
use nix::unistd::{Pid, getsid};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::directory::Owner;

/// Connects to a session. The kernel is asked before, so that no word comes without its writer.
pub fn open(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    setsockopt(&fd, sockopt::PassCred, &true)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    UnixStream::from_std(fd.into())
}

/// Receives some bytes that one process has written, and none at the end. Cancel-safe.
pub async fn receive(
    stream: &UnixStream,
    bytes: &mut [u8],
) -> io::Result<(usize, Option<UnixCredentials>)> {
    stream
        .async_io(Interest::READABLE, || receive_now(stream, bytes))
        .await
}

fn receive_now(
    stream: &UnixStream,
    bytes: &mut [u8],
) -> io::Result<(usize, Option<UnixCredentials>)> {
    let mut space = nix::cmsg_space!(UnixCredentials);
    let mut slices = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    // Descriptors have no room here and are an error.
    let mut words = received.cmsgs()?;
    let by = words.find_map(|word| match word {
        ControlMessageOwned::ScmCredentials(by) => Some(by),
        _ => None,
    });
    Ok((received.bytes, by))
}

/// Refuses what comes from anybody but a session's own processes.
pub fn ensure_is_of(owner: &Owner, by: Option<UnixCredentials>) -> anyhow::Result<()> {
    let Some(by) = by else {
        anyhow::bail!("nobody knows who speaks");
    };
    let (uid, pid) = (by.uid(), by.pid());
    ensure!(uid == owner.uid, "user {uid} speaks in its place");
    // One that has ended since is of no session any more, and was its person's at least.
    if let (Ok(theirs), Ok(own)) = (session_of(pid), session_of(owner.pid as i32)) {
        ensure!(theirs == own, "process {pid} speaks in its place");
    }
    Ok(())
}

/// The session of processes that a process is in; [`crate::exec`] has made one for each session.
fn session_of(pid: i32) -> nix::Result<Pid> {
    // Zero would mean ourselves.
    match pid {
        1.. => getsid(Some(Pid::from_raw(pid))),
        _ => Err(nix::Error::ESRCH),
    }
}
