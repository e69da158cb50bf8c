//! xdg-activation-v1: a program that a person uses hands the focus on to another one, such as a browser that
//! a link is opened in.

use std::time::{Duration, Instant};

use smithay::delegate_xdg_activation;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{SERIAL_COUNTER, Serial};
use smithay::wayland::xdg_activation::{
    XdgActivationHandler, XdgActivationState, XdgActivationToken, XdgActivationTokenData,
};

use crate::app::App;

/// A token is good for this long, and forgotten after.
const TOKEN_LIVES: Duration = Duration::from_secs(10);
/// So many of them are good at once, of one program and of all; an older one makes room for a newer.
const MOST_EACH: usize = 8;
const MOST: usize = 64;

impl XdgActivationHandler for App {
    fn activation_state(&mut self) -> &mut XdgActivationState {
        &mut self.protocols.activation
    }

    fn token_created(&mut self, _: XdgActivationToken, data: XdgActivationTokenData) -> bool {
        let now = Instant::now();
        let tokens = &mut self.protocols.activation;
        tokens.retain_tokens(|_, token| is_good(token, now));
        // Serials are numbers that any program can think of: it has to be used as well.
        let is_recent = data.serial.is_some_and(|(serial, _)| {
            let first = self.keyboard.last_enter();
            first.is_some_and(|first| is_between(first, serial, SERIAL_COUNTER.next_serial()))
        });
        let client = data.client_id.filter(|client| self.is_used(client));
        let is_good = is_recent && client.is_some();
        if is_good {
            self.forget_oldest_token(MOST_EACH, |token| token.client_id == client);
            self.forget_oldest_token(MOST, |_| true);
        }
        is_good
    }

    fn request_activation(
        &mut self,
        token: XdgActivationToken,
        data: XdgActivationTokenData,
        surface: WlSurface,
    ) {
        if is_good(&data, Instant::now())
            && let Some(id) = self.window_of(&surface)
        {
            self.windows.focus(id);
            self.dirty.layout = true;
        }
        self.protocols.activation.remove_token(&token);
    }
}

impl App {
    /// Makes room for one more among tokens of which there may be so many.
    fn forget_oldest_token(
        &mut self,
        most: usize,
        among: impl Fn(&XdgActivationTokenData) -> bool,
    ) {
        let tokens = self.protocols.activation.tokens();
        let meant: Vec<_> = tokens.filter(|(_, token)| among(token)).collect();
        let oldest = meant.iter().min_by_key(|(_, token)| token.timestamp);
        if meant.len() >= most
            && let Some(oldest) = oldest.map(|(token, _)| (*token).clone())
        {
            self.protocols.activation.remove_token(&oldest);
        }
    }
}

fn is_good(token: &XdgActivationTokenData, now: Instant) -> bool {
    now.saturating_duration_since(token.timestamp) < TOKEN_LIVES
}

/// Whether a serial is not older than the first and not newer than the last.
fn is_between(first: Serial, serial: Serial, last: Serial) -> bool {
    first <= serial && serial <= last
}

delegate_xdg_activation!(App);
