//! What an encoder offers besides, and what of that its driver is told of single pictures.

use std::fmt;

use super::RateControl;
use super::said::words;
use crate::abi::{self, config_attrib};
use crate::library::{Display, Error};

/// What an encoder offers besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct More {
    /// `VA_ENC_INTRA_REFRESH_*`.
    pub intra_refresh: u32,
    /// It can be said how many pictures before one did not come.
    pub skips: bool,
    /// Regions of interest in a picture.
    pub regions: u32,
    /// Regions say how far their quantizers are from those that the driver chooses.
    pub regions_by_quantizer: bool,
    /// Rectangles in a picture that can be said to have changed.
    pub dirty_rectangles: u32,
}

impl More {
    pub(super) fn ask(display: &Display, of: (i32, i32)) -> Result<Self, Error> {
        let kinds = [
            config_attrib::ENC_INTRA_REFRESH,
            config_attrib::ENC_SKIP_FRAME,
            config_attrib::ENC_ROI,
            config_attrib::ENC_DIRTY_RECT,
        ];
        let answers = display.attributes(of, kinds)?;
        let [intra_refresh, skips, regions, dirty_rectangles] =
            answers.map(|answer| answer.unwrap_or(0));
        Ok(Self {
            intra_refresh,
            skips: skips != 0,
            regions: regions & abi::ROI_REGIONS,
            regions_by_quantizer: regions & abi::ROI_QP_DELTA != 0,
            dirty_rectangles,
        })
    }
}

/// What an encoder is told of single pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hears {
    /// So many rectangles that have changed.
    pub dirty_rectangles: u8,
    /// So many regions of interest, where there are no such rectangles.
    pub regions: u8,
    /// Pictures that did not come.
    pub left_out: bool,
}

impl Hears {
    /// What of `more` is used where quantizers are chosen so. Regions and pictures that did not come tell
    /// the driver how to choose them; where they are ours it is not asked.
    pub(super) fn of(more: &More, rate_control: RateControl) -> Self {
        let is_drivers = rate_control != RateControl::Constant;
        let few = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        Self {
            dirty_rectangles: few(more.dirty_rectangles),
            regions: match is_drivers && more.regions_by_quantizer && more.dirty_rectangles == 0 {
                true => few(more.regions),
                false => 0,
            },
            left_out: is_drivers && more.skips,
        }
    }
}

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refreshes = [
            (abi::INTRA_REFRESH_COLUMN, "columns"),
            (abi::INTRA_REFRESH_ROW, "rows"),
            (abi::INTRA_REFRESH_ADAPTIVE, "need"),
            (abi::INTRA_REFRESH_CYCLIC, "turns"),
        ];
        write!(
            f,
            "intra refresh by {}",
            words(self.intra_refresh, &refreshes)
        )?;
        write!(f, ", {} regions of interest", self.regions)?;
        if self.regions > 0 && !self.regions_by_quantizer {
            write!(f, " by priority")?;
        }
        write!(f, ", {} dirty rectangles", self.dirty_rectangles)?;
        match self.skips {
            true => write!(f, ", skipped pictures"),
            false => write!(f, ", no skipped pictures"),
        }
    }
}

impl fmt::Display for Hears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = [
            (self.dirty_rectangles > 0, "what has changed"),
            (self.regions > 0, "what is of interest"),
            (self.left_out, "what was left out"),
        ];
        let told = told.iter().filter(|(is, _)| *is).map(|(_, what)| *what);
        let told: Vec<_> = told.collect();
        match told.is_empty() {
            true => write!(f, "the driver is told of nothing else"),
            false => write!(f, "the driver is told {}", told.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use heliostat_video::syntax::Profile;

    use super::*;
    use crate::probe::tests::{SIZE, codec, probe};
    use crate::probe::{PACKED, Way};

    #[test]
    fn what_is_offered_besides_is_told() {
        let mut one = codec(Profile::Main, Way::Encode, abi::RC_CQP, PACKED);
        one.more = More {
            intra_refresh: abi::INTRA_REFRESH_COLUMN | abi::INTRA_REFRESH_ROW | 0x10000,
            skips: true,
            regions: 8,
            regions_by_quantizer: true,
            dirty_rectangles: 4,
        };
        let said = probe(vec![one]).to_string();
        let words = "intra refresh by columns, rows, 8 regions of interest, 4 dirty rectangles, \
                     skipped pictures";
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn driver_is_told_what_it_offers_to_hear_and_is_worth_telling() {
        let all = More {
            skips: true,
            regions: 8,
            regions_by_quantizer: true,
            dirty_rectangles: 4000,
            ..More::default()
        };
        let no_rectangles = More {
            dirty_rectangles: 0,
            ..all
        };
        let by_priority = More {
            regions_by_quantizer: false,
            ..no_rectangles
        };
        let (by_us, by_driver) = (abi::RC_CQP, abi::RC_CQP | abi::RC_VBR);
        for (more, rate_controls, expected) in [
            (all, by_driver, (255, 0, true)),
            (all, by_us, (255, 0, false)),
            (no_rectangles, by_driver, (0, 8, true)),
            (no_rectangles, by_us, (0, 0, false)),
            (by_priority, by_driver, (0, 0, true)),
            (More::default(), by_driver, (0, 0, false)),
        ] {
            let mut one = codec(Profile::Main, Way::Encode, rate_controls, PACKED);
            one.more = more;
            let hears = probe(vec![one]).plan_encoding(SIZE, true).unwrap().hears;
            let found = (hears.dirty_rectangles, hears.regions, hears.left_out);
            assert_eq!(found, expected, "{more:?}");
        }
    }
}
