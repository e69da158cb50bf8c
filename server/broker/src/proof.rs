//! SHIM, replaced at merge.
#![allow(missing_docs)]
use heliostat_wire::proof::Proof;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledKey(Vec<u8>);
impl EnrolledKey {
    pub fn from_spki(spki: &[u8]) -> Result<Self, ProofError> {
        Ok(Self(spki.to_vec()))
    }
    pub fn spki(&self) -> &[u8] {
        &self.0
    }
    pub fn fingerprint(&self) -> String {
        String::new()
    }
}
#[derive(Debug, Clone)]
pub struct Authorities;
impl Authorities {
    pub fn from_pem(_t: &str) -> Result<Self, ProofError> {
        Err(ProofError)
    }
}
#[derive(Debug, thiserror::Error)]
#[error("bad")]
pub struct ProofError;
pub struct CertifiedKey {
    pub key: EnrolledKey,
    pub card_id: Option<String>,
    pub chained: bool,
}
pub fn verify(_s: &[u8], _p: &Proof, _k: &EnrolledKey) -> Result<(), ProofError> {
    Err(ProofError)
}
pub fn from_certificate(
    _c: &[u8],
    _n: u64,
    _a: Option<&Authorities>,
) -> Result<CertifiedKey, ProofError> {
    Err(ProofError)
}
