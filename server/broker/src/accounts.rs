//! Unix accounts of people.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Uid, User};

use crate::directory::Gone;

/// Whom a session runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// The home folder.
    pub home: PathBuf,
    /// The login shell.
    pub shell: PathBuf,
}

/// Looks a person's account up, as the system's name service has it. May take long where that
/// asks another machine.
pub fn find(person: &str, min_uid: u32) -> Result<Account, Gone> {
    let user = match user(person) {
        Ok(Some(user)) => user,
        Ok(None) => {
            return Err(Gone::NoAccount(format!(
                "{person} has no account on the server. Ask your administrator."
            )));
        }
        Err(error) => {
            return Err(Gone::NotStarted(format!(
                "the server cannot look accounts up ({error})"
            )));
        }
    };
    let ours = Uid::effective();
    if !ours.is_root() && user.uid != ours {
        return Err(Gone::NotStarted(
            "the broker does not run as root, so it can start its own user's desktop only"
                .to_owned(),
        ));
    }
    let account = Account {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        home: user.dir,
        shell: user.shell,
    };
    refuse_system(&account, min_uid).map_err(Gone::NoAccount)?;
    Ok(account)
}

/// Refuses accounts below `min_uid`, in words for the person.
pub fn refuse_system(account: &Account, min_uid: u32) -> Result<(), String> {
    if account.uid < min_uid {
        let name = &account.name;
        return Err(format!(
            "{name} is a system account and may not have a desktop."
        ));
    }
    Ok(())
}

/// The number of a person's account, where there is one.
pub fn uid_of(person: &str) -> Option<u32> {
    user(person).ok().flatten().map(|user| user.uid.as_raw())
}

fn user(person: &str) -> nix::Result<Option<User>> {
    // A name that cannot be a C string cannot be an account either.
    match CString::new(person) {
        Ok(_) => User::from_name(person),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_without_an_account_and_system_accounts_get_no_session() {
        let nobody = find("no-such-person-here", 0).unwrap_err();
        assert!(matches!(nobody, Gone::NoAccount(text) if text.contains("no account")));
        let root = find("root", 1000).unwrap_err();
        assert!(matches!(root, Gone::NoAccount(text) if text.contains("system account")));
    }
}
