//! ext-session-lock: while a locker has locked the session nothing else is shown, and nothing else
//! gets input.
//!
//! ```text
//!           a locker asks                       the locker lets go
//!   Open ──────────────────► Locked (no longer shown: the locker is told) ────► Open
//!                               ▲   │
//!                               └───┘ the locker dies: locked until another one lets go
//! ```

use smithay::output::Output;
use smithay::reexports::wayland_protocols::ext::session_lock::v1::server::ext_session_lock_manager_v1::ExtSessionLockManagerV1;
use smithay::reexports::wayland_protocols::ext::session_lock::v1::server::ext_session_lock_surface_v1::ExtSessionLockSurfaceV1;
use smithay::reexports::wayland_protocols::ext::session_lock::v1::server::ext_session_lock_v1::{
    Error, ExtSessionLockV1, Request,
};
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, Resource, delegate_dispatch, delegate_global_dispatch,
};
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::SERIAL_COUNTER;
use smithay::wayland::session_lock::{
    ExtLockSurfaceUserData, LockSurface, SessionLockHandler, SessionLockManagerGlobalData,
    SessionLockManagerState, SessionLockState, SessionLocker,
};
use tracing::info;

use crate::app::App;
use crate::window::Rect;

/// Whether the session is locked, and by whom.
#[derive(Debug, Default)]
pub enum Lock {
    /// Everything is as usual.
    #[default]
    Open,
    /// Only the locker is shown.
    Locked(Locked),
}

/// A locked session.
#[derive(Debug)]
pub struct Locked {
    locker: ExtSessionLockV1,
    /// Told when nothing else can be seen any more.
    confirmation: Option<SessionLocker>,
    surfaces: Vec<(LockSurface, Output)>,
}

impl Lock {
    /// Whether only the locker is shown.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// Whether this is the lock that holds, and its locker has been told so.
    fn may_be_opened_by(&self, lock: &ExtSessionLockV1) -> bool {
        match self {
            Self::Open => false,
            Self::Locked(locked) => locked.locker == *lock && locked.confirmation.is_none(),
        }
    }

    /// What is shown on an output of a locked session.
    pub fn surface_on(&self, output: &Output) -> Option<&WlSurface> {
        let Self::Locked(locked) = self else {
            return None;
        };
        let on = |(surface, on): &&(LockSurface, Output)| surface.alive() && on == output;
        locked
            .surfaces
            .iter()
            .find(on)
            .map(|(surface, _)| surface.wl_surface())
    }
}

impl SessionLockHandler for App {
    fn lock_state(&mut self) -> &mut SessionLockManagerState {
        &mut self.protocols.session_lock
    }

    fn lock(&mut self, confirmation: SessionLocker) {
        if let Lock::Locked(locked) = &self.lock
            && locked.locker.is_alive()
        {
            // Its locker is there: another one is turned away by letting go of this.
            return;
        }
        info!("the session is locked");
        self.absence.locking.locked();
        self.lock = Lock::Locked(Locked {
            locker: confirmation.ext_session_lock().clone(),
            confirmation: Some(confirmation),
            surfaces: Vec::new(),
        });
        self.let_go_of_everything();
    }

    fn unlock(&mut self) {
        info!("the session is unlocked");
        self.lock = Lock::Open;
        self.parts.forget(crate::app::LOCKER);
        self.dirty.layout = true;
        self.dirty.callbacks = true;
        self.keep_pointer_on_desk();
    }

    fn new_surface(&mut self, surface: LockSurface, output: WlOutput) {
        let Some(output) = Output::from_resource(&output) else {
            return;
        };
        if let Some(screen) = self
            .desk
            .screens()
            .iter()
            .find(|screen| screen.output == output)
        {
            ask(&surface, screen.rect);
        }
        if let Lock::Locked(locked) = &mut self.lock
            && surface
                .wl_surface()
                .id()
                .same_client_as(&locked.locker.id())
        {
            locked.surfaces.retain(|(known, _)| known.alive());
            locked.surfaces.push((surface, output));
        }
    }
}

impl App {
    /// No client keeps the keyboard, the pointer or a window that it had when the session is locked.
    fn let_go_of_everything(&mut self) {
        let (keyboard, pointer) = (self.keyboard.clone(), self.pointer.clone());
        let serial = SERIAL_COUNTER.next_serial();
        let time = self.clock.now().as_millis();
        self.windows.drop_drag();
        keyboard.unset_grab(self);
        pointer.unset_grab(self, serial, time);
        self.cancel_touch();
        self.drag_icon = None;
        keyboard.set_focus(self, None, serial);
        self.dirty.layout = true;
        self.keep_pointer_on_desk();
    }

    /// The outputs have other sizes now.
    pub(crate) fn fit_lock(&self) {
        let Lock::Locked(locked) = &self.lock else {
            return;
        };
        for screen in self.desk.screens() {
            let on = |(surface, output): &&(LockSurface, Output)| {
                surface.alive() && *output == screen.output
            };
            for (surface, _) in locked.surfaces.iter().filter(on) {
                ask(surface, screen.rect);
                surface.send_configure();
            }
        }
    }

    /// Tells the locker that nothing else can be seen, once that is so.
    pub(crate) fn confirm_lock(&mut self) {
        let Lock::Locked(locked) = &mut self.lock else {
            return;
        };
        let shown = self
            .terminal
            .as_ref()
            .is_none_or(|terminal| terminal.is_acknowledged());
        if shown
            && !self.dirty.layout
            && let Some(confirmation) = locked.confirmation.take()
        {
            confirmation.lock();
        }
    }

    /// What gets keys while the session is locked.
    pub(crate) fn lock_focus(&self) -> Option<WlSurface> {
        if let Lock::Locked(locked) = &self.lock
            && locked.confirmation.is_some()
        {
            // Lockers are not ready for keys before: swaylock crashes on them.
            return None;
        }
        let at = self.pointer.current_location();
        let here = self.desk.screen_at(at).into_iter();
        let screens = here.chain(self.desk.screens());
        let mut surfaces = screens.filter_map(|screen| self.lock.surface_on(&screen.output));
        surfaces
            .find(|surface| self.surfaces.get(surface).is_some())
            .cloned()
    }
}

fn ask(surface: &LockSurface, rect: Rect) {
    let size = (rect.w.max(1) as u32, rect.h.max(1) as u32);
    surface.with_pending_state(|state| state.size = Some(size.into()));
}

/// smithay opens the lock for whoever asks, after it has told them that they may not.
impl Dispatch<ExtSessionLockV1, SessionLockState> for App {
    fn request(
        app: &mut Self,
        client: &Client,
        lock: &ExtSessionLockV1,
        request: Request,
        data: &SessionLockState,
        handle: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if matches!(request, Request::UnlockAndDestroy) && !app.lock.may_be_opened_by(lock) {
            return lock.post_error(Error::InvalidUnlock, "it does not hold the lock");
        }
        <SessionLockManagerState as Dispatch<ExtSessionLockV1, SessionLockState, Self>>::request(
            app, client, lock, request, data, handle, init,
        );
    }
}

delegate_global_dispatch!(App: [ExtSessionLockManagerV1: SessionLockManagerGlobalData] => SessionLockManagerState);
delegate_dispatch!(App: [ExtSessionLockManagerV1: ()] => SessionLockManagerState);
delegate_dispatch!(App: [ExtSessionLockSurfaceV1: ExtLockSurfaceUserData] => SessionLockManagerState);
