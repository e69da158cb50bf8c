//! A user of this machine, made for a test.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::Uid;

/// Somebody with a password. Gone when dropped.
pub struct Person(String);

impl Person {
    /// Makes a user; says so where that cannot be.
    pub fn new(password: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !Uid::effective().is_root() {
            eprintln!("skipped: only root can make a user for this");
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hil-{}-{count}", std::process::id());
        let arguments = ["--no-create-home", "--shell", "/bin/sh", &name];
        if let Err(problem) = Command::new("useradd").args(arguments).status() {
            eprintln!("skipped: useradd: {problem}");
            return None;
        }
        let person = Self(name);
        person.set_password(password);
        Some(person)
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    fn set_password(&self, password: &str) {
        let mut chpasswd = Command::new("chpasswd")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = chpasswd.stdin.take().unwrap();
        writeln!(input, "{}:{password}", self.0).unwrap();
        drop(input);
        assert!(chpasswd.wait().unwrap().success(), "chpasswd failed");
    }

    /// The password is too old from now on.
    pub fn expire_password(&self) {
        let expired = Command::new("chage")
            .args(["--lastday", "0", &self.0])
            .status();
        assert!(expired.unwrap().success(), "chage failed");
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.0).status();
    }
}
