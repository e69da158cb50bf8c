//! Images: read by their manifest, verified, and copied to where they are served from.
//!
//! The copy is what makes the verification worth something: an image that is rebuilt in place later changes nothing
//! of what terminals get, and the processes that serve it need no access to anything else.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use heliostat_manifest::{FILE_NAME, File, MAX_BYTES, Manifest, Role};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::dnsmasq::UNDIONLY;
use crate::script::Served;

/// Where Debian's package `ipxe` has the loader for firmware that is not iPXE.
const UNDIONLY_PATH: &str = "/usr/lib/ipxe/undionly.kpxe";

/// Why an image cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no manifest to read.
    #[error(
        "no image in {directory}: cannot read {FILE_NAME} ({cause}); build one with heliostat-image"
    )]
    NoImage {
        /// The directory.
        directory: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The manifest is refused.
    #[error("the image in {directory} cannot be used: {cause}")]
    Manifest {
        /// The directory.
        directory: PathBuf,
        /// Why.
        cause: heliostat_manifest::Error,
    },
    /// A file is not what the manifest says.
    #[error("{path} is not the file that the manifest describes ({what}); build the image again")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The difference.
        what: String,
    },
    /// A file cannot be read or copied.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// The images that a config names.
#[derive(Debug, Clone)]
pub struct Images {
    /// The one for terminals that name no other.
    pub general: Served,
    /// The others by the terminal's MAC address.
    pub own: BTreeMap<String, Served>,
    directories: BTreeMap<String, PathBuf>,
}

impl Images {
    /// Reads the manifests of all images that the config names.
    pub fn load(config: &Config) -> Result<Images, Error> {
        let mut directories = BTreeMap::new();
        let mut load = |directory: &Path| {
            let served = read(directory)?;
            directories.insert(served.id.clone(), directory.to_owned());
            Ok(served)
        };
        let general = load(&config.image)?;
        let mut own = BTreeMap::new();
        for terminal in &config.terminals {
            if let Some(directory) = &terminal.image {
                own.insert(terminal.mac.clone(), load(directory)?);
            }
        }
        Ok(Images {
            general,
            own,
            directories,
        })
    }

    /// Every image once.
    pub fn each(&self) -> impl Iterator<Item = (&Served, &Path)> {
        let all = std::iter::once(&self.general).chain(self.own.values());
        let by_id: BTreeMap<&str, &Served> = all.map(|s| (s.id.as_str(), s)).collect();
        by_id
            .into_values()
            .map(|s| (s, self.directories[&s.id].as_path()))
    }

    /// Verifies every file of every image.
    pub fn verify(&self) -> Result<(), Error> {
        for (served, directory) in self.each() {
            served
                .manifest
                .files
                .iter()
                .try_for_each(|file| verified(directory, file).map(drop))?;
        }
        Ok(())
    }

    /// Copies the images into `root`, verified, as `image/ID/NAME`; adds `undionly.kpxe` when this machine has it.
    pub fn copy_to(&self, root: &Path) -> Result<(), Error> {
        for (served, directory) in self.each() {
            let target = root.join("image").join(&served.id);
            fs::create_dir_all(&target).map_err(|cause| Error::File {
                path: target.clone(),
                cause,
            })?;
            for file in &served.manifest.files {
                let bytes = verified(directory, file)?;
                write(&target.join(&file.name), &bytes)?;
            }
            write(
                &target.join(FILE_NAME),
                served.manifest.to_json().as_bytes(),
            )?;
        }
        match fs::read(UNDIONLY_PATH) {
            Ok(bytes) => write(&root.join(UNDIONLY), &bytes),
            Err(_) => Ok(()),
        }
    }

    /// What an administrator should know about the images, in sentences.
    pub fn notes(&self, config: &Config) -> Vec<String> {
        let mut notes = Vec::new();
        for (served, directory) in self.each() {
            let directory = directory.display();
            let (in_image, in_config) = (
                !served.manifest.site_keys.is_empty(),
                !config.site_keys.is_empty(),
            );
            match (in_image, in_config, served.manifest.file(Role::Uki)) {
                (false, false, _) => notes.push(format!(
                    "the image in {directory} has no site key: its terminals show E40 and never connect; \
                     put one in with heliostat-image site, or set site_key here"
                )),
                (false, true, Some(_)) => notes.push(format!(
                    "site_key reaches only terminals that boot through iPXE, and the image in {directory} has none: \
                     for UEFI machines put it in with heliostat-image site"
                )),
                _ => {}
            }
            if served.manifest.file(Role::Uki).is_none() {
                notes.push(format!(
                    "the image in {directory} has no EFI program: UEFI machines cannot boot it"
                ));
            }
            // What the builder said about the key is said above, as it stands now.
            let told = served
                .manifest
                .warnings
                .iter()
                .filter(|w| !w.starts_with("no site key"));
            notes.extend(told.map(|w| format!("the image in {directory}: {w}")));
        }
        if !has_undionly() {
            notes.push(format!(
                "{UNDIONLY_PATH} is missing: BIOS machines boot only if their firmware is iPXE; install the package ipxe"
            ));
        }
        notes
    }
}

/// Whether this machine has the loader for firmware that is not iPXE.
pub fn has_undionly() -> bool {
    Path::new(UNDIONLY_PATH).is_file()
}

fn read(directory: &Path) -> Result<Served, Error> {
    let no_image = |cause| Error::NoImage {
        directory: directory.to_owned(),
        cause,
    };
    let file = fs::File::open(directory.join(FILE_NAME)).map_err(no_image)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(no_image)?;
    let manifest = Manifest::parse(&bytes).map_err(|cause| Error::Manifest {
        directory: directory.to_owned(),
        cause,
    })?;
    Ok(Served {
        id: hex(&bytes)[..16].to_owned(),
        manifest,
    })
}

fn verified(directory: &Path, file: &File) -> Result<Vec<u8>, Error> {
    let path = directory.join(&file.name);
    let bytes = fs::read(&path).map_err(|cause| Error::File {
        path: path.clone(),
        cause,
    })?;
    if bytes.len() as u64 != file.bytes {
        let what = format!("it has {} bytes, expected {}", bytes.len(), file.bytes);
        return Err(Error::Mismatch { path, what });
    }
    match hex(&bytes) {
        sha256 if sha256 == file.sha256 => Ok(bytes),
        sha256 => Err(Error::Mismatch {
            path,
            what: format!("its SHA-256 is {sha256}, expected {}", file.sha256),
        }),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|cause| Error::File {
        path: path.to_owned(),
        cause,
    })
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes a small image; the kernel's content is given.
    pub(crate) fn write_image(directory: &Path, kernel: &[u8]) {
        let entry = |name: &str, role: &str, bytes: &[u8]| {
            let (length, sha256) = (bytes.len(), hex(bytes));
            format!(
                "{{\"name\":\"{name}\",\"role\":\"{role}\",\"bytes\":{length},\"sha256\":\"{sha256}\"}}"
            )
        };
        let files = [
            entry("vmlinuz", "kernel", kernel),
            entry("initramfs.zst", "segment", b"base"),
        ];
        let json = format!(
            "{{\"format\":1,\"builder\":\"b\",\"profile\":\"qemu\",\"kernel_version\":\"6.12\",\"cmdline\":\"quiet\",\
             \"site_keys\":[],\"brokers\":[],\"files\":[{}],\"packages\":[],\"warnings\":[],\"segments\":[{{\
             \"name\":\"base\",\"file\":\"initramfs.zst\",\"required\":true,\"unpacked_bytes\":1,\"contents\":[]}}]}}",
            files.join(",")
        );
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("vmlinuz"), kernel).unwrap();
        fs::write(directory.join("initramfs.zst"), b"base").unwrap();
        fs::write(directory.join(FILE_NAME), json).unwrap();
    }

    /// A config that serves the image in a directory.
    pub(crate) fn config_for(directory: &Path) -> Config {
        let text = format!(
            "interface = \"lo\"\nmode = \"proxy\"\nimage = {:?}\n",
            directory.to_str().unwrap()
        );
        Config::parse("t", &text).unwrap()
    }

    #[test]
    fn what_was_verified_is_what_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (source, root) = (dir.path().join("image"), dir.path().join("www"));
        write_image(&source, b"kernel one");
        let images = Images::load(&config_for(&source)).unwrap();
        images.verify().unwrap();
        images.copy_to(&root).unwrap();
        fs::write(source.join("vmlinuz"), b"kernel two").unwrap();
        let copy = root.join("image").join(&images.general.id);
        assert_eq!(fs::read(copy.join("vmlinuz")).unwrap(), b"kernel one");
        assert!(copy.join(FILE_NAME).exists());
    }

    #[test]
    fn a_changed_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), b"kernel one");
        let images = Images::load(&config_for(dir.path())).unwrap();
        for (content, what) in [
            (&b"kernel two"[..], "SHA-256"),
            (b"short", "5 bytes, expected 10"),
        ] {
            fs::write(dir.path().join("vmlinuz"), content).unwrap();
            let error = images.verify().unwrap_err().to_string();
            assert!(
                error.contains("vmlinuz")
                    && error.contains(what)
                    && error.contains("build the image again"),
                "{error}"
            );
            assert!(images.copy_to(&dir.path().join("www")).is_err());
        }
    }

    #[test]
    fn an_empty_directory_says_how_to_get_an_image() {
        let dir = tempfile::tempdir().unwrap();
        let error = Images::load(&config_for(dir.path()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("build one with heliostat-image"), "{error}");
    }

    #[test]
    fn a_key_that_uefi_machines_would_not_hear_of_is_noted() {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), b"kernel one");
        let mut config = config_for(dir.path());
        config.site_keys = vec!["sha256:00".into()];
        let mut images = Images::load(&config).unwrap();
        assert!(!images.notes(&config).join("\n").contains("site_key"));
        let mut uki = images.general.manifest.files[0].clone();
        uki.role = Role::Uki;
        images.general.manifest.files.push(uki);
        let notes = images.notes(&config).join("\n");
        assert!(
            notes.contains("for UEFI machines put it in with heliostat-image site"),
            "{notes}"
        );
    }

    #[test]
    fn an_image_without_a_site_key_is_noted() {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), b"kernel one");
        let config = config_for(dir.path());
        let notes = Images::load(&config).unwrap().notes(&config).join("\n");
        assert!(
            notes.contains("no site key") && notes.contains("E40"),
            "{notes}"
        );
        assert!(notes.contains("no EFI program"), "{notes}");
    }
}
