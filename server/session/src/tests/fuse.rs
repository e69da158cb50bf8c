//! A file whose server does not answer, handed over where a DMA-BUF or a pool is expected.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};
use rustix::thread::{Pid, gettid};

use super::client::Client;
use super::fixture::{Fixture, within};
use super::lent::{Canvas, Said, XRGB, with_window};
use crate::gpu::RenderNode;

/// What a server of FUSE is asked, as <linux/fuse.h> numbers it.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const OPEN: u32 = 14;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const BATCH_FORGET: u32 = 42;

/// Dropped, it ends the server: what waits for that fails then. A process with a thread that waits for
/// one of its own threads cannot even be killed.
struct Running(Option<(PipeWriter, JoinHandle<()>)>);

impl Drop for Running {
    fn drop(&mut self) {
        let (stop, thread) = self.0.take().expect("dropped once");
        drop(stop);
        let _ = thread.join();
    }
}

/// What it was asked by this test's thread, other than to open its file: what the session would wait for.
type Asked = Arc<Mutex<Vec<u32>>>;

/// A file on FUSE, or why there is none.
fn file() -> Result<(File, Asked, Running), String> {
    let mounted = || -> rustix::io::Result<_> {
        let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&device).to_string();
        let fs = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let settings = [
            ("fd", number.as_str()),
            ("rootmode", "40000"),
            ("user_id", "0"),
        ];
        for (name, value) in settings.into_iter().chain([("group_id", "0")]) {
            fsconfig_set_string(&fs, name, value)?;
        }
        fsconfig_create(&fs)?;
        let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        Ok((device, mount))
    };
    let (device, mount) = mounted().map_err(|error| format!("no FUSE here: {error}"))?;
    let (asked, me) = (Asked::default(), gettid());
    let (stop, running) = pipe().map_err(|error| error.to_string())?;
    let thread = std::thread::spawn({
        let asked = Arc::clone(&asked);
        move || serve(device.into(), &stop, &asked, me)
    });
    let running = Running(Some((running, thread)));
    let opened = openat(
        &mount,
        "file",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let opened = opened.map_err(|error| format!("no file on FUSE: {error}"))?;
    Ok((opened.into(), asked, running))
}

/// Answers what is needed for a file to be opened, and nothing after that. What is asked by `thread` is
/// refused at once, so that it tells of it and does not hang.
fn serve(mut device: File, stop: &PipeReader, asked: &Mutex<Vec<u32>>, thread: Pid) {
    let mut request = vec![0; 1 << 17];
    loop {
        let mut both = [
            PollFd::new(&device, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        if poll(&mut both, None).is_err() || !both[1].revents().is_empty() {
            return;
        }
        let Ok(length) = device.read(&mut request) else {
            return;
        };
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        assert!(length >= 40);
        let (opcode, pid) = (word(4), word(32));
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let answer: Result<Vec<u8>, i32> = match opcode {
            // Version 7.31, the rest as it likes.
            INIT => {
                let mut init = [0; 16];
                (init[0], init[1], init[5]) = (7, 31, 1 << 16);
                Ok(words(&init))
            }
            // Node 2, whose name may be kept and whose size has to be asked for.
            LOOKUP => {
                let mut entry = [0; 32];
                (entry[0], entry[4], entry[10], entry[12]) = (2, 3600, 2, 1 << 20);
                (entry[25], entry[26]) = (0o100_600, 1);
                Ok(words(&entry))
            }
            OPEN => Ok(words(&[1, 0, 0, 0])),
            FORGET | BATCH_FORGET => continue,
            _ if pid == thread.as_raw_pid().cast_unsigned() => {
                asked.lock().unwrap().push(opcode);
                Err(-libc::EIO)
            }
            _ => continue,
        };
        let (body, error) = match answer {
            Ok(body) => (body, 0),
            Err(error) => (Vec::new(), error),
        };
        let mut reply = (16 + body.len() as u32).to_ne_bytes().to_vec();
        reply.extend(error.to_ne_bytes());
        reply.extend(&request[8..16]);
        reply.extend(body);
        if device.write_all(&reply).is_err() {
            return;
        }
    }
}

/// A client that hands such a file over loses its connection, and nobody waits for the file's server.
/// Returns the desktop after that, where this machine has FUSE. What has the file is returned by
/// `hand_over`, as closing it asks its server too.
fn desktop_after<T>(hand_over: impl FnOnce(&mut Client, File) -> T) -> Option<Fixture> {
    let (file, asked, _running) = match file() {
        Ok(file) => file,
        Err(why) => {
            eprintln!("skipped: {why}");
            return None;
        }
    };
    let (mut fixture, window) = with_window(RenderNode::Read);
    let _kept = hand_over(fixture.client(window), file);
    within("it is parted from", || {
        fixture.turn();
        !fixture.client(window).pump()
    });
    // The client, in this thread too, closes what it has sent.
    assert_eq!(*asked.lock().unwrap(), [FLUSH]);
    Some(fixture)
}

#[test]
fn pool_whose_server_does_not_answer_costs_its_client_its_connection_and_nobody_waits() {
    desktop_after(|client, file| {
        let shm = client.shm.clone().expect("bound");
        shm.create_pool(file.as_fd(), 4096, &client.handle(), ());
        file
    });
}

#[test]
fn file_whose_server_does_not_answer_costs_its_client_its_connection_and_nobody_waits() {
    let desktop = desktop_after(|client, file| {
        let canvas = Canvas {
            file,
            format: XRGB,
            size: (16, 16),
            pitch: 64,
            released: Said::default(),
        };
        canvas.buffer(client);
        canvas
    });
    if let Some(mut desktop) = desktop {
        assert_eq!(desktop.buffers(), (0, 0));
    }
}
