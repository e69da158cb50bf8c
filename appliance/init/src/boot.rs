//! From the kernel's hand-over to a running plan: what is mounted ([`mount`]), what is found
//! ([`facts`]), what is to be done about it ([`plan`], pure).

pub mod facts;
pub mod mount;
pub mod plan;
