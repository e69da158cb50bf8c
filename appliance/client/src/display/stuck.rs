//! When a screen that says nothing any more is a reason to begin anew.
//!
//! For most drivers a commit that is not told of is one that is not done, and Linux takes no other
//! until one waits for it: ten seconds for each part of the screen. Whoever is to be heard of meanwhile
//! cannot wait; a client that ends has the kernel do it, and the next one finds everything dark.
//!
//! Pure: who is attached is an argument.

use heliostat_wire::id::OutputId;

/// Refusals after which a screen counts as stuck. They come one, three and seven seconds after the
/// commit.
const MOST: u32 = 3;

/// A screen that has not said that a commit is done, and takes no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// Which.
    pub output: OutputId,
    /// How often it has refused another commit.
    pub refused: u32,
    /// It has told of pictures before, so that it may again.
    pub has_told: bool,
    /// Attaches whose pictures may be seen: that of what was shown, and of what was to follow. 0 for the
    /// terminal's own screens.
    pub attaches: [u64; 2],
}

impl Stuck {
    /// Whether nothing is to be expected of it, so that nobody waits for it.
    pub fn is_silent(&self) -> bool {
        self.refused >= MOST
    }

    /// Whether the client is to begin anew, while an attach is there (0 for none). What is seen of
    /// somebody else is borne no longer than it takes to ask once. A screen that has never told of
    /// pictures would not either the next time.
    pub fn is_borne_no_longer(&self, attach: u64) -> bool {
        let is_of_another = self.attaches.iter().any(|of| ![0, attach].contains(of));
        is_of_another && self.refused > 0 || self.has_told && self.is_silent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUCK: Stuck = Stuck {
        output: OutputId(1),
        refused: 0,
        has_told: true,
        attaches: [0, 0],
    };

    #[test]
    fn screen_is_borne_for_three_refusals_and_for_one_while_it_shows_somebody_else() {
        let first = |attaches, has_told, attach| {
            let borne = |refused: &u32| {
                let stuck = Stuck {
                    refused: *refused,
                    has_told,
                    attaches,
                    ..STUCK
                };
                stuck.is_borne_no_longer(attach)
            };
            (0..100).find(borne)
        };
        // The terminal's own screens, and those of who is there.
        assert_eq!(first([0, 0], true, 0), Some(MOST));
        assert_eq!(first([0, 7], true, 7), Some(MOST));
        assert_eq!(first([7, 7], true, 7), Some(MOST));
        for [before, after] in [[7, 7], [7, 0], [0, 7], [7, 8], [8, 7]] {
            for has_told in [false, true] {
                assert_eq!(first([before, after], has_told, 0), Some(1));
                assert_eq!(first([before, after], has_told, 8), Some(1));
            }
        }
        // Beginning anew would not help, and takes nothing away.
        assert_eq!(first([0, 0], false, 0), None);
        assert_eq!(first([0, 7], false, 7), None);
    }
}
