//! What a driver is told of a picture, and what the headers say of it: two sides of the same numbers.

use heliostat_video::Size;
use heliostat_video::syntax::{
    Marking, PictureParameters, Profile, SequenceParameters, Slice, SliceKind,
};

use super::{Rate, Settings};
use crate::abi::{
    self, EncMisc, EncMiscFrameRate, EncMiscHrd, EncMiscRateControl, EncPictureParameterH264,
    EncSequenceParameterH264, EncSliceParameterH264, Id, PictureH264, ProcPipelineParameter,
    Rectangle, colour, misc,
};
use crate::probe::{EncodePath, RateControl};
use crate::sys::plain::zeroed;

/// Levels with macroblocks a second, macroblocks a picture and thousands of bits a second. Source:
/// ITU-T H.264, table A-1.
const LEVELS: [(u8, u32, u32, u32); 16] = [
    (10, 1485, 99, 64),
    (11, 3000, 396, 192),
    (12, 6000, 396, 384),
    (13, 11_880, 396, 768),
    (20, 11_880, 396, 2000),
    (21, 19_800, 792, 4000),
    (22, 20_250, 1620, 4000),
    (30, 40_500, 1620, 10_000),
    (31, 108_000, 3600, 14_000),
    (32, 216_000, 5120, 20_000),
    (40, 245_760, 8192, 20_000),
    (41, 245_760, 8192, 50_000),
    (42, 522_240, 8704, 50_000),
    (50, 589_824, 22_080, 135_000),
    (51, 983_040, 36_864, 240_000),
    (52, 2_073_600, 36_864, 240_000),
];
/// The highest level that videos have, ten times its number.
const HIGHEST: u8 = 52;
/// Bits of a macroblock that is coded as it is, and some for headers.
const BYTES_OF_BLOCK: u32 = 400;
/// Bytes of headers and of the driver's own.
const BYTES_BESIDE: u32 = 1 << 16;

/// The picture's place among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Turn {
    /// Pictures since the last key.
    pub number: u32,
    /// It needs none before it.
    pub is_key: bool,
    /// Tells keys from each other that follow at once.
    pub restart: u16,
}

impl Turn {
    /// The next picture begins, maybe as a key.
    pub fn begin(&mut self, key: bool) {
        self.is_key = key;
        if key {
            self.number = 0;
            self.restart ^= 1;
        }
    }

    /// It has ended well.
    pub fn end(&mut self) {
        self.number += 1;
    }

    /// The number that headers have.
    fn frame_number(&self, sequence: &SequenceParameters) -> u16 {
        (self.number & ((1 << sequence.frame_number_bits) - 1)) as u16
    }
}

/// Where things lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The surface that the picture is kept in for the next one.
    pub current: Id,
    /// The one of the picture before.
    pub before: Id,
    /// The buffer that it is coded into.
    pub coded: Id,
}

fn blocks(size: Size) -> u32 {
    size.w.div_ceil(16) * size.h.div_ceil(16)
}

/// Bytes that a coded picture of this size can have.
pub(super) fn room(size: Size) -> u32 {
    blocks(size) * BYTES_OF_BLOCK + BYTES_BESIDE
}

impl Settings {
    fn bits_per_second(&self) -> u32 {
        match self.rate {
            Rate::Bounded {
                bits_per_second, ..
            } => bits_per_second.max(1),
            // Where the driver knows nothing but rates: four bits for a pixel bound nothing.
            Rate::Constant { .. } => {
                let bits = self.size.area() as u64 * 4 * u64::from(self.pictures_per_second);
                bits.clamp(1, 500_000_000) as u32
            }
        }
    }

    /// Least and greatest quantizer.
    fn quantizers(&self) -> (u8, u8) {
        let (finest, coarsest) = match self.rate {
            Rate::Constant { quantizer } => (quantizer, quantizer),
            Rate::Bounded {
                finest, coarsest, ..
            } => (finest, coarsest),
        };
        let finest = finest.clamp(1, 51);
        (finest, coarsest.clamp(finest, 51))
    }

    /// The quantizer to begin with.
    fn quantizer(&self) -> u8 {
        let (finest, coarsest) = self.quantizers();
        26.clamp(finest, coarsest)
    }
}

/// The least level that allows such a video; the highest, where none does.
fn level(size: Size, pictures_per_second: u16, bits_per_second: u32) -> u8 {
    let blocks = blocks(size);
    let side = size.w.max(size.h).div_ceil(16);
    let allows = |&&(_, a_second, a_picture, kilobits): &&(u8, u32, u32, u32)| {
        blocks <= a_picture
            && side * side <= 8 * a_picture
            && blocks.saturating_mul(pictures_per_second.into()) <= a_second
            && bits_per_second / 1000 <= kilobits
    };
    LEVELS.iter().find(allows).map_or(HIGHEST, |level| level.0)
}

/// The SPS of a video.
pub(super) fn sequence(path: &EncodePath, settings: &Settings) -> SequenceParameters {
    let bits = match path.rate_control {
        RateControl::Constant => 0,
        _ => settings.bits_per_second(),
    };
    let level = level(settings.size, settings.pictures_per_second, bits);
    SequenceParameters::new(settings.size, path.profile, level)
}

/// The PPS of a video.
pub(super) fn picture(path: &EncodePath, settings: &Settings) -> PictureParameters {
    PictureParameters {
        arithmetic: path.profile != Profile::Baseline,
        quantizer: settings.quantizer(),
        ..PictureParameters::default()
    }
}

/// What the slice header of a picture says.
pub(super) fn slice(
    turn: &Turn,
    (sequence, picture): (&SequenceParameters, &PictureParameters),
    settings: &Settings,
    rate_control: RateControl,
) -> Slice {
    let quantizer_delta = match rate_control {
        RateControl::Constant => settings.quantizer() as i8 - picture.quantizer as i8,
        // The driver writes what it has chosen.
        _ => 0,
    };
    Slice {
        first_block: 0,
        kind: match turn.is_key {
            true => SliceKind::Intra,
            false => SliceKind::Predicted,
        },
        picture: picture.id,
        frame_number: turn.frame_number(sequence),
        restart: turn.is_key.then_some(turn.restart),
        count: 0,
        bottom_count: 0,
        references: None,
        reordering: Default::default(),
        marking: match turn.is_key {
            true => Marking::Restart,
            false => Marking::Sliding,
        },
        arithmetic_table: 0,
        quantizer_delta,
        deblocking: (0, 0, 0),
    }
}

/// `VAEncSequenceParameterBufferH264`.
pub(super) fn enc_sequence(
    sequence: &SequenceParameters,
    settings: &Settings,
) -> EncSequenceParameterH264 {
    let mut p: EncSequenceParameterH264 = zeroed();
    p.seq_parameter_set_id = sequence.id;
    p.level_idc = sequence.level;
    // No keys but those that are asked for, and nothing between pictures that build on each other.
    (p.intra_period, p.intra_idr_period, p.ip_period) = (0, 0, 1);
    p.bits_per_second = settings.bits_per_second();
    p.max_num_ref_frames = sequence.references.into();
    (p.picture_width_in_mbs, p.picture_height_in_mbs) = sequence.blocks;
    let frame_number = u32::from(sequence.frame_number_bits) - 4;
    let (chroma_420, frames_only, direct_8x8, order_of_decoding) = (1, 1 << 2, 1 << 5, 2 << 10);
    p.seq_fields = chroma_420 | frames_only | direct_8x8 | frame_number << 6 | order_of_decoding;
    let [_, right, _, bottom] = sequence.crop();
    (p.frame_crop_right_offset, p.frame_crop_bottom_offset) = (right / 2, bottom / 2);
    let is_cropped = p.frame_crop_right_offset + p.frame_crop_bottom_offset > 0;
    p.frame_cropping_flag = is_cropped.into();
    p.vui_parameters_present_flag = 1;
    // How far back a decoder has to think, and vectors of any length, also beyond the edges.
    p.vui_fields = 1 << 2 | 15 << 3 | 15 << 8 | 1 << 15;
    p
}

fn nobody() -> PictureH264 {
    let mut nobody: PictureH264 = zeroed();
    nobody.picture_id = abi::INVALID_ID;
    nobody.flags = abi::PICTURE_H264_INVALID;
    nobody
}

fn somebody(id: Id, number: u32, sequence: &SequenceParameters) -> PictureH264 {
    let turn = Turn {
        number,
        ..Turn::default()
    };
    let mut picture: PictureH264 = zeroed();
    picture.picture_id = id;
    picture.frame_idx = turn.frame_number(sequence).into();
    picture.flags = abi::PICTURE_H264_SHORT_TERM_REFERENCE;
    picture.top_field_order_cnt = 2 * number as i32;
    picture.bottom_field_order_cnt = 2 * number as i32;
    picture
}

/// `VAEncPictureParameterBufferH264`.
pub(super) fn enc_picture(
    sequence: &SequenceParameters,
    picture: &PictureParameters,
    turn: &Turn,
    place: &Place,
) -> EncPictureParameterH264 {
    let mut p: EncPictureParameterH264 = zeroed();
    p.curr_pic = somebody(place.current, turn.number, sequence);
    p.reference_frames = [nobody(); 16];
    if !turn.is_key {
        p.reference_frames[0] = somebody(place.before, turn.number - 1, sequence);
    }
    p.coded_buf = place.coded;
    (p.pic_parameter_set_id, p.seq_parameter_set_id) = (picture.id, sequence.id);
    p.frame_num = turn.frame_number(sequence);
    p.pic_init_qp = picture.quantizer;
    p.num_ref_idx_l0_active_minus1 = picture.references - 1;
    p.chroma_qp_index_offset = picture.chroma_offset;
    p.second_chroma_qp_index_offset = picture.second_chroma_offset;
    let flag = |on: bool, at: u32| u32::from(on) << at;
    p.pic_fields = flag(turn.is_key, 0)
        | flag(true, 1)
        | flag(picture.arithmetic, 3)
        | flag(picture.transform_8x8, 8)
        | flag(picture.deblocking_control, 9);
    p
}

/// `VAEncSliceParameterBufferH264`.
pub(super) fn enc_slice(
    sequence: &SequenceParameters,
    slice: &Slice,
    turn: &Turn,
    place: &Place,
) -> EncSliceParameterH264 {
    let mut p: EncSliceParameterH264 = zeroed();
    p.macroblock_address = slice.first_block;
    p.num_macroblocks = u32::from(sequence.blocks.0) * u32::from(sequence.blocks.1);
    p.macroblock_info = abi::INVALID_ID;
    p.slice_type = match slice.kind {
        SliceKind::Predicted => 0,
        SliceKind::Intra => 2,
    };
    p.pic_parameter_set_id = slice.picture;
    p.idr_pic_id = slice.restart.unwrap_or(0);
    p.ref_pic_list0 = [nobody(); 32];
    p.ref_pic_list1 = [nobody(); 32];
    if !turn.is_key {
        p.ref_pic_list0[0] = somebody(place.before, turn.number - 1, sequence);
    }
    p.slice_qp_delta = slice.quantizer_delta;
    (
        p.disable_deblocking_filter_idc,
        p.slice_alpha_c0_offset_div2,
        p.slice_beta_offset_div2,
    ) = slice.deblocking;
    p
}

/// How many pictures come.
pub(super) fn frame_rate(settings: &Settings) -> EncMisc<EncMiscFrameRate> {
    let mut value: EncMiscFrameRate = zeroed();
    value.framerate = 1 << 16 | u32::from(settings.pictures_per_second.clamp(1, 1000));
    EncMisc {
        kind: misc::FRAME_RATE,
        value,
    }
}

/// How many bits there may be.
pub(super) fn rate_control(settings: &Settings) -> EncMisc<EncMiscRateControl> {
    let mut value: EncMiscRateControl = zeroed();
    let (finest, coarsest) = settings.quantizers();
    value.bits_per_second = settings.bits_per_second();
    value.target_percentage = 90;
    value.window_size = 1000;
    value.initial_qp = settings.quantizer().into();
    (value.min_qp, value.max_qp) = (finest.into(), coarsest.into());
    // No picture is left out, and none is filled up.
    value.rc_flags = 1 << 1 | 1 << 2;
    EncMisc {
        kind: misc::RATE_CONTROL,
        value,
    }
}

/// How many bits may come at once: those of four pictures, since each is waited for.
pub(super) fn hrd(settings: &Settings) -> EncMisc<EncMiscHrd> {
    let mut value: EncMiscHrd = zeroed();
    let of_one = settings.bits_per_second() / u32::from(settings.pictures_per_second.max(1));
    value.buffer_size = of_one.saturating_mul(4).max(1);
    value.initial_buffer_fullness = value.buffer_size / 4 * 3;
    EncMisc {
        kind: misc::HRD,
        value,
    }
}

/// The part of a surface that begins at `corner`. Sides of videos are far below what fits.
pub(super) fn region(corner: (u32, u32), size: Size) -> Rectangle {
    let place = |at: u32| i16::try_from(at).unwrap_or(i16::MAX);
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    Rectangle {
        x: place(corner.0),
        y: place(corner.1),
        width: side(size.w),
        height: side(size.h),
    }
}

/// A conversion of a surface, or a region of it, into BT.709 in limited range: from RGB in full range
/// with the colours of `standard`, or from the same where none is given.
pub(super) fn conversion(
    from: Id,
    standard: Option<i32>,
    region: Option<&Rectangle>,
) -> ProcPipelineParameter {
    let mut p: ProcPipelineParameter = zeroed();
    p.surface = from;
    p.surface_region = region.map_or(std::ptr::null(), std::ptr::from_ref);
    (
        p.surface_color_standard,
        p.input_color_properties.color_range,
    ) = match standard {
        Some(standard) => (standard, colour::RANGE_FULL),
        None => (colour::STANDARD_BT709, colour::RANGE_REDUCED),
    };
    p.output_color_standard = colour::STANDARD_BT709;
    p.output_color_properties.color_range = colour::RANGE_REDUCED;
    p.output_background_color = 0xff00_0000;
    p
}

#[cfg(test)]
mod tests {
    use heliostat_video::is_possible;
    use heliostat_video::syntax::units;
    use proptest::prelude::*;

    use super::*;
    use crate::probe::{Choice, Hears, Way};

    fn path(profile: Profile, rate_control: RateControl) -> EncodePath {
        EncodePath {
            profile,
            way: Way::Encode,
            choice: Choice::NotOffered,
            rate_control,
            packed_headers: 7,
            converts_from: None,
            modifiers: vec![0],
            hears: Hears::default(),
        }
    }

    fn rates() -> impl Strategy<Value = Rate> {
        prop_oneof![
            any::<u8>().prop_map(|quantizer| Rate::Constant { quantizer }),
            (any::<u32>(), any::<u8>(), any::<u8>()).prop_map(|(bits, finest, coarsest)| {
                Rate::Bounded {
                    bits_per_second: bits,
                    finest,
                    coarsest,
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn headers_read_back_are_what_the_driver_is_told(
            (w, h) in (16u32..3841, 16u32..2161),
            rate in rates(),
            pictures_per_second in any::<u16>(),
            number in 0u32..2000,
            profile in prop::sample::select(vec![Profile::Baseline, Profile::Main, Profile::High]),
            rate_control in prop::sample::select(vec![RateControl::Constant, RateControl::Variable]),
        ) {
            let settings = Settings { size: Size { w, h }, pictures_per_second, rate };
            prop_assume!(is_possible(settings.size));
            let path = path(profile, rate_control);
            let (sequence, picture) = (sequence(&path, &settings), picture(&path, &settings));
            let mut bytes = Vec::new();
            sequence.write(&mut bytes);
            picture.write(&mut bytes);
            let mut written = units(&bytes).unwrap();
            let sps = SequenceParameters::read(written.next().unwrap().strip_suffix(&[0]).unwrap());
            prop_assert_eq!(sps.as_ref(), Ok(&sequence));
            let pps = PictureParameters::read(written.next().unwrap());
            prop_assert_eq!(pps.as_ref(), Ok(&picture));

            let told = enc_sequence(&sequence, &settings);
            let (columns, rows) = (told.picture_width_in_mbs, told.picture_height_in_mbs);
            prop_assert_eq!(u32::from(columns) * 16 - 2 * told.frame_crop_right_offset, w.next_multiple_of(2));
            prop_assert_eq!(u32::from(rows) * 16 - 2 * told.frame_crop_bottom_offset, h.next_multiple_of(2));
            prop_assert_eq!(told.level_idc, sequence.level);

            let turn = Turn { number, is_key: number == 0, restart: 1 };
            let place = Place { current: 1, before: 2, coded: 3 };
            let slice = slice(&turn, (&sequence, &picture), &settings, rate_control);
            let told = enc_slice(&sequence, &slice, &turn, &place);
            let of_picture = enc_picture(&sequence, &picture, &turn, &place);
            let mut header = vec![7; 3];
            let bits = slice.write_over(&sequence, &picture, &mut header);
            prop_assert_eq!(bits.div_ceil(8), header.len());
            header.extend([0x80; 4]);
            let (read, length) = Slice::read(&header[4..], &sequence, &picture).unwrap();
            prop_assert_eq!((&read, length), (&slice, bits - 32));
            prop_assert_eq!(read.frame_number, of_picture.frame_num);
            prop_assert_eq!(read.quantizer_delta, told.slice_qp_delta);
            let quantizer = i32::from(of_picture.pic_init_qp) + i32::from(told.slice_qp_delta);
            prop_assert!((1..=51).contains(&quantizer));
            prop_assert_eq!(of_picture.pic_fields & 1 == 1, read.restart.is_some());
            let references = [of_picture.reference_frames[0], told.ref_pic_list0[0]];
            let expected = if turn.is_key { abi::INVALID_ID } else { 2 };
            prop_assert!(references.iter().all(|reference| reference.picture_id == expected));
        }

        #[test]
        fn rates_told_are_within_what_drivers_take(rate in rates(), pictures in any::<u16>()) {
            let size = Size { w: 640, h: 360 };
            let settings = Settings { size, pictures_per_second: pictures, rate };
            let told = rate_control(&settings).value;
            prop_assert!(told.bits_per_second > 0);
            prop_assert!(1 <= told.min_qp && told.min_qp <= told.initial_qp);
            prop_assert!(told.initial_qp <= told.max_qp && told.max_qp <= 51);
            prop_assert!((1..=1000).contains(&(frame_rate(&settings).value.framerate & 0xffff)));
            let hrd = hrd(&settings).value;
            prop_assert!(hrd.initial_buffer_fullness <= hrd.buffer_size && hrd.buffer_size > 0);
        }
    }

    #[test]
    fn levels_are_the_least_that_allow_the_video() {
        for ((w, h), pictures, bits, expected) in [
            ((176, 144), 15, 0, 10),
            ((640, 360), 30, 0, 30),
            ((1280, 720), 30, 0, 31),
            ((1920, 1080), 30, 0, 40),
            ((1920, 1080), 30, 30_000_000, 41),
            ((1920, 1080), 60, 0, 42),
            ((3840, 2160), 60, 0, 52),
            ((3840, 2160), 240, 0, 52),
        ] {
            assert_eq!(level(Size { w, h }, pictures, bits), expected, "{w}×{h}");
        }
    }
}
