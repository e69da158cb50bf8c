//! The HTTP side: exactly the files that were copied and verified, each at its own path, and nothing else.
//!
//! It runs as a process of its own without privileges, with the listening socket as its standard input: what speaks
//! HTTP with strangers can read the image and do nothing more.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tower_http::services::ServeFile;
use tracing::{info, warn};

/// The script for iPXE, beside the images.
pub const SCRIPT: &str = "boot.ipxe";

/// A route for every file below `root`, by its path relative to it.
///
/// Nothing is looked up by a request's path, so no request can lead out of `root`.
pub fn router(root: &Path) -> Result<Router> {
    let mut router = Router::new();
    for file in files(root)? {
        let relative = file
            .strip_prefix(root)?
            .to_str()
            .context("a path that is not UTF-8")?
            .to_owned();
        router = router.route_service(&format!("/{relative}"), ServeFile::new(&file));
    }
    Ok(router.layer(from_fn(report)))
}

/// Serves `root` on the socket that is standard input, until it is told to stop or its parent is gone.
pub async fn serve_standard_input(root: &Path, parent: u32) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    // A parent that was gone before that line sends no signal.
    anyhow::ensure!(
        std::os::unix::process::parent_id() == parent,
        "the process that started this one is gone"
    );
    let socket = std::net::TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(socket)
        .context("standard input is not a listening socket")?;
    let app = router(root)?.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

async fn report(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    let path: String = path.chars().filter(|c| !c.is_control()).take(120).collect();
    if status.is_success() || status.is_redirection() {
        info!("{} gets {path} over HTTP", peer.ip());
    } else {
        warn!(
            "{} asked {method} {path} over HTTP and was answered {status}",
            peer.ip()
        );
    }
    response
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut open = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(directory) = open.pop() {
        let entries = std::fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                std::fs::File::open(entry.path())
                    .with_context(|| format!("cannot read {}", entry.path().display()))?;
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    /// Starts a server over a small tree beside which a secret lies; returns its address.
    fn start(dir: &Path) -> SocketAddr {
        let root = dir.join("www");
        std::fs::create_dir_all(root.join("image/abcd")).unwrap();
        std::fs::write(root.join("image/abcd/vmlinuz"), b"0123456789").unwrap();
        std::fs::write(root.join(SCRIPT), b"#!ipxe\n").unwrap();
        std::fs::write(dir.join("secret"), b"secret").unwrap();
        std::os::unix::fs::symlink(dir.join("secret"), root.join("link")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let app = router(&root)
            .unwrap()
            .into_make_service_with_connect_info::<SocketAddr>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app)
                    .await
                    .unwrap();
            });
        });
        address
    }

    fn ask(address: SocketAddr, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        write!(stream, "{request}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    #[test]
    fn whole_files_parts_and_heads_are_served_with_their_lengths() {
        let dir = tempfile::tempdir().unwrap();
        let address = start(dir.path());
        let path = "/image/abcd/vmlinuz";
        let (status, head, body) = ask(address, &format!("GET {path} HTTP/1.1"));
        assert_eq!((status, body.as_str()), (200, "0123456789"));
        assert!(head.contains("content-length: 10"), "{head}");
        let (status, head, body) = ask(address, &format!("HEAD {path} HTTP/1.1"));
        assert_eq!((status, body.as_str()), (200, ""));
        assert!(head.contains("content-length: 10"), "{head}");
        let (status, head, body) =
            ask(address, &format!("GET {path} HTTP/1.1\r\nRange: bytes=2-4"));
        assert_eq!((status, body.as_str()), (206, "234"));
        assert!(head.contains("content-range: bytes 2-4/10"), "{head}");
        assert_eq!(
            ask(address, &format!("GET {path} HTTP/1.1\r\nRange: bytes=90-")).0,
            416
        );
    }

    #[test]
    fn nothing_else_is_served_whatever_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let address = start(dir.path());
        for path in [
            "/",
            "/link",
            "/secret",
            "/image",
            "/image/",
            "/image/abcd",
            "/image/abcd/",
            "/../secret",
            "/image/../../secret",
            "/image/abcd/../../../secret",
            "/%2e%2e/secret",
            "/image/abcd/..%2f..%2f..%2fsecret",
            "//etc/passwd",
            "/image/abcd/vmlinuz/",
            "/image/abcd/vmlinuz%00",
        ] {
            let (status, _, body) = ask(address, &format!("GET {path} HTTP/1.1"));
            assert!((400..500).contains(&status), "{path}: {status}");
            assert!(
                !body.contains("secret") && !body.contains("root:"),
                "{path}: {body}"
            );
        }
        assert_eq!(ask(address, "POST /boot.ipxe HTTP/1.1").0, 405);
    }
}
