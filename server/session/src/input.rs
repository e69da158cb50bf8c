//! From the terminal's input to the seat.
//!
//! Keys are those of the kernel; what they mean the session decides. Whatever a terminal sends, no
//! key stays down for ever: keys go up at a silence, at a detach, and when the terminal says so.

mod ahead;
mod pointer;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use heliostat_control::session::Ask;
use heliostat_wire::id::OutputId;
use heliostat_wire::input::{InputBatch, InputEvent, KeyboardState, Leds};
use heliostat_wire::session::ToTerminal;
use smithay::backend::input::KeyState;
use smithay::input::Seat;
use smithay::input::keyboard::{
    FilterResult, KeyboardHandle, Keycode, Keysym, KeysymHandle, ModifiersState, XkbConfig,
};
use smithay::input::pointer::RelativeMotionEvent;
use smithay::input::touch::{DownEvent, MotionEvent as TouchMotion, UpEvent};
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point, SERIAL_COUNTER, Serial};
use smithay::wayland::seat::WaylandFocus;
use tracing::{debug, warn};

use crate::app::App;
use crate::config::{Config, Keyboard};
use crate::input::ahead::Ahead;
use crate::keys::{Action, Meaning};
use crate::stage::Hit;
use crate::window::{Mode, Point as Place, Side, WindowId};
use pointer::whole;

/// Without a word from the terminal for this long all keys are released.
const SILENCE: Duration = Duration::from_millis(250);
/// The highest code that a key or button has in Linux.
const MAX_CODE: u16 = 0x2ff;
/// What a pointer button's codes begin at.
const FIRST_BUTTON: u16 = 0x100;

/// What is held down, and what the session makes of it.
#[derive(Debug)]
pub struct InputState {
    keys: BTreeSet<u16>,
    /// Keys whose press was a shortcut; their release is no one's business.
    kept: BTreeSet<u16>,
    buttons: BTreeSet<u16>,
    /// Buttons whose press moved a window or the like.
    kept_buttons: BTreeSet<u16>,
    fingers: BTreeMap<u8, Finger>,
    /// The one that holds a window.
    holding: Option<u8>,
    /// Who was told of the last key, button or finger that went down.
    pressed: Option<ClientId>,
    heard: Instant,
    layout: Option<String>,
    leds: Leds,
    last_click: Option<(Instant, WindowId)>,
    bar: Option<WlSurface>,
    ahead: Ahead,
}

/// A finger that is down.
#[derive(Debug, Clone)]
struct Finger {
    at: Point<f64, Logical>,
    /// Of its coming down.
    serial: Serial,
    /// The surface whose client is told of what it does.
    told: Option<WlSurface>,
}

impl InputState {
    /// Nothing is held down.
    pub fn new(config: &Config) -> Self {
        Self {
            ahead: Ahead::new(config.vital.is_some()),
            keys: BTreeSet::new(),
            kept: BTreeSet::new(),
            buttons: BTreeSet::new(),
            kept_buttons: BTreeSet::new(),
            fingers: BTreeMap::new(),
            holding: None,
            pressed: None,
            heard: Instant::now(),
            layout: None,
            leds: Leds::default(),
            last_click: None,
            bar: None,
        }
    }

    /// The seat's keyboard, with the layout that was chosen, or a plain one.
    pub fn keyboard(seat: &mut Seat<App>, config: &Config) -> anyhow::Result<KeyboardHandle<App>> {
        let keyboard = &config.keyboard;
        let delay = i32::from(keyboard.repeat_delay.unwrap_or(400));
        let rate = i32::from(keyboard.repeat_rate.unwrap_or(30));
        let xkb = xkb(keyboard, "");
        let added = seat.add_keyboard(xkb, delay, rate).or_else(|error| {
            warn!(
                "the keyboard layout {:?} is unknown ({error:?}): a US one is used",
                keyboard.layout
            );
            seat.add_keyboard(XkbConfig::default(), delay, rate)
        });
        added
            .map_err(|error| anyhow!("{error:?}"))
            .context("make a keyboard (is xkb-data installed?)")
    }

    /// The terminal is there.
    pub fn heartbeat(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Who was told of the last key, button or finger that went down.
    pub fn pressed(&self) -> Option<&ClientId> {
        self.pressed.as_ref()
    }

    /// Something has gone down, and whoever this surface is of is told of it.
    fn went_down(&mut self, on: Option<&WlSurface>) {
        let client = on.and_then(|surface| surface.client());
        self.pressed = client.map(|client| client.id());
    }

    /// When held keys are released unless something is heard.
    pub fn release_at(&self) -> Option<Instant> {
        (!self.keys.is_empty()).then(|| self.heard + SILENCE)
    }

    /// A bar that was clicked and takes keys.
    pub fn bar_focus(&self) -> Option<WlSurface> {
        use smithay::reexports::wayland_server::Resource;
        self.bar.clone().filter(WlSurface::is_alive)
    }
}

/// The layout of a person, else that of a terminal: `layout` or `layout(variant)`.
fn xkb<'a>(keyboard: &'a Keyboard, hint: &'a str) -> XkbConfig<'a> {
    let (hint, variant) = match hint.split_once('(') {
        Some((layout, variant)) => (layout, variant.trim_end_matches(')')),
        None => (hint, ""),
    };
    let own = keyboard.layout.is_some();
    XkbConfig {
        layout: keyboard.layout.as_deref().unwrap_or(hint),
        variant: keyboard
            .variant
            .as_deref()
            .unwrap_or(if own { "" } else { variant }),
        options: keyboard.options.clone(),
        ..XkbConfig::default()
    }
}

/// Whether a hint is what a layout's name looks like: it reaches a C library.
fn is_layout(hint: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-,()".contains(c);
    hint.chars().all(allowed)
}

impl App {
    /// Takes a batch of input.
    pub(crate) fn input(&mut self, batch: &InputBatch) {
        let now = Instant::now();
        self.input.heard = now;
        self.absence.idle.input(now);
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let time_us = terminal.input(batch.after_us, now);
        let time = (time_us / 1000) as u32;
        for event in batch.events.iter() {
            if let Err(why) = self.input_event(*event, time, time_us) {
                return self.break_off(why);
            }
        }
    }

    fn input_event(
        &mut self,
        event: InputEvent,
        time: u32,
        utime: u64,
    ) -> Result<(), &'static str> {
        match event {
            InputEvent::Key { code, pressed } => {
                check_code(code)?;
                self.key(code, pressed, time);
            }
            InputEvent::Motion {
                output,
                x,
                y,
                dx,
                dy,
                raw,
            } => {
                let unit = |n: i32| f64::from(n) / 256.0;
                let raw = raw.unwrap_or((dx, dy));
                let at = self.place(output, x, y)?;
                let relative = RelativeMotionEvent {
                    delta: (unit(dx), unit(dy)).into(),
                    delta_unaccel: (unit(raw.0), unit(raw.1)).into(),
                    utime,
                };
                self.motion(at, relative, time);
            }
            InputEvent::Button { code, pressed } => {
                check_code(code)?;
                if code < FIRST_BUTTON {
                    return Err("it has sent a key as a button");
                }
                self.button(code, pressed, time);
            }
            InputEvent::Axis {
                source,
                dx,
                dy,
                v120_x,
                v120_y,
            } => {
                self.axis(source, (dx, dy), (v120_x, v120_y), time);
            }
            InputEvent::TouchDown { slot, output, x, y } => {
                let at = self.place(output, x, y)?;
                self.touch_down(slot, at, time);
            }
            InputEvent::TouchMotion { slot, output, x, y } => {
                let at = self.place(output, x, y)?;
                self.touch_motion(slot, at, time);
            }
            InputEvent::TouchUp { slot } => self.touch_up(slot, time),
            InputEvent::TouchFrame => self.touch.clone().frame(self),
            InputEvent::TouchCancel => self.cancel_touch(),
        }
        Ok(())
    }

    /// A place on an output, on the desk. Outputs that have just gone are no violation.
    fn place(&self, output: OutputId, x: i32, y: i32) -> Result<Point<f64, Logical>, &'static str> {
        let screen = self
            .desk
            .screen(output)
            .or_else(|| self.desk.screens().first());
        let screen = screen.ok_or("it has sent input for an output that it does not have")?;
        let along = |at: i32, start: i32, length: i32| {
            let inside =
                (f64::from(at) / 256.0 / screen.scale).clamp(0.0, f64::from(length) - 0.01);
            f64::from(start) + inside
        };
        let rect = screen.rect;
        Ok((along(x, rect.x, rect.w), along(y, rect.y, rect.h)).into())
    }

    /// A key has gone down or up. It waits where there is nobody yet to type to.
    fn key(&mut self, code: u16, pressed: bool, time: u32) {
        let heard = self.keyboard.current_focus().is_some();
        if heard || !self.input.ahead.hold(code, pressed) {
            self.key_now(code, pressed, time);
        }
    }

    /// Types what was typed before there was anybody to type to.
    pub(crate) fn type_ahead(&mut self) {
        let time = self.clock.now().as_millis();
        for (code, pressed) in self.input.ahead.release() {
            self.key_now(code, pressed, time);
        }
    }

    fn key_now(&mut self, code: u16, pressed: bool, time: u32) {
        let changed = match pressed {
            true => self.input.keys.insert(code),
            false => self.input.keys.remove(&code),
        };
        if !changed {
            return;
        }
        let state = if pressed {
            KeyState::Pressed
        } else {
            KeyState::Released
        };
        let keyboard = self.keyboard.clone();
        let serial = SERIAL_COUNTER.next_serial();
        // Keycodes of XKB are those of the kernel and eight.
        let keycode = Keycode::new(u32::from(code) + 8);
        let action = keyboard.input(self, keycode, state, serial, time, |app, modifiers, key| {
            app.filter_key(code, pressed, modifiers, &key)
        });
        if pressed {
            let focus = keyboard.current_focus().filter(|_| action.is_none());
            let surface = focus.as_ref().and_then(WaylandFocus::wl_surface);
            self.input.went_down(surface.as_deref());
        }
        match action.flatten() {
            Some(Meaning::Act(action)) => self.act(action),
            Some(Meaning::Start(command)) => self.children.run(&command),
            None => {}
        }
        // By a shortcut of ours, or by one of the keymap's own.
        self.tell_layout();
    }

    fn filter_key(
        &mut self,
        code: u16,
        pressed: bool,
        modifiers: &ModifiersState,
        key: &KeysymHandle<'_>,
    ) -> FilterResult<Option<Meaning>> {
        if !pressed {
            return match self.input.kept.remove(&code) {
                true => FilterResult::Intercept(None),
                false => FilterResult::Forward,
            };
        }
        let mut syms: Vec<Keysym> = key.raw_syms();
        syms.extend(key.raw_latin_sym_or_raw_current_sym());
        let meaning = self.config.shortcuts.meaning(modifiers, &syms);
        // A locked session has a keyboard layout, and nothing else.
        let locked = self.lock.is_locked();
        match meaning.filter(|meaning| !locked || *meaning == Meaning::Act(Action::NextLayout)) {
            Some(meaning) => {
                self.input.kept.insert(code);
                FilterResult::Intercept(Some(meaning))
            }
            None => FilterResult::Forward,
        }
    }

    /// Does what a shortcut says.
    pub(crate) fn act(&mut self, action: Action) {
        let focused = self.windows.focused();
        match (action, focused) {
            (Action::NextWindow, _) => self.windows.cycle(true),
            (Action::PreviousWindow, _) => self.windows.cycle(false),
            (Action::Terminal, _) => self.children.run(&self.config.terminal),
            (Action::Launcher, _) => {
                if let Some(launcher) = &self.config.launcher {
                    self.children.run(launcher);
                }
            }
            (Action::Lock, _) => self.ask(Ask::Lock),
            (Action::NextLayout, _) => self.next_layout(),
            (_, None) => {}
            (Action::Close, Some(id)) => self.close(id),
            (Action::Maximise, Some(id)) => self.windows.toggle_mode(id, Mode::Maximised),
            (Action::SnapLeft, Some(id)) => self.windows.toggle_mode(id, Mode::Half(Side::Left)),
            (Action::SnapRight, Some(id)) => self.windows.toggle_mode(id, Mode::Half(Side::Right)),
            (Action::Fullscreen, Some(id)) => self.windows.toggle_mode(id, Mode::Fullscreen),
            (Action::Minimise, Some(id)) => self.windows.minimise(id),
        }
        self.dirty.layout = true;
    }

    fn next_layout(&mut self) {
        let keyboard = self.keyboard.clone();
        keyboard.with_xkb_state(self, |mut state| state.cycle_next_layout());
    }

    pub(crate) fn close(&self, id: WindowId) {
        if let Some(toplevel) = self.toplevels.get(&id) {
            toplevel.send_close();
        }
    }

    /// The terminal says what is held down; whatever else is believed to be goes up.
    pub(crate) fn sync_keyboard(&mut self, state: &KeyboardState) {
        self.input.heard = Instant::now();
        let up: Vec<_> = self
            .input
            .keys
            .iter()
            .filter(|key| !state.pressed.contains(key))
            .copied()
            .collect();
        for code in up {
            self.key(code, false, self.clock.now().as_millis());
        }
        if state.leds != self.input.leds {
            self.say(ToTerminal::SetLeds(self.input.leds));
        }
    }

    /// Everything goes up.
    pub(crate) fn release_all_keys(&mut self) {
        self.input.ahead.forget();
        let time = self.clock.now().as_millis();
        for code in self.input.keys.clone() {
            self.key(code, false, time);
        }
        self.let_go();
    }

    /// All buttons go up, and nobody touches anything any more: a terminal that comes says which keys are
    /// held, and of nothing else.
    pub(crate) fn let_go(&mut self) {
        let time = self.clock.now().as_millis();
        for code in self.input.buttons.clone() {
            self.button(code, false, time);
        }
        self.cancel_touch();
        self.input.went_down(None);
    }

    /// What fingers have done is nothing; a window that one of them holds stays where it is.
    pub(crate) fn cancel_touch(&mut self) {
        if self.input.fingers.is_empty() {
            return;
        }
        self.take_fingers(None);
        self.input.fingers.clear();
        if self.input.holding.take().is_some() {
            self.windows.drop_drag();
            self.dirty.layout = true;
        }
    }

    /// What fingers do from now on is nothing to clients; one of them may hold a window.
    pub(crate) fn take_fingers(&mut self, holding: Option<u8>) {
        self.input.holding = holding.or(self.input.holding);
        let time = self.clock.now().as_millis();
        let touch = self.touch.clone();
        let mut motions = Vec::with_capacity(self.input.fingers.len());
        for (slot, finger) in &mut self.input.fingers {
            finger.told = None;
            // smithay tells nobody that a finger is cancelled which has done nothing since the last frame.
            let motion = TouchMotion {
                slot: Some(u32::from(*slot)).into(),
                location: finger.at,
                time,
            };
            motions.push(motion);
        }
        for motion in motions {
            touch.motion(self, None, &motion);
        }
        touch.cancel(self);
    }

    /// The surface that a finger came down on by the event of `serial`, which finger that is, and where.
    pub(crate) fn held_by_finger(&self, serial: Serial) -> Option<(WlSurface, u8, Place)> {
        let mut fingers = self.input.fingers.iter();
        let (slot, finger) = fingers.find(|(_, finger)| finger.serial == serial)?;
        Some((finger.told.clone()?, *slot, whole(finger.at)))
    }

    /// Which lights are lit.
    pub(crate) fn set_leds(&mut self, leds: Leds) {
        self.input.leds = leds;
        self.show_leds();
    }

    pub(crate) fn show_leds(&self) {
        self.say(ToTerminal::SetLeds(self.input.leds));
    }

    /// The terminal's keyboard layout, for persons who have not chosen one.
    pub(crate) fn set_layout_hint(&mut self, hint: &str) {
        let known = self.input.layout.as_deref() == Some(hint);
        if hint.is_empty() || known || self.config.keyboard.layout.is_some() {
            return;
        }
        if !is_layout(hint) {
            return warn!("the terminal's keyboard layout {hint:?} is no layout's name");
        }
        let keyboard = self.keyboard.clone();
        let config = self.config.keyboard.clone();
        match keyboard.set_xkb_config(self, xkb(&config, hint)) {
            Ok(()) => self.input.layout = Some(hint.to_owned()),
            Err(error) => warn!("the terminal's keyboard layout {hint:?} is unknown: {error:?}"),
        }
        self.tell_layout();
    }

    fn touch_down(&mut self, slot: u8, at: Point<f64, Logical>, time: u32) {
        if self.input.fingers.contains_key(&slot) {
            return debug!("a finger came down twice");
        }
        let hit = self.hit(at);
        self.close_menu_beside(hit.as_ref());
        self.focus_hit(hit.as_ref());
        let under = match hit {
            Some(Hit::Surface(surface, corner, _)) => Some((surface, corner)),
            // What is held already is not taken away by what is touched beside it.
            Some(Hit::Title(id, place)) if !self.windows.is_dragging() => {
                self.press_title(id, place.0, at);
                self.input.holding = self.windows.is_dragging().then_some(slot);
                None
            }
            _ => None,
        };
        // All fingers are told of to whom the first of them came down on.
        let told = match self.touch.grab_start_data() {
            Some(start) => start.focus,
            None => under.clone(),
        };
        let told = told.map(|(surface, _)| surface);
        self.input.went_down(told.as_ref());
        let serial = SERIAL_COUNTER.next_serial();
        let finger = Finger { at, serial, told };
        self.input.fingers.insert(slot, finger);
        let down = DownEvent {
            slot: Some(u32::from(slot)).into(),
            location: at,
            serial,
            time,
        };
        self.touch.clone().down(self, under, &down);
    }

    fn touch_motion(&mut self, slot: u8, at: Point<f64, Logical>, time: u32) {
        let Some(finger) = self.input.fingers.get_mut(&slot) else {
            return;
        };
        finger.at = at;
        if self.input.holding == Some(slot) && self.windows.is_dragging() {
            self.windows.drag_to(whole(at));
            self.dirty.layout = true;
        }
        let motion = TouchMotion {
            slot: Some(u32::from(slot)).into(),
            location: at,
            time,
        };
        self.touch.clone().motion(self, None, &motion);
    }

    fn touch_up(&mut self, slot: u8, time: u32) {
        let Some(Finger { at, .. }) = self.input.fingers.remove(&slot) else {
            return;
        };
        if self
            .input
            .holding
            .take_if(|finger| *finger == slot)
            .is_some()
            && self.windows.is_dragging()
        {
            self.windows.end_drag(whole(at));
            self.dirty.layout = true;
        }
        let serial = SERIAL_COUNTER.next_serial();
        let up = UpEvent {
            slot: Some(u32::from(slot)).into(),
            serial,
            time,
        };
        self.touch.clone().up(self, &up);
    }
}

fn check_code(code: u16) -> Result<(), &'static str> {
    match code {
        1..=MAX_CODE => Ok(()),
        _ => Err("it has sent a key that no keyboard has"),
    }
}
