//! The entry point for low power: it is asked until it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use heliostat_va::Display;
use heliostat_va::encoder::{EncodeError, Encoder, Settings};
use heliostat_va::probe::Probe;
use tracing::warn;

/// Whether a device's entry point for low power has refused what the other one did: all who encode there
/// know it.
#[derive(Debug, Clone, Default)]
pub struct LowPower(Arc<AtomicBool>);

impl LowPower {
    /// Whether it has.
    pub fn is_refused(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An encoder of the device, by the entry point for low power where that has not refused.
    pub fn encoder(
        &self,
        display: &Display,
        probe: &Probe,
        settings: Settings,
    ) -> Result<Encoder, EncodeError> {
        match self.is_refused() {
            true => Encoder::without_low_power(display, probe, settings),
            false => Encoder::new(display, probe, settings),
        }
    }

    /// Notes what an encoder has found out by a picture, which came out well or not.
    pub fn heed(&self, encoder: &mut Encoder, is_encoded: bool) {
        let Some(why) = encoder.take_refusal() else {
            return;
        };
        let way = encoder.path().way;
        warn!("films are encoded by {way}, for EncSliceLP is refused: {why}");
        // Where the other one fails as well it may have been the picture.
        if is_encoded {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
