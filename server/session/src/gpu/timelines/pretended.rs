//! Timelines in this process: a client's is a file, known by its inode.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};

use drm::control::syncobj::Handle;
use rustix::fs::{FileType, fstat};

#[derive(Debug, Default)]
struct Line {
    last: u64,
    told: Vec<(u64, OwnedFd)>,
}

#[derive(Debug, Default)]
struct All {
    lines: BTreeMap<u64, Line>,
    handles: BTreeMap<u32, u64>,
    made: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Pretended(Mutex<All>);

impl All {
    fn line(&mut self, handle: Handle) -> io::Result<&mut Line> {
        let inode = self.handles.get(&u32::from(handle));
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        Ok(self.lines.entry(*inode).or_default())
    }

    fn reach(&mut self, inode: u64, value: u64) {
        let line = self.lines.entry(inode).or_default();
        line.last = line.last.max(value);
        let (past, left) = std::mem::take(&mut line.told)
            .into_iter()
            .partition(|(at, _)| *at <= value);
        line.told = left;
        for (_, told) in past {
            rustix::io::write(&told, &1u64.to_ne_bytes()).unwrap();
        }
    }
}

impl Pretended {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap()
    }

    pub(super) fn import(&self, fd: BorrowedFd<'_>) -> io::Result<Handle> {
        let found = fstat(fd)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut all = self.all();
        all.made += 1;
        let made = all.made;
        all.handles.insert(made, found.st_ino);
        Ok(Handle::from(NonZeroU32::new(made).unwrap()))
    }

    pub(super) fn destroy(&self, handle: Handle) -> io::Result<()> {
        let gone = self.all().handles.remove(&u32::from(handle));
        gone.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    pub(super) fn last(&self, handle: Handle) -> io::Result<u64> {
        Ok(self.all().line(handle)?.last)
    }

    pub(super) fn tell(&self, handle: Handle, value: u64, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut all = self.all();
        let line = all.line(handle)?;
        line.told.push((value, fd.try_clone_to_owned()?));
        let last = line.last;
        let inode = all.handles[&u32::from(handle)];
        all.reach(inode, last);
        Ok(())
    }

    pub(super) fn signal(&self, handle: Handle, value: u64) -> io::Result<()> {
        let mut all = self.all();
        all.line(handle)?;
        let inode = all.handles[&u32::from(handle)];
        all.reach(inode, value);
        Ok(())
    }

    /// The timeline that is this file reaches a point, as by its client's device.
    pub fn reach(&self, file: impl AsFd, value: u64) {
        let inode = fstat(file).unwrap().st_ino;
        self.all().reach(inode, value);
    }

    /// The last point that was signalled.
    pub fn reached(&self, file: impl AsFd) -> u64 {
        let inode = fstat(file).unwrap().st_ino;
        self.all().lines.get(&inode).map_or(0, |line| line.last)
    }

    /// How many are imported.
    pub fn count(&self) -> usize {
        self.all().handles.len()
    }
}
