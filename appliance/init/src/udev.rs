//! Bringing udevd's database up: udevd says when it listens, then the kernel is made to announce
//! the devices that were there before it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, warn};

/// Where services say that they are ready, in systemd's way.
pub const NOTIFY_SOCKET: &str = "/run/heliostat/notify";
/// An udevd that says nothing (eudev does not) is taken to be ready then.
const SILENT_READY: Duration = Duration::from_secs(2);

/// What is announced, in this order: what libinput looks for comes first.
const ANNOUNCED: &[&str] = &[
    "class/input",
    "bus/usb/devices",
    "class/drm",
    "class/sound",
    "class/hidraw",
    "bus/hid/devices",
];

/// udevd's readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not started, or announced already.
    Idle,
    /// Started: it says that it is ready, or is taken to be at `until`.
    Starting { until: Instant },
}

/// Waits for udevd without waiting.
pub struct Udev {
    socket: UnixDatagram,
    state: State,
}

impl Udev {
    /// Makes the socket for [`NOTIFY_SOCKET`].
    ///
    /// # Errors
    /// When /run cannot be written.
    pub fn open() -> io::Result<Udev> {
        let path = Path::new(NOTIFY_SOCKET);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        Ok(Udev {
            socket,
            state: State::Idle,
        })
    }

    /// udevd was started.
    pub fn handle_started(&mut self, now: Instant) {
        self.state = State::Starting {
            until: now + SILENT_READY,
        };
    }

    /// Something came in on the socket.
    pub fn handle_readable(&mut self) {
        let mut message = [0; 1024];
        while let Ok(len) = self.socket.recv(&mut message) {
            if is_ready(&message[..len]) {
                self.announce();
            }
        }
    }

    /// Announces the devices when udevd has been silent for long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Starting { until } if until <= now) {
            self.announce();
        }
    }

    /// When [`Udev::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Starting { until } => Some(until),
            State::Idle => None,
        }
    }

    fn announce(&mut self) {
        if std::mem::replace(&mut self.state, State::Idle) == State::Idle {
            return;
        }
        let spawned = thread::Builder::new().name("announce".into()).spawn(|| {
            let count = announce_all(Path::new("/sys"));
            info!(devices = count, "devices announced to udevd");
        });
        if let Err(error) = spawned {
            warn!(%error, "devices not announced to udevd: input may not work");
        }
    }
}

impl AsFd for Udev {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_ready(message: &[u8]) -> bool {
    message
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"READY=1")
}

/// Writes `add` to every device's uevent file; how many there were.
fn announce_all(sys: &Path) -> usize {
    let devices = ANNOUNCED
        .iter()
        .flat_map(|dir| fs::read_dir(sys.join(dir)).into_iter().flatten().flatten());
    devices
        .filter(|device| fs::write(device.path().join("uevent"), "add").is_ok())
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_one_line_among_others() {
        assert!(is_ready(b"STATUS=Processing\nREADY=1\n"));
        assert!(is_ready(b"READY=1"));
        assert!(!is_ready(b"STATUS=READY=1"));
        assert!(!is_ready(b""));
    }

    #[test]
    fn devices_are_announced_where_they_can_be() {
        let sys = tempfile::tempdir().unwrap();
        for device in ["class/input/event0", "bus/usb/devices/1-1"] {
            fs::create_dir_all(sys.path().join(device)).unwrap();
            fs::write(sys.path().join(device).join("uevent"), "").unwrap();
        }
        assert_eq!(announce_all(sys.path()), 2);
        let said = fs::read_to_string(sys.path().join("class/input/event0/uevent")).unwrap();
        assert_eq!(said, "add");
    }
}
