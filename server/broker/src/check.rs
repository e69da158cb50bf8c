//! `heliostat-broker check`: whether what the configuration names is there, before anybody needs it.

mod session_config;

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, Uid, User};

use crate::config::Config;
use crate::directory::{Card, Keys, Standing, kind_of};
use crate::policy::{Policy, Somebody};
use crate::store::Store;
use crate::{groups, launcher, policy_file, run};

/// Numbers of users that are looked up; a name service that is asked for each may be far away.
const MAX_LOOKED_UP: usize = 1024;

/// Something that is not as it should be: what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The broker does not start with it, or something in it does not work.
    Fault(String),
    /// It may be meant so.
    Warning(String),
}

/// Checks a policy that is not in force yet, for the broker of this configuration where there is one.
pub fn policy(file: &Path, config: Option<&Config>) -> anyhow::Result<()> {
    anyhow::ensure!(file.exists(), "there is no {}", file.display());
    let policy = policy_file::load(file)?;
    println!("{}: fine", file.display());
    for warning in warnings(policy, config) {
        println!("{}: warning: {warning}", file.display());
    }
    Ok(())
}

/// What nobody can have meant, on this machine and for the people whom the broker of this
/// configuration knows.
fn warnings(policy: Policy, config: Option<&Config>) -> Vec<String> {
    let mut warnings = policy.strangers(&groups::unknown(policy.named()));
    warnings.extend(shut_out(policy, config));
    warnings
}

fn shut_out(policy: Policy, config: Option<&Config>) -> Vec<String> {
    let Some(config) = config else {
        let mut warnings = policy.warnings(&[], &[]);
        warnings.push(
            "there is no configuration, so nobody knows whom this shuts out (--config)".to_owned(),
        );
        return warnings;
    };
    let here = config.here();
    let policy = policy.at(here.clone());
    let known = match Store::look(&config.state_dir) {
        Ok(known) => known.unwrap_or_default(),
        Err(problem) => {
            let mut warnings = policy.warnings(&[], &[]);
            let store = config.state_dir.display();
            warnings.push(format!(
                "whom this shuts out is not known, since the store in {store} cannot be read: \
                 {problem:#}"
            ));
            return warnings;
        }
    };
    let vouched = !config.cards.authorities.is_empty();
    let people: Vec<String> = known.people.iter().cloned().collect();
    let mut groups = groups::of(&people);
    let opens = |card: &Card| {
        let is_bound = card.keys != Keys::default() || card.standing == Standing::FirstUse;
        // Whoever types a password with the card binds it.
        let may_be = is_bound || vouched || here.has_greeter;
        card.revoked_s.is_none() && card.standing != Standing::Asked && may_be
    };
    let people = people.into_iter().map(|person| {
        let cards = known.cards.iter();
        let cards = cards.filter(|(_, card)| card.person == person && opens(card));
        Somebody {
            groups: groups.remove(&person).flatten().unwrap_or_default(),
            cards: cards.map(|(id, _)| (id.clone(), kind_of(id))).collect(),
            person,
        }
    });
    let people: Vec<_> = people.collect();
    let terminals = known.terminals.iter();
    let terminals = terminals.map(|(id, terminal)| (id.clone(), terminal.name.clone()));
    policy.warnings(&people, &terminals.collect::<Vec<_>>())
}

/// Checks a configuration and all that it names, and says what it finds.
pub fn check(config: &Config, file: &Path) -> anyhow::Result<()> {
    let policy = policy_file::load(&config.policy)?;
    run::authorities(&config.cards.authorities)?;
    let mut faults = 0;
    for finding in findings(config, &policy)? {
        match finding {
            Finding::Warning(text) => println!("{}: warning: {text}", file.display()),
            Finding::Fault(text) => {
                faults += 1;
                println!("{}: {text}", file.display());
            }
        }
    }
    let policy_file = match config.policy.exists() {
        true => config.policy.display().to_string(),
        false => format!(
            "{} (there is none, so what is built in holds)",
            config.policy.display()
        ),
    };
    for warning in warnings(policy, Some(config)) {
        println!("{policy_file}: warning: {warning}");
    }
    match faults {
        0 => {
            println!("{}: fine", file.display());
            println!("{policy_file}: fine");
            Ok(())
        }
        1 => anyhow::bail!("there is something to be done first, see above"),
        _ => anyhow::bail!("there are {faults} things to be done first, see above"),
    }
}

/// What is missing on this machine.
pub fn findings(config: &Config, policy: &Policy) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    if let Some(group) = &config.admin_group
        && Group::from_name(group)?.is_none()
    {
        found.push(Finding::Fault(format!(
            "admin_group: there is no group {group:?}; make it (groupadd --system {group}), or \
             leave it out"
        )));
    }
    found.extend(session(config)?);
    let greeter = run::greeter_command(config)?;
    if greeter.is_empty() {
        found.push(Finding::Warning(
            "greeter.command is empty: nobody logs in at terminals, and cards that need a password \
             open nothing"
                .to_owned(),
        ));
    } else {
        found.extend(program("greeter.command", &greeter));
        found.extend(system_user("greeter.user", &config.greeter.user)?);
    }
    for user in policy.kiosk_users() {
        found.extend(system_user("kiosk_user", &user)?);
    }
    if let Some(range) = &config.session_uids.0 {
        found.extend(in_use(range)?);
    }
    found.extend(services(config));
    Ok(found)
}

/// The session's program, and what that makes of its configuration.
fn session(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let session = launcher::session_command(&config.session_command)?;
    let missing = program("session_command", &session);
    let file = config.session_config.as_deref();
    let unreadable = file.and_then(|file| {
        let problem = fs::File::open(file).err()?;
        let file = file.display();
        Some(Finding::Fault(format!(
            "session_config: {file} cannot be read ({problem}); make it, or leave it out"
        )))
    });
    let mut found: Vec<Finding> = missing.into_iter().chain(unreadable).collect();
    if found.is_empty() {
        found.extend(session_config::read(&session, file)?);
    }
    Ok(found)
}

/// Accounts whose numbers greeters and kiosks would have.
fn in_use(range: &RangeInclusive<u32>) -> anyhow::Result<Option<Finding>> {
    for uid in range.clone().take(MAX_LOOKED_UP) {
        if let Some(user) = User::from_uid(Uid::from_raw(uid))? {
            return Ok(Some(Finding::Warning(format!(
                "session_uids: {uid} is {}'s, and is passed over; name a range that nobody uses",
                user.name
            ))));
        }
    }
    Ok(None)
}

fn program(key: &str, command: &[String]) -> Option<Finding> {
    let program = command.first()?;
    let is_program = |path: &Path| {
        let meta = fs::metadata(path);
        meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let found = match program.contains('/') {
        true => is_program(Path::new(program)),
        false => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
        }
    };
    (!found).then(|| {
        Finding::Fault(format!(
            "{key}: there is no program {program}; install it, or name another"
        ))
    })
}

fn system_user(key: &str, user: &str) -> anyhow::Result<Option<Finding>> {
    let fault = match User::from_name(user)? {
        None => format!(
            "{key}: there is no user {user:?}; make it (useradd --system --shell \
             /usr/sbin/nologin {user}), or name another"
        ),
        Some(found) if found.uid.is_root() => {
            format!("{key}: {user} is root, who would be open to whoever sits there; name another")
        }
        Some(_) => return Ok(None),
    };
    Ok(Some(Finding::Fault(fault)))
}

/// PAM falls back to the service `other` where one is missing; that is seldom what is meant.
fn services(config: &Config) -> Vec<Finding> {
    let folders: Vec<PathBuf> = match &config.pam.services {
        Some(folder) => vec![folder.clone()],
        None => ["/etc/pam.d", "/usr/lib/pam.d"].map(PathBuf::from).to_vec(),
    };
    let missing = |service: &&String| !folders.iter().any(|at| at.join(service).exists());
    [&config.pam.service, &config.pam.greeter_service]
        .into_iter()
        .filter(missing)
        .map(|service| {
            Finding::Fault(format!(
                "pam: there is no {}; make install puts one there (otherwise PAM takes the \
                 service `other`)",
                folders[0].join(service).display()
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use heliostat_link::Identity;

    use super::*;
    use crate::directory::Record;

    /// What is found, each by its first word.
    fn found(config: &Config, policy: &str) -> Vec<String> {
        let policy = Policy::parse("policy.toml", policy).unwrap();
        let findings = findings(config, &policy).unwrap();
        findings
            .into_iter()
            .map(|finding| match finding {
                Finding::Fault(text) => text.split(':').next().unwrap().to_owned(),
                Finding::Warning(text) => format!("warning {text}"),
            })
            .collect()
    }

    #[test]
    fn what_is_missing_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            session_command: vec!["/bin/true".to_owned()],
            ..Config::default()
        };
        config.greeter.command = Some(vec!["sh".to_owned(), "--greet".to_owned()]);
        config.greeter.user = "nobody".to_owned();
        config.pam.services = Some(folder.path().to_owned());
        for service in [&config.pam.service, &config.pam.greeter_service] {
            fs::write(folder.path().join(service), "").unwrap();
        }
        assert_eq!(found(&config, ""), [""; 0]);

        config.admin_group = Some("no-such-group-here".to_owned());
        config.session_command = vec!["/no/such/program".to_owned()];
        config.session_config = Some("/no/such/file".into());
        config.greeter.user = "root".to_owned();
        fs::remove_file(folder.path().join(&config.pam.greeter_service)).unwrap();
        let kiosk = "[[rule]]\nwhen = { terminal = \"t\" }\nkiosk = [\"/bin/true\"]\n\
                     kiosk_user = \"no-such-user-here\"\n";
        let keys = [
            "admin_group",
            "session_command",
            "session_config",
            "greeter.user",
            "kiosk_user",
            "pam",
        ];
        assert_eq!(found(&config, kiosk), keys);

        let ours = Uid::effective().as_raw();
        config.session_uids.0 = Some(ours..=ours + 1);
        let without = found(&config, "");
        assert!(
            without
                .iter()
                .any(|one| one.starts_with("warning session_uids"))
        );

        config.greeter.command = Some(Vec::new());
        let without = found(&config, "");
        assert!(
            without
                .iter()
                .any(|one| one.starts_with("warning greeter.command"))
        );
        assert!(!without.contains(&"greeter.user".to_owned()));
    }

    #[test]
    fn a_policy_is_checked_for_the_people_whom_the_broker_knows() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            state_dir: folder.path().to_owned(),
            server_name: "srv1".to_owned(),
            ..Config::default()
        };
        let (store, _) = Store::open(folder.path(), &Identity::generate().unwrap()).unwrap();
        let card = Card {
            person: "alice".to_owned(),
            label: String::new(),
            added_s: 0,
            revoked_s: None,
            keys: Keys::default(),
            alias_of: None,
            standing: Standing::Good,
        };
        store.keep(Record::Person("alice".to_owned()));
        store.keep(Record::Card("piv:00".to_owned(), card));
        store.flushed().blocking_recv().unwrap().unwrap();
        let warned = |config: &Config, text: &str| {
            warnings(Policy::parse("p", text).unwrap(), Some(config)).join("; ")
        };
        // The broker runs on meanwhile.
        assert_eq!(warned(&config, "default.login = false"), "");
        let elsewhere = warned(&config, "default.server = \"srv2\"");
        assert!(elsewhere.contains("nobody who is known"), "{elsewhere}");
        config.greeter.command = Some(Vec::new());
        let unbound = warned(&config, "default.login = false");
        assert!(unbound.contains("nobody who is known"), "{unbound}");
        config.state_dir = folder.path().join("none");
        let unknown = warned(&config, "");
        assert!(unknown.contains("no cards are known"), "{unknown}");
    }
}
