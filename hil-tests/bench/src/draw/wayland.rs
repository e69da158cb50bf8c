//! The Wayland front end: xdg-shell and wl_shm, nothing that a plain application would not do.

mod dispatch;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wayland_client::globals::{GlobalList, registry_queue_init};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_keyboard::WlKeyboard;
use wayland_client::protocol::wl_pointer::WlPointer;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, EventQueue, Proxy, QueueHandle};
use wayland_protocols::wp::content_type::v1::client::wp_content_type_manager_v1::WpContentTypeManagerV1;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_v1::Type;
use wayland_protocols::xdg::shell::client::xdg_popup::XdgPopup;
use wayland_protocols::xdg::shell::client::xdg_positioner::{Anchor, Gravity, XdgPositioner};
use wayland_protocols::xdg::shell::client::xdg_surface::XdgSurface;
use wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase;

use super::sheet::Sheet;
use super::{Front, Happening, realtime_ns};
use crate::canvas::{Canvas, Rect};
use crate::play::Play;
use crate::workload::{Over, Workload};

const BASE: usize = 0;
const OVER: usize = 1;
/// Pictures of a surface: one shown, one waiting, one being drawn.
const PICTURES: usize = 3;

/// The connection.
pub struct Wayland {
    queue: EventQueue<State>,
    state: State,
    handed_over_ns: u64,
}

/// What events change.
struct State {
    handle: QueueHandle<State>,
    compositor: WlCompositor,
    subcompositor: WlSubcompositor,
    shell: XdgWmBase,
    shm: WlShm,
    content_types: Option<WpContentTypeManagerV1>,
    surfaces: [Option<Surface>; 2],
    /// The surface that the clock drives.
    driven: usize,
    keyboard: Option<WlKeyboard>,
    pointer: Option<WlPointer>,
    happenings: Vec<Happening>,
}

/// A surface with its role and its buffers.
struct Surface {
    surface: Option<WlSurface>,
    role: Option<XdgSurface>,
    popup: Option<XdgPopup>,
    sheet: Sheet,
    buffers: Vec<WlBuffer>,
    configured: bool,
    /// A frame callback has not come yet.
    is_waiting: bool,
    /// What was drawn and not yet committed.
    pending: Vec<Rect>,
}

impl Wayland {
    /// Opens the windows of a workload.
    pub fn open(play: &Play) -> anyhow::Result<Self> {
        let connection = Connection::connect_to_env().context("connect to the compositor")?;
        let (globals, mut queue) = registry_queue_init::<State>(&connection)?;
        let mut state = State::bind(&globals, &queue.handle(), play)?;
        // Some compositors have no seat before a viewer brings it.
        while !has_seat(&globals) {
            queue.blocking_dispatch(&mut state)?;
        }
        let _seat: WlSeat = globals.bind(&queue.handle(), 3..=3, ())?;
        state.add_surface(BASE, &play.base)?;
        state.make_window(BASE, play.workload());
        let mut wayland = Self {
            queue,
            state,
            handed_over_ns: 0,
        };
        wayland.wait_until_drawn(BASE, play)?;
        if let (Some(over), Over::Film(rect) | Over::Photos(rect)) =
            (&play.over, play.workload().over())
        {
            wayland.state.add_surface(OVER, over)?;
            wayland.state.make_inset(rect, play.workload());
            wayland.state.show(OVER, over, &[over.bounds()]);
            // A subsurface appears with its parent's next commit.
            wayland.state.show(BASE, &play.base, &[]);
        }
        match (&play.over, play.workload().over()) {
            (Some(over), Over::Window(..) | Over::Page) => {
                wayland.state.add_surface(OVER, over)?;
                wayland.state.make_window(OVER, play.workload());
                wayland.wait_until_drawn(OVER, play)?;
            }
            (Some(over), Over::Menu(_)) => wayland.state.add_surface(OVER, over)?,
            _ => {}
        }
        Ok(wayland)
    }

    fn wait_until_drawn(&mut self, which: usize, play: &Play) -> anyhow::Result<()> {
        while !self.state.is_drawn(which) {
            if self.queue.blocking_dispatch(&mut self.state)? == 0 {
                bail!("the compositor does not configure our window");
            }
            self.state.retry(play);
        }
        Ok(())
    }
}

impl Front for Wayland {
    fn wait(
        &mut self,
        play: &Play,
        others: &[BorrowedFd<'_>],
        limit: Option<Duration>,
    ) -> anyhow::Result<Vec<Happening>> {
        if self.queue.dispatch_pending(&mut self.state)? == 0 {
            self.queue.flush()?;
            if let Some(guard) = self.queue.prepare_read() {
                let ready = {
                    let own = std::iter::once(guard.connection_fd());
                    let mut fds: Vec<_> = own
                        .chain(others.iter().copied())
                        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                        .collect();
                    poll(&mut fds, timespec(limit).as_ref())?;
                    !fds[0].revents().is_empty()
                };
                if ready {
                    guard.read()?;
                    self.queue.dispatch_pending(&mut self.state)?;
                }
            }
        }
        self.state.retry(play);
        Ok(std::mem::take(&mut self.state.happenings))
    }

    fn is_ready(&self) -> bool {
        let driven = self.state.surfaces[self.state.driven].as_ref();
        driven.is_none_or(|surface| !surface.is_waiting && surface.sheet.is_free())
    }

    fn show_base(&mut self, play: &Play, damage: &[Rect]) -> anyhow::Result<()> {
        self.state.show(BASE, &play.base, damage);
        self.handed_over_ns = realtime_ns();
        Ok(self.queue.flush()?)
    }

    fn handed_over_ns(&self) -> u64 {
        self.handed_over_ns
    }

    fn show_over(&mut self, play: &Play, damage: &[Rect]) -> anyhow::Result<()> {
        if let Some(over) = &play.over {
            self.state.show(OVER, over, damage);
        }
        Ok(self.queue.flush()?)
    }

    fn set_over(&mut self, play: &Play, shown: bool) -> anyhow::Result<()> {
        if let (Over::Menu(rect), Some(over)) = (play.workload().over(), &play.over) {
            match shown {
                true => self.state.open_menu(rect, over.bounds()),
                false => self.state.close_menu(),
            }
        }
        Ok(())
    }

    fn raise_other(&mut self) -> anyhow::Result<()> {
        // The compositor's own shortcut does it.
        Ok(())
    }
}

fn has_seat(globals: &GlobalList) -> bool {
    let wanted = WlSeat::interface().name;
    let listed = globals.contents();
    listed.with_list(|list| list.iter().any(|global| global.interface == wanted))
}

/// A limit as poll wants it.
pub fn timespec(limit: Option<Duration>) -> Option<Timespec> {
    limit.map(|limit| Timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: limit.subsec_nanos().into(),
    })
}

impl State {
    fn bind(globals: &GlobalList, handle: &QueueHandle<Self>, play: &Play) -> anyhow::Result<Self> {
        Ok(Self {
            handle: handle.clone(),
            compositor: globals.bind(handle, 4..=4, ())?,
            subcompositor: globals.bind(handle, 1..=1, ())?,
            shell: globals.bind(handle, 1..=1, ())?,
            shm: globals.bind(handle, 1..=1, ())?,
            content_types: globals.bind(handle, 1..=1, ()).ok(),
            surfaces: [None, None],
            driven: if play.workload().clock_drives_over() {
                OVER
            } else {
                BASE
            },
            keyboard: None,
            pointer: None,
            happenings: Vec::new(),
        })
    }

    fn add_surface(&mut self, which: usize, canvas: &Canvas) -> anyhow::Result<()> {
        let sheet = Sheet::new(canvas.w, canvas.h, PICTURES)?;
        let bytes = sheet.picture_bytes();
        let handle = &self.handle;
        let pool = self
            .shm
            .create_pool(sheet.fd(), (bytes * PICTURES) as i32, handle, ());
        let (w, h) = (canvas.w as i32, canvas.h as i32);
        let buffers = (0..PICTURES).map(|index| {
            let offset = (index * bytes) as i32;
            let data = (which, index);
            pool.create_buffer(offset, w, h, w * 4, Format::Xrgb8888, handle, data)
        });
        self.surfaces[which] = Some(Surface {
            surface: None,
            role: None,
            popup: None,
            buffers: buffers.collect(),
            sheet,
            configured: false,
            is_waiting: false,
            pending: vec![canvas.bounds()],
        });
        pool.destroy();
        Ok(())
    }

    fn make_window(&mut self, which: usize, workload: Workload) {
        let surface = self.compositor.create_surface(&self.handle, ());
        let role = self.shell.get_xdg_surface(&surface, &self.handle, which);
        let toplevel = role.get_toplevel(&self.handle, ());
        let name = match (which, workload.over()) {
            (BASE, _) => "hil-base",
            (_, Over::Page) => "hil-page",
            _ => "hil-over",
        };
        toplevel.set_title(name.to_owned());
        toplevel.set_app_id(name.to_owned());
        match (workload.over(), which) {
            // A full-screen window would cover the one that is moved.
            (Over::Window(..), BASE) => toplevel.set_maximized(),
            (Over::Window(..), _) => {}
            _ => toplevel.set_fullscreen(None),
        }
        surface.commit();
        if let Some(own) = &mut self.surfaces[which] {
            own.surface = Some(surface);
            own.role = Some(role);
        }
    }

    fn make_inset(&mut self, rect: Rect, workload: Workload) {
        let [Some(base), Some(film)] = &mut self.surfaces else {
            return;
        };
        let Some(parent) = &base.surface else { return };
        let surface = self.compositor.create_surface(&self.handle, ());
        let sub = self
            .subcompositor
            .get_subsurface(&surface, parent, &self.handle, ());
        sub.set_position(rect.x as i32, rect.y as i32);
        sub.set_desync();
        if let Some(types) = &self.content_types {
            let hint = types.get_surface_content_type(&surface, &self.handle, ());
            hint.set_content_type(match workload.over() {
                Over::Photos(_) => Type::Photo,
                _ => Type::Video,
            });
        }
        film.surface = Some(surface);
        film.configured = true;
    }

    fn open_menu(&mut self, rect: Rect, bounds: Rect) {
        let [Some(base), Some(menu)] = &mut self.surfaces else {
            return;
        };
        let positioner: XdgPositioner = self.shell.create_positioner(&self.handle, ());
        positioner.set_size(rect.w as i32, rect.h as i32);
        positioner.set_anchor_rect(rect.x as i32, rect.y as i32, 1, 1);
        positioner.set_anchor(Anchor::TopLeft);
        positioner.set_gravity(Gravity::BottomRight);
        let surface = self.compositor.create_surface(&self.handle, ());
        let role = self.shell.get_xdg_surface(&surface, &self.handle, OVER);
        let popup = role.get_popup(base.role.as_ref(), &positioner, &self.handle, ());
        positioner.destroy();
        surface.commit();
        menu.surface = Some(surface);
        menu.role = Some(role);
        menu.popup = Some(popup);
        menu.configured = false;
        menu.is_waiting = false;
        menu.pending = vec![bounds];
    }

    fn close_menu(&mut self) {
        if let Some(menu) = &mut self.surfaces[OVER] {
            menu.configured = false;
            menu.popup.take().inspect(XdgPopup::destroy);
            menu.role.take().inspect(XdgSurface::destroy);
            menu.surface.take().inspect(WlSurface::destroy);
        }
    }

    fn is_drawn(&self, which: usize) -> bool {
        let surface = self.surfaces[which].as_ref();
        surface.is_some_and(|surface| surface.configured && surface.pending.is_empty())
    }

    /// Commits what could not be committed before.
    fn retry(&mut self, play: &Play) {
        let canvases = [Some(&play.base), play.over.as_ref()];
        for (which, canvas) in canvases.into_iter().enumerate() {
            let surface = self.surfaces[which].as_ref();
            if let Some(canvas) = canvas
                && surface.is_some_and(|surface| surface.configured && !surface.pending.is_empty())
            {
                self.show(which, canvas, &[]);
            }
        }
    }

    fn show(&mut self, which: usize, canvas: &Canvas, damage: &[Rect]) {
        let Some(own) = &mut self.surfaces[which] else {
            return;
        };
        own.sheet.note(damage);
        own.pending.extend_from_slice(damage);
        let (Some(surface), true) = (&own.surface, own.configured) else {
            return;
        };
        let Some(picture) = own.sheet.take(canvas) else {
            return;
        };
        surface.attach(Some(&own.buffers[picture]), 0, 0);
        for rect in own.pending.drain(..) {
            surface.damage_buffer(rect.x as i32, rect.y as i32, rect.w as i32, rect.h as i32);
        }
        surface.frame(&self.handle, which);
        surface.commit();
        own.is_waiting = true;
    }
}
