//! Data device, primary selection and data control: copy, paste, drag and drop within the session,
//! between Wayland and X11 programs as well.

use std::os::fd::OwnedFd;

use smithay::input::Seat;
use smithay::reexports::wayland_server::protocol::wl_data_source::WlDataSource;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::selection::data_device::{
    ClientDndGrabHandler, DataDeviceHandler, DataDeviceState, ServerDndGrabHandler,
    clear_data_device_selection, current_data_device_selection_userdata,
    request_data_device_client_selection, set_data_device_selection,
};
use smithay::wayland::selection::primary_selection::{
    PrimarySelectionHandler, PrimarySelectionState, clear_primary_selection,
    current_primary_selection_userdata, request_primary_client_selection, set_primary_selection,
};
use smithay::wayland::selection::wlr_data_control::{DataControlHandler, DataControlState};
use smithay::wayland::selection::{SelectionHandler, SelectionSource, SelectionTarget};
use smithay::{delegate_data_control, delegate_data_device, delegate_primary_selection};
use tracing::{debug, warn};

use crate::app::App;
use crate::x11::X11;

/// What Wayland clients offer, for an X server that comes later.
#[derive(Debug, Default)]
pub struct Offered {
    clipboard: Option<Vec<String>>,
    primary: Option<Vec<String>>,
}

impl Offered {
    fn of(&mut self, target: SelectionTarget) -> &mut Option<Vec<String>> {
        match target {
            SelectionTarget::Clipboard => &mut self.clipboard,
            SelectionTarget::Primary => &mut self.primary,
        }
    }
}

impl Offered {
    /// Whether a Wayland client offers something.
    pub(crate) fn has(&self, target: SelectionTarget) -> bool {
        match target {
            SelectionTarget::Clipboard => self.clipboard.is_some(),
            SelectionTarget::Primary => self.primary.is_some(),
        }
    }
}

impl SelectionHandler for App {
    /// What the session itself offers, it offers for X11 programs.
    type SelectionUserData = ();

    fn new_selection(
        &mut self,
        target: SelectionTarget,
        source: Option<SelectionSource>,
        _seat: Seat<Self>,
    ) {
        *self.offered.of(target) = source.map(|source| source.mime_types());
        self.offer_to_x11(target);
    }

    fn send_selection(
        &mut self,
        target: SelectionTarget,
        mime: String,
        fd: OwnedFd,
        _seat: Seat<Self>,
        (): &(),
    ) {
        let Some(x11) = &mut self.x11 else {
            return;
        };
        let handle = x11.handle();
        if let Some(wm) = x11.wm()
            && let Err(error) = wm.send_selection(target, mime, fd, handle)
        {
            debug!("an X11 program's selection cannot be had: {error}");
        }
    }
}

impl App {
    /// Tells X11 programs what Wayland clients offer.
    pub(crate) fn offer_to_x11(&mut self, target: SelectionTarget) {
        let offered = self.offered.of(target).clone();
        if let Some(wm) = self.x11.as_mut().and_then(X11::wm)
            && let Err(error) = wm.new_selection(target, offered)
        {
            warn!("X11 programs cannot be told of a selection: {error}");
        }
    }

    /// An X11 program wants what a Wayland client offers.
    pub(crate) fn send_selection_to_x11(
        &mut self,
        target: SelectionTarget,
        mime: String,
        fd: OwnedFd,
    ) {
        let seat = self.seat.clone();
        let asked = match target {
            SelectionTarget::Clipboard => request_data_device_client_selection(&seat, mime, fd)
                .map_err(|error| error.to_string()),
            SelectionTarget::Primary => {
                request_primary_client_selection(&seat, mime, fd).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = asked {
            debug!("a selection cannot be passed on to an X11 program: {error}");
        }
    }

    /// An X11 program offers something.
    pub(crate) fn x11_has_copied(&mut self, target: SelectionTarget, mimes: Vec<String>) {
        *self.offered.of(target) = None;
        let (handle, seat) = (self.handle.clone(), self.seat.clone());
        match target {
            SelectionTarget::Clipboard => set_data_device_selection(&handle, &seat, mimes, ()),
            SelectionTarget::Primary => set_primary_selection(&handle, &seat, mimes, ()),
        }
    }

    /// An X11 program offers nothing any more.
    pub(crate) fn x11_has_cleared(&mut self, target: SelectionTarget) {
        let (handle, seat) = (self.handle.clone(), self.seat.clone());
        match target {
            SelectionTarget::Clipboard
                if current_data_device_selection_userdata(&seat).is_some() =>
            {
                clear_data_device_selection(&handle, &seat);
            }
            SelectionTarget::Primary if current_primary_selection_userdata(&seat).is_some() => {
                clear_primary_selection(&handle, &seat);
            }
            _ => {}
        }
    }

    /// What X11 programs offered has gone with them.
    pub(crate) fn forget_x11_selections(&mut self) {
        self.x11_has_cleared(SelectionTarget::Clipboard);
        self.x11_has_cleared(SelectionTarget::Primary);
    }
}

impl DataDeviceHandler for App {
    fn data_device_state(&self) -> &DataDeviceState {
        &self.protocols.data_device
    }
}

impl PrimarySelectionHandler for App {
    fn primary_selection_state(&self) -> &PrimarySelectionState {
        &self.protocols.primary_selection
    }
}

impl DataControlHandler for App {
    fn data_control_state(&self) -> &DataControlState {
        &self.protocols.data_control
    }
}

impl ClientDndGrabHandler for App {
    fn started(
        &mut self,
        _source: Option<WlDataSource>,
        icon: Option<WlSurface>,
        _seat: Seat<Self>,
    ) {
        self.drag_icon = icon;
        self.dirty.layout = true;
    }

    fn dropped(&mut self, _target: Option<WlSurface>, _validated: bool, _seat: Seat<Self>) {
        self.drag_icon = None;
        self.dirty.layout = true;
    }
}

impl ServerDndGrabHandler for App {}

delegate_data_device!(App);
delegate_primary_selection!(App);
delegate_data_control!(App);
