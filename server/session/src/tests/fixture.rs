//! The compositor, its clients and a terminal, turned by hand.

mod attaching;
mod faults;
#[cfg(feature = "gpu")]
mod gpu;
pub mod way;
mod windows;

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_control::stats::SessionStats;
use heliostat_wire::bounded::List;
use heliostat_wire::id::{AttachId, OutputId};
use heliostat_wire::input::{InputBatch, InputEvent};
use heliostat_wire::limits::MAX_CELL_HASHES;
use heliostat_wire::scene::FrameHeader;
use heliostat_wire::session::{Cursor, ToSession, ToTerminal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::client::{Client, Painting};
use crate::app::{Event, Session};
use crate::config::Config;
use crate::gpu::RenderNode;
use crate::link::{Delivered, LinkEvent, ToTerminalTask};
use crate::scene::model::Model;
use way::{Brought, Narrow};

/// Nothing here takes longer on a machine that works.
const DEADLINE: Duration = Duration::from_secs(20);
/// Turns without news after which nothing more is on its way.
const QUIET: usize = 4;

/// Waits for something that comes by itself.
pub fn within(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "too late: {what}");
    }
}

/// The acknowledgement of a frame that was shown on the only screen.
pub fn shown(serial: u32, after_us: i64) -> ToSession {
    ToSession::FrameShown {
        serial,
        after_us,
        output: Some(OutputId(0)),
    }
}

type Watcher = Box<dyn FnMut(&Model)>;

pub struct Fixture {
    session: Session,
    clients: BTreeMap<usize, Client>,
    next: usize,
    attach: u64,
    terminal: Option<Terminal>,
    acknowledges: bool,
    videos: u32,
    frames_in_flight: u32,
    layers: u32,
    layer_bytes: u64,
    /// Looks at what the terminal holds after each frame.
    watcher: Option<Watcher>,
    /// Says after each frame what it holds, and this many words late.
    says_cells: Option<usize>,
    /// For how long terminals that come may keep what they hold.
    keep: Duration,
    /// What the last terminal holds that has gone.
    left: Option<(AttachId, Model)>,
    /// Frames do not reach the terminal any more.
    is_cut_off: bool,
    /// Allocations of the session's thread so far.
    allocated: u64,
}

struct Terminal {
    id: AttachId,
    words: UnboundedReceiver<ToTerminalTask>,
    /// What the link has done, as the session sees it.
    delivered: Arc<Delivered>,
    /// Its link takes nothing.
    stuck: bool,
    /// It reads no frames, whatever it says.
    lies: bool,
    model: Model,
    /// What it was told beside frames.
    heard: Vec<ToTerminal>,
    /// What it has said of its cells and is still on the way.
    said: VecDeque<ToSession>,
    unacknowledged: Vec<u32>,
    /// Frames that have come, and may not be applied yet.
    early: BTreeMap<u32, (FrameHeader, Bytes)>,
    /// The one that is due has been lost on the way, and is still to come again.
    lost: bool,
    /// What its way carries; all of everything at once where absent.
    narrow: Option<Narrow>,
    /// What frames have brought.
    brought: Vec<Brought>,
}

impl Terminal {
    /// A frame has come over the way.
    fn comes(&mut self, header: FrameHeader, content: Bytes) {
        let bytes = content.len() as u64;
        self.delivered.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.early.insert(header.serial, (header, content));
    }

    /// The next frame that may be applied.
    fn next_frame(&mut self) -> Option<(FrameHeader, Bytes)> {
        let due = self.model.serial + 1;
        let ahead = &self.model.ahead;
        let may = |header: &FrameHeader| {
            let mut missing = (due..header.serial).filter(|other| !ahead.contains(other));
            let is_lost = header.serial == due && self.lost;
            !is_lost && missing.all(|other| header.may_overtake(other))
        };
        let mut frames = self.early.values();
        let serial = frames.find(|(header, _)| may(header))?.0.serial;
        self.early.remove(&serial)
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    /// A session of this configuration, but for what it would start by itself.
    pub fn with(config: Config) -> Self {
        let (broker, _) = unbounded_channel();
        // What these machines have changes nothing but where a test wants it.
        let render_node = match config.render_node {
            RenderNode::Auto => RenderNode::Off,
            named => named,
        };
        let config = Config {
            autostart: Vec::new(),
            render_node,
            ..config
        };
        Self {
            session: Session::without_socket(config, broker, "wayland-test").unwrap(),
            clients: BTreeMap::new(),
            next: 0,
            attach: 0,
            terminal: None,
            acknowledges: true,
            videos: 4,
            frames_in_flight: 3,
            layers: 64,
            layer_bytes: 64 << 20,
            watcher: None,
            says_cells: None,
            keep: Duration::ZERO,
            left: None,
            is_cut_off: false,
            allocated: 0,
        }
    }

    /// How often the session's thread has allocated in all turns so far.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// How often the threads that compress have, once all is compressed.
    pub fn allocated_by_threads(&mut self) -> u64 {
        self.session.app().squeeze.allocated()
    }

    /// Which outputs are composed from now on.
    pub fn force_flat(&mut self, force: crate::flat::Force) {
        let app = self.session.app();
        app.config.flat = force;
        app.dirty.layout = true;
    }

    /// Where the session composes.
    #[cfg(feature = "gpu")]
    pub fn flat(&mut self) -> &mut crate::flat::Flat {
        &mut self.session.app().flat
    }

    /// From now on this looks at what the terminal holds after each frame.
    pub fn watch_frames(&mut self, watcher: impl FnMut(&Model) + 'static) {
        self.watcher = Some(Box::new(watcher));
    }

    /// As with `always_exact` in session.toml.
    pub fn be_always_exact(&mut self) {
        self.session.app().config.always_exact = true;
    }

    /// How long the session would wait for something to happen.
    pub fn next_deadline(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let due = self.session.app().next_deadline(now);
        due.map(|due| due.saturating_duration_since(now))
    }

    pub fn acknowledge(&mut self, acknowledges: bool) {
        self.acknowledges = acknowledges;
    }

    /// From now on the terminal says after each frame what it holds of all cells, `late` words late.
    pub fn say_cells(&mut self, late: usize) {
        self.says_cells = Some(late);
    }

    /// What the terminal holds.
    pub fn model(&mut self) -> &mut Model {
        &mut self.terminal.as_mut().expect("attached").model
    }

    /// Says what the terminal holds of all cells.
    pub fn say_all_cells(&mut self) {
        let terminal = self.terminal.as_ref().expect("attached");
        let (serial, seed) = (terminal.model.serial, terminal.id.0);
        for some in terminal.model.cell_hashes(seed).chunks(MAX_CELL_HASHES) {
            let cells = List::new(some.to_vec()).unwrap();
            self.say(ToSession::Cells { serial, cells });
        }
    }

    /// Whether a frame has come that the terminal has not said it has shown.
    pub fn has_unshown(&self) -> bool {
        let terminal = self.terminal.as_ref();
        terminal.is_some_and(|terminal| !terminal.unacknowledged.is_empty())
    }

    /// Whether the session aims frames at the terminal's retraces.
    pub fn is_aimed_at(&mut self) -> bool {
        let terminal = self.session.app().terminal.as_ref();
        terminal.is_some_and(|terminal| terminal.rhythms.is_locked())
    }

    /// Says that the newest frame has been shown, so long after the time that was told last. Returns
    /// its serial.
    pub fn shown_after(&mut self, after_us: i64) -> u32 {
        within("a frame comes, and what is being compressed", || {
            self.turn();
            self.has_unshown() && !self.session.app().squeeze.is_busy()
        });
        let terminal = self.terminal.as_mut().expect("attached");
        let serial = std::mem::take(&mut terminal.unacknowledged);
        let serial = *serial.last().expect("a frame has come");
        self.say(shown(serial, after_us));
        serial
    }

    fn tell(&mut self, event: LinkEvent) {
        self.session.events.send(Event::Link(event)).unwrap();
    }

    pub fn say(&mut self, message: ToSession) {
        if let Some(terminal) = &self.terminal {
            let id = terminal.id;
            self.tell(LinkEvent::Said(id, message, None));
        }
    }

    pub fn refresh(&mut self) {
        self.say(ToSession::Refresh);
    }

    pub fn input(&mut self, event: InputEvent) {
        if self.terminal.is_some() {
            let batch = InputBatch {
                after_us: 1000,
                events: List::new(vec![event]).unwrap(),
            };
            self.say(ToSession::Input(batch));
        }
    }

    pub fn key(&mut self, code: u16) {
        self.input(InputEvent::Key {
            code,
            pressed: true,
        });
        self.input(InputEvent::Key {
            code,
            pressed: false,
        });
        self.settle();
    }

    /// Tokens for the focus that are remembered.
    pub fn tokens(&mut self) -> usize {
        self.session.app().protocols.activation.tokens().count()
    }

    /// Does what a shortcut would.
    pub fn act(&mut self, action: crate::keys::Action) {
        self.session.app().act(action);
    }

    /// What the terminal shows at a place, 0xRRGGBB.
    pub fn shown(&self, x: i32, y: i32) -> u32 {
        let terminal = self.terminal.as_ref().expect("attached");
        terminal.model.pixel(OutputId(0), x, y)
    }

    /// A finger comes down.
    pub fn touch(&mut self, slot: u8, (x, y): (i32, i32)) {
        let output = OutputId(0);
        let [x, y] = [x, y].map(|along| along * 256);
        self.input(InputEvent::TouchDown { slot, output, x, y });
        self.input(InputEvent::TouchFrame);
        self.settle();
    }

    pub fn motion(&mut self, x: i32, y: i32) {
        self.input(InputEvent::Motion {
            output: OutputId(0),
            x: x * 256,
            y: y * 256,
            dx: 0,
            dy: 0,
            raw: None,
        });
    }

    /// A client without a window.
    pub fn connect(&mut self) -> usize {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.session.app().let_in(ours);
        let id = self.next;
        self.next += 1;
        self.clients.insert(id, Client::new(theirs));
        within("the globals are announced", || {
            self.turn();
            self.clients[&id].has_globals()
        });
        id
    }

    /// A client with a window.
    pub fn open(&mut self, painting: Painting) -> usize {
        let id = self.connect();
        self.client(id).make_window();
        within("the window is configured", || {
            self.turn();
            self.clients[&id].is_configured()
        });
        self.client(id).commit(painting);
        self.turn();
        id
    }

    pub fn close(&mut self, id: usize) {
        self.clients.remove(&id);
    }

    pub fn client(&mut self, id: usize) -> &mut Client {
        self.clients.get_mut(&id).expect("open")
    }

    /// One turn of everything; returns whether anything came out.
    pub fn turn(&mut self) -> bool {
        for client in self.clients.values_mut() {
            client.pump();
        }
        let before = crate::sys::allocations();
        self.session.turn(Some(Duration::ZERO)).unwrap();
        self.allocated += crate::sys::allocations() - before;
        for client in self.clients.values_mut() {
            client.pump();
        }
        self.take_words()
    }

    pub fn turn_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        // A frame that is being compressed elsewhere takes what a busy machine lets it take.
        while Instant::now() < until || self.session.app().squeeze.is_busy() {
            self.turn();
        }
        self.turn();
    }

    /// Turns until nothing more happens.
    pub fn settle(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        let mut quiet = 0;
        while quiet < QUIET {
            assert!(Instant::now() < deadline, "it never settles");
            // An interval of the output, so that paced frames and callbacks have come due.
            let until = Instant::now() + Duration::from_millis(2);
            let mut news = false;
            while Instant::now() < until {
                news |= self.turn() | self.session.app().squeeze.is_busy();
            }
            // A film is over only when it has stood still for a while.
            let films = self
                .terminal
                .as_ref()
                .map_or(0, |terminal| terminal.model.films.len());
            quiet = if news || films > 0 { 0 } else { quiet + 1 };
        }
    }

    fn take_words(&mut self) -> bool {
        let Some(terminal) = &mut self.terminal else {
            return false;
        };
        if terminal.stuck {
            return false;
        }
        let mut news = false;
        while let Ok(word) = terminal.words.try_recv() {
            let (delivered, done) = (&terminal.delivered, u64::from(!terminal.lies));
            match word {
                ToTerminalTask::Frame(..) => delivered.frames.fetch_add(done, Ordering::Relaxed),
                _ => delivered.messages.fetch_add(1, Ordering::Relaxed),
            };
            match word {
                ToTerminalTask::Frame(..) if self.is_cut_off => {}
                ToTerminalTask::Frame(header, content) => {
                    let content = content.concat().into();
                    match &mut terminal.narrow {
                        Some(narrow) => narrow.wait(header, content),
                        None => terminal.comes(header, content),
                    }
                }
                ToTerminalTask::Message(message) => terminal.heard.push(message),
                ToTerminalTask::Bye(reason) => {
                    terminal.heard.push(ToTerminal::Bye(reason));
                }
            }
        }
        while let Some((header, content)) = terminal.narrow.as_mut().and_then(Narrow::next_through)
        {
            terminal.comes(header, content);
        }
        while let Some((header, content)) = terminal.next_frame() {
            news = true;
            terminal.brought.push(Brought::by(&header, &content));
            let before = terminal.model.serial;
            terminal.model.frame(&header, &content);
            if let Some(watcher) = &mut self.watcher {
                watcher(&terminal.model);
            }
            if terminal.model.serial > before {
                terminal.unacknowledged.push(terminal.model.serial);
            }
        }
        if let Some(late) = self.says_cells {
            let cells = terminal.model.cell_hashes(terminal.id.0);
            for some in cells.chunks(MAX_CELL_HASHES).filter(|_| news) {
                terminal.said.push_back(ToSession::Cells {
                    serial: terminal.model.serial,
                    cells: List::new(some.to_vec()).unwrap(),
                });
            }
            while terminal.said.len() > late {
                let said = terminal.said.pop_front().expect("there is one");
                let event = LinkEvent::Said(terminal.id, said, None);
                self.session.events.send(Event::Link(event)).unwrap();
            }
        }
        let all = match self.acknowledges {
            true => std::mem::take(&mut terminal.unacknowledged),
            false => Vec::new(),
        };
        if let Some(serial) = all.last().copied() {
            self.say(shown(serial, 1000));
        }
        news
    }

    /// What the terminal was told beside frames.
    pub fn heard(&self) -> &[ToTerminal] {
        &self.terminal.as_ref().expect("attached").heard
    }

    /// The cursor that the terminal shows.
    pub fn cursor(&self) -> Option<Cursor> {
        let told = |message: &ToTerminal| match message {
            ToTerminal::SetCursor(cursor) => Some(*cursor),
            _ => None,
        };
        self.heard().iter().rev().find_map(told)
    }

    pub fn frames(&mut self) -> u64 {
        self.session.app().counters.frames
    }

    pub fn frame_bytes(&mut self) -> u64 {
        self.session.app().hear_squeezed();
        self.session.app().counters.frame_bytes
    }

    pub fn stats(&mut self) -> SessionStats {
        self.session.app().stats(Instant::now())
    }
}
