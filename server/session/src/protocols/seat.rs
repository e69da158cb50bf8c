//! wl_seat, cursor_shape: keyboards, pointers, fingers.

use smithay::input::keyboard::LedState;
use smithay::input::pointer::CursorImageStatus;
use smithay::input::{Seat, SeatHandler, SeatState};
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::selection::data_device::set_data_device_focus;
use smithay::wayland::selection::primary_selection::set_primary_focus;
use smithay::wayland::tablet_manager::TabletSeatHandler;
use smithay::{
    delegate_cursor_shape, delegate_relative_pointer, delegate_seat, delegate_text_input_manager,
};

use heliostat_wire::input::Leds;

use crate::app::App;
use crate::focus::KeyFocus;

impl SeatHandler for App {
    type KeyboardFocus = KeyFocus;
    type PointerFocus = WlSurface;
    type TouchFocus = WlSurface;

    fn seat_state(&mut self) -> &mut SeatState<Self> {
        &mut self.seat_state
    }

    fn focus_changed(&mut self, seat: &Seat<Self>, focused: Option<&KeyFocus>) {
        let client = focused.and_then(|focus| focus.surface().client());
        set_data_device_focus(&self.handle, seat, client.clone());
        set_primary_focus(&self.handle, seat, client);
    }

    fn cursor_image(&mut self, _seat: &Seat<Self>, image: CursorImageStatus) {
        self.set_cursor(image);
    }

    fn led_state_changed(&mut self, _seat: &Seat<Self>, leds: LedState) {
        self.set_leds(Leds {
            caps: leds.caps.unwrap_or_default(),
            num: leds.num.unwrap_or_default(),
            scroll: leds.scroll.unwrap_or_default(),
        });
    }
}

impl TabletSeatHandler for App {}

delegate_seat!(App);
delegate_cursor_shape!(App);
delegate_relative_pointer!(App);
delegate_text_input_manager!(App);
