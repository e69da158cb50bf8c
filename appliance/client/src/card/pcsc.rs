//! Cards through pcscd, on a thread of their own.
//!
//! The first card found is the desk's card; others are left alone until it is pulled. When pcscd
//! dies its cards are gone, and the thread tries to find it again.

use std::ffi::CString;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use heliostat_piv::identify::{Identify, Step};
use heliostat_wire::card::Unreadable;
use pcsc::{
    Context, Disposition, Error, PNP_NOTIFICATION, Protocols, ReaderState, Scope, ShareMode, State,
};
use tracing::{debug, info, warn};

use super::CardEvent;
use crate::clock::monotonic_us;

/// Between attempts to find pcscd.
const SERVICE_RETRY: Duration = Duration::from_millis(300);
/// A card that answered nothing at its edge often does when asked again.
const CONNECT_ATTEMPTS: u32 = 3;

/// A card that could not be read is tried again after this long, as long as it is there: contacts
/// bounce, and pcscd does not notice a card that is pulled and inserted again quickly.
const REREAD: Duration = Duration::from_millis(700);
/// A card that has not been read by then is said to be mute. The reader may go on waiting for it:
/// PC/SC cannot give up a command.
const READ_PATIENCE: Duration = Duration::from_secs(4);
/// How often it is tried again.
const REREADS: u32 = 4;

/// Starts the thread; `report` is called for every event.
pub fn watch(report: impl Fn(CardEvent) + Clone + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("cards".to_owned())
        .spawn(move || {
            let mut watcher = Watcher {
                report,
                current: None,
                rereads: 0,
                another: false,
                service: None,
            };
            loop {
                watcher.run();
                std::thread::park_timeout(SERVICE_RETRY);
            }
        })
        .map(drop)
}

struct Watcher<F> {
    report: F,
    /// The reader whose card is the desk's card, and the reader's event count at its edge.
    current: Option<(CString, u32)>,
    /// How often the desk's card is still to be tried again.
    rereads: u32,
    /// Whether another reader has a card too.
    another: bool,
    /// Whether pcscd was last seen alive.
    service: Option<bool>,
}

impl<F: Fn(CardEvent) + Clone + Send + 'static> Watcher<F> {
    /// Watches until pcscd fails.
    fn run(&mut self) {
        let result = Context::establish(Scope::User).and_then(|context| {
            self.set_service(true);
            self.watch(&context)
        });
        if let Err(error) = result {
            if self.service != Some(false) {
                warn!(%error, "the card service is away");
            }
            self.set_service(false);
            self.card_gone();
        }
    }

    fn set_service(&mut self, alive: bool) {
        if self.service != Some(alive) {
            self.service = Some(alive);
            (self.report)(CardEvent::Service(alive));
        }
    }

    fn watch(&mut self, context: &Context) -> Result<(), Error> {
        let mut states = vec![ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE)];
        loop {
            refresh_readers(context, &mut states)?;
            (self.report)(CardEvent::Readers(states.len() - 1));
            loop {
                states.iter_mut().for_each(ReaderState::sync_current_state);
                let patience = (self.rereads > 0).then_some(REREAD);
                match context.get_status_change(patience, &mut states) {
                    Err(Error::Timeout) => self.reread(context, &states),
                    result => result?,
                }
                self.look(context, &states);
                if states.iter().any(reader_list_changed) {
                    break;
                }
            }
        }
    }

    fn look(&mut self, context: &Context, states: &[ReaderState]) {
        if let Some((reader, _)) = &self.current {
            let here = states
                .iter()
                .find(|state| state.name() == reader.as_c_str());
            let stays = |state: &&ReaderState| has_card(state) && !self.is_another(state);
            if here.filter(stays).is_none() {
                self.card_gone();
            }
        }
        if self.current.is_none() {
            let found = states
                .iter()
                .filter(|state| state.name() != PNP_NOTIFICATION());
            if let Some(state) = found.into_iter().find(|state| has_card(state)) {
                self.card_came(context, state);
            }
        }
        self.count_others(states);
    }

    fn count_others(&mut self, states: &[ReaderState]) {
        let current = self.current.as_ref().map(|(reader, _)| reader.as_c_str());
        let another = states.iter().any(|state| {
            state.name() != PNP_NOTIFICATION() && Some(state.name()) != current && has_card(state)
        });
        if another != self.another {
            self.another = another;
            (self.report)(CardEvent::Another(another));
        }
    }

    /// Whether the card of the current reader was swapped between two looks: pcscd counts every
    /// insertion and removal.
    fn is_another(&self, state: &ReaderState) -> bool {
        self.current
            .as_ref()
            .is_some_and(|(_, count)| *count != state.event_count())
    }

    fn card_came(&mut self, context: &Context, state: &ReaderState) {
        let reader = state.name().to_string_lossy().into_owned();
        info!(reader, "card inserted");
        self.current = Some((state.name().to_owned(), state.event_count()));
        (self.report)(CardEvent::Edge {
            reader,
            at_us: monotonic_us(),
        });
        if state.event_state().contains(State::MUTE) {
            self.rereads = REREADS;
            return (self.report)(CardEvent::Unreadable(Unreadable::Mute));
        }
        let (said_mute, event) = self.read_patiently(context, state);
        debug!(?event, said_mute, "card read");
        let failed = matches!(event, CardEvent::Unreadable(_));
        self.rereads = if failed { REREADS } else { 0 };
        match said_mute {
            false => (self.report)(event),
            true => self.report_late(state, event),
        }
    }

    /// Reads a card; when that takes too long, says meanwhile that it is mute. Returns whether it
    /// said so.
    fn read_patiently(&self, context: &Context, state: &ReaderState) -> (bool, CardEvent) {
        let (done, reading) = std::sync::mpsc::channel::<()>();
        let report = self.report.clone();
        let impatient = std::thread::spawn(move || {
            let late = reading.recv_timeout(READ_PATIENCE) == Err(RecvTimeoutError::Timeout);
            if late {
                report(CardEvent::Unreadable(Unreadable::Mute));
            }
            late
        });
        let event = read(context, state, Start::AsFound);
        drop(done);
        (impatient.join().unwrap_or(false), event)
    }

    /// A card that was given up has been read after all; that it was not is known already.
    fn report_late(&self, state: &ReaderState, event: CardEvent) {
        if matches!(event, CardEvent::Read(_)) {
            (self.report)(CardEvent::Edge {
                reader: state.name().to_string_lossy().into_owned(),
                at_us: monotonic_us(),
            });
            (self.report)(event);
        }
    }

    /// Tries the desk's card again. The screen changes only if it helps.
    fn reread(&mut self, context: &Context, states: &[ReaderState]) {
        self.rereads -= 1;
        let current = self.current.as_ref().map(|(reader, _)| reader.as_c_str());
        let here = states.iter().find(|state| Some(state.name()) == current);
        let Some(state) = here.filter(|state| has_card(state)) else {
            return;
        };
        let event = read(context, state, Start::Reset);
        debug!(?event, "card read again");
        if matches!(event, CardEvent::Read(_)) {
            self.rereads = 0;
        }
        self.report_late(state, event);
    }

    fn card_gone(&mut self) {
        if std::mem::take(&mut self.another) {
            (self.report)(CardEvent::Another(false));
        }
        self.rereads = 0;
        if self.current.take().is_some() {
            info!("card removed");
            (self.report)(CardEvent::Gone);
        }
    }
}

fn has_card(state: &ReaderState) -> bool {
    state.event_state().contains(State::PRESENT)
}

fn reader_list_changed(state: &ReaderState) -> bool {
    let event = state.event_state();
    if state.name() == PNP_NOTIFICATION() {
        event.contains(State::CHANGED)
    } else {
        event.intersects(State::UNKNOWN | State::IGNORE)
    }
}

/// Makes `states` the readers of now, keeping what is known of those that stay.
fn refresh_readers(context: &Context, states: &mut Vec<ReaderState>) -> Result<(), Error> {
    let readers = match context.list_readers_owned() {
        Ok(readers) => readers,
        Err(Error::NoReadersAvailable) => Vec::new(),
        Err(error) => return Err(error),
    };
    states.retain(|state| {
        state.name() == PNP_NOTIFICATION()
            || readers
                .iter()
                .any(|reader| reader.as_c_str() == state.name())
                && !state
                    .event_state()
                    .intersects(State::UNKNOWN | State::IGNORE)
    });
    for reader in readers {
        if states.iter().all(|state| state.name() != reader.as_c_str()) {
            debug!(reader = %reader.to_string_lossy(), "card reader");
            states.push(ReaderState::new(reader, State::UNAWARE));
        }
    }
    Ok(())
}

/// How a card is taken up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// As pcscd powered it.
    AsFound,
    /// After a reset, because it failed before.
    Reset,
}

fn read(context: &Context, state: &ReaderState, start: Start) -> CardEvent {
    let mut attempt = 1;
    let mut card = loop {
        match context.connect(state.name(), ShareMode::Shared, Protocols::ANY) {
            Ok(card) => break card,
            Err(error) if attempt < CONNECT_ATTEMPTS && error != Error::NoSmartcard => {
                debug!(%error, attempt, "card does not connect yet");
                attempt += 1;
            }
            Err(error) => return CardEvent::Unreadable(why(error)),
        }
    };
    let mut atr = state.atr().to_vec();
    if start == Start::Reset {
        let reset = card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard);
        // It may be another card than the one whose answer to reset pcscd reported.
        match reset.and_then(|()| card.status2_owned()) {
            Ok(status) => atr = status.atr().to_vec(),
            Err(error) => return CardEvent::Unreadable(why(error)),
        }
    }
    let (mut identify, mut step) = Identify::begin(&atr);
    let mut buffer = [0; pcsc::MAX_BUFFER_SIZE];
    let event = loop {
        step = match step {
            Step::Done(card) => break CardEvent::Read(card),
            Step::Unreadable(why) => break CardEvent::Unreadable(why),
            Step::Transmit(command) => match card.transmit(&command, &mut buffer) {
                Ok(response) => identify.respond(response),
                // A reader that cannot do a command is no reason to give up the card.
                Err(Error::NotTransacted | Error::UnsupportedFeature) => identify.respond(&[]),
                Err(error) => break CardEvent::Unreadable(why(error)),
            },
        };
    };
    // Applications of the session may want the card as we found it. One that failed is not reset
    // here: while contacts bounce that fails, and pcscd then takes the reader for empty until the
    // card is pulled.
    let _ = card.disconnect(Disposition::LeaveCard);
    event
}

fn why(error: Error) -> Unreadable {
    match error {
        Error::NoSmartcard | Error::RemovedCard => Unreadable::TornOut,
        Error::UnresponsiveCard | Error::UnpoweredCard | Error::ResetCard => Unreadable::Mute,
        Error::NotTransacted | Error::ProtoMismatch => Unreadable::Nameless,
        _ => Unreadable::ReaderFailed,
    }
}
