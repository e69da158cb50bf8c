//! The terminal's client: displays, input, cards, scene composition, links.
//!
//! In the order of reading: [`desk`] is what happens at a desk, as a pure machine; [`scene`] and
//! [`compose`] hold and draw what the session sends; [`screens`] is what is shown when it sends
//! nothing; [`display`], [`libinput`], [`card`] and [`net`] are the outside; [`app`] owns all state
//! and dispatches; [`run`] has the main loops.
#![deny(unsafe_code)]

mod app;
mod args;
mod attached;
mod card;
mod cells;
mod check;
mod clock;
mod compose;
mod control_lines;
mod cursor;
mod decode;
mod desk;
mod display;
mod events;
mod films;
mod geometry;
mod init_link;
mod keep;
mod libinput;
mod net;
mod planes;
mod receipt;
mod retry;
mod run;
mod scene;
mod screens;
mod seat;
mod text;
mod video;

#[cfg(test)]
#[allow(dead_code, reason = "it has more than these tests need")]
#[path = "../../../protocol/va/tests/libva/alone.rs"]
mod alone;
#[cfg(test)]
#[allow(unsafe_code, reason = "it stands in the memory allocator's place")]
#[path = "../../../protocol/va/tests/libva/sys/counting.rs"]
mod counting;
#[cfg(test)]
#[path = "../../../hil-tests/rig/src/lack.rs"]
mod lack;
#[cfg(test)]
#[path = "../../../hil-tests/va-driver/tests/libva/stage.rs"]
#[allow(dead_code, reason = "it has more than these tests need")]
mod stage;

pub use args::{Backend, CardSource, ClientArgs, DecoderChoice};
pub use check::check_display;
pub use run::run;
