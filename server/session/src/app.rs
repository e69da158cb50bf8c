//! The compositor's thread: one loop, which only hands on what comes.

mod absence;
mod terminal;

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use heliostat_control::session::FromSession;
use heliostat_tiles::Encoder;
use heliostat_wire::control::DetachReason;
use heliostat_wire::session::ToTerminal;
use smithay::desktop::PopupManager;
use smithay::input::keyboard::KeyboardHandle;
use smithay::input::pointer::PointerHandle;
use smithay::input::touch::TouchHandle;
use smithay::input::{Seat, SeatState};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction, channel};
use smithay::reexports::wayland_server::backend::{ClientData, ClientId, DisconnectReason};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Display, DisplayHandle};
use smithay::utils::{Clock, Monotonic};
use smithay::wayland::compositor::CompositorClientState;
use smithay::wayland::socket::ListeningSocketSource;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use crate::attach::Attachment;
use crate::autostart;
use crate::callbacks::Callbacks;
use crate::children::Children;
use crate::config::Config;
use crate::content::MotionRoom;
use crate::cursor::Cursors;
use crate::flat::Flat;
use crate::gpu::Gpu;
use crate::idle::Absence;
use crate::input::InputState;
use crate::layouts::LayoutFile;
use crate::link::LinkEvent;
use crate::memory::Memory;
use crate::menu::Menu;
use crate::outputs::{self, Desk};
use crate::parts::Parts;
use crate::presentation::Wanted;
use crate::protocols::{Lists, Lock, Offered, Protocols};
use crate::resume::Gone;
use crate::squeeze::Squeeze;
use crate::stats::Counters;
use crate::surface::Surfaces;
use crate::sys;
use crate::threads::Threads;
use crate::titles::Titles;
use crate::toplevel::Toplevel;
use crate::videos::{Done, Videos};
use crate::window::{WindowId, Windows};
use crate::x11::X11;

/// How long clients have to close when the session ends.
const CLOSING: Duration = Duration::from_secs(3);
/// The part that locks the screen.
pub(crate) const LOCKER: &str = "locker";
/// How often a vital part may fall before the session gives up.
const MAX_FALLS: u32 = 3;
/// zstd level of frames on a link of which nothing is known.
const LEVEL: i32 = 1;

/// What the loop is told.
#[derive(Debug)]
pub enum Event {
    /// From the links.
    Link(LinkEvent),
    /// A program of the session has ended: its name, and how.
    ChildEnded(String, String),
    /// The session's message bus has this address, or there is none.
    Bus(Option<String>),
    /// A picture of a film was encoded.
    Film(Done),
    /// A device that was reset has been tried out.
    Tried,
}

/// Tells the loop from another thread that a device has been tried out.
#[cfg(feature = "gpu")]
pub(crate) fn wake(events: &channel::Sender<Event>) -> crate::gpu::Wake {
    let events = events.clone();
    Box::new(move || drop(events.send(Event::Tried)))
}

/// The compositor's state.
pub struct App {
    pub(crate) handle: DisplayHandle,
    pub(crate) event_loop: LoopHandle<'static, Self>,
    /// Commits that wait until their buffers are drawn.
    #[cfg(feature = "gpu")]
    pub(crate) fences: crate::protocols::Fences,
    pub(crate) config: Config,
    pub(crate) protocols: Protocols,
    pub(crate) seat_state: SeatState<Self>,
    pub(crate) seat: Seat<Self>,
    pub(crate) keyboard: KeyboardHandle<Self>,
    pub(crate) pointer: PointerHandle<Self>,
    pub(crate) touch: TouchHandle<Self>,
    pub(crate) popups: PopupManager,
    /// The one that has grabbed the keyboard.
    pub(crate) menu: Option<Menu>,
    pub(crate) surfaces: Surfaces,
    pub(crate) windows: Windows,
    pub(crate) toplevels: BTreeMap<WindowId, Toplevel>,
    pub(crate) titles: Titles,
    pub(crate) drag_icon: Option<WlSurface>,
    pub(crate) cursors: Cursors,
    pub(crate) input: InputState,
    pub(crate) desk: Desk,
    pub(crate) terminal: Option<Attachment>,
    pub(crate) gone: Option<Gone>,
    pub(crate) encoder: Encoder,
    pub(crate) squeeze: Squeeze,
    pub(crate) motion_room: MotionRoom,
    pub(crate) videos: Videos,
    pub(crate) gpu: Gpu,
    pub(crate) flat: Flat,
    pub(crate) events: channel::Sender<Event>,
    pub(crate) dirty: Dirty,
    /// When the first of the changes was committed that the link has not all got.
    pub(crate) committed: Option<Instant>,
    pub(crate) clock: Clock<Monotonic>,
    pub(crate) counters: Counters,
    pub(crate) memory: Memory,
    pub(crate) children: Children,
    pub(crate) layouts: LayoutFile,
    pub(crate) broker: UnboundedSender<FromSession>,
    pub(crate) feedback: Wanted,
    pub(crate) visible: Vec<WlSurface>,
    pub(crate) x11: Option<X11>,
    pub(crate) offered: Offered,
    pub(crate) lists: Lists,
    pub(crate) lock: Lock,
    pub(crate) parts: Parts,
    pub(crate) callbacks: Callbacks,
    pub(crate) absence: Absence,
    pub(crate) inhibitors: Vec<WlSurface>,
    ending: Option<(DetachReason, Instant)>,
    /// Why the session cannot go on.
    failure: Option<String>,
}

/// What has changed since it was last looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dirty {
    /// Pixels.
    pub(crate) pixels: bool,
    /// A few of them, perhaps, that answer input.
    pub(crate) answer: bool,
    /// Sizes, places, stacking.
    pub(crate) layout: bool,
    /// A client waits for the next frame.
    pub(crate) callbacks: bool,
    /// What is shown at the pointer.
    pub(crate) cursor: bool,
}

/// What is kept of each client.
#[derive(Debug, Default)]
pub struct ClientState {
    pub(crate) compositor: CompositorClientState,
    /// Surfaces it has.
    pub(crate) surfaces: AtomicUsize,
}

impl ClientData for ClientState {
    fn initialized(&self, _client: ClientId) {}
    fn disconnected(&self, client: ClientId, reason: DisconnectReason) {
        match reason {
            DisconnectReason::ConnectionClosed => debug!(?client, "a client has left"),
            DisconnectReason::ProtocolError(error) => {
                warn!("a client broke the protocol: {error:?}")
            }
        }
    }
}

/// The loop and what runs on it.
pub struct Session {
    event_loop: EventLoop<'static, App>,
    app: App,
    /// Name of the Wayland socket.
    pub wayland_display: String,
    /// Tells the loop.
    pub events: channel::Sender<Event>,
}

impl Session {
    /// Opens the Wayland socket. `broker` gets what the broker is to know.
    pub fn new(config: Config, broker: UnboundedSender<FromSession>) -> anyhow::Result<Self> {
        let socket = ListeningSocketSource::new_auto()
            .context("open a Wayland socket (is XDG_RUNTIME_DIR set and writable?)")?;
        let name = socket.socket_name().to_string_lossy().into_owned();
        let mut session = Self::without_socket(config, broker, &name)?;
        let handle = session.event_loop.handle();
        let result = handle.insert_source(socket, |stream, (), app: &mut App| app.let_in(stream));
        result.map_err(|error| anyhow!("listen on the Wayland socket: {error}"))?;
        session.app.open_x11(handle);
        Ok(session)
    }

    /// A session whose clients are let in one by one.
    pub(crate) fn without_socket(
        config: Config,
        broker: UnboundedSender<FromSession>,
        wayland_display: &str,
    ) -> anyhow::Result<Self> {
        let event_loop = EventLoop::try_new().context("make an event loop")?;
        let display = Display::new().context("make a Wayland display")?;
        let handle = event_loop.handle();
        let (events, receiver) = channel::channel();
        let mut children = Children::new(wayland_display, events.clone());
        children.set_environment(&config.environment);
        let loops = (handle.clone(), display.handle());
        let mut app = App::new(loops, config, broker, children, events.clone())?;
        app.layouts = LayoutFile::of(wayland_display);
        app.tell_layout();
        let wayland_display = wayland_display.to_owned();
        watch_clients(&handle, display)?;
        let result = handle.insert_source(receiver, |event, (), app: &mut App| {
            if let channel::Event::Msg(event) = event {
                app.handle_event(event);
            }
        });
        result.map_err(|error| anyhow!("listen to the links: {error}"))?;
        Ok(Self {
            event_loop,
            app,
            wayland_display,
            events,
        })
    }

    /// Where words for the broker go from now on.
    pub fn set_broker(&mut self, broker: UnboundedSender<FromSession>) {
        self.app.broker = broker;
    }

    /// Starts the session's programs and runs until the session ends.
    pub fn run(mut self) -> anyhow::Result<()> {
        self.app.children.start_bus();
        while !self.app.is_over() {
            self.turn(None)?;
            if let Some(failure) = self.app.failure.take() {
                self.app.children.end();
                bail!(failure);
            }
        }
        self.app.close_x11();
        info!("the session is over");
        Ok(())
    }

    /// One turn of the loop, waiting for `most` at longest.
    pub fn turn(&mut self, most: Option<Duration>) -> anyhow::Result<()> {
        self.app.settle();
        let now = Instant::now();
        let until = self.app.next_deadline(now);
        let wait = until.map(|until| until.saturating_duration_since(now));
        let wait = [wait, most].into_iter().flatten().min();
        self.event_loop
            .dispatch(wait, &mut self.app)
            .context("the event loop")?;
        self.app.settle();
        Ok(())
    }

    /// The state, for tests.
    #[cfg(test)]
    pub(crate) fn app(&mut self) -> &mut App {
        &mut self.app
    }
}

fn watch_clients(handle: &LoopHandle<'static, App>, display: Display<App>) -> anyhow::Result<()> {
    let source = Generic::new(display, Interest::READ, Mode::Level);
    let result = handle.insert_source(source, |_, display, app: &mut App| {
        sys::dispatch_clients(display, app)?;
        Ok(PostAction::Continue)
    });
    result.map_err(|error| anyhow!("watch the clients: {error}"))?;
    Ok(())
}

impl App {
    fn new(
        (event_loop, handle): (LoopHandle<'static, Self>, DisplayHandle),
        config: Config,
        broker: UnboundedSender<FromSession>,
        children: Children,
        events: channel::Sender<Event>,
    ) -> anyhow::Result<Self> {
        let clock = Clock::new();
        #[cfg_attr(
            not(feature = "gpu"),
            expect(unused_mut, reason = "it has nothing to give")
        )]
        let mut gpu = Gpu::open(&config.render_node, config.gpu_reading);
        let protocols = Protocols::new(&handle, &gpu);
        let mut seat_state = SeatState::new();
        let mut seat = seat_state.new_wl_seat(&handle, "seat0");
        let keyboard = InputState::keyboard(&mut seat, &config)?;
        let pointer = seat.add_pointer();
        let touch = seat.add_touch();
        let mut encoder = Encoder::new(LEVEL);
        let squeeze = Squeeze::start(&mut encoder, Threads::System);
        #[cfg_attr(
            not(feature = "gpu"),
            expect(unused_mut, reason = "there are no buffers")
        )]
        let mut surfaces = Surfaces::default();
        #[cfg(feature = "gpu")]
        if let Some(offers) = gpu.offered().map(|(_, offers)| offers.clone()) {
            let reader = gpu.take_reader();
            surfaces.buffers.read_by(reader, config.gpu_reading, offers);
        }
        let mut app = Self {
            cursors: Cursors::new(&config),
            input: InputState::new(&config),
            event_loop,
            #[cfg(feature = "gpu")]
            fences: crate::protocols::Fences::default(),
            handle,
            config,
            protocols,
            seat_state,
            seat,
            keyboard,
            pointer,
            touch,
            popups: PopupManager::default(),
            menu: None,
            surfaces,
            windows: Windows::default(),
            toplevels: BTreeMap::new(),
            titles: Titles::default(),
            drag_icon: None,
            desk: Desk::default(),
            terminal: None,
            gone: None,
            encoder,
            squeeze,
            motion_room: MotionRoom::default(),
            videos: Videos::default(),
            gpu,
            flat: Flat::default(),
            events,
            dirty: Dirty::default(),
            committed: None,
            clock,
            counters: Counters::new(Instant::now()),
            memory: Memory::default(),
            children,
            layouts: LayoutFile::default(),
            broker,
            feedback: Wanted::default(),
            visible: Vec::new(),
            x11: None,
            offered: Offered::default(),
            lists: Lists::default(),
            lock: Lock::default(),
            parts: Parts::default(),
            callbacks: Callbacks::default(),
            absence: Absence::new(Instant::now()),
            inhibitors: Vec::new(),
            ending: None,
            failure: None,
        };
        app.set_outputs(&[outputs::before_any_terminal()]);
        Ok(app)
    }

    /// X11 programs may come from now on, where the session has a place for them.
    fn open_x11(&mut self, handle: LoopHandle<'static, Self>) {
        if !self.config.xwayland {
            return;
        }
        match X11::open(handle) {
            Ok(x11) => {
                self.children.set_display(x11.name());
                self.x11 = Some(x11);
            }
            Err(error) => info!("the session takes no X11 programs: {error:#}"),
        }
    }

    /// A client has connected.
    pub(crate) fn let_in(&mut self, stream: UnixStream) {
        let added = self
            .handle
            .insert_client(stream, Arc::new(ClientState::default()));
        if let Err(error) = added {
            warn!("a client could not be let in: {error}");
        }
    }

    pub(crate) fn handle_event(&mut self, event: Event) {
        match event {
            Event::Link(LinkEvent::Attached(attach)) => self.attach(*attach),
            Event::Link(LinkEvent::Said(id, message, _heard)) => self.hear(id, message),
            Event::Link(LinkEvent::Changing(id)) => self.link_changes(id),
            Event::Link(LinkEvent::Ended(id, reason)) => self.link_ended(id, reason),
            Event::Link(LinkEvent::Detach(id, reason)) => self.detach(id, reason),
            Event::Link(LinkEvent::End(reason)) => self.end(reason),
            Event::Link(LinkEvent::Stats) => self.report_stats(),
            Event::Link(LinkEvent::Asked(ask)) => self.ask(ask),
            Event::ChildEnded(name, how) => self.child_ended(&name, &how),
            Event::Film(done) => self.film_encoded(done),
            // Who waits for that looks at it when everything is settled.
            Event::Tried => {}
            Event::Bus(address) => self.start_desktop(address),
        }
    }

    /// There is a message bus, or will be none: programs may start.
    fn start_desktop(&mut self, bus: Option<String>) {
        self.children.set_bus(bus);
        let now = Instant::now();
        for (name, command) in &self.config.parts {
            self.parts.want(name, command, now);
        }
        self.start_due_parts(now);
        let mut commands = self.config.autostart.clone();
        if self.config.xdg_autostart {
            commands.extend(autostart::commands());
        }
        commands
            .iter()
            .for_each(|command| self.children.run(command));
    }

    fn start_due_parts(&mut self, now: Instant) {
        if self.ending.is_some() {
            return;
        }
        for (name, command) in self.parts.take_due(now) {
            if !self.children.run_named(&name, &command) {
                self.child_ended(&name, "it could not be started");
            }
        }
    }

    fn end(&mut self, reason: DetachReason) {
        if self.ending.is_some() {
            return;
        }
        info!(?reason, "the session ends");
        self.tell_broker(FromSession::Ending {
            reason: reason.clone(),
        });
        self.toplevels.values().for_each(Toplevel::send_close);
        // Only a desktop's windows have something to keep or to ask.
        let patience = match self.config.vital {
            None => CLOSING,
            Some(_) => Duration::ZERO,
        };
        self.ending = Some((reason, Instant::now() + patience));
    }

    fn is_over(&mut self) -> bool {
        let Some((reason, deadline)) = self.ending.clone() else {
            return false;
        };
        let over = self.toplevels.is_empty() || Instant::now() >= deadline;
        if over {
            self.detach(None, reason);
            self.children.end();
        }
        over
    }

    pub(crate) fn client_count(&self) -> u32 {
        use smithay::reexports::wayland_server::Resource;
        let clients = self
            .toplevels
            .values()
            .filter_map(|toplevel| toplevel.surface()?.client());
        let clients: std::collections::HashSet<_> = clients.map(|client| client.id()).collect();
        clients.len() as u32
    }

    pub(crate) fn tell_broker(&self, word: FromSession) {
        let _ = self.broker.send(word);
    }

    pub(crate) fn say(&self, message: ToTerminal) {
        if let Some(terminal) = &self.terminal {
            terminal.say(message);
        }
    }

    pub(crate) fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let ending = self.ending.as_ref().map(|(_, deadline)| *deadline);
        let keys = self.input.release_at().filter(|_| self.terminal.is_some());
        let terminal = self.terminal.as_ref();
        let outputs = terminal.and_then(|terminal| terminal.announced.deadline());
        [
            ending,
            keys,
            outputs,
            self.gone_deadline(),
            self.frame_deadline(now),
            self.callbacks_deadline(now),
            self.cursor_deadline(now),
            self.film_deadline(now),
            self.flat_deadline(),
            self.surfaces.buffers.reader_deadline(),
            self.parts.deadline().filter(|_| self.ending.is_none()),
            self.absence
                .idle
                .deadline()
                .filter(|_| self.terminal.is_some()),
            self.absence.locking.deadline(),
            self.memory.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Brings everything into order after whatever has happened.
    fn settle(&mut self) {
        let now = Instant::now();
        self.send_few(now);
        self.send_ready_films(now);
        self.popups.cleanup();
        if self.input.release_at().is_some_and(|at| at <= now) {
            warn!("keys are held and the terminal is silent: they are released");
            self.release_all_keys();
        }
        self.forget_gone_if_due(now);
        self.take_outputs_if_due(now);
        self.mind_absence(now);
        self.start_due_parts(now);
        self.mind_xwayland();
        self.pair_x11();
        self.configure_windows();
        if self.dirty.layout {
            self.tell_lists();
        }
        self.check_lock();
        self.tell_cursor_if_due(now);
        self.tend_films(now);
        self.mind_flat(now);
        #[cfg(feature = "gpu")]
        self.mind_offers(now);
        self.send_frame_if_due(now);
        self.confirm_lock();
        self.fire_callbacks_if_due(now);
        self.observe_progress(now);
        self.give_back_memory_if_due(now);
        if let Err(error) = self.handle.flush_clients() {
            debug!("a client takes nothing: {error}");
        }
    }
}
