//! How two ends agree on a version. This layout is frozen: every future version starts with it.

/// The first version.
pub const V1: u16 = 1;
/// The oldest version this build speaks.
pub const MIN: u16 = V1;
/// The newest version this build speaks.
pub const MAX: u16 = V1;
/// ALPN protocol name of the control link.
pub const ALPN_CONTROL: &[u8] = b"heliostat-control";
/// ALPN protocol name of the session link.
pub const ALPN_SESSION: &[u8] = b"heliostat-session";

/// Which of a terminal's two links this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Terminal to broker.
    Control,
    /// Terminal to session.
    Session,
}

/// The first twelve bytes each side sends on the main stream: `HELIOST`, `C` or `S`, then the
/// oldest and the newest version it speaks as little-endian `u16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// The link that is meant.
    pub link: Link,
    /// Oldest version spoken.
    pub min: u16,
    /// Newest version spoken.
    pub max: u16,
}

/// Why two ends cannot speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The bytes are not a preamble.
    #[error("the peer does not speak Heliostat on this link")]
    NotHeliostat,
    /// The peer means the other link.
    #[error("the peer meant the {0:?} link")]
    WrongLink(Link),
    /// The ranges do not overlap.
    #[error(
        "the peer speaks versions {peer_min} to {peer_max}, this end {MIN} to {MAX}: update the older one"
    )]
    NoCommonVersion {
        /// Peer's oldest.
        peer_min: u16,
        /// Peer's newest.
        peer_max: u16,
    },
}

impl Preamble {
    /// Bytes of a preamble.
    pub const SIZE: usize = 7 /* name */ + 1 /* link */ + 2 /* min */ + 2 /* max */;

    /// What this build sends.
    pub fn ours(link: Link) -> Self {
        Self {
            link,
            min: MIN,
            max: MAX,
        }
    }

    /// The twelve bytes.
    pub fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = *b"HELIOST?\0\0\0\0";
        bytes[7] = match self.link {
            Link::Control => b'C',
            Link::Session => b'S',
        };
        bytes[8..10].copy_from_slice(&self.min.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.max.to_le_bytes());
        bytes
    }

    /// Reads the twelve bytes.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, VersionError> {
        let link = match (&bytes[..7], bytes[7]) {
            (b"HELIOST", b'C') => Link::Control,
            (b"HELIOST", b'S') => Link::Session,
            _ => return Err(VersionError::NotHeliostat),
        };
        let min = u16::from_le_bytes([bytes[8], bytes[9]]);
        let max = u16::from_le_bytes([bytes[10], bytes[11]]);
        if min == 0 || min > max {
            return Err(VersionError::NotHeliostat);
        }
        Ok(Self { link, min, max })
    }

    /// The newest version both ends speak on `link`, given the peer's preamble.
    pub fn agree(link: Link, peer: Self) -> Result<u16, VersionError> {
        if peer.link != link {
            return Err(VersionError::WrongLink(peer.link));
        }
        let newest = peer.max.min(MAX);
        if newest < peer.min.max(MIN) {
            return Err(VersionError::NoCommonVersion {
                peer_min: peer.min,
                peer_max: peer.max,
            });
        }
        Ok(newest)
    }
}
