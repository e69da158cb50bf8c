//! A panel without pixels: it lists windows, and asks for things to be done to them.

use std::os::unix::net::UnixStream;

use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, event_created_child};
pub use wayland_protocols_wlr::foreign_toplevel::v1::client::zwlr_foreign_toplevel_handle_v1::State;
use wayland_protocols_wlr::foreign_toplevel::v1::client::zwlr_foreign_toplevel_handle_v1::{
    Event, ZwlrForeignToplevelHandleV1 as Handle,
};
use wayland_protocols_wlr::foreign_toplevel::v1::client::zwlr_foreign_toplevel_manager_v1::{
    EVT_TOPLEVEL_OPCODE, Event as ManagerEvent, ZwlrForeignToplevelManagerV1 as Manager,
};

/// What it knows of the newest window.
#[derive(Default)]
pub struct Known {
    window: Option<Handle>,
    pub title: String,
    pub app_id: String,
    /// Each is a small number, of which the first byte is taken.
    pub states: Vec<u8>,
    pub done: bool,
    pub closed: bool,
}

pub struct Panel {
    queue: EventQueue<Known>,
    known: Known,
}

impl std::ops::Deref for Panel {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl Panel {
    pub fn new(stream: UnixStream) -> Self {
        let connection = Connection::from_socket(stream).unwrap();
        let (globals, queue) = registry_queue_init::<Known>(&connection).unwrap();
        let _manager: Manager = globals.bind(&queue.handle(), 3..=3, ()).unwrap();
        Self {
            queue,
            known: Known::default(),
        }
    }

    /// Listens until something is so; returns the window.
    pub fn until(&mut self, so: impl Fn(&Known) -> bool) -> &Handle {
        while !so(&self.known) {
            self.queue.blocking_dispatch(&mut self.known).unwrap();
        }
        self.queue.flush().unwrap();
        self.known.window.as_ref().unwrap()
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for Known {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: <WlRegistry as wayland_client::Proxy>::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

impl Dispatch<Manager, ()> for Known {
    fn event(
        known: &mut Self,
        _: &Manager,
        event: ManagerEvent,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let ManagerEvent::Toplevel { toplevel } = event {
            known.window = Some(toplevel);
        }
    }

    event_created_child!(Known, Manager, [EVT_TOPLEVEL_OPCODE => (Handle, ())]);
}

impl Dispatch<Handle, ()> for Known {
    fn event(
        known: &mut Self,
        _: &Handle,
        event: Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            Event::Title { title } => known.title = title,
            Event::AppId { app_id } => known.app_id = app_id,
            Event::State { state } => {
                known.states = state.chunks(4).map(|state| state[0]).collect()
            }
            Event::Done => known.done = true,
            Event::Closed => known.closed = true,
            _ => {}
        }
    }
}
