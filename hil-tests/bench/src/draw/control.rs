//! The harness's wire to the drawing client: `go FRAMES`, `stop` and `step` in,
//! `going T`, `done …` and `stepped T` out.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::Context;

/// What the harness wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// So many frames, as their points in time come.
    Go {
        /// How many.
        frames: u32,
    },
    /// No more of them.
    Stop,
    /// One frame of the full-screen surface, now.
    Step,
}

/// The wire.
pub struct Control {
    listener: UnixListener,
    stream: Option<UnixStream>,
    read: String,
}

impl Control {
    /// Listens at `path`.
    pub fn listen(path: &Path) -> anyhow::Result<Self> {
        let _ = std::fs::remove_file(path);
        let listener =
            UnixListener::bind(path).with_context(|| format!("listen at {}", path.display()))?;
        listener.set_nonblocking(true)?;
        // The harness and the session may be different people.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777))?;
        Ok(Self {
            listener,
            stream: None,
            read: String::new(),
        })
    }

    /// What to wait on.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let stream = self.stream.iter().map(AsFd::as_fd);
        std::iter::once(self.listener.as_fd())
            .chain(stream)
            .collect()
    }

    /// What has come.
    pub fn orders(&mut self) -> anyhow::Result<Vec<Order>> {
        if let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            self.stream = Some(stream);
        }
        let mut bytes = [0; 256];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut bytes) {
                Ok(0) => self.stream = None,
                Ok(length) => self.read += &String::from_utf8_lossy(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.stream = None,
            }
        }
        let mut orders = Vec::new();
        while let Some((line, rest)) = self.read.split_once('\n') {
            orders.extend(order(line));
            self.read = rest.to_owned();
        }
        Ok(orders)
    }

    /// Says a line, if anybody listens.
    pub fn say(&mut self, line: &str) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.write_all(format!("{line}\n").as_bytes());
        }
    }
}

fn order(line: &str) -> Option<Order> {
    match line {
        "stop" => return Some(Order::Stop),
        "step" => return Some(Order::Step),
        _ => {}
    }
    let frames = line.strip_prefix("go ")?.parse().ok()?;
    Some(Order::Go { frames })
}
