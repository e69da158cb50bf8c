//! wlr-foreign-toplevel-management: panels list windows, and ask for what is done to them.

use std::collections::BTreeMap;

use smithay::output::Output;
use smithay::reexports::wayland_protocols_wlr::foreign_toplevel::v1::server::zwlr_foreign_toplevel_handle_v1::{
    self, State, ZwlrForeignToplevelHandleV1,
};
use smithay::reexports::wayland_protocols_wlr::foreign_toplevel::v1::server::zwlr_foreign_toplevel_manager_v1::{
    self, ZwlrForeignToplevelManagerV1,
};
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource,
};

use crate::app::App;
use crate::window::{Mode, WindowId};

const VERSION: u32 = 3;
/// Lists of windows at once: one is enough for a panel.
const MAX_LISTS: usize = 32;

/// The lists of windows that panels have.
#[derive(Debug, Default)]
pub struct Lists(Vec<List>);

#[derive(Debug)]
struct List {
    manager: ZwlrForeignToplevelManagerV1,
    told: BTreeMap<WindowId, (ZwlrForeignToplevelHandleV1, Known)>,
}

/// What a panel knows of a window.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    title: String,
    app_id: String,
    states: Vec<State>,
    output: Option<Output>,
}

/// Announces the protocol.
pub fn announce(handle: &DisplayHandle) {
    handle.create_global::<App, ZwlrForeignToplevelManagerV1, ()>(VERSION, ());
}

impl App {
    /// Tells panels which windows there are, where that has changed.
    pub(crate) fn tell_lists(&mut self) {
        self.lists.0.retain(|list| list.manager.is_alive());
        if self.lists.0.is_empty() {
            return;
        }
        let windows: BTreeMap<_, _> = self.windows.all().map(|id| (id, self.known(id))).collect();
        let mut lists = std::mem::take(&mut self.lists);
        for list in &mut lists.0 {
            list.told.retain(|id, (handle, _)| {
                let stays = windows.contains_key(id);
                if !stays && handle.is_alive() {
                    handle.closed();
                }
                stays
            });
            for (id, known) in &windows {
                list.tell(&self.handle, *id, known);
            }
        }
        self.lists = lists;
    }

    fn known(&self, id: WindowId) -> Known {
        let toplevel = self.toplevels.get(&id);
        let window = self.windows.get(id);
        let is = |mode| window.is_some_and(|window| window.mode == mode);
        let states = [
            (State::Maximized, is(Mode::Maximised)),
            (
                State::Minimized,
                window.is_some_and(|window| window.minimised),
            ),
            (State::Activated, self.windows.focused() == Some(id)),
            (State::Fullscreen, is(Mode::Fullscreen)),
        ];
        let middle = window.map(|window| {
            let rect = window.rect;
            (
                f64::from(rect.x + rect.w / 2),
                f64::from(rect.y + rect.h / 2),
            )
                .into()
        });
        let screen = middle.and_then(|middle| self.desk.screen_at(middle));
        Known {
            title: toplevel
                .map(|toplevel| toplevel.title())
                .unwrap_or_default(),
            app_id: toplevel
                .map(|toplevel| toplevel.app_id())
                .unwrap_or_default(),
            states: states
                .into_iter()
                .filter(|(_, set)| *set)
                .map(|(state, _)| state)
                .collect(),
            output: screen.map(|screen| screen.output.clone()),
        }
    }
}

impl List {
    fn tell(&mut self, display: &DisplayHandle, id: WindowId, known: &Known) {
        let Some(client) = self.manager.client() else {
            return;
        };
        let before = match self.told.get_mut(&id) {
            Some((handle, _)) if !handle.is_alive() => return,
            Some((_, before)) if before == known => return,
            Some((_, before)) => Some(std::mem::replace(before, known.clone())),
            None => {
                let version = self.manager.version();
                let made = client
                    .create_resource::<ZwlrForeignToplevelHandleV1, _, App>(display, version, id);
                let Ok(handle) = made else {
                    return;
                };
                self.manager.toplevel(&handle);
                self.told.insert(id, (handle, known.clone()));
                None
            }
        };
        if let Some((handle, known)) = self.told.get(&id) {
            tell(handle, &client, before.as_ref(), known);
        }
    }
}

fn tell(
    handle: &ZwlrForeignToplevelHandleV1,
    client: &Client,
    before: Option<&Known>,
    known: &Known,
) {
    if before.is_none_or(|before| before.title != known.title) {
        handle.title(known.title.clone());
    }
    if before.is_none_or(|before| before.app_id != known.app_id) {
        handle.app_id(known.app_id.clone());
    }
    if before.is_none_or(|before| before.output != known.output) {
        let resources = |output: Option<&Output>| {
            output
                .map(|output| output.client_outputs(client).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        for gone in resources(before.and_then(|before| before.output.as_ref())) {
            handle.output_leave(&gone);
        }
        for entered in resources(known.output.as_ref()) {
            handle.output_enter(&entered);
        }
    }
    if before.is_none_or(|before| before.states != known.states) {
        let fullscreen_is_known =
            handle.version() >= zwlr_foreign_toplevel_handle_v1::REQ_SET_FULLSCREEN_SINCE;
        let states = known.states.iter().copied();
        let states = states.filter(|state| fullscreen_is_known || *state != State::Fullscreen);
        handle.state(
            states
                .flat_map(|state| (state as u32).to_ne_bytes())
                .collect(),
        );
    }
    handle.done();
}

impl GlobalDispatch<ZwlrForeignToplevelManagerV1, ()> for App {
    fn bind(
        app: &mut Self,
        _handle: &DisplayHandle,
        _client: &Client,
        resource: New<ZwlrForeignToplevelManagerV1>,
        (): &(),
        init: &mut DataInit<'_, Self>,
    ) {
        let manager = init.init(resource, ());
        if app.lists.0.len() >= MAX_LISTS {
            return manager.finished();
        }
        app.lists.0.push(List {
            manager,
            told: BTreeMap::new(),
        });
        // It is told of the windows when everything is settled.
        app.dirty.layout = true;
    }
}

impl Dispatch<ZwlrForeignToplevelManagerV1, ()> for App {
    fn request(
        app: &mut Self,
        _client: &Client,
        manager: &ZwlrForeignToplevelManagerV1,
        request: zwlr_foreign_toplevel_manager_v1::Request,
        (): &(),
        _handle: &DisplayHandle,
        _init: &mut DataInit<'_, Self>,
    ) {
        if let zwlr_foreign_toplevel_manager_v1::Request::Stop = request {
            manager.finished();
            app.lists.0.retain(|list| list.manager != *manager);
        }
    }
}

impl Dispatch<ZwlrForeignToplevelHandleV1, WindowId> for App {
    fn request(
        app: &mut Self,
        _client: &Client,
        _handle: &ZwlrForeignToplevelHandleV1,
        request: zwlr_foreign_toplevel_handle_v1::Request,
        id: &WindowId,
        _display: &DisplayHandle,
        _init: &mut DataInit<'_, Self>,
    ) {
        use zwlr_foreign_toplevel_handle_v1::Request;
        let lies = |mode| {
            app.windows
                .get(*id)
                .is_some_and(|window| window.mode == mode)
        };
        match request {
            Request::SetMaximized => app.windows.set_mode(*id, Mode::Maximised),
            Request::UnsetMaximized if lies(Mode::Maximised) => {
                app.windows.set_mode(*id, Mode::Floating)
            }
            Request::SetFullscreen { .. } => app.windows.set_mode(*id, Mode::Fullscreen),
            Request::UnsetFullscreen if lies(Mode::Fullscreen) => {
                app.windows.set_mode(*id, Mode::Floating)
            }
            Request::SetMinimized => app.windows.minimise(*id),
            Request::UnsetMinimized | Request::Activate { .. } => app.windows.focus(*id),
            Request::Close => app.close(*id),
            _ => return,
        }
        app.dirty.layout = true;
    }
}
