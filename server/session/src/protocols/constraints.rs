//! pointer_constraints: games and virtual machines hold the pointer.

use smithay::delegate_pointer_constraints;
use smithay::input::pointer::{PointerHandle, RelativeMotionEvent};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};
use smithay::wayland::pointer_constraints::{
    PointerConstraint, PointerConstraintsHandler, with_pointer_constraint,
};

use crate::app::App;
use crate::stage::Source;

impl PointerConstraintsHandler for App {
    fn new_constraint(&mut self, _surface: &WlSurface, pointer: &PointerHandle<Self>) {
        self.activate_constraint(pointer);
    }

    fn cursor_position_hint(
        &mut self,
        surface: &WlSurface,
        _pointer: &PointerHandle<Self>,
        location: Point<f64, Logical>,
    ) {
        self.cursors.hint = Some((surface.clone(), location));
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

    /// A lock may have ended without a movement: its client has let go, or its window is no longer
    /// to be seen. The pointer appears again, where the client has last drawn one.
    pub(crate) fn check_lock(&mut self) {
        if !self.cursors.locked {
            return;
        }
        let pointer = self.pointer.clone();
        let focus = pointer.current_focus();
        if focus.as_ref().is_some_and(|on| !self.visible.contains(on)) {
            // smithay ends the lock when the pointer leaves.
            self.keep_pointer_on_desk();
        }
        let holds = pointer.current_focus().is_some_and(|surface| {
            with_pointer_constraint(&surface, &pointer, |constraint| {
                constraint.is_some_and(|constraint| {
                    constraint.is_active() && matches!(&*constraint, PointerConstraint::Locked(_))
                })
            })
        });
        if !holds {
            self.lock_cursor(false);
            self.follow_hint(focus);
        }
    }

    /// The pointer goes to where the client that held it has drawn one.
    fn follow_hint(&mut self, focus: Option<WlSurface>) {
        let Some((surface, at)) = self.cursors.hint.take() else {
            return;
        };
        let items = self.items();
        let item = items.iter().find(|item| {
            focus.as_ref() == Some(&surface) && item.source == Source::Surface(surface.clone())
        });
        let (Some(item), Some(known)) = (item, self.surfaces.get(&surface)) else {
            return;
        };
        let inside = |at: f64, length: i32| at.clamp(0.0, f64::from(length) - 1.0);
        let size = known.view.size;
        let local = Point::from((inside(at.x, size.w), inside(at.y, size.h)));
        self.warp_pointer(item.at.to_f64() + local);
    }

    fn lock_cursor(&mut self, locked: bool) {
        if self.cursors.locked != locked {
            self.cursors.locked = locked;
            self.show_cursor();
        }
    }
}

delegate_pointer_constraints!(App);
