//! What was found and what follows from it, for people.

use std::fmt;

use heliostat_video::Size;

use super::{DecodePath, EncodePath, PACKED, Probe, Refused, SurfaceFormat, Way};
use crate::abi;
use crate::dmabuf::{LINEAR, name};

/// Names of the bits that are set, in words.
pub(super) fn words(bits: u32, names: &[(u32, &str)]) -> String {
    let set = names.iter().filter(|(bit, _)| bits & bit != 0);
    let set: Vec<_> = set.map(|(_, name)| *name).collect();
    match set.is_empty() {
        true => "none".to_owned(),
        false => set.join(", "),
    }
}

fn rate_controls(bits: u32) -> String {
    let names = [
        (abi::RC_CQP, "constant quantizer"),
        (abi::RC_VBR, "bounded rate"),
        (abi::RC_CBR, "constant rate"),
    ];
    words(bits, &names)
}

fn packed_headers(bits: u32) -> String {
    let names = [
        (abi::PACKED_SEQUENCE, "sequence"),
        (abi::PACKED_PICTURE, "picture"),
        (abi::PACKED_SLICE, "slice"),
        (abi::PACKED_MISC, "other"),
        (abi::PACKED_RAW_DATA, "raw"),
    ];
    words(bits, &names)
}

fn listed(formats: &[SurfaceFormat]) -> String {
    let describe = |format: &SurfaceFormat| match format.modifier {
        Some(LINEAR) => format!("{} (linear)", name(format.fourcc)),
        Some(modifier) => format!("{} ({modifier:#x})", name(format.fourcc)),
        None => name(format.fourcc),
    };
    match formats.is_empty() {
        true => "not said".to_owned(),
        false => formats.iter().map(describe).collect::<Vec<_>>().join(", "),
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version;
        writeln!(f, "driver: {} (VA-API {major}.{minor})", self.vendor)?;
        if self.codecs.is_empty() {
            writeln!(f, "H.264: none")?;
        }
        for codec in &self.codecs {
            write!(f, "H.264 {:?}, {}", codec.profile, codec.way)?;
            if let Some(Size { w, h }) = codec.most {
                write!(f, ", up to {w}×{h}")?;
            }
            writeln!(f)?;
            if codec.way != Way::Decode {
                writeln!(f, "  rate control: {}", rate_controls(codec.rate_controls))?;
                writeln!(
                    f,
                    "  packed headers: {}",
                    packed_headers(codec.packed_headers)
                )?;
                writeln!(f, "  offered besides: {}", codec.more)?;
            }
            writeln!(f, "  surfaces: {}", listed(&codec.formats))?;
        }
        for Refused { profile, why } in &self.refused {
            let way = Way::EncodeLowPower;
            writeln!(f, "H.264 {profile:?}, {way}: listed, and refused: {why}")?;
        }
        match &self.converter {
            None => writeln!(f, "conversions: none"),
            Some(converter) => writeln!(f, "conversions: {}", listed(&converter.formats)),
        }
    }
}

impl fmt::Display for EncodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = rate_controls(self.rate_control.flag());
        let (profile, way) = (self.profile, self.way);
        write!(f, "H.264 {profile:?} by {way} ({}), {rate}", self.choice)?;
        match self.packed_headers == PACKED {
            true => write!(f, ", all headers ours")?,
            false => write!(
                f,
                ", of headers ours: {}",
                packed_headers(self.packed_headers)
            )?,
        }
        match self.converts_from {
            Some(_) => write!(
                f,
                "; RGB by VideoProc, which is told the colours, NV12 as it is"
            ),
            None => write!(f, "; NV12 only, for RGB cannot be converted"),
        }?;
        write!(f, "; {}", self.hears)
    }
}

impl fmt::Display for DecodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "H.264 up to {:?} by VLD into NV12", self.profile)?;
        match self.modifier {
            Some(LINEAR) => write!(f, ", linear"),
            Some(modifier) => write!(f, ", modifier {modifier:#x}"),
            None => Ok(()),
        }
    }
}
