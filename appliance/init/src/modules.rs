//! Kernel modules: which one a device wants ([`AliasIndex`]), what that one needs ([`DepIndex`]),
//! what comes first ([`Tier`]), and the threads that load them ([`Loader`]).

mod alias;
mod coldplug;
mod dep;
mod loader;
mod tier;

pub use alias::{AliasIndex, matches};
pub use dep::{DepIndex, normalise};
pub use loader::Loader;
pub use tier::Tier;
