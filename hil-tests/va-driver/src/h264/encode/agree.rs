//! Whether the headers that a client has packed say what its parameters say, and ask for nothing that
//! is not offered.

use crate::h264::parameters::{Order, Pps, Sps};
use crate::h264::slice::{IDR, Kind, SLICE, SliceHeader};
use crate::refusal::{Done, refuse};
use crate::va::{self, profile, status};

/// Compares what a header says with what the parameters say.
struct Compare(&'static str);

impl Compare {
    fn same<T: PartialEq + std::fmt::Debug>(&self, name: &str, packed: T, parameter: T) -> Done {
        match packed == parameter {
            true => Ok(()),
            false => refuse(
                status::INVALID_PARAMETER,
                format!(
                    "the packed {} says {name} {packed:?}, the parameters {parameter:?}",
                    self.0
                ),
            ),
        }
    }
}

pub(super) fn bit(value: u32, at: u32) -> bool {
    value >> at & 1 == 1
}

pub(super) fn check_sequence(
    sps: &Sps,
    sequence: &va::EncSequenceParameterH264,
    of_config: i32,
) -> Done {
    let fields = sequence.seq_fields;
    let c = Compare("SPS");
    c.same(
        "seq_parameter_set_id",
        sps.id,
        sequence.seq_parameter_set_id.into(),
    )?;
    c.same("level_idc", sps.level, sequence.level_idc)?;
    c.same(
        "max_num_ref_frames",
        sps.references,
        sequence.max_num_ref_frames,
    )?;
    c.same(
        "the width in macroblocks",
        sps.width_mbs,
        sequence.picture_width_in_mbs.into(),
    )?;
    c.same(
        "the height in macroblocks",
        sps.height_mbs,
        sequence.picture_height_in_mbs.into(),
    )?;
    c.same("chroma_format_idc", 1, fields & 3)?;
    c.same("frame_mbs_only_flag", true, bit(fields, 2))?;
    c.same("direct_8x8_inference_flag", sps.direct_8x8, bit(fields, 5))?;
    c.same(
        "log2_max_frame_num_minus4",
        sps.frame_num_bits - 4,
        fields >> 6 & 15,
    )?;
    let order = match sps.order {
        Order::Lsb { bits } => {
            c.same(
                "log2_max_pic_order_cnt_lsb_minus4",
                bits - 4,
                fields >> 12 & 15,
            )?;
            0
        }
        Order::Cycle { always_zero } => {
            c.same(
                "delta_pic_order_always_zero_flag",
                always_zero,
                bit(fields, 16),
            )?;
            1
        }
        Order::Decoding => 2,
    };
    c.same("pic_order_cnt_type", order, fields >> 10 & 3)?;
    let crop = match sequence.frame_cropping_flag {
        0 => [0; 4],
        _ => [
            sequence.frame_crop_left_offset,
            sequence.frame_crop_right_offset,
            sequence.frame_crop_top_offset,
            sequence.frame_crop_bottom_offset,
        ],
    };
    c.same("cropping", sps.crop, crop)?;
    let vui = sequence.vui_parameters_present_flag != 0;
    c.same("vui_parameters_present_flag", sps.vui, vui)?;
    let allowed = match of_config {
        profile::H264_CONSTRAINED_BASELINE => sps.profile == 66 && sps.constraints & 0x40 != 0,
        _ => sps.profile == 77 || sps.profile == 66 && sps.constraints & 0x40 != 0,
    };
    if !allowed {
        return refuse(
            status::INVALID_PARAMETER,
            format!(
                "the packed SPS says profile {} with constraints {:#04x}, which the configuration is not for",
                sps.profile, sps.constraints
            ),
        );
    }
    Ok(())
}

pub(super) fn check_picture(pps: &Pps, picture: &va::EncPictureParameterH264, sps_id: u32) -> Done {
    let fields = picture.pic_fields;
    let c = Compare("PPS");
    c.same(
        "pic_parameter_set_id",
        pps.id,
        picture.pic_parameter_set_id.into(),
    )?;
    c.same(
        "seq_parameter_set_id",
        pps.sps_id,
        picture.seq_parameter_set_id.into(),
    )?;
    c.same("seq_parameter_set_id, beside the SPS,", pps.sps_id, sps_id)?;
    c.same("entropy_coding_mode_flag", pps.cabac, bit(fields, 3))?;
    c.same("weighted_pred_flag", pps.weighted, bit(fields, 4))?;
    c.same("weighted_bipred_idc", pps.bi_weighted, fields >> 5 & 3)?;
    c.same(
        "constrained_intra_pred_flag",
        pps.constrained_intra,
        bit(fields, 7),
    )?;
    c.same("transform_8x8_mode_flag", pps.transform_8x8, bit(fields, 8))?;
    c.same(
        "deblocking_filter_control_present_flag",
        pps.deblocking_control,
        bit(fields, 9),
    )?;
    c.same(
        "redundant_pic_cnt_present_flag",
        pps.redundant,
        bit(fields, 10),
    )?;
    c.same(
        "bottom_field_pic_order_in_frame_present_flag",
        pps.order_present,
        bit(fields, 11),
    )?;
    c.same("pic_init_qp", pps.qp, picture.pic_init_qp.into())?;
    let chroma = [
        picture.chroma_qp_index_offset,
        picture.second_chroma_qp_index_offset,
    ];
    c.same(
        "chroma_qp_index_offset",
        pps.chroma_qp,
        chroma.map(i32::from),
    )?;
    let active = u32::from(picture.num_ref_idx_l0_active_minus1) + 1;
    c.same("num_ref_idx_l0_default_active", pps.references[0], active)?;
    let offered = [
        ("weighted prediction", pps.weighted),
        ("constrained intra prediction", pps.constrained_intra),
        ("8×8 transforms", pps.transform_8x8),
        ("redundant pictures", pps.redundant),
        ("chroma quantizer offsets", pps.chroma_qp != [0, 0]),
        ("scaling matrices", bit(fields, 12)),
    ];
    match offered.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => refuse(status::INVALID_PARAMETER, format!("{what} are not offered")),
        None => Ok(()),
    }
}

pub(super) fn check_slice(
    header: &SliceHeader,
    (reference, kind): (u8, u8),
    (picture, slice): (&va::EncPictureParameterH264, &va::EncSliceParameterH264),
    sps: &Sps,
    pps: &Pps,
) -> Done {
    let c = Compare("slice header");
    let idr = bit(picture.pic_fields, 0);
    c.same("nal_unit_type", kind, if idr { IDR } else { SLICE })?;
    let is_reference = picture.pic_fields >> 1 & 3 != 0;
    c.same("that nal_ref_idc is not 0:", reference != 0, is_reference)?;
    c.same(
        "first_mb_in_slice",
        header.first_mb,
        slice.macroblock_address,
    )?;
    c.same(
        "slice_type",
        header.slice_type % 5,
        u32::from(slice.slice_type) % 5,
    )?;
    c.same(
        "pic_parameter_set_id",
        header.pps_id,
        slice.pic_parameter_set_id.into(),
    )?;
    c.same(
        "pic_parameter_set_id, beside the PPS,",
        header.pps_id,
        pps.id,
    )?;
    c.same("frame_num", header.frame_num, picture.frame_num.into())?;
    if idr {
        c.same("idr_pic_id", header.idr_pic_id, slice.idr_pic_id.into())?;
    }
    if let Order::Lsb { .. } = sps.order {
        c.same(
            "pic_order_cnt_lsb",
            header.order_lsb,
            slice.pic_order_cnt_lsb.into(),
        )?;
    }
    c.same(
        "cabac_init_idc",
        header.cabac_init,
        match header.kind() {
            Kind::I => 0,
            _ => slice.cabac_init_idc.into(),
        },
    )?;
    c.same(
        "slice_qp_delta",
        header.qp_delta,
        slice.slice_qp_delta.into(),
    )?;
    if pps.deblocking_control {
        let idc = u32::from(slice.disable_deblocking_filter_idc);
        c.same("disable_deblocking_filter_idc", header.deblocking.0, idc)?;
        if idc != 1 {
            let offsets = (
                slice.slice_alpha_c0_offset_div2,
                slice.slice_beta_offset_div2,
            );
            let offsets = (offsets.0.into(), offsets.1.into());
            c.same(
                "deblocking offsets",
                (header.deblocking.1, header.deblocking.2),
                offsets,
            )?;
        }
    }
    let blocks = sps.width_mbs * sps.height_mbs;
    if slice.macroblock_address != 0 || slice.num_macroblocks != blocks {
        return refuse(
            status::INVALID_PARAMETER,
            format!(
                "a slice of {} macroblocks in a picture of {blocks}",
                slice.num_macroblocks
            ),
        );
    }
    let odd = header.kind() == Kind::B || header.cabac_init != 0 || header.redundant != 0;
    if odd
        || header
            .modifications
            .iter()
            .flatten()
            .any(|list| list.is_empty())
    {
        return refuse(
            status::INVALID_PARAMETER,
            "B slices, CABAC tables but the first and redundant pictures are not offered",
        );
    }
    Ok(())
}
