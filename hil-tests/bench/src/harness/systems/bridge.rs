//! Two Unix sockets joined by a TCP connection, so that what goes between them is counted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::link::Link;

const CHUNK: usize = 1 << 18;

/// Listens at `from`; what connects there is joined with `to`. Its threads end with the process, its
/// connections with their ends.
pub fn join(link: &Link, from: &Path, to: PathBuf) -> anyhow::Result<()> {
    let near = UnixListener::bind(from).with_context(|| format!("listen at {}", from.display()))?;
    std::fs::set_permissions(from, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let desk = link.desk();
    let listen = || TcpListener::bind((desk, 0)).context("listen at the desk");
    let middle = link.at_the_desk(listen)?;
    let address = middle.local_addr()?;
    std::thread::spawn(move || {
        for stream in near.incoming().flatten() {
            let Ok(tcp) = TcpStream::connect(address) else {
                break;
            };
            let Ok((far, _)) = middle.accept() else { break };
            let Ok(end) = UnixStream::connect(&to) else {
                break;
            };
            let _ = (tcp.set_nodelay(true), far.set_nodelay(true));
            both_ways(stream, tcp);
            both_ways(end, far);
        }
    });
    Ok(())
}

fn both_ways(unix: UnixStream, tcp: TcpStream) {
    let (Ok(unix_too), Ok(tcp_too)) = (unix.try_clone(), tcp.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        pump(&unix, &tcp);
        let _ = tcp.shutdown(Shutdown::Write);
    });
    std::thread::spawn(move || {
        pump(&tcp_too, &unix_too);
        let _ = unix_too.shutdown(Shutdown::Write);
    });
}

fn pump(mut from: impl Read, mut to: impl Write) {
    let mut bytes = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
}
