//! What a session finds in its environment.

use std::collections::BTreeMap;
use std::path::Path;

use heliostat_control::worker::{SessionKind, StartSession};

use crate::accounts::Account;

/// What PAM modules see before they open a session, as a display manager tells them.
pub fn for_modules(kind: SessionKind) -> Vec<(String, String)> {
    let class = match kind {
        SessionKind::Desktop | SessionKind::Kiosk => "user",
        SessionKind::Greeter => "greeter",
    };
    own(&[
        ("XDG_SESSION_TYPE", "wayland"),
        ("XDG_SESSION_CLASS", class),
        ("XDG_SESSION_DESKTOP", "heliostat"),
    ])
}

/// What the session gets: the ordinary, PAM's in its place, and what is as it is.
pub fn for_session(
    account: &Account,
    pam: Vec<(String, String)>,
    start: &StartSession,
    runtime_dir: &Path,
    bus: Option<String>,
) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    all.extend(own(&[
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/games"),
        ("LANG", "C.UTF-8"),
    ]));
    all.extend(pam);
    all.extend(for_modules(start.session_kind));
    all.remove("DBUS_SESSION_BUS_ADDRESS");
    all.extend(bus.map(|bus| ("DBUS_SESSION_BUS_ADDRESS".to_owned(), bus)));
    all.extend(own(&[
        ("HOME", &account.home.to_string_lossy()),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
        ("SHELL", &account.shell.to_string_lossy()),
        ("XDG_RUNTIME_DIR", &runtime_dir.to_string_lossy()),
        ("XDG_CURRENT_DESKTOP", "heliostat"),
    ]));
    all.extend(start.environment.iter().cloned());
    all.into_iter().collect()
}

fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    use heliostat_control::worker::Limits;
    use heliostat_wire::id::SessionId;

    use super::*;

    #[test]
    fn pam_may_set_path_and_language_but_not_who_somebody_is() {
        let account = Account {
            name: "anna".to_owned(),
            uid: 1000,
            gid: 1000,
            home: "/home/anna".into(),
            shell: "/bin/sh".into(),
        };
        let start = StartSession {
            session: SessionId([1; 16]),
            session_kind: SessionKind::Desktop,
            bound_to: String::new(),
            person: "anna".to_owned(),
            min_uid: 1000,
            uid: None,
            folder: "/run/s".into(),
            runtime_dirs: "/run/user".into(),
            command: vec!["x".to_owned()],
            environment: own(&[("HELIOSTAT_LOG", "info")]),
            limits: Limits::default(),
        };
        let pam = own(&[
            ("PATH", "/opt/bin"),
            ("LANG", "de_DE.UTF-8"),
            ("USER", "root"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/elsewhere"),
            ("KRB5CCNAME", "x"),
        ]);
        let all = for_session(&account, pam, &start, Path::new("/run/user/1000"), None);
        let all: BTreeMap<String, String> = all.into_iter().collect();
        assert_eq!(all["PATH"], "/opt/bin");
        assert_eq!(all["LANG"], "de_DE.UTF-8");
        assert_eq!(all["USER"], "anna");
        assert_eq!(all["KRB5CCNAME"], "x");
        assert_eq!(all["HELIOSTAT_LOG"], "info");
        assert!(!all.contains_key("DBUS_SESSION_BUS_ADDRESS"));
    }
}
