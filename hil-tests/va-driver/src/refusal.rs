//! What an entry point answers when it does not do what it was asked to.

use crate::va::Status;

/// A status for the caller and a sentence for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What libva hands on.
    pub status: Status,
    /// Why, without a full stop.
    pub why: String,
}

/// What entry points come to.
pub type Done<T = ()> = Result<T, Refusal>;

/// Refuses.
pub fn refuse<T>(status: Status, why: impl Into<String>) -> Done<T> {
    let why = why.into();
    Err(Refusal { status, why })
}
