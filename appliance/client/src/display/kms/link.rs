//! The link from a connector to its screen, which drivers train when a mode is set. Where it fails later,
//! as that of DisplayPort does over a bad cable or after the screen has slept, the kernel leaves out modes
//! that it cannot carry, says so by a property and an event, and goes on with a black screen until
//! somebody sets a mode.
//! Source: "Standard Connector Properties" of the kernel's KMS documentation.

use std::time::{Duration, Instant};

use drm::control::connector;

use super::device::{Device, Properties};
use super::request::Request;

const LINK_STATUS: &str = "link-status";
const GOOD: u64 = 0;
const BAD: u64 = 1;
/// How often a link is trained again that does not hold for so long.
const TRIALS: u32 = 3;
const HOLDS: Duration = Duration::from_secs(60);

/// How often the link of a screen was trained again. One that never holds is left alone: each mode that is
/// set keeps everything else waiting.
#[derive(Debug, Default)]
pub struct Trials {
    count: u32,
    last: Option<Instant>,
}

impl Trials {
    /// Whether it is trained once more, now that it has failed.
    pub fn may_try(&mut self, now: Instant) -> bool {
        let has_held = self.last.is_none_or(|last| now - last >= HOLDS);
        if has_held {
            self.count = 0;
        }
        let may = self.count < TRIALS;
        if may {
            self.count += 1;
            self.last = Some(now);
        }
        may
    }
}

/// Whether a connector's link has failed. One that does not say so has not.
pub fn has_failed(device: &Device, connector: connector::Handle) -> bool {
    #[cfg(test)]
    if let Some(kernel) = &device.fake {
        let number: drm::control::RawResourceHandle = connector.into();
        let values = &kernel.borrow().values;
        return values.get(&(number.get(), LINK_STATUS)) == Some(&BAD);
    }
    let status = device.value(connector, LINK_STATUS);
    status.is_ok_and(|status| status == Some(BAD))
}

/// Says while a mode is set that the link is good, which has the driver train it although nothing else
/// of the mode has changed.
pub fn claim_good(connector: &Properties<connector::Handle>, request: &mut Request) {
    connector.set(request, LINK_STATUS, GOOD);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_that_never_holds_is_left_alone_and_one_that_did_is_trained_again() {
        let start = Instant::now();
        let mut trials = Trials::default();
        let mut at = |s| trials.may_try(start + Duration::from_secs(s));
        assert!(at(0) && at(1) && at(2));
        assert!(!at(3) && !at(61));
        assert!(at(62) && at(63) && at(64));
        assert!(!at(65));
        assert!(at(64 + 60));
    }
}
