//! What reads clients' buffers beside the processor, as it ends with its device and comes back.
//!
//! ```text
//!   reads ── its device has ended ──► away ── it was tried out ──► reads again
//!                                      └── given up ──► nobody reads
//! ```
//!
//! Clients are told each time what they may make from now on.

use std::time::Instant;

use smithay::backend::allocator::Format;
use smithay::backend::allocator::dmabuf::Dmabuf;
use tracing::{debug, info, warn};

use super::buffers::Shared;
use super::devices::{Away, Return, Wake};
use super::drawing::Ended;
use super::readers::Reader;

impl Shared {
    pub(super) fn count_gles_end(&self) {
        self.gles_ends.set(self.gles_ends.get() + 1);
    }

    /// Whether the device reads such a buffer; why not. Where it has ended, or has no memory for it now, that
    /// is no fault of the buffer's: it is read later.
    pub(super) fn is_taken_by_device(&self, dmabuf: &Dmabuf) -> Result<(), String> {
        let mut reader = self.reader.borrow_mut();
        match reader.takes(dmabuf) {
            Err(ended) if ended.is_of_device() => {
                self.end_reader(&mut reader, &ended);
                Ok(())
            }
            Err(Ended::Refused(why)) => {
                debug!("a program's GPU buffer cannot be had by the device now: {why:#}");
                Ok(())
            }
            taken => taken.map_err(|ended| ended.to_string()),
        }
    }

    /// The device has ended, and reads no more until it comes back.
    pub(super) fn end_reader(&self, reader: &mut Reader, ended: &Ended) {
        warn!("programs' GPU buffers are not read by the device any more: {ended}");
        self.count_gles_end();
        let gone = std::mem::take(reader);
        if let Some((lease, opener)) = gone.origin() {
            lease.has_ended(ended);
            let is_away = lease.may_return();
            *self.away.borrow_mut() = is_away.then(|| (Away::from(lease), opener));
        }
        let linear = self.offers.borrow().linear();
        self.new_offers.replace(Some(linear));
        gone.end(ended);
    }

    /// Has the device read again when it may. Returns whether it does from now on.
    pub(super) fn mind_reader(&self, now: Instant, wake: impl FnOnce() -> Wake) -> bool {
        let mut waiting = self.away.borrow_mut();
        let Some((away, opener)) = &mut *waiting else {
            return false;
        };
        let open = |lease, layouts: &[Format]| Ok((opener.open(lease)?, layouts.to_vec()));
        let back = match away.tend(now, |_| opener.try_out(wake()), open) {
            Return::Later => return false,
            Return::Never => None,
            Return::Now(back) => Some(back),
        };
        *waiting = None;
        let Some((reader, layouts)) = back else {
            return false;
        };
        info!("programs' GPU buffers are read by the device again");
        *self.reader.borrow_mut() = reader;
        let offers = self.offers.borrow().read_by(&layouts);
        self.new_offers.replace(Some(offers));
        true
    }
}
