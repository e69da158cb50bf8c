//! The driver as clients see it: through libva, each test in a process of its own.

mod alone;
mod client;
mod faults;
#[path = "../../../rig/src/lack.rs"]
mod lack;
mod pictures;
mod refusals;
#[allow(dead_code, reason = "it has more than these tests need")]
mod stage;
mod surfaces;
mod sys;
mod third_parties;
mod told;
