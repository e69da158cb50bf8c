//! A key and the self-signed certificate that shows it.
//!
//! Peers know each other by the SHA-256 of the public key alone; the certificate is only the form
//! in which TLS carries it, and is made anew at every start.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliostat_wire::id::KeyPin;
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData, SigningKey};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

/// An ECDSA P-256 key with its certificate.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    pin: KeyPin,
}

/// Why an identity could not be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file could not be read or written.
    #[error("key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("key file {0} is not an ECDSA P-256 key in PKCS#8 PEM")]
    NotAKey(PathBuf),
    /// Key or certificate could not be made.
    #[error("making a key: {0}")]
    Make(String),
}

impl From<rcgen::Error> for IdentityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Make(error.to_string())
    }
}

impl Identity {
    /// Makes a new key.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::from_key(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
    }

    /// Reads the key in `path`, PKCS#8 PEM.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let pem = fs::read_to_string(path).map_err(|source| file_error(path, source))?;
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| IdentityError::NotAKey(path.to_owned()))?;
        Self::from_key(key)
    }

    /// Reads the key in `path`, or makes one and keeps it there.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match fs::symlink_metadata(path) {
            Ok(_) => Self::load(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Self::generate()?;
                identity.store(path)?;
                Ok(identity)
            }
            Err(source) => Err(file_error(path, source)),
        }
    }

    /// Keeps the key in a new file `path`, readable by its owner only. The file is whole or absent,
    /// whenever the power fails.
    pub fn store(&self, path: &Path) -> Result<(), IdentityError> {
        let partial = path.with_extension("partial");
        let written = (|| {
            let _ = fs::remove_file(&partial);
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&partial)?;
            file.write_all(self.0.key.serialize_pem().as_bytes())?;
            file.sync_all()?;
            fs::hard_link(&partial, path)?;
            fs::remove_file(&partial)
        })();
        written.map_err(|source| file_error(path, source))
    }

    fn from_key(key: KeyPair) -> Result<Self, IdentityError> {
        let mut params = CertificateParams::new(vec![crate::tls::SERVER_NAME.to_owned()])?;
        params
            .distinguished_name
            .push(DnType::CommonName, crate::tls::SERVER_NAME);
        let certificate = params.self_signed(&key)?.der().clone();
        let pin = KeyPin(Sha256::digest(key.subject_public_key_info()).into());
        Ok(Self(Arc::new(Inner {
            key,
            certificate,
            pin,
        })))
    }

    /// By what peers know this key.
    pub fn pin(&self) -> KeyPin {
        self.0.pin
    }

    /// The certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.certificate.clone()
    }

    /// The private key, for TLS.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.key.serialize_der()).into()
    }

    /// The public key, as SubjectPublicKeyInfo (DER); its SHA-256 is the pin.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.key.subject_public_key_info()
    }

    /// A signature of `message` (ECDSA with SHA-256, DER). What is signed must begin with a word of
    /// its own, so that it is never taken for something else that this key signs.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        Ok(self.0.key.sign(message)?)
    }

    /// A secret derived from the key for `purpose`: the same at every start, unrelated to others.
    pub(crate) fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((purpose.len() as u64).to_le_bytes());
        hash.update(purpose);
        hash.update(self.0.key.serialized_der());
        hash.finalize().into()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.0.pin)
    }
}

fn file_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File {
        path: path.to_owned(),
        source,
    }
}

/// The pin of the key in a certificate (DER); none where it is not an X.509 certificate.
pub fn pin_of_certificate(certificate: &CertificateDer<'_>) -> Option<KeyPin> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let spki = certificate.subject_public_key_info();
    Some(KeyPin(Sha256::digest(spki.as_ref()).into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_kept_key_has_the_same_pin_after_a_restart_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.key");
        let made = Identity::load_or_create(&path).unwrap();
        let read = Identity::load_or_create(&path).unwrap();
        assert_eq!(made.pin(), read.pin());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_pin_is_that_of_the_certificates_key() {
        let identity = Identity::generate().unwrap();
        assert_eq!(
            pin_of_certificate(&identity.certificate()),
            Some(identity.pin())
        );
        assert_ne!(Identity::generate().unwrap().pin(), identity.pin());
    }

    #[test]
    fn a_file_that_holds_no_key_is_named_in_the_error_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.key");
        fs::write(&path, "hello").unwrap();
        let error = Identity::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("site.key") && error.contains("P-256"));
        assert_eq!(fs::read(&path).unwrap(), b"hello");
    }

    #[test]
    fn debug_output_shows_the_pin_and_no_key() {
        let identity = Identity::generate().unwrap();
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity({})", identity.pin())
        );
    }
}
