//! Protocols in which there is little or nothing to decide.

use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::fractional_scale::{FractionalScaleHandler, with_fractional_scale};
use smithay::wayland::output::OutputHandler;
use smithay::{
    delegate_content_type, delegate_fractional_scale, delegate_output, delegate_presentation,
    delegate_single_pixel_buffer, delegate_viewporter,
};

use crate::app::App;

impl OutputHandler for App {}

impl FractionalScaleHandler for App {
    fn new_fractional_scale(&mut self, surface: WlSurface) {
        // The right one follows when it is seen where the surface stands.
        if let Some(screen) = self.desk.screens().first() {
            with_states(&surface, |states| {
                with_fractional_scale(states, |fractional| {
                    fractional.set_preferred_scale(screen.scale)
                });
            });
        }
    }
}

delegate_output!(App);
delegate_viewporter!(App);
delegate_fractional_scale!(App);
delegate_presentation!(App);
delegate_single_pixel_buffer!(App);
delegate_content_type!(App);
