//! The binding and its codecs through the real libva, into the software driver of `hil-tests/va-driver`.
//!
//! That driver is not built by this crate's tests; where nobody has built it they say so and skip.

mod alone;
mod changes;
mod decoding;
mod encoding;
mod faults;
mod hostile;
#[path = "../../../../hil-tests/rig/src/lack.rs"]
mod lack;
mod low_power;
mod scene;
#[path = "../../../../hil-tests/va-driver/tests/libva/stage.rs"]
#[allow(dead_code, reason = "it has more than these tests need")]
mod stage;
mod sys;
