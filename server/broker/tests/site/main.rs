//! The broker as a process, with terminals over real links and sessions as other users.
//!
//! The sessions are `examples/small_session/`. Run as root, people are system users that every
//! machine has; otherwise the only person is whoever runs the tests.

mod broker;
mod terminal;

mod admin;
mod attach;
mod faults;
mod figures;
mod isolation;
mod metrics;
mod no_udp;
mod proofs;
mod restart;
mod secrets;
