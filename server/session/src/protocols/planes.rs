//! Planes of buffers that clients are about to make: each is a descriptor of ours until the buffer is
//! made, which is counted elsewhere, or its description is thrown away.

use std::collections::HashMap;
use std::hash::Hash;
use std::os::fd::AsFd;

use heliostat_va::dmabuf::{Refused, is_steady};
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_buffer_params_v1::{
    Error, Request, ZwpLinuxBufferParamsV1,
};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_feedback_v1::ZwpLinuxDmabufFeedbackV1;
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;
use smithay::reexports::wayland_server::backend::{ClientId, ObjectId};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, Resource, delegate_dispatch,
    delegate_global_dispatch,
};
use smithay::wayland::dmabuf::{
    DmabufData, DmabufFeedbackData, DmabufGlobalData, DmabufParamsData, DmabufState,
};

use tracing::info;

use super::shm::close;
use crate::app::App;

/// Planes that a client may have pending: a buffer has four, and is made at once by every program.
const MOST_OF_A_CLIENT: usize = 32;
/// And all clients together.
const MOST: usize = 1024;

/// How many planes are pending in each description, and whose it is.
#[derive(Debug)]
pub(crate) struct Planes<P = ObjectId, C = ClientId> {
    pending: HashMap<P, (C, usize)>,
}

impl<P, C> Default for Planes<P, C> {
    fn default() -> Self {
        let pending = HashMap::new();
        Self { pending }
    }
}

impl<P: Eq + Hash, C: Eq> Planes<P, C> {
    /// A client adds one. False where it has too many, or all together have.
    fn add(&mut self, params: P, client: C) -> bool {
        let counts = || self.pending.values().map(|(_, count)| count);
        let all: usize = counts().sum();
        let of_it = self.pending.values().filter(|(owner, _)| *owner == client);
        let of_it: usize = of_it.map(|(_, count)| count).sum();
        if of_it >= MOST_OF_A_CLIENT || all >= MOST {
            return false;
        }
        self.pending.entry(params).or_insert((client, 0)).1 += 1;
        true
    }

    /// A buffer was made of them, or their description is gone.
    fn remove(&mut self, params: &P) {
        self.pending.remove(params);
    }
}

impl Dispatch<ZwpLinuxBufferParamsV1, DmabufParamsData> for App {
    fn request(
        app: &mut Self,
        client: &Client,
        params: &ZwpLinuxBufferParamsV1,
        request: Request,
        data: &DmabufParamsData,
        handle: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let is_made = matches!(
            request,
            Request::Create { .. } | Request::CreateImmed { .. }
        );
        if let Request::Add { .. } = request
            && !app.protocols.planes.add(params.id(), client.id())
        {
            return app.send_away(
                client.id(),
                "too many planes of buffers that are never made",
            );
        }
        let request = match request {
            // Smithay asks for its size, for which the client could have us wait.
            Request::Add { fd, plane_idx, .. } if !is_steady(fd.as_fd()) => {
                let refused = Refused::Unsteady(plane_idx as usize);
                info!("a client's buffer is not taken: {refused}");
                params.post_error(Error::InvalidWlBuffer, refused.to_string());
                return close(fd);
            }
            request => request,
        };
        <DmabufState as Dispatch<_, _, Self>>::request(
            app, client, params, request, data, handle, init,
        );
        if is_made {
            app.protocols.planes.remove(&params.id());
        }
    }

    fn destroyed(
        app: &mut Self,
        _: ClientId,
        params: &ZwpLinuxBufferParamsV1,
        _: &DmabufParamsData,
    ) {
        app.protocols.planes.remove(&params.id());
    }
}

// What smithay's own macro does, but for the descriptions above.
delegate_global_dispatch!(App: [ZwpLinuxDmabufV1: DmabufGlobalData] => DmabufState);
delegate_dispatch!(App: [ZwpLinuxDmabufV1: DmabufData] => DmabufState);
delegate_dispatch!(App: [WlBuffer: Dmabuf] => DmabufState);
delegate_dispatch!(App: [ZwpLinuxDmabufFeedbackV1: DmabufFeedbackData] => DmabufState);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_gets_so_many_and_all_together_not_many_times_that() {
        let mut planes = Planes::<u32, u32>::default();
        let taken = (0..100).filter(|n| planes.add(n / 4, 1)).count();
        assert_eq!(taken, MOST_OF_A_CLIENT);
        let of_others = (0..5000)
            .filter(|n| planes.add(1000 + n, 2 + n % 50))
            .count();
        assert_eq!(of_others, MOST - MOST_OF_A_CLIENT);
        assert!(!planes.add(9000, 99));
        (0..8).for_each(|params| planes.remove(&params));
        assert!(planes.add(9000, 99) && planes.add(0, 1));
    }
}
