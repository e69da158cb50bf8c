//! What the broker adds to a session's session.toml.

use toml::{Table, Value};

/// A session that shows one program, starts it again when it ends, and lets nothing else be
/// reached: not by keys, and not by a file of the user that it runs as. Where the program is `vital`
/// and cannot be kept up, the session gives up, so that somebody learns of it.
pub fn of_one_program(command: &[String], vital: bool) -> String {
    let nothing = || Value::Array(Vec::new());
    let actions = [
        "close",
        "next-window",
        "previous-window",
        "maximise",
        "snap-left",
        "snap-right",
        "minimise",
        "fullscreen",
        "terminal",
        "launcher",
        "lock",
        "next-layout",
    ];
    let shortcuts = actions.map(|action| (action.to_owned(), nothing()));
    let locked = [
        "autostart",
        "xdg_autostart",
        "parts",
        "environment",
        "terminal",
        "launcher",
        "locker",
        "xwayland",
        "shortcuts",
        "commands",
        "background",
        "vital",
    ];
    let part = ("program".to_owned(), Value::String(in_shell(command)));
    let mut file = Table::from_iter([
        (
            "locked".to_owned(),
            Value::Array(locked.map(|key| Value::String(key.to_owned())).into()),
        ),
        ("autostart".to_owned(), nothing()),
        ("background".to_owned(), Value::String("#101a2b".to_owned())),
        ("parts".to_owned(), Value::Table(Table::from_iter([part]))),
        (
            "shortcuts".to_owned(),
            Value::Table(Table::from_iter(shortcuts)),
        ),
    ]);
    if vital {
        file.insert("vital".to_owned(), Value::String("program".to_owned()));
    }
    file.to_string()
}

/// A desktop that begins with the policy's command in place of the site's.
pub fn of_desktop(command: &[String]) -> Option<String> {
    if command.is_empty() {
        return None;
    }
    let start = Value::Array(vec![Value::String(in_shell(command))]);
    Some(Table::from_iter([("autostart".to_owned(), start)]).to_string())
}

/// A program and its arguments as a shell reads them.
fn in_shell(command: &[String]) -> String {
    let quoted = command
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', "'\\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &[&str]) -> Vec<String> {
        command.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn words_reach_the_program_as_they_are() {
        let shell = in_shell(&words(&["/bin/printf", "%s|", "it's", "$HOME", "a b"]));
        let output = std::process::Command::new("sh")
            .args(["-c", &shell])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it's|$HOME|a b|");
    }

    #[test]
    fn one_program_is_a_part_and_no_key_starts_another() {
        let file: Table = of_one_program(&words(&["/usr/bin/map"]), true)
            .parse()
            .unwrap();
        assert_eq!(file["vital"].as_str(), Some("program"));
        let kiosk: Table = of_one_program(&words(&["/usr/bin/map"]), false)
            .parse()
            .unwrap();
        assert!(!kiosk.contains_key("vital"));
        assert_eq!(file["parts"]["program"].as_str(), Some("'/usr/bin/map'"));
        assert_eq!(file["shortcuts"]["terminal"], Value::Array(vec![]));
        assert_eq!(file["autostart"], Value::Array(vec![]));
        assert_eq!(of_desktop(&[]), None);
        let file: Table = of_desktop(&words(&["foot"])).unwrap().parse().unwrap();
        assert_eq!(file["autostart"][0].as_str(), Some("'foot'"));
    }
}
