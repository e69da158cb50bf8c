//! XDG autostart: what installed programs ask to be started with a desktop.
//!
//! Files are `*.desktop` in `autostart` below the person's and the system's configuration folders;
//! one of the same name nearer to the person counts alone.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of an entry, and entries of a folder: more is no autostart.
const MAX_ENTRY: u64 = 64 << 10;
const MAX_ENTRIES: usize = 256;
/// What this desktop calls itself.
pub const DESKTOP: &str = "heliostat";

/// Commands of all entries that are meant for this desktop.
pub fn commands() -> Vec<String> {
    let mut entries = BTreeMap::new();
    for folder in folders() {
        let Ok(files) = std::fs::read_dir(folder) else {
            continue;
        };
        for path in files.flatten().map(|file| file.path()).take(MAX_ENTRIES) {
            let is_entry = path
                .extension()
                .is_some_and(|extension| extension == "desktop");
            if let Some(name) = path.file_name().filter(|_| is_entry) {
                entries.entry(name.to_owned()).or_insert(path);
            }
        }
    }
    let texts = entries.values().filter_map(|path| read(path));
    texts
        .filter_map(|text| command(&text, is_installed))
        .collect()
}

/// The folders, the one that counts most first.
fn folders() -> Vec<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let own = var("XDG_CONFIG_HOME").map(PathBuf::from);
    let own = own.or_else(|| Some(PathBuf::from(var("HOME")?).join(".config")));
    let system = var("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into());
    let system: Vec<_> = std::env::split_paths(&system).collect();
    let all = own.into_iter().chain(system);
    all.map(|folder| folder.join("autostart")).collect()
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_ENTRY).read_to_string(&mut text).ok()?;
    Some(text)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Path::new(program).is_absolute() && Path::new(program).is_file()
        || std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The command of an entry, if it is meant for this desktop and its program is there.
fn command(text: &str, is_installed: impl Fn(&str) -> bool) -> Option<String> {
    let entry: BTreeMap<&str, &str> = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[Desktop Entry]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let is = |key, wanted: bool| {
        entry
            .get(key)
            .is_some_and(|value| *value == wanted.to_string())
    };
    let names = |key| {
        entry
            .get(key)
            .map(|list: &&str| list.split(';').any(|name| name == DESKTOP))
    };
    let unwanted = is("Hidden", true) || is("X-GNOME-Autostart-enabled", false);
    if unwanted || names("OnlyShowIn") == Some(false) || names("NotShowIn") == Some(true) {
        return None;
    }
    if !entry
        .get("TryExec")
        .is_none_or(|program| is_installed(program))
    {
        return None;
    }
    let command = without_codes(entry.get("Exec")?);
    (!command.trim().is_empty()).then_some(command)
}

/// A command without the codes that stand for files and the like.
fn without_codes(command: &str) -> String {
    let mut plain = String::new();
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%') {
            (_, true) => plain.extend(chars.next().filter(|code| *code == '%')),
            (c, false) => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Option<String> {
        let text =
            format!("# a comment\n[Desktop Entry]\nType=Application\n{lines}\n[Other]\nExec=wrong");
        command(&text, |program| program == "there")
    }

    #[test]
    fn only_what_is_meant_for_this_desktop_is_started() {
        assert_eq!(
            of("Exec=nm-applet --x %U").as_deref(),
            Some("nm-applet --x ")
        );
        assert_eq!(of("Exec=a\nHidden=true"), None);
        assert_eq!(of("Exec=a\nOnlyShowIn=GNOME;KDE;"), None);
        assert_eq!(
            of("Exec=a\nOnlyShowIn=GNOME;heliostat;").as_deref(),
            Some("a")
        );
        assert_eq!(of("Exec=a\nNotShowIn=heliostat;"), None);
        assert_eq!(of("Exec=a\nTryExec=gone"), None);
        assert_eq!(of("Exec=a\nTryExec=there").as_deref(), Some("a"));
        assert_eq!(of("Name=nothing"), None);
        assert_eq!(command("no entry at all", |_| true), None);
    }
}
