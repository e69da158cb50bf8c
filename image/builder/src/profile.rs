//! Profiles: what an image is made of, as data. The schema is documented in `image/profiles/README.md`.

use std::collections::BTreeSet;
use std::path::Path;

use globset::GlobBuilder;
use serde::Deserialize;

/// The profiles that come with the builder, by name.
const BUILT_IN: [(&str, &str); 2] = [
    ("qemu", include_str!("../../profiles/qemu.toml")),
    ("desk-x86", include_str!("../../profiles/desk-x86.toml")),
];

/// What an image is made of.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The profile's name; comes from the file's name.
    #[serde(skip)]
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// The kernel and its modules.
    pub kernel: Kernel,
    /// Where the terminal's program finds its libraries.
    pub terminal: Terminal,
    /// Files out of packages.
    #[serde(default)]
    pub files: Vec<Files>,
    /// Programs for finding faults, only with `--with-debug-shell`.
    #[serde(default)]
    pub debug: Vec<Files>,
    /// The texts of the hardware database to compile, as names in `/usr/lib/udev/hwdb.d/` of the package `udev`.
    #[serde(default)]
    pub hwdb: Vec<String>,
    /// Segments beside the base.
    #[serde(default, rename = "segment")]
    pub segments: Vec<Segment>,
}

/// The kernel and its modules.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Kernel packages; the first that apt knows is taken.
    pub packages: Vec<String>,
    /// The command line.
    pub cmdline: String,
    /// Modules of the base segment: names, or patterns with a `/`; `?` in front makes one optional.
    pub modules: Vec<String>,
}

/// The terminal's program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    /// The packages that hold the libraries it names.
    pub libraries: Vec<String>,
}

/// Files out of one package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The package.
    pub package: String,
    /// Patterns over absolute paths.
    pub paths: Vec<String>,
}

/// A segment that only some terminals load.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its name, which becomes part of a file's name.
    pub name: String,
    /// Its modules, written like those of the base.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Modules of the base whose firmware is in this segment.
    #[serde(default)]
    pub firmware_of: Vec<String>,
    /// Packages that hold the firmware; those that apt does not know are left out with a warning.
    #[serde(default)]
    pub firmware_packages: Vec<String>,
    /// Files of packages, as drivers that programs open by name; the libraries that they need and the
    /// base lacks come along. Packages that apt does not know are left out with a warning.
    #[serde(default)]
    pub files: Vec<Files>,
}

/// A profile that cannot be used: which file, where, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such profile.
    #[error(
        "no profile {name:?}: it is neither one of {} nor a file that can be read ({cause})",
        names()
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// Why it could not be read.
        cause: String,
    },
    /// It does not have the shape of a profile.
    #[error("{file}:{line}: {key}: {expected}")]
    Shape {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The key on that line, or the line's text.
        key: String,
        /// What was wrong, and what was expected.
        expected: String,
    },
}

impl Profile {
    /// A built-in profile by name, or one from a file when the name has a `/` or ends in `.toml`.
    pub fn load(name: &str) -> Result<Profile, Error> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Profile::parse(name, &format!("image/profiles/{name}.toml"), text);
        }
        let unknown = |cause: String| Error::Unknown {
            name: name.to_owned(),
            cause,
        };
        if !name.contains('/') && !name.ends_with(".toml") {
            return Err(unknown("a file would be given as PATH.toml".to_owned()));
        }
        let text = std::fs::read_to_string(name).map_err(|e| unknown(e.to_string()))?;
        let stem = Path::new(name)
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        Profile::parse(&stem, name, &text)
    }

    /// Reads a profile; `file` is for messages.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Profile, Error> {
        let mut profile: Profile = toml::from_str(text).map_err(|e| shape(file, text, &e))?;
        profile.name = name.to_owned();
        profile.check(file, text)?;
        Ok(profile)
    }

    fn check(&self, file: &str, text: &str) -> Result<(), Error> {
        let refuse = |value: &str, expected: String| {
            let line = text
                .lines()
                .position(|l| l.contains(&format!("{value:?}")))
                .map_or(1, |at| at + 1);
            Error::Shape {
                file: file.to_owned(),
                line,
                key: format!("{value:?}"),
                expected,
            }
        };
        if self.kernel.packages.is_empty() {
            return Err(refuse(
                "packages",
                "kernel.packages is empty, expected at least one kernel package".into(),
            ));
        }
        let mut names = BTreeSet::from(["base"]);
        for segment in &self.segments {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if segment.name.is_empty() || !segment.name.bytes().all(plain) {
                let expected = "expected a segment name of lowercase letters, digits and dashes";
                return Err(refuse(&segment.name, expected.into()));
            }
            if !names.insert(&segment.name) {
                return Err(refuse(
                    &segment.name,
                    "a segment of this name exists, expected another name".into(),
                ));
            }
        }
        for package in self.packages() {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
            if package.is_empty() || package.starts_with('-') || !package.bytes().all(plain) {
                return Err(refuse(package, "expected a package name".into()));
            }
        }
        let of_segments = self.segments.iter().flat_map(|s| &s.files);
        let all = self.files.iter().chain(&self.debug).chain(of_segments);
        for path in all.flat_map(|f| &f.paths) {
            if !path.starts_with('/') {
                return Err(refuse(
                    path,
                    "expected an absolute path or pattern, such as \"/usr/bin/x\"".into(),
                ));
            }
            GlobBuilder::new(path)
                .build()
                .map_err(|e| refuse(path, format!("expected a pattern: {e}")))?;
        }
        Ok(())
    }

    fn packages(&self) -> impl Iterator<Item = &String> {
        let files = self.files.iter().chain(&self.debug).map(|f| &f.package);
        let firmware = self.segments.iter().flat_map(|s| &s.firmware_packages);
        let drivers = self.segments.iter().flat_map(|s| &s.files);
        let drivers = drivers.map(|files| &files.package);
        self.kernel
            .packages
            .iter()
            .chain(&self.terminal.libraries)
            .chain(files)
            .chain(firmware)
            .chain(drivers)
    }
}

fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}

/// Turns the parser's error into one line with file, line and key.
fn shape(file: &str, text: &str, error: &toml::de::Error) -> Error {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..at];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let content = text.lines().nth(line - 1).unwrap_or_default();
    let key = content.split('=').next().unwrap_or(content).trim();
    let expected = error.message().trim().replace('\n', ", ");
    Error::Shape {
        file: file.to_owned(),
        line,
        key: key.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"description = "a test"

[kernel]
packages = ["linux-image-amd64"]
cmdline = "quiet"
modules = ["e1000e", "?snd"]

[terminal]
libraries = ["libc6"]

[[files]]
package = "udev"
paths = ["/usr/bin/udevadm"]

[[segment]]
name = "amd-graphics"
modules = ["amdgpu"]
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        Profile::parse("t", "t.toml", &GOOD.replace(from, to))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_profiles_that_come_along_are_valid() {
        for (name, _) in BUILT_IN {
            assert_eq!(Profile::load(name).unwrap().name, name);
        }
    }

    #[test]
    fn a_misspelt_key_is_refused_with_file_line_key_and_expectation() {
        let error = refused("modules = [\"e1000e\"", "modulez = [\"e1000e\"");
        assert!(
            error.starts_with("t.toml:6: modulez: unknown field `modulez`, expected one of"),
            "{error}"
        );
        assert!(error.contains("`modules`"), "{error}");
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_what_was_expected() {
        let error = refused("cmdline = \"quiet\"", "cmdline = 5");
        assert_eq!(
            error,
            "t.toml:5: cmdline: invalid type: integer `5`, expected a string"
        );
    }

    #[test]
    fn a_missing_part_is_named() {
        assert!(
            refused("[terminal]\nlibraries = [\"libc6\"]\n", "")
                .contains("missing field `terminal`")
        );
    }

    #[test]
    fn what_the_shape_does_not_say_is_checked_too() {
        assert!(
            refused("/usr/bin/udevadm", "usr/bin/udevadm")
                .starts_with("t.toml:13: \"usr/bin/udevadm\": expected")
        );
        assert!(refused("amd-graphics", "../x").contains("lowercase letters"));
        assert!(refused("amd-graphics", "base").contains("expected another name"));
        assert!(refused("\"libc6\"", "\"--option\"").contains("expected a package name"));
        assert!(refused("\"linux-image-amd64\"", "").contains("at least one kernel package"));
    }

    #[test]
    fn an_unknown_profile_is_refused_with_those_there_are() {
        let error = Profile::load("qemuu").unwrap_err().to_string();
        assert!(error.contains("qemu, desk-x86"), "{error}");
    }
}
