//! What the kernel tells of commits, out of the bytes that it is read from. Pure.
//!
//! Each event has the number of its commit: those of an earlier one, which may come late or not at all,
//! say nothing of the one that is under way.

use std::time::Duration;

/// `DRM_EVENT_FLIP_COMPLETE`.
const FLIP_COMPLETE: u32 = 2;
/// Type and length.
const HEAD: usize = 8;
/// `struct drm_event_vblank`.
const LENGTH: usize = 32;

/// As many bytes as are read at a time, which are whole events.
pub const ROOM: usize = 1024;

/// What was committed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flip {
    /// The CRTC.
    pub crtc: u32,
    /// The commit's number.
    pub number: u64,
    /// Since when, by the clock of the driver.
    pub at: Duration,
}

/// The flips among events. What is no whole event ends them.
pub fn flips(mut bytes: &[u8]) -> impl Iterator<Item = Flip> {
    let events = std::iter::from_fn(move || {
        let length = word(bytes, 4)? as usize;
        let event = bytes.get(..length).filter(|event| event.len() >= HEAD)?;
        bytes = &bytes[length..];
        Some(event)
    });
    events.filter_map(flip)
}

fn flip(event: &[u8]) -> Option<Flip> {
    if event.len() < LENGTH || word(event, 0)? != FLIP_COMPLETE {
        return None;
    }
    let number = event.get(8..16)?.try_into().ok()?;
    let (seconds, micros) = (word(event, 16)?, word(event, 20)?);
    Some(Flip {
        crtc: word(event, 28)?,
        number: u64::from_ne_bytes(number),
        at: Duration::from_secs(seconds.into()) + Duration::from_micros(micros.into()),
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An event as Linux lays it out.
    fn event(sort: u32, number: u64, [seconds, micros, sequence, crtc]: [u32; 4]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(sort.to_ne_bytes());
        bytes.extend(32u32.to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        for word in [seconds, micros, sequence, crtc] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn flips_are_found_among_other_events_with_their_numbers() {
        let mut bytes = event(FLIP_COMPLETE, 7, [5, 40, 1, 41]);
        bytes.extend(event(1, 8, [5, 41, 1, 41]));
        // One that nobody knows, and nothing but a head.
        bytes.extend([0x80, 0, 0, 0].into_iter().chain(8u32.to_ne_bytes()));
        bytes.extend(event(FLIP_COMPLETE, u64::MAX, [u32::MAX, u32::MAX, 0, 42]));
        bytes.extend(&event(FLIP_COMPLETE, 9, [0; 4])[..31]);
        let found: Vec<_> = flips(&bytes).collect();
        let late = Duration::from_secs(u32::MAX.into()) + Duration::from_micros(u32::MAX.into());
        let flip = |crtc, number, at| Flip { crtc, number, at };
        let first = flip(41, 7, Duration::from_micros(5_000_040));
        assert_eq!(found, [first, flip(42, u64::MAX, late)]);
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_an_end(
            words in prop::collection::vec(prop_oneof![0u32..40, any::<u32>()], 0..60),
            cut in 0usize..4,
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let bytes = &bytes[..bytes.len().saturating_sub(cut)];
            prop_assert!(flips(bytes).count() <= bytes.len() / LENGTH);
        }
    }
}
