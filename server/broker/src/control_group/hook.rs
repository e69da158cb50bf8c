//! Where a hook runs: within its person's session, so that it counts against what the session may use
//! and ends with it. One that is run because the session ends has a group beside it, of the same
//! limits.

use std::path::Path;
use std::time::Duration;

use heliostat_control::worker::Limits;
use tracing::warn;

use super::own::Group;
use super::systemd::{self, Scope};
use crate::directory::Owner;

/// How long to wait until what was ended in a group is gone.
const GOING: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub enum Place {
    /// A group of our own.
    Group(Group),
    /// A scope of systemd's, which is the session's.
    Theirs(String),
    /// A scope for this hook.
    Scope(Scope, Limits),
    /// Machines without control groups. A hook ends there with the process that runs it.
    Nowhere,
}

impl Place {
    /// The place of a hook of this name, within the session of `owner` if it is to go on.
    pub fn make(name: &str, owner: Option<&Owner>, limits: &Limits) -> Self {
        if systemd::runs() {
            return match owner.and_then(|owner| systemd::scope_of(owner.pid)) {
                Some(scope) => Self::Theirs(scope),
                None => Self::Scope(Scope::named(name), *limits),
            };
        }
        let within = owner.and_then(|owner| owner.group.clone());
        let within = within.and_then(|group| Group::at(group).within(name).ok());
        let made = match within {
            Some(group) => Ok(group),
            // Its session has no group, or none any more.
            None => Group::named(name, limits).map(|(group, _)| group),
        };
        match made {
            Ok(group) => Self::Group(group),
            Err(problem) => {
                warn!(%problem, "a hook runs without a control group");
                Self::Nowhere
            }
        }
    }

    /// What a command begins with that is to run there.
    pub fn prefix(&self) -> Vec<String> {
        match self {
            Self::Scope(scope, limits) => scope.prefix(limits),
            Self::Group(_) | Self::Theirs(_) | Self::Nowhere => Vec::new(),
        }
    }

    /// What tells the process to enter it.
    pub fn arguments(&self) -> Vec<String> {
        let option = |name: &str, value: &Path| vec![name.to_owned(), value.display().to_string()];
        match self {
            Self::Group(group) => option("--group", group.path()),
            Self::Theirs(scope) => option("--scope", Path::new(scope)),
            Self::Scope(..) | Self::Nowhere => Vec::new(),
        }
    }

    /// Ends what is left in it, and takes it away. Blocks for a moment.
    pub fn end(&self) {
        match self {
            Self::Group(group) => {
                group.kill();
                group.wait_until_empty(GOING);
                group.remove();
            }
            Self::Scope(scope, _) => scope.kill(),
            // There is more in it than the hook.
            Self::Theirs(_) | Self::Nowhere => {}
        }
    }
}
