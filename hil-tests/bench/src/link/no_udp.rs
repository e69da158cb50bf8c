//! A link that does not pass UDP, as some networks do not.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::Link;

/// Of UDP among the protocols of IP.
pub(super) const UDP: u8 = 17;
/// Rules of routing, in turn: what is UDP goes nowhere, whatever the tables say. By its number, as
/// names of protocols are in a package that not every machine has.
const BLOCK: [&str; 3] = [
    "rule add pref 2 table local",
    "rule add pref 1 ipproto 17 blackhole",
    "rule del pref 0",
];
const PASS: [&str; 3] = [
    "rule add pref 0 table local",
    "rule del pref 1",
    "rule del pref 2",
];
/// How long a packet is waited for, besides what the link takes for the way there and back.
const PATIENCE: Duration = Duration::from_millis(100);
/// So many, as links lose some by themselves.
const PROBES: usize = 8;

/// No UDP passes the link as long as this lives: the relay drops it on the way, in both directions,
/// as a firewall would; on the loopback interface the kernel refuses to send it.
pub struct NoUdp {
    link: Link,
}

impl NoUdp {
    /// Shuts UDP out, and proves that it is.
    pub(super) fn on(link: &Link) -> anyhow::Result<Self> {
        // From here on whatever fails is undone.
        let blocked = Self { link: link.clone() };
        match link.relay() {
            Some(relay) => relay.pass_udp(false),
            None => BLOCK.iter().try_for_each(|rule| ip(rule))?,
        }
        ensure!(!passes_udp(link)?, "UDP passes all the same");
        Ok(blocked)
    }
}

impl Drop for NoUdp {
    fn drop(&mut self) {
        let Some(relay) = self.link.relay() else {
            // Those that were never laid cannot be taken away. Where one stays, the next row says that
            // its link is one over TCP.
            let left = PASS.iter().filter_map(|rule| ip(rule).err());
            return left.for_each(|error| eprintln!("to let UDP pass again: {error:#}"));
        };
        relay.pass_udp(true);
    }
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.context("run ip (package iproute2)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {}", said.trim());
    Ok(())
}

/// Whether any of some packets arrives, in either direction.
fn passes_udp(link: &Link) -> anyhow::Result<bool> {
    let desk = link.at_the_desk(|| Ok(UdpSocket::bind((link.desk(), 0))?))?;
    let server = UdpSocket::bind((link.server(), 0))?;
    let limit = PATIENCE + link.profile().round_trip();
    Ok(arrives(&server, &desk, limit)? || arrives(&desk, &server, limit)?)
}

fn arrives(from: &UdpSocket, to: &UdpSocket, limit: Duration) -> anyhow::Result<bool> {
    to.set_read_timeout(Some(limit))?;
    let address = to.local_addr()?;
    let sent = (0..PROBES).filter(|_| from.send_to(b"?", address).is_ok());
    if sent.count() == 0 {
        return Ok(false);
    }
    match to.recv(&mut [0; 1]) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error).context("look whether UDP passes"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;

    use hil_rig::Lack;
    use nix::sched::{CloneFlags, unshare};
    use nix::unistd::Uid;

    use super::*;
    use crate::link::Profile;

    fn passes_tcp(link: &Link) -> bool {
        let listen = || Ok(TcpListener::bind((link.server(), 0))?);
        let listener = link.at_the_server(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let dial = || Ok(TcpStream::connect(address)?);
        let mut near = link.at_the_desk(dial).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        far.write_all(b"!").unwrap();
        near.read_exact(&mut [0; 1]).is_ok()
    }

    /// However busy the machine is, of packets that may pass one arrives.
    fn comes_to_pass(link: &Link) -> bool {
        (0..50).any(|_| passes_udp(link).unwrap())
    }

    /// In a network of its own, to which only one thread moves.
    fn is_shut_out_and_comes_back(profile: Profile) {
        if !Uid::effective().is_root() {
            let why = "a network of one's own needs root";
            return Lack::Machine(why.to_owned()).skip();
        }
        let inside = std::thread::spawn(move || {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                return Lack::Machine(format!("no network of one's own: {error}")).skip();
            }
            if Command::new("ip").arg("-V").output().is_err() {
                return Lack::Part("iproute2 is not installed".to_owned()).skip();
            }
            ip("link set lo up").unwrap();
            if profile != Profile::Loopback && !Path::new("/dev/net/tun").exists() {
                return Lack::Machine("no TUN devices".to_owned()).skip();
            }
            let link = Link::lay(profile).unwrap();
            assert!(comes_to_pass(&link));
            let blocked = link.without_udp().unwrap();
            assert!(!passes_udp(&link).unwrap());
            assert!(passes_tcp(&link));
            drop(blocked);
            assert!(comes_to_pass(&link));
            assert!(passes_tcp(&link));
        });
        inside.join().unwrap();
    }

    #[test]
    fn udp_does_not_pass_the_loopback_interface_for_a_while_and_tcp_does() {
        is_shut_out_and_comes_back(Profile::Loopback);
    }

    #[test]
    fn udp_does_not_pass_a_slow_link_for_a_while_and_tcp_does() {
        is_shut_out_and_comes_back(Profile::M20);
    }
}
