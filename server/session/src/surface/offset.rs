//! Commits that move their surface, or what is on it: wl_subsurface.set_position and its order, and
//! wl_surface.offset.
//!
//! Windows, popups and bars stand where the session has put them, so that their offset is not taken.
//! That of a synchronised subsurface is lost on the way here: smithay 0.7 commits such a surface once
//! more with its parent, and an offset that was not given then takes the place of the one that was.

use smithay::input::pointer::CursorImageSurfaceData;
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};
use smithay::wayland::compositor::{
    SUBSURFACE_ROLE, SubsurfaceCachedState, SurfaceAttributes, SurfaceData,
};
use smithay::wayland::seat::CURSOR_IMAGE_ROLE;
use smithay::wayland::selection::data_device::DND_ICON_ROLE;

use super::{Surface, Surfaces};

/// How far a surface is moved at most: further than any desk.
const FARTHEST: i32 = 1 << 20;

impl Surfaces {
    /// What is on a surface was put in another order, which is shown with the surface's next commit.
    /// Smithay does not keep it until then: it comes with whatever is shown before.
    pub fn restack(&mut self, surface: &WlSurface) {
        if let Some(known) = self.surfaces.get_mut(&surface.id()) {
            known.is_restacked = true;
        }
    }
}

impl Surface {
    /// Takes to where a commit has moved the surface. Returns whether it, or what is on it, stands elsewhere
    /// now.
    pub(super) fn take_place(
        &mut self,
        states: &SurfaceData,
        attributes: &mut SurfaceAttributes,
    ) -> bool {
        let is_offset = self.take_offset(states, attributes);
        let mut cached = states.cached_state.get::<SubsurfaceCachedState>();
        let position = cached.current().location;
        let is_moved = std::mem::replace(&mut self.position, position) != position;
        std::mem::take(&mut self.is_restacked) || is_moved || is_offset
    }

    /// Takes by how much a commit moves the surface's corner, once.
    fn take_offset(&mut self, states: &SurfaceData, attributes: &mut SurfaceAttributes) -> bool {
        let by = attributes.buffer_delta.take().unwrap_or_default();
        if by == Point::default() {
            return false;
        }
        match states.role {
            Some(SUBSURFACE_ROLE | DND_ICON_ROLE) => self.offset = moved(self.offset, by),
            // The place that points stays where it is on the screen.
            Some(CURSOR_IMAGE_ROLE) => {
                let data = states.data_map.get::<CursorImageSurfaceData>();
                if let Some(mut data) = data.and_then(|data| data.lock().ok()) {
                    let back = (by.x.saturating_neg(), by.y.saturating_neg());
                    data.hotspot = moved(data.hotspot, back.into());
                }
                return false;
            }
            _ => return false,
        }
        true
    }
}

/// A place that is moved, no further than it may be; clients send any numbers.
pub fn moved(place: Point<i32, Logical>, by: Point<i32, Logical>) -> Point<i32, Logical> {
    let near = |place: i32, by: i32| place.saturating_add(by).clamp(-FARTHEST, FARTHEST);
    (near(place.x, by.x), near(place.y, by.y)).into()
}
