//! Why an entry point was chosen.

use std::fmt;

/// Why an entry point was chosen to encode by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// That for low power does all that the other one does.
    LowPower,
    /// There is none for low power.
    NotOffered,
    /// That for low power takes no such pictures.
    NoSuchPictures,
    /// That for low power chooses quantizers in ways that are wanted less.
    Rate,
    /// That for low power takes fewer of our headers.
    Headers,
    /// That for low power has refused.
    Refused,
}

impl Choice {
    /// Why the one for low power was not chosen, if it is offered. Of those of its profiles that take such
    /// pictures the ranks are given, smaller ones the better, none where no way of choosing quantizers is
    /// wanted; and the rank of what was chosen.
    pub(super) fn without(
        is_offered: bool,
        ranks: impl Iterator<Item = Option<(usize, u32)>>,
        chosen: (usize, u32),
    ) -> Self {
        let mut best: Option<Option<(usize, u32)>> = None;
        for rank in ranks {
            let is_better = rank.is_some_and(|rank| best.flatten().is_none_or(|best| rank < best));
            if best.is_none() || is_better {
                best = Some(rank);
            }
        }
        match best {
            _ if !is_offered => Self::NotOffered,
            None => Self::NoSuchPictures,
            Some(None) => Self::Rate,
            Some(Some((wish, _))) if wish > chosen.0 => Self::Rate,
            Some(Some(_)) => Self::Headers,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LowPower => "it leaves the processors to those who draw",
            Self::NotOffered => "EncSliceLP is not offered",
            Self::NoSuchPictures => "EncSliceLP takes no such pictures",
            Self::Rate => "EncSliceLP lacks the rate control that is wanted",
            Self::Headers => "EncSliceLP takes fewer of our headers",
            Self::Refused => "EncSliceLP refuses",
        })
    }
}

#[cfg(test)]
mod tests {
    use heliostat_video::syntax::Profile;

    use super::*;
    use crate::abi;
    use crate::probe::tests::{SIZE, codec, probe};
    use crate::probe::{PACKED, Refused, Way};

    #[test]
    fn why_the_entry_point_for_low_power_is_left_alone_is_said() {
        let all = abi::RC_CQP | abi::RC_VBR;
        let usual = codec(Profile::Main, Way::Encode, all, PACKED);
        let low = |rates, packed| codec(Profile::Main, Way::EncodeLowPower, rates, packed);
        let mut small = low(all, PACKED);
        small.most = Some(heliostat_video::Size { w: 640, h: 480 });
        let high = codec(Profile::High, Way::EncodeLowPower, abi::RC_NONE, PACKED);
        for (low, expected) in [
            (vec![], Choice::NotOffered),
            (vec![low(all, PACKED)], Choice::LowPower),
            (vec![small], Choice::NoSuchPictures),
            (vec![low(abi::RC_CQP, PACKED)], Choice::Rate),
            (vec![high.clone()], Choice::Rate),
            (vec![low(all, abi::PACKED_SEQUENCE)], Choice::Headers),
            (vec![high, low(all, 0)], Choice::Headers),
        ] {
            let codecs = [vec![usual.clone()], low].concat();
            let path = probe(codecs).plan_encoding(SIZE, true).unwrap();
            assert_eq!(path.choice, expected);
            let said = path.to_string();
            assert!(said.contains(&format!("({expected}), ")), "{said}");
        }
        let mut refused = probe(vec![usual.clone()]);
        refused.refused.push(Refused {
            profile: Profile::Main,
            why: "it does not want to".to_owned(),
        });
        let path = refused.plan_encoding(SIZE, true).unwrap();
        assert_eq!((path.way, path.choice), (Way::Encode, Choice::Refused));
        let both = probe(vec![usual, low(all, PACKED)]);
        let path = both.plan_without_low_power(SIZE, true).unwrap();
        assert_eq!((path.way, path.choice), (Way::Encode, Choice::Refused));
    }
}
