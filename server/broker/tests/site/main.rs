//! The broker as a process, with terminals over real links and sessions as other users.
//!
//! The sessions are `small_session/`. Run as root, people are system users that every machine has;
//! otherwise the only person is whoever runs the tests.

mod broker;
mod greeter;
#[expect(dead_code, reason = "other tests want more of a person")]
#[path = "../greeters/person.rs"]
mod person;
mod terminal;

mod admin;
mod attach;
mod faults;
mod figures;
mod guesses;
mod isolation;
mod logins;
mod metrics;
mod no_udp;
mod proofs;
mod restart;
mod secrets;
