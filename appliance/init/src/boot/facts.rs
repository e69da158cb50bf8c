//! What PID 1 finds: the only place where the plan's input is read.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::utsname::uname;

use crate::cmdline::Cmdline;
use crate::names;

/// Where the image keeps its site keys, one a line.
const SITE_KEY_FILE: &str = "/etc/heliostat/site-key";
/// Where udevd may lie: Debian, merged or not, then eudev.
const UDEVD: &[&str] = &[
    "/usr/lib/systemd/systemd-udevd",
    "/lib/systemd/systemd-udevd",
    "/usr/sbin/udevd",
    "/sbin/udevd",
];
const SHELL: &[&str] = &["/usr/bin/busybox", "/bin/busybox"];
const PCSCD: &[&str] = &["/usr/sbin/pcscd", "/sbin/pcscd"];
/// Longest file read for facts.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// The site keys the image and the command line carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteKeys {
    /// At least one.
    Some(Vec<String>),
    /// None anywhere.
    None,
    /// One that cannot be read: why.
    Bad(String),
}

/// Where pcscd lies and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcscd {
    /// The program.
    pub path: PathBuf,
    /// It asks polkit unless told not to, and there is no polkit here.
    pub knows_disable_polkit: bool,
}

/// Everything the plan depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kernel command line.
    pub cmdline: Cmdline,
    /// The site keys.
    pub site_keys: SiteKeys,
    /// The kernel's modules, if the image has any for it.
    pub modules_dir: Option<PathBuf>,
    /// udevd, if the image has one.
    pub udevd: Option<PathBuf>,
    /// pcscd, if the image has one.
    pub pcscd: Option<Pcscd>,
    /// A shell, in images built for finding faults.
    pub shell: Option<PathBuf>,
    /// This program.
    pub exe: PathBuf,
    /// Processors.
    pub cpus: usize,
}

/// The kernel command line of this boot.
pub fn read_cmdline() -> Cmdline {
    Cmdline::parse(&read_bounded(Path::new("/proc/cmdline")).unwrap_or_default())
}

impl Facts {
    /// Looks at the machine and the image; /proc and /sys have to be mounted.
    pub fn gather() -> Facts {
        let cmdline = read_cmdline();
        let release = uname()
            .map(|names| names.release().to_owned())
            .unwrap_or_default();
        let modules_dir = Path::new("/lib/modules").join(release);
        Facts {
            site_keys: site_keys(&cmdline, read_bounded(Path::new(SITE_KEY_FILE)).as_deref()),
            modules_dir: modules_dir.is_dir().then_some(modules_dir),
            udevd: first_of(UDEVD),
            pcscd: first_of(PCSCD).map(look_at_pcscd),
            shell: first_of(SHELL),
            exe: PathBuf::from("/proc/self/exe"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cmdline,
        }
    }
}

/// The keys of the file (its text, if there is one) and of the command line together. Pure.
fn site_keys(cmdline: &Cmdline, file: Option<&str>) -> SiteKeys {
    let mut keys = match names::parse_site_keys(file.unwrap_or("")) {
        Ok(keys) => keys,
        Err(error) => return SiteKeys::Bad(format!("{SITE_KEY_FILE}: {error}")),
    };
    let bad = cmdline
        .refused
        .iter()
        .find(|word| word.starts_with("heliostat.site_key"));
    if let Some(word) = bad {
        return SiteKeys::Bad(format!("kernel command line: {word}"));
    }
    keys.extend(
        cmdline
            .site_keys
            .iter()
            .filter(|key| !keys.contains(key))
            .cloned()
            .collect::<Vec<_>>(),
    );
    match keys.is_empty() {
        true => SiteKeys::None,
        false => SiteKeys::Some(keys),
    }
}

fn first_of(paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(PathBuf::from).find(|path| path.is_file())
}

fn look_at_pcscd(path: PathBuf) -> Pcscd {
    let option = b"disable-polkit";
    let program = fs::metadata(&path)
        .ok()
        .filter(|meta| meta.len() <= MAX_FILE)
        .and_then(|_| fs::read(&path).ok())
        .unwrap_or_default();
    let knows_disable_polkit = program.windows(option.len()).any(|window| window == option);
    Pcscd {
        path,
        knows_disable_polkit,
    }
}

fn read_bounded(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    (meta.len() <= MAX_FILE)
        .then(|| fs::read_to_string(path).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_image_and_of_the_command_line_add_up() {
        let (one, two) = (
            format!("sha256:{}", "1".repeat(64)),
            format!("sha256:{}", "2".repeat(64)),
        );
        let cmdline = Cmdline::parse(&format!("heliostat.site_key={two},{one}"));
        let both = SiteKeys::Some(vec![one.clone(), two.clone()]);
        assert_eq!(site_keys(&cmdline, Some(&one)), both);
        assert_eq!(site_keys(&Cmdline::default(), None), SiteKeys::None);
        assert_eq!(
            site_keys(&Cmdline::default(), Some("# none yet\n")),
            SiteKeys::None
        );
    }

    #[test]
    fn one_bad_key_is_no_key() {
        let good = format!("sha256:{}", "1".repeat(64));
        let broken = format!("{good}\nsha256:zz\n");
        assert!(matches!(
            site_keys(&Cmdline::default(), Some(&broken)),
            SiteKeys::Bad(_)
        ));
        let cmdline = Cmdline::parse("heliostat.site_key=sha1:00");
        assert!(matches!(site_keys(&cmdline, Some(&good)), SiteKeys::Bad(_)));
    }
}
