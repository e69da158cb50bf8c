//! The client as a whole: one owner of all state, one place where events are dispatched.
//!
//! The arms of [`App::handle`] only call; what they call is in the modules beside this one.

mod cards;
mod control;
mod frames;
mod input;
mod kiosk;
mod links;
mod picture;

use std::sync::Arc;
use std::time::Duration;

use heliostat_terminal_state::ClientReport;
use heliostat_wire::control::{DetachReason, Hello, LoginOffer, ToTerminal};
use heliostat_wire::output::Outputs;
use heliostat_wire::receipt::Stage as ReceiptStage;
use tracing::warn;

use crate::attached::Attached;
use crate::card::prover::{Job, Prover};
use crate::clock::{monotonic_ns, monotonic_us};
use crate::control_lines::Announcer;
use crate::desk::{Action, Desk, DeskEvent, Stage};
use crate::display::{Display, Shown};
use crate::events::{AppEvent, NetEvent, Tie};
use crate::init_link::InitLink;
use crate::keep::Keeper;
use crate::libinput::Devices;
use crate::net::{Net, NetCommand, Site};
use crate::receipt::Timeline;
use crate::retry::Retries;
use crate::scene::Budget;
use crate::screens::Surroundings;
use crate::seat::Seat;
use crate::text::Fonts;
use crate::video::hardware::Device;

use self::frames::Taken;
use self::picture::OwnScreens;

/// While a key is down the session hears from us this often.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
/// PID 1 hears from us this often.
pub const ALIVE: Duration = Duration::from_secs(5);

/// All of the client's state.
pub struct App {
    /// Where pictures are shown.
    pub display: Display,
    /// Real input devices, where the back end has any.
    pub devices: Option<Devices>,
    net: Net,
    init: Option<InitLink>,
    desk: Desk,
    around: Surroundings,
    /// The screens of now.
    outputs: Outputs,
    seat: Seat,
    attached: Option<Attached>,
    keeper: Keeper,
    timeline: Timeline,
    fonts: Fonts,
    own: OwnScreens,
    /// Outputs whose pictures cannot be shown.
    retries: Retries,
    announcer: Announcer,
    layout: String,
    /// Makes proofs, where cards come through readers.
    prover: Option<Prover>,
    /// What proofs are tied to; nothing before the first control link.
    tie: Option<Tie>,
    /// When a kiosk is asked for again by itself.
    kiosk_at_ns: Option<u64>,
    ended: bool,
    screen_shown: bool,
    /// While another link takes the place of one: until when its last picture may stay.
    held_until_ns: Option<u64>,
    /// Pictures that have been scanned out, while that is told.
    shown: Vec<Shown>,
    /// The frame that is being applied and shown.
    taken: Option<Taken>,
    /// What decodes videos, where it is not the processor.
    decoder: Option<Arc<Device>>,
}

/// What an [`App`] is made of.
pub struct Parts {
    /// Where pictures are shown.
    pub display: Display,
    /// Real input devices.
    pub devices: Option<Devices>,
    /// The links' thread.
    pub net: Net,
    /// The socket to PID 1.
    pub init: Option<InitLink>,
    /// What is known of the terminal already.
    pub around: Surroundings,
    /// Who is told of events.
    pub announcer: Announcer,
    /// The terminal's keyboard layout, if it has one.
    pub layout: String,
    /// Makes proofs, where cards come through readers.
    pub prover: Option<Prover>,
}

impl App {
    /// Puts the parts together and shows the first screen.
    pub fn new(parts: Parts) -> Self {
        let mut app = Self {
            display: parts.display,
            devices: parts.devices,
            net: parts.net,
            init: parts.init,
            desk: Desk::default(),
            around: parts.around,
            outputs: Outputs::default(),
            shown: Vec::new(),
            taken: None,
            seat: Seat::default(),
            attached: None,
            keeper: Keeper::default(),
            timeline: Timeline::default(),
            fonts: Fonts::load(),
            own: OwnScreens::default(),
            retries: Retries::default(),
            announcer: parts.announcer,
            layout: parts.layout,
            prover: parts.prover,
            tie: None,
            kiosk_at_ns: None,
            ended: false,
            screen_shown: false,
            held_until_ns: None,
            decoder: None,
        };
        app.outputs_changed();
        app.connect();
        app.redraw();
        app
    }

    /// Attaches that begin from now on have their videos decoded by a device, where there is one.
    pub fn use_decoder(&mut self, decoder: Option<Arc<Device>>) {
        self.decoder = decoder;
    }

    /// Takes one event.
    pub fn handle(&mut self, event: AppEvent) {
        match event {
            AppEvent::Net(event) => self.handle_net(event),
            AppEvent::Card(event) => self.handle_card(event),
            AppEvent::Seat(event) => self.handle_seat(event),
            AppEvent::Terminal(state) => self.handle_terminal(*state),
            AppEvent::Control(line) => self.handle_control(line),
            AppEvent::BadControl(text) => {
                self.announce_error(&format!("not a control line: {text}"))
            }
            AppEvent::ControlEnded | AppEvent::Closed => self.end(DetachReason::CardRemoved),
            AppEvent::Display => self.display_ready(),
            AppEvent::OutputsChanged => self.outputs_changed(),
            AppEvent::Tick => self.tick(),
        }
    }

    /// Whether the client is to end.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// When the next tick is wanted.
    pub fn next_tick(&self) -> Option<Duration> {
        let attached = self.attached.is_some();
        let regular = match (attached && self.seat.is_key_down(), &self.init) {
            (true, _) => Some(HEARTBEAT),
            (false, Some(_)) => Some(ALIVE),
            (false, None) => attached.then_some(ALIVE),
        };
        let kept = self.keeper.left(Self::now_ns());
        let kiosk = self.kiosk_wait(Self::now_ns());
        let picture = self
            .retries
            .left(Self::now_ns(), |output| self.display.is_free(output))
            .filter(|_| !self.waits_for_picture());
        let own = self.own.left(Self::now_ns());
        let held = self.held_left(Self::now_ns());
        let event = self.display.event_left(Self::now_ns());
        let others = kept.into_iter().chain(kiosk).chain(picture);
        let others = others.chain(own).chain(held).chain(event);
        regular.into_iter().chain(others).min()
    }

    fn handle_net(&mut self, event: NetEvent) {
        match event {
            NetEvent::ControlUp {
                terminal_name,
                site,
                login,
                tie,
            } => {
                self.around.login = login;
                self.tie = Some(tie);
                self.control_up(terminal_name, site);
            }
            NetEvent::ControlDown { code, why } => self.control_down(code, why),
            NetEvent::FromBroker(message) => {
                if let ToTerminal::Login(login) = message {
                    self.around.login = login;
                }
                self.desk(DeskEvent::FromBroker(Box::new(message)));
            }
            NetEvent::Linked => self.timeline.mark(ReceiptStage::LinkUp, monotonic_us()),
            NetEvent::FromSession(id, message) => self.handle_session(id, message),
            NetEvent::Frame(id, frame, at_ns) => self.frame(id, &frame, at_ns),
            NetEvent::QuicPasses(id) => self.quic_passes(id),
            NetEvent::SessionEnded(id, reason, why) => self.session_ended(id, reason, &why),
        }
    }

    /// Lets the desk take an event, and does what it says.
    fn desk(&mut self, event: DeskEvent) {
        let mut actions = Vec::new();
        self.desk.handle(event, &mut actions);
        if self.around.login == LoginOffer::Now && self.may_log_in() {
            self.desk.handle(DeskEvent::Login, &mut actions);
        }
        self.mind_kiosk(Self::now_ns());
        for action in actions {
            self.act(action);
        }
        self.redraw();
    }

    /// Whether a person without a card could begin a login now.
    fn may_log_in(&self) -> bool {
        *self.desk.stage() == Stage::Empty && self.desk.control().is_ok()
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(message) => self.net.command(NetCommand::ToBroker(message)),
            Action::Join(attach) => self.join(*attach),
            Action::Change(attach) => self.change(*attach),
            Action::Leave(reason) => self.leave(reason),
            Action::Forget => self.keeper.forget(),
            Action::Mark(stage) => self.timeline.mark(stage, monotonic_us()),
            Action::BeginReceipt => {
                // A retry has no card edge of its own; a real edge begins the timeline itself.
                let used = [ReceiptStage::IdRead, ReceiptStage::AttachReceived];
                let is_used = used.iter().any(|stage| self.timeline.has(*stage));
                // Nor has what begins without any card, as a kiosk.
                if is_used || !self.timeline.has_begun() {
                    self.timeline.begin(monotonic_us());
                }
            }
            Action::MendReceipt => {
                // What was under way has had its receipt; what mends it is another attach.
                if self.timeline.has(ReceiptStage::FirstFrameShown) {
                    self.timeline.begin(monotonic_us());
                }
            }
            Action::Prove {
                number,
                reader,
                card,
                challenge,
            } => self.prove(number, reader, &card, &challenge),
            Action::GivePin { number, pin } => self.ask_prover(Job::Pin { number, pin }),
            Action::StopProof => self.ask_prover(Job::Stop),
        }
    }

    fn outputs_changed(&mut self) {
        let outputs = self.display.outputs();
        self.outputs = outputs.clone();
        self.seat.set_outputs(&outputs);
        self.own.forget();
        self.retries.set_outputs(&outputs);
        if let Some(attached) = &mut self.attached {
            attached.set_outputs(&outputs);
        }
        self.tell_outputs(outputs);
        self.redraw();
    }

    fn tick(&mut self) {
        self.keeper.tick(Self::now_ns());
        if self.display.mind_overdue(Self::now_ns()) {
            self.redraw();
            self.mind_stuck();
        }
        if self.own.left(Self::now_ns()) == Some(Duration::ZERO) || self.is_held_too_long() {
            self.redraw();
        }
        self.retry_pictures();
        self.ask_for_kiosk_if_due(Self::now_ns());
        if self.seat.is_key_down() {
            self.to_session(heliostat_wire::session::ToSession::Heartbeat);
        }
        let attached = self.attached.as_mut();
        let attached = attached.filter(|attached| attached.has_picture());
        let cells = attached.and_then(|attached| attached.cells_at_rest(Self::now_ns()));
        cells.into_iter().for_each(|cells| self.to_session(cells));
        if let Some(init) = &mut self.init {
            init.report(&ClientReport::Alive);
        }
    }

    /// Ends where a screen is stuck and something else is to be shown: nothing but the end takes away
    /// what it shows without keeping everybody waiting, and PID 1 starts the next client.
    fn mind_stuck(&mut self) {
        let attach = self.attached.as_ref().map_or(0, |attached| attached.id.0);
        let stuck = self.display.stuck();
        let mut stuck = stuck.iter();
        if !self.ended && stuck.any(|stuck| stuck.is_borne_no_longer(attach)) {
            warn!("a display says nothing and takes nothing: the client ends, to begin anew");
            self.end(DetachReason::LinkLost);
        }
    }

    fn end(&mut self, reason: DetachReason) {
        self.ended = true;
        if self.attached.is_some() {
            self.leave(reason);
        }
        self.keeper.forget();
    }

    /// Connects to the brokers that are known, if enough is known.
    fn connect(&mut self) {
        let state = &self.around.terminal;
        if !state.is_ready() {
            return;
        }
        let pins: Vec<_> = state
            .site_keys
            .iter()
            .filter_map(|key| key.parse().ok())
            .collect();
        let hello = self.hello(self.display.outputs());
        let brokers = self.around.terminal.brokers.clone();
        self.net.command(NetCommand::Connect(Box::new(Site {
            brokers,
            pins,
            hello,
        })));
    }

    fn hello(&self, outputs: Outputs) -> Hello {
        let state = &self.around.terminal;
        let ms = |time: Option<u64>| time.unwrap_or(0).min(u64::from(u32::MAX)) as u32;
        let init_ms = ms(state.boot.init_ms);
        let ready_ms = ms(state.boot.ready_ms).saturating_sub(init_ms);
        Hello {
            terminal_id: state.id.as_deref().unwrap_or("").into(),
            name: state.name.as_deref().unwrap_or("").into(),
            software: concat!("heliostat ", env!("CARGO_PKG_VERSION")).into(),
            outputs,
            boot_ms: (init_ms, if init_ms == 0 { 0 } else { ready_ms }),
        }
    }

    fn budget(&self) -> Budget {
        let without = Budget::default();
        let with = self.decoder.as_ref().map(|device| device.budget(without));
        with.unwrap_or(without)
    }

    fn now_ns() -> u64 {
        monotonic_ns()
    }
}
