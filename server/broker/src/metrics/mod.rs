//! Figures for Prometheus: text exposition format 0.0.4, over HTTP and over the admin socket.
//!
//! [`text`] is pure. What serves it holds few connections for a short time, because whoever reaches
//! the address may read: there are no passwords and there is no encryption.

mod exposition;
mod families;
mod http;
#[cfg(test)]
mod parser;

pub use exposition::{Exposition, Kind, Labels};
pub use families::text;
pub use http::{bind, serve};
