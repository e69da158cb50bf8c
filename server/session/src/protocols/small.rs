//! Protocols in which there is little or nothing to decide.

use std::time::Duration;

use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::fractional_scale::{FractionalScaleHandler, with_fractional_scale};
use smithay::wayland::output::OutputHandler;
use smithay::wayland::xdg_activation::{
    XdgActivationHandler, XdgActivationState, XdgActivationToken, XdgActivationTokenData,
};
use smithay::{
    delegate_content_type, delegate_fractional_scale, delegate_output, delegate_presentation,
    delegate_single_pixel_buffer, delegate_viewporter, delegate_xdg_activation,
};

use crate::app::App;

/// A token is good for this long.
const TOKEN_LIVES: Duration = Duration::from_secs(10);

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

impl XdgActivationHandler for App {
    fn activation_state(&mut self) -> &mut XdgActivationState {
        &mut self.protocols.activation
    }

    fn token_created(&mut self, _token: XdgActivationToken, data: XdgActivationTokenData) -> bool {
        // Only who has the keyboard may hand it on.
        let last = self.keyboard.last_enter();
        data.serial
            .is_some_and(|(serial, _)| last.is_some_and(|last| serial >= last))
    }

    fn request_activation(
        &mut self,
        token: XdgActivationToken,
        data: XdgActivationTokenData,
        surface: WlSurface,
    ) {
        if data.timestamp.elapsed() < TOKEN_LIVES
            && let Some(id) = self.window_of(&surface)
        {
            self.windows.focus(id);
            self.dirty.layout = true;
        }
        self.protocols.activation.remove_token(&token);
    }
}

delegate_output!(App);
delegate_viewporter!(App);
delegate_fractional_scale!(App);
delegate_presentation!(App);
delegate_single_pixel_buffer!(App);
delegate_content_type!(App);
delegate_xdg_activation!(App);
