//! Tests of the whole chain in a world of their own.

use hil_rig::{Lack, namespaces, programs};
use nix::unistd::Uid;

/// What a broker, sessions and terminals of one's own are made of.
const PROGRAMS: [&str; 5] = [
    "heliostat-broker",
    "heliostat-session",
    "heliostat-terminal",
    "heliostatctl",
    "hil-probe",
];

/// Returns true inside of such a world. Where that cannot be had says why on the standard output, and
/// returns false: the test is skipped. It needs `more` programs of the workspace than all such tests do, and
/// may find something else `wanting` that setup installs, which is asked outside only.
///
/// # Errors
/// Where the way in fails.
///
/// # Panics
/// Where such programs are promised to be here, as by `make unit`, and are not.
pub fn enter(more: &[&str], wanting: impl FnOnce() -> Option<String>) -> anyhow::Result<bool> {
    if namespaces::is_outside() {
        let lack = match Uid::effective().is_root() {
            true => programs::missing(PROGRAMS.iter().chain(more))
                .or_else(wanting)
                .map(Lack::Part),
            false => Some(Lack::Machine("a world of one's own needs root".to_owned())),
        };
        if let Some(lack) = lack {
            lack.skip();
            return Ok(false);
        }
    }
    namespaces::enter()?;
    Ok(true)
}
