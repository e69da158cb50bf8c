//! The floating window policy: where windows are, which is on top, which has the keyboard.
//!
//! Numbers in, numbers out: it knows no Wayland and no pixels. Units are logical pixels of the desk
//! that all outputs share. A window's rectangle is its content; a title bar drawn by the session
//! lies above it.
//!
//! ```text
//!             set_mode                      set_mode
//!   Floating ──────────► Maximised, Half ◄───────────► Fullscreen
//!      ▲                      │                            │
//!      └── set_mode, a drag ──┴────────────────────────────┘
//! ```

mod drag;
mod family;
mod geometry;
mod places;
#[cfg(test)]
mod tests;

use heliostat_wire::id::OutputId;

use drag::Drag;
pub use geometry::{Edges, Point, Rect, Size};
use places::{carried, content_of, fitted, placed, reachable};

/// Height of a title bar that the session draws.
pub const TITLE_HEIGHT: i32 = 28;
/// The smallest size a window is dragged to.
const SMALLEST: Size = Size { w: 120, h: 60 };
/// How far windows placed one after the other are apart.
const CASCADE: i32 = 32;

/// A window; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub u32);

/// How a window lies on its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Where it was put, as large as it wants.
    Floating,
    /// All of the area that bars leave.
    Maximised,
    /// The left or the right half of that area.
    Half(Side),
    /// All of the output.
    Fullscreen,
}

/// A half of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The left one.
    Left,
    /// The right one.
    Right,
}

/// An output as windows see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Which one.
    pub output: OutputId,
    /// All of it.
    pub full: Rect,
    /// Without bars.
    pub usable: Rect,
}

/// What a window is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// The size of its content; none where it may choose.
    pub size: Option<Size>,
    /// The largest size that makes sense.
    pub bounds: Size,
    /// How it lies.
    pub mode: Mode,
    /// Whether it has the keyboard.
    pub active: bool,
    /// Whether it is being resized by the mouse.
    pub resizing: bool,
}

/// One window.
#[derive(Debug, Clone)]
pub struct Window {
    /// Where its content is.
    pub rect: Rect,
    /// Whether it can be seen at all.
    pub mapped: bool,
    /// Whether the person has put it away.
    pub minimised: bool,
    /// Whether the session draws its title bar.
    pub titlebar: bool,
    /// How it lies.
    pub mode: Mode,
    /// Where it would float, as the person left it; desks that are too small do not change this.
    home: Rect,
    /// The size it was asked to have while floating.
    asked: Option<Size>,
    /// The edges that stay where they are while its size changes: right and bottom ones.
    anchor: Option<Anchor>,
    parent: Option<WindowId>,
    limits: (Size, Size),
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    right: Option<i32>,
    bottom: Option<i32>,
}

/// All windows.
#[derive(Debug, Default)]
pub struct Windows {
    windows: std::collections::BTreeMap<WindowId, Window>,
    /// Lowest first.
    stack: Vec<WindowId>,
    areas: Vec<Area>,
    focus: Option<WindowId>,
    drag: Option<Drag>,
    next: u32,
    cascade: i32,
}

impl Windows {
    /// A new window that cannot be seen yet.
    pub fn add(&mut self) -> WindowId {
        let id = WindowId(self.next);
        self.next += 1;
        self.stack.push(id);
        let window = Window {
            rect: Rect::default(),
            mapped: false,
            minimised: false,
            titlebar: false,
            mode: Mode::Floating,
            home: Rect::default(),
            asked: None,
            anchor: None,
            parent: None,
            limits: (Size::default(), Size::default()),
        };
        self.windows.insert(id, window);
        id
    }

    /// A window is gone.
    pub fn remove(&mut self, id: WindowId) {
        self.unmap(id);
        self.windows.remove(&id);
        self.stack.retain(|window| *window != id);
        for window in self.windows.values_mut() {
            window.parent.take_if(|parent| *parent == id);
        }
    }

    /// A window has its first content, of `size`: it gets a place, the top and the keyboard.
    pub fn map(&mut self, id: WindowId, mut size: Size) {
        if self
            .windows
            .get(&id)
            .is_some_and(|window| window.mode != Mode::Floating)
        {
            // What it would be while floating nobody knows.
            let usable = self.focused_area().usable;
            size = Size {
                w: usable.w * 2 / 3,
                h: usable.h * 2 / 3,
            };
        }
        let rect = self.first_place(id, size);
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        if window.mapped {
            return;
        }
        window.mapped = true;
        window.minimised = false;
        window.home = rect;
        self.settle(id);
        self.focus(id);
    }

    /// A window has no content any more.
    pub fn unmap(&mut self, id: WindowId) {
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        window.mapped = false;
        window.asked = None;
        self.drag.take_if(|drag| drag.window() == id);
        self.pass_focus_on(id);
    }

    /// A window's content has `size` now.
    pub fn resized(&mut self, id: WindowId, size: Size) {
        let desk = self.desk();
        let Some(window) = self.windows.get_mut(&id).filter(|window| window.mapped) else {
            return;
        };
        let mut rect = window.rect;
        if let Some(Anchor { right, bottom }) = window.anchor {
            rect.x = right.map_or(rect.x, |right| right - size.w);
            rect.y = bottom.map_or(rect.y, |bottom| bottom - size.h);
        }
        (rect.w, rect.h) = (size.w, size.h);
        if window.mode == Mode::Floating {
            rect = reachable(rect, desk, window.titlebar);
            // A size that only a small desk imposes is not where the window is at home.
            if window.anchor.is_some() || window.asked.is_none() {
                window.home = rect;
            }
        }
        window.rect = rect;
    }

    /// Raises a window with its dialogs and gives it the keyboard.
    pub fn focus(&mut self, id: WindowId) {
        let Some(window) = self.windows.get_mut(&id).filter(|window| window.mapped) else {
            return;
        };
        window.minimised = false;
        self.focus = Some(id);
        let family = self.family(id);
        let (raised, rest): (Vec<_>, Vec<_>) = self
            .stack
            .iter()
            .partition(|window| family.contains(window));
        self.stack = rest.into_iter().chain(raised).collect();
        // The one that was meant is above its siblings, but not above its own dialogs.
        let dialogs = self.descendants(id);
        let is_front = |window: &WindowId| *window == id || dialogs.contains(window);
        let (front, rest): (Vec<_>, Vec<_>) =
            self.stack.iter().partition(|window| is_front(window));
        self.stack = rest.into_iter().chain(front).collect();
    }

    /// Takes the keyboard from all windows, as a panel does.
    pub fn unfocus(&mut self) {
        self.focus = None;
    }

    /// Which window has the keyboard.
    pub fn focused(&self) -> Option<WindowId> {
        self.focus
    }

    /// The next window in the order of use takes the keyboard, or the one before.
    pub fn cycle(&mut self, forward: bool) {
        let known: Vec<_> = self.shown_or_minimised().collect();
        let next = match forward {
            true => known.first(),
            false => known.iter().rev().nth(1),
        };
        if let Some(next) = next.copied() {
            self.focus(next);
        }
    }

    /// Puts a window away.
    pub fn minimise(&mut self, id: WindowId) {
        if let Some(window) = self.windows.get_mut(&id).filter(|window| window.mapped) {
            window.minimised = true;
            self.drag.take_if(|drag| drag.window() == id);
            self.pass_focus_on(id);
        }
    }

    /// Lays a window otherwise.
    pub fn set_mode(&mut self, id: WindowId, mode: Mode) {
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        if window.mode == mode {
            return;
        }
        window.mode = mode;
        if mode == Mode::Floating && window.mapped {
            window.asked = Some(window.home.size());
        }
        self.drag.take_if(|drag| drag.window() == id);
        self.settle(id);
    }

    /// Lays a window in `mode`, or lets it float where it lies so already.
    pub fn toggle_mode(&mut self, id: WindowId, mode: Mode) {
        let now = self.windows.get(&id).map(|window| window.mode);
        self.set_mode(
            id,
            if now == Some(mode) {
                Mode::Floating
            } else {
                mode
            },
        );
    }

    /// Whether the session draws a window's title bar.
    pub fn set_titlebar(&mut self, id: WindowId, titlebar: bool) {
        if let Some(window) = self.windows.get_mut(&id)
            && window.titlebar != titlebar
        {
            window.titlebar = titlebar;
            self.settle(id);
        }
    }

    /// A window belongs to another one, as a dialog does.
    pub fn set_parent(&mut self, id: WindowId, parent: Option<WindowId>) {
        let cycle = parent.is_some_and(|parent| self.ancestors(parent).any(|above| above == id));
        if !cycle && let Some(window) = self.windows.get_mut(&id) {
            window.parent = parent;
        }
    }

    /// The smallest and the largest size of a window's content; zero where it has none.
    pub fn set_limits(&mut self, id: WindowId, smallest: Size, largest: Size) {
        if let Some(window) = self.windows.get_mut(&id) {
            window.limits = (smallest, largest);
        }
    }

    /// The desk has other outputs; windows move to where they can be reached.
    pub fn set_areas(&mut self, areas: Vec<Area>) {
        if self.areas == areas {
            return;
        }
        let before = self.areas.first().map(|area| area.usable);
        self.areas = areas;
        self.drag = None;
        // What was in the middle of one desk's screen is in the middle of the next one's.
        let after = self.areas.first().map(|area| area.usable);
        if let (Some(before), Some(after)) = (before, after)
            && self.areas.len() == 1
        {
            for window in self.windows.values_mut().filter(|window| window.mapped) {
                window.home = carried(window.home, before, after);
            }
        }
        for id in self.stack.clone() {
            self.settle(id);
        }
    }

    /// A window.
    pub fn get(&self, id: WindowId) -> Option<&Window> {
        self.windows.get(&id)
    }

    /// The windows that can be seen, lowest first.
    pub fn shown(&self) -> impl DoubleEndedIterator<Item = (WindowId, &Window)> {
        self.stack
            .iter()
            .filter_map(|id| Some((*id, self.windows.get(id)?)))
            .filter(|(_, window)| window.mapped && !window.minimised)
    }

    fn shown_or_minimised(&self) -> impl DoubleEndedIterator<Item = WindowId> {
        self.stack
            .iter()
            .copied()
            .filter(|id| self.windows.get(id).is_some_and(|window| window.mapped))
    }

    /// The windows that have content, put away or not.
    pub fn all(&self) -> impl Iterator<Item = WindowId> {
        self.shown_or_minimised()
    }

    /// Windows that have content.
    pub fn mapped(&self) -> usize {
        self.shown_or_minimised().count()
    }

    /// A window has chosen a size by itself, and may go on to.
    pub fn choose(&mut self, id: WindowId) {
        if let Some(window) = self.windows.get_mut(&id)
            && window.mode == Mode::Floating
        {
            window.asked = None;
        }
    }

    /// What a window is to be told.
    pub fn wish(&self, id: WindowId) -> Option<Wish> {
        let window = self.windows.get(&id)?;
        let area = self.area_of(window);
        let bounds = content_of(area.usable, window.titlebar);
        Some(Wish {
            size: match window.mode {
                Mode::Floating => window.asked,
                mode => Some(placed(mode, area, window.titlebar).size()),
            },
            bounds: bounds.size(),
            mode: window.mode,
            active: self.focus == Some(id),
            resizing: matches!(self.drag, Some(Drag::Resize { window, .. }) if window == id),
        })
    }

    fn ask(&mut self, id: WindowId, size: Size) {
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        let (smallest, largest) = window.limits;
        let clamp = |wanted: i32, least: i32, smallest: i32, largest: i32| {
            let most = if largest > 0 {
                largest
            } else {
                i32::from(i16::MAX)
            };
            wanted.clamp(least.max(smallest).min(most), most)
        };
        window.asked = Some(Size {
            w: clamp(size.w, SMALLEST.w, smallest.w, largest.w),
            h: clamp(size.h, SMALLEST.h, smallest.h, largest.h),
        });
    }

    /// Puts a window where its mode and the outputs have it.
    fn settle(&mut self, id: WindowId) {
        let Some(window) = self.windows.get(&id) else {
            return;
        };
        let area = self.area_of(window);
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        window.anchor = None;
        if window.mode != Mode::Floating {
            window.rect = placed(window.mode, area, window.titlebar);
        } else if window.mapped {
            let fitted = fitted(window.home, area.usable, window.titlebar);
            // A window that fits may go on choosing its size by itself.
            if window.asked.is_some() || fitted.size() != window.home.size() {
                window.asked = Some(fitted.size());
            }
            window.rect = fitted;
        }
    }

    /// Where a new window goes: over its parent, else in the middle, each a little lower.
    fn first_place(&mut self, id: WindowId, size: Size) -> Rect {
        let Some(window) = self.windows.get(&id) else {
            return Rect::default();
        };
        let parent = window.parent.and_then(|parent| self.windows.get(&parent));
        let titlebar = window.titlebar;
        if let Some(parent) = parent.filter(|parent| parent.mapped) {
            return size.centred(parent.rect);
        }
        let usable = content_of(self.focused_area().usable, titlebar);
        let step = self.cascade;
        let mut rect = size.centred(usable);
        (rect.x, rect.y) = (rect.x + step, rect.y + step);
        let fits = rect.x + rect.w <= usable.x + usable.w && rect.y + rect.h <= usable.y + usable.h;
        self.cascade = if fits { step + CASCADE } else { 0 };
        rect
    }

    fn pass_focus_on(&mut self, id: WindowId) {
        if self.focus == Some(id) {
            let next = self.shown().map(|(id, _)| id).rfind(|next| *next != id);
            self.focus = None;
            next.into_iter().for_each(|next| self.focus(next));
        }
    }

    fn desk(&self) -> Rect {
        let all = self.areas.iter().map(|area| area.full);
        all.reduce(Rect::union).unwrap_or(geometry::NO_DESK)
    }

    fn focused_area(&self) -> Area {
        let focused = self.focus.and_then(|id| self.windows.get(&id));
        focused.map_or_else(|| self.first_area(), |window| self.area_of(window))
    }

    fn first_area(&self) -> Area {
        self.areas.first().copied().unwrap_or(Area {
            output: OutputId(0),
            full: geometry::NO_DESK,
            usable: geometry::NO_DESK,
        })
    }

    /// The output on which most of a window lies.
    fn area_of(&self, window: &Window) -> Area {
        let overlap = |area: &&Area| area.full.overlap(window.home);
        let most = self.areas.iter().rev().max_by_key(overlap);
        most.filter(|area| overlap(area) > 0)
            .copied()
            .unwrap_or_else(|| self.first_area())
    }
}

impl Window {
    /// Where its title bar is, if the session draws one.
    pub fn title_rect(&self) -> Option<Rect> {
        let drawn = self.titlebar && self.mode != Mode::Fullscreen;
        let Rect { x, y, w, .. } = self.rect;
        drawn.then_some(Rect {
            x,
            y: y - TITLE_HEIGHT,
            w,
            h: TITLE_HEIGHT,
        })
    }
}
