//! Cards that are not what they say.

use anyhow::ensure;
use hil_card::{Card, Recipe};
use hil_local::Readers;

use crate::desk::{Desk, NOT_CHECKED};

const CARD: &str = "[default]\nproof = \"card\"\n";

pub fn copied_ids_open_nothing(readers: &Readers) -> anyhow::Result<()> {
    let mut desk = Desk::new(readers, CARD)?;
    let id = Card::id_of("alice");
    desk.add_for_first_use(&id, "alice")?;
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[NOT_CHECKED])?;
    desk.pull()?;
    let (keys, mut refused) = (desk.keys(&id)?, 0);
    let copies = [
        Recipe::new("mallory").id_of("alice"),
        Recipe::new("mallory")
            .id_of("alice")
            .certificates_of("alice"),
        Recipe::new("mallory").id_of("alice").self_signed(),
    ];
    for copy in copies {
        desk.insert(copy.make())?;
        desk.refused(NOT_CHECKED)?;
        refused += 1;
        let (times, why) = desk.audited("proof_refused")?;
        ensure!(
            times == refused,
            "{times} proofs are refused, not {refused}"
        );
        ensure!(why == "the card's signature does not hold", "{why}");
        desk.pull()?;
    }
    ensure!(
        desk.keys(&id)? == keys,
        "a copy has changed the card's keys"
    );
    ensure!(desk.audited("attach")?.0 == 1, "a copy has a desktop");
    // Whoever's card it is goes on.
    desk.insert(Card::named("alice"))?;
    desk.desktop(&[NOT_CHECKED])?;
    desk.pull()
}

pub fn authority_vouches_for_the_card_that_it_names(readers: &Readers) -> anyhow::Result<()> {
    let mut desk = Desk::with_authority(readers, CARD)?;
    for (name, person) in [("alice", "alice"), ("bob", "bob")] {
        desk.site.add_card(&Card::id_of(name), person)?;
    }
    let refused = [
        (
            Recipe::new("mallory").id_of("alice"),
            "its certificate names",
        ),
        (
            Recipe::new("mallory")
                .id_of("alice")
                .certificates_of("alice"),
            "the card's signature does not hold",
        ),
        (
            Recipe::new("alice").self_signed(),
            "no authority that this site trusts",
        ),
        (
            Recipe::new("bob").expired(),
            "the card's certificate has expired",
        ),
    ];
    for (at, (recipe, wanted)) in refused.into_iter().enumerate() {
        desk.insert(recipe.make())?;
        desk.refused(NOT_CHECKED)?;
        let (times, why) = desk.audited("proof_refused")?;
        ensure!(times == at + 1, "{times} proofs are refused");
        ensure!(why.starts_with(wanted), "{why}, not {wanted}");
        desk.pull()?;
    }
    ensure!(desk.audited("card_bound")?.0 == 0, "nothing is bound yet");
    for name in ["alice", "bob"] {
        desk.insert(Card::named(name))?;
        desk.desktop(&[NOT_CHECKED])?;
        // The certificate is asked for each time, so nothing of it is kept that outlives it.
        ensure!(desk.keys(&Card::id_of(name))?.is_empty(), "{name}'s key");
        desk.pull()?;
    }
    Ok(())
}
