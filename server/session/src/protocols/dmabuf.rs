//! zwp_linux_dmabuf_v1: clients' buffers of the graphics device, and when they may be read.

use std::cell::Cell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode, PostAction};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::wayland::compositor::{
    Barrier, BufferAssignment, CompositorHandler, SurfaceAttributes, add_blocker,
    add_pre_commit_hook, with_states,
};
use smithay::wayland::dmabuf::{
    DmabufFeedbackBuilder, DmabufGlobal, DmabufHandler, DmabufState, ImportNotifier, get_dmabuf,
};
use tracing::{info, warn};

use crate::app::App;
use crate::gpu::{Gpu, Memory, Refused};

/// Fences that are waited for at once, each by a descriptor. Beyond them, commits do not wait, and may
/// show what is not finished.
const MOST_FENCES: usize = 128;

/// Announces the protocol, where clients may have such buffers.
pub(super) fn announce(handle: &DisplayHandle, gpu: &Gpu) -> DmabufState {
    let mut state = DmabufState::new();
    if let Some((device, formats)) = gpu.offered() {
        match DmabufFeedbackBuilder::new(device, formats).build() {
            Ok(feedback) => {
                state.create_global_with_default_feedback::<App>(handle, &feedback);
            }
            Err(error) => warn!("clients get no buffers of the graphics device: {error}"),
        }
    }
    state
}

impl DmabufHandler for App {
    fn dmabuf_state(&mut self) -> &mut DmabufState {
        &mut self.protocols.dmabuf
    }

    fn dmabuf_imported(&mut self, _: &DmabufGlobal, dmabuf: Dmabuf, notifier: ImportNotifier) {
        let client = notifier.client().map(|client| client.id());
        let room = self.surfaces.buffers.have_room(client.as_ref());
        match room.and_then(|()| Memory::check(dmabuf)) {
            Ok(memory) => {
                // Its client may have gone in the meantime.
                if let Ok(buffer) = notifier.successful::<Self>() {
                    self.surfaces.buffers.add(&buffer, memory);
                }
            }
            Err(refused) => {
                // It goes to its client as well, who may live on with shared memory.
                info!("a client's buffer is not taken: {refused}");
                match refused {
                    Refused::Claim(heliostat_va::dmabuf::Refused::Planes { .. }) => {
                        notifier.incomplete();
                    }
                    _ => notifier.failed(),
                }
            }
        }
    }
}

/// A surface's commits wait until what draws into their buffers has ended.
pub(super) fn await_fences(surface: &WlSurface) {
    add_pre_commit_hook::<App, _>(surface, |app, _, surface| {
        let dmabuf = with_states(surface, |states| {
            let mut attributes = states.cached_state.get::<SurfaceAttributes>();
            match &attributes.pending().buffer {
                Some(BufferAssignment::NewBuffer(buffer)) => get_dmabuf(buffer).cloned().ok(),
                Some(BufferAssignment::Removed) | None => None,
            }
        });
        if let Some(dmabuf) = dmabuf {
            app.hold_commit(surface, dmabuf.handles());
        }
    });
}

impl App {
    /// Holds back the commit of a surface, from one of its hooks, until all of `fences` are readable.
    pub(crate) fn hold_commit<'a>(
        &mut self,
        surface: &WlSurface,
        fences: impl Iterator<Item = BorrowedFd<'a>>,
    ) {
        let waits = |fence: &BorrowedFd<'_>| {
            let mut asked = [PollFd::new(fence, PollFlags::IN)];
            matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
        };
        // The same buffer may be waited for twice, which epoll does not allow of one descriptor.
        let fences = fences.filter(waits).take(MOST_FENCES - self.fences);
        let fences: Vec<OwnedFd> = fences
            .filter_map(|fence| fence.try_clone_to_owned().ok())
            .collect();
        let Some(client) = surface.client().filter(|_| !fences.is_empty()) else {
            return;
        };
        let (barrier, left) = (Barrier::new(false), Rc::new(Cell::new(fences.len())));
        for fence in fences {
            let (barrier, left, client) = (barrier.clone(), Rc::clone(&left), client.clone());
            let source = Generic::new(fence, Interest::READ, Mode::Level);
            let passed = move |app: &mut App| {
                app.fences -= 1;
                left.set(left.get() - 1);
                if left.get() == 0 {
                    barrier.signal();
                    let handle = app.handle.clone();
                    let state = app.client_compositor_state(&client);
                    state.blocker_cleared(app, &handle);
                }
            };
            self.fences += 1;
            let inserted = self.event_loop.insert_source(source, {
                let passed = passed.clone();
                move |_, _, app| {
                    passed(app);
                    Ok(PostAction::Remove)
                }
            });
            if let Err(error) = inserted {
                warn!("a client's buffer cannot be waited for: {error}");
                passed(self);
            }
        }
        add_blocker(surface, barrier);
    }
}
