//! What a driver is told of a picture that it decodes.

use heliostat_video::syntax::{Order, PictureParameters, SequenceParameters, Slice, SliceKind};

use super::references::Current;
use crate::abi::{self, Id, IqMatrixH264, PictureH264, PictureParameterH264, SliceParameterH264};
use crate::sys::plain::zeroed;

fn nobody() -> PictureH264 {
    let mut nobody: PictureH264 = zeroed();
    nobody.picture_id = abi::INVALID_ID;
    nobody.flags = abi::PICTURE_H264_INVALID;
    nobody
}

fn flag(on: bool, at: u32) -> u32 {
    u32::from(on) << at
}

/// `VAPictureParameterBufferH264` of the picture that goes into a surface, while `held` are held.
pub(super) fn picture(
    sequence: &SequenceParameters,
    picture: &PictureParameters,
    current: &Current,
    id: Id,
    held: impl Iterator<Item = PictureH264>,
) -> PictureParameterH264 {
    let mut p: PictureParameterH264 = zeroed();
    p.curr_pic.picture_id = id;
    p.curr_pic.frame_idx = current.frame_number.into();
    if current.is_reference {
        p.curr_pic.flags = abi::PICTURE_H264_SHORT_TERM_REFERENCE;
    }
    (
        p.curr_pic.top_field_order_cnt,
        p.curr_pic.bottom_field_order_cnt,
    ) = current.order;
    p.reference_frames = [nobody(); 16];
    for (place, held) in p.reference_frames.iter_mut().zip(held) {
        *place = held;
    }
    p.picture_width_in_mbs_minus1 = sequence.blocks.0 - 1;
    p.picture_height_in_mbs_minus1 = sequence.blocks.1 - 1;
    p.num_ref_frames = sequence.references;
    let (order, bits) = match sequence.order {
        Order::Count { bits } => (0, u32::from(bits) - 4),
        Order::Decoding => (2, 0),
    };
    // 4:2:0, whole frames, and what concerns pictures between two others only.
    p.seq_fields = 1
        | 1 << 4
        | 1 << 6
        | (u32::from(sequence.frame_number_bits) - 4) << 8
        | order << 12
        | bits << 14;
    p.pic_init_qp_minus26 = picture.quantizer as i8 - 26;
    p.chroma_qp_index_offset = picture.chroma_offset;
    p.second_chroma_qp_index_offset = picture.second_chroma_offset;
    p.pic_fields = flag(picture.arithmetic, 0)
        | flag(picture.transform_8x8, 4)
        | flag(picture.constrained_intra, 6)
        | flag(picture.bottom_count, 7)
        | flag(picture.deblocking_control, 8)
        | flag(picture.redundant_count, 9)
        | flag(current.is_reference, 10);
    p.frame_num = current.frame_number;
    p
}

/// `VAIQMatrixBufferH264` without any weights.
pub(super) fn flat() -> IqMatrixH264 {
    let mut matrix: IqMatrixH264 = zeroed();
    matrix.scaling_list_4x4 = [[16; 16]; 6];
    matrix.scaling_list_8x8 = [[16; 64]; 2];
    matrix
}

/// `VASliceParameterBufferH264` of a slice whose header has so many bits of its unit.
pub(super) fn slice(
    slice: &Slice,
    picture: &PictureParameters,
    list: impl Iterator<Item = PictureH264>,
    (unit, bits): (&[u8], usize),
) -> SliceParameterH264 {
    let mut p: SliceParameterH264 = zeroed();
    p.slice_data_size = unit.len() as u32;
    p.slice_data_bit_offset = bits as u16;
    p.first_mb_in_slice = slice.first_block as u16;
    p.ref_pic_list0 = [nobody(); 32];
    p.ref_pic_list1 = [nobody(); 32];
    p.slice_type = match slice.kind {
        SliceKind::Predicted => 0,
        SliceKind::Intra => 2,
    };
    if slice.kind == SliceKind::Predicted {
        let active = slice.references.unwrap_or(picture.references);
        p.num_ref_idx_l0_active_minus1 = active - 1;
        for (place, listed) in p.ref_pic_list0.iter_mut().zip(list) {
            *place = listed;
        }
    }
    p.cabac_init_idc = slice.arithmetic_table;
    p.slice_qp_delta = slice.quantizer_delta;
    (
        p.disable_deblocking_filter_idc,
        p.slice_alpha_c0_offset_div2,
        p.slice_beta_offset_div2,
    ) = slice.deblocking;
    p
}
