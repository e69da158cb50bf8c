//! The processes PID 1 keeps alive: what each is ([`spec`]), when it may start again
//! ([`restart`], pure), the processes themselves ([`Supervisor`]), what they say on their standard
//! output ([`log`]) and the JSON lines exchanged with those of ours ([`channel`]).

pub mod channel;
pub mod log;
pub mod restart;
mod service;
pub mod spec;
mod supervisor;

pub use spec::{ServiceId, ServiceSpec};
pub use supervisor::{Exited, Supervisor, wait_until_quiet};
