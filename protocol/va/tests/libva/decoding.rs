//! Access units through the decoder, into memory that is looked at.

use heliostat_va::abi;
use heliostat_va::decoder::converter::Converter;
use heliostat_va::decoder::{DecodeError, Decoder, Frame};
use heliostat_va::encoder::Encoder;
use heliostat_va::image::Reader;
use heliostat_va::probe::Probe;
use heliostat_video::oracle::bt709;
use heliostat_video::syntax::{PictureParameters, Profile, SequenceParameters, Slice, units};
use heliostat_video::{Picture, Quality, Refused, Size};

use crate::alone::{alone, display};
use crate::encoding::{CONSTANT, settings};
use crate::scene::{Buffer, NV12, XRGB, pixels};
use crate::sys::{allocations, bytes, untouched};

/// A film by the software encoder, with the pixels that it was made of.
pub fn film(size: Size, pictures: u32) -> Vec<(Vec<u32>, Vec<u8>)> {
    let quality = Quality {
        finest: 16,
        ..Quality::default()
    };
    let mut encoder = heliostat_video::Encoder::new(size, quality).unwrap();
    let mut picture = Picture::default();
    let unit = |time| {
        let pixels = pixels(size, time);
        assert!(picture.take(size, &pixels));
        let mut unit = Vec::new();
        encoder.encode(&picture, false, &mut unit).unwrap();
        (pixels, unit)
    };
    (0..pictures).map(unit).collect()
}

/// How alike the luma of a frame is to that of what was drawn, in dB.
pub fn likeness(frame: &Frame, size: Size, drawn: &[u32]) -> f64 {
    let memory = frame.memory();
    let d = &memory.descriptor;
    assert_eq!(
        (d.fourcc, d.num_layers, d.layers[0].num_planes),
        (NV12, 1, 2)
    );
    assert_eq!((d.width, d.height), (size.even().w, size.even().h));
    let (offset, pitch) = (
        d.layers[0].offset[0] as usize,
        d.layers[0].pitch[0] as usize,
    );
    let seen = bytes(&memory.fds[0], offset + pitch * size.h as usize);
    let mut squares = 0.0;
    for (row, drawn) in drawn.chunks(size.w as usize).enumerate() {
        for (seen, drawn) in seen[offset + row * pitch..].iter().zip(drawn) {
            let [b, g, r, _] = drawn.to_le_bytes().map(u32::from);
            squares += (f64::from(*seen) - bt709(r, g, b)[0]).powi(2);
        }
    }
    let mean = squares / drawn.len() as f64;
    20.0 * 255f64.log10() - 10.0 * mean.max(1e-9).log10()
}

/// How alike a picture that was made RGB is to what was drawn, in dB.
pub fn likeness_of_rgb(frame: &Frame, size: Size, drawn: &[u32]) -> f64 {
    let memory = frame.memory();
    let d = &memory.descriptor;
    assert_eq!((frame.format().drm, d.num_layers), (XRGB, 1));
    let layer = d.layers[0];
    let (offset, pitch) = (layer.offset[0] as usize, layer.pitch[0] as usize);
    let seen = bytes(&memory.fds[0], offset + pitch * size.h as usize);
    let row = |y: usize| seen[offset + y * pitch..][..size.w as usize * 4].chunks_exact(4);
    let seen = (0..size.h as usize).flat_map(row);
    let seen: Vec<u32> = seen
        .map(|p| u32::from_le_bytes(p.try_into().unwrap()))
        .collect();
    heliostat_video::oracle::psnr(drawn, &seen)
}

fn decoder(size: Size) -> Decoder {
    let display = display().unwrap();
    let probe = Probe::new(&display).unwrap();
    Decoder::new(&display, &probe, size).unwrap()
}

#[test]
fn films_of_both_encoders_come_out_as_they_went_in_whatever_their_size() {
    let name = "decoding::films_of_both_encoders_come_out_as_they_went_in_whatever_their_size";
    let ran = alone(name, "", || {
        for (w, h) in [(640, 360), (641, 361), (98, 64), (17, 99)] {
            let size = Size { w, h };
            let mut software = decoder(size);
            for (time, (drawn, unit)) in film(size, 8).into_iter().enumerate() {
                let frame = software.decode(&unit).unwrap();
                let quality = likeness(&frame, size, &drawn);
                assert!(quality >= 35.0, "{w}×{h}, {time}: {quality} dB");
            }
            let display = display().unwrap();
            let probe = Probe::new(&display).unwrap();
            let mut encoder = Encoder::new(&display, &probe, settings(size, CONSTANT)).unwrap();
            let (buffer, mut unit) = (Buffer::new(XRGB, size), Vec::new());
            let mut hardware = Decoder::new(&display, &probe, size).unwrap();
            for time in 0..20 {
                let drawn = buffer.draw(time);
                buffer
                    .with(|b| encoder.encode(b, time == 9, &mut unit))
                    .unwrap();
                let frame = hardware.decode(&unit).unwrap();
                let quality = likeness(&frame, size, &drawn);
                assert!(quality >= 35.0, "{w}×{h}, {time}: {quality} dB");
            }
        }
    });
    let Some(ran) = ran else { return };
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
    assert!(!ran.log.contains("refused"), "{}", ran.log);
    let mut exported = ran
        .counters
        .lines()
        .filter(|line| line.contains("role=exported"));
    assert!(
        exported.all(|line| line.contains("lent=0 copied=0")),
        "{}",
        ran.counters
    );
}

#[test]
fn frame_that_is_shown_is_not_decoded_into_and_what_it_is_in_is_known_again() {
    let name = "decoding::frame_that_is_shown_is_not_decoded_into_and_what_it_is_in_is_known_again";
    let ran = alone(name, "", || {
        let size = Size { w: 64, h: 48 };
        let film = film(size, 60);
        let mut decoder = decoder(size);
        let shown = decoder.decode(&film[0].1).unwrap();
        let mut ids = vec![shown.id()];
        for (drawn, unit) in &film[1..30] {
            let frame = decoder.decode(unit).unwrap();
            assert_ne!(frame.id(), shown.id());
            assert!(likeness(&frame, size, drawn) >= 35.0);
            ids.push(frame.id());
        }
        assert!(likeness(&shown, size, &film[0].0) >= 35.0);
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() <= 8, "{ids:?}");
        let (mut held, mut at) = (vec![shown], 30);
        let full = loop {
            match decoder.decode(&film[at].1) {
                Ok(frame) => held.push(frame),
                Err(error) => break error,
            }
            at += 1;
        };
        assert!(matches!(full, DecodeError::Full(8)), "{full}");
        // Who gives back may go on with the same unit.
        held.drain(..2);
        let frame = decoder.decode(&film[at].1).unwrap();
        assert!(likeness(&frame, size, &film[at].0) >= 35.0);
        // What is shown lives on when the decoder is gone.
        drop(decoder);
        assert!(likeness(&frame, size, &film[at].0) >= 35.0);
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("refused"), "{}", ran.log);
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

#[test]
fn picture_copied_out_is_what_lies_in_the_surface() {
    let name = "decoding::picture_copied_out_is_what_lies_in_the_surface";
    let ran = alone(name, "", || {
        let mut reader = Reader::default();
        // One reader after the other video as well.
        for (w, h) in [(64, 48), (65, 47), (64, 48)] {
            let size = Size { w, h };
            let mut decoder = decoder(size);
            for (_, unit) in film(size, 3) {
                let frame = decoder.decode(&unit).unwrap();
                let memory = frame.memory();
                let layer = memory.descriptor.layers[0];
                let even = size.even();
                let lies = layer.offset[1] as usize + (layer.pitch[1] * even.h / 2) as usize;
                let lies = bytes(&memory.fds[0], lies);
                let same = reader.read(&frame, |copied| {
                    [(0, even.h), (1, even.h / 2)]
                        .into_iter()
                        .all(|(plane, rows)| {
                            (0..rows as usize).all(|row| {
                                let at = layer.offset[plane] + layer.pitch[plane] * row as u32;
                                let from = row * copied.strides[plane];
                                let copy = &copied.planes[plane][from..][..even.w as usize];
                                lies[at as usize..][..even.w as usize] == *copy
                            })
                        })
                });
                assert!(same.unwrap(), "{w}×{h}");
            }
        }
    });
    let Some(ran) = ran else { return };
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
    assert!(!ran.log.contains("refused"), "{}", ran.log);
}

#[test]
fn steady_film_allocates_nothing() {
    alone("decoding::steady_film_allocates_nothing", "", || {
        let size = Size { w: 320, h: 240 };
        let display = display().unwrap();
        let probe = Probe::new(&display).unwrap();
        let mut encoder = Encoder::new(&display, &probe, settings(size, CONSTANT)).unwrap();
        let (buffer, mut unit) = (Buffer::new(XRGB, size), Vec::with_capacity(1 << 20));
        let mut decoder = Decoder::new(&display, &probe, size).unwrap();
        for time in 0..40 {
            buffer.draw(time);
            buffer
                .with(|b| encoder.encode(b, false, &mut unit))
                .unwrap();
            let before = allocations();
            decoder.decode(&unit).unwrap();
            let made = allocations() - before;
            // The first one shows that it is counted at all.
            assert!(time > 0 || made > 0);
            assert!(time < 3 || made == 0, "picture {time}: {made} allocations");
        }
    });
}

#[test]
fn surface_holds_nothing_of_whoever_had_its_memory_before() {
    let name = "decoding::surface_holds_nothing_of_whoever_had_its_memory_before";
    let ran = alone(name, "", || {
        for (w, h) in [(64, 48), (641, 361)] {
            let size = Size { w, h };
            let display = display().unwrap();
            let fresh = display.create_surface(abi::RT_FORMAT_YUV420, (w, h), NV12);
            assert!(untouched() > 0, "new memory is taken for old");
            drop(fresh);
            let mut decoder = decoder(size);
            let frame = decoder.decode(&film(size, 1)[0].1).unwrap();
            assert_eq!(untouched(), 0);
            drop(frame);
        }
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("refused"), "{}", ran.log);
    }
}

#[test]
fn picture_that_slices_leave_open_is_not_decoded() {
    let name = "decoding::picture_that_slices_leave_open_is_not_decoded";
    alone(name, "", || {
        let size = Size { w: 64, h: 48 };
        let sequence = SequenceParameters::new(size, Profile::Baseline, 40);
        let parameters = PictureParameters::default();
        let key = |slices: &[(u32, u32)]| {
            let mut unit = Vec::new();
            sequence.write(&mut unit);
            parameters.write(&mut unit);
            for (first_block, blocks) in slices {
                let slice = Slice {
                    first_block: *first_block,
                    ..Slice::of_key()
                };
                unit.extend([0, 0, 1]);
                unit.extend(slice.grey(&sequence, &parameters, *blocks));
            }
            unit
        };
        let mut decoder = decoder(size);
        decoder.decode(&key(&[(0, 5), (5, 7)])).unwrap();
        for slices in [
            &[(0, 11)][..],
            &[(0, 5), (6, 6)],
            &[(3, 9)],
            &[(0, 3), (6, 6), (3, 3)],
        ] {
            let decoded = decoder.decode(&key(slices));
            assert!(decoded.is_err(), "{slices:?}");
        }
        decoder.decode(&key(&[(0, 12)])).unwrap();
    });
}

#[test]
fn damaged_film_asks_for_a_key_and_heals_with_it() {
    let name = "decoding::damaged_film_asks_for_a_key_and_heals_with_it";
    alone(name, "", || {
        let size = Size { w: 64, h: 48 };
        let film = film(size, 6);
        let mut decoder = decoder(size);
        let late = decoder.decode(&film[1].1);
        assert!(matches!(late, Err(DecodeError::NoKey)), "{late:?}");
        type IsRight = fn(&DecodeError) -> bool;
        let first = units(&film[0].1).unwrap().next().unwrap();
        let mut sequence =
            SequenceParameters::read(first.strip_suffix(&[0]).unwrap_or(first)).unwrap();
        sequence.frame_number_bits = 5;
        let mut changed = Vec::new();
        sequence.write(&mut changed);
        changed.extend(&film[2].1);
        let bad: [(&[u8], IsRight); 5] = [
            (&changed, |e| {
                matches!(e, DecodeError::Refused(Refused::Unsupported(_)))
            }),
            (&film[3].1, |e| matches!(e, DecodeError::NoKey)),
            (&film[2].1[..6], |e| matches!(e, DecodeError::Refused(_))),
            (&[0, 0, 1, 14, 3], |e| {
                matches!(e, DecodeError::Refused(Refused::Kind(14)))
            }),
            (&[], |e| {
                matches!(e, DecodeError::Refused(Refused::NoStartCode))
            }),
        ];
        for (unit, is_right) in bad {
            decoder.decode(&film[0].1).unwrap();
            decoder.decode(&film[1].1).unwrap();
            let error = decoder.decode(unit).unwrap_err();
            assert!(is_right(&error), "{error}");
            let after = decoder.decode(&film[2].1);
            assert!(matches!(after, Err(DecodeError::NoKey)), "{after:?}");
        }
        for (drawn, unit) in &film {
            let frame = decoder.decode(unit).unwrap();
            assert!(likeness(&frame, size, drawn) >= 35.0);
        }
        let other = crate::decoding::film(Size { w: 96, h: 48 }, 1);
        let error = decoder.decode(&other[0].1).unwrap_err();
        assert!(
            matches!(error, DecodeError::Refused(Refused::WrongSize(96, 48))),
            "{error}"
        );
    });
}

#[test]
fn any_damage_is_an_error_or_a_wrong_picture_and_no_more() {
    let name = "decoding::any_damage_is_an_error_or_a_wrong_picture_and_no_more";
    let ran = alone(name, "", || {
        let size = Size { w: 64, h: 48 };
        let film = film(size, 6);
        let mut decoder = decoder(size);
        let mut seed = 7u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize
        };
        for _ in 0..300 {
            for (_, unit) in &film {
                let mut unit = unit.clone();
                if next() % 3 == 0 {
                    let at = next() % unit.len();
                    // Headers are hit as often as data.
                    let at = if next() % 2 == 0 { at } else { at % 24 };
                    unit[at] ^= 1 << (next() % 8);
                }
                let _ = decoder.decode(&unit);
            }
        }
        for (drawn, unit) in &film {
            let frame = decoder.decode(unit).unwrap();
            assert!(likeness(&frame, size, drawn) >= 35.0);
        }
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

#[test]
fn picture_made_rgb_has_the_colours_that_were_drawn() {
    let name = "decoding::picture_made_rgb_has_the_colours_that_were_drawn";
    let ran = alone(name, "", || {
        let display = display().unwrap();
        let probe = Probe::new(&display).unwrap();
        for (w, h) in [(64, 48), (641, 361)] {
            let size = Size { w, h };
            let mut decoder = Decoder::new(&display, &probe, size).unwrap();
            let mut converter = Converter::new(&display, &probe, size).unwrap();
            let mut shown = Vec::new();
            for (drawn, unit) in film(size, 6) {
                let frame = decoder.decode(&unit).unwrap();
                let rgb = converter.convert(&frame).unwrap();
                let quality = likeness_of_rgb(&rgb, size, &drawn);
                assert!(quality >= 30.0, "{w}×{h}: {quality} dB");
                // One is shown while the next is converted.
                shown.push(rgb);
                if shown.len() > 2 {
                    shown.remove(0);
                }
            }
            let last = decoder.decode(&film(size, 1)[0].1).unwrap();
            shown.push(converter.convert(&last).unwrap());
            let full = converter.convert(&last);
            assert!(matches!(full, Err(DecodeError::Full(3))), "{full:?}");
            let mut other = Converter::new(&display, &probe, Size { w: 32, h: 32 }).unwrap();
            assert!(other.convert(&last).is_err());
        }
    });
    let Some(ran) = ran else { return };
    assert!(!ran.log.contains("refused"), "{}", ran.log);
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
}
