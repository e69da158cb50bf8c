//! What a device offers, and which way will be taken.
//!
//! [`Probe::new`] asks; the rest is pure: a person reads the answers (`Display`), and
//! [`Probe::plan_encoding`] and [`Probe::plan_decoding`] say what follows from them, or why nothing
//! does.

mod besides;
mod choice;
mod said;

use std::fmt;

use heliostat_video::Size;
use heliostat_video::syntax::Profile;

use crate::abi::{self, config_attrib, entrypoint, profile, surface_attrib};
use crate::dmabuf::{FORMATS, Format, LINEAR, NV12};
use crate::library::{Config, Context, Display, Error};
pub use besides::{Hears, More};
pub use choice::Choice;

/// What is done with a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `VAEntrypointVLD`.
    Decode,
    /// `VAEntrypointEncSlice`.
    Encode,
    /// `VAEntrypointEncSliceLP`: circuits of their own, without the device's general processors.
    EncodeLowPower,
}

impl Way {
    /// Its `VAEntrypoint`.
    pub fn entrypoint(self) -> i32 {
        match self {
            Self::Decode => entrypoint::VLD,
            Self::Encode => entrypoint::ENC_SLICE,
            Self::EncodeLowPower => entrypoint::ENC_SLICE_LP,
        }
    }

    fn of(entrypoint: i32) -> Option<Self> {
        [Self::Decode, Self::Encode, Self::EncodeLowPower]
            .into_iter()
            .find(|way| way.entrypoint() == entrypoint)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decode => "VLD",
            Self::Encode => "EncSlice",
            Self::EncodeLowPower => "EncSliceLP",
        })
    }
}

/// The `VAProfile` of a profile of H.264.
pub fn va_profile(profile: Profile) -> i32 {
    match profile {
        Profile::Baseline => profile::H264_CONSTRAINED_BASELINE,
        Profile::Main => profile::H264_MAIN,
        Profile::High => profile::H264_HIGH,
    }
}

/// Profiles of H.264 with the best for encoding first: all devices do Main, and without transforms of
/// 8×8, which not all do, High is no more than that.
const PROFILES: [Profile; 3] = [Profile::Main, Profile::High, Profile::Baseline];

/// A format of surfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurfaceFormat {
    /// `VA_FOURCC_*`.
    pub fourcc: u32,
    /// The modifier that the driver gives surfaces of its own; none where it does not say.
    pub modifier: Option<u64>,
}

/// One way of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// The profile.
    pub profile: Profile,
    /// What is done with it.
    pub way: Way,
    /// `VA_RT_FORMAT_*`.
    pub rt_formats: u32,
    /// `VA_RC_*`, for encoders.
    pub rate_controls: u32,
    /// `VA_ENC_PACKED_HEADER_*` that an encoder takes.
    pub packed_headers: u32,
    /// What an encoder offers besides.
    pub more: More,
    /// The largest picture; none where the driver does not say.
    pub most: Option<Size>,
    /// Formats of its surfaces.
    pub formats: Vec<SurfaceFormat>,
}

/// The entry point for low power of a profile, where a driver lists it and refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The profile.
    pub profile: Profile,
    /// What it says.
    pub why: String,
}

/// Conversions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converter {
    /// Formats that surfaces may have, on either side.
    pub formats: Vec<SurfaceFormat>,
    /// `VA_FOURCC_*` that are read; empty where the driver does not say.
    pub reads: Vec<u32>,
    /// `VA_FOURCC_*` that are written; empty where the driver does not say.
    pub writes: Vec<u32>,
    /// `VAProcColorStandardType`s of what is read.
    pub standards: Vec<i32>,
}

/// What a device offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The version of VA-API.
    pub version: (i32, i32),
    /// What the driver calls itself.
    pub vendor: String,
    /// What it does with H.264.
    pub codecs: Vec<Codec>,
    /// What it lists and refuses when it is asked for it.
    pub refused: Vec<Refused>,
    /// What it converts.
    pub converter: Option<Converter>,
}

/// Sides of surfaces that are made to look at their modifier.
const TRIAL: (u32, u32) = (256, 256);

impl Probe {
    /// Asks a device. It takes some milliseconds.
    pub fn new(display: &Display) -> Result<Self, Error> {
        let offered = display.profiles()?;
        let (mut codecs, mut refused) = (Vec::new(), Vec::new());
        for profile in PROFILES {
            let number = va_profile(profile);
            if !offered.contains(&number) {
                continue;
            }
            let ways = display.entrypoints(number)?;
            for way in ways.into_iter().filter_map(Way::of) {
                match codec(display, profile, way) {
                    Ok(codec) => codecs.push(codec),
                    // It is a second way of what there is another for.
                    Err(error) if way == Way::EncodeLowPower && !matches!(error, Error::Lost) => {
                        let why = error.to_string();
                        refused.push(Refused { profile, why });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let converts = offered.contains(&profile::NONE)
            && display
                .entrypoints(profile::NONE)?
                .contains(&entrypoint::VIDEO_PROC);
        let converter = match converts {
            true => Some(converter(display)?),
            false => None,
        };
        Ok(Self {
            version: display.version(),
            vendor: display.vendor(),
            codecs,
            refused,
            converter,
        })
    }
}

fn codec(display: &Display, profile: Profile, way: Way) -> Result<Codec, Error> {
    let of = (va_profile(profile), way.entrypoint());
    let kinds = [
        config_attrib::RT_FORMAT,
        config_attrib::RATE_CONTROL,
        config_attrib::ENC_PACKED_HEADERS,
        config_attrib::MAX_PICTURE_WIDTH,
        config_attrib::MAX_PICTURE_HEIGHT,
    ];
    let [rt_formats, rate_controls, packed_headers, width, height] =
        display.attributes(of, kinds)?;
    let encodes = way != Way::Decode;
    let more = match encodes {
        true => More::ask(display, of)?,
        false => More::default(),
    };
    Ok(Codec {
        more,
        profile,
        way,
        rt_formats: rt_formats.unwrap_or(0),
        rate_controls: rate_controls.filter(|_| encodes).unwrap_or(0),
        packed_headers: packed_headers.filter(|_| encodes).unwrap_or(0),
        most: width.zip(height).map(|(w, h)| Size { w, h }),
        formats: formats(display, &Config::new(display, of, &[])?)?,
    })
}

fn converter(display: &Display) -> Result<Converter, Error> {
    let config = Config::new(display, (profile::NONE, entrypoint::VIDEO_PROC), &[])?;
    let formats = formats(display, &config)?;
    let context = Context::new(config, TRIAL, &[])?;
    let (standards, [reads, writes]) = context.conversions()?;
    Ok(Converter {
        formats,
        reads,
        writes,
        standards,
    })
}

fn formats(display: &Display, config: &Config) -> Result<Vec<SurfaceFormat>, Error> {
    let attributes = config.surface_attributes()?;
    let codes = attributes
        .iter()
        .filter(|attribute| attribute.kind == surface_attrib::PIXEL_FORMAT)
        .map(|attribute| attribute.value.value as u32);
    let describe = |fourcc| SurfaceFormat {
        fourcc,
        modifier: modifier(display, fourcc),
    };
    Ok(codes.map(describe).collect())
}

/// VA-API has no list of modifiers; a surface shows the one that the driver likes best.
fn modifier(display: &Display, fourcc: u32) -> Option<u64> {
    let format = FORMATS.into_iter().find(|format| format.va == fourcc)?;
    let surface = display
        .create_surface(format.rt_format(), TRIAL, fourcc)
        .ok()?;
    let flags = abi::EXPORT_READ_ONLY | abi::EXPORT_COMPOSED_LAYERS;
    let exported = surface.export(flags).ok()?;
    Some(exported.descriptor.objects[0].drm_format_modifier)
}

/// How quantizers are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateControl {
    /// By us, picture by picture.
    Constant,
    /// By the driver, so that no more than so many bits a second come out.
    Variable,
    /// By the driver, so that so many bits a second come out.
    Fixed,
}

impl RateControl {
    /// Its `VA_RC_*`.
    pub fn flag(self) -> u32 {
        match self {
            Self::Constant => abi::RC_CQP,
            Self::Variable => abi::RC_VBR,
            Self::Fixed => abi::RC_CBR,
        }
    }
}

/// How pictures will be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodePath {
    /// The profile.
    pub profile: Profile,
    /// The entry point.
    pub way: Way,
    /// Why that one.
    pub choice: Choice,
    /// How quantizers are chosen.
    pub rate_control: RateControl,
    /// `VA_ENC_PACKED_HEADER_*` that are given.
    pub packed_headers: u32,
    /// The `VAProcColorStandardType` that RGB is converted from, where it can be converted.
    pub converts_from: Option<i32>,
    /// Modifiers that buffers may have.
    pub modifiers: Vec<u64>,
    /// What the driver is told of single pictures.
    pub hears: Hears,
}

/// How pictures will be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodePath {
    /// The highest profile that is decoded.
    pub profile: Profile,
    /// The modifier that decoded surfaces have, where it is known.
    pub modifier: Option<u64>,
}

/// Why a device is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    /// It has no such entry point.
    #[error("it offers no H.264 for {0}")]
    NoCodec(&'static str),
    /// It has one, for smaller pictures.
    #[error("pictures of {}×{} are too large for it", .0.w, .0.h)]
    TooLarge(Size),
    /// It takes no NV12.
    #[error("its surfaces for H.264 cannot be NV12")]
    NoNv12,
    /// It makes no RGB of NV12.
    #[error("it does not convert NV12 to RGB")]
    NoConversion,
    /// It cannot be told how to choose quantizers.
    #[error("it offers neither constant quantizers nor a bounded rate")]
    NoRateControl,
}

const PACKED: u32 = abi::PACKED_SEQUENCE | abi::PACKED_PICTURE | abi::PACKED_SLICE;

impl Probe {
    fn usable(&self, size: Size, is_wanted: impl Fn(Way) -> bool) -> Result<Vec<&Codec>, NoPath> {
        let what = match is_wanted(Way::Decode) {
            true => "decoding",
            false => "encoding",
        };
        let mut codecs: Vec<_> = self.codecs.iter().filter(|c| is_wanted(c.way)).collect();
        let mut keep = |reason: NoPath, is_kept: &dyn Fn(&Codec) -> bool| {
            codecs.retain(|codec| is_kept(codec));
            if codecs.is_empty() {
                Err(reason)
            } else {
                Ok(())
            }
        };
        keep(NoPath::NoCodec(what), &|_| true)?;
        keep(NoPath::TooLarge(size), &|codec| {
            codec
                .most
                .is_none_or(|most| size.w <= most.w && size.h <= most.h)
        })?;
        keep(NoPath::NoNv12, &|codec| {
            let listed = codec.formats.iter().any(|format| format.fourcc == NV12.va);
            codec.rt_formats & abi::RT_FORMAT_YUV420 != 0 && (listed || codec.formats.is_empty())
        })?;
        Ok(codecs)
    }

    /// How pictures of `size` will be encoded, with a bounded rate where that is wanted and offered.
    ///
    /// The low-power entry point is taken where it does what is wanted: on devices that have both, the
    /// other one shares processors with those who draw. RGB is converted by VideoProc and never given
    /// to the encoder, which would choose the colour matrix by itself.
    pub fn plan_encoding(&self, size: Size, bounded: bool) -> Result<EncodePath, NoPath> {
        self.plan_by(size, bounded, true)
    }

    /// The same where the low-power entry point has refused.
    pub fn plan_without_low_power(&self, size: Size, bounded: bool) -> Result<EncodePath, NoPath> {
        self.plan_by(size, bounded, false)
    }

    fn plan_by(
        &self,
        size: Size,
        bounded: bool,
        with_low_power: bool,
    ) -> Result<EncodePath, NoPath> {
        let codecs = self.usable(size, |way| match way {
            Way::Encode => true,
            Way::EncodeLowPower => with_low_power,
            Way::Decode => false,
        })?;
        let wishes: &[RateControl] = match bounded {
            true => &[
                RateControl::Variable,
                RateControl::Fixed,
                RateControl::Constant,
            ],
            false => &[
                RateControl::Constant,
                RateControl::Variable,
                RateControl::Fixed,
            ],
        };
        let rank = |codec: &Codec| {
            let offered = |wish: &RateControl| codec.rate_controls & wish.flag() != 0;
            let wish = wishes.iter().position(offered)?;
            // A driver that packs headers itself may say other things than ours in them.
            let missing = (PACKED & !codec.packed_headers).count_ones();
            let shared = codec.way != Way::EncodeLowPower;
            let profile = PROFILES.iter().position(|p| *p == codec.profile);
            Some((wish, missing, shared, profile))
        };
        let ranked = codecs
            .iter()
            .filter_map(|codec| Some((rank(codec)?, *codec)));
        let ((wish, missing, ..), codec) = ranked
            .min_by_key(|(rank, _)| *rank)
            .ok_or(NoPath::NoRateControl)?;
        let choice = match codec.way {
            Way::EncodeLowPower => Choice::LowPower,
            Way::Encode | Way::Decode if !with_low_power => Choice::Refused,
            Way::Encode | Way::Decode => {
                let is_low = |codec: &Codec| codec.way == Way::EncodeLowPower;
                let usable = codecs.iter().filter(|codec| is_low(codec));
                let ranks =
                    usable.map(|codec| rank(codec).map(|(wish, missing, ..)| (wish, missing)));
                match self.codecs.iter().any(is_low) {
                    false if !self.refused.is_empty() => Choice::Refused,
                    is_offered => Choice::without(is_offered, ranks, (wish, missing)),
                }
            }
        };
        Ok(EncodePath {
            profile: codec.profile,
            way: codec.way,
            choice,
            rate_control: wishes[wish],
            packed_headers: codec.packed_headers & PACKED,
            converts_from: self.standard(),
            modifiers: self.modifiers(codec),
            hears: Hears::of(&codec.more, wishes[wish]),
        })
    }

    /// Formats of buffers that can be encoded in this way.
    pub fn takes(&self, path: &EncodePath) -> Vec<Format> {
        let reads = self.converter.as_ref().map(|converter| &converter.reads);
        let is_read = |format: &Format| {
            let said = reads.is_some_and(|reads| reads.is_empty() || reads.contains(&format.va));
            format.is_nv12 || path.converts_from.is_some() && said
        };
        FORMATS.into_iter().filter(is_read).collect()
    }

    /// How pictures of `size` will be decoded.
    pub fn plan_decoding(&self, size: Size) -> Result<DecodePath, NoPath> {
        let codecs = self.usable(size, |way| way == Way::Decode)?;
        let highest = |codec: &&&Codec| match codec.profile {
            Profile::Baseline => 0,
            Profile::Main => 1,
            Profile::High => 2,
        };
        let codec = codecs.iter().max_by_key(highest);
        let codec = codec.ok_or(NoPath::NoCodec("decoding"))?;
        let nv12 = codec.formats.iter().find(|f| f.fourcc == NV12.va);
        Ok(DecodePath {
            profile: codec.profile,
            modifier: nv12.and_then(|format| format.modifier),
        })
    }

    /// What RGB is said to be when it is converted, if it can be.
    fn standard(&self) -> Option<i32> {
        let converter = self.converter.as_ref()?;
        let writes = &converter.writes;
        if !writes.is_empty() && !writes.contains(&NV12.va) {
            return None;
        }
        // Full range goes with sRGB; where a driver has not heard of it, the range is said besides.
        let knows_srgb = converter.standards.contains(&abi::colour::STANDARD_SRGB);
        Some(match knows_srgb {
            true => abi::colour::STANDARD_SRGB,
            false => abi::colour::STANDARD_BT709,
        })
    }

    fn modifiers(&self, codec: &Codec) -> Vec<u64> {
        let converted = self.converter.iter().flat_map(|c| &c.formats);
        let found = codec.formats.iter().chain(converted);
        let mut modifiers: Vec<u64> = found.filter_map(|format| format.modifier).collect();
        // No driver says so: whoever offers it to others tries it first.
        modifiers.push(LINEAR);
        modifiers.sort_unstable();
        modifiers.dedup();
        modifiers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dmabuf::name;

    pub(super) const SIZE: Size = Size { w: 1920, h: 1080 };

    pub(super) fn codec(
        profile: Profile,
        way: Way,
        rate_controls: u32,
        packed_headers: u32,
    ) -> Codec {
        Codec {
            profile,
            way,
            rt_formats: abi::RT_FORMAT_YUV420,
            rate_controls,
            packed_headers,
            more: More::default(),
            most: Some(Size { w: 4096, h: 4096 }),
            formats: vec![SurfaceFormat {
                fourcc: NV12.va,
                modifier: Some(1 << 56 | 2),
            }],
        }
    }

    pub(super) fn probe(codecs: Vec<Codec>) -> Probe {
        Probe {
            version: (1, 17),
            vendor: "a driver".to_owned(),
            codecs,
            refused: Vec::new(),
            converter: None,
        }
    }

    #[test]
    fn low_power_is_taken_unless_it_lacks_what_is_wanted() {
        let all = abi::RC_CQP | abi::RC_VBR;
        let offered = |low_power| {
            probe(vec![
                codec(Profile::Main, Way::Encode, all, PACKED),
                codec(Profile::Main, Way::EncodeLowPower, low_power, PACKED),
            ])
        };
        let way = |probe: Probe, bounded| probe.plan_encoding(SIZE, bounded).map(|path| path.way);
        assert_eq!(way(offered(all), true), Ok(Way::EncodeLowPower));
        assert_eq!(way(offered(abi::RC_CQP), false), Ok(Way::EncodeLowPower));
        // Without firmware Intel's circuits take constant quantizers only.
        assert_eq!(way(offered(abi::RC_CQP), true), Ok(Way::Encode));
    }

    #[test]
    fn headers_of_ours_count_for_more_than_the_profile() {
        let probe = probe(vec![
            codec(
                Profile::Main,
                Way::Encode,
                abi::RC_CQP,
                abi::PACKED_SEQUENCE,
            ),
            codec(
                Profile::High,
                Way::Encode,
                abi::RC_CQP,
                PACKED | abi::PACKED_MISC,
            ),
        ]);
        let path = probe.plan_encoding(SIZE, true).unwrap();
        assert_eq!((path.profile, path.packed_headers), (Profile::High, PACKED));
        assert_eq!(path.rate_control, RateControl::Constant);
        assert_eq!(path.modifiers, [LINEAR, 1 << 56 | 2]);
        let said = path.to_string();
        assert!(
            said.contains("constant quantizer, all headers ours; NV12 only"),
            "{said}"
        );
    }

    #[test]
    fn only_what_is_converted_is_taken_beside_nv12() {
        let all = abi::RC_CQP | abi::RC_VBR;
        let mut probe = probe(vec![codec(Profile::Main, Way::Encode, all, PACKED)]);
        let takes = |probe: &Probe| {
            let path = probe.plan_encoding(SIZE, true).unwrap();
            let formats = probe.takes(&path).into_iter();
            formats.map(|format| name(format.drm)).collect::<Vec<_>>()
        };
        assert_eq!(takes(&probe), ["NV12"]);
        probe.converter = Some(Converter {
            formats: Vec::new(),
            reads: vec![abi::fourcc(b"BGRX")],
            writes: Vec::new(),
            standards: Vec::new(),
        });
        assert_eq!(takes(&probe), ["NV12", "XR24"]);
        probe.converter.as_mut().unwrap().reads.clear();
        assert_eq!(takes(&probe), ["NV12", "XR24", "AR24", "XB24", "AB24"]);
    }

    #[test]
    fn device_that_cannot_says_why() {
        let decoder = codec(Profile::High, Way::Decode, 0, 0);
        let only = probe(vec![decoder.clone()]);
        assert_eq!(
            only.plan_encoding(SIZE, false),
            Err(NoPath::NoCodec("encoding"))
        );
        let large = Size { w: 8192, h: 4096 };
        assert_eq!(only.plan_decoding(large), Err(NoPath::TooLarge(large)));
        let mut rgb = decoder;
        rgb.formats[0].fourcc = abi::fourcc(b"BGRX");
        assert_eq!(probe(vec![rgb]).plan_decoding(SIZE), Err(NoPath::NoNv12));
        let encoder = codec(Profile::Main, Way::Encode, abi::RC_NONE, PACKED);
        assert_eq!(
            probe(vec![encoder]).plan_encoding(SIZE, false),
            Err(NoPath::NoRateControl)
        );
        assert_eq!(
            probe(Vec::new()).plan_decoding(SIZE),
            Err(NoPath::NoCodec("decoding"))
        );
    }
}
