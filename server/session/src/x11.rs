//! X11 programs: Xwayland, started when the first of them connects.
//!
//! ```text
//!           a program connects            the X server is ready
//!   Waiting ──────────────────► Starting ──────────────────────► Running
//!      ▲                           │                                │
//!      └──── it ended, or failed ──┴────────────────────────────────┘
//! ```
//!
//! Each program's windows are windows of the session ([`crate::toplevel`]); menus and the like,
//! which place themselves, are in `loose`.

mod display;
mod pairs;
pub mod shim;
mod windows;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use smithay::reexports::wayland_server::Client;
use smithay::utils::Size;
use smithay::wayland::selection::SelectionTarget;
use smithay::xwayland::xwm::XwmId;
use smithay::xwayland::xwm::settings::Value;
use smithay::xwayland::{X11Surface, X11Wm, XWayland, XWaylandClientData, XWaylandEvent};
use tracing::{info, warn};

use crate::app::{App, ClientState};
use crate::quota::Quota;
use crate::sys;
use display::Display;
pub use pairs::surface_of;

/// What smithay's own socket for an X server has as its number more than ours.
const UNUSED: u32 = 100_000;
/// How often an X server may be started: each time that it ends its windows are gone.
const MOST_STARTS: u32 = 8;
const STARTS_PERIOD: Duration = Duration::from_secs(60);
/// Dots an inch of a screen that is not scaled, for X11 programs.
const DPI: f64 = 96.0;

/// X11 in this session.
#[derive(Debug)]
pub struct X11 {
    display: Display,
    program: PathBuf,
    /// The folder in which smithay finds Xwayland.
    folder: PathBuf,
    handle: LoopHandle<'static, App>,
    /// Where programs connect, while no X server listens there.
    door: RegistrationToken,
    starts: Quota,
    server: Server,
    /// Window managers of servers that have gone. What they had begun to pass on may still ask for
    /// them.
    past: Vec<X11Wm>,
    /// Windows that place themselves, lowest first.
    pub(crate) loose: Vec<X11Surface>,
    /// Device pixels a logical pixel, as X11 programs were told.
    scale: f64,
}

#[derive(Debug)]
enum Server {
    Waiting,
    Starting(Process),
    Running(Process, Box<X11Wm>),
}

#[derive(Debug)]
struct Process {
    source: RegistrationToken,
    client: Client,
}

impl X11 {
    /// Takes a display, for programs that will come.
    ///
    /// # Errors
    /// Where there is no Xwayland, or no display to be had.
    pub fn open(handle: LoopHandle<'static, App>) -> anyhow::Result<Self> {
        let program =
            find(shim::NAME).context("Xwayland is not installed (apt install xwayland)")?;
        let display = Display::open().context("take an X display")?;
        let folder = link_shim(display.number).context("link the way to Xwayland")?;
        let listener = display.listener.try_clone()?;
        let source = Generic::new(listener, Interest::READ, Mode::Level);
        let door = handle.insert_source(source, |_, _, app: &mut App| {
            app.start_xwayland();
            // From now on the X server takes them in.
            Ok(PostAction::Disable)
        });
        let door = door.map_err(|error| anyhow!("watch the X display: {error}"))?;
        Ok(Self {
            display,
            program,
            folder,
            handle,
            door,
            starts: Quota::new(MOST_STARTS, STARTS_PERIOD, Instant::now()),
            server: Server::Waiting,
            past: Vec::new(),
            loose: Vec::new(),
            scale: 1.0,
        })
    }

    /// What DISPLAY is for programs.
    pub fn name(&self) -> String {
        format!(":{}", self.display.number)
    }

    /// The window manager, while there is an X server.
    pub(crate) fn wm(&mut self) -> Option<&mut X11Wm> {
        match &mut self.server {
            Server::Running(_, wm) => Some(wm),
            Server::Waiting | Server::Starting(_) => None,
        }
    }

    /// The window manager of this id; smithay asks for none that we do not keep.
    pub(crate) fn wm_of(&mut self, id: XwmId) -> Option<&mut X11Wm> {
        let present = match &mut self.server {
            Server::Running(_, wm) => Some(&mut **wm),
            Server::Waiting | Server::Starting(_) => None,
        };
        let mut all = present.into_iter().chain(&mut self.past);
        all.find(|wm| wm.id() == id)
    }

    /// The loop, for what is passed on piece by piece.
    pub(crate) fn handle(&self) -> LoopHandle<'static, App> {
        self.handle.clone()
    }

    /// Takes no program in until a server may be started again. They hang until then rather than to
    /// be told that there is no display.
    fn wait(&self) {
        let wait = self
            .starts
            .renewed_at()
            .saturating_duration_since(Instant::now());
        let door = self.door;
        let timer = Timer::from_duration(wait);
        let added = self
            .handle
            .insert_source(timer, move |_, (), app: &mut App| {
                app.open_door(door);
                TimeoutAction::Drop
            });
        if let Err(error) = added {
            warn!("X11 programs have to wait for ever: {error}");
        }
    }

    fn spawn(&self, app: &App) -> std::io::Result<(XWayland, Client)> {
        let listen = sys::Inheritable::new(&self.display.listener)?;
        let text = |text: String| OsString::from(text);
        let environment = [
            ("PATH", self.folder.clone().into_os_string()),
            (shim::PROGRAM, self.program.clone().into_os_string()),
            (shim::NUMBER, text(self.display.number.to_string())),
            (shim::LISTEN, text(listen.number().to_string())),
            (shim::PATH, std::env::var_os("PATH").unwrap_or_default()),
        ];
        XWayland::spawn(
            &app.handle,
            UNUSED + self.display.number,
            environment,
            false,
            Stdio::null(),
            // What it complains of belongs into the session's log.
            Stdio::inherit(),
            |data| {
                data.insert_if_missing_threadsafe(ClientState::default);
            },
        )
    }

    fn tell_scale(&mut self) {
        let dots = DPI * self.scale;
        let settings = [
            // In 1024ths of a dot.
            ("Xft/DPI", Value::Integer((dots * 1024.0) as i32)),
            ("Gdk/UnscaledDPI", Value::Integer((dots * 1024.0) as i32)),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        if let Some(wm) = self.wm()
            && let Err(error) = wm.set_xsettings(settings.into_iter())
        {
            warn!("X11 programs cannot be told the scale: {error}");
        }
    }
}

impl Drop for X11 {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl App {
    /// The session is over: the X server goes, and with it what smithay has left in /tmp. What
    /// watches the server holds on to the loop, so it does not go with it by itself.
    pub(crate) fn close_x11(&mut self) {
        let Some(x11) = self.x11.take() else {
            return;
        };
        x11.handle.remove(x11.door);
        if let Server::Starting(process) | Server::Running(process, _) = &x11.server {
            x11.handle.remove(process.source);
        }
    }

    /// A program has connected, and there is no X server.
    fn start_xwayland(&mut self) {
        let Some(mut x11) = self.x11.take() else {
            return;
        };
        match x11.starts.take(Instant::now()) {
            None => {
                warn!("Xwayland has ended too often: X11 programs have to wait");
                x11.wait();
            }
            Some(_) => {
                if let Err(error) = self.begin_xwayland(&mut x11) {
                    warn!("Xwayland cannot be started: {error:#}");
                    x11.wait();
                }
            }
        }
        self.x11 = Some(x11);
    }

    /// Sees that an X server has ended before it was one. smithay tells of those only that were: the
    /// end of what a server would say that it is ready with is nothing to it, so it would be looked
    /// at again and again.
    pub(crate) fn mind_xwayland(&mut self) {
        let Some(Server::Starting(process)) = self.x11.as_ref().map(|x11| &x11.server) else {
            return;
        };
        let backend = self.handle.backend_handle();
        if backend.get_client_data(process.client.id()).is_err() {
            self.xwayland_gone("it did not start; what it said is above");
        }
    }

    fn begin_xwayland(&mut self, x11: &mut X11) -> anyhow::Result<()> {
        let (server, client) = x11.spawn(self)?;
        let added = x11
            .handle
            .insert_source(server, |event, (), app: &mut App| match event {
                XWaylandEvent::Ready { x11_socket, .. } => app.xwayland_ready(x11_socket),
                XWaylandEvent::Error => app.xwayland_gone("it did not start"),
            });
        let source = added.map_err(|error| anyhow!("watch Xwayland: {error}"))?;
        x11.scale = self.x11_scale();
        set_scale(&client, x11.scale);
        x11.server = Server::Starting(Process { source, client });
        Ok(())
    }

    fn xwayland_ready(&mut self, socket: std::os::unix::net::UnixStream) {
        let Some(x11) = &mut self.x11 else {
            return;
        };
        let Server::Starting(process) = std::mem::replace(&mut x11.server, Server::Waiting) else {
            return;
        };
        match X11Wm::start_wm(x11.handle.clone(), socket, process.client.clone()) {
            Ok(wm) => {
                info!(display = x11.name(), "Xwayland runs");
                x11.server = Server::Running(process, Box::new(wm));
                x11.tell_scale();
                self.set_x11_cursor();
                // Nothing to offer is nothing to say: the program that the server was started for may
                // have copied something by now.
                for target in [SelectionTarget::Clipboard, SelectionTarget::Primary] {
                    if self.offered.has(target) {
                        self.offer_to_x11(target);
                    }
                }
            }
            Err(error) => {
                x11.server = Server::Starting(process);
                self.xwayland_gone(&format!("its windows cannot be managed: {error}"));
            }
        }
    }

    /// The X server has gone, and all of its windows with it. The next program starts it anew.
    pub(crate) fn xwayland_gone(&mut self, why: &str) {
        let Some(x11) = &mut self.x11 else {
            return;
        };
        let process = match std::mem::replace(&mut x11.server, Server::Waiting) {
            Server::Waiting => return,
            Server::Starting(process) => process,
            Server::Running(process, wm) => {
                x11.past.push(*wm);
                process
            }
        };
        warn!("Xwayland has ended: {why}");
        x11.handle.remove(process.source);
        x11.loose.clear();
        let door = x11.door;
        let all = self.toplevels.iter();
        let gone = all.filter(|(_, toplevel)| toplevel.x11().is_some());
        let gone: Vec<_> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.toplevels.remove(&id);
            self.windows.remove(id);
        }
        self.forget_x11_selections();
        self.dirty.layout = true;
        self.open_door(door);
    }

    fn open_door(&mut self, door: RegistrationToken) {
        if let Some(x11) = &self.x11
            && let Err(error) = x11.handle.enable(&door)
        {
            warn!("X11 programs cannot connect any more: {error}");
        }
    }

    /// Device pixels a logical pixel for X11 programs, which draw for one scale only: the largest.
    fn x11_scale(&self) -> f64 {
        let scales = self.desk.screens().iter().map(|screen| screen.scale);
        scales.fold(1.0, f64::max)
    }

    /// The screens are about to be told of: X11 programs see them in device pixels.
    pub(crate) fn rescale_x11(&mut self, scale: f64) {
        let Some(x11) = &mut self.x11 else {
            return;
        };
        let (Server::Starting(process) | Server::Running(process, _)) = &x11.server else {
            return;
        };
        if x11.scale == scale {
            return;
        }
        set_scale(&process.client, scale);
        x11.scale = scale;
        x11.tell_scale();
        for toplevel in self.toplevels.values() {
            if let Some(window) = toplevel.x11() {
                // Its size in X11's pixels is another now.
                let _ = window.configure(window.geometry());
            }
        }
    }

    fn set_x11_cursor(&mut self) {
        let (pixels, size, hotspot) = self.cursors.for_x11(self.x11_scale());
        let Some(wm) = self.x11.as_mut().and_then(X11::wm) else {
            return;
        };
        let size = Size::from((size.w as u16, size.h as u16));
        let hotspot = (hotspot.0 as u16, hotspot.1 as u16).into();
        if let Err(error) = wm.set_cursor(&pixels, size, hotspot) {
            warn!("X11's cursor is not the session's: {error}");
        }
    }
}

/// What is kept of a client, be it Xwayland or another.
pub fn client_state(client: &Client) -> Option<&ClientState> {
    let x11 = client.get_data::<XWaylandClientData>();
    let of_x11 = x11.and_then(|data| data.user_data().get::<ClientState>());
    of_x11.or_else(|| client.get_data::<ClientState>())
}

/// Pixels of X11 programs a logical pixel; 1 for any other client.
pub fn scale_of(client: &Client) -> f64 {
    let data = client.get_data::<XWaylandClientData>();
    data.map_or(1.0, |data| data.compositor_state.client_scale())
}

fn set_scale(client: &Client, scale: f64) {
    if let Some(data) = client.get_data::<XWaylandClientData>() {
        data.compositor_state.set_client_scale(scale);
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_absolute() && path.is_file())
}

/// A folder in which the only program is this one, by the name of Xwayland.
fn link_shim(number: u32) -> std::io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .ok_or_else(|| std::io::Error::other("XDG_RUNTIME_DIR is not set"))?;
    let folder = Path::new(&runtime).join(format!("heliostat-x11-{number}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder)?;
    std::os::unix::fs::symlink(std::env::current_exe()?, folder.join(shim::NAME))?;
    Ok(folder)
}
