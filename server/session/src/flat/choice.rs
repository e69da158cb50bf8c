//! Which outputs are flat: pure, budgets and times in, choices out.
//!
//! ```text
//!            its scene is too much        every cell of the flat layer was sent once
//!   layers ───────────────────────► filling ───────────────────────────────► flat
//!     ▲ ◄────── it fits again ──────────┘                                     │ ▲
//!     │                                           there was room for both for │ │ room for both
//!     │                                                         so long as [`CALM`] │ is gone
//!     │                                                                       ▼ │
//!     └──────────────── every cell of its layers was sent once ────────── returning
//! ```
//!
//! Where nothing was shown before, filling is left out. Both ways lead through a state in which the
//! terminal shows what it has shown, and is sent what it is to show: no frame shows a layer of which
//! some cells were never sent. An output whose flat layer alone is too much goes on in layers, of
//! which the lowest are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use heliostat_wire::id::{LayerId, OutputId};

use crate::scene::Budget;

/// For how long there has to be room for the layers beside the flat one before they come back.
pub const CALM: Duration = Duration::from_secs(2);

/// How an output is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// Layer by layer.
    #[default]
    Layers,
    /// Layer by layer, as far as they fit, while the flat layer is sent.
    Filling,
    /// As one layer; there has been room for all of them since then.
    Flat(Option<Instant>),
    /// As one layer, while all of them are sent.
    Returning,
}

/// Who decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Force {
    /// What the terminal can hold.
    #[default]
    Auto,
    /// All outputs are flat that may be.
    Always,
    /// None is.
    Never,
}

/// What an output needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It does not fit otherwise.
    Flat,
    /// It would fit, but not beside its flat layer.
    Tight,
    /// It fits beside its flat layer.
    Roomy,
    /// It must not be flat.
    Layers,
}

/// An output and what it takes.
#[derive(Debug, Clone)]
pub struct Load {
    /// Its name.
    pub output: OutputId,
    /// The layers placed on it, with their bytes.
    pub layers: Vec<(LayerId, u64)>,
    /// Bytes of its flat layer.
    pub flat_bytes: u64,
    /// Whether it can be composed in good time.
    pub is_composable: bool,
    /// How it is shown now.
    pub choice: Choice,
}

/// What of an output the terminal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Layers,
    Flat,
    Both,
}

impl Choice {
    /// Whether the terminal shows the flat layer.
    pub fn is_flat(self) -> bool {
        matches!(self, Self::Flat(_) | Self::Returning)
    }

    /// Whether there is a flat layer.
    pub fn has_flat(self) -> bool {
        self != Self::Layers
    }

    /// The choice after a look at what is needed; `is_blank` where nothing is shown on the output.
    pub fn observe(self, need: Need, is_blank: bool, now: Instant) -> Self {
        match (self, need) {
            (_, Need::Layers) => Self::Layers,
            (Self::Layers | Self::Filling, Need::Tight | Need::Roomy) => Self::Layers,
            (Self::Layers | Self::Filling, Need::Flat) if is_blank => Self::Flat(None),
            (Self::Layers | Self::Filling, Need::Flat) => Self::Filling,
            (Self::Flat(_) | Self::Returning, Need::Flat | Need::Tight) => Self::Flat(None),
            (Self::Flat(_) | Self::Returning, Need::Roomy) if is_blank => Self::Layers,
            (Self::Flat(since), Need::Roomy) => {
                let since = since.unwrap_or(now);
                match now.saturating_duration_since(since) >= CALM {
                    true => Self::Returning,
                    false => Self::Flat(Some(since)),
                }
            }
            (Self::Returning, Need::Roomy) => Self::Returning,
        }
    }

    /// The choice when all of what is not shown yet was sent.
    pub fn sent(self) -> Self {
        match self {
            Self::Filling => Self::Flat(None),
            Self::Returning => Self::Layers,
            other => other,
        }
    }

    /// When it is another without anything having happened.
    pub fn deadline(self) -> Option<Instant> {
        match self {
            Self::Flat(Some(since)) => Some(since + CALM),
            _ => None,
        }
    }

    fn holds(self) -> Holds {
        match self {
            Self::Layers => Holds::Layers,
            Self::Filling | Self::Flat(_) => Holds::Flat,
            Self::Returning => Holds::Both,
        }
    }
}

/// What each output needs.
pub fn needs(loads: &[Load], budget: Budget, force: Force) -> BTreeMap<OutputId, Need> {
    let may = |load: &Load| {
        force != Force::Never
            && load.is_composable
            && budget.layers > 0
            && load.flat_bytes <= budget.bytes
    };
    let flat: BTreeSet<OutputId> = match force {
        Force::Always => loads.iter().filter(|load| may(load)).map(id).collect(),
        Force::Never => BTreeSet::new(),
        Force::Auto => overfull(loads, budget, may),
    };
    let need = |load: &Load| {
        let holds = |other: &Load| match other.output {
            output if output == load.output => Holds::Both,
            output if flat.contains(&output) => Holds::Flat,
            _ => other.choice.holds(),
        };
        match () {
            () if flat.contains(&load.output) => Need::Flat,
            () if !may(load) => Need::Layers,
            () if fits(loads, budget, holds) => Need::Roomy,
            () => Need::Tight,
        }
    };
    loads.iter().map(|load| (load.output, need(load))).collect()
}

fn id(load: &Load) -> OutputId {
    load.output
}

/// The outputs that have to be flat so that all of them fit, or come as near to it as they can.
fn overfull(loads: &[Load], budget: Budget, may: impl Fn(&Load) -> bool) -> BTreeSet<OutputId> {
    let mut flat = BTreeSet::new();
    loop {
        let holds = |load: &Load| match flat.contains(&load.output) {
            true => Holds::Flat,
            false => Holds::Layers,
        };
        let (layers, bytes) = total(loads, holds);
        let is_over = (layers > budget.layers, bytes > budget.bytes);
        let gain = |load: &Load| match is_over {
            (true, _) => load.layers.len() as i64 - 1,
            (_, true) => {
                let own: u64 = load.layers.iter().map(|(_, bytes)| bytes).sum();
                own as i64 - load.flat_bytes as i64
            }
            _ => 0,
        };
        let others = loads
            .iter()
            .filter(|load| may(load) && !flat.contains(&load.output));
        let best = others
            .max_by_key(|load| (gain(load), load.choice.has_flat()))
            .filter(|load| gain(load) > 0);
        match best {
            Some(load) => flat.insert(load.output),
            None => return flat,
        };
    }
}

fn fits(loads: &[Load], budget: Budget, holds: impl Fn(&Load) -> Holds) -> bool {
    let (layers, bytes) = total(loads, holds);
    layers <= budget.layers && bytes <= budget.bytes
}

/// Placements and bytes; a layer that is on two outputs has its bytes once.
fn total(loads: &[Load], holds: impl Fn(&Load) -> Holds) -> (usize, u64) {
    let (mut placements, mut bytes) = (0, 0);
    let mut known = BTreeSet::new();
    for load in loads {
        let holds = holds(load);
        if holds != Holds::Layers {
            placements += 1;
            bytes += load.flat_bytes;
        }
        if holds != Holds::Flat {
            placements += load.layers.len();
            let new = load.layers.iter().filter(|(layer, _)| known.insert(*layer));
            bytes += new.map(|(_, bytes)| bytes).sum::<u64>();
        }
    }
    (placements, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLAT: u64 = 100;

    fn load(output: u8, layers: std::ops::Range<u32>, choice: Choice) -> Load {
        Load {
            output: OutputId(output),
            layers: layers.map(|layer| (LayerId(layer), 10)).collect(),
            flat_bytes: FLAT,
            is_composable: true,
            choice,
        }
    }

    fn budget(layers: usize, bytes: u64) -> Budget {
        Budget { layers, bytes }
    }

    fn need(loads: &[Load], budget: Budget) -> Vec<Need> {
        needs(loads, budget, Force::Auto).into_values().collect()
    }

    #[test]
    fn output_is_flat_when_its_scene_is_too_much_and_not_before() {
        let one = |layers| [load(0, 0..layers, Choice::Layers)];
        assert_eq!(need(&one(4), budget(4, 1000)), [Need::Tight]);
        assert_eq!(need(&one(5), budget(4, 1000)), [Need::Flat]);
        assert_eq!(need(&one(3), budget(4, 1000)), [Need::Roomy]);
        assert_eq!(need(&one(12), budget(20, 119)), [Need::Flat]);
    }

    #[test]
    fn output_whose_flat_layer_is_too_much_goes_on_in_layers() {
        let loads = [load(0, 0..50, Choice::Flat(None))];
        assert_eq!(need(&loads, budget(4, FLAT - 1)), [Need::Layers]);
        let always = needs(&loads, budget(4, FLAT - 1), Force::Always);
        assert_eq!(always[&OutputId(0)], Need::Layers);
        let slow = Load {
            is_composable: false,
            ..loads[0].clone()
        };
        assert_eq!(need(&[slow], budget(4, 1000)), [Need::Layers]);
    }

    #[test]
    fn the_fuller_one_of_two_outputs_is_flat() {
        let loads = [
            load(0, 0..3, Choice::Layers),
            load(1, 10..16, Choice::Layers),
        ];
        assert_eq!(need(&loads, budget(6, 1000)), [Need::Roomy, Need::Flat]);
        assert_eq!(need(&loads, budget(4, 1000)), [Need::Tight, Need::Flat]);
        assert_eq!(need(&loads, budget(3, 1000)), [Need::Flat, Need::Flat]);
    }

    #[test]
    fn choice_waits_until_all_was_sent_and_until_there_has_been_room_for_long() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut choice = Choice::default();
        let mut observe = |need, ms| {
            choice = choice.observe(need, false, at(ms));
            choice
        };
        assert_eq!(observe(Need::Flat, 0), Choice::Filling);
        assert_eq!(observe(Need::Flat, 1), Choice::Filling);
        choice = choice.sent();
        let mut observe = |need, ms| {
            choice = choice.observe(need, false, at(ms));
            choice
        };
        assert_eq!(observe(Need::Flat, 2), Choice::Flat(None));
        assert_eq!(observe(Need::Tight, 3000), Choice::Flat(None));
        assert_eq!(observe(Need::Roomy, 3000), Choice::Flat(Some(at(3000))));
        assert_eq!(observe(Need::Flat, 4000), Choice::Flat(None));
        assert_eq!(observe(Need::Roomy, 4000), Choice::Flat(Some(at(4000))));
        assert_eq!(observe(Need::Roomy, 5999), Choice::Flat(Some(at(4000))));
        assert_eq!(choice.deadline(), Some(at(6000)));
        assert_eq!(
            choice.observe(Need::Roomy, false, at(6000)),
            Choice::Returning
        );
        let choice = Choice::Returning;
        assert_eq!(
            choice.observe(Need::Tight, false, at(6001)),
            Choice::Flat(None)
        );
        assert_eq!(choice.sent(), Choice::Layers);
    }

    #[test]
    fn what_was_blank_is_flat_at_once_and_what_must_not_be_is_not() {
        let now = Instant::now();
        let blank = Choice::Layers.observe(Need::Flat, true, now);
        assert_eq!(blank, Choice::Flat(None));
        for choice in [Choice::Filling, Choice::Flat(Some(now)), Choice::Returning] {
            assert_eq!(choice.observe(Need::Layers, false, now), Choice::Layers);
        }
    }

    fn choice() -> impl Strategy<Value = Choice> {
        prop_oneof![
            Just(Choice::Layers),
            Just(Choice::Filling),
            Just(Choice::Flat(None)),
            Just(Choice::Returning),
        ]
    }

    proptest! {
        #[test]
        fn outputs_fit_as_they_are_to_be_shown_or_all_are_flat_that_may(
            outputs in prop::collection::vec((0u32..12, 0u32..12, 0u64..90, any::<bool>(), choice()), 1..5),
            layers in 1usize..20,
            bytes in 0u64..300,
        ) {
            let loads: Vec<_> = outputs.into_iter().zip(0..).map(|((first, count, flat, can, choice), n)| Load {
                flat_bytes: flat,
                is_composable: can,
                ..load(n, first..first + count, choice)
            }).collect();
            let budget = budget(layers, bytes);
            let needs = needs(&loads, budget, Force::Auto);
            let holds = |load: &Load| match needs[&load.output] {
                Need::Flat => Holds::Flat,
                _ => Holds::Layers,
            };
            let may = |load: &Load| load.is_composable && load.flat_bytes <= bytes;
            for load in &loads {
                prop_assert!(needs[&load.output] != Need::Flat || may(load));
                prop_assert!((needs[&load.output] == Need::Layers) != may(load));
            }
            let is_flat = loads.iter().any(|load| needs[&load.output] == Need::Flat);
            let fitted = fits(&loads, budget, |_| Holds::Layers);
            prop_assert!(!(fitted && is_flat), "nothing is flat without need");
            if !fits(&loads, budget, holds) {
                let left = loads.iter().filter(|load| may(load) && needs[&load.output] != Need::Flat);
                let (placements, _) = total(&loads, holds);
                for load in left {
                    let own: u64 = load.layers.iter().map(|(_, bytes)| bytes).sum();
                    let helps = if placements > layers { load.layers.len() > 1 } else { own > load.flat_bytes };
                    prop_assert!(!helps, "one that would help is not flat");
                }
            }
        }
    }
}
