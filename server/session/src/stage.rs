//! What stands on the desk, in its order: bars, windows with their title bars, popups, drag icons.

use heliostat_wire::id::OutputId;
use smithay::desktop::{PopupManager, layer_map_for_output};
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};
use smithay::wayland::compositor::{
    SUBSURFACE_ROLE, SubsurfaceCachedState, TraversalAction, with_states, with_surface_tree_upward,
};
use smithay::wayland::shell::wlr_layer::Layer;
use smithay::wayland::shell::xdg::SurfaceCachedState;

use crate::app::App;
use crate::scene::Standing;
use crate::surface::{Surfaces, moved};
use crate::toplevel::Toplevel;
use crate::window::{Edges, Mode, Rect, WindowId};
use crate::x11::surface_of;

/// How far outside a window its border can be taken hold of.
const BORDER: i32 = 6;

/// Something with pixels and a place.
#[derive(Debug, Clone)]
pub struct Item {
    /// Whose pixels.
    pub source: Source,
    /// Its top-left corner.
    pub at: Point<i32, Logical>,
    /// The window it belongs to.
    pub window: Option<WindowId>,
}

/// Whose pixels.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A client's.
    Surface(WlSurface),
    /// The session's: a title bar.
    Title(WindowId),
}

/// What is under the pointer.
#[derive(Debug, Clone, PartialEq)]
pub enum Hit {
    /// A surface, its corner, and the window it belongs to.
    Surface(WlSurface, Point<f64, Logical>, Option<WindowId>),
    /// A title bar, and the place on it.
    Title(WindowId, (i32, i32)),
    /// The border of a window.
    Border(WindowId, Edges),
}

impl App {
    /// Everything that can be seen, lowest first.
    pub fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        if self.lock.is_locked() {
            for screen in self.desk.screens() {
                if let Some(surface) = self.lock.surface_on(&screen.output) {
                    let corner = (screen.rect.x, screen.rect.y).into();
                    tree(&self.surfaces, surface, corner, None, &mut items);
                }
            }
            return items;
        }
        let fullscreen = self
            .windows
            .shown()
            .last()
            .is_some_and(|(_, window)| window.mode == Mode::Fullscreen);
        self.bars(&[Layer::Background, Layer::Bottom], &mut items);
        if fullscreen {
            self.bars(&[Layer::Top], &mut items);
        }
        for (id, window) in self.windows.shown() {
            if let Some(rect) = window.title_rect() {
                let at = (rect.x, rect.y).into();
                items.push(Item {
                    source: Source::Title(id),
                    at,
                    window: Some(id),
                });
            }
            let Some(surface) = self.toplevels.get(&id).and_then(Toplevel::surface) else {
                continue;
            };
            let origin = Point::from((window.rect.x, window.rect.y));
            self.with_popups(&surface, origin, Some(id), &mut items);
        }
        if !fullscreen {
            self.bars(&[Layer::Top], &mut items);
        }
        for loose in self.x11.iter().flat_map(|x11| &x11.loose) {
            if let Some(surface) = surface_of(loose) {
                tree(
                    &self.surfaces,
                    &surface,
                    loose.geometry().loc,
                    None,
                    &mut items,
                );
            }
        }
        self.bars(&[Layer::Overlay], &mut items);
        if let Some(icon) = &self.drag_icon {
            let at = self.pointer.current_location().to_i32_round();
            let known = self.surfaces.get(icon);
            let at = known.map_or(at, |known| moved(at, known.offset));
            tree(&self.surfaces, icon, at, None, &mut items);
        }
        items
    }

    fn bars(&self, layers: &[Layer], items: &mut Vec<Item>) {
        for screen in self.desk.screens() {
            let map = layer_map_for_output(&screen.output);
            for layer in layers.iter().flat_map(|layer| map.layers_on(*layer)) {
                let Some(geometry) = map.layer_geometry(layer) else {
                    continue;
                };
                let corner = Point::from((screen.rect.x, screen.rect.y));
                self.with_popups(layer.wl_surface(), corner + geometry.loc, None, items);
            }
        }
    }

    /// A surface whose geometry begins at `origin`, with what pops up over it.
    fn with_popups(
        &self,
        surface: &WlSurface,
        origin: Point<i32, Logical>,
        window: Option<WindowId>,
        items: &mut Vec<Item>,
    ) {
        tree(
            &self.surfaces,
            surface,
            origin - geometry_corner(surface),
            window,
            items,
        );
        let popups: Vec<_> = PopupManager::popups_for_surface(surface).collect();
        for (popup, offset) in popups.into_iter().rev() {
            let at = origin + offset - popup.geometry().loc;
            tree(&self.surfaces, popup.wl_surface(), at, window, items);
        }
    }

    /// What the scene is built from.
    pub fn standing<'a>(&'a self, items: &'a [Item]) -> Vec<Standing<'a>> {
        let standing = |item: &'a Item| {
            let surface = match &item.source {
                Source::Surface(surface) => self.surfaces.get(surface)?,
                Source::Title(window) => self.titles.get(*window)?,
            };
            Some(Standing {
                content: &surface.content,
                newest: surface.newest.as_ref(),
                view: &surface.view,
                at: (item.at.x, item.at.y),
            })
        };
        items.iter().filter_map(standing).collect()
    }

    /// What is under a place.
    pub fn hit(&self, at: Point<f64, Logical>) -> Option<Hit> {
        self.items()
            .iter()
            .rev()
            .find_map(|item| self.hits(item, at))
    }

    fn hits(&self, item: &Item, at: Point<f64, Logical>) -> Option<Hit> {
        let local = at - item.at.to_f64();
        let place = local.to_i32_floor::<i32>();
        match &item.source {
            Source::Surface(surface) => {
                let view = &self.surfaces.get(surface)?.view;
                let inside =
                    place.x >= 0 && place.y >= 0 && place.x < view.size.w && place.y < view.size.h;
                let takes = view
                    .input
                    .as_ref()
                    .is_none_or(|region| region.contains(place));
                (inside && takes)
                    .then(|| Hit::Surface(surface.clone(), item.at.to_f64(), item.window))
            }
            Source::Title(id) => {
                let window = self.windows.get(*id)?;
                let title = window.title_rect()?;
                let at = crate::window::Point {
                    x: at.x.floor() as i32,
                    y: at.y.floor() as i32,
                };
                if title.contains(at) {
                    return Some(Hit::Title(*id, (place.x, place.y)));
                }
                border(title.union(window.rect), at, window.mode)
                    .map(|edges| Hit::Border(*id, edges))
            }
        }
    }

    /// The screen on which an item mostly is; for scales.
    pub fn screen_of(&self, item: &Item) -> Option<OutputId> {
        let centre = match item.window.and_then(|id| self.windows.get(id)) {
            Some(window) => {
                let Rect { x, y, w, h } = window.rect;
                Point::from((x + w / 2, y + h / 2))
            }
            None => item.at,
        };
        self.desk.screen_at(centre.to_f64()).map(|screen| screen.id)
    }
}

fn border(frame: Rect, at: crate::window::Point, mode: Mode) -> Option<Edges> {
    let wide = Rect {
        x: frame.x - BORDER,
        y: frame.y - BORDER,
        w: frame.w + 2 * BORDER,
        h: frame.h + 2 * BORDER,
    };
    if mode != Mode::Floating || !wide.contains(at) || frame.contains(at) {
        return None;
    }
    let corner = 2 * BORDER;
    Some(Edges {
        left: at.x < frame.x + corner,
        right: at.x >= frame.x + frame.w - corner,
        top: at.y < frame.y + corner,
        bottom: at.y >= frame.y + frame.h - corner,
    })
}

/// The corner of a surface's window geometry.
pub fn geometry_corner(surface: &WlSurface) -> Point<i32, Logical> {
    with_states(surface, |states| {
        let mut cached = states.cached_state.get::<SurfaceCachedState>();
        cached.current().geometry.unwrap_or_default().loc
    })
}

/// A surface and its subsurfaces, lowest first, those without pixels left out.
fn tree(
    surfaces: &Surfaces,
    root: &WlSurface,
    at: Point<i32, Logical>,
    window: Option<WindowId>,
    items: &mut Vec<Item>,
) {
    if !root.is_alive() {
        return;
    }
    let place = |states: &smithay::wayland::compositor::SurfaceData,
                 offset: Point<i32, Logical>,
                 parent: &Point<i32, Logical>| {
        if states.role != Some(SUBSURFACE_ROLE) {
            return *parent;
        }
        let mut cached = states.cached_state.get::<SubsurfaceCachedState>();
        moved(moved(*parent, cached.current().location), offset)
    };
    with_surface_tree_upward(
        root,
        at,
        |surface, states, parent| match surfaces.get(surface) {
            Some(known) => TraversalAction::DoChildren(place(states, known.offset, parent)),
            None => TraversalAction::SkipChildren,
        },
        |surface, states, parent| {
            if let Some(known) = surfaces.get(surface) {
                let at = place(states, known.offset, parent);
                items.push(Item {
                    source: Source::Surface(surface.clone()),
                    at,
                    window,
                });
            }
        },
        |_, _, _| true,
    );
}
