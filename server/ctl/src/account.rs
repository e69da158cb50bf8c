//! Whether somebody whom a card is given to has an account. A slip in a name would be found at the
//! terminal otherwise, by the person.

use heliostat_control::admin::{Reply, Request};
use nix::unistd::User;

/// Says on standard error that a person who was just named has no account here. That is no failure:
/// the account may come later, or the socket may be another machine's.
pub fn warn_of_none(request: &Request, reply: &Reply) {
    let (Request::CardAdd { person, .. } | Request::PersonAdd { person }) = request else {
        return;
    };
    if matches!(reply, Reply::Done(_)) && matches!(User::from_name(person), Ok(None)) {
        eprintln!(
            "heliostatctl: note: {person} has no account on this machine (getent passwd {person}); \
             nothing opens for them until there is one"
        );
    }
}
