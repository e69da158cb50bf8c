//! The card in a reader of this machine, through pcscd.

use std::ffi::CString;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use pcsc::{Card, Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode, State};

/// How long a card is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A card that nobody else speaks with meanwhile.
pub struct Reader {
    card: Card,
    atr: Vec<u8>,
}

/// Finds the reader with a card in it; waits for one. `wanted` is part of a reader's name.
pub fn open(wanted: Option<&str>) -> anyhow::Result<Reader> {
    let context = Context::establish(Scope::User).map_err(|error| match error {
        Error::NoService => anyhow!(
            "pcscd does not run here: install it (apt install pcscd) and start it, or read the \
             card's id at a terminal"
        ),
        other => anyhow!("cannot speak with pcscd: {other}"),
    })?;
    let names = readers(&context, wanted)?;
    let reader = with_card(&context, &names)?;
    let shown = reader.to_string_lossy().into_owned();
    let card = context.connect(&reader, ShareMode::Exclusive, Protocols::ANY);
    let card = card.map_err(|error| match error {
        Error::SharingViolation => {
            anyhow!("another program uses the card in {shown}: end it, and try again")
        }
        other => anyhow!("the card in {shown} does not answer: {other}"),
    })?;
    let status = card.status2_owned().context("the card's answer-to-reset")?;
    let atr = status.atr().to_vec();
    Ok(Reader { card, atr })
}

impl Reader {
    /// What the card said at its reset.
    pub fn atr(&self) -> &[u8] {
        &self.atr
    }

    /// Sends a command; gives the card's response.
    pub fn transmit(&mut self, command: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut buffer = [0; pcsc::MAX_BUFFER_SIZE];
        match self.card.transmit(command, &mut buffer) {
            Ok(response) => Ok(response.to_vec()),
            Err(Error::RemovedCard | Error::NoSmartcard | Error::ResetCard) => {
                bail!("the card was taken out: leave it in until it has been read")
            }
            Err(Error::NotTransacted | Error::UnresponsiveCard | Error::UnpoweredCard) => {
                bail!("the card does not answer: take it out, insert it again, and try again")
            }
            Err(error) => bail!("the reader failed: {error}"),
        }
    }

    /// Lets the card go as it was found.
    pub fn close(self) {
        let _ = self.card.disconnect(Disposition::ResetCard);
    }
}

fn readers(context: &Context, wanted: Option<&str>) -> anyhow::Result<Vec<CString>> {
    let all = match context.list_readers_owned() {
        Ok(all) => all,
        Err(Error::NoReadersAvailable) => Vec::new(),
        Err(error) => bail!("pcscd does not say which readers there are: {error}"),
    };
    if all.is_empty() {
        bail!("pcscd sees no reader: plug one in");
    }
    let is_wanted =
        |name: &CString| wanted.is_none_or(|part| name.to_string_lossy().contains(part));
    let found: Vec<CString> = all.iter().filter(|name| is_wanted(name)).cloned().collect();
    if found.is_empty() {
        let names: Vec<_> = all.iter().map(|name| name.to_string_lossy()).collect();
        bail!("no reader has such a name; there are: {}", names.join("; "));
    }
    Ok(found)
}

/// The one reader with a card in it.
fn with_card(context: &Context, names: &[CString]) -> anyhow::Result<CString> {
    let mut states: Vec<ReaderState> = names
        .iter()
        .map(|name| ReaderState::new(name.clone(), State::UNAWARE))
        .collect();
    let deadline = Instant::now() + PATIENCE;
    let mut asked = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match context.get_status_change(left, &mut states) {
            Err(Error::Timeout) => bail!("no card was inserted"),
            result => result.context("the readers cannot be watched")?,
        }
        let full = |state: &&ReaderState| {
            let state = state.event_state();
            state.contains(State::PRESENT) && !state.contains(State::MUTE)
        };
        let found: Vec<_> = states.iter().filter(full).collect();
        match found[..] {
            [one] => return Ok(one.name().to_owned()),
            [] => {
                let mute = |state: &ReaderState| state.event_state().contains(State::MUTE);
                if states.iter().any(mute) {
                    eprintln!("The card does not answer: turn it round.");
                } else if !asked {
                    eprintln!("Insert a card.");
                }
                asked = true;
            }
            [..] => bail!(
                "there is a card in more than one reader: pull all but one, or name the reader with --reader"
            ),
        }
        states.iter_mut().for_each(ReaderState::sync_current_state);
    }
}
