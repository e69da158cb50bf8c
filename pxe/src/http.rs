//! The HTTP side: exactly the files that were copied and verified, each at its own path, and nothing else.
//!
//! It runs as a process of its own without privileges, with the listening socket as its standard input: what speaks
//! HTTP with strangers can read the image and do nothing more.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
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
    let listener =
        TcpListener::from_std(socket).context("standard input is not a listening socket")?;
    raise_descriptor_limit();
    serve(listener, router(root)?).await;
    Ok(())
}

/// Connections at once. A terminal needs one or two, for some seconds.
const MAX_CONNECTIONS: usize = 512;
/// Connections of one address at once.
const MAX_OF_ONE_ADDRESS: usize = 16;
/// A request has come by then.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest image has arrived by then over the slowest link that is worth booting over.
const LONGEST: Duration = Duration::from_secs(600);

/// Answers until the process ends. What strangers can hold is bounded in number and in time, so that they cannot keep a
/// terminal from booting.
async fn serve(listener: TcpListener, app: Router) {
    let places = Arc::new(Places::default());
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("a connection was not accepted: {error}");
                // Descriptors that ran out come back when connections end.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = places.take(peer.ip()) else {
            continue;
        };
        let app = app.clone().layer(Extension(ConnectInfo(peer)));
        tokio::spawn(async move {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT);
            let serving =
                http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
            // A peer that goes away in the middle tells nobody anything.
            let _ = tokio::time::timeout(LONGEST, serving).await;
            drop(place);
        });
    }
}

/// Who is connected how often.
#[derive(Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = taken.get(&address).copied().unwrap_or(0);
        if of_address >= MAX_OF_ONE_ADDRESS || taken.values().sum::<usize>() >= MAX_CONNECTIONS {
            return None;
        }
        taken.insert(address, of_address + 1);
        Some(Place {
            places: self.clone(),
            address,
        })
    }
}

/// A connection's place, given up when it is dropped.
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.address)),
        }
    }
}

/// Each connection may need two descriptors, which is more than the usual soft limit.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!("the limit of open files stays as it is: {error}");
    }
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
        let app = router(&root).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                serve(TcpListener::from_std(listener).unwrap(), app).await;
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
    fn one_address_cannot_hold_all_connections() {
        let dir = tempfile::tempdir().unwrap();
        let address = start(dir.path());
        let mut held: Vec<TcpStream> = (0..MAX_OF_ONE_ADDRESS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        for half in &mut held {
            half.write_all(b"GET /boot.ipxe HTTP/1.1\r\n").unwrap();
        }
        let mut refused = TcpStream::connect(address).unwrap();
        assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
        // Half a request is not waited for either.
        let patience = REQUEST_TIMEOUT * 3;
        for half in &mut held {
            half.set_read_timeout(Some(patience)).unwrap();
            half.read_to_end(&mut Vec::new()).unwrap();
        }
        // A place comes back a moment after its connection has ended.
        let limit = std::time::Instant::now() + patience;
        while ask(address, "GET /boot.ipxe HTTP/1.1").0 != 200 {
            assert!(std::time::Instant::now() < limit, "no place came back");
        }
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
