//! From a name to an account that may have a session.

use std::ffi::CString;
use std::path::Path;

use heliostat_control::worker::{Begin, Credential, Failure, FromWorker};
use nix::unistd::{Gid, Uid, initgroups};

use super::channel::Channel;
use super::talk::Messenger;
use crate::accounts::{self, Account};
use crate::directory::Gone;
use crate::pam::{self, Call, Code, Handle, Item};

/// A person who may have a session, and the PAM handle that knows it.
pub struct Login {
    pam: Handle<Messenger>,
    account: Account,
    /// Whether credentials are to be deleted in the end.
    credentials: bool,
    session: bool,
}

/// Authenticates, and checks the account.
pub fn login(
    begin: &Begin,
    services: Option<&Path>,
    channel: Channel,
) -> Result<(Login, Channel), FromWorker> {
    let talk = Messenger::new(channel);
    let mut pam = pam::start(&begin.service, begin.person.as_deref(), services, talk)
        .map_err(|code| failed(Failure::Unavailable, code.to_string()))?;
    let account = admit(&mut pam, begin)?;
    let channel = pam.talk().leave();
    let mut login = Login {
        pam,
        account,
        credentials: false,
        session: false,
    };
    login.establish(begin.by)?;
    match channel {
        Some(channel) => Ok((login, channel)),
        None => Err(failed(Failure::Cancelled, "the login is over".to_owned())),
    }
}

fn admit(pam: &mut Handle<Messenger>, begin: &Begin) -> Result<Account, FromWorker> {
    for (item, value) in [(Item::RemoteHost, &begin.rhost), (Item::Tty, &begin.tty)] {
        let value = CString::new(value.as_str()).unwrap_or_default();
        if !value.is_empty() {
            pam.set(item, &value).map_err(|code| in_words(pam, code))?;
        }
    }
    match begin.by {
        Credential::Password => {
            pam.call(Call::Authenticate)
                .map_err(|code| in_words(pam, code))?;
        }
        // PAM would speak of an unknown account as of a wrong password.
        Credential::Card | Credential::None => drop(account(begin.person.as_deref())?),
    }
    match pam.call(Call::Account) {
        Ok(()) => {}
        Err(Code::NEW_PASSWORD_NEEDED) => {
            pam.call(Call::ChangePassword)
                .map_err(|code| change_failed(pam, code))?;
        }
        // A broker that is not root's starts its own user's desktop; where it may not even read
        // about that account, there is nothing to protect from itself.
        Err(_) if !Uid::effective().is_root() && begin.by != Credential::Password => {}
        Err(code) => return Err(barred(pam, code)),
    }
    account(pam.user().as_deref())
}

fn account(person: Option<&str>) -> Result<Account, FromWorker> {
    let person = person.unwrap_or_default();
    accounts::find(person, 0).map_err(|gone| match gone {
        Gone::NoAccount(text) => failed(Failure::Locked, text),
        Gone::NotStarted(text) | Gone::Died(text) => failed(Failure::Unavailable, text),
        Gone::Exited => failed(Failure::Unavailable, String::new()),
    })
}

/// Whose account is checked has been authenticated: a denial is no wrong password.
fn barred(pam: &mut Handle<Messenger>, code: Code) -> FromWorker {
    match in_words(pam, code) {
        FromWorker::Failed {
            why: Failure::Denied,
            text,
        } => failed(Failure::Locked, text),
        other => other,
    }
}

fn change_failed(pam: &mut Handle<Messenger>, code: Code) -> FromWorker {
    let gave_up = pam.talk().gave_up();
    match in_words(pam, code) {
        FromWorker::Failed { text, .. } if !gave_up => failed(Failure::PasswordChange, text),
        _ => {
            let text = "Your password has expired. Log in with it, and change it.";
            failed(Failure::PasswordChange, text.to_owned())
        }
    }
}

/// A module's own words where it had some, and else PAM's for the code.
fn in_words(pam: &mut Handle<Messenger>, code: Code) -> FromWorker {
    let text = pam.talk().complaint().unwrap_or_else(|| pam.words(code));
    match pam.talk().gave_up() {
        true => failed(Failure::Cancelled, text),
        false => failed(code.failure(), text),
    }
}

pub fn failed(why: Failure, text: String) -> FromWorker {
    FromWorker::Failed { why, text }
}

impl Login {
    /// The account's name.
    pub fn user(&self) -> String {
        self.account.name.clone()
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Takes the person's groups, to which modules may add, and has modules give credentials.
    fn establish(&mut self, by: Credential) -> Result<(), FromWorker> {
        if !Uid::effective().is_root() {
            return Ok(());
        }
        let name = CString::new(self.account.name.as_str()).unwrap_or_default();
        initgroups(&name, Gid::from_raw(self.account.gid)).map_err(|error| {
            let text = format!("cannot take the groups of {}: {error}", self.account.name);
            failed(Failure::Unavailable, text)
        })?;
        match self.pam.call(Call::EstablishCredentials) {
            Ok(()) => self.credentials = true,
            // Credentials come of what was typed, so modules may have none to give to a card.
            Err(_) if by != Credential::Password => {}
            Err(code) => return Err(in_words(&mut self.pam, code)),
        }
        Ok(())
    }

    /// Opens the PAM session; modules see these variables and add theirs.
    pub fn open_session(&mut self, variables: &[(String, String)]) -> Result<(), FromWorker> {
        for (name, value) in variables {
            let both = CString::new(format!("{name}={value}")).unwrap_or_default();
            let put = self.pam.put_variable(&both);
            put.map_err(|code| in_words(&mut self.pam, code))?;
        }
        if Uid::effective().is_root() {
            let opened = self.pam.call(Call::OpenSession);
            opened.map_err(|code| in_words(&mut self.pam, code))?;
            self.session = true;
        }
        Ok(())
    }

    /// The environment that modules made.
    pub fn environment(&mut self) -> Vec<(String, String)> {
        self.pam.environment()
    }

    /// Closes what is open, by the handle that opened it.
    pub fn end(mut self) {
        if self.session {
            let _ = self.pam.call(Call::CloseSession);
        }
        if self.credentials {
            let _ = self.pam.call(Call::DeleteCredentials);
        }
    }
}
