//! linux-drm-syncobj-v1: clients say by points on timelines when their buffers are drawn, and hear in
//! the same way when those are free again.
//!
//! What is said with a commit is judged here; its acquire point is waited for beside fences
//! (`fences.rs`), its release point goes with the buffer ([`Release`]).
//!
//! smithay's own module for this is not used: it gives the kernel's handles of timelines never back, has
//! any number of them open, lets commits with a buffer and without points pass, and does not signal
//! points of commits that still wait when their surface goes.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_manager_v1::{
    self as manager, WpLinuxDrmSyncobjManagerV1,
};
use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_surface_v1::{
    self as surface_v1, Error, WpLinuxDrmSyncobjSurfaceV1,
};
use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_timeline_v1::{
    self as timeline_v1, WpLinuxDrmSyncobjTimelineV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource, Weak,
};
use smithay::wayland::compositor::{
    BufferAssignment, SurfaceAttributes, SurfaceData, with_states,
};
use smithay::wayland::dmabuf::get_dmabuf;

use crate::app::App;
use crate::gpu::{Gpu, Point, Queued, Release, Timeline, Timelines};

/// Timelines that a client may have: two for each buffer of many windows.
const MOST_OF_A_CLIENT: usize = 1024;

/// What the protocol keeps.
#[derive(Debug)]
pub(crate) struct Syncobj {
    timelines: Option<Timelines>,
    /// How many a client has.
    known: HashMap<ClientId, usize>,
}

impl Syncobj {
    /// Announces the protocol, where the device has timelines.
    pub(super) fn announce(handle: &DisplayHandle, gpu: &Gpu) -> Self {
        let timelines = gpu.timelines();
        if timelines.is_some() {
            handle.create_global::<App, WpLinuxDrmSyncobjManagerV1, ()>(1, ());
        }
        Self {
            timelines,
            known: HashMap::new(),
        }
    }

    /// Where they are, for tests.
    #[cfg(test)]
    pub(crate) fn timelines(&self) -> Option<&Timelines> {
        self.timelines.as_ref()
    }
}

/// What a surface's client has said since its last commit, and what waits of those before.
#[derive(Debug, Default)]
struct Said {
    object: Option<WpLinuxDrmSyncobjSurfaceV1>,
    acquire: Option<Point>,
    release: Option<Point>,
    queued: Vec<Queued>,
}

fn said(states: &SurfaceData) -> MutexGuard<'_, Said> {
    let said = states
        .data_map
        .get_or_insert_threadsafe(Mutex::<Said>::default);
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is attached with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attached {
    /// Nothing, or that there is no buffer from now on.
    Nothing,
    /// A DMA-BUF.
    DmaBuf,
    /// A buffer that needs no synchronisation, and has none.
    Other,
}

impl Attached {
    fn of(states: &SurfaceData) -> Self {
        let mut attributes = states.cached_state.get::<SurfaceAttributes>();
        match &attributes.pending().buffer {
            Some(BufferAssignment::NewBuffer(buffer)) => match get_dmabuf(buffer) {
                Ok(_) => Self::DmaBuf,
                Err(_) => Self::Other,
            },
            Some(BufferAssignment::Removed) | None => Self::Nothing,
        }
    }
}

/// What is wrong with a commit, in the order in which it is looked for. A point is its timeline, by
/// which two are told apart, and its value.
fn wrong<T: PartialEq>(
    attached: Attached,
    acquire: Option<(T, u64)>,
    release: Option<(T, u64)>,
) -> Option<(Error, &'static str)> {
    Some(match (attached, acquire, release) {
        (Attached::Nothing, None, None) => return None,
        (Attached::Nothing, ..) => (Error::NoBuffer, "points without a buffer"),
        (Attached::Other, ..) => (
            Error::UnsupportedBuffer,
            "only buffers of linux-dmabuf are synchronised explicitly",
        ),
        (Attached::DmaBuf, None, _) => (Error::NoAcquirePoint, "a buffer without an acquire point"),
        (Attached::DmaBuf, _, None) => (Error::NoReleasePoint, "a buffer without a release point"),
        (Attached::DmaBuf, Some(acquire), Some(release))
            if acquire.0 == release.0 && acquire.1 >= release.1 =>
        {
            (
                Error::ConflictingPoints,
                "the buffer is free before it is drawn",
            )
        }
        (Attached::DmaBuf, Some(_), Some(_)) => return None,
    })
}

/// What a commit is to wait for.
pub(super) enum Acquire {
    /// The buffer's own fences, where it has some.
    Implicit,
    /// This point.
    Point(Point),
    /// Nothing: there is no buffer, or its client was told what is wrong.
    Nothing,
}

/// Takes what was said with a commit, from one of its surface's hooks.
pub(super) fn take(states: &SurfaceData) -> Acquire {
    let mut said = said(states);
    let Some(object) = said.object.clone() else {
        return Acquire::Implicit;
    };
    let (acquire, release) = (said.acquire.take(), said.release.take());
    let of = |point: &Option<Point>| {
        let point = point.as_ref()?;
        Some((Arc::as_ptr(&point.timeline), point.value))
    };
    if let Some((error, why)) = wrong(Attached::of(states), of(&acquire), of(&release)) {
        object.post_error(error, why);
        return Acquire::Nothing;
    }
    let (Some(acquire), Some(release)) = (acquire, release) else {
        return Acquire::Nothing;
    };
    let release = Release::at(release);
    said.queued.retain(Queued::waits);
    said.queued.push(release.queued());
    release.queue(states);
    Acquire::Point(acquire)
}

/// A surface is gone: buffers of commits that still wait are free.
pub(super) fn forget(states: &SurfaceData) {
    let mut said = said(states);
    said.queued.drain(..).for_each(|queued| queued.end());
    (said.acquire, said.release) = (None, None);
}

impl GlobalDispatch<WpLinuxDrmSyncobjManagerV1, ()> for App {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<WpLinuxDrmSyncobjManagerV1>,
        (): &(),
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(manager, ());
    }
}

impl Dispatch<WpLinuxDrmSyncobjManagerV1, ()> for App {
    fn request(
        app: &mut Self,
        client: &Client,
        manager: &WpLinuxDrmSyncobjManagerV1,
        request: manager::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        match request {
            manager::Request::GetSurface { id, surface } => with_states(&surface, |states| {
                let mut said = said(states);
                if said.object.is_some() {
                    let why = "the surface has such an object already";
                    return manager.post_error(manager::Error::SurfaceExists, why);
                }
                said.object = Some(init.init(id, surface.downgrade()));
            }),
            manager::Request::ImportTimeline { id, fd } => match app.import(client, &fd) {
                Ok(timeline) => {
                    init.init(id, Arc::new(timeline));
                }
                Err(why) => manager.post_error(manager::Error::InvalidTimeline, why),
            },
            _ => {}
        }
    }
}

impl App {
    fn import(&mut self, client: &Client, fd: &OwnedFd) -> Result<Timeline, String> {
        let syncobj = &mut self.protocols.syncobj;
        let timelines = syncobj.timelines.as_ref().ok_or("there is no device")?;
        let known = syncobj.known.entry(client.id()).or_default();
        if *known >= MOST_OF_A_CLIENT {
            return Err(format!("a client has {MOST_OF_A_CLIENT} timelines at most"));
        }
        let timeline = timelines.import(fd.as_fd());
        let timeline = timeline.map_err(|error| format!("this is no timeline: {error}"))?;
        *known += 1;
        Ok(timeline)
    }
}

impl Dispatch<WpLinuxDrmSyncobjTimelineV1, Arc<Timeline>> for App {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &WpLinuxDrmSyncobjTimelineV1,
        _: timeline_v1::Request,
        _: &Arc<Timeline>,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }

    fn destroyed(
        app: &mut Self,
        client: ClientId,
        _: &WpLinuxDrmSyncobjTimelineV1,
        _: &Arc<Timeline>,
    ) {
        let known = &mut app.protocols.syncobj.known;
        if let Some(count) = known.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                known.remove(&client);
            }
        }
    }
}

impl Dispatch<WpLinuxDrmSyncobjSurfaceV1, Weak<WlSurface>> for App {
    fn request(
        _: &mut Self,
        _: &Client,
        object: &WpLinuxDrmSyncobjSurfaceV1,
        request: surface_v1::Request,
        surface: &Weak<WlSurface>,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        let surface = surface.upgrade().ok().filter(Resource::is_alive);
        let point = |timeline: WpLinuxDrmSyncobjTimelineV1, high: u32, low: u32| {
            let timeline = timeline.data::<Arc<Timeline>>().cloned()?;
            let value = u64::from(high) << 32 | u64::from(low);
            Some(Point { timeline, value })
        };
        let Some(surface) = surface else {
            if !matches!(request, surface_v1::Request::Destroy) {
                object.post_error(Error::NoSurface, "the surface is gone");
            }
            return;
        };
        with_states(&surface, |states| {
            let mut said = said(states);
            match request {
                surface_v1::Request::SetAcquirePoint {
                    timeline,
                    point_hi,
                    point_lo,
                } => said.acquire = point(timeline, point_hi, point_lo),
                surface_v1::Request::SetReleasePoint {
                    timeline,
                    point_hi,
                    point_lo,
                } => said.release = point(timeline, point_hi, point_lo),
                // What was committed stays as it is.
                surface_v1::Request::Destroy => {
                    (said.object, said.acquire, said.release) = (None, None, None);
                }
                _ => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_points_has_the_error_of_the_specification() {
        let judge = |attached, acquire, release| wrong(attached, acquire, release).map(|(e, _)| e);
        let (none, at) = (None::<(u8, u64)>, |line: u8, value: u64| {
            Some((line, value))
        });
        for attached in [Attached::Nothing, Attached::DmaBuf, Attached::Other] {
            let expected = match attached {
                Attached::Nothing => [None, Some(Error::NoBuffer), Some(Error::NoBuffer)],
                Attached::DmaBuf => [
                    Some(Error::NoAcquirePoint),
                    Some(Error::NoReleasePoint),
                    None,
                ],
                Attached::Other => [Some(Error::UnsupportedBuffer); 3],
            };
            let found = [
                judge(attached, none, none),
                judge(attached, at(1, 1), none),
                judge(attached, at(1, 1), at(2, 1)),
            ];
            assert_eq!(found, expected, "{attached:?}");
        }
        assert_eq!(
            judge(Attached::DmaBuf, none, at(1, 2)),
            Some(Error::NoAcquirePoint)
        );
        for (acquire, release, is_wrong) in [(1, 2, false), (2, 2, true), (3, 2, true)] {
            let same = judge(Attached::DmaBuf, at(1, acquire), at(1, release));
            assert_eq!(same, is_wrong.then_some(Error::ConflictingPoints));
            let others = judge(Attached::DmaBuf, at(1, acquire), at(2, release));
            assert_eq!(others, None);
        }
        let last = judge(Attached::DmaBuf, at(1, u64::MAX - 1), at(1, u64::MAX));
        assert_eq!(last, None);
    }
}
