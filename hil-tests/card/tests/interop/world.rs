//! A pcscd of one's own, with a virtual reader.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hil_card::readers::{self, Readers};
use hil_card::vpcd::Inserted;
use hil_card::{Card, TestCa};
use pcsc::{Context, ReaderState, Scope, State};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
/// What a program may take, in seconds.
const PROGRAM_PATIENCE: &str = "120";

/// pcscd and its reader, and a folder of files.
pub struct World<'a> {
    readers: &'a Readers,
    context: Context,
    reader: CString,
    folder: TempDir,
}

/// Runs the test of this name in a process and namespaces of its own.
pub fn inside(name: &str, needed: &[&str], test: fn(&World<'_>)) {
    let needed = [&["openssl"], needed].concat();
    readers::inside(name, &needed, |readers| test(&World::new(readers)));
}

impl<'a> World<'a> {
    fn new(readers: &'a Readers) -> Self {
        let context = poll("pcscd", || Context::establish(Scope::User).ok());
        let reader = poll("the virtual reader", || {
            let readers = context.list_readers_owned().ok()?;
            readers.into_iter().next()
        });
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), TestCa::of_cards().pem()).unwrap();
        fs::write(folder.path().join("statement"), "statement").unwrap();
        Self {
            readers,
            context,
            reader,
            folder,
        }
    }

    /// Puts a card into the reader and waits until pcscd has seen it.
    pub fn insert(&self, card: Card) -> Inserted {
        let inserted = self.readers.insert(card).unwrap();
        self.wait(State::PRESENT);
        inserted
    }

    /// Pulls a card and waits until pcscd has seen it.
    pub fn pull(&self, inserted: Inserted) {
        inserted.pull().unwrap();
        self.wait(State::EMPTY);
    }

    /// Waits until the reader is so.
    pub fn wait(&self, wanted: State) {
        let deadline = Instant::now() + PATIENCE;
        let mut states = [ReaderState::new(self.reader.clone(), State::UNAWARE)];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let changed = self.context.get_status_change(left, &mut states);
            changed.unwrap_or_else(|error| panic!("waiting for {wanted:?}: {error}"));
            let state = states[0].event_state();
            let is_mute = wanted == State::PRESENT && state.contains(State::MUTE);
            if state.contains(wanted) && !is_mute {
                return;
            }
            states[0].sync_current_state();
        }
    }

    /// A connection to pcscd.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The reader's name.
    pub fn reader(&self) -> &CStr {
        &self.reader
    }

    /// A file of this test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program among the test's files: whether it went well, and what it said.
    pub fn run(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("timeout")
            .args([PROGRAM_PATIENCE, program])
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }

    /// Runs a program that has to go well, and gives what it said.
    pub fn ok(&self, program: &str, arguments: &[&str]) -> String {
        let (ok, said) = self.run(program, arguments);
        assert!(ok, "{program} {arguments:?}: {said}");
        said
    }

    /// Runs a program that has to fail, and gives what it said.
    pub fn fails(&self, program: &str, arguments: &[&str]) -> String {
        let (ok, said) = self.run(program, arguments);
        assert!(!ok, "{program} {arguments:?} went well: {said}");
        said
    }

    /// Asserts that a file is a signature of the file `statement` by the key of a certificate.
    pub fn assert_signed(&self, hash: &str, certificate: &str, signature: &str) {
        let key = self.ok(
            "openssl",
            &["x509", "-in", certificate, "-noout", "-pubkey"],
        );
        fs::write(self.file("key.pem"), key).unwrap();
        let verify = ["dgst", hash, "-verify", "key.pem", "-signature", signature];
        self.ok("openssl", &[&verify[..], &["statement"]].concat());
    }
}

/// What has no event to wait for: a daemon that starts.
fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come up");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
