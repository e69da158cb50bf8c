//! The time by which links live: that of the runtime, whose tests may stop it and let only what is
//! waited for pass, as quinn's own timers do.

use std::time::Instant;

/// Now.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
