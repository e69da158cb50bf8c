//! Pictures go through, and come out as they went in.

use heliostat_drv_video::sys::plain::{to_bytes, zeroed};
use heliostat_drv_video::va::{self, colour, fourcc, misc};

use crate::alone::alone;
use crate::client::{Decoder, Encoder, SIZE, convert, converter, draw, look, painted, psnr};
use crate::sys::{Va, integer};

fn there_and_back(va: &Va, cabac: bool, rate: u32) {
    let encoder = Encoder::new(va, cabac, rate).unwrap();
    let decoder = Decoder::new(va).unwrap();
    for number in 0..6 {
        draw(va, encoder.input, number).unwrap();
        let mut picture = encoder.picture(number);
        if rate != va::RC_CQP {
            let mut control: va::EncMiscRateControl = zeroed();
            control.bits_per_second = 2_000_000;
            control.target_percentage = 80;
            let kind = misc::RATE_CONTROL.to_ne_bytes();
            picture.misc.push([&kind[..], &to_bytes(&control)].concat());
        }
        let unit = encoder.submit(va, &picture).unwrap();
        let unit = decoder.read(&encoder, &unit, number);
        decoder.submit(va, &unit, number).unwrap();
        va.sync(decoder.target(number)).unwrap();
        let seen = look(va, decoder.target(number)).unwrap();
        let quality = psnr(&painted(va, number).unwrap(), &seen);
        assert!(quality > 30.0, "picture {number} at {quality} dB");
    }
    encoder.destroy(va).unwrap();
    decoder.destroy(va).unwrap();
}

#[test]
fn pictures_come_back_with_every_entropy_coding_and_rate_control() {
    alone(
        "pictures::pictures_come_back_with_every_entropy_coding_and_rate_control",
        |alone| {
            for cabac in [false, true] {
                for rate in [va::RC_CQP, va::RC_CBR, va::RC_VBR] {
                    there_and_back(&alone.va, cabac, rate);
                }
            }
            assert!(!alone.log().contains("refused"), "{}", alone.log());
        },
    );
}

#[test]
fn conversion_obeys_colours_and_regions() {
    alone("pictures::conversion_obeys_colours_and_regions", |alone| {
        let va = &alone.va;
        let (_, context) = converter(va).unwrap();
        let code = fourcc(b"BGRX");
        let format = integer(va::surface_attrib::PIXEL_FORMAT, code);
        let from = va
            .create_surfaces(va::RT_FORMAT_RGB32, (32, 32), 1, &[format])
            .unwrap()[0];
        let into = va
            .create_surfaces(va::RT_FORMAT_YUV420, (64, 64), 1, &[])
            .unwrap()[0];
        let image = va.derive_image(from).unwrap();
        // Red.
        va.with_image(&image, |bytes| {
            bytes
                .chunks_exact_mut(4)
                .for_each(|pixel| pixel.copy_from_slice(&[0, 0, 255, 0]));
        })
        .unwrap();
        va.destroy_image(&image).unwrap();
        let region = va::Rectangle {
            x: 16,
            y: 16,
            width: 32,
            height: 32,
        };
        for (standard, range, expected) in [
            (colour::STANDARD_BT601, colour::RANGE_REDUCED, [81, 90, 240]),
            (
                colour::STANDARD_BT709,
                colour::RANGE_REDUCED,
                [63, 102, 240],
            ),
            (colour::STANDARD_BT601, colour::RANGE_FULL, [76, 85, 255]),
        ] {
            let mut parameters: va::ProcPipelineParameter = zeroed();
            parameters.surface = from;
            parameters.output_region = &raw const region;
            parameters.output_color_standard = standard;
            parameters.output_color_properties.color_range = range;
            convert(va, context, &parameters, into).unwrap();
            va.sync(into).unwrap();
            let image = va.derive_image(into).unwrap();
            let (pitch, pairs) = (image.pitches[0] as usize, image.offsets[1] as usize);
            va.with_image(&image, |bytes| {
                let inside = [
                    bytes[20 * pitch + 20],
                    bytes[pairs + 10 * pitch + 20],
                    bytes[pairs + 10 * pitch + 21],
                ];
                assert_eq!(inside, expected);
                let black = if range == colour::RANGE_FULL { 0 } else { 16 };
                assert_eq!(
                    [bytes[0], bytes[pairs], bytes[pairs + 1]],
                    [black, 128, 128]
                );
            })
            .unwrap();
            va.destroy_image(&image).unwrap();
        }
        let caps = va.query_pipeline_caps(context).unwrap();
        assert_eq!((caps.num_input_pixel_formats, caps.rotation_flags), (7, 1));
        assert_eq!(va.query_filters(context), Ok(0));
    });
}

#[test]
fn broken_stream_is_told_to_whoever_waits_and_heals_with_the_next_idr() {
    alone(
        "pictures::broken_stream_is_told_to_whoever_waits_and_heals_with_the_next_idr",
        |alone| {
            let va = &alone.va;
            let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
            let decoder = Decoder::new(va).unwrap();
            let mut stream = Vec::new();
            for number in 0..2 {
                draw(va, encoder.input, number).unwrap();
                stream.push(encoder.submit(va, &encoder.picture(number)).unwrap());
            }
            let late = decoder.read(&encoder, &stream[1], 1);
            decoder.submit(va, &late, 1).unwrap();
            assert_eq!(va.sync(decoder.target(1)), Err(va::status::DECODING_ERROR));
            let first = decoder.read(&encoder, &stream[0], 0);
            decoder.submit(va, &first, 0).unwrap();
            assert_eq!(va.sync(decoder.target(0)), Ok(()));
            let seen = look(va, decoder.target(0)).unwrap();
            assert!(psnr(&painted(va, 0).unwrap(), &seen) > 30.0);
            assert_eq!(SIZE.0 % 2, 0);
        },
    );
}
