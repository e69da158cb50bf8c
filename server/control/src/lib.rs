//! Types shared by broker, session, PAM workers and heliostatctl over Unix sockets.
//!
//! The sockets carry JSON lines: one value a line, at most [`lines::MAX_LINE`] bytes. Between
//! broker and session ([`session`]) either side may speak at any time; on the admin socket
//! ([`admin`]) each request has one reply. A third speaks with the PAM worker of a login
//! ([`worker`]). A message of an unknown kind is an error, an unknown field is not, so that either
//! side may be the newer one by a field.
#![forbid(unsafe_code)]

pub mod admin;
pub mod ask;
pub mod greetd;
pub mod hex;
pub mod lines;
pub mod receipts;
pub mod session;
pub mod span;
pub mod stats;
pub mod worker;
