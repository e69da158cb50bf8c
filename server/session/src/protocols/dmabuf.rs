//! zwp_linux_dmabuf_v1: clients' buffers of the graphics device, and when they may be read.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode, PostAction, RegistrationToken};
use smithay::reexports::wayland_server::backend::{ClientId, ObjectId};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, DisplayHandle, Resource};
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
/// And those of one client, so that no other has to do without.
const MOST_FENCES_OF_A_CLIENT: usize = 32;

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
        let Some(client) = surface.client() else {
            return;
        };
        let waits = |fence: &BorrowedFd<'_>| {
            let mut asked = [PollFd::new(fence, PollFlags::IN)];
            matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
        };
        // The same buffer may be waited for twice, which epoll does not allow of one descriptor.
        let room = self.protocols.fences.room(&client.id());
        let fences = fences.filter(waits).take(room);
        let fences: Vec<OwnedFd> = fences
            .filter_map(|fence| fence.try_clone_to_owned().ok())
            .collect();
        if fences.is_empty() {
            return;
        }
        let barrier = Barrier::new(false);
        let left = Rc::new(Cell::new(fences.len()));
        for fence in fences {
            let id = self.protocols.fences.next_id();
            let wait = Wait {
                surface: surface.id(),
                client: client.clone(),
                barrier: barrier.clone(),
                left: Rc::clone(&left),
            };
            let source = Generic::new(fence, Interest::READ, Mode::Level);
            let inserted = self.event_loop.insert_source(source, move |_, _, app| {
                if let Some((wait, _)) = app.protocols.fences.waited.remove(&id) {
                    app.fence_passed(&wait);
                }
                Ok(PostAction::Remove)
            });
            match inserted {
                Ok(token) => {
                    self.protocols.fences.waited.insert(id, (wait, token));
                }
                Err(error) => {
                    warn!("a client's buffer cannot be waited for: {error}");
                    self.fence_passed(&wait);
                }
            }
        }
        add_blocker(surface, barrier);
    }

    fn fence_passed(&mut self, wait: &Wait) {
        wait.left.set(wait.left.get() - 1);
        if wait.left.get() == 0 {
            wait.barrier.signal();
            let handle = self.handle.clone();
            let state = self.client_compositor_state(&wait.client);
            state.blocker_cleared(self, &handle);
        }
    }

    /// A surface is gone: nobody waits for its fences, which may never pass. What was committed
    /// together with it may be shown; not before the surface has gone wholly.
    pub(super) fn forget_fences(&mut self, surface: &WlSurface) {
        let of_it = self.protocols.fences.take(&surface.id());
        if of_it.is_empty() {
            return;
        }
        for (_, token) in &of_it {
            self.event_loop.remove(*token);
        }
        self.event_loop.insert_idle(move |app| {
            of_it.iter().for_each(|(wait, _)| app.fence_passed(wait));
        });
    }
}

/// A fence that is waited for.
#[derive(Debug)]
struct Wait {
    surface: ObjectId,
    client: Client,
    barrier: Barrier,
    /// Fences of the commit that have not passed.
    left: Rc<Cell<usize>>,
}

/// All fences that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    last: u64,
    waited: BTreeMap<u64, (Wait, RegistrationToken)>,
}

impl Fences {
    fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// How many more a client may have waited for.
    fn room(&self, client: &ClientId) -> usize {
        let waits = self.waited.values();
        let of_it = waits.filter(|(wait, _)| wait.client.id() == *client);
        let of_it = MOST_FENCES_OF_A_CLIENT.saturating_sub(of_it.count());
        of_it.min(MOST_FENCES.saturating_sub(self.waited.len()))
    }

    fn take(&mut self, surface: &ObjectId) -> Vec<(Wait, RegistrationToken)> {
        let of_it = |(id, (wait, _)): (&u64, &(Wait, _))| (wait.surface == *surface).then_some(*id);
        let ids: Vec<u64> = self.waited.iter().filter_map(of_it).collect();
        let waited = ids.iter().filter_map(|id| self.waited.remove(id));
        waited.collect()
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waited.len()
    }
}
