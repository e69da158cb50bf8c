//! What is offered, and configurations of it.

use crate::format::{self, Format, MAX_SIDE};
use crate::h264::told::{LowPower, MAX_RECTANGLES, MAX_REGIONS, Offers, RATES};
use crate::refusal::{Done, refuse};
use crate::va::{self, config_attrib, entrypoint, profile, status, surface_attrib};

/// What a client has chosen.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// `VAProfile`.
    pub profile: i32,
    /// `VAEntrypoint`.
    pub entrypoint: i32,
    /// `VA_RT_FORMAT_*` that surfaces may have.
    pub rt_formats: u32,
    /// `VA_RC_*`; none but for encoders.
    pub rate_control: u32,
    /// `VA_ENC_PACKED_HEADER_*` that will be given.
    pub packed: u32,
    /// What encoders are told besides.
    pub offers: Offers,
}

const ENCODES: &[i32] = &[
    entrypoint::VLD,
    entrypoint::ENC_SLICE,
    entrypoint::ENC_SLICE_LP,
];

/// Profiles with their entry points, that for low power last. OpenH264 encodes without 8×8 transforms:
/// High only decodes.
pub const OFFERED: [(i32, &[i32]); 4] = [
    (profile::NONE, &[entrypoint::VIDEO_PROC]),
    (profile::H264_CONSTRAINED_BASELINE, ENCODES),
    (profile::H264_MAIN, ENCODES),
    (profile::H264_HIGH, &[entrypoint::VLD]),
];

/// The most entry points of a profile.
pub const MAX_ENTRYPOINTS: i32 = 3;
/// The most attributes of a configuration.
pub const MAX_ATTRIBUTES: i32 = 16;

const PACKED: u32 = va::PACKED_SEQUENCE
    | va::PACKED_PICTURE
    | va::PACKED_SLICE
    | va::PACKED_MISC
    | va::PACKED_RAW_DATA;

/// Whether an entry point encodes.
pub fn encodes(entrypoint: i32) -> bool {
    [entrypoint::ENC_SLICE, entrypoint::ENC_SLICE_LP].contains(&entrypoint)
}

/// Entry points of a profile.
pub fn entrypoints(profile: i32, offers: Offers) -> Done<&'static [i32]> {
    match OFFERED.iter().find(|(offered, _)| *offered == profile) {
        Some((_, [usual @ .., entrypoint::ENC_SLICE_LP])) if offers.low_power.is_none() => {
            Ok(usual)
        }
        Some((_, entrypoints)) => Ok(entrypoints),
        None => refuse(
            status::UNSUPPORTED_PROFILE,
            format!("profile {profile} is not offered"),
        ),
    }
}

fn check(profile: i32, entrypoint: i32, offers: Offers) -> Done {
    match entrypoints(profile, offers)?.contains(&entrypoint) {
        true => Ok(()),
        false => refuse(
            status::UNSUPPORTED_ENTRYPOINT,
            format!("profile {profile} has no entry point {entrypoint}"),
        ),
    }
}

/// The value of an attribute, `VA_ATTRIB_NOT_SUPPORTED` for all that is not offered.
pub fn attribute(profile: i32, entrypoint: i32, kind: i32, offers: Offers) -> Done<u32> {
    check(profile, entrypoint, offers)?;
    let is_codec = entrypoint != entrypoint::VIDEO_PROC;
    let encodes = encodes(entrypoint);
    let rates = match entrypoint {
        entrypoint::ENC_SLICE_LP => offers.low_power.unwrap_or(LowPower::Whole).rates(),
        _ => RATES,
    };
    Ok(match kind {
        config_attrib::RT_FORMAT if is_codec => va::RT_FORMAT_YUV420,
        config_attrib::RT_FORMAT => va::RT_FORMAT_YUV420 | va::RT_FORMAT_RGB32,
        config_attrib::MAX_PICTURE_WIDTH | config_attrib::MAX_PICTURE_HEIGHT if is_codec => {
            super::MAX_CODED_SIDE
        }
        config_attrib::DEC_SLICE_MODE if is_codec && !encodes => va::DEC_SLICE_MODE_NORMAL,
        config_attrib::RATE_CONTROL if encodes => rates,
        config_attrib::ENC_PACKED_HEADERS if encodes => PACKED,
        config_attrib::ENC_MAX_REF_FRAMES if encodes => 1,
        config_attrib::ENC_MAX_SLICES if encodes => 1,
        config_attrib::ENC_QUALITY_RANGE if encodes => 1,
        config_attrib::ENC_INTERLACED if encodes => 0,
        config_attrib::ENC_ROI if encodes && offers.regions => MAX_REGIONS | va::ROI_QP_DELTA,
        config_attrib::ENC_DIRTY_RECT if encodes && offers.rectangles => MAX_RECTANGLES,
        config_attrib::ENC_SKIP_FRAME if encodes && offers.left_out => 1,
        _ => config_attrib::NOT_SUPPORTED,
    })
}

/// Attributes that a configuration has, for `vaQueryConfigAttributes`.
pub const QUERIED: [i32; 12] = [
    config_attrib::RT_FORMAT,
    config_attrib::RATE_CONTROL,
    config_attrib::DEC_SLICE_MODE,
    config_attrib::ENC_PACKED_HEADERS,
    config_attrib::ENC_MAX_REF_FRAMES,
    config_attrib::ENC_MAX_SLICES,
    config_attrib::ENC_QUALITY_RANGE,
    config_attrib::MAX_PICTURE_WIDTH,
    config_attrib::MAX_PICTURE_HEIGHT,
    config_attrib::ENC_ROI,
    config_attrib::ENC_DIRTY_RECT,
    config_attrib::ENC_SKIP_FRAME,
];

impl Config {
    /// A configuration with these attributes, each of which must be one of those that are offered.
    pub fn new(
        (profile, entrypoint): (i32, i32),
        attributes: &[va::ConfigAttrib],
        offers: Offers,
    ) -> Done<Self> {
        let offered = |kind| attribute(profile, entrypoint, kind, offers);
        let encodes = encodes(entrypoint);
        let mut config = Self {
            profile,
            entrypoint,
            rt_formats: offered(config_attrib::RT_FORMAT)?,
            rate_control: if encodes { va::RC_CQP } else { va::RC_NONE },
            packed: 0,
            offers,
        };
        for &va::ConfigAttrib { kind, value } in attributes {
            let possible = offered(kind)?;
            let within = value != 0 && value & !possible == 0;
            match kind {
                config_attrib::RT_FORMAT if within => config.rt_formats = value,
                config_attrib::RT_FORMAT => {
                    return refuse(
                        status::UNSUPPORTED_RT_FORMAT,
                        format!("render target formats {value:#x}"),
                    );
                }
                config_attrib::RATE_CONTROL if within && value.is_power_of_two() => {
                    config.rate_control = value;
                }
                config_attrib::ENC_PACKED_HEADERS if value & !possible == 0 => {
                    config.packed = value;
                }
                _ if possible != config_attrib::NOT_SUPPORTED && value == possible => {}
                _ => {
                    return refuse(
                        status::ATTR_NOT_SUPPORTED,
                        format!("attribute {kind} with value {value:#x}"),
                    );
                }
            }
        }
        Ok(config)
    }

    /// Its attributes.
    pub fn attributes(&self) -> Vec<va::ConfigAttrib> {
        let value = |kind| match kind {
            config_attrib::RT_FORMAT => self.rt_formats,
            config_attrib::RATE_CONTROL if self.entrypoint == entrypoint::ENC_SLICE => {
                self.rate_control
            }
            config_attrib::ENC_PACKED_HEADERS if self.entrypoint == entrypoint::ENC_SLICE => {
                self.packed
            }
            kind => attribute(self.profile, self.entrypoint, kind, self.offers)
                .unwrap_or(config_attrib::NOT_SUPPORTED),
        };
        let all = QUERIED.map(|kind| va::ConfigAttrib {
            kind,
            value: value(kind),
        });
        let offered =
            |attribute: &va::ConfigAttrib| attribute.value != config_attrib::NOT_SUPPORTED;
        all.into_iter().filter(offered).collect()
    }

    /// What surfaces of this configuration may be.
    pub fn surface_attributes(&self) -> Vec<va::SurfaceAttrib> {
        let (least, most) = match self.entrypoint {
            entrypoint::VIDEO_PROC => (1, MAX_SIDE),
            _ => (super::MIN_CODED_SIDE, super::MAX_CODED_SIDE),
        };
        let memory = va::MEM_TYPE_VA | va::MEM_TYPE_DRM_PRIME_2;
        let both = surface_attrib::GETTABLE | surface_attrib::SETTABLE;
        let integer = |kind, flags, value: u32| va::SurfaceAttrib {
            kind,
            flags,
            value: va::GenericValue {
                kind: surface_attrib::TYPE_INTEGER,
                value: value.into(),
            },
        };
        let wanted = |format: &&Format| format.rt_format() & self.rt_formats != 0;
        let formats = format::ALL.iter().filter(wanted);
        let formats =
            formats.map(|format| integer(surface_attrib::PIXEL_FORMAT, both, format.fourcc));
        let external = va::SurfaceAttrib {
            kind: surface_attrib::EXTERNAL_BUFFER_DESCRIPTOR,
            flags: surface_attrib::SETTABLE,
            value: va::GenericValue {
                kind: surface_attrib::TYPE_POINTER,
                value: 0,
            },
        };
        let rest = [
            integer(surface_attrib::MIN_WIDTH, surface_attrib::GETTABLE, least),
            integer(surface_attrib::MAX_WIDTH, surface_attrib::GETTABLE, most),
            integer(surface_attrib::MIN_HEIGHT, surface_attrib::GETTABLE, least),
            integer(surface_attrib::MAX_HEIGHT, surface_attrib::GETTABLE, most),
            integer(surface_attrib::MEMORY_TYPE, both, memory),
            external,
        ];
        formats.chain(rest).collect()
    }
}
