//! PINs, typed at the terminal.

use anyhow::ensure;
use hil_card::{Card, Recipe};
use hil_local::Readers;

use crate::desk::{Desk, NOT_CHECKED, TYPE_PIN};

const PIN: &str = "[default]\nproof = \"card+pin\"\n";
const GRACE: &str = "[default]\nproof = \"card+pin\"\ngrace = \"1h\"\n";

pub fn last_try_is_never_spent(readers: &Readers) -> anyhow::Result<()> {
    let mut desk = Desk::new(readers, PIN)?;
    let id = Card::id_of("alice");
    desk.add_for_first_use(&id, "alice")?;
    // Clones are one piece of plastic, so that this one tells of the tries of that in the reader.
    let card = Recipe::new("alice").make();
    desk.insert(card.clone())?;
    desk.refused(TYPE_PIN)?;
    desk.type_pin("111111")?;
    desk.refused("Checking your card")?;
    desk.refused(TYPE_PIN)?;
    ensure!(card.pin_tries() == Some(2), "{:?} tries", card.pin_tries());
    desk.type_pin("123456")?;
    desk.desktop(&[NOT_CHECKED])?;
    ensure!(card.pin_tries() == Some(3), "{:?} tries", card.pin_tries());
    let keys = desk.keys(&id)?;
    let slots: Vec<_> = keys.iter().map(|key| &key[..2]).collect();
    ensure!(slots == ["9E", "9A"], "{keys:?}");
    let attach = desk.audited("attach")?;
    ensure!(attach.1.ends_with("by card+pin"), "{attach:?}");
    desk.pull()?;

    // Two wrong ones, and the third is not asked for: not now, and not when the card comes again.
    desk.insert(card.clone())?;
    desk.refused(TYPE_PIN)?;
    desk.type_pin("111111")?;
    desk.refused("Checking your card")?;
    desk.refused(TYPE_PIN)?;
    desk.type_pin("222222")?;
    desk.refused(NOT_CHECKED)?;
    ensure!(card.pin_tries() == Some(1), "{:?} tries", card.pin_tries());
    for _ in 0..2 {
        desk.pull()?;
        desk.insert(card.clone())?;
        desk.refused(NOT_CHECKED)?;
        ensure!(card.pin_tries() == Some(1), "{:?} tries", card.pin_tries());
    }
    let (_, why) = desk.audited("no_proof")?;
    ensure!(why == "PinBlocked", "{why}");
    ensure!(
        desk.audited("attach")?.0 == 1,
        "a wrong PIN opens a desktop"
    );
    desk.pull()
}

pub fn grace_spares_the_pin(readers: &Readers) -> anyhow::Result<()> {
    let mut desk = Desk::new(readers, GRACE)?;
    let id = Card::id_of("alice");
    desk.add_for_first_use(&id, "alice")?;
    let with_pin = |desk: &mut Desk<'_>| {
        desk.refused(TYPE_PIN)?;
        desk.type_pin("123456")?;
        desk.desktop(&[NOT_CHECKED])
    };
    desk.insert(Card::named("alice"))?;
    with_pin(&mut desk)?;
    for _ in 0..2 {
        desk.pull()?;
        desk.insert(Card::named("alice"))?;
        desk.desktop(&[NOT_CHECKED, TYPE_PIN])?;
        let attach = desk.audited("attach")?;
        ensure!(attach.1.ends_with("by card"), "{attach:?}");
    }
    // A copy without the key has no grace.
    desk.pull()?;
    desk.insert(Recipe::new("mallory").id_of("alice").make())?;
    desk.refused(NOT_CHECKED)?;
    desk.pull()?;
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[NOT_CHECKED, TYPE_PIN])?;
    // A lock ends it.
    desk.lock("alice")?;
    with_pin(&mut desk)?;
    desk.pull()?;
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[NOT_CHECKED, TYPE_PIN])?;
    // So does another policy, though it asks for the same.
    desk.pull()?;
    desk.policy(&format!("# Another.\n{GRACE}"))?;
    desk.insert(Card::named("alice"))?;
    with_pin(&mut desk)?;
    desk.pull()
}
