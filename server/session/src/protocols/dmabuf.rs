//! zwp_linux_dmabuf_v1: clients' buffers of the graphics device, and when they may be read.

use std::time::Instant;

use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::wayland::compositor::{
    BufferAssignment, SurfaceAttributes, SurfaceData, add_pre_commit_hook, with_states,
};
use smithay::wayland::dmabuf::{
    DmabufFeedback, DmabufFeedbackBuilder, DmabufGlobal, DmabufHandler, DmabufState,
    ImportNotifier, get_dmabuf,
};
use tracing::{info, warn};

use super::fences::unfinished;
use super::syncobj::{self, Acquire};
use crate::app::{App, wake};
use crate::gpu::{Gpu, Offers, Refused};

/// The protocol, where clients may have such buffers.
#[derive(Debug)]
pub(crate) struct Dmabufs {
    state: DmabufState,
    global: Option<DmabufGlobal>,
}

impl Dmabufs {
    /// Announces it.
    pub(super) fn announce(handle: &DisplayHandle, gpu: &Gpu) -> Self {
        let mut state = DmabufState::new();
        let global = gpu.offered().and_then(|(device, offers)| {
            let feedback = feedback(device, offers);
            let feedback = feedback.inspect_err(|error| {
                warn!("clients get no buffers of the graphics device: {error}");
            });
            let feedback = feedback.ok()?;
            Some(state.create_global_with_default_feedback::<App>(handle, &feedback))
        });
        Self { state, global }
    }

    /// Something else is offered from now on; clients are told.
    fn offer(&self, device: u64, offers: &Offers) {
        match (&self.global, feedback(device, offers)) {
            (Some(global), Ok(feedback)) => self.state.set_default_feedback(global, &feedback),
            (None, _) => {}
            (_, Err(error)) => warn!("clients are not told of other buffers: {error}"),
        }
    }
}

/// What the encoder reads comes first: clients look for the first tranche that has something for them.
fn feedback(device: u64, offers: &Offers) -> std::io::Result<DmabufFeedback> {
    DmabufFeedbackBuilder::new(device, offers.others.clone())
        .add_preference_tranche(device, None, offers.encoded.clone())
        .build()
}

impl App {
    /// Where the device has ceased to read, clients are told that their buffers have to be linear, and need
    /// not be when it has come back.
    pub(crate) fn mind_offers(&mut self, now: Instant) {
        let buffers = &self.surfaces.buffers;
        if buffers.mind_reader(now, || wake(&self.events)) {
            let surfaces = self.surfaces.all_mut();
            surfaces.for_each(|surface| surface.read_again_at_once(now));
        }
        let Some(offers) = self.surfaces.buffers.take_new_offers() else {
            return;
        };
        if let Some((device, _)) = self.gpu.offered() {
            self.protocols.dmabuf.offer(device, &offers);
        }
    }
}

impl DmabufHandler for App {
    fn dmabuf_state(&mut self) -> &mut DmabufState {
        &mut self.protocols.dmabuf.state
    }

    fn dmabuf_imported(&mut self, _: &DmabufGlobal, dmabuf: Dmabuf, notifier: ImportNotifier) {
        let client = notifier.client().map(|client| client.id());
        let room = self.surfaces.buffers.have_room(client.as_ref());
        let taken = room.and_then(|hoarder| {
            if let Some(hoarder) = hoarder {
                let why = "it has more buffers than any other, and there are too many";
                self.send_away(hoarder, why);
            }
            self.surfaces.buffers.check(dmabuf)
        });
        match taken {
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
        let Some(client) = surface.client() else {
            return;
        };
        if !app.fences.note_commit(surface) {
            return app.send_away(
                client.id(),
                "it commits without end behind what it never draws",
            );
        }
        match with_states(surface, syncobj::take) {
            Acquire::Nothing => {}
            Acquire::Implicit => {
                if let Some(dmabuf) = with_states(surface, pending_dmabuf) {
                    app.hold_commit(surface, unfinished(dmabuf.handles()));
                }
            }
            Acquire::Point(point) if point.is_past() => {}
            Acquire::Point(_) if app.fences.are_too_many(&client.id()) => {
                app.send_away(client.id(), "too many commits wait for points");
            }
            Acquire::Point(point) => match point.told() {
                Ok(told) => app.hold_commit(surface, vec![told]),
                Err(error) => warn!("a client's point cannot be waited for: {error}"),
            },
        }
    });
}

fn pending_dmabuf(states: &SurfaceData) -> Option<Dmabuf> {
    let mut attributes = states.cached_state.get::<SurfaceAttributes>();
    match &attributes.pending().buffer {
        Some(BufferAssignment::NewBuffer(buffer)) => get_dmabuf(buffer).cloned().ok(),
        Some(BufferAssignment::Removed) | None => None,
    }
}
