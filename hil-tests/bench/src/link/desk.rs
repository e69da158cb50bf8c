//! The desk's end: a network namespace that is reached through a TUN device only.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use super::sys::open_tun;

/// The interface at the server.
pub const SERVER_TUN: &str = "hil-server";
const DESK_TUN: &str = "hil-desk";
/// The server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// The desk's address.
pub const DESK: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);

/// The namespace; it ends with the last program in it.
pub struct Desk {
    namespace: File,
}

impl Desk {
    /// Makes one, and the device whose packets are the desk's.
    pub fn make() -> anyhow::Result<(Self, File)> {
        in_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
            run("ip", &["link", "set", "lo", "up"])?;
            let tun = open_tun(DESK_TUN)?;
            set_up(DESK_TUN, DESK)?;
            let namespace = File::open("/proc/thread-self/ns/net")?;
            Ok((Self { namespace }, tun))
        })
    }

    /// Does something there. Only the thread that does it is moved.
    pub fn enter<T: Send>(
        &self,
        act: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        in_a_thread(|| {
            setns(&self.namespace, CloneFlags::CLONE_NEWNET)?;
            act()
        })
    }
}

fn in_a_thread<T: Send>(act: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| scope.spawn(act).join())
        .map_err(|_| anyhow!("the thread panicked"))?
}

/// Gives an interface of the caller's namespace its address.
pub fn set_up(tun: &str, address: Ipv4Addr) -> anyhow::Result<()> {
    run("ip", &["addr", "add", &format!("{address}/24"), "dev", tun])?;
    run("ip", &["link", "set", tun, "up"])
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(program).args(arguments).status();
    let status = status.with_context(|| format!("run {program} (package iproute2)"))?;
    ensure!(status.success(), "{program} {} failed", arguments.join(" "));
    Ok(())
}
