//! Brings window, keys, clock and socket together. This file only dispatches.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use calloop::channel::{self, Event};
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, LoopHandle, RegistrationToken};
use calloop_wayland_source::WaylandSource;
use cosmic_text::fontdb::Database;
use heliostat_control::session::Ask;
use heliostat_control::{ask, lines};
use tracing::{debug, info, warn};
use wayland_client::globals::registry_queue_init;
use wayland_client::{Connection, QueueHandle};

use crate::access::{Access, Wish};
use crate::ipc::{Ipc, News};
use crate::keys::Keys;
use crate::login::{Control, Effect, Key, Login, Stage};
use crate::page::{self, Around, Page};
use crate::scene::{self, Pixels};
use crate::text::{self, Fonts};
use crate::wayland::Surface;
use crate::{paint, window::Buffers};

/// How long the session may take to be asked something.
const ASKING: Duration = Duration::from_secs(1);
/// How long a dot shines while something is waited for.
const DOT: Duration = Duration::from_millis(400);

/// Everything.
pub struct App {
    pub(crate) login: Login,
    pub(crate) keys: Keys,
    pub(crate) surface: Surface,
    pub(crate) repeat: Repeat,
    fonts: Fonts,
    around: Around,
    page: Page,
    ipc: Ipc,
    access: Access,
    fonts_come: channel::Sender<Database>,
    dots: Option<RegistrationToken>,
    /// When the program began; taken with the first page.
    began: Option<Instant>,
    handle: LoopHandle<'static, App>,
    queue: QueueHandle<App>,
    pub(crate) failure: Option<anyhow::Error>,
}

/// A key that is held.
#[derive(Default)]
pub struct Repeat {
    /// Repetitions a second, and the time until the first.
    pub pace: Option<(Duration, Duration)>,
    held: Option<(u32, RegistrationToken)>,
}

/// Opens the window and lives in it.
pub fn run(socket: Option<PathBuf>) -> anyhow::Result<()> {
    let began = Instant::now();
    let connection = Connection::connect_to_env()
        .context("there is no Wayland session: this program is started in one by the broker")?;
    let (globals, queue) = registry_queue_init::<App>(&connection)?;
    let mut events: EventLoop<'static, App> = EventLoop::try_new()?;
    let handle = events.handle();
    let (news, news_come) = channel::channel();
    let (fonts_come, all_fonts) = channel::channel();
    let (wishes, wishes_come) = channel::channel();
    let queue_handle = queue.handle();
    let mut app = App {
        login: Login::default(),
        keys: Keys::default(),
        surface: Surface::new(&globals, &queue_handle)?,
        repeat: Repeat::default(),
        fonts: Fonts::new(),
        around: now(),
        page: Page::default(),
        ipc: Ipc::start(socket, news)?,
        access: Access::new(wishes),
        fonts_come,
        dots: None,
        began: Some(began),
        handle: handle.clone(),
        queue: queue_handle,
        failure: None,
    };
    let inserted = |error: calloop::error::Error| anyhow::anyhow!("{error}");
    WaylandSource::new(connection, queue)
        .insert(handle.clone())
        .map_err(|error| inserted(error.error))?;
    listen(&handle, news_come, App::hear)?;
    listen(&handle, all_fonts, App::have_fonts)?;
    listen(&handle, wishes_come, App::wished)?;
    handle
        .insert_source(Timer::from_duration(to_next_minute()), |_, (), app| {
            app.around = Around {
                step: app.around.step,
                ..now()
            };
            TimeoutAction::ToDuration(to_next_minute())
        })
        .map_err(|error| inserted(error.error))?;
    loop {
        events.dispatch(None, &mut app)?;
        app.settle();
        if let Some(failure) = app.failure.take() {
            return Err(failure);
        }
    }
}

fn listen<T: 'static>(
    handle: &LoopHandle<'static, App>,
    source: channel::Channel<T>,
    take: fn(&mut App, T),
) -> anyhow::Result<()> {
    let inserted = handle.insert_source(source, move |event, (), app| {
        if let Event::Msg(message) = event {
            take(app, message);
        }
    });
    inserted.map(drop).map_err(|error| error.error.into())
}

impl App {
    fn hear(&mut self, news: News) {
        match news {
            News::Connected => {
                self.login.connected();
                debug!("the broker is there");
            }
            News::Lost(why) => self.login.lost(&why),
            News::Answer(response) => {
                self.login.answered(response);
                if matches!(self.login.stage, Stage::Asked { .. }) {
                    debug!("a question is on the page");
                }
            }
            News::Context(context) => self.login.set_context(context),
        }
    }

    fn have_fonts(&mut self, fonts: Database) {
        self.fonts.use_all(fonts);
        self.surface.forget();
        self.page = Page::default();
    }

    fn wished(&mut self, wish: Wish) {
        match wish {
            Wish::Act(control) => self.login.act(control),
            Wish::Focus(control) => self.login.set_focus(control),
            Wish::Text(text) => self.login.set_text(&text),
        }
    }

    /// A key went down.
    pub(crate) fn key_down(&mut self, code: u32) {
        self.type_key(code);
        self.key_up(None);
        let Some((delay, rate)) = self.repeat.pace else {
            return;
        };
        if !self.keys.repeats(code) {
            return;
        }
        let again = Timer::from_duration(delay);
        let again = self.handle.insert_source(again, move |_, (), app| {
            app.type_key(code);
            TimeoutAction::ToDuration(rate)
        });
        self.repeat.held = again.ok().map(|token| (code, token));
    }

    /// A key went up, or all did.
    pub(crate) fn key_up(&mut self, code: Option<u32>) {
        let ends = |held: u32| code.is_none_or(|code| code == held);
        if let Some((_, token)) = self.repeat.held.take_if(|(held, _)| ends(*held)) {
            self.handle.remove(token);
        }
    }

    fn type_key(&mut self, code: u32) {
        match self.keys.press(code) {
            // A key that is held does not go through all pages.
            Some(Key::Enter | Key::Escape) if self.repeat.is_repeating(code) => {}
            Some(key) => {
                self.login.key(key);
                // The next key may be here already, and wants the layout that this one chose.
                self.obey();
            }
            None => {}
        }
    }

    /// The pointer pressed here, in pixels.
    pub(crate) fn press(&mut self, (x, y): (f32, f32)) {
        if let Some(control) = self.target((x, y)) {
            self.login.act(control);
            self.login.set_focus(control);
        }
    }

    /// What would be pressed here. What was laid out last lies on top.
    pub(crate) fn target(&self, (x, y): (f32, f32)) -> Option<Control> {
        let targets = self.page.targets.iter().rev();
        let mut hit = targets.filter(|(_, area)| area.contains(x, y));
        hit.next().map(|(control, _)| *control)
    }

    /// Does what the events have led to: what is to be said is said, what has changed is shown.
    fn settle(&mut self) {
        self.obey();
        self.login.set_caps_lock(self.keys.caps_lock());
        self.mind_dots();
        if let Err(problem) = self.show() {
            self.failure = Some(problem.context("the window cannot be drawn"));
        }
    }

    fn obey(&mut self) {
        for effect in self.login.effects() {
            match effect {
                Effect::Send(request) => self.ipc.send(request),
                Effect::Leave => leave(),
                Effect::Layout(layout) => {
                    if !self.keys.choose(&layout) {
                        warn!(layout, "there is no such keyboard layout");
                    }
                }
            }
        }
    }

    fn mind_dots(&mut self) {
        if !self.login.is_waiting() {
            if let Some(token) = self.dots.take() {
                self.handle.remove(token);
            }
        } else if self.dots.is_none() {
            let timer = Timer::from_duration(DOT);
            let step = self.handle.insert_source(timer, |_, (), app: &mut App| {
                app.around.step += 1;
                TimeoutAction::ToDuration(DOT)
            });
            self.dots = step.ok();
        }
    }

    fn show(&mut self) -> anyhow::Result<()> {
        let Some((size, scale)) = self.surface.size() else {
            return Ok(());
        };
        if self.surface.buffers.as_ref().map(Buffers::size) != Some(size) {
            let buffers = Buffers::new(&self.surface.shm, size, &self.queue)?;
            self.surface.buffers = Some(buffers);
            self.surface.shown = false;
            self.page = Page::default();
        }
        let page = page::lay_out(&self.login, &self.around, size, scale, &mut self.fonts);
        let damage = match self.surface.shown {
            true => scene::changed(&self.page.things, &page.things, size),
            false => Some(Pixels::all(size)),
        };
        self.page = page;
        if let Some(damage) = damage {
            let (page, fonts) = (&self.page, &mut self.fonts);
            self.surface
                .draw(damage, |part| paint::paint(&page.things, size, part, fonts))?;
            self.access.update(&self.login, &self.page);
        } else {
            let (page, fonts) = (&self.page, &mut self.fonts);
            self.surface
                .draw_late(|part| paint::paint(&page.things, size, part, fonts))?;
        }
        if let Some(began) = self.began.take() {
            info!(first_page_ms = began.elapsed().as_millis() as u64, "shown");
        }
        self.want_fonts();
        Ok(())
    }

    /// Has all fonts looked at, once a letter is lacking.
    fn want_fonts(&mut self) {
        if !self.fonts.wants_all() {
            return;
        }
        let come = self.fonts_come.clone();
        let started = std::thread::Builder::new()
            .name("fonts".to_owned())
            .spawn(move || {
                let _ = come.send(text::all_fonts());
            });
        if let Err(problem) = started {
            warn!(%problem, "the fonts cannot be looked at");
        }
    }
}

impl Repeat {
    fn is_repeating(&self, code: u32) -> bool {
        self.held.is_some_and(|(held, _)| held == code)
    }
}

/// Asks the session to be parted from its terminal, as `heliostat-leave detach` does. What comes of
/// it is seen there.
fn leave() {
    let asked = || -> anyhow::Result<()> {
        let display = std::env::var("WAYLAND_DISPLAY").context("WAYLAND_DISPLAY is not set")?;
        let path = ask::socket_of(&display).context("XDG_RUNTIME_DIR is not set")?;
        let mut stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(ASKING))?;
        stream.write_all(&lines::encode(&Ask::Detach))?;
        Ok(())
    };
    if let Err(problem) = asked() {
        warn!("the session cannot be asked to leave: {problem:#}");
    }
}

fn now() -> Around {
    let now = jiff::Zoned::now();
    Around {
        time: now.strftime("%H:%M").to_string(),
        date: now.strftime("%A, %-d %B").to_string(),
        step: 0,
    }
}

fn to_next_minute() -> Duration {
    let second = jiff::Zoned::now().second().clamp(0, 59);
    // A little late rather than a little early.
    Duration::from_millis((60 - second as u64) * 1000 + 20)
}
