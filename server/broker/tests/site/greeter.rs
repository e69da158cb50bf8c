//! A greeter that tests speak for: its socket, and what is said there.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_uid};
use serde_json::{Value, json};

use crate::broker::{Broker, eventually};
use crate::terminal::DEADLINE;

/// Somebody at a greeter.
pub struct Greeter(UnixStream);

impl Greeter {
    /// Connects to the only greeter that is served.
    pub async fn connect(broker: &Broker) -> Self {
        let greeters = broker.folder().join("run/greeters");
        eventually("the greeter is served", || socket_in(&greeters).is_some()).await;
        Self(connect(&socket_in(&greeters).unwrap()))
    }

    /// Says something and takes the answer.
    pub fn ask(&mut self, request: Value) -> Value {
        self.say(request);
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_ne_bytes(length) as usize];
        self.0.read_exact(&mut answer).unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// Says something and goes on.
    pub fn say(&mut self, request: Value) {
        let said = request.to_string();
        let length = (said.len() as u32).to_ne_bytes();
        self.0.write_all(&length).unwrap();
        self.0.write_all(said.as_bytes()).unwrap();
    }

    /// Names who comes; a password is asked for then.
    pub fn name(&mut self, name: &str) {
        let asked = self.ask(json!({ "type": "create_session", "username": name }));
        assert_eq!(asked["auth_message_type"], "secret", "{asked}");
    }

    /// Types a password; what comes of it.
    pub fn password(&mut self, password: &str) -> Value {
        let answer = json!({ "type": "post_auth_message_response", "response": password });
        self.ask(answer)
    }

    /// Asks for the desktop.
    pub fn start(&mut self, enrol: bool) {
        let start = json!({
            "type": "start_session", "cmd": [], "env": [], "heliostat": { "enrol": enrol },
        });
        let started = self.ask(start);
        assert_eq!(started["type"], "success", "{started}");
    }

    /// Waits until the broker has closed the socket.
    pub fn until_closed(mut self) {
        let read = self.0.read(&mut [0; 64]);
        let closed = match &read {
            Ok(length) => *length == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        assert!(closed, "{read:?}");
    }
}

fn socket_in(greeters: &Path) -> Option<PathBuf> {
    let mut folders = fs::read_dir(greeters).ok()?;
    let socket = folders.next()?.ok()?.path().join("greetd.sock");
    // It is given to the greeter's user when all is ready.
    let given = fs::metadata(&socket).ok()?.uid() != 0;
    given.then_some(socket)
}

/// Connects as the greeter's user: the broker asks the kernel who it is. Only the thread that
/// connects becomes that user.
fn connect(socket: &Path) -> UnixStream {
    let (socket, owner) = (socket.to_owned(), fs::metadata(socket).unwrap());
    let connecting = std::thread::spawn(move || {
        set_thread_gid(Gid::from_raw(owner.gid())).unwrap();
        set_thread_uid(Uid::from_raw(owner.uid())).unwrap();
        UnixStream::connect(socket).unwrap()
    });
    let stream = connecting.join().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}
