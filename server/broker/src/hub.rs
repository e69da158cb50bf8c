//! The broker's event loop: it owns the directory and does what the directory asks for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heliostat_control::admin::{AUDIT_EVENTS, AuditRow, Reply, Request};
use heliostat_control::hex::Hex;
use heliostat_control::session::{Expect, ToSession};
use heliostat_wire::List;
use heliostat_wire::close::CloseCode;
use heliostat_wire::control::{Address, Attach, Host, ToTerminal};
use heliostat_wire::id::{SessionId, Ticket};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use crate::admin::About;
use crate::audit::AuditBudget;
use crate::directory::{Action, Directory, Event, LinkId, Moment, Offer};
use crate::greetd::{GreeterEvent, socket};
use crate::hooks::Hooks;
use crate::launcher::{Launcher, StartOrder};
use crate::logins::{Greeting, Logins};
use crate::session::{self, Order};
use crate::store::Store;
use crate::survey::Survey;
use crate::tally::Tally;
use crate::terminal::ToLink;
use crate::worker::Worker;

/// How long a ticket is good.
const TICKET_LIFE: Duration = Duration::from_secs(15);
/// How often sessions are asked how they are, and logs are trimmed.
const ROUND: Duration = Duration::from_secs(10);
/// Rounds after which people's groups are looked up again.
const LOOK_UP_EVERY: u32 = 6;
/// Events that may wait for the hub.
pub const MAX_EVENTS: usize = 1024;
/// Orders that may wait for a session.
const MAX_ORDERS: usize = 256;

/// What reaches the hub.
#[derive(Debug)]
pub enum Incoming {
    /// A terminal has said hello on a new link.
    Link(LinkId, mpsc::Sender<ToLink>, Event),
    /// Something the directory is to know.
    Event(Event),
    /// An administrator asks, who is named as [`heliostat_control::admin::AuditRow`] has it.
    Admin(Request, String, oneshot::Sender<Reply>),
    /// The same, once the groups are known of whom it is about, as far as they can be.
    Informed(Request, String, oneshot::Sender<Reply>),
    /// Sessions have had time to say how they are.
    Survey(Survey),
    /// Something has come of a login at a greeter; with the groups of who has logged in.
    Greeter(Box<GreeterEvent<Worker>>, Option<Vec<String>>),
}

/// The way to the hub.
pub type ToHub = mpsc::Sender<Incoming>;

/// See the module.
pub struct Hub {
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) about: About,
    pub(crate) launcher: Arc<Launcher>,
    pub(crate) greeter_command: Vec<String>,
    pub(crate) logins: Logins,
    pub(crate) hooks: Hooks,
    addresses: Vec<IpAddr>,
    links: HashMap<LinkId, mpsc::Sender<ToLink>>,
    sessions: HashMap<SessionId, mpsc::Sender<Order>>,
    pub(crate) to_hub: ToHub,
    pub(crate) tally: Tally,
    started: Instant,
    /// Rounds since people's groups were last looked up.
    rounds: u32,
    audit_budget: AuditBudget,
}

impl Hub {
    /// A hub that owns `directory` and keeps what it asks for in `store`.
    pub fn new(
        directory: Directory,
        store: Store,
        launcher: Arc<Launcher>,
        about: About,
        greeter_command: Vec<String>,
        addresses: Vec<IpAddr>,
        to_hub: ToHub,
    ) -> Self {
        let hooks = Hooks::new(launcher.clone());
        Self {
            directory,
            store,
            about,
            launcher,
            greeter_command,
            logins: Logins::default(),
            hooks,
            addresses,
            links: HashMap::new(),
            sessions: HashMap::new(),
            to_hub,
            tally: Tally::default(),
            started: Instant::now(),
            rounds: 0,
            audit_budget: AuditBudget::default(),
        }
    }

    /// Takes up the sessions that run already.
    pub fn adopt(&mut self) {
        socket::clear(self.launcher.run_dir());
        let mut running = self.launcher.running();
        running.sort_by_key(|(_, owner)| std::cmp::Reverse(owner.started_s));
        for (id, owner) in running {
            info!(session = %id, person = owner.person, pid = owner.pid, "found a running session");
            let (orders, inbox) = mpsc::channel(MAX_ORDERS);
            self.sessions.insert(id, orders);
            let actions = self.directory.adopt(self.now(), id, &owner);
            self.perform(actions);
            let (launcher, to_hub) = (self.launcher.clone(), self.to_hub.clone());
            tokio::spawn(session::adopt(id, owner, launcher, inbox, to_hub));
        }
    }

    /// Runs until `stop` resolves.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Incoming>, stop: impl Future) -> Store {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                Some(incoming) = inbox.recv() => self.incoming(incoming),
                () = tokio::time::sleep_until(deadline.into()) => self.event(Event::Tick),
                _ = rounds.tick() => self.round(),
                _ = &mut stop => break,
            }
        }
        self.leave().await;
        self.store
    }

    fn deadline(&self) -> Instant {
        match self.directory.next_deadline() {
            Some(ms) => self.started + Duration::from_millis(ms),
            None => Instant::now() + ROUND,
        }
    }

    pub(crate) fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Link(link, sender, hello) => {
                self.links.insert(link, sender);
                self.event(hello);
            }
            Incoming::Event(event) => self.event(event),
            Incoming::Admin(request, asker, reply) => self.inform(request, asker, reply),
            Incoming::Informed(request, asker, reply) => self.admin(request, &asker, reply),
            Incoming::Survey(survey) => self.look(survey),
            Incoming::Greeter(said, groups) => self.greeter_says(*said, groups),
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        match &event {
            Event::LinkDown { link } => drop(self.links.remove(link)),
            Event::SessionGone { session, .. } => {
                self.sessions.remove(session);
                self.forget_greeter(*session);
            }
            _ => {}
        }
        debug!(?event, "event");
        let actions = self.directory.handle(self.now(), event);
        self.perform(actions);
    }

    /// What the directory is told of the outside.
    pub(crate) fn now(&self) -> Moment {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment {
            ms: self.started.elapsed().as_millis() as u64,
            unix_ms: since_1970.unwrap_or_default().as_millis() as u64,
            fresh: SessionId(random()),
            nonce: random(),
        }
    }

    /// How long it has been running.
    pub(crate) fn up(&self) -> Duration {
        self.started.elapsed()
    }

    fn round(&mut self) {
        let now = self.now();
        let actions = self.directory.ask_stats(now);
        self.perform(actions);
        self.launcher.trim_logs();
        self.look_up_again();
    }

    /// People change groups while they are known.
    fn look_up_again(&mut self) {
        self.rounds = (self.rounds + 1) % LOOK_UP_EVERY;
        let people = self.directory.grouped();
        if self.rounds == 0 && !people.is_empty() {
            self.look_up(people);
        }
    }

    pub(crate) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            debug!(?action, "action");
            match action {
                Action::ToTerminal(link, message) => self.post(link, ToLink::Message(message)),
                Action::Offer(offer) => self.offer(offer),
                Action::Close(link, code, text) => self.post(link, ToLink::Close(code, text)),
                Action::Start(start) => self.start(start),
                Action::Greet(session, context) => self.greet(session, context),
                Action::DropLogin(login) => self.drop_login(login),
                Action::Hook(hook) => self.hook(hook),
                Action::LookUp(person) => self.look_up(vec![person]),
                Action::ToSession(session, message) => self.order(session, Order::Say(message)),
                Action::Kill(session) => self.order(session, Order::Kill),
                Action::Keep(record) => self.store.keep(record),
                Action::Audit(row) => self.audit(row),
            }
        }
    }

    pub(crate) fn audit(&mut self, row: AuditRow) {
        debug_assert!(
            AUDIT_EVENTS.contains(&row.event.as_str()),
            "an event that nobody can ask for: {row:?}"
        );
        self.tally.note(&row.event);
        let Some(skipped) = self.audit_budget.admit(&row) else {
            return;
        };
        if skipped > 0 {
            let mut word = row.clone();
            word.event = "audit_skipped".to_owned();
            word.outcome = "failed".to_owned();
            (word.person, word.terminal, word.card, word.by) = Default::default();
            word.detail = format!("{skipped} lines of those who caused too many");
            warn!(skipped, "audit lines were not written");
            self.store.audit(word);
        }
        info!(
            event = row.event,
            outcome = row.outcome,
            person = row.person,
            terminal = row.terminal,
            card = row.card,
            by = row.by,
            detail = row.detail,
            "audit"
        );
        self.store.audit(row);
    }

    fn post(&mut self, link: LinkId, message: ToLink) {
        let Some(sender) = self.links.get(&link) else {
            return;
        };
        let closing = matches!(message, ToLink::Close(..));
        let full = sender.try_send(message).is_err();
        if full {
            warn!(
                link = link.0,
                "a terminal does not take its messages and is let go"
            );
        }
        // Its task ends when it has nothing more to hear, and says that the link is down.
        if closing || full {
            self.links.remove(&link);
        }
    }

    fn offer(&mut self, offer: Offer) {
        let ticket: [u8; 32] = random();
        let expect = ToSession::Expect(Expect {
            attach_id: offer.attach,
            ticket_sha256: Hex(Sha256::digest(ticket).into()),
            terminal_key_sha256: Hex(offer.terminal_key.0),
            terminal_name: offer.terminal_name,
            expires_ms: TICKET_LIFE.as_millis() as u32,
            idle_s: offer.idle_s,
            keep_pixels_s: offer.keep_pixels_s,
        });
        self.order(offer.session, Order::Say(expect));
        let attach = ToTerminal::Attach(Attach {
            seq: offer.seq,
            attach_id: offer.attach,
            addresses: List::truncated(self.addresses_of(offer.port)),
            pin: offer.pin,
            ticket: Ticket(ticket),
            person: offer.person.as_str().into(),
            keep_pixels_s: offer.keep_pixels_s,
        });
        self.post(offer.link, ToLink::Message(attach));
    }

    fn addresses_of(&self, port: u16) -> Vec<Address> {
        let more = self.addresses.iter().map(|address| match address {
            IpAddr::V4(v4) => Host::V4(v4.octets()),
            IpAddr::V6(v6) => Host::V6(v6.octets()),
        });
        std::iter::once(Host::Broker)
            .chain(more)
            .map(|host| Address { host, port })
            .collect()
    }

    /// Has a session started, by a task of its own.
    pub(crate) fn start_session(&mut self, order: StartOrder, greeting: Option<Greeting>) {
        let (orders, inbox) = mpsc::channel(MAX_ORDERS);
        self.sessions.insert(order.session, orders);
        let (launcher, to_hub) = (self.launcher.clone(), self.to_hub.clone());
        tokio::spawn(session::start(order, greeting, launcher, inbox, to_hub));
    }

    fn order(&mut self, session: SessionId, order: Order) {
        if let Some(orders) = self.sessions.get(&session)
            && orders.try_send(order).is_err()
        {
            warn!(%session, "a session does not take its orders");
        }
    }

    /// Tells terminals that the broker leaves. Sessions run on.
    async fn leave(&mut self) {
        for sender in self.links.values() {
            let text = "the broker is restarting".to_owned();
            let _ = sender.try_send(ToLink::Close(CloseCode::ShuttingDown, text));
        }
        self.links.clear();
        let _ = self.store.flushed().await;
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}
