//! pointer_constraints: games and virtual machines hold the pointer.

use smithay::delegate_pointer_constraints;
use smithay::input::pointer::{PointerHandle, RelativeMotionEvent};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point, Rectangle};
use smithay::wayland::compositor::{RectangleKind, RegionAttributes};
use smithay::wayland::pointer_constraints::{
    PointerConstraint, PointerConstraintRef, PointerConstraintsHandler, with_pointer_constraint,
};

use crate::app::App;
use crate::stage::Source;

/// Rectangles of a region that are looked at.
const MAX_RECTS: usize = 1024;

type Held<'a> = PointerConstraintRef<'a, App>;

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
        let waits = |constraint: &Held<'_>| !constraint.is_active();
        let waits = with_pointer_constraint(&surface, pointer, |constraint| {
            constraint.as_ref().is_some_and(waits)
        });
        // Outside its region one begins when the pointer gets there.
        let at = waits.then(|| self.corner_of(&surface)).flatten();
        let at = at.map(|corner| (pointer.current_location() - corner).to_i32_floor::<i32>());
        let locked = with_pointer_constraint(&surface, pointer, |constraint| {
            let constraint = constraint?;
            let is_inside = |at| constraint.region().is_none_or(|region| region.contains(at));
            if !constraint.is_active() && at.is_some_and(is_inside) {
                constraint.activate();
            }
            Some(constraint.is_active() && matches!(&*constraint, PointerConstraint::Locked(_)))
        });
        self.lock_cursor(locked == Some(true));
    }

    /// Where the pointer stays instead of `at`, if a client has confined it to a place without that.
    pub(crate) fn confined(
        &mut self,
        pointer: &PointerHandle<Self>,
        at: Point<f64, Logical>,
    ) -> Option<Point<f64, Logical>> {
        let surface = pointer.current_focus()?;
        let region = with_pointer_constraint(&surface, pointer, |constraint| {
            let constraint = constraint.filter(|constraint| constraint.is_active())?;
            let is_confined = matches!(&*constraint, PointerConstraint::Confined(_));
            is_confined.then(|| constraint.region().cloned())
        })?;
        let corner = self.corner_of(&surface)?;
        let size = self.surfaces.get(&surface)?.view.size;
        let inside = nearest(at - corner, Rectangle::from_size(size), region.as_ref());
        let stays = inside.map_or(pointer.current_location(), |inside| inside + corner);
        (stays != at).then_some(stays)
    }

    /// The top-left corner of a surface that stands on the desk.
    fn corner_of(&self, surface: &WlSurface) -> Option<Point<f64, Logical>> {
        let items = self.items();
        let mut items = items.iter();
        let item = items.find(|item| item.source == Source::Surface(surface.clone()))?;
        Some(item.at.to_f64())
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

/// The place nearest to `at` that is inside `whole`, and in a region where there is one; nothing
/// where that is no place at all.
fn nearest(
    at: Point<f64, Logical>,
    whole: Rectangle<i32, Logical>,
    region: Option<&RegionAttributes>,
) -> Option<Point<f64, Logical>> {
    let is_inside = |at: Point<f64, Logical>| {
        let place = at.to_i32_floor::<i32>();
        whole.contains(place) && region.is_none_or(|region| region.contains(place))
    };
    if is_inside(at) {
        return Some(at);
    }
    let added = |(kind, rect): &(RectangleKind, Rectangle<i32, Logical>)| match kind {
        RectangleKind::Add => rect.intersection(whole),
        RectangleKind::Subtract => None,
    };
    let parts = match region {
        Some(region) => region
            .rects
            .iter()
            .take(MAX_RECTS)
            .filter_map(added)
            .collect(),
        None => vec![whole],
    };
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    let places = parts.map(|part| {
        let along = |at: f64, start: i32, length: i32| {
            at.clamp(f64::from(start), f64::from(start + length) - 1.0)
        };
        let x = along(at.x, part.loc.x, part.size.w);
        Point::from((x, along(at.y, part.loc.y, part.size.h)))
    });
    let distance = |place: &Point<f64, Logical>| {
        let off = *place - at;
        off.x * off.x + off.y * off.y
    };
    places
        .filter(|place| is_inside(*place))
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

delegate_pointer_constraints!(App);

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x: i32, y: i32, w: i32, h: i32) -> Rectangle<i32, Logical> {
        Rectangle::new((x, y).into(), (w, h).into())
    }

    #[test]
    fn pointer_is_led_to_the_nearest_place_of_its_region() {
        let whole = rect(0, 0, 100, 50);
        let to = |x, y, region: Option<&RegionAttributes>| {
            nearest(Point::from((x, y)), whole, region).map(|at| (at.x, at.y))
        };
        assert_eq!(to(20.5, 20.5, None), Some((20.5, 20.5)));
        assert_eq!(to(-3.0, 90.0, None), Some((0.0, 49.0)));
        let add = |rect| (RectangleKind::Add, rect);
        let region = RegionAttributes {
            rects: vec![add(rect(0, 0, 10, 10)), add(rect(80, 0, 500, 10))],
        };
        assert_eq!(to(30.0, 5.0, Some(&region)), Some((9.0, 5.0)));
        assert_eq!(to(70.0, 5.0, Some(&region)), Some((80.0, 5.0)));
        assert_eq!(to(300.0, 5.0, Some(&region)), Some((99.0, 5.0)));
        let nowhere = RegionAttributes {
            rects: vec![add(rect(200, 0, 10, 10))],
        };
        assert_eq!(to(30.0, 5.0, Some(&nowhere)), None);
    }
}
