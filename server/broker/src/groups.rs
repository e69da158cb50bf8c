//! The groups that people are in, as the system's name service has them.

use std::collections::BTreeMap;
use std::ffi::CString;

use nix::unistd::{Group, User, getgrouplist};
use tracing::debug;

/// The names of the groups of each person; none for who has no account. May take long where the
/// name service asks another machine.
pub fn of(people: &[String]) -> BTreeMap<String, Vec<String>> {
    people
        .iter()
        .map(|person| (person.clone(), groups_of(person)))
        .collect()
}

fn groups_of(person: &str) -> Vec<String> {
    let Ok(name) = CString::new(person) else {
        return Vec::new();
    };
    let found = match User::from_name(person) {
        Ok(Some(user)) => getgrouplist(&name, user.gid),
        Ok(None) => return Vec::new(),
        Err(error) => Err(error),
    };
    match found {
        Ok(groups) => groups
            .into_iter()
            .filter_map(|group| Some(Group::from_gid(group).ok()??.name))
            .collect(),
        Err(error) => {
            debug!(person, %error, "the groups of a person are not known");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_in_root_and_nobody_unknown_is_in_anything() {
        let people = ["root".to_owned(), "no-such-person-here".to_owned()];
        let groups = of(&people);
        assert!(groups["root"].contains(&"root".to_owned()));
        assert!(groups["no-such-person-here"].is_empty());
    }
}
