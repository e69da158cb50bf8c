//! Kernel modules: which one a device wants ([`AliasIndex`]), what that one needs ([`DepIndex`]),
//! all of an image's modules ([`Catalogue`]), what comes first ([`Tier`]), and the threads that load
//! them ([`Loader`]).

mod alias;
mod catalogue;
mod coldplug;
mod dep;
mod loader;
mod tier;

pub use alias::{AliasIndex, matches};
pub use catalogue::{Catalogue, is_modprobe, provide_modprobe, run_modprobe};
pub use dep::{DepIndex, normalise};
pub use loader::Loader;
pub use tier::Tier;
