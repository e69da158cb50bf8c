//! What the builder itself writes into an image: directories, links, and the few files below `/etc`.

use std::collections::BTreeSet;

use crate::profile::Profile;
use crate::tree::{Error, Kind, Tree};

/// The owner's name of what the builder wrote.
pub const BUILDER: &str = "heliostat-image";

/// Where PID 1 finds the pins of the site key, one a line.
pub const SITE_KEY_PATH: &str = "etc/heliostat/site-key";

/// Where the terminal's program is; `/init` leads there.
pub const TERMINAL_PATH: &str = "usr/bin/heliostat-terminal";

/// Groups that programs expect whatever the rules say, with their usual numbers.
const GROUPS: [(&str, u32); 2] = [("root", 0), ("tty", 5)];
/// Groups that only udev rules name are numbered from here.
const FIRST_RULE_GROUP: u32 = 100;

/// Directories, the links of a merged `/usr`, `/init` and the console.
pub fn skeleton(tree: &mut Tree) -> Result<(), Error> {
    for dir in [
        "dev",
        "etc",
        "proc",
        "run",
        "sys",
        "usr/bin",
        "usr/lib",
        "usr/lib64",
        "usr/sbin",
        "var/lib",
    ] {
        tree.dir(dir, BUILDER)?;
    }
    tree.insert("root", Kind::Dir { mode: 0o700 }, BUILDER)?;
    tree.insert("tmp", Kind::Dir { mode: 0o1777 }, BUILDER)?;
    for name in ["bin", "lib", "lib64", "sbin"] {
        tree.top_link(name, &format!("usr/{name}"), BUILDER);
    }
    tree.symlink("var/run", "../run", BUILDER)?;
    tree.symlink("init", TERMINAL_PATH, BUILDER)?;
    tree.device("dev/console", 0o600, 5, 1, BUILDER)
}

/// The files below `/etc`; call it last, since the groups come from the rules that are in the tree.
pub fn settings(tree: &mut Tree, profile: &Profile, site_keys: &[String]) -> Result<(), Error> {
    let mut text = |path: &str, text: String| tree.file(path, text.into_bytes(), 0o644, BUILDER);
    text("etc/os-release", os_release(&profile.name))?;
    text("etc/passwd", "root:x:0:0:root:/root:/bin/false\n".into())?;
    text(
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n".into(),
    )?;
    text("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n".into())?;
    if !site_keys.is_empty() {
        self::site_keys(tree, site_keys)?;
    }
    let group = group_file(&groups_in_rules(tree));
    tree.file("etc/group", group.into_bytes(), 0o644, BUILDER)
}

/// The pins of the site key, one a line.
pub fn site_keys(tree: &mut Tree, pins: &[String]) -> Result<(), Error> {
    let text: String = pins.iter().map(|pin| format!("{pin}\n")).collect();
    tree.file(SITE_KEY_PATH, text.into_bytes(), 0o644, BUILDER)
}

/// The image's name for people and for the EFI stub's boot menu entry.
pub fn os_release(profile: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "ID=heliostat\nNAME=Heliostat\nVERSION_ID={version}\nVARIANT_ID={profile}\n\
         PRETTY_NAME=\"Heliostat terminal {version} ({profile})\"\n"
    )
}

/// Every group that a packed udev rule names; udev complains about one that does not exist.
fn groups_in_rules(tree: &Tree) -> BTreeSet<String> {
    let mut groups = BTreeSet::new();
    for (path, node) in tree.iter().filter(|(path, _)| path.ends_with(".rules")) {
        let Kind::File { data, .. } = &node.kind else {
            continue;
        };
        let text = String::from_utf8_lossy(data);
        let named = text
            .split("GROUP=\"")
            .chain(text.split("GROUP:=\""))
            .skip(1);
        let plain = |name: &&str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        };
        groups.extend(
            named
                .filter_map(|rest| rest.split('"').next())
                .filter(plain)
                .map(str::to_owned),
        );
        tracing::trace!(path, "rules read for groups");
    }
    groups
}

fn group_file(named: &BTreeSet<String>) -> String {
    let fixed = GROUPS.iter().map(|(name, id)| ((*name).to_owned(), *id));
    let rules = named
        .iter()
        .filter(|name| GROUPS.iter().all(|(fixed, _)| fixed != name));
    let numbered = rules
        .zip(FIRST_RULE_GROUP..)
        .map(|(name, id)| (name.clone(), id));
    fixed
        .chain(numbered)
        .map(|(name, id)| format!("{name}:x:{id}:\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_rules_name_exist_once() {
        let mut tree = Tree::default();
        let rules = "KERNEL==\"x\", GROUP=\"video\", MODE=\"0660\"\nGROUP=\"tty\"\nGROUP=\"$env{G}\"\nGROUP=\"input\"\n";
        tree.file("usr/lib/udev/rules.d/1.rules", rules.into(), 0o644, "udev")
            .unwrap();
        assert_eq!(
            group_file(&groups_in_rules(&tree)),
            "root:x:0:\ntty:x:5:\ninput:x:100:\nvideo:x:101:\n"
        );
    }

    #[test]
    fn init_leads_to_the_terminal_through_the_merged_directories() {
        let mut tree = Tree::default();
        skeleton(&mut tree).unwrap();
        assert_eq!(
            tree.get("init").unwrap().kind,
            Kind::Symlink {
                target: TERMINAL_PATH.into()
            }
        );
        assert_eq!(
            tree.get("lib").unwrap().kind,
            Kind::Symlink {
                target: "usr/lib".into()
            }
        );
        assert_eq!(tree.get("tmp").unwrap().kind, Kind::Dir { mode: 0o1777 });
    }
}
