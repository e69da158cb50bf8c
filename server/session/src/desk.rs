//! Outputs and windows together: what the policy decides becomes configure events.

use std::time::{Duration, Instant};

use heliostat_wire::output::{Output as WireOutput, Outputs};
use smithay::desktop::layer_map_for_output;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::State;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::SERIAL_COUNTER;
use smithay::wayland::shell::xdg::{ToplevelState, ToplevelSurface};

use crate::app::App;
use crate::focus::KeyFocus;
use crate::outputs;
use crate::quota::Quota;
use crate::toplevel::Toplevel;
use crate::window::{Area, Mode, Rect, Side, WindowId, Wish};
use crate::x11::surface_of;

/// How often a terminal may change its screens: clients are told of every change, and an output
/// that has gone leaves something behind.
const MOST_CHANGES: u32 = 8;
const CHANGES_PERIOD: Duration = Duration::from_secs(8);

/// Screens that a terminal has announced.
#[derive(Debug)]
pub struct Announced {
    changes: Quota,
    /// The newest ones, which wait until there may be a change again.
    waiting: Option<Outputs>,
}

impl Announced {
    /// Of a terminal that has just been attached.
    pub fn new(now: Instant) -> Self {
        Self {
            changes: Quota::new(MOST_CHANGES, CHANGES_PERIOD, now),
            waiting: None,
        }
    }

    /// The terminal has other screens now.
    pub fn hear(&mut self, outputs: Outputs) {
        self.waiting = Some(outputs);
    }

    /// When screens that wait may be taken.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|_| self.changes.renewed_at())
    }

    fn take(&mut self, now: Instant) -> Option<Outputs> {
        self.waiting.as_ref()?;
        self.changes.take(now)?;
        self.waiting.take()
    }
}

impl App {
    /// Takes the screens that the terminal has announced, if there may be a change.
    pub(crate) fn take_outputs_if_due(&mut self, now: Instant) {
        let terminal = self.terminal.as_mut();
        if let Some(outputs) = terminal.and_then(|terminal| terminal.announced.take(now)) {
            self.set_outputs(&outputs);
        }
    }

    /// The outputs are those of a terminal now: windows are fitted to them.
    pub(crate) fn set_outputs(&mut self, outputs: &[WireOutput]) {
        let handle = self.handle.clone();
        if let Some(scale) = outputs::largest_scale(outputs) {
            self.rescale_x11(scale);
        }
        self.desk.configure(&handle, outputs);
        let area = |output: &WireOutput| u64::from(output.size.w) * u64::from(output.size.h);
        self.surfaces.note_desk(outputs.iter().map(area).sum());
        self.arrange();
        self.fit_lock();
        self.keep_pointer_on_desk();
    }

    /// Bars and windows share the outputs.
    pub(crate) fn arrange(&mut self) {
        let areas = self.desk.screens().iter().map(|screen| {
            let mut bars = layer_map_for_output(&screen.output);
            bars.arrange();
            let usable = bars.non_exclusive_zone();
            // Bars may want more than there is.
            let (w, h) = (screen.rect.w.max(1), screen.rect.h.max(1));
            let (x, y) = (usable.loc.x.clamp(0, w - 1), usable.loc.y.clamp(0, h - 1));
            let usable = Rect {
                x: screen.rect.x + x,
                y: screen.rect.y + y,
                w: usable.size.w.clamp(1, w - x),
                h: usable.size.h.clamp(1, h - y),
            };
            Area {
                output: screen.id,
                full: screen.rect,
                usable,
            }
        });
        let areas = areas.collect();
        self.windows.set_areas(areas);
        self.dirty.layout = true;
    }

    /// Which window a toplevel's surface is.
    pub(crate) fn window_of(&self, surface: &WlSurface) -> Option<WindowId> {
        let is_it = |toplevel: &Toplevel| match toplevel {
            Toplevel::Xdg(toplevel) => toplevel.wl_surface() == surface,
            Toplevel::X11(window) => surface_of(window).as_ref() == Some(surface),
        };
        let found = self.toplevels.iter().find(|(_, toplevel)| is_it(toplevel));
        found.map(|(id, _)| *id)
    }

    /// Tells windows what has been decided, and the seat who has the keyboard.
    pub(crate) fn configure_windows(&mut self) {
        for (id, toplevel) in &self.toplevels {
            let Some(wish) = self.windows.wish(*id) else {
                continue;
            };
            match toplevel {
                Toplevel::Xdg(toplevel) if toplevel.is_initial_configure_sent() => {
                    toplevel.with_pending_state(|state| apply(state, &wish));
                    toplevel.send_pending_configure();
                }
                Toplevel::Xdg(_) => {}
                Toplevel::X11(window) => self.configure_x11(*id, window, &wish),
            }
        }
        self.give_keyboard();
    }

    /// Gives the keyboard to the focused window, unless a bar has it or a popup has grabbed it.
    fn give_keyboard(&mut self) {
        if self.lock.is_locked() {
            return self.focus_keyboard(self.lock_focus().map(KeyFocus::from));
        }
        if self.menu_has_keyboard() {
            return;
        }
        let bar = self.exclusive_bar();
        let window = self
            .windows
            .focused()
            .and_then(|id| self.toplevels.get(&id));
        let wanted = bar.map(KeyFocus::from);
        let wanted = wanted.or_else(|| window.and_then(Toplevel::focus));
        self.focus_keyboard(wanted.or_else(|| self.input.bar_focus().map(KeyFocus::from)));
    }

    fn focus_keyboard(&mut self, wanted: Option<KeyFocus>) {
        if self.keyboard.current_focus() != wanted {
            let keyboard = self.keyboard.clone();
            let somebody = wanted.is_some();
            keyboard.set_focus(self, wanted, SERIAL_COUNTER.next_serial());
            if somebody {
                self.type_ahead();
            }
            self.raise_x11();
            self.dirty.layout = true;
        }
    }

    /// Sends the first configure of a toplevel, in answer to its first commit.
    pub(crate) fn first_configure(&mut self, id: WindowId, toplevel: &ToplevelSurface) {
        if let Some(wish) = self.windows.wish(id) {
            toplevel.with_pending_state(|state| apply(state, &wish));
        }
        toplevel.send_configure();
    }
}

fn apply(state: &mut ToplevelState, wish: &Wish) {
    state.size = wish.size.map(|size| (size.w, size.h).into());
    state.bounds = Some((wish.bounds.w, wish.bounds.h).into());
    let half = matches!(wish.mode, Mode::Half(_));
    let left = wish.mode == Mode::Half(Side::Left);
    for (flag, set) in [
        (State::Activated, wish.active),
        (State::Resizing, wish.resizing),
        (State::Maximized, wish.mode == Mode::Maximised),
        (State::Fullscreen, wish.mode == Mode::Fullscreen),
        (State::TiledTop, half),
        (State::TiledBottom, half),
        (State::TiledLeft, half && left),
        (State::TiledRight, half && !left),
    ] {
        match set {
            true => state.states.set(flag),
            false => state.states.unset(flag),
        };
    }
}
