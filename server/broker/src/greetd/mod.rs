//! Logins at greeters: greetd's IPC for one greeter session each.
//!
//! [`conversation`] decides; [`serve`] carries: it listens on a greeter's socket ([`socket`]), has
//! a PAM worker started for each login, and says what came of it. The messages are those of
//! [`heliostat_control::greetd`].

pub mod conversation;
mod delays;
mod pam;
mod serve;
pub mod socket;

pub use delays::{Delay, Delays};
pub use heliostat_control::greetd::{CardState, Choices, Enrol, GreeterContext};
pub use pam::PamLogins;
pub use serve::{Greeter, GreeterEvent, LoginWorker, LoginWorkers, Outcome, serve};
pub use socket::Folder;

#[cfg(test)]
mod tests;
