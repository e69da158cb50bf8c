//! A newer Debian than the machine's own, from the mirror that the machine is set up with.
//!
//! Lists, configuration and downloads are in a folder of our own, so the machine's apt stays as it is. What comes
//! is verified by apt against the archive's keys, which must be on the machine (package debian-archive-keyring).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The release whose libc the kernel's build tools want.
pub const RELEASE: &str = "trixie";
/// Where its newer kernels are.
pub const BACKPORTS: &str = "trixie-backports";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt for another release than the machine's.
pub struct Archive {
    folder: PathBuf,
}

/// A kernel series and the package that names one of its kernels, such as `7.2` and `7.2.12+deb13`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The series, as packages of sources are called.
    pub series: String,
    /// The kernel's release without its flavour.
    pub release: String,
}

impl Archive {
    /// Fetches the lists into `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        let mirror = mirror()?;
        ensure!(
            Path::new(KEYS).is_file(),
            "no keys to verify packages with: install debian-archive-keyring"
        );
        for part in ["lists/partial", "archives/partial", "sources"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let folder = folder.canonicalize()?;
        // Nothing is installed there: whatever is asked for comes with all it depends on.
        fs::write(folder.join("status"), "")?;
        fs::write(
            folder.join("sources/archive.sources"),
            format!(
                "Types: deb\nURIs: {mirror}\nSuites: {RELEASE} {BACKPORTS}\nComponents: main\n\
                 Signed-By: {KEYS}\n"
            ),
        )?;
        let archive = Self { folder };
        archive.run("apt-get", &["-q", "update"])?;
        Ok(archive)
    }

    /// The kernel to build for: the newest of the wanted series, or of the newest series above it.
    pub fn kernel(&self, wanted: &str) -> Result<Offer> {
        let pattern = "^linux-(headers|binary|modules)-[0-9.]+.*-amd64$|^linux-source-[0-9.]+$";
        let listing = self.run("apt-cache", &["search", "--names-only", pattern])?;
        choose(&listing, wanted).with_context(|| {
            format!(
                "{BACKPORTS} has no kernel of {wanted} or newer with headers, modules and sources"
            )
        })
    }

    /// The version of a package.
    pub fn version(&self, package: &str) -> Result<String> {
        let text = self.run("apt-cache", &["show", "--no-all-versions", package])?;
        let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
        Ok(version
            .with_context(|| format!("{package} has no version"))?
            .to_owned())
    }

    /// Downloads packages with all they depend on, and gives their files.
    pub fn fetch_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let mut arguments = vec!["-qq", "install", "-y", "--download-only"];
        arguments.extend(["--no-install-recommends", "-t", BACKPORTS]);
        arguments.extend(packages);
        self.run("apt-get", &arguments)?;
        debs(&self.folder.join("archives"))
    }

    /// Downloads exactly these packages (`NAME` or `NAME=VERSION`) into `to`.
    pub fn fetch(&self, packages: &[String], to: &Path) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(to)?;
        let mut command = self.command("apt-get");
        let command = command.current_dir(to).args(["-qq", "download"]);
        output(command.args(packages))?;
        debs(to)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        output(self.command(program).args(arguments))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // As root apt would hand downloads to a user that may not write here.
        command.args(["-o", "APT::Sandbox::User=root"]);
        for (option, place) in [
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::State::extended_states", "extended_states"),
            ("Dir::Cache", "."),
            ("Dir::Cache::Archives", "archives"),
            ("Dir::Etc::SourceParts", "sources"),
        ] {
            let value = format!("{option}={}", self.folder.join(place).display());
            command.args(["-o", &value]);
        }
        for option in ["SourceList", "Preferences", "PreferencesParts"] {
            command.args(["-o", &format!("Dir::Etc::{option}=/dev/null")]);
        }
        command
    }
}

/// Where the machine gets Debian from.
fn mirror() -> Result<String> {
    let format = "$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)";
    let targets = output(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    first_mirror(&targets).context(
        "this machine's apt knows no Debian archive: its lists are missing (apt-get update), or it is not Debian",
    )
}

fn first_mirror(targets: &str) -> Option<String> {
    let uri = |line: &str| {
        line.strip_prefix("Packages|Debian|Debian|main|")
            .map(str::to_owned)
    };
    targets.lines().find_map(uri)
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("cannot run {name}: this needs Debian or a relative of it"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn debs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads lines of `apt-cache search`: `PACKAGE - DESCRIPTION`.
fn choose(listing: &str, wanted: &str) -> Option<Offer> {
    let mut parts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut sources = Vec::new();
    for package in listing.lines().filter_map(|line| line.split(" - ").next()) {
        if let Some(series) = package.strip_prefix("linux-source-") {
            sources.push(series);
        }
        for (bit, prefix) in (0..).zip(["linux-headers-", "linux-binary-", "linux-modules-"]) {
            let release = package
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_suffix("-amd64"));
            // `cloud` and `rt` are flavours of their own.
            if let Some(release) = release.filter(|release| !release.contains('-')) {
                *parts.entry(release).or_default() |= 1 << bit;
            }
        }
    }
    let whole = parts.iter().filter(|(_, bits)| **bits == 0b111);
    let mut offers: Vec<Offer> = whole
        .filter_map(|(release, _)| {
            let series = sources.iter().find(|s| in_series(release, s))?;
            Some(Offer {
                series: (*series).to_owned(),
                release: (*release).to_owned(),
            })
        })
        .filter(|offer| numbers(&offer.series) >= numbers(wanted))
        .collect();
    offers.sort_by_key(|offer| (offer.series == wanted, numbers(&offer.release)));
    offers.pop()
}

fn in_series(release: &str, series: &str) -> bool {
    let rest = release.strip_prefix(series);
    rest.is_some_and(|rest| rest.starts_with(['.', '+']))
}

/// The numbers of a version, up to the first part that is none.
fn numbers(version: &str) -> Vec<u32> {
    let plain = version.split(['+', '-', '~']).next().unwrap_or(version);
    plain
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(releases: &[&str], series: &[&str]) -> String {
        let mut text = String::new();
        for release in releases {
            for part in ["headers", "binary", "modules"] {
                text += &format!("linux-{part}-{release}-amd64 - a part\n");
                text += &format!("linux-{part}-{release}-cloud-amd64 - of another flavour\n");
            }
        }
        for series in series {
            text += &format!("linux-source-{series} - the sources\n");
        }
        text
    }

    fn release(listing: &str, wanted: &str) -> Option<String> {
        choose(listing, wanted).map(|offer| offer.release)
    }

    #[test]
    fn the_newest_kernel_of_the_wanted_series_is_taken() {
        let listing = listing(
            &["7.2.9+deb13", "7.2.12+deb13", "7.3.4+deb13", "7.20.1+deb13"],
            &["7.2", "7.3", "7.20"],
        );
        assert_eq!(release(&listing, "7.2").unwrap(), "7.2.12+deb13");
        assert_eq!(choose(&listing, "7.2").unwrap().series, "7.2");
    }

    #[test]
    fn a_series_that_is_gone_is_followed_by_the_newest() {
        let listing = listing(
            &["6.19.14+deb13", "7.3.4+deb13", "7.10.2+deb13"],
            &["6.19", "7.3", "7.10"],
        );
        assert_eq!(release(&listing, "7.2").unwrap(), "7.10.2+deb13");
    }

    #[test]
    fn a_kernel_that_lacks_a_part_is_none() {
        let whole = listing(&["7.2.12+deb13"], &["7.2"]);
        assert_eq!(release(&whole.replace("linux-source", "x"), "7.2"), None);
        let without = whole.replace("linux-modules-7.2.12+deb13-amd64", "x");
        assert_eq!(release(&without, "7.2"), None);
        assert_eq!(release("", "7.2"), None);
    }

    #[test]
    fn the_mirror_is_debians_own_and_not_that_of_updates() {
        let targets = "Packages|Node|Node|main|https://node.example/\n\
                       Packages|Debian|Debian-Security|main|http://a.example/debian-security/\n\
                       DEP-11|Debian|Debian|main|http://c.example/\n\
                       Packages|Debian|Debian|main|http://b.example/debian/\n";
        assert_eq!(first_mirror(targets).unwrap(), "http://b.example/debian/");
        assert_eq!(first_mirror(""), None);
    }
}
