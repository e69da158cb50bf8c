//! The pointer: what it is over, what it drags, what a press means.

use std::time::{Duration, Instant};

use heliostat_wire::input::AxisSource as WireSource;
use heliostat_wire::session::ToTerminal;
use smithay::backend::input::{Axis, AxisSource, ButtonState};
use smithay::desktop::{WindowSurfaceType, layer_map_for_output};
use smithay::input::pointer::{
    AxisFrame, ButtonEvent, CursorIcon, MotionEvent, RelativeMotionEvent,
};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point, SERIAL_COUNTER};
use smithay::wayland::shell::wlr_layer::{KeyboardInteractivity, Layer};

use crate::app::App;
use crate::stage::Hit;
use crate::titles::{Part, part_at};
use crate::window::{self, Edges, Mode, WindowId};

const BTN_LEFT: u16 = 0x110;
const BTN_RIGHT: u16 = 0x111;
/// Two clicks within this time are a double click.
const DOUBLE_CLICK: Duration = Duration::from_millis(400);

impl App {
    pub(super) fn motion(
        &mut self,
        at: Point<f64, Logical>,
        relative: RelativeMotionEvent,
        time: u32,
    ) {
        let pointer = self.pointer.clone();
        if self.constrain(&pointer, &relative) {
            return;
        }
        let mut stays = None;
        if self.windows.is_dragging() {
            if self.input.holding.is_none() {
                self.windows.drag_to(whole(at));
                self.dirty.layout = true;
            }
        } else {
            stays = self.confined(&pointer, at);
        }
        let at = stays.unwrap_or(at);
        let under = self.under(at);
        let serial = SERIAL_COUNTER.next_serial();
        pointer.relative_motion(self, under.clone(), &relative);
        pointer.motion(
            self,
            under,
            &MotionEvent {
                location: at,
                serial,
                time,
            },
        );
        pointer.frame(self);
        self.activate_constraint(&pointer);
        if stays.is_some() {
            self.tell_pointer();
        }
        if self.drag_icon.is_some() {
            self.dirty.layout = true;
        }
    }

    /// The surface under a place, and the session's own cursor where there is none.
    fn under(&mut self, at: Point<f64, Logical>) -> Option<(WlSurface, Point<f64, Logical>)> {
        if self.windows.is_dragging() {
            return None;
        }
        match self.hit(at) {
            Some(Hit::Surface(surface, corner, _)) => {
                self.set_own_cursor(None);
                Some((surface, corner))
            }
            Some(Hit::Border(_, edges)) => {
                self.set_own_cursor(Some(cursor_for(edges)));
                None
            }
            Some(Hit::Title(..)) | None => {
                self.set_own_cursor(Some(CursorIcon::Default));
                None
            }
        }
    }

    /// The pointer is put somewhere else, here and at the terminal.
    pub(crate) fn warp_pointer(&mut self, at: Point<f64, Logical>) {
        self.put_pointer(at);
        self.tell_pointer();
    }

    /// The terminal's pointer is put where ours is.
    fn tell_pointer(&self) {
        let at = self.pointer.current_location();
        let Some(screen) = self.desk.screen_at(at) else {
            return;
        };
        let device = |at: f64, start: i32| ((at - f64::from(start)) * screen.scale * 256.0) as i32;
        self.say(ToTerminal::WarpPointer {
            output: screen.id,
            x: device(at.x, screen.rect.x),
            y: device(at.y, screen.rect.y),
        });
    }

    /// The pointer's surface is looked up anew, after windows have moved under it.
    pub(crate) fn keep_pointer_on_desk(&mut self) {
        self.put_pointer(self.pointer.current_location());
    }

    fn put_pointer(&mut self, at: Point<f64, Logical>) {
        let Some(screen) = self.desk.screen_at(at) else {
            return;
        };
        let rect = screen.rect;
        let inside = |at: f64, start: i32, length: i32| {
            at.clamp(f64::from(start), f64::from(start + length) - 1.0)
        };
        let location = Point::from((inside(at.x, rect.x, rect.w), inside(at.y, rect.y, rect.h)));
        let under = self.under(location);
        let serial = SERIAL_COUNTER.next_serial();
        let time = self.clock.now().as_millis();
        let pointer = self.pointer.clone();
        pointer.motion(
            self,
            under,
            &MotionEvent {
                location,
                serial,
                time,
            },
        );
        pointer.frame(self);
    }

    pub(super) fn button(&mut self, code: u16, pressed: bool, time: u32) {
        let changed = match pressed {
            true => self.input.buttons.insert(code),
            false => self.input.buttons.remove(&code),
        };
        if !changed {
            return;
        }
        let is_last = !pressed && self.input.buttons.is_empty();
        if is_last && self.windows.is_dragging() && self.input.holding.is_none() {
            let at = whole(self.pointer.current_location());
            self.windows.end_drag(at);
            self.dirty.layout = true;
            self.keep_pointer_on_desk();
        }
        if pressed {
            let hit = self.hit(self.pointer.current_location());
            self.close_menu_beside(hit.as_ref());
        }
        if pressed && !self.pointer.is_grabbed() && self.press(code) {
            self.input.kept_buttons.insert(code);
            return self.input.went_down(None);
        }
        if !pressed && self.input.kept_buttons.remove(&code) {
            return;
        }
        if pressed {
            let focus = self.pointer.current_focus();
            self.input.went_down(focus.as_ref());
        }
        let state = if pressed {
            ButtonState::Pressed
        } else {
            ButtonState::Released
        };
        let serial = SERIAL_COUNTER.next_serial();
        let pointer = self.pointer.clone();
        pointer.button(
            self,
            &ButtonEvent {
                serial,
                time,
                button: u32::from(code),
                state,
            },
        );
        pointer.frame(self);
    }

    /// A button goes down: focus follows, and the session may keep it for itself.
    fn press(&mut self, code: u16) -> bool {
        if self.windows.is_dragging() {
            return true;
        }
        let at = self.pointer.current_location();
        let hit = self.hit(at);
        self.focus_hit(hit.as_ref());
        let alt = self.keyboard.modifier_state().alt;
        match hit {
            Some(Hit::Surface(_, _, Some(id))) if alt && code == BTN_LEFT => {
                self.windows.begin_move(id, whole(at));
                true
            }
            Some(Hit::Surface(_, _, Some(id))) if alt && code == BTN_RIGHT => {
                if let Some(rect) = self.windows.get(id).map(|window| window.rect) {
                    self.windows
                        .begin_resize(id, Edges::near(rect, whole(at)), whole(at));
                }
                true
            }
            Some(Hit::Border(id, edges)) => {
                if code == BTN_LEFT {
                    self.windows.begin_resize(id, edges, whole(at));
                }
                true
            }
            Some(Hit::Title(id, place)) => {
                if code == BTN_LEFT {
                    self.press_title(id, place.0, at);
                }
                true
            }
            Some(Hit::Surface(..)) | None => false,
        }
    }

    pub(super) fn press_title(&mut self, id: WindowId, x: i32, at: Point<f64, Logical>) {
        let Some(window) = self.windows.get(id) else {
            return;
        };
        let now = Instant::now();
        let double =
            |(then, window): (Instant, WindowId)| window == id && now - then < DOUBLE_CLICK;
        match part_at(x, window.rect.w) {
            Part::Close => self.close(id),
            Part::Minimise => self.windows.minimise(id),
            Part::Maximise => self.windows.toggle_mode(id, Mode::Maximised),
            Part::Bar if self.input.last_click.take().is_some_and(double) => {
                self.windows.toggle_mode(id, Mode::Maximised);
            }
            Part::Bar => {
                self.input.last_click = Some((now, id));
                self.windows.begin_move(id, whole(at));
            }
        }
    }

    /// Raises and focuses what was pressed.
    pub(super) fn focus_hit(&mut self, hit: Option<&Hit>) {
        self.input.bar = None;
        match hit {
            Some(Hit::Surface(_, _, Some(id)) | Hit::Title(id, _) | Hit::Border(id, _)) => {
                self.windows.focus(*id);
            }
            Some(Hit::Surface(surface, _, None)) => {
                if let Some(bar) = self.bar_that_takes_keys(surface) {
                    self.windows.unfocus();
                    self.input.bar = Some(bar);
                }
            }
            None => {}
        }
        self.dirty.layout = true;
    }

    fn bar_that_takes_keys(&self, surface: &WlSurface) -> Option<WlSurface> {
        self.desk.screens().iter().find_map(|screen| {
            let map = layer_map_for_output(&screen.output);
            let layer = map.layer_for_surface(surface, WindowSurfaceType::ALL)?;
            layer
                .can_receive_keyboard_focus()
                .then(|| layer.wl_surface().clone())
        })
    }

    /// A bar that takes all keys, such as a screen locker or a launcher.
    pub(crate) fn exclusive_bar(&self) -> Option<WlSurface> {
        self.desk.screens().iter().find_map(|screen| {
            let map = layer_map_for_output(&screen.output);
            [Layer::Overlay, Layer::Top].into_iter().find_map(|layer| {
                let exclusive = |layer: &&smithay::desktop::LayerSurface| {
                    let interactivity = layer.cached_state().keyboard_interactivity;
                    interactivity == KeyboardInteractivity::Exclusive
                        && self.surfaces.get(layer.wl_surface()).is_some()
                };
                map.layers_on(layer)
                    .rev()
                    .find(exclusive)
                    .map(|layer| layer.wl_surface().clone())
            })
        })
    }

    pub(super) fn axis(
        &mut self,
        source: WireSource,
        moved: (i32, i32),
        v120: (i32, i32),
        time: u32,
    ) {
        let source = match source {
            WireSource::Wheel => AxisSource::Wheel,
            WireSource::Finger => AxisSource::Finger,
            WireSource::Continuous => AxisSource::Continuous,
        };
        let mut frame = AxisFrame::new(time).source(source);
        for (axis, moved, v120) in [
            (Axis::Horizontal, moved.0, v120.0),
            (Axis::Vertical, moved.1, v120.1),
        ] {
            if moved != 0 {
                frame = frame.value(axis, f64::from(moved) / 256.0);
            } else if source == AxisSource::Finger {
                frame = frame.stop(axis);
            }
            if v120 != 0 {
                frame = frame.v120(axis, v120);
            }
        }
        let pointer = self.pointer.clone();
        pointer.axis(self, frame);
        pointer.frame(self);
    }
}

pub(super) fn whole(at: Point<f64, Logical>) -> window::Point {
    window::Point {
        x: at.x.floor() as i32,
        y: at.y.floor() as i32,
    }
}

fn cursor_for(edges: Edges) -> CursorIcon {
    match (edges.left, edges.right, edges.top, edges.bottom) {
        (true, _, true, _) => CursorIcon::NwResize,
        (true, _, _, true) => CursorIcon::SwResize,
        (_, true, true, _) => CursorIcon::NeResize,
        (_, true, _, true) => CursorIcon::SeResize,
        (true, ..) => CursorIcon::WResize,
        (_, true, ..) => CursorIcon::EResize,
        (_, _, true, _) => CursorIcon::NResize,
        _ => CursorIcon::SResize,
    }
}
