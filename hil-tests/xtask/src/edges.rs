//! Who may depend on whom (design, part 3).

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

/// A crate of the workspace and what it names as dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Package name.
    pub name: String,
    /// Folder, relative to the root.
    pub dir: String,
    /// The Rust version it promises to build with.
    pub rust_version: String,
    /// Names of its dependencies.
    pub deps: Vec<Dep>,
}

/// One dependency of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dep {
    /// Package name.
    pub name: String,
    /// Only for tests and benches.
    pub dev: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    rust_version: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Asks cargo for the crates of the workspace.
pub fn read(root: &Path) -> anyhow::Result<Vec<Crate>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let crates = metadata.packages.into_iter().map(|package| {
        let dir = Path::new(&package.manifest_path).parent().unwrap_or(root);
        Crate {
            name: package.name,
            dir: dir.strip_prefix(root).unwrap_or(dir).display().to_string(),
            rust_version: package.rust_version.unwrap_or_default(),
            deps: package
                .dependencies
                .into_iter()
                .map(|d| Dep {
                    name: d.name,
                    dev: d.kind.as_deref() == Some("dev"),
                })
                .collect(),
        }
    });
    Ok(crates.collect())
}

/// Crates that do I/O, keep time or run tasks; the pure crates name none of them.
const IMPURE: &[&str] = &[
    "tokio",
    "quinn",
    "nix",
    "rustix",
    "libc",
    "calloop",
    "mio",
    "async-std",
    "smol",
    "getrandom",
];
/// Crates without I/O, clock, threads or async.
const PURE: &[&str] = &[
    "protocol/wire",
    "protocol/tiles",
    "protocol/compose",
    "protocol/piv",
    "appliance/state",
    "image/manifest",
];
/// What buildroot's LTS builds the terminal with.
const TERMINAL_RUST: &str = "1.88";

/// The faults among `crates`, in words.
pub fn check(crates: &[Crate]) -> Vec<String> {
    let mut faults = Vec::new();
    for from in crates {
        for dep in &from.deps {
            if let Some(to) = crates.iter().find(|c| c.name == dep.name) {
                faults.extend(forbidden(from, to, dep.dev));
            } else if PURE.contains(&from.dir.as_str()) && !dep.dev && is_impure(&dep.name) {
                faults.push(format!(
                    "{} is pure and must not use {}",
                    from.name, dep.name
                ));
            }
        }
        let top = top(&from.dir);
        if (top == "protocol" || top == "appliance") && from.rust_version != TERMINAL_RUST {
            faults.push(format!(
                "{}: rust-version must be {TERMINAL_RUST}",
                from.name
            ));
        }
    }
    faults
}

fn is_impure(name: &str) -> bool {
    IMPURE.contains(&name)
}

fn top(dir: &str) -> &str {
    dir.split('/').next().unwrap_or(dir)
}

/// Why `from` may not depend on `to`, if it may not.
fn forbidden(from: &Crate, to: &Crate, dev: bool) -> Option<String> {
    let allowed: &[&str] = match top(&from.dir) {
        "protocol" => &["protocol"],
        "appliance" => &["appliance", "protocol"],
        "server" => &["server", "protocol"],
        "image" => &["image"],
        // The netboot service knows images by their manifest only.
        "pxe" if to.dir == "image/manifest" => &["image"],
        "pxe" => &["pxe"],
        "hil-tests" => return None,
        _ => &[],
    };
    // The probe clients and the virtual cards are parts of the server's and the terminal's own tests.
    if dev && ["hil-tests/probe", "hil-tests/card"].contains(&to.dir.as_str()) {
        return None;
    }
    (!allowed.contains(&top(&to.dir))).then(|| {
        format!(
            "{} ({}) must not depend on {} ({})",
            from.name, from.dir, to.name, to.dir
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(dir: &str, deps: &[&str]) -> Crate {
        Crate {
            name: dir.replace('/', "-"),
            dir: dir.to_owned(),
            rust_version: TERMINAL_RUST.to_owned(),
            deps: deps
                .iter()
                .map(|d| Dep {
                    name: (*d).to_owned(),
                    dev: false,
                })
                .collect(),
        }
    }

    fn faults_of(from: &str, to: &str) -> usize {
        check(&[krate(from, &[&to.replace('/', "-")]), krate(to, &[])]).len()
    }

    #[test]
    fn terminal_and_server_never_see_each_other() {
        assert_eq!(faults_of("appliance/client", "server/control"), 1);
        assert_eq!(faults_of("server/session", "appliance/client"), 1);
        assert_eq!(faults_of("appliance/client", "protocol/wire"), 0);
    }

    #[test]
    fn nothing_depends_on_the_rig() {
        for from in [
            "protocol/link",
            "server/broker",
            "appliance/init",
            "image/builder",
            "pxe",
        ] {
            assert_eq!(faults_of(from, "hil-tests/rig"), 1, "{from}");
        }
        assert_eq!(faults_of("hil-tests/rig", "server/control"), 0);
    }

    #[test]
    fn netboot_service_knows_only_the_manifest() {
        assert_eq!(faults_of("pxe", "image/manifest"), 0);
        assert_eq!(faults_of("pxe", "image/builder"), 1);
        assert_eq!(faults_of("pxe", "protocol/wire"), 1);
    }

    #[test]
    fn pure_crates_name_no_io() {
        assert_eq!(check(&[krate("protocol/wire", &["tokio"])]).len(), 1);
        assert_eq!(check(&[krate("protocol/link", &["tokio"])]).len(), 0);
    }

    #[test]
    fn terminal_crates_keep_their_rust_version() {
        let mut client = krate("appliance/client", &[]);
        client.rust_version = "1.90".to_owned();
        assert_eq!(check(&[client]).len(), 1);
    }
}
