//! What a picky driver refuses, each with its status and its line in the log.

use heliostat_drv_video::sys::plain::{to_bytes, zeroed};
use heliostat_drv_video::va::{
    self, buffer, config_attrib, entrypoint, fourcc, packed, profile, status,
};

use crate::alone::alone;
use crate::client::{Decoder, Encoder, PACKED, Picture, SIZE, Unit, convert, converter, draw, set};
use crate::sys::integer;

const BAD: i32 = status::INVALID_PARAMETER;

#[test]
fn encoder_refuses_what_headers_and_parameters_disagree_on() {
    alone(
        "refusals::encoder_refuses_what_headers_and_parameters_disagree_on",
        |alone| {
            let va = &alone.va;
            type Spoil = fn(&Encoder, &mut Picture);
            // At picture 1, which is predicted from picture 0.
            let slices: [(&str, Spoil); 18] = [
                ("missing packed header", |_, p| p.headers.clear()),
                ("missing packed header", |_, p| {
                    p.headers.push(p.headers[0].clone())
                }),
                ("slice_qp_delta", |_, p| p.slices[0].slice_qp_delta = 5),
                ("frame_num", |_, p| p.parameters.frame_num = 9),
                ("slice_type", |_, p| p.slices[0].slice_type = 2),
                ("deblocking", |_, p| {
                    p.slices[0].slice_alpha_c0_offset_div2 = 0
                }),
                ("disable_deblocking", |_, p| {
                    p.slices[0].disable_deblocking_filter_idc = 1
                }),
                ("nal_unit_type", |e, p| {
                    p.headers.splice(0..0, e.picture(0).headers[..2].to_vec());
                    p.parameters.pic_fields |= 1;
                }),
                ("nal_ref_idc", |_, p| p.parameters.pic_fields &= !6),
                ("first_mb_in_slice", |_, p| {
                    p.slices[0].macroblock_address = 3
                }),
                ("macroblocks", |_, p| p.slices[0].num_macroblocks = 69),
                ("pic_parameter_set_id", |_, p| {
                    p.slices[0].pic_parameter_set_id = 1
                }),
                ("bits, where its SPS", |_, p| p.headers[0].bits -= 1),
                ("bits in", |_, p| p.headers[0].bits = 4000),
                ("slices, and one is offered", |_, p| p.slices.clear()),
                ("one is offered, the newest", |e, p| {
                    p.slices[0].ref_pic_list0[0].picture_id = e.held[1];
                }),
                ("not among the reference frames", |_, p| {
                    p.parameters.reference_frames[0].flags = va::PICTURE_H264_INVALID;
                }),
                ("overwrite its own reference", |e, p| {
                    p.parameters.curr_pic.picture_id = e.held[0];
                }),
            ];
            for (why, spoil) in slices {
                let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
                encoder.submit(va, &encoder.picture(0)).unwrap();
                let mut picture = encoder.picture(1);
                spoil(&encoder, &mut picture);
                let refused = encoder.give(va, &picture);
                assert!(refused.is_err(), "{why}");
                let log = alone.log();
                let said = log.lines().rfind(|line| line.contains("vaEndPicture"));
                assert!(
                    said.is_some_and(|said| said.contains(why)),
                    "{why}: {said:?}"
                );
                // What was right is still taken.
                encoder.submit(va, &encoder.picture(1)).unwrap();
                encoder.destroy(va).unwrap();
            }
            // At an IDR picture.
            let sets: [(&str, Spoil); 15] = [
                ("needs both its SPS and its PPS", |_, p| {
                    drop(p.headers.remove(0))
                }),
                ("needs both its SPS and its PPS", |_, p| {
                    drop(p.headers.remove(1))
                }),
                ("before any sequence parameters", |_, p| p.sequence = None),
                ("level_idc", |_, p| {
                    p.sequence.as_mut().unwrap().level_idc = 40
                }),
                ("width in macroblocks", |_, p| {
                    p.sequence.as_mut().unwrap().picture_width_in_mbs = 11;
                }),
                ("pic_order_cnt_type", |_, p| {
                    p.sequence.as_mut().unwrap().seq_fields &= !(3 << 10)
                }),
                ("log2_max_frame_num", |_, p| {
                    p.sequence.as_mut().unwrap().seq_fields ^= 1 << 6
                }),
                ("cropping", |_, p| {
                    p.sequence.as_mut().unwrap().frame_cropping_flag = 0
                }),
                ("vui_parameters", |_, p| {
                    p.sequence.as_mut().unwrap().vui_parameters_present_flag = 1;
                }),
                ("entropy_coding_mode_flag", |_, p| {
                    p.parameters.pic_fields |= 1 << 3
                }),
                ("transform_8x8_mode_flag", |_, p| {
                    p.parameters.pic_fields |= 1 << 8
                }),
                ("pic_init_qp", |_, p| p.parameters.pic_init_qp = 30),
                ("8×8 transforms are not offered", |e, p| {
                    let mut pps = e.pps.clone();
                    pps.transform_8x8 = true;
                    p.headers[1] = set(packed::PICTURE, 8, pps.write());
                    p.parameters.pic_fields |= 1 << 8;
                }),
                ("which the configuration is not for", |e, p| {
                    let mut sps = e.sps.clone();
                    sps.profile = 77;
                    p.headers[0] = set(packed::SEQUENCE, 7, sps.write());
                }),
                ("does not announce", |_, p| {
                    p.headers[0].kind = packed::RAW_DATA
                }),
            ];
            for (why, spoil) in sets {
                let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
                let mut picture = encoder.picture(0);
                spoil(&encoder, &mut picture);
                assert!(encoder.give(va, &picture).is_err(), "{why}");
                let log = alone.log();
                assert!(
                    log.lines().rev().take(2).any(|said| said.contains(why)),
                    "{why}: {log}"
                );
                encoder.destroy(va).unwrap();
            }
            let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
            let mut late = encoder.picture(1);
            late.sequence = encoder.picture(0).sequence;
            late.headers
                .splice(0..0, encoder.picture(0).headers[..2].to_vec());
            assert_eq!(encoder.give(va, &late), Err(BAD));
            assert!(alone.log().contains("the first picture is no IDR picture"));
        },
    );
}

#[test]
fn decoder_refuses_what_headers_and_parameters_disagree_on() {
    alone(
        "refusals::decoder_refuses_what_headers_and_parameters_disagree_on",
        |alone| {
            let va = &alone.va;
            let encoder = Encoder::new(va, true, va::RC_CQP).unwrap();
            draw(va, encoder.input, 0).unwrap();
            let first = encoder.submit(va, &encoder.picture(0)).unwrap();
            type Spoil = fn(&mut Unit);
            let all: [(&str, Spoil); 13] = [
                ("slice_data_bit_offset", |u| {
                    u.slice.slice_data_bit_offset += 1
                }),
                ("slice_qp_delta", |u| u.slice.slice_qp_delta = 0),
                ("slice_type", |u| u.slice.slice_type = 0),
                ("first_mb_in_slice", |u| u.slice.first_mb_in_slice = 4),
                ("frame_num", |u| u.parameters.frame_num = 4),
                ("slice_beta_offset_div2", |u| {
                    u.slice.slice_beta_offset_div2 = 0
                }),
                ("nal_ref_idc", |u| u.parameters.pic_fields &= !(1 << 10)),
                ("interlaced", |u| u.parameters.seq_fields &= !(1 << 4)),
                ("samples other than", |u| {
                    u.parameters.bit_depth_luma_minus8 = 2
                }),
                ("macroblocks", |u| {
                    u.parameters.picture_width_in_mbs_minus1 = 1023;
                    u.parameters.picture_height_in_mbs_minus1 = 1023;
                }),
                ("coded pixels in a surface", |u| {
                    u.parameters.picture_width_in_mbs_minus1 = 3
                }),
                ("does not begin with the unit of a slice", |u| {
                    u.data[0] = 0x67
                }),
                ("bytes of data", |u| u.slice.slice_data_offset = u32::MAX),
            ];
            for (why, spoil) in all {
                let decoder = Decoder::new(va).unwrap();
                let mut unit = decoder.read(&encoder, &first, 0);
                spoil(&mut unit);
                assert!(decoder.submit(va, &unit, 0).is_err(), "{why}");
                let log = alone.log();
                assert!(
                    log.lines().rev().take(2).any(|said| said.contains(why)),
                    "{why}: {log}"
                );
                decoder.destroy(va).unwrap();
            }
            let decoder = Decoder::new(va).unwrap();
            let mut unit = decoder.read(&encoder, &first, 0);
            unit.parameters.reference_frames[0].picture_id = 0x300_ffff;
            unit.parameters.reference_frames[0].flags = 0;
            assert_eq!(decoder.submit(va, &unit, 0), Err(status::INVALID_SURFACE));
        },
    );
}

#[test]
fn configurations_contexts_and_buffers_are_not_mixed() {
    alone(
        "refusals::configurations_contexts_and_buffers_are_not_mixed",
        |alone| {
            let va = &alone.va;
            let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
            let other = Encoder::new(va, false, va::RC_CQP).unwrap();
            let decoder = Decoder::new(va).unwrap();
            let size = (SIZE.0 as i32, SIZE.1 as i32);
            // Numbers of one kind are not those of another.
            let context = va.create_context(encoder.context, size, &[]);
            assert_eq!(context, Err(status::INVALID_CONFIG));
            assert_eq!(
                va.begin(encoder.config, encoder.input),
                Err(status::INVALID_CONTEXT)
            );
            assert_eq!(
                va.begin(encoder.context, encoder.coded),
                Err(status::INVALID_SURFACE)
            );
            // Buffers of one context are not for another.
            let buffers = other.buffers(va, &other.picture(0)).unwrap();
            va.begin(encoder.context, encoder.input).unwrap();
            assert_eq!(
                va.render(encoder.context, &buffers),
                Err(status::INVALID_BUFFER)
            );
            assert!(va.end(encoder.context).is_err());
            let of_decoder = va.create_buffer(
                decoder.context,
                buffer::ENC_SLICE_PARAMETER,
                &zeroed::<va::EncSliceParameterH264>(),
            );
            assert_eq!(of_decoder, Err(status::UNSUPPORTED_BUFFERTYPE));
            let mut foreign = encoder.picture(0);
            foreign.parameters.coded_buf = other.coded;
            assert_eq!(encoder.give(va, &foreign), Err(status::INVALID_BUFFER));
            // A configuration outlives its contexts.
            assert_eq!(
                va.destroy_config(encoder.config),
                Err(status::INVALID_CONFIG)
            );
            // Surfaces have the format of the configuration.
            let rgb = va
                .create_surfaces(va::RT_FORMAT_RGB32, SIZE, 1, &[])
                .unwrap();
            assert_eq!(
                va.begin(encoder.context, rgb[0]),
                Err(status::INVALID_SURFACE)
            );
            assert_eq!(
                va.create_context(encoder.config, size, &rgb),
                Err(status::INVALID_SURFACE)
            );
            let small = va
                .create_surfaces(va::RT_FORMAT_YUV420, (64, 64), 1, &[])
                .unwrap();
            assert_eq!(
                va.begin(encoder.context, small[0]),
                Err(status::INVALID_SURFACE)
            );
        },
    );
}

#[test]
fn buffers_are_not_used_while_mapped_or_after_they_are_destroyed() {
    alone(
        "refusals::buffers_are_not_used_while_mapped_or_after_they_are_destroyed",
        |alone| {
            let va = &alone.va;
            let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
            let unknown = Err(status::INVALID_BUFFER);
            let buffers = encoder.buffers(va, &encoder.picture(0)).unwrap();
            va.map(buffers[0]).unwrap();
            assert_eq!(va.map(buffers[0]).err(), Some(status::OPERATION_FAILED));
            assert_eq!(va.destroy_buffer(buffers[0]), unknown);
            va.begin(encoder.context, encoder.input).unwrap();
            assert_eq!(va.render(encoder.context, &buffers[..1]), unknown);
            va.unmap(buffers[0]).unwrap();
            assert_eq!(va.unmap(buffers[0]), unknown);
            va.render(encoder.context, &buffers[..1]).unwrap();
            assert_eq!(va.destroy_buffer(buffers[0]), unknown);
            assert!(va.end(encoder.context).is_err());
            va.destroy_buffer(buffers[0]).unwrap();
            assert_eq!(va.destroy_buffer(buffers[0]), unknown);
            assert!(alone.log().contains("has been destroyed"));
            va.begin(encoder.context, encoder.input).unwrap();
            assert_eq!(va.render(encoder.context, &buffers[..1]), unknown);
            assert_eq!(
                va.begin(encoder.context, encoder.held[0]),
                Err(status::OPERATION_FAILED)
            );
            assert!(va.end(encoder.context).is_err());
            assert_eq!(va.end(encoder.context), Err(status::OPERATION_FAILED));
            assert_eq!(va.map(0xdead_beef).err(), Some(status::INVALID_BUFFER));
            assert_eq!(va.set_elements(buffers[1], 0), Err(BAD));
            assert_eq!(va.set_elements(buffers[1], u32::MAX), Err(BAD));
            let wrong =
                va.create_buffer_of(encoder.context, buffer::ENC_SLICE_PARAMETER, 8, &[0; 8]);
            assert_eq!(wrong, Err(BAD));
        },
    );
}

#[test]
fn unknown_attributes_formats_and_sizes_are_refused() {
    alone(
        "refusals::unknown_attributes_formats_and_sizes_are_refused",
        |alone| {
            let va = &alone.va;
            let (main, high) = (profile::H264_MAIN, profile::H264_HIGH);
            let (encode, vld) = (entrypoint::ENC_SLICE, entrypoint::VLD);
            let no_entry = Err(status::UNSUPPORTED_ENTRYPOINT);
            assert_eq!(va.create_config(high, encode, &[]), no_entry);
            assert_eq!(
                va.create_config(0, vld, &[]),
                Err(status::UNSUPPORTED_PROFILE)
            );
            for (kind, value, expected) in [
                (77, 1, status::ATTR_NOT_SUPPORTED),
                (
                    config_attrib::ENC_PACKED_HEADERS,
                    1 << 9,
                    status::ATTR_NOT_SUPPORTED,
                ),
                (
                    config_attrib::RATE_CONTROL,
                    0x40,
                    status::ATTR_NOT_SUPPORTED,
                ),
                (
                    config_attrib::RATE_CONTROL,
                    va::RC_CBR | va::RC_VBR,
                    status::ATTR_NOT_SUPPORTED,
                ),
                (config_attrib::RT_FORMAT, 2, status::UNSUPPORTED_RT_FORMAT),
            ] {
                let made = va.create_config(main, encode, &[(kind, value)]);
                assert_eq!(made, Err(expected), "{kind} {value}");
            }
            let unsupported = va.get_attribute(main, encode, 77);
            assert_eq!(unsupported, Ok(config_attrib::NOT_SUPPORTED));
            let config = va
                .create_config(main, encode, &[(config_attrib::ENC_PACKED_HEADERS, PACKED)])
                .unwrap();
            for size in [
                (0, 0),
                (-4, 64),
                (8, 8),
                (16384, 16384),
                (4097, 64),
                (4096, 4096),
            ] {
                let context = va.create_context(config, size, &[]);
                assert_eq!(context, Err(status::RESOLUTION_NOT_SUPPORTED), "{size:?}");
            }
            let yuv = va::RT_FORMAT_YUV420;
            for (rt_format, size, attribute, expected) in [
                (4, SIZE, None, status::UNSUPPORTED_RT_FORMAT),
                (yuv, (0, 5), None, status::RESOLUTION_NOT_SUPPORTED),
                (yuv, (u32::MAX, 5), None, status::RESOLUTION_NOT_SUPPORTED),
                (
                    yuv,
                    SIZE,
                    Some((1, fourcc(b"BGRX"))),
                    status::ATTR_NOT_SUPPORTED,
                ),
                (
                    yuv,
                    SIZE,
                    Some((1, fourcc(b"I420"))),
                    status::ATTR_NOT_SUPPORTED,
                ),
                (yuv, SIZE, Some((99, 1)), status::ATTR_NOT_SUPPORTED),
                (
                    yuv,
                    SIZE,
                    Some((6, 0x2000_0000)),
                    status::UNSUPPORTED_MEMORY_TYPE,
                ),
            ] {
                let attributes: Vec<_> = attribute
                    .iter()
                    .map(|(kind, value)| integer(*kind, *value))
                    .collect();
                let made = va.create_surfaces(rt_format, size, 1, &attributes);
                assert_eq!(made, Err(expected), "{rt_format} {size:?} {attribute:?}");
            }
            let many = va.create_surfaces(yuv, SIZE, 5000, &[]);
            assert_eq!(many, Err(status::MAX_NUM_EXCEEDED));
            let odd = va.create_image(fourcc(b"YV12"), SIZE);
            assert_eq!(odd.err(), Some(status::INVALID_IMAGE_FORMAT));
        },
    );
}

#[test]
fn conversions_and_rates_that_are_not_offered_are_refused() {
    alone(
        "refusals::conversions_and_rates_that_are_not_offered_are_refused",
        |alone| {
            let va = &alone.va;
            let (_, context) = converter(va).unwrap();
            let surfaces = va
                .create_surfaces(va::RT_FORMAT_YUV420, SIZE, 2, &[])
                .unwrap();
            let outside = va::Rectangle {
                x: 2,
                y: 2,
                width: 150,
                height: 20,
            };
            let odd = va::Rectangle {
                x: 1,
                y: 2,
                width: 20,
                height: 20,
            };
            let mut right: va::ProcPipelineParameter = zeroed();
            right.surface = surfaces[0];
            let spoilt = |spoil: &dyn Fn(&mut va::ProcPipelineParameter)| {
                let mut parameters = right;
                spoil(&mut parameters);
                convert(va, context, &parameters, surfaces[1]).err()
            };
            let filter = Some(status::UNSUPPORTED_FILTER);
            assert_eq!(spoilt(&|p| p.rotation_state = 1), filter);
            assert_eq!(spoilt(&|p| p.mirror_state = 1), filter);
            assert_eq!(spoilt(&|p| p.num_filters = 1), filter);
            assert_eq!(
                spoilt(&|p| p.surface_region = &raw const outside),
                Some(BAD)
            );
            assert_eq!(spoilt(&|p| p.output_region = &raw const odd), Some(BAD));
            assert_eq!(
                spoilt(&|p| p.surface = surfaces[1]),
                Some(status::SURFACE_BUSY)
            );
            assert_eq!(
                spoilt(&|p| p.output_color_standard = 12),
                Some(status::INVALID_VALUE)
            );
            assert_eq!(spoilt(&|_| {}), None);
            let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
            let mut picture = encoder.picture(0);
            let mut control: va::EncMiscRateControl = zeroed();
            control.bits_per_second = 1000;
            let kind = va::misc::RATE_CONTROL.to_ne_bytes();
            picture.misc = vec![[&kind[..], &to_bytes(&control)].concat()];
            assert!(encoder.give(va, &picture).is_err());
            assert!(
                alone
                    .log()
                    .contains("in a configuration of constant quantizers")
            );
            picture.misc = vec![[&7u32.to_ne_bytes()[..], &[0; 32]].concat()];
            assert!(encoder.give(va, &picture).is_err());
            assert!(alone.log().contains("miscellaneous parameters of type 7"));
        },
    );
}
