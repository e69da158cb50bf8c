//! xdg_shell: windows and popups.

use smithay::delegate_xdg_shell;
use smithay::desktop::{
    PopupKeyboardGrab, PopupKind, PopupPointerGrab, PopupUngrabStrategy, WindowSurfaceType,
    find_popup_root_surface, get_popup_toplevel_coords, layer_map_for_output,
};
use smithay::input::Seat;
use smithay::input::pointer::Focus;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::ResizeEdge;
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::reexports::wayland_server::protocol::wl_seat::WlSeat;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Rectangle, Serial};
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::xdg::{
    PopupSurface, PositionerState, SurfaceCachedState, ToplevelSurface, XdgShellHandler,
    XdgShellState,
};

use super::limits::{self, is_popup_too_deep};
use crate::app::App;
use crate::focus::KeyFocus;
use crate::menu::Menu;
use crate::toplevel::Toplevel;
use crate::window::{Edges, Mode, Point, Size, WindowId};

/// Windows that all clients together may have.
const MAX_WINDOWS: usize = 512;

impl XdgShellHandler for App {
    fn xdg_shell_state(&mut self) -> &mut XdgShellState {
        &mut self.protocols.xdg_shell
    }

    fn new_toplevel(&mut self, surface: ToplevelSurface) {
        let own = self.toplevels.values().filter_map(Toplevel::surface);
        let own = own.filter(|other| other.id().same_client_as(&surface.wl_surface().id()));
        if own.count() >= limits::MAX_WINDOWS {
            return self.send_away_owner(surface.wl_surface(), "it has too many windows");
        }
        if self.toplevels.len() >= MAX_WINDOWS {
            return surface.send_close();
        }
        // It is configured when it has committed, mapped when it has pixels.
        let id = self.windows.add();
        self.toplevels.insert(id, Toplevel::Xdg(surface));
    }

    fn toplevel_destroyed(&mut self, surface: ToplevelSurface) {
        if let Some(id) = self.window_of(surface.wl_surface()) {
            self.toplevels.remove(&id);
            self.windows.remove(id);
            self.dirty.layout = true;
        }
    }

    fn new_popup(&mut self, surface: PopupSurface, positioner: PositionerState) {
        if is_popup_too_deep(&surface) {
            return self.send_away_owner(surface.wl_surface(), "its popups are nested too deep");
        }
        self.position_popup(&surface, positioner);
        let _ = self.popups.track_popup(PopupKind::Xdg(surface));
    }

    fn popup_destroyed(&mut self, _surface: PopupSurface) {
        self.dirty.layout = true;
    }

    fn reposition_request(
        &mut self,
        surface: PopupSurface,
        positioner: PositionerState,
        token: u32,
    ) {
        self.position_popup(&surface, positioner);
        surface.send_repositioned(token);
        self.dirty.layout = true;
    }

    fn grab(&mut self, surface: PopupSurface, seat: WlSeat, serial: Serial) {
        // Who is not used would take what is typed to others.
        let client = surface.wl_surface().client().map(|client| client.id());
        if self.lock.is_locked() || !client.is_some_and(|client| self.is_used(&client)) {
            return surface.send_popup_done();
        }
        let Some(seat) = Seat::<Self>::from_resource(&seat) else {
            return;
        };
        let popup = PopupKind::Xdg(surface);
        let Ok(root) = find_popup_root_surface(&popup).map(KeyFocus::from) else {
            return;
        };
        let Ok(mut grab) = self.popups.grab_popup(root.clone(), popup, &seat, serial) else {
            return;
        };
        let ours = |held: bool, has: bool, before: bool| !held || has || before;
        let previous = grab.previous_serial().unwrap_or(serial);
        let keyboard = self.keyboard.clone();
        let pointer = self.pointer.clone();
        let keyboard_free = ours(
            keyboard.is_grabbed(),
            keyboard.has_grab(serial),
            keyboard.has_grab(previous),
        );
        let pointer_free = ours(
            pointer.is_grabbed(),
            pointer.has_grab(serial),
            pointer.has_grab(previous),
        );
        if !keyboard_free || !pointer_free {
            grab.ungrab(PopupUngrabStrategy::All);
            return;
        }
        keyboard.set_focus(self, grab.current_grab(), serial);
        keyboard.set_grab(self, PopupKeyboardGrab::new(&grab), serial);
        pointer.set_grab(self, PopupPointerGrab::new(&grab), serial, Focus::Keep);
        self.menu = Some(Menu::new(grab, root));
    }

    fn move_request(&mut self, surface: ToplevelSurface, _seat: WlSeat, serial: Serial) {
        if let Some((id, at)) = self.take_hold(&surface, serial) {
            self.windows.begin_move(id, at);
        }
    }

    fn resize_request(
        &mut self,
        surface: ToplevelSurface,
        _seat: WlSeat,
        serial: Serial,
        edges: ResizeEdge,
    ) {
        if let Some((id, at)) = self.take_hold(&surface, serial) {
            self.windows.begin_resize(id, edges_of(edges), at);
        }
    }

    fn maximize_request(&mut self, surface: ToplevelSurface) {
        self.request_mode(&surface, Mode::Maximised);
    }

    fn unmaximize_request(&mut self, surface: ToplevelSurface) {
        self.request_mode(&surface, Mode::Floating);
    }

    fn fullscreen_request(&mut self, surface: ToplevelSurface, _output: Option<WlOutput>) {
        self.request_mode(&surface, Mode::Fullscreen);
    }

    fn unfullscreen_request(&mut self, surface: ToplevelSurface) {
        self.request_mode(&surface, Mode::Floating);
    }

    fn minimize_request(&mut self, surface: ToplevelSurface) {
        if let Some(id) = self.window_of(surface.wl_surface()) {
            self.windows.minimise(id);
            self.dirty.layout = true;
        }
    }

    fn title_changed(&mut self, _surface: ToplevelSurface) {
        self.dirty.layout = true;
    }

    fn app_id_changed(&mut self, _surface: ToplevelSurface) {
        self.dirty.layout = true;
    }

    fn parent_changed(&mut self, surface: ToplevelSurface) {
        if let Some(id) = self.window_of(surface.wl_surface()) {
            let parent = surface.parent().and_then(|parent| self.window_of(&parent));
            self.windows.set_parent(id, parent);
        }
    }
}

impl App {
    /// A window has committed, it itself or a subsurface of it: it is configured first, then mapped, then it
    /// may change its size.
    pub(crate) fn toplevel_committed(&mut self, id: WindowId, is_itself: bool) {
        let Some(toplevel) = self.toplevels.get(&id).and_then(Toplevel::xdg).cloned() else {
            return;
        };
        let surface = toplevel.wl_surface();
        if !toplevel.is_initial_configure_sent() {
            if is_itself {
                self.first_configure(id, &toplevel);
            }
            return;
        }
        let Some(geometry) = self.geometry(surface) else {
            if self.windows.get(id).is_some_and(|window| window.mapped) {
                self.windows.unmap(id);
                self.dirty.layout = true;
                // It begins anew, with a commit that asks how large it is to be.
                toplevel.reset_initial_configure_sent();
            }
            return;
        };
        let (smallest, largest) = with_states(surface, |states| {
            let mut cached = states.cached_state.get::<SurfaceCachedState>();
            (cached.current().min_size, cached.current().max_size)
        });
        let size = |size: smithay::utils::Size<i32, Logical>| Size {
            w: size.w.max(0),
            h: size.h.max(0),
        };
        self.windows.set_limits(id, size(smallest), size(largest));
        let size = Size {
            w: geometry.size.w,
            h: geometry.size.h,
        };
        let Some(window) = self.windows.get(id) else {
            return;
        };
        if !window.mapped {
            self.windows.map(id, size);
            self.dirty.layout = true;
        } else if window.rect.size() != size {
            self.windows.resized(id, size);
            self.dirty.layout = true;
        }
    }

    /// A surface's window geometry; none where it has no pixels.
    fn geometry(&self, surface: &WlSurface) -> Option<Rectangle<i32, Logical>> {
        let whole = Rectangle::from_size(self.surfaces.get(surface)?.view.size);
        let chosen = with_states(surface, |states| {
            states
                .cached_state
                .get::<SurfaceCachedState>()
                .current()
                .geometry
        });
        let chosen = chosen.filter(|chosen| chosen.size.w > 0 && chosen.size.h > 0);
        // Clients may claim any size; nothing beyond the longest layer is believed.
        let mut geometry = chosen.unwrap_or(whole);
        geometry.size.w = geometry.size.w.min(16384);
        geometry.size.h = geometry.size.h.min(16384);
        Some(geometry)
    }

    /// A popup's first commit is answered by its first configure.
    pub(crate) fn popup_committed(&mut self, surface: &WlSurface) {
        if let Some(PopupKind::Xdg(popup)) = self.popups.find_popup(surface)
            && !popup.is_initial_configure_sent()
        {
            // The first configure is always allowed.
            let _ = popup.send_configure();
        }
    }

    pub(super) fn position_popup(&self, popup: &PopupSurface, positioner: PositionerState) {
        let geometry = self.unconstrained(popup, &positioner);
        popup.with_pending_state(|state| {
            state.geometry = geometry;
            state.positioner = positioner;
        });
    }

    /// Where a popup goes so that it stays on the output of its window.
    fn unconstrained(
        &self,
        popup: &PopupSurface,
        positioner: &PositionerState,
    ) -> Rectangle<i32, Logical> {
        let positioner = sane(positioner);
        let kind = PopupKind::Xdg(popup.clone());
        let root = find_popup_root_surface(&kind).ok();
        let Some(corner) = root.and_then(|root| self.corner_of_root(&root)) else {
            return positioner.get_geometry();
        };
        let Some(screen) = self.desk.screen_at(corner.to_f64()) else {
            return positioner.get_geometry();
        };
        let rect = screen.rect;
        let mut target = Rectangle::new((rect.x, rect.y).into(), (rect.w, rect.h).into());
        target.loc -= corner + get_popup_toplevel_coords(&kind);
        positioner.get_unconstrained_geometry(target)
    }

    /// Where a window or a bar is.
    fn corner_of_root(&self, root: &WlSurface) -> Option<smithay::utils::Point<i32, Logical>> {
        if let Some(window) = self.window_of(root).and_then(|id| self.windows.get(id)) {
            return Some((window.rect.x, window.rect.y).into());
        }
        self.desk.screens().iter().find_map(|screen| {
            let map = layer_map_for_output(&screen.output);
            let layer = map.layer_for_surface(root, WindowSurfaceType::TOPLEVEL)?;
            let at = map.layer_geometry(layer)?.loc;
            Some((screen.rect.x + at.x, screen.rect.y + at.y).into())
        })
    }

    fn request_mode(&mut self, surface: &ToplevelSurface, mode: Mode) {
        if let Some(id) = self.window_of(surface.wl_surface()) {
            self.windows.set_mode(id, mode);
            self.dirty.layout = true;
        }
        // Each request is answered, also where nothing changes.
        if surface.is_initial_configure_sent()
            && let Some(id) = self.window_of(surface.wl_surface())
        {
            self.first_configure(id, surface);
        }
    }

    /// Takes hold of a window where a button or a finger is down on it by the event of `serial`, which is no
    /// client's from now on. Returns the place of that.
    fn take_hold(
        &mut self,
        surface: &ToplevelSurface,
        serial: Serial,
    ) -> Option<(WindowId, Point)> {
        let start = self.pointer.grab_start_data();
        let pressed = start.filter(|_| self.pointer.has_grab(serial));
        let (focus, finger, at) = match pressed.and_then(|start| start.focus) {
            Some((focus, _)) => (focus, None, self.pointer_place()),
            None => {
                let (focus, finger, at) = self.held_by_finger(serial)?;
                (focus, Some(finger), at)
            }
        };
        let same = focus.id().same_client_as(&surface.wl_surface().id());
        let id = self.window_of(surface.wl_surface()).filter(|_| same)?;
        match finger {
            Some(_) => self.take_fingers(finger),
            None => self.take_pointer(serial),
        }
        Some((id, at))
    }

    pub(crate) fn pointer_place(&self) -> Point {
        let at = self.pointer.current_location();
        Point {
            x: at.x.floor() as i32,
            y: at.y.floor() as i32,
        }
    }

    /// The client loses the pointer while its window is dragged.
    pub(crate) fn take_pointer(&mut self, serial: Serial) {
        let time = self.clock.now().as_millis();
        let pointer = self.pointer.clone();
        pointer.unset_grab(self, serial, time);
        let location = pointer.current_location();
        let event = smithay::input::pointer::MotionEvent {
            location,
            serial,
            time,
        };
        pointer.motion(self, None, &event);
        pointer.frame(self);
    }
}

fn edges_of(edge: ResizeEdge) -> Edges {
    let among = |edges: &[ResizeEdge]| edges.contains(&edge);
    Edges {
        left: among(&[
            ResizeEdge::Left,
            ResizeEdge::TopLeft,
            ResizeEdge::BottomLeft,
        ]),
        right: among(&[
            ResizeEdge::Right,
            ResizeEdge::TopRight,
            ResizeEdge::BottomRight,
        ]),
        top: among(&[ResizeEdge::Top, ResizeEdge::TopLeft, ResizeEdge::TopRight]),
        bottom: among(&[
            ResizeEdge::Bottom,
            ResizeEdge::BottomLeft,
            ResizeEdge::BottomRight,
        ]),
    }
}

delegate_xdg_shell!(App);

/// A positioner whose numbers can be added up: nothing of a popup is further away than this.
fn sane(positioner: &PositionerState) -> PositionerState {
    const FAR: i32 = 1 << 15;
    let near = |n: i32| n.clamp(-FAR, FAR);
    let mut sane = *positioner;
    sane.rect_size = (near(sane.rect_size.w), near(sane.rect_size.h)).into();
    sane.offset = (near(sane.offset.x), near(sane.offset.y)).into();
    let anchor = sane.anchor_rect;
    sane.anchor_rect = Rectangle::new(
        (near(anchor.loc.x), near(anchor.loc.y)).into(),
        (near(anchor.size.w), near(anchor.size.h)).into(),
    );
    sane
}
