use proptest::prelude::*;

use super::bits::without_emulation;
use super::*;
use crate::{Decoder, Encoded, Encoder, Picture, Quality, Size};

/// Access units of a moving picture, by the software codec.
fn film(size: Size, pictures: u32) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(size, Quality::default()).unwrap();
    let mut film = Vec::new();
    for n in 0..pictures {
        let pixel = |at: usize| {
            let (x, y) = (at as u32 % size.w, at as u32 / size.w);
            0xff00_0000 | ((x * 5 + n * 9) % 256) << 16 | ((y * 3) % 256) << 8 | ((x + y) % 256)
        };
        let pixels: Vec<u32> = (0..size.area()).map(pixel).collect();
        let mut picture = Picture::default();
        assert!(picture.take(size, &pixels));
        let mut unit = Vec::new();
        let encoded = encoder.encode(&picture, false, &mut unit).unwrap();
        if encoded != Encoded::LeftOut {
            film.push(unit);
        }
    }
    film
}

fn decode(film: &[Vec<u8>], size: Size) -> Vec<Vec<u32>> {
    let mut decoder = Decoder::new(size).unwrap();
    let mut pixels = vec![0; size.area()];
    film.iter()
        .map(|unit| {
            decoder.decode(unit, &mut pixels, size.w as usize).unwrap();
            pixels.clone()
        })
        .collect()
}

/// What comes before the slices of a stream.
#[derive(Default)]
struct Parameters {
    sequence: Option<SequenceParameters>,
    picture: Option<PictureParameters>,
}

/// A unit with its headers read and written anew.
fn written_anew(nal: &[u8], known: &mut Parameters, out: &mut Vec<u8>) -> Option<Slice> {
    match Kind::of(nal[0]).unwrap() {
        Kind::Sequence => {
            let sequence = SequenceParameters::read(nal).unwrap();
            sequence.write(out);
            known.sequence = Some(sequence);
            None
        }
        Kind::Picture => {
            let picture = PictureParameters::read(nal).unwrap();
            picture.write(out);
            known.picture = Some(picture);
            None
        }
        Kind::Slice | Kind::Idr => {
            let sequence = known.sequence.as_ref().unwrap();
            let picture = known.picture.as_ref().unwrap();
            assert_eq!(Slice::parameters_of(nal), Ok(picture.id));
            let (slice, header) = Slice::read(nal, sequence, picture).unwrap();
            let (bytes, bits) = slice.write(sequence, picture);
            // The start code is not of the unit.
            let (bytes, bits) = (&bytes[4..], bits - 32);
            let mut writer = bits::BitWriter::default();
            let mut reader = Bits::new(&bytes[1..]);
            for _ in 8..bits {
                writer.put(reader.take(1).unwrap(), 1);
            }
            let plain = without_emulation(nal);
            let mut rest = Bits::new(&plain);
            for _ in 0..header / 32 {
                rest.take(32);
            }
            rest.take(header as u32 % 32);
            // All bits up to the one that ends the unit, which is written again.
            while rest.has_more() {
                writer.put(rest.take(1).unwrap(), 1);
            }
            out.extend([0, 0, 0, 1, bytes[0]]);
            bits::append_with_emulation(out, &writer.finish());
            Some(slice)
        }
        Kind::Supplemental | Kind::Delimiter => None,
    }
}

#[test]
fn film_with_all_its_headers_written_anew_is_the_same_film() {
    for (w, h) in [(64, 48), (130, 98), (640, 360)] {
        let size = Size { w, h };
        let film = film(size, 12);
        let mut known = Parameters::default();
        let mut slices = Vec::new();
        let anew: Vec<Vec<u8>> = film
            .iter()
            .map(|unit| {
                let mut out = Vec::new();
                for nal in units(unit).unwrap() {
                    slices.extend(written_anew(nal, &mut known, &mut out));
                }
                out
            })
            .collect();
        assert_eq!(decode(&anew, size), decode(&film, size));
        let sequence = known.sequence.unwrap();
        assert_eq!(sequence.size, size.even());
        assert_eq!(sequence.colour, Some(Colour::BT709));
        assert_eq!(slices[0].kind, SliceKind::Intra);
        assert!(slices[0].restart.is_some());
        assert!(slices.len() >= 6, "{} slices", slices.len());
        assert!(slices[1..].iter().any(|s| s.kind == SliceKind::Predicted));
    }
}

#[test]
fn what_the_protocol_leaves_out_is_refused() {
    let sequence = SequenceParameters::new(Size { w: 64, h: 48 }, Profile::Main, 30);
    let picture = PictureParameters::default();
    let unit = |kind: u32, marking: &[u32]| {
        let mut bits = bits::BitWriter::default();
        bits.golomb(0);
        bits.golomb(kind);
        bits.golomb(0);
        bits.put(1, 8);
        if kind.is_multiple_of(5) {
            bits.put(0, 2);
        }
        bits.flag(true);
        marking.iter().for_each(|number| bits.golomb(*number));
        bits.signed(0);
        bits.golomb(1);
        [&[0x41][..], &bits.finish()].concat()
    };
    let read = |unit: &[u8]| Slice::read(unit, &sequence, &picture).map(|(slice, _)| slice.marking);
    let later = Refused::Unsupported("pictures that build on later ones");
    let long_term = Refused::Unsupported("long-term reference pictures");
    assert_eq!(read(&unit(6, &[])), Err(later));
    assert_eq!(read(&unit(5, &[3, 0, 0, 0])), Err(long_term));
    assert_eq!(read(&unit(5, &[1, 2, 0])), Ok(Marking::Forget(vec![2])));
    let endless = [1, 0].repeat(40);
    assert_eq!(read(&unit(5, &endless)), Err(Refused::Malformed));
    assert_eq!(read(&[0x67, 1, 2]), Err(Refused::Kind(7)));
}

prop_compose! {
    fn sequences()(
        (w, h) in (1..=240u32, 1..=135u32).prop_map(|(w, h)| (w * 16, h * 16)),
        (cut_w, cut_h) in (0..8u32, 0..8u32),
        (id, level, references) in (0..32u8, any::<u8>(), 0..=16u8),
        profile in prop_oneof![Just(Profile::Baseline), Just(Profile::Main), Just(Profile::High)],
        frame_number_bits in 4..=16u8,
        order in prop_oneof![Just(Order::Decoding), (4..=16u8).prop_map(|bits| Order::Count { bits })],
        colour in prop::option::of((any::<bool>(), any::<[u8; 3]>())),
        held_back in prop::option::of(0..=16u8),
    ) -> SequenceParameters {
        SequenceParameters {
            id,
            level,
            references,
            frame_number_bits,
            order,
            colour: colour.map(|(full_range, [primaries, transfer, matrix])| Colour {
                full_range, primaries, transfer, matrix,
            }),
            held_back,
            ..SequenceParameters::new(Size { w: w - cut_w * 2, h: h - cut_h * 2 }, profile, level)
        }
    }
}

prop_compose! {
    fn pictures()(
        (id, sequence, references, quantizer) in (any::<u8>(), 0..32u8, 1..=16u8, 0..=51u8),
        (chroma_offset, second) in (-12..=12i8, prop::option::of(-12..=12i8)),
        flags in any::<[bool; 6]>(),
    ) -> PictureParameters {
        let [arithmetic, bottom_count, deblocking_control, constrained_intra, redundant_count, transform_8x8] = flags;
        PictureParameters {
            id, sequence, references, quantizer, chroma_offset,
            second_chroma_offset: second.unwrap_or(chroma_offset),
            arithmetic, bottom_count, deblocking_control, constrained_intra, redundant_count, transform_8x8,
        }
    }
}

prop_compose! {
    /// A slice that these parameters can have.
    fn slices(sequence: SequenceParameters, picture: PictureParameters)(
        intra in any::<bool>(),
        (frame_number, count) in any::<(u16, u16)>(),
        first in any::<u32>(),
        bottom in -1000..1000i32,
        restart in prop::option::of(any::<u16>()),
        references in prop::option::of(1..=16u8),
        reordering in prop::collection::vec((any::<bool>(), 0..60_000u32), 0..=33),
        (marked, back) in (0..3u8, prop::collection::vec(0..60_000u32, 0..=33)),
        table in 0..=2u8,
        quantizer in 0..=51i32,
        (mode, alpha, beta) in (0..=2u8, -6..=6i8, -6..=6i8),
    ) -> Slice {
        let predicted = !intra;
        let (w, h) = sequence.blocks;
        let (count, bottom_count) = match sequence.order {
            Order::Count { bits } => (count & (((1u32 << bits) - 1) as u16), bottom),
            Order::Decoding => (0, 0),
        };
        let counted = sequence.order != Order::Decoding && picture.bottom_count;
        Slice {
            first_block: first % (u32::from(w) * u32::from(h)),
            kind: if intra { SliceKind::Intra } else { SliceKind::Predicted },
            picture: picture.id,
            frame_number: frame_number & (((1u32 << sequence.frame_number_bits) - 1) as u16),
            restart,
            count,
            bottom_count: if counted { bottom_count } else { 0 },
            references: references.filter(|_| predicted),
            reordering: if predicted { reordering[..].into() } else { Default::default() },
            marking: match (restart, marked) {
                (Some(_), _) => Marking::Restart,
                (None, 0) => Marking::Unused,
                (None, 1) => Marking::Sliding,
                (None, _) => Marking::Forget(back),
            },
            arithmetic_table: if picture.arithmetic && predicted { table } else { 0 },
            quantizer_delta: (quantizer - i32::from(picture.quantizer)) as i8,
            deblocking: match (picture.deblocking_control, mode) {
                (false, _) => (0, 0, 0),
                (true, 1) => (1, 0, 0),
                (true, mode) => (mode, alpha, beta),
            },
        }
    }
}

fn with_slice() -> impl Strategy<Value = (SequenceParameters, PictureParameters, Slice)> {
    (sequences(), pictures()).prop_flat_map(|(sequence, picture)| {
        let slice = slices(sequence.clone(), picture.clone());
        (Just(sequence), Just(picture), slice)
    })
}

proptest! {
    /// Whoever fills in the fields may contradict himself.
    #[test]
    fn parameters_of_any_numbers_are_written(
        sequence in sequences(),
        (w, h) in any::<(u32, u32)>(),
        (blocks, cut) in any::<((u16, u16), (u16, u16))>(),
        bits in any::<[u8; 2]>(),
    ) {
        let any = SequenceParameters {
            size: Size { w, h },
            blocks,
            cut,
            frame_number_bits: bits[0],
            order: Order::Count { bits: bits[1] },
            ..sequence
        };
        let [left, right, top, bottom] = any.crop();
        prop_assert!(left + right <= u32::from(blocks.0) * 16);
        prop_assert!(top + bottom <= u32::from(blocks.1) * 16);
        let mut out = Vec::new();
        any.write(&mut out);
        let _ = SequenceParameters::read(&out[4..]);
        let _ = SequenceParameters::new(any.size, any.profile, any.level);
    }

    #[test]
    fn parameters_are_read_as_they_were_written(sequence in sequences(), picture in pictures()) {
        let mut out = Vec::new();
        sequence.write(&mut out);
        picture.write(&mut out);
        let read: Vec<&[u8]> = units(&out).unwrap().collect();
        prop_assert_eq!(read.len(), 2);
        // The zero before a start code of four bytes belongs to no unit.
        prop_assert_eq!(SequenceParameters::read(read[0]), Ok(sequence));
        prop_assert_eq!(PictureParameters::read(read[1]), Ok(picture));
    }

    #[test]
    fn slices_are_read_as_they_were_written((sequence, picture, slice) in with_slice()) {
        let (bytes, bits) = slice.write(&sequence, &picture);
        // A header is followed by data; the bytes that keep start codes away come last.
        let mut unit = vec![bytes[4]];
        bits::append_with_emulation(&mut unit, &[&bytes[5..], &[0xff; 4][..]].concat());
        prop_assert_eq!(Slice::parameters_of(&unit), Ok(picture.id));
        let read = Slice::read(&unit, &sequence, &picture);
        prop_assert_eq!(read, Ok((slice, bits - 32)));
    }

    #[test]
    fn any_bytes_are_headers_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        (sequence, picture, _) in with_slice(),
    ) {
        let _ = SequenceParameters::read(&bytes);
        let _ = PictureParameters::read(&bytes);
        let _ = Slice::parameters_of(&bytes);
        let mut unit = bytes.clone();
        for head in [0x41, 0x65, 0x01] {
            unit.insert(0, head);
            let _ = Slice::read(&unit, &sequence, &picture);
        }
    }

    /// What the fuzz target does, from where fuzzers take long to come.
    #[test]
    fn parameters_with_a_few_wrong_bytes_are_read_or_refused(
        (sequence, picture, slice) in with_slice(),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = Vec::new();
        sequence.write(&mut bytes);
        picture.write(&mut bytes);
        bytes.extend(slice.write(&sequence, &picture).0);
        for (at, byte) in wrong {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        crate::oracle::headers(&bytes);
    }

    #[test]
    fn no_start_code_is_in_what_is_written(bytes in prop::collection::vec(0..4u8, 0..200)) {
        let mut out = Vec::new();
        bits::append_with_emulation(&mut out, &bytes);
        prop_assert!(!out.windows(3).any(|three| three[..2] == [0, 0] && three[2] < 3));
        prop_assert_eq!(without_emulation(&out), bytes);
    }
}
