//! Where PID 1 says what it does: the kernel's log for everything, serial lines for status. Neither
//! is ever waited for.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::sys::termios::{BaudRate, SetArg, cfsetspeed, tcgetattr, tcsetattr};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::uptime_ms;

/// Longest record the kernel's log takes from a process.
const MAX_RECORD: usize = 960;

fn open_quietly(path: &str) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open(path)
}

/// The consoles that get status lines.
#[derive(Default)]
pub struct Consoles {
    files: Vec<(String, File)>,
}

impl Consoles {
    /// Opens those of the command line that exist now.
    pub fn open(names: &[String]) -> Consoles {
        let open = |name: &String| {
            let file = open_quietly(&format!("/dev/{name}")).ok()?;
            set_speed(name, &file);
            Some((name.clone(), file))
        };
        Consoles {
            files: names.iter().filter_map(open).collect(),
        }
    }

    /// One status line, with the time since the kernel started, on each console and in the log.
    pub fn say(&mut self, line: &str) {
        let uptime = uptime_ms();
        tracing::info!(target: "status", "{line}");
        let line = format!("heliostat {}.{:03} {line}\n", uptime / 1000, uptime % 1000);
        for (_, file) in &mut self.files {
            // A console that takes nothing must not hold anything up.
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// 115200 baud, as kernels and firmware use, unless the kernel itself has set the line up.
fn set_speed(name: &str, file: &File) {
    let consoles = std::fs::read_to_string("/proc/consoles").unwrap_or_default();
    let kernels = consoles
        .lines()
        .any(|line| line.split_ascii_whitespace().next() == Some(name));
    if kernels || !file.is_terminal() {
        return;
    }
    if let Ok(mut settings) = tcgetattr(file) {
        let set = cfsetspeed(&mut settings, BaudRate::B115200)
            .and_then(|()| tcsetattr(file, SetArg::TCSANOW, &settings));
        if let Err(error) = set {
            tracing::debug!(console = name, %error, "console speed not set");
        }
    }
}

/// Sends all that is logged to /dev/kmsg, and to the standard error output when there is none.
pub fn init_logging(debug: bool) {
    let default = if debug { "debug" } else { "info" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("HELIOSTAT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let kmsg = open_quietly("/dev/kmsg")
        .ok()
        .map(|file| Arc::new(Mutex::new(file)));
    // The second call of a test process finds a logger in place, which is as well.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .with_writer(Kmsg { file: kmsg })
        .try_init();
}

struct Kmsg {
    file: Option<Arc<Mutex<File>>>,
}

/// One record in the making.
struct Record {
    file: Option<Arc<Mutex<File>>>,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Kmsg {
    type Writer = Record;

    fn make_writer(&'a self) -> Record {
        Record {
            file: self.file.clone(),
            text: b"<6>heliostat: ".to_vec(),
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Record {
        let priority = match *meta.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        Record {
            file: self.file.clone(),
            text: format!("<{priority}>heliostat: ").into_bytes(),
        }
    }
}

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.text.truncate(MAX_RECORD);
        match &self.file {
            // Each write is one record; one that is refused is lost, and nobody waits for it.
            Some(file) => drop(
                file.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .write(&self.text),
            ),
            None => drop(io::stderr().write(&self.text)),
        }
    }
}

/// Logging of a service of ours: to its standard error output, which PID 1 reads.
pub fn init_service_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HELIOSTAT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // The second call of a test process finds a logger in place, which is as well.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr)
        .try_init();
}
