//! Packages through the machine's own apt: whatever archives it is set up with, and no others.
//!
//! A package is kept in the cache under its name and hash, so a build with a lock file and a warm cache
//! never asks apt. Nothing is installed and no root is needed. Where apt's lists are missing or so old that a
//! download fails, fresh ones are fetched from the same archives into the cache; the machine's own stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use heliostat_manifest::Package;
use tracing::{info, warn};

use crate::deb::Deb;
use crate::digest::sha256_hex;

/// The machine's apt with a cache of `.deb` files of our own.
pub struct Apt {
    cache: PathBuf,
    pins: Option<BTreeMap<String, Package>>,
    used: BTreeSet<Package>,
    /// Whether fresh lists of our own have been fetched and are used.
    own_lists: bool,
}

/// Packages on disk, verified: path and hash by name.
type Located = BTreeMap<String, (PathBuf, String)>;

/// One package as apt would download it.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    name: String,
    file: String,
    bytes: u64,
    sha256: String,
}

impl Apt {
    /// `cache` is made when it is not there; with `pins` only those packages, at exactly those hashes, are given out.
    pub fn new(cache: &Path, pins: Option<Vec<Package>>) -> Result<Apt> {
        fs::create_dir_all(cache)
            .with_context(|| format!("cannot make the package cache {}", cache.display()))?;
        let cache = cache.canonicalize()?;
        let pins = pins.map(|pins| pins.into_iter().map(|p| (p.name.clone(), p)).collect());
        Ok(Apt {
            cache,
            pins,
            used: BTreeSet::new(),
            own_lists: false,
        })
    }

    /// Every package that was given out, for the manifest.
    pub fn used(&self) -> Vec<Package> {
        self.used.iter().cloned().collect()
    }

    /// Those of the names that can be fetched.
    pub fn known(&self, names: &[String]) -> Result<BTreeSet<String>> {
        if let Some(pins) = &self.pins {
            return Ok(names
                .iter()
                .filter(|n| pins.contains_key(*n))
                .cloned()
                .collect());
        }
        if names.is_empty() {
            return Ok(BTreeSet::new());
        }
        let output = run(self.apt("apt-cache").arg("policy").args(names))?;
        Ok(with_candidate(&output))
    }

    /// Fetches fresh lists into the cache and uses them from now on; false when that has been done before.
    pub fn refresh(&mut self) -> Result<bool> {
        if self.own_lists || self.pins.is_some() {
            return Ok(false);
        }
        self.update_lists()?;
        Ok(true)
    }

    /// Downloads what the cache lacks, verifies and unpacks each package, in the order of the names.
    pub fn fetch(&mut self, names: &[String]) -> Result<Vec<Deb>> {
        let files = match self.pins.is_some() {
            true => self.locate_pinned(names)?,
            false => self.locate(names, names)?,
        };
        names.iter().map(|name| self.open(name, &files)).collect()
    }

    fn update_lists(&mut self) -> Result<()> {
        info!("fetching fresh package lists");
        for directory in ["apt/lists/partial", "apt/cache/archives/partial"] {
            fs::create_dir_all(self.cache.join(directory))?;
        }
        self.own_lists = true;
        run(self.apt("apt-get").args(["-q", "update"]))
            .context("apt cannot fetch fresh package lists")?;
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // As root apt would hand downloads to a user that may not write here, and warn about it.
        command.args(["-o", "APT::Sandbox::User=root"]);
        if self.own_lists {
            let own = |what: &str, directory: &str| {
                format!("{what}={}", self.cache.join(directory).display())
            };
            command.args([
                "-o",
                &own("Dir::State::Lists", "apt/lists"),
                "-o",
                &own("Dir::Cache", "apt/cache"),
            ]);
        }
        command
    }

    fn open(&mut self, name: &str, files: &Located) -> Result<Deb> {
        let (path, sha256) = files
            .get(name)
            .with_context(|| format!("apt offers no package {name}"))?;
        let deb = Deb::read(path, sha256)?;
        let package = Package {
            name: deb.name.clone(),
            version: deb.version.clone(),
            sha256: sha256.clone(),
        };
        self.used.insert(package);
        Ok(deb)
    }

    fn locate_pinned(&mut self, names: &[String]) -> Result<Located> {
        let mut found = Located::new();
        let mut missing = Vec::new();
        for name in names {
            let pin = self.pin(name)?.clone();
            match self.cached(name, &pin.sha256)? {
                Some(path) => drop(found.insert(name.clone(), (path, pin.sha256))),
                None => missing.push(pin),
            }
        }
        let names: Vec<String> = missing.iter().map(|pin| pin.name.clone()).collect();
        let asked: Vec<String> = missing
            .iter()
            .map(|pin| format!("{}={}", pin.name, pin.version))
            .collect();
        for (name, (path, sha256)) in self.locate(&names, &asked)? {
            let expected = &self.pin(&name)?.sha256;
            if sha256 != *expected {
                bail!("{name} has the hash {sha256}, the lock file wants {expected}");
            }
            found.insert(name, (path, sha256));
        }
        Ok(found)
    }

    fn pin(&self, name: &str) -> Result<&Package> {
        self.pins.as_ref().and_then(|pins| pins.get(name)).with_context(|| {
            format!("the lock file has no package {name}: build once without --locked and use the new manifest")
        })
    }

    /// Finds the packages in the cache, or downloads them; `asked` is how apt is to be asked for the `names`.
    fn locate(&mut self, names: &[String], asked: &[String]) -> Result<Located> {
        if names.is_empty() {
            return Ok(Located::new());
        }
        match self.locate_once(names, asked) {
            Err(error) if !self.own_lists => {
                warn!("{error:#}");
                self.update_lists()?;
                self.locate_once(names, asked)
            }
            located => located,
        }
    }

    fn locate_once(&self, names: &[String], asked: &[String]) -> Result<Located> {
        let temporary = self.cache.join(format!("download-{}", std::process::id()));
        fs::create_dir_all(&temporary)?;
        let found = self.locate_in(&temporary, asked);
        fs::remove_dir_all(&temporary)?;
        let found = found?;
        match names.iter().find(|name| !found.contains_key(*name)) {
            Some(name) => bail!("apt offers no package {name}"),
            None => Ok(found),
        }
    }

    fn locate_in(&self, temporary: &Path, asked: &[String]) -> Result<Located> {
        let apt_get = || {
            let mut command = self.apt("apt-get");
            command.current_dir(temporary).args(["-q", "download"]);
            command
        };
        let offers = run(apt_get().arg("--print-uris").args(asked))
            .context("apt cannot resolve the packages")?;
        let offers: Vec<Offer> = offers.lines().filter_map(parse_offer).collect();
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for offer in &offers {
            match self.cached(&offer.name, &offer.sha256)? {
                Some(path) => drop(found.insert(offer.name.clone(), (path, offer.sha256.clone()))),
                None => missing.push(offer),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let bytes: u64 = missing.iter().map(|o| o.bytes).sum();
        info!(
            "downloading {} packages, {:.1} MB",
            missing.len(),
            bytes as f64 / 1e6
        );
        let wanted = asked.iter().filter(|a| {
            missing
                .iter()
                .any(|o| Some(o.name.as_str()) == a.split('=').next())
        });
        run(apt_get().args(wanted)).context("apt cannot download the packages")?;
        for offer in missing {
            let path = self.keep(temporary, offer)?;
            found.insert(offer.name.clone(), (path, offer.sha256.clone()));
        }
        Ok(found)
    }

    fn path(&self, name: &str, sha256: &str) -> PathBuf {
        self.cache.join(format!("{name}_{sha256}.deb"))
    }

    fn cached(&self, name: &str, sha256: &str) -> Result<Option<PathBuf>> {
        let path = self.path(name, sha256);
        let Ok(bytes) = fs::read(&path) else {
            return Ok(None);
        };
        if sha256_hex(&bytes) == sha256 {
            return Ok(Some(path));
        }
        fs::remove_file(&path)
            .with_context(|| format!("{} is damaged and cannot be removed", path.display()))?;
        Ok(None)
    }

    fn keep(&self, temporary: &Path, offer: &Offer) -> Result<PathBuf> {
        let file = temporary.join(&offer.file);
        let bytes = fs::read(&file).with_context(|| format!("apt did not leave {}", offer.file))?;
        let sha256 = sha256_hex(&bytes);
        if sha256 != offer.sha256 {
            bail!(
                "{} has the hash {sha256}, apt promised {}",
                offer.file,
                offer.sha256
            );
        }
        let path = self.path(&offer.name, &offer.sha256);
        fs::rename(&file, &path)?;
        Ok(path)
    }
}

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C").output().with_context(|| {
        format!("cannot run {name}: the image is built from distribution packages, on Debian or a relative of it")
    })?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads a line of `apt-get download --print-uris`: `'URI' FILE BYTES SHA256:HEX`.
fn parse_offer(line: &str) -> Option<Offer> {
    let mut words = line
        .strip_prefix('\'')?
        .split_once('\'')?
        .1
        .split_whitespace();
    let file = words.next()?.to_owned();
    let bytes = words.next()?.parse().ok()?;
    let sha256 = words.next()?.strip_prefix("SHA256:")?.to_owned();
    let name = file.split('_').next()?.to_owned();
    let plain =
        !file.contains('/') && sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then_some(Offer {
        name,
        file,
        bytes,
        sha256,
    })
}

/// The packages of `apt-cache policy`'s answer that can be downloaded.
fn with_candidate(policy: &str) -> BTreeSet<String> {
    let mut name = None;
    let mut found = BTreeSet::new();
    for line in policy.lines() {
        if let Some(package) = line.strip_suffix(':').filter(|p| !p.starts_with(' ')) {
            name = Some(package.to_owned());
        } else if let Some(candidate) = line.trim().strip_prefix("Candidate: ") {
            found.extend(name.take().filter(|_| candidate != "(none)"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_read_with_its_hash() {
        let hash = "ab".repeat(32);
        let line = format!(
            "'http://a.example/pool/x_1%3a2_amd64.deb' x_1%3a2_amd64.deb 1476 SHA256:{hash}"
        );
        let offer = parse_offer(&line).unwrap();
        assert_eq!(
            (offer.name.as_str(), offer.file.as_str()),
            ("x", "x_1%3a2_amd64.deb")
        );
        assert_eq!((offer.bytes, offer.sha256), (1476, hash));
    }

    #[test]
    fn an_offer_without_a_trustworthy_hash_or_name_is_none() {
        let hash = "ab".repeat(32);
        for line in [
            "".to_owned(),
            "'http://a.example/x.deb' x_1_amd64.deb 12 MD5Sum:00".to_owned(),
            "'http://a.example/x.deb' x_1_amd64.deb 12 SHA256:00".to_owned(),
            format!("'http://a.example/x.deb' ../x_1.deb 12 SHA256:{hash}"),
            format!("'http://a.example/x.deb' x_1.deb many SHA256:{hash}"),
        ] {
            assert_eq!(parse_offer(&line), None, "{line}");
        }
    }

    #[test]
    fn only_packages_with_a_candidate_are_known() {
        let policy = "a:\n  Installed: (none)\n  Candidate: 1.2\n  Version table:\n     1.2 500\n\
                      b:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        assert_eq!(with_candidate(policy), BTreeSet::from(["a".to_owned()]));
    }
}
