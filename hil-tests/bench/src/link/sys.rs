//! TUN devices: an interface of the kernel whose packets a program carries.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, ensure};

nix::ioctl_write_ptr_bad!(
    tun_set_interface,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);

/// Makes an interface of this name in the caller's network namespace; it goes with the file. Each
/// read gives one IP packet, each write sends one, and neither waits.
pub fn open_tun(name: &str) -> anyhow::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("open /dev/net/tun")?;
    ensure!(name.len() < libc::IFNAMSIZ, "{name} is too long a name");
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let request = libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short,
        },
    };
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives for the call, and the descriptor is
    // one of /dev/net/tun.
    unsafe { tun_set_interface(file.as_raw_fd(), &request) }
        .with_context(|| format!("make the interface {name}"))?;
    Ok(file)
}
