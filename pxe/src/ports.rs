//! Ports that are taken, and by whom, as far as `/proc` tells.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP, listening.
    Tcp,
}

/// A process that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Whether a port could be had at an address; when not, why in one sentence.
pub fn available(
    transport: Transport,
    address: Ipv4Addr,
    port: u16,
    purpose: &str,
) -> Result<(), String> {
    let bound = match transport {
        Transport::Udp => UdpSocket::bind((address, port)).map(drop),
        Transport::Tcp => TcpListener::bind((address, port)).map(drop),
    };
    bound.map_err(|error| describe(transport, port, purpose, &error))
}

/// One sentence for a port that could not be bound.
pub fn describe(transport: Transport, port: u16, purpose: &str, error: &std::io::Error) -> String {
    let name = match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
    };
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let by = match holders(transport, port).as_slice() {
                [] => "a process that /proc does not show (look as root, or in other namespaces)"
                    .to_owned(),
                all => all
                    .iter()
                    .map(|h| format!("{} (pid {})", h.name, h.pid))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            format!(
                "{name} port {port} for {purpose} is taken by {by}; stop it or give it another interface"
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("{name} port {port} for {purpose} needs root")
        }
        _ => format!("{name} port {port} for {purpose}: {error}"),
    }
}

/// The processes that hold a port, in this network namespace.
pub fn holders(transport: Transport, port: u16) -> Vec<Holder> {
    let files = match transport {
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let tables = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let inodes: Vec<u64> = tables
        .flat_map(|table| inodes(&table, transport, port))
        .collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<Holder> = pids
        .filter(|pid| holds(*pid, &inodes))
        .map(holder)
        .collect();
    found.sort_by_key(|h| h.pid);
    found
}

fn holder(pid: u32) -> Holder {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned();
    Holder { pid, name }
}

fn holds(pid: u32, inodes: &[u64]) -> bool {
    let fds = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    fds.filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| {
            let target = target.to_string_lossy().into_owned();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']')?.parse().ok());
            inode.is_some_and(|inode: u64| inodes.contains(&inode))
        })
}

/// The inodes of a table's sockets with this local port. Pure.
fn inodes(table: &str, transport: Transport, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let local = u16::from_str_radix(columns.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        let listening = transport == Transport::Udp || *columns.get(3)? == LISTEN;
        (local == port && listening)
            .then(|| columns.get(9)?.parse().ok())
            .flatten()
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder_which_is_this_test() {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ports = [
            tcp.local_addr().unwrap().port(),
            udp.local_addr().unwrap().port(),
        ];
        for (transport, port) in [Transport::Tcp, Transport::Udp].into_iter().zip(ports) {
            let sentence = available(transport, Ipv4Addr::LOCALHOST, port, "a test").unwrap_err();
            assert!(
                sentence.contains(&format!("pid {}", std::process::id())),
                "{sentence}"
            );
            assert!(sentence.contains("for a test is taken by"), "{sentence}");
        }
    }

    #[test]
    fn only_listening_tcp_sockets_hold_a_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
            1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
            2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n\
            nonsense\n";
        assert_eq!(inodes(table, Transport::Tcp, 8080), [111]);
        assert_eq!(inodes(table, Transport::Udp, 8080), [111, 222]);
    }
}
