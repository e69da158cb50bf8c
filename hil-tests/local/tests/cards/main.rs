//! Cards that prove themselves, from the plastic to the desktop: virtual PIV cards in pcscd's
//! reader, the terminal, the broker and sessions, all of them the product's own programs.

mod attacks;
mod desk;
mod pins;
mod stories;

use hil_local::{Readers, apart};

type Story = fn(&Readers) -> anyhow::Result<()>;

/// Stories, by name. Each has a site of its own; the reader is shared, and empty between them.
const STORIES: &[(&str, Story)] = &[
    (
        "first_use_binds_a_card_and_from_then_on_it_proves_itself",
        stories::first_use_binds_a_card,
    ),
    (
        "revoked_card_is_parted_within_a_second",
        stories::revoked_card_is_parted,
    ),
    (
        "slow_card_attaches_and_one_torn_out_does_not",
        stories::slow_card_and_one_torn_out,
    ),
    (
        "locked_desktop_leaves_no_pixel_and_sends_none_before_the_proof",
        stories::locked_desktop_leaves_no_pixel,
    ),
    ("copied_ids_open_nothing", attacks::copied_ids_open_nothing),
    (
        "authority_vouches_for_the_card_that_it_names",
        attacks::authority_vouches_for_the_card_that_it_names,
    ),
    (
        "wrong_pins_are_counted_and_the_last_try_is_never_spent",
        pins::last_try_is_never_spent,
    ),
    (
        "grace_spares_the_pin_until_a_lock_or_a_new_policy",
        pins::grace_spares_the_pin,
    ),
];

fn main() -> anyhow::Result<()> {
    if !apart::enter(&[], || Readers::missing().map(str::to_owned))? {
        return Ok(());
    }
    let readers = Readers::start()?;
    let only = std::env::args()
        .nth(1)
        .filter(|only| !only.starts_with('-'));
    for (name, story) in STORIES {
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        story(&readers).map_err(|error| error.context(*name))?;
        println!("{name} ... ok");
    }
    Ok(())
}
