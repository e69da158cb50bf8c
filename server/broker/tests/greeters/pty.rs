//! A program on a terminal of the kernel's, as a person has it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

/// Nothing here takes longer on a machine that works.
const STEP: Duration = Duration::from_secs(30);

pub struct Pty {
    program: Child,
    keys: File,
    printed: mpsc::Receiver<Vec<u8>>,
    /// What has been printed since it was looked at last.
    seen: String,
}

impl Pty {
    /// Starts a program with arguments.
    pub fn start(program: &Path, arguments: &[&str], greetd: &Path) -> Self {
        let size = Winsize {
            ws_row: 40,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let slave = File::from(pty.slave);
        // Passwords are read from the controlling terminal.
        let program = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(program)
            .args(arguments)
            .env("GREETD_SOCK", greetd)
            .env("TERM", "xterm")
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave))
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, printed) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The kernel says an error when the last program has let go.
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            program,
            keys,
            printed,
            seen: String::new(),
        }
    }

    /// Waits until a text has been printed.
    pub fn until(&mut self, text: &str) {
        let deadline = Instant::now() + STEP;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text:?} in {:?}", self.seen),
            }
        }
        self.seen.clear();
    }

    /// Types a line.
    pub fn enter(&mut self, text: &str) {
        self.keys.write_all(format!("{text}\r").as_bytes()).unwrap();
    }

    /// Waits for the program's end.
    pub fn end(mut self) -> ExitStatus {
        let deadline = Instant::now() + STEP;
        // Its end is the end of what it prints.
        while self
            .printed
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        assert!(Instant::now() < deadline, "it does not end");
        self.program.wait().unwrap()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
