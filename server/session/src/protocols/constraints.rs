//! pointer_constraints: games and virtual machines hold the pointer.

use smithay::delegate_pointer_constraints;
use smithay::input::pointer::{PointerHandle, RelativeMotionEvent};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};
use smithay::wayland::pointer_constraints::{
    PointerConstraint, PointerConstraintsHandler, with_pointer_constraint,
};

use crate::app::App;

impl PointerConstraintsHandler for App {
    fn new_constraint(&mut self, _surface: &WlSurface, pointer: &PointerHandle<Self>) {
        self.activate_constraint(pointer);
    }

    fn cursor_position_hint(
        &mut self,
        _surface: &WlSurface,
        _pointer: &PointerHandle<Self>,
        _location: Point<f64, Logical>,
    ) {
    }
}

impl App {
    /// A constraint on the surface under the pointer begins.
    pub(crate) fn activate_constraint(&mut self, pointer: &PointerHandle<Self>) {
        let Some(surface) = pointer.current_focus() else {
            return;
        };
        let locked = with_pointer_constraint(&surface, pointer, |constraint| {
            let constraint = constraint?;
            if !constraint.is_active() {
                constraint.activate();
            }
            Some(matches!(&*constraint, PointerConstraint::Locked(_)))
        });
        self.lock_cursor(locked == Some(true));
    }

    /// Whether the pointer is held where it is: then only the movement is passed on.
    pub(crate) fn constrain(
        &mut self,
        pointer: &PointerHandle<Self>,
        relative: &RelativeMotionEvent,
    ) -> bool {
        let Some(surface) = pointer.current_focus() else {
            self.lock_cursor(false);
            return false;
        };
        let locked = with_pointer_constraint(&surface, pointer, |constraint| {
            constraint.is_some_and(|constraint| {
                constraint.is_active() && matches!(&*constraint, PointerConstraint::Locked(_))
            })
        });
        self.lock_cursor(locked);
        if locked {
            pointer.relative_motion(self, Some((surface, Point::default())), relative);
            pointer.frame(self);
        }
        locked
    }

    fn lock_cursor(&mut self, locked: bool) {
        if self.cursors.locked != locked {
            self.cursors.locked = locked;
            self.show_cursor();
        }
    }
}

delegate_pointer_constraints!(App);
