//! The link from a connector to its screen, which drivers train when a mode is set. Where it fails later,
//! as that of DisplayPort does over a bad cable or after the screen has slept, the kernel leaves out modes
//! that it cannot carry, says so by a property and an event, and goes on with a black screen until
//! somebody sets a mode.
//! Source: "Standard Connector Properties" of the kernel's KMS documentation.

use drm::control::connector;

use super::device::{Device, Properties};
use super::request::Request;

const LINK_STATUS: &str = "link-status";
const GOOD: u64 = 0;
const BAD: u64 = 1;

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
