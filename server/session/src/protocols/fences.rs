//! Commits that wait until their buffers are drawn: for the buffers' own fences, or for points that
//! their clients name. The loop hears of each by a descriptor, and waits for none.
//!
//! ```text
//!   committed ─► held, by so many descriptors ─► all readable ─► applied
//!                    └── its surface is gone ──► forgotten
//! ```
//!
//! A point may never come. Then the surface keeps what it shows, and its client is sent away when it goes
//! on committing for long.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode, PostAction, RegistrationToken};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, Resource};
use smithay::wayland::compositor::{Barrier, CompositorHandler, add_blocker, get_parent};
use tracing::warn;

use crate::app::App;

/// Descriptors that commits of a client may wait for: two a plane of each buffer of many windows.
const MOST_OF_A_CLIENT: usize = 64;
/// And those of all clients together.
const MOST: usize = 256;
/// Commits to a surface that waits: a minute of a program that does not look whether it is shown.
const MOST_BEHIND: usize = 4096;

/// Commits that are held back.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    last: u64,
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    client: Client,
    surface: WlSurface,
    barrier: Barrier,
    sources: Vec<RegistrationToken>,
    /// Descriptors that are not readable yet.
    left: usize,
    /// Commits that have come since then and have to wait as well.
    behind: usize,
}

/// How many more descriptors may be waited for, where so many are by a client and by all.
fn room(of_it: usize, all: usize) -> usize {
    let own = MOST_OF_A_CLIENT.saturating_sub(of_it);
    own.min(MOST.saturating_sub(all))
}

impl Fences {
    fn room(&self, client: &ClientId) -> usize {
        let of_it = self
            .held
            .values()
            .filter(|held| held.client.id() == *client);
        let all = self.held.values().map(|held| held.left).sum();
        room(of_it.map(|held| held.left).sum(), all)
    }

    /// Whether a client has as many as it may.
    pub(super) fn are_too_many(&self, client: &ClientId) -> bool {
        let of_it = self
            .held
            .values()
            .filter(|held| held.client.id() == *client);
        of_it.map(|held| held.left).sum::<usize>() >= MOST_OF_A_CLIENT
    }

    /// A client commits to a surface, maybe behind what is held of it or of its subsurfaces. False where
    /// it does so without end.
    pub(super) fn note_commit(&mut self, surface: &WlSurface) -> bool {
        let is_behind = |held: &&mut Held| {
            let mut above = std::iter::successors(Some(held.surface.clone()), get_parent);
            above.any(|above| above == *surface)
        };
        let held = self.held.values_mut().find(is_behind);
        held.is_none_or(|held| {
            held.behind += 1;
            held.behind <= MOST_BEHIND
        })
    }

    /// How many are held back, and how many descriptors they wait for.
    #[cfg(test)]
    pub(crate) fn count(&self) -> (usize, usize) {
        let left = self.held.values().map(|held| held.left).sum();
        (self.held.len(), left)
    }
}

impl App {
    /// Holds back the commit of a surface, from one of its hooks, until all of `fences` are readable. Of
    /// those beyond what its client may have none is waited for.
    pub(crate) fn hold_commit(&mut self, surface: &WlSurface, fences: Vec<OwnedFd>) {
        let Some(client) = surface.client().filter(|_| !fences.is_empty()) else {
            return;
        };
        let (room, barrier) = (self.fences.room(&client.id()), Barrier::new(false));
        self.fences.last += 1;
        let id = self.fences.last;
        let mut sources = Vec::new();
        for fence in fences.into_iter().take(room) {
            let source = Generic::new(fence, Interest::READ, Mode::Level);
            let inserted = self.event_loop.insert_source(source, move |_, _, app| {
                app.fence_passed(id);
                Ok(PostAction::Remove)
            });
            match inserted {
                Ok(source) => sources.push(source),
                Err(error) => warn!("a client's buffer cannot be waited for: {error}"),
            }
        }
        if sources.is_empty() {
            return;
        }
        add_blocker(surface, barrier.clone());
        let held = Held {
            client,
            surface: surface.clone(),
            barrier,
            left: sources.len(),
            sources,
            behind: 0,
        };
        self.fences.held.insert(id, held);
    }

    fn fence_passed(&mut self, id: u64) {
        let Some(held) = self.fences.held.get_mut(&id) else {
            return;
        };
        held.left -= 1;
        if held.left > 0 {
            return;
        }
        if let Some(held) = self.fences.held.remove(&id) {
            self.let_through(&held);
        }
    }

    /// Nobody waits any more for what was committed to a surface that is gone.
    pub(super) fn forget_fences(&mut self, surface: &WlSurface) {
        let of_it = self
            .fences
            .held
            .iter()
            .filter(|(_, held)| held.surface == *surface);
        let gone: Vec<u64> = of_it.map(|(id, _)| *id).collect();
        for id in gone {
            let Some(held) = self.fences.held.remove(&id) else {
                continue;
            };
            for source in &held.sources {
                self.event_loop.remove(*source);
            }
            // Its parent's commits may have waited with it. They are applied when this request is done.
            self.event_loop
                .insert_idle(move |app| app.let_through(&held));
        }
    }

    fn let_through(&mut self, held: &Held) {
        held.barrier.signal();
        let handle = self.handle.clone();
        let state = self.client_compositor_state(&held.client);
        state.blocker_cleared(self, &handle);
    }
}

/// Those that are not readable yet, kept open.
pub(super) fn unfinished<'a>(fences: impl Iterator<Item = BorrowedFd<'a>>) -> Vec<OwnedFd> {
    let waits = |fence: &BorrowedFd<'_>| {
        let mut asked = [PollFd::new(fence, PollFlags::IN)];
        matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
    };
    // The same buffer may be waited for twice, which epoll does not allow of one descriptor.
    let kept = fences.filter(waits).map(|fence| fence.try_clone_to_owned());
    kept.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_takes_no_other_ones_place() {
        assert_eq!(room(0, 0), MOST_OF_A_CLIENT);
        assert_eq!(room(MOST_OF_A_CLIENT, MOST_OF_A_CLIENT), 0);
        assert_eq!(room(0, MOST_OF_A_CLIENT), MOST_OF_A_CLIENT);
        assert_eq!(room(0, MOST - 3), 3);
        assert_eq!(room(0, MOST), 0);
    }
}
