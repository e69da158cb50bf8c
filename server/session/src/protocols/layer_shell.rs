//! layer_shell: panels, launchers, wallpapers.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use smithay::delegate_layer_shell;
use smithay::desktop::{LayerSurface, PopupKind, WindowSurfaceType, layer_map_for_output};
use smithay::output::Output;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::wlr_layer::{
    ExclusiveZone, Layer, LayerSurface as WlrLayerSurface, LayerSurfaceCachedState,
    LayerSurfaceData, WlrLayerShellHandler, WlrLayerShellState,
};
use smithay::wayland::shell::xdg::PopupSurface;

use crate::app::App;

impl WlrLayerShellHandler for App {
    fn shell_state(&mut self) -> &mut WlrLayerShellState {
        &mut self.protocols.layer_shell
    }

    fn new_layer_surface(
        &mut self,
        surface: WlrLayerSurface,
        output: Option<WlOutput>,
        _layer: Layer,
        namespace: String,
    ) {
        let output = output.as_ref().and_then(Output::from_resource);
        let known = |output: &Output| {
            self.desk
                .screens()
                .iter()
                .any(|screen| screen.output == *output)
        };
        let output = output.filter(known);
        let output = output.or_else(|| {
            self.desk
                .screens()
                .first()
                .map(|screen| screen.output.clone())
        });
        let Some(output) = output else {
            return surface.send_close();
        };
        let layer = LayerSurface::new(surface.clone(), namespace);
        if layer_map_for_output(&output).map_layer(&layer).is_err() {
            surface.send_close();
        }
    }

    fn new_popup(&mut self, _parent: WlrLayerSurface, popup: PopupSurface) {
        // Now that it has a parent it can be kept on that one's output.
        let positioner = popup.with_pending_state(|state| state.positioner);
        self.position_popup(&popup, positioner);
        let _ = self.popups.track_popup(PopupKind::Xdg(popup));
    }

    fn layer_destroyed(&mut self, surface: WlrLayerSurface) {
        for screen in self.desk.screens() {
            let mut map = layer_map_for_output(&screen.output);
            let layer = map
                .layers()
                .find(|layer| layer.layer_surface() == &surface)
                .cloned();
            layer.iter().for_each(|layer| map.unmap_layer(layer));
        }
        self.arrange();
    }
}

/// Pixels that a bar may be away from its edge, or keep free: more than any desk has, and so few that those
/// of all bars together are a number still.
const FARTHEST: i32 = 1 << 16;

/// What a bar says of its place is added up as it is said.
fn keep_in_reach(bar: &mut LayerSurfaceCachedState) {
    let margin = &mut bar.margin;
    for side in [
        &mut margin.left,
        &mut margin.right,
        &mut margin.top,
        &mut margin.bottom,
    ] {
        *side = (*side).clamp(-FARTHEST, FARTHEST);
    }
    if let ExclusiveZone::Exclusive(pixels) = &mut bar.exclusive_zone {
        *pixels = (*pixels).min(FARTHEST as u32);
    }
}

/// Whether a bar had pixels after its last commit.
#[derive(Default)]
struct HadPixels(AtomicBool);

/// A bar that was taken off the screen is shown again only after a commit that asks how large it is to be.
fn begin_anew(surface: &WlSurface) {
    with_states(surface, |states| {
        let data = states.data_map.get::<LayerSurfaceData>();
        if let Some(mut data) = data.and_then(|data| data.lock().ok()) {
            data.initial_configure_sent = false;
            data.configured = false;
        }
    });
}

impl App {
    /// A bar may have committed another size or another edge; it itself, or a subsurface of it.
    pub(crate) fn layer_committed(&mut self, surface: &WlSurface, is_itself: bool) {
        let is_bar = self.desk.screens().iter().any(|screen| {
            let map = layer_map_for_output(&screen.output);
            map.layer_for_surface(surface, WindowSurfaceType::TOPLEVEL)
                .is_some()
        });
        if !is_bar {
            return;
        }
        let has_pixels = self.surfaces.get(surface).is_some();
        let has_gone = with_states(surface, |states| {
            let known = &states.data_map;
            known.insert_if_missing_threadsafe(HadPixels::default);
            let before = known.get::<HadPixels>();
            let has_gone = before.is_some_and(|had| had.0.swap(has_pixels, Relaxed)) && !has_pixels;
            let mut cached = states.cached_state.get::<LayerSurfaceCachedState>();
            keep_in_reach(cached.current());
            if has_gone {
                // What it keeps free comes back with its next commit.
                cached.current().exclusive_zone = ExclusiveZone::Neutral;
            }
            has_gone
        });
        self.arrange();
        if has_gone {
            return begin_anew(surface);
        }
        let configured = with_states(surface, |states| {
            let data = states.data_map.get::<LayerSurfaceData>();
            data.and_then(|data| data.lock().ok())
                .is_some_and(|data| data.initial_configure_sent)
        });
        if configured || !is_itself {
            return;
        }
        for screen in self.desk.screens() {
            let map = layer_map_for_output(&screen.output);
            if let Some(layer) = map.layer_for_surface(surface, WindowSurfaceType::TOPLEVEL) {
                layer.layer_surface().send_configure();
            }
        }
    }
}

delegate_layer_shell!(App);
