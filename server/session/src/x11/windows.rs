//! The X11 window manager: what X11 programs ask of their windows.

use std::os::fd::OwnedFd;

use smithay::delegate_xwayland_shell;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Rectangle, SERIAL_COUNTER};
use smithay::wayland::selection::SelectionTarget;
use smithay::wayland::xwayland_shell::{XWaylandShellHandler, XWaylandShellState};
use smithay::xwayland::xwm::{
    Reorder, ResizeEdge, WmWindowProperty, WmWindowType, X11Window, XwmId,
};
use smithay::xwayland::{X11Surface, X11Wm, XwmHandler};
use tracing::debug;

use super::pairs::{part, surface_of};
use crate::app::App;
use crate::toplevel::Toplevel;
use crate::window::{Edges, Mode, Rect, Size, WindowId, Wish};

/// Windows of X11 programs at once, of each kind.
const MAX_WINDOWS: usize = 512;

impl XWaylandShellHandler for App {
    fn xwayland_shell_state(&mut self) -> &mut XWaylandShellState {
        &mut self.protocols.xwayland_shell
    }

    fn surface_associated(&mut self, _xwm: XwmId, surface: WlSurface, _window: X11Surface) {
        // Its pixels may have come before.
        self.x11_committed(&surface);
        self.dirty.layout = true;
    }
}

impl XwmHandler for App {
    fn xwm_state(&mut self, xwm: XwmId) -> &mut X11Wm {
        let x11 = self.x11.as_mut().and_then(|x11| x11.wm_of(xwm));
        x11.expect("every window manager is kept as long as the session")
    }

    fn new_window(&mut self, _xwm: XwmId, _window: X11Surface) {}

    fn new_override_redirect_window(&mut self, _xwm: XwmId, _window: X11Surface) {}

    fn map_window_request(&mut self, _xwm: XwmId, window: X11Surface) {
        let count = self
            .toplevels
            .values()
            .filter(|known| known.x11().is_some())
            .count();
        if count >= MAX_WINDOWS {
            debug!("an X11 program has too many windows");
            return;
        }
        let id = self.windows.add();
        self.toplevels.insert(id, Toplevel::X11(window.clone()));
        self.windows.set_titlebar(id, has_title(&window));
        self.adopt_x11(id, &window);
        if window.is_fullscreen() {
            self.windows.set_mode(id, Mode::Fullscreen);
        } else if window.is_maximized() {
            self.windows.set_mode(id, Mode::Maximised);
        }
        if let Err(error) = window.set_mapped(true) {
            debug!("an X11 window cannot be shown: {error}");
        }
    }

    fn mapped_override_redirect_window(&mut self, _xwm: XwmId, window: X11Surface) {
        if let Some(x11) = &mut self.x11
            && x11.loose.len() < MAX_WINDOWS
        {
            x11.loose.push(window);
            self.dirty.layout = true;
        }
    }

    fn unmapped_window(&mut self, _xwm: XwmId, window: X11Surface) {
        self.forget_x11(&window);
    }

    fn destroyed_window(&mut self, _xwm: XwmId, window: X11Surface) {
        self.forget_x11(&window);
    }

    fn configure_request(
        &mut self,
        _xwm: XwmId,
        window: X11Surface,
        _x: Option<i32>,
        _y: Option<i32>,
        w: Option<u32>,
        h: Option<u32>,
        _reorder: Option<Reorder>,
    ) {
        let now = window.geometry();
        let side =
            |asked: Option<u32>, now: i32| asked.map_or(now, |asked| asked.clamp(1, 16384) as i32);
        let size = Size {
            w: side(w, now.size.w),
            h: side(h, now.size.h),
        };
        match self.x11_window(&window) {
            // Where it is the person decides, and how large it is where it does not float.
            Some(id) => {
                let floats = self
                    .windows
                    .get(id)
                    .is_some_and(|known| known.mode == Mode::Floating);
                if floats && (w.is_some() || h.is_some()) {
                    self.windows.choose(id);
                    self.configure_x11_to(&window, now.loc.x, now.loc.y, size);
                }
            }
            None => self.configure_x11_to(&window, now.loc.x, now.loc.y, size),
        }
    }

    fn configure_notify(
        &mut self,
        _xwm: XwmId,
        _window: X11Surface,
        _geometry: Rectangle<i32, Logical>,
        _above: Option<X11Window>,
    ) {
        self.dirty.layout = true;
    }

    fn property_notify(&mut self, _xwm: XwmId, window: X11Surface, property: WmWindowProperty) {
        let Some(id) = self.x11_window(&window) else {
            return;
        };
        match property {
            WmWindowProperty::MotifHints | WmWindowProperty::WindowType => {
                self.windows.set_titlebar(id, has_title(&window));
            }
            WmWindowProperty::NormalHints | WmWindowProperty::TransientFor => {
                self.adopt_x11(id, &window);
            }
            _ => {}
        }
        self.dirty.layout = true;
    }

    fn maximize_request(&mut self, _xwm: XwmId, window: X11Surface) {
        self.lay_x11(&window, Mode::Maximised);
    }

    fn unmaximize_request(&mut self, _xwm: XwmId, window: X11Surface) {
        self.lay_x11(&window, Mode::Floating);
    }

    fn fullscreen_request(&mut self, _xwm: XwmId, window: X11Surface) {
        self.lay_x11(&window, Mode::Fullscreen);
    }

    fn unfullscreen_request(&mut self, _xwm: XwmId, window: X11Surface) {
        self.lay_x11(&window, Mode::Floating);
    }

    fn minimize_request(&mut self, _xwm: XwmId, window: X11Surface) {
        if let Some(id) = self.x11_window(&window) {
            self.windows.minimise(id);
            self.dirty.layout = true;
        }
    }

    fn unminimize_request(&mut self, _xwm: XwmId, window: X11Surface) {
        if let Some(id) = self.x11_window(&window) {
            self.windows.focus(id);
            self.dirty.layout = true;
        }
    }

    fn resize_request(&mut self, _xwm: XwmId, window: X11Surface, _button: u32, edge: ResizeEdge) {
        if let Some(id) = self.held_x11_window(&window) {
            let at = self.pointer_place();
            self.take_pointer(SERIAL_COUNTER.next_serial());
            self.windows.begin_resize(id, edges_of(edge), at);
        }
    }

    fn move_request(&mut self, _xwm: XwmId, window: X11Surface, _button: u32) {
        if let Some(id) = self.held_x11_window(&window) {
            let at = self.pointer_place();
            self.take_pointer(SERIAL_COUNTER.next_serial());
            self.windows.begin_move(id, at);
        }
    }

    // X11 programs without a window copy and paste as well, as xclip does.
    fn allow_selection_access(&mut self, _xwm: XwmId, _selection: SelectionTarget) -> bool {
        true
    }

    fn send_selection(&mut self, _xwm: XwmId, target: SelectionTarget, mime: String, fd: OwnedFd) {
        self.send_selection_to_x11(target, mime, fd);
    }

    fn new_selection(&mut self, _xwm: XwmId, target: SelectionTarget, mimes: Vec<String>) {
        self.x11_has_copied(target, mimes);
    }

    fn cleared_selection(&mut self, _xwm: XwmId, target: SelectionTarget) {
        self.x11_has_cleared(target);
    }

    fn disconnected(&mut self, _xwm: XwmId) {
        self.xwayland_gone("its connection was closed");
    }
}

impl App {
    /// Which window an X11 window is.
    pub(crate) fn x11_window(&self, window: &X11Surface) -> Option<WindowId> {
        let is_it = |known: &Toplevel| known.x11() == Some(window);
        self.toplevels
            .iter()
            .find(|(_, known)| is_it(known))
            .map(|(id, _)| *id)
    }

    /// Takes note of what a window says of itself: whose it is, and which sizes it may have.
    fn adopt_x11(&mut self, id: WindowId, window: &X11Surface) {
        let parent = window.is_transient_for().and_then(|parent| {
            let is_it =
                |known: &Toplevel| known.x11().is_some_and(|known| known.window_id() == parent);
            self.toplevels
                .iter()
                .find(|(_, known)| is_it(known))
                .map(|(id, _)| *id)
        });
        self.windows.set_parent(id, parent);
        let limit = |size: Option<smithay::utils::Size<i32, Logical>>| {
            let size = size.unwrap_or_default();
            Size {
                w: size.w.max(0),
                h: size.h.max(0),
            }
        };
        self.windows
            .set_limits(id, limit(window.min_size()), limit(window.max_size()));
    }

    fn lay_x11(&mut self, window: &X11Surface, mode: Mode) {
        if let Some(id) = self.x11_window(window) {
            self.windows.set_mode(id, mode);
            self.dirty.layout = true;
        }
    }

    fn forget_x11(&mut self, window: &X11Surface) {
        part(window);
        if let Some(id) = self.x11_window(window) {
            self.toplevels.remove(&id);
            self.windows.remove(id);
        }
        if let Some(x11) = &mut self.x11 {
            x11.loose.retain(|loose| loose != window);
        }
        self.dirty.layout = true;
    }

    /// A surface of an X11 window has pixels: the window is mapped, or has another size.
    pub(crate) fn x11_committed(&mut self, surface: &WlSurface) {
        let Some(id) = self.window_of(surface) else {
            return;
        };
        if self.toplevels.get(&id).and_then(Toplevel::x11).is_none() {
            return;
        }
        let Some(size) = self.surfaces.get(surface).map(|known| known.view.size) else {
            return;
        };
        let size = Size {
            w: size.w,
            h: size.h,
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

    /// Tells an X11 window what has been decided.
    pub(crate) fn configure_x11(&self, id: WindowId, window: &X11Surface, wish: &Wish) {
        let Some(known) = self.windows.get(id) else {
            return;
        };
        let size = wish.size.unwrap_or_else(|| {
            let size = window.geometry().size;
            Size {
                w: size.w,
                h: size.h,
            }
        });
        if known.mapped {
            self.configure_x11_to(window, known.rect.x, known.rect.y, size);
        } else if let Some(size) = wish.size {
            let Rect { x, y, .. } = known.rect;
            self.configure_x11_to(window, x, y, size);
        }
        let told = [
            window.set_activated(wish.active),
            window.set_maximized(wish.mode == Mode::Maximised),
            window.set_fullscreen(wish.mode == Mode::Fullscreen),
            window.set_suspended(known.minimised),
        ];
        for error in told.into_iter().filter_map(Result::err) {
            debug!("an X11 window cannot be told its state: {error}");
        }
    }

    fn configure_x11_to(&self, window: &X11Surface, x: i32, y: i32, size: Size) {
        let wanted = Rectangle::new((x, y).into(), (size.w.max(1), size.h.max(1)).into());
        if window.geometry() != wanted
            && let Err(error) = window.configure(wanted)
        {
            debug!("an X11 window cannot be configured: {error}");
        }
    }

    /// The X server's order of windows is the session's.
    pub(crate) fn raise_x11(&mut self) {
        let order: Vec<_> = self.windows.shown().map(|(id, _)| id).collect();
        let order: Vec<_> = order
            .iter()
            .filter_map(|id| self.toplevels.get(id)?.x11().cloned())
            .collect();
        let Some(wm) = self.x11.as_mut().and_then(super::X11::wm) else {
            return;
        };
        if let Err(error) = wm.update_stacking_order_downwards(order.iter()) {
            debug!("X11 windows cannot be put in order: {error}");
        }
    }

    /// The window, if the pointer is pressed on it.
    fn held_x11_window(&self, window: &X11Surface) -> Option<WindowId> {
        let start = self.pointer.grab_start_data()?;
        let (focus, _) = start.focus?;
        let same = surface_of(window).as_ref() == Some(&focus);
        self.x11_window(window).filter(|_| same)
    }
}

/// Whether the session draws a title bar: not for programs that draw their own, and not for what is
/// no window to a person.
fn has_title(window: &X11Surface) -> bool {
    let plain = !matches!(
        window.window_type(),
        Some(
            WmWindowType::Splash
                | WmWindowType::Notification
                | WmWindowType::Menu
                | WmWindowType::DropdownMenu
                | WmWindowType::PopupMenu
                | WmWindowType::Tooltip
        )
    );
    plain && !window.is_decorated()
}

fn edges_of(edge: ResizeEdge) -> Edges {
    use ResizeEdge::{Bottom, BottomLeft, BottomRight, Left, Right, Top, TopLeft, TopRight};
    Edges {
        left: matches!(edge, Left | TopLeft | BottomLeft),
        right: matches!(edge, Right | TopRight | BottomRight),
        top: matches!(edge, Top | TopLeft | TopRight),
        bottom: matches!(edge, Bottom | BottomLeft | BottomRight),
    }
}

delegate_xwayland_shell!(App);
