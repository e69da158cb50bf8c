//! What happens to people with their own cards.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hil_card::{Card, Recipe, WhenSigning};
use hil_local::Readers;

use crate::desk::{Desk, EMPTY, KEY_ENTER, NOT_CHECKED, STEP, TYPE_PIN};

const CARD: &str = "[default]\nproof = \"card\"\n";
const PIN: &str = "[default]\nproof = \"card+pin\"\n";

pub fn first_use_binds_a_card(readers: &Readers) -> anyhow::Result<()> {
    let mut desk = Desk::new(readers, CARD)?;
    let id = Card::id_of("alice");
    desk.add_for_first_use(&id, "alice")?;
    ensure!(desk.keys(&id)?.is_empty(), "a new card has no keys");
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[NOT_CHECKED, TYPE_PIN])?;
    let keys = desk.keys(&id)?;
    ensure!(keys.len() == 1 && keys[0].starts_with("9E "), "{keys:?}");
    ensure!(
        desk.audited("card_bound")? == (1, "9E".to_owned()),
        "bound once"
    );
    let (proofs, detail) = desk.audited("proof")?;
    ensure!(
        proofs == 1 && detail.starts_with("9E "),
        "{proofs} {detail}"
    );

    desk.pull()?;
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[NOT_CHECKED, TYPE_PIN])?;
    ensure!(desk.keys(&id)? == keys, "the keys stay");
    ensure!(desk.audited("card_bound")?.0 == 1, "bound once");
    ensure!(desk.audited("proof")?.0 == 2, "proven each time");
    let attach = desk.audited("attach")?;
    ensure!(attach.0 == 2 && attach.1.ends_with("by card"), "{attach:?}");
    desk.pull()
}

pub fn revoked_card_is_parted(readers: &Readers) -> anyhow::Result<()> {
    let mut desk = Desk::new(readers, CARD)?;
    let id = Card::id_of("alice");
    desk.add_for_first_use(&id, "alice")?;
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[])?;
    let began = Instant::now();
    desk.site.ctl(&["card", "revoke", &id])?;
    desk.screen("This card has been revoked")?;
    println!(
        "revoked to parted: {:?}, heliostatctl included",
        began.elapsed()
    );
    let sessions = desk.site.ctl(&["session", "list"])?;
    ensure!(sessions[0]["terminal"].is_null(), "{sessions}");
    // It opens nothing any more.
    desk.pull()?;
    desk.insert(Card::named("alice"))?;
    desk.refused("This card has been revoked")?;
    ensure!(desk.audited("proof")?.0 == 1, "nobody asks it for a proof");
    desk.pull()
}

pub fn slow_card_and_one_torn_out(readers: &Readers) -> anyhow::Result<()> {
    let mut desk = Desk::new(readers, CARD)?;
    let id = Card::id_of("alice");
    desk.add_for_first_use(&id, "alice")?;
    let slow = WhenSigning::After(Duration::from_secs(2));
    desk.insert(Recipe::new("alice").when_signing(slow).make())?;
    desk.screen("Checking your card")?;
    desk.desktop(&[NOT_CHECKED])?;
    desk.pull()?;

    let torn = WhenSigning::TornOut;
    desk.insert(Recipe::new("alice").when_signing(torn).make())?;
    desk.refused(EMPTY)?;
    ensure!(
        desk.audited("attach")?.0 == 1,
        "a card torn out has a desktop"
    );
    desk.pull_torn()?;
    // The same card, held properly, is as good as before.
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[NOT_CHECKED])?;
    desk.pull()
}

pub fn locked_desktop_leaves_no_pixel(readers: &Readers) -> anyhow::Result<()> {
    let mut desk = Desk::new(readers, PIN)?;
    let id = Card::id_of("alice");
    desk.add_for_first_use(&id, "alice")?;
    // What the terminal shows before it has ever had a desktop.
    desk.insert(Card::named("alice"))?;
    let without_desktop = desk.picture_at_rest(TYPE_PIN)?;
    desk.type_pin("123456")?;
    desk.desktop(&[NOT_CHECKED])?;
    desk.terminal.wait_for("blinks", STEP, |event| {
        event.name() == "frame_shown" && event.number("serial") > Some(3)
    })?;
    ensure!(desk.picture()? != without_desktop, "the desktop is shown");

    desk.lock("alice")?;
    desk.refused(TYPE_PIN)?;
    ensure!(
        desk.settled()? == without_desktop,
        "something else is shown"
    );
    // The desktop blinks on meanwhile, and none of it is sent: a wrong PIN takes its time.
    let sessions = desk.site.ctl(&["session", "list"])?;
    ensure!(sessions[0]["terminal"].is_null(), "{sessions}");
    desk.type_pin("111111")?;
    desk.refused("Checking your card")?;
    desk.refused(TYPE_PIN)?;
    desk.settled()?;
    desk.type_pin("123456")?;
    desk.desktop(&[NOT_CHECKED])?;
    ensure!(desk.picture()? != without_desktop, "the desktop is back");
    desk.pull()?;

    // Where the card alone opens a desktop, it takes somebody to press a key.
    desk.policy(CARD)?;
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[NOT_CHECKED, TYPE_PIN])?;
    desk.lock("alice")?;
    desk.refused("Your desktop is locked")?;
    desk.press(KEY_ENTER)?;
    desk.desktop(&[NOT_CHECKED, TYPE_PIN])?;
    let attach = desk.audited("attach")?;
    ensure!(attach.1.ends_with("by card"), "{attach:?}");
    desk.pull().context("at the end")
}
