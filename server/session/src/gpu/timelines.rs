//! Timelines that clients and devices share: a point on one says that a buffer is drawn, a point on
//! another that nobody reads it any more. They are the kernel's synchronisation objects.
//!
//! ```text
//!   imported ─► Timeline ─┬─► Point ─► is past, or a descriptor that tells when it is
//!                         └─► Release: queued ─► taken (its buffer is in use) ─► over: signalled
//!                                         └── its surface is gone ──────────────►┘
//! ```

#[cfg(test)]
mod pretended;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use drm::control::Device as _;
use drm::control::syncobj::Handle;
use drm::{Device as _, DriverCapability};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use smithay::reexports::wayland_server::DisplayHandle;
use smithay::wayland::compositor::{Cacheable, SurfaceData};
use tracing::debug;

/// Why clients are not offered explicit synchronisation.
#[derive(Debug, thiserror::Error)]
pub enum NoTimelines {
    /// The node cannot be opened once more.
    #[error("the render node cannot be opened: {0}")]
    Closed(io::Error),
    /// The driver has none.
    #[error("its kernel driver has no timelines (DRM_CAP_SYNCOBJ_TIMELINE)")]
    Driver,
    /// The kernel cannot tell an event loop of a point.
    #[error("the kernel does not tell of points by eventfd, as Linux 6.6 and newer do: {0}")]
    Kernel(io::Error),
}

/// A render node.
#[derive(Debug)]
struct Node(File);

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Node {}
impl drm::control::Device for Node {}

/// Where timelines are.
#[derive(Debug)]
enum Backend {
    /// In the kernel.
    Node(Node),
    /// In this process, for tests on machines without a device.
    #[cfg(test)]
    Pretended(pretended::Pretended),
}

/// Timelines of a device.
#[derive(Debug, Clone)]
pub struct Timelines(Arc<Backend>);

impl Timelines {
    /// Looks whether the device of a render node has them, by trying.
    pub fn open(node: &Path) -> Result<Self, NoTimelines> {
        let file = File::options().read(true).write(true).open(node);
        let node = Node(file.map_err(NoTimelines::Closed)?);
        let capability = node.get_driver_capability(DriverCapability::TimelineSyncObj);
        if !capability.is_ok_and(|has| has == 1) {
            return Err(NoTimelines::Driver);
        }
        let handle = node.create_syncobj(false).map_err(NoTimelines::Kernel)?;
        let timelines = Self(Arc::new(Backend::Node(node)));
        timelines.try_out(handle).map_err(NoTimelines::Kernel)?;
        Ok(timelines)
    }

    /// Those of no device.
    #[cfg(test)]
    pub fn pretended() -> Self {
        Self(Arc::new(
            Backend::Pretended(pretended::Pretended::default()),
        ))
    }

    /// What is in this process.
    #[cfg(test)]
    pub fn of_test(&self) -> &pretended::Pretended {
        match &*self.0 {
            Backend::Pretended(pretended) => pretended,
            Backend::Node(_) => panic!("these are a device's"),
        }
    }

    /// A point that is waited for before it is signalled is told of when it is.
    fn try_out(&self, handle: Handle) -> io::Result<()> {
        let timeline = Arc::new(Timeline {
            of: self.clone(),
            handle,
        });
        let point = Point { timeline, value: 1 };
        let told = point.told()?;
        point.signal()?;
        let mut asked = [PollFd::new(&told, PollFlags::IN)];
        match poll(&mut asked, Some(&Timespec::default()))? {
            1 if point.is_past() => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Takes a client's timeline in. What it is a descriptor of need not be one.
    pub fn import(&self, fd: BorrowedFd<'_>) -> io::Result<Timeline> {
        let handle = match &*self.0 {
            Backend::Node(node) => node.fd_to_syncobj(fd, false)?,
            #[cfg(test)]
            Backend::Pretended(pretended) => pretended.import(fd)?,
        };
        Ok(Timeline {
            of: self.clone(),
            handle,
        })
    }
}

/// A timeline, as long as this lives.
#[derive(Debug)]
pub struct Timeline {
    of: Timelines,
    handle: Handle,
}

impl Drop for Timeline {
    fn drop(&mut self) {
        let destroyed = match &*self.of.0 {
            Backend::Node(node) => node.destroy_syncobj(self.handle),
            #[cfg(test)]
            Backend::Pretended(pretended) => pretended.destroy(self.handle),
        };
        if let Err(error) = destroyed {
            debug!("a client's timeline cannot be given back: {error}");
        }
    }
}

/// A point on a timeline.
#[derive(Debug, Clone)]
pub struct Point {
    /// The timeline.
    pub timeline: Arc<Timeline>,
    /// Where on it.
    pub value: u64,
}

impl Point {
    /// Whether it has been signalled.
    pub fn is_past(&self) -> bool {
        let handle = self.timeline.handle;
        let last = match &*self.timeline.of.0 {
            Backend::Node(node) => {
                let mut last = [0];
                let asked = node.syncobj_timeline_query(&[handle], &mut last, false);
                asked.map(|()| last[0])
            }
            #[cfg(test)]
            Backend::Pretended(pretended) => pretended.last(handle),
        };
        last.is_ok_and(|last| last >= self.value)
    }

    /// A descriptor that becomes readable when it is signalled, also where nobody has promised yet that
    /// it will be.
    pub fn told(&self) -> io::Result<OwnedFd> {
        let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let handle = self.timeline.handle;
        match &*self.timeline.of.0 {
            Backend::Node(node) => node.syncobj_eventfd(handle, self.value, told.as_fd(), false)?,
            #[cfg(test)]
            Backend::Pretended(pretended) => pretended.tell(handle, self.value, told.as_fd())?,
        }
        Ok(told)
    }

    fn signal(&self) -> io::Result<()> {
        let handle = self.timeline.handle;
        match &*self.timeline.of.0 {
            Backend::Node(node) => node.syncobj_timeline_signal(&[handle], &[self.value]),
            #[cfg(test)]
            Backend::Pretended(pretended) => pretended.signal(handle, self.value),
        }
    }
}

/// What one commit has of a buffer: its client is told when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Release(Arc<Use>);

#[derive(Debug)]
struct Use(Mutex<Stage>);

#[derive(Debug)]
enum Stage {
    /// Its commit waits.
    Queued(Point),
    /// Its buffer is read, or may be.
    Taken(Point),
    /// Its client knows that nobody does any more.
    Over,
}

impl Use {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, stage: &mut Stage) {
        let (Stage::Queued(point) | Stage::Taken(point)) = std::mem::replace(stage, Stage::Over)
        else {
            return;
        };
        if let Err(error) = point.signal() {
            debug!("a client is not told that its buffer is free: {error}");
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut stage = self.stage();
        self.end(&mut stage);
    }
}

impl Release {
    /// For a commit whose buffer is free when `point` is signalled.
    pub fn at(point: Point) -> Self {
        Self(Arc::new(Use(Mutex::new(Stage::Queued(point)))))
    }

    /// That of the commit which has just been applied to a surface.
    pub fn of_commit(states: &SurfaceData) -> Option<Self> {
        let mut cached = states.cached_state.get::<Committed>();
        let release = cached.current().0.take()?;
        {
            let mut stage = release.0.stage();
            if let Stage::Queued(point) = &*stage {
                *stage = Stage::Taken(point.clone());
            }
        }
        Some(release)
    }

    /// Of a commit that was just made, and may wait.
    pub fn queue(self, states: &SurfaceData) {
        let mut cached = states.cached_state.get::<Committed>();
        cached.pending().0 = Some(self);
    }

    /// To find it again while its commit waits.
    pub fn queued(&self) -> Queued {
        Queued(Arc::downgrade(&self.0))
    }
}

/// A use that waits for its commit.
#[derive(Debug, Clone)]
pub struct Queued(Weak<Use>);

impl Queued {
    /// Whether its commit still waits.
    pub fn waits(&self) -> bool {
        let known = self.0.upgrade();
        known.is_some_and(|known| matches!(*known.stage(), Stage::Queued(_)))
    }

    /// Its surface is gone: where its commit still waits, its buffer is never read.
    pub fn end(&self) {
        if let Some(known) = self.0.upgrade() {
            let mut stage = known.stage();
            if let Stage::Queued(_) = *stage {
                known.end(&mut stage);
            }
        }
    }
}

/// What is committed with a buffer. One that another takes the place of is over.
#[derive(Debug, Default)]
struct Committed(Option<Release>);

impl Cacheable for Committed {
    fn commit(&mut self, _: &DisplayHandle) -> Self {
        Self(self.0.take())
    }

    fn merge_into(self, into: &mut Self, _: &DisplayHandle) {
        if self.0.is_some() {
            *into = self;
        }
    }
}
