//! The network of a terminal, in a process of its own (`heliostat-terminal network`): link state,
//! DHCP, the search for brokers. What it finds goes to PID 1 as JSON lines ([`NetReport`]); PID 1
//! itself never parses a byte off the wire.

mod apply;
mod dhcp;
pub mod interface;
pub mod lease;
pub mod machine;
mod monitor;
mod process;
pub mod report;
mod srv;

pub use process::{NetworkArgs, run};
pub use report::{Ask, NetReport};
