//! The groups that people are in, as the system's name service has them.

use std::collections::BTreeMap;
use std::ffi::CString;

use nix::unistd::{Group, User, getgrouplist};
use tracing::debug;

use crate::policy::Named;

/// The names of the groups of each person; none for who has no account, nothing for those of whom the
/// name service cannot say it now. May take long where it asks another machine.
pub fn of(people: &[String]) -> BTreeMap<String, Option<Vec<String>>> {
    let each = people.iter();
    each.map(|person| (person.clone(), of_one(person)))
        .collect()
}

/// The groups of one person; nothing where the name service cannot say.
pub fn of_one(person: &str) -> Option<Vec<String>> {
    // A name that cannot be a C string cannot be an account either.
    let Ok(name) = CString::new(person) else {
        return Some(Vec::new());
    };
    let found = match User::from_name(person) {
        Ok(None) => return Some(Vec::new()),
        Ok(Some(user)) => getgrouplist(&name, user.gid),
        Err(error) => Err(error),
    };
    let names = found.and_then(|groups| groups.into_iter().map(Group::from_gid).collect());
    match names {
        Ok::<Vec<Option<Group>>, _>(groups) => Some(
            groups
                .into_iter()
                .flatten()
                .map(|group| group.name)
                .collect(),
        ),
        Err(error) => {
            debug!(person, %error, "the groups of a person are not known");
            None
        }
    }
}

/// Which of these there are not. Whom the name service cannot look up now is taken for known. May
/// take long.
pub fn unknown(mut named: Named) -> Named {
    let no_user = |name: &String| matches!(User::from_name(name), Ok(None));
    let no_group = |name: &String| matches!(Group::from_name(name), Ok(None));
    named.people.retain(no_user);
    named.groups.retain(no_group);
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_whom_the_machine_knows_are_not_unknown() {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let left = unknown(Named {
            people: named(&["root", "no-such-person-here"]),
            groups: named(&["root", "no-such-group-here"]),
        });
        let expected = Named {
            people: named(&["no-such-person-here"]),
            groups: named(&["no-such-group-here"]),
        };
        assert_eq!(left, expected);
    }

    #[test]
    fn root_is_in_root_and_nobody_unknown_is_in_anything() {
        let people = ["root".to_owned(), "no-such-person-here".to_owned()];
        let groups = of(&people);
        assert!(
            groups["root"]
                .as_ref()
                .unwrap()
                .contains(&"root".to_owned())
        );
        assert_eq!(groups["no-such-person-here"], Some(Vec::new()));
    }
}
