//! What crosses libva's C ABI: constants and structures of VA-API 1.17, as `va.h`, `va_enc_h264.h`,
//! `va_vpp.h` and `va_drmcommon.h` define them.
//!
//! Names are those of the headers without their prefixes. Bit fields are one word each, with the
//! positions of their bits beside them. The software driver's `tests/layout.rs` compares sizes and offsets
//! with C's.
#![allow(missing_docs, reason = "the fields are those of the headers")]

use std::ffi::c_void;

/// `VAStatus`.
pub type Status = i32;
/// `VAGenericID` and what is derived from it.
pub type Id = u32;
/// `VA_INVALID_ID`.
pub const INVALID_ID: Id = 0xffff_ffff;
/// The minor version of VA-API that these structures are of.
pub const MINOR: i32 = 17;

pub mod status {
    use super::Status;
    pub const SUCCESS: Status = 0;
    pub const OPERATION_FAILED: Status = 1;
    pub const ALLOCATION_FAILED: Status = 2;
    pub const INVALID_DISPLAY: Status = 3;
    pub const INVALID_CONFIG: Status = 4;
    pub const INVALID_CONTEXT: Status = 5;
    pub const INVALID_SURFACE: Status = 6;
    pub const INVALID_BUFFER: Status = 7;
    pub const INVALID_IMAGE: Status = 8;
    pub const INVALID_SUBPICTURE: Status = 9;
    pub const ATTR_NOT_SUPPORTED: Status = 0xa;
    pub const MAX_NUM_EXCEEDED: Status = 0xb;
    pub const UNSUPPORTED_PROFILE: Status = 0xc;
    pub const UNSUPPORTED_ENTRYPOINT: Status = 0xd;
    pub const UNSUPPORTED_RT_FORMAT: Status = 0xe;
    pub const UNSUPPORTED_BUFFERTYPE: Status = 0xf;
    pub const SURFACE_BUSY: Status = 0x10;
    pub const FLAG_NOT_SUPPORTED: Status = 0x11;
    pub const INVALID_PARAMETER: Status = 0x12;
    pub const RESOLUTION_NOT_SUPPORTED: Status = 0x13;
    pub const UNIMPLEMENTED: Status = 0x14;
    pub const INVALID_IMAGE_FORMAT: Status = 0x16;
    pub const DECODING_ERROR: Status = 0x17;
    pub const ENCODING_ERROR: Status = 0x18;
    pub const INVALID_VALUE: Status = 0x19;
    pub const UNSUPPORTED_FILTER: Status = 0x20;
    pub const HW_BUSY: Status = 0x22;
    pub const UNSUPPORTED_MEMORY_TYPE: Status = 0x24;
    pub const NOT_ENOUGH_BUFFER: Status = 0x25;
    pub const TIMEDOUT: Status = 0x26;
}

pub mod profile {
    pub const NONE: i32 = -1;
    pub const H264_MAIN: i32 = 6;
    pub const H264_HIGH: i32 = 7;
    pub const H264_CONSTRAINED_BASELINE: i32 = 13;
}

pub mod entrypoint {
    pub const VLD: i32 = 1;
    pub const ENC_SLICE: i32 = 6;
    pub const ENC_SLICE_LP: i32 = 8;
    pub const VIDEO_PROC: i32 = 10;
}

pub mod config_attrib {
    pub const RT_FORMAT: i32 = 0;
    pub const RATE_CONTROL: i32 = 5;
    pub const DEC_SLICE_MODE: i32 = 6;
    pub const ENC_PACKED_HEADERS: i32 = 10;
    pub const ENC_INTERLACED: i32 = 11;
    pub const ENC_MAX_REF_FRAMES: i32 = 13;
    pub const ENC_MAX_SLICES: i32 = 14;
    pub const ENC_SLICE_STRUCTURE: i32 = 15;
    pub const MAX_PICTURE_WIDTH: i32 = 18;
    pub const MAX_PICTURE_HEIGHT: i32 = 19;
    pub const ENC_QUALITY_RANGE: i32 = 21;
    pub const ENC_INTRA_REFRESH: i32 = 23;
    pub const ENC_SKIP_FRAME: i32 = 24;
    pub const ENC_ROI: i32 = 25;
    pub const ENC_DIRTY_RECT: i32 = 28;
    pub const NOT_SUPPORTED: u32 = 0x8000_0000;
}

pub const RT_FORMAT_YUV420: u32 = 1;
pub const RT_FORMAT_RGB32: u32 = 0x2_0000;
pub const INTRA_REFRESH_COLUMN: u32 = 1;
pub const INTRA_REFRESH_ROW: u32 = 2;
pub const INTRA_REFRESH_ADAPTIVE: u32 = 0x10;
pub const INTRA_REFRESH_CYCLIC: u32 = 0x20;
/// Of the value of `config_attrib::ENC_ROI`: how many regions there may be.
pub const ROI_REGIONS: u32 = 0xff;
/// Of the same: where the driver chooses quantizers, it takes regions that say how far from its own.
pub const ROI_QP_DELTA: u32 = 1 << 9;
/// In `EncMiscRoi::roi_flags`: regions say how far.
pub const ROI_VALUE_IS_QP_DELTA: u32 = 1;
/// In `EncMiscSkipFrame::skip_frame_flag`: pictures before this one were left out.
pub const SKIPPED_BEFORE: u8 = 1;
pub const RC_NONE: u32 = 1;
pub const RC_CBR: u32 = 2;
pub const RC_VBR: u32 = 4;
pub const RC_CQP: u32 = 0x10;
pub const DEC_SLICE_MODE_NORMAL: u32 = 1;
pub const PACKED_SEQUENCE: u32 = 1;
pub const PACKED_PICTURE: u32 = 2;
pub const PACKED_SLICE: u32 = 4;
pub const PACKED_MISC: u32 = 8;
pub const PACKED_RAW_DATA: u32 = 0x10;

/// `VAEncPackedHeaderType`.
pub mod packed {
    pub const SEQUENCE: u32 = 1;
    pub const PICTURE: u32 = 2;
    pub const SLICE: u32 = 3;
    pub const RAW_DATA: u32 = 4;
    pub const H264_SEI: u32 = 0x8000_0001;
}

pub mod surface_attrib {
    pub const PIXEL_FORMAT: i32 = 1;
    pub const MIN_WIDTH: i32 = 2;
    pub const MAX_WIDTH: i32 = 3;
    pub const MIN_HEIGHT: i32 = 4;
    pub const MAX_HEIGHT: i32 = 5;
    pub const MEMORY_TYPE: i32 = 6;
    pub const EXTERNAL_BUFFER_DESCRIPTOR: i32 = 7;
    pub const USAGE_HINT: i32 = 8;
    pub const DRM_FORMAT_MODIFIERS: i32 = 9;
    pub const GETTABLE: u32 = 1;
    pub const SETTABLE: u32 = 2;
    pub const TYPE_INTEGER: i32 = 1;
    pub const TYPE_POINTER: i32 = 3;
}

pub const MEM_TYPE_VA: u32 = 1;
pub const MEM_TYPE_DRM_PRIME_2: u32 = 0x4000_0000;
pub const EXPORT_READ_ONLY: u32 = 1;
pub const EXPORT_WRITE_ONLY: u32 = 2;
pub const EXPORT_SEPARATE_LAYERS: u32 = 4;
pub const EXPORT_COMPOSED_LAYERS: u32 = 8;

/// `VABufferType`.
pub mod buffer {
    pub const PICTURE_PARAMETER: i32 = 0;
    pub const IQ_MATRIX: i32 = 1;
    pub const SLICE_PARAMETER: i32 = 4;
    pub const SLICE_DATA: i32 = 5;
    pub const IMAGE: i32 = 9;
    pub const ENC_CODED: i32 = 21;
    pub const ENC_SEQUENCE_PARAMETER: i32 = 22;
    pub const ENC_PICTURE_PARAMETER: i32 = 23;
    pub const ENC_SLICE_PARAMETER: i32 = 24;
    pub const ENC_PACKED_HEADER_PARAMETER: i32 = 25;
    pub const ENC_PACKED_HEADER_DATA: i32 = 26;
    pub const ENC_MISC_PARAMETER: i32 = 27;
    pub const PROC_PIPELINE_PARAMETER: i32 = 41;
    pub const PROC_FILTER_PARAMETER: i32 = 42;
}

/// `VAEncMiscParameterType`.
pub mod misc {
    pub const FRAME_RATE: u32 = 0;
    pub const RATE_CONTROL: u32 = 1;
    pub const HRD: u32 = 5;
    pub const QUALITY_LEVEL: u32 = 6;
    pub const SKIP_FRAME: u32 = 9;
    pub const ROI: u32 = 10;
    pub const DIRTY_RECT: u32 = 13;
}

pub mod surface_status {
    pub const RENDERING: i32 = 1;
    pub const READY: i32 = 4;
}

pub const CODED_STATUS_SLICE_OVERFLOW: u32 = 0x200;
pub const PICTURE_H264_INVALID: u32 = 1;
pub const PICTURE_H264_SHORT_TERM_REFERENCE: u32 = 8;

/// `VAProcColorStandardType` and its neighbours.
pub mod colour {
    pub const STANDARD_NONE: i32 = 0;
    pub const STANDARD_BT601: i32 = 1;
    pub const STANDARD_BT709: i32 = 2;
    pub const STANDARD_SRGB: i32 = 8;
    pub const STANDARD_EXPLICIT: i32 = 13;
    pub const RANGE_UNKNOWN: u8 = 0;
    pub const RANGE_REDUCED: u8 = 1;
    pub const RANGE_FULL: u8 = 2;
}

pub const FILTER_SCALING_MASK: u32 = 0xf00;
pub const FILTER_INTERPOLATION_MASK: u32 = 0xf000;

/// A code of four characters, the first in the lowest byte.
pub const fn fourcc(code: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*code)
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ConfigAttrib {
    pub kind: i32,
    pub value: u32,
}

/// `VAGenericValue`; `value` holds an integer in its lower half, or a pointer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct GenericValue {
    pub kind: i32,
    pub value: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SurfaceAttrib {
    pub kind: i32,
    pub flags: u32,
    pub value: GenericValue,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rectangle {
    pub x: i16,
    pub y: i16,
    pub width: u16,
    pub height: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ImageFormat {
    pub fourcc: u32,
    pub byte_order: u32,
    pub bits_per_pixel: u32,
    pub depth: u32,
    pub red_mask: u32,
    pub green_mask: u32,
    pub blue_mask: u32,
    pub alpha_mask: u32,
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Image {
    pub image_id: Id,
    pub format: ImageFormat,
    pub buf: Id,
    pub width: u16,
    pub height: u16,
    pub data_size: u32,
    pub num_planes: u32,
    pub pitches: [u32; 3],
    pub offsets: [u32; 3],
    pub num_palette_entries: i32,
    pub entry_bytes: i32,
    pub component_order: [i8; 4],
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PictureH264 {
    pub picture_id: Id,
    pub frame_idx: u32,
    pub flags: u32,
    pub top_field_order_cnt: i32,
    pub bottom_field_order_cnt: i32,
    pub va_reserved: [u32; 4],
}

/// `VAPictureParameterBufferH264`.
///
/// `seq_fields`: chroma format 0–1, separate planes 2, gaps 3, frames only 4, MBAFF 5, direct 8×8 6,
/// bi-prediction size 7, log2 of frame number 8–11, order type 12–13, log2 of order 14–17, delta
/// always zero 18. `pic_fields`: CABAC 0, weighted 1, bi-weighted 2–3, 8×8 transform 4, field 5,
/// constrained intra 6, order present 7, deblocking control 8, redundant 9, reference 10.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PictureParameterH264 {
    pub curr_pic: PictureH264,
    pub reference_frames: [PictureH264; 16],
    pub picture_width_in_mbs_minus1: u16,
    pub picture_height_in_mbs_minus1: u16,
    pub bit_depth_luma_minus8: u8,
    pub bit_depth_chroma_minus8: u8,
    pub num_ref_frames: u8,
    pub seq_fields: u32,
    pub num_slice_groups_minus1: u8,
    pub slice_group_map_type: u8,
    pub slice_group_change_rate_minus1: u16,
    pub pic_init_qp_minus26: i8,
    pub pic_init_qs_minus26: i8,
    pub chroma_qp_index_offset: i8,
    pub second_chroma_qp_index_offset: i8,
    pub pic_fields: u32,
    pub frame_num: u16,
    pub va_reserved: [u32; 8],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct IqMatrixH264 {
    pub scaling_list_4x4: [[u8; 16]; 6],
    pub scaling_list_8x8: [[u8; 64]; 2],
    pub va_reserved: [u32; 4],
}

/// The weights of one list, as they lie in both kinds of slice parameters.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    pub luma_flag: u8,
    pub luma_weight: [i16; 32],
    pub luma_offset: [i16; 32],
    pub chroma_flag: u8,
    pub chroma_weight: [[i16; 2]; 32],
    pub chroma_offset: [[i16; 2]; 32],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SliceParameterH264 {
    pub slice_data_size: u32,
    pub slice_data_offset: u32,
    pub slice_data_flag: u32,
    pub slice_data_bit_offset: u16,
    pub first_mb_in_slice: u16,
    pub slice_type: u8,
    pub direct_spatial_mv_pred_flag: u8,
    pub num_ref_idx_l0_active_minus1: u8,
    pub num_ref_idx_l1_active_minus1: u8,
    pub cabac_init_idc: u8,
    pub slice_qp_delta: i8,
    pub disable_deblocking_filter_idc: u8,
    pub slice_alpha_c0_offset_div2: i8,
    pub slice_beta_offset_div2: i8,
    pub ref_pic_list0: [PictureH264; 32],
    pub ref_pic_list1: [PictureH264; 32],
    pub luma_log2_weight_denom: u8,
    pub chroma_log2_weight_denom: u8,
    pub weights_l0: Weights,
    pub weights_l1: Weights,
    pub va_reserved: [u32; 4],
}

/// `VAEncSequenceParameterBufferH264`.
///
/// `seq_fields`: chroma format 0–1, frames only 2, MBAFF 3, scaling matrix 4, direct 8×8 5, log2 of
/// frame number 6–9, order type 10–11, log2 of order 12–15, delta always zero 16.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncSequenceParameterH264 {
    pub seq_parameter_set_id: u8,
    pub level_idc: u8,
    pub intra_period: u32,
    pub intra_idr_period: u32,
    pub ip_period: u32,
    pub bits_per_second: u32,
    pub max_num_ref_frames: u32,
    pub picture_width_in_mbs: u16,
    pub picture_height_in_mbs: u16,
    pub seq_fields: u32,
    pub bit_depth_luma_minus8: u8,
    pub bit_depth_chroma_minus8: u8,
    pub num_ref_frames_in_pic_order_cnt_cycle: u8,
    pub offset_for_non_ref_pic: i32,
    pub offset_for_top_to_bottom_field: i32,
    pub offset_for_ref_frame: [i32; 256],
    pub frame_cropping_flag: u8,
    pub frame_crop_left_offset: u32,
    pub frame_crop_right_offset: u32,
    pub frame_crop_top_offset: u32,
    pub frame_crop_bottom_offset: u32,
    pub vui_parameters_present_flag: u8,
    pub vui_fields: u32,
    pub aspect_ratio_idc: u8,
    pub sar_width: u32,
    pub sar_height: u32,
    pub num_units_in_tick: u32,
    pub time_scale: u32,
    pub va_reserved: [u32; 4],
}

/// `VAEncPictureParameterBufferH264`.
///
/// `pic_fields`: IDR 0, reference 1–2, CABAC 3, weighted 4, bi-weighted 5–6, constrained intra 7,
/// 8×8 transform 8, deblocking control 9, redundant 10, order present 11, scaling matrix 12.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncPictureParameterH264 {
    pub curr_pic: PictureH264,
    pub reference_frames: [PictureH264; 16],
    pub coded_buf: Id,
    pub pic_parameter_set_id: u8,
    pub seq_parameter_set_id: u8,
    pub last_picture: u8,
    pub frame_num: u16,
    pub pic_init_qp: u8,
    pub num_ref_idx_l0_active_minus1: u8,
    pub num_ref_idx_l1_active_minus1: u8,
    pub chroma_qp_index_offset: i8,
    pub second_chroma_qp_index_offset: i8,
    pub pic_fields: u32,
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncSliceParameterH264 {
    pub macroblock_address: u32,
    pub num_macroblocks: u32,
    pub macroblock_info: Id,
    pub slice_type: u8,
    pub pic_parameter_set_id: u8,
    pub idr_pic_id: u16,
    pub pic_order_cnt_lsb: u16,
    pub delta_pic_order_cnt_bottom: i32,
    pub delta_pic_order_cnt: [i32; 2],
    pub direct_spatial_mv_pred_flag: u8,
    pub num_ref_idx_active_override_flag: u8,
    pub num_ref_idx_l0_active_minus1: u8,
    pub num_ref_idx_l1_active_minus1: u8,
    pub ref_pic_list0: [PictureH264; 32],
    pub ref_pic_list1: [PictureH264; 32],
    pub luma_log2_weight_denom: u8,
    pub chroma_log2_weight_denom: u8,
    pub weights_l0: Weights,
    pub weights_l1: Weights,
    pub cabac_init_idc: u8,
    pub slice_qp_delta: i8,
    pub disable_deblocking_filter_idc: u8,
    pub slice_alpha_c0_offset_div2: i8,
    pub slice_beta_offset_div2: i8,
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncPackedHeaderParameter {
    pub kind: u32,
    pub bit_length: u32,
    pub has_emulation_bytes: u8,
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncMiscRateControl {
    pub bits_per_second: u32,
    pub target_percentage: u32,
    pub window_size: u32,
    pub initial_qp: u32,
    pub min_qp: u32,
    pub basic_unit_size: u32,
    pub rc_flags: u32,
    pub icq_quality_factor: u32,
    pub max_qp: u32,
    pub quality_factor: u32,
    pub target_frame_size: u32,
    pub va_reserved: [u32; 4],
}

/// `VAEncMiscParameterFrameRate`; the denominator is the upper half of `framerate`, 0 meaning 1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncMiscFrameRate {
    pub framerate: u32,
    pub framerate_flags: u32,
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncMiscHrd {
    pub initial_buffer_fullness: u32,
    pub buffer_size: u32,
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncMiscQualityLevel {
    pub quality_level: u32,
    pub va_reserved: [u32; 4],
}

/// `VAEncMiscParameterSkipFrame`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncMiscSkipFrame {
    pub skip_frame_flag: u8,
    pub num_skip_frames: u8,
    pub size_skip_frames: u32,
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncRoi {
    pub roi_rectangle: Rectangle,
    pub roi_value: i8,
}

/// `VAEncMiscParameterBufferROI`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncMiscRoi {
    pub num_roi: u32,
    pub max_delta_qp: i8,
    pub min_delta_qp: i8,
    pub roi: *const EncRoi,
    pub roi_flags: u32,
    pub va_reserved: [u32; 4],
}

/// `VAEncMiscParameterBufferDirtyRect`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncMiscDirtyRect {
    pub num_roi_rectangle: u32,
    pub roi_rectangle: *const Rectangle,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CodedBufferSegment {
    pub size: u32,
    pub bit_offset: u32,
    pub status: u32,
    pub reserved: u32,
    pub buf: *mut c_void,
    pub next: *mut c_void,
    pub va_reserved: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PrimeObject {
    pub fd: i32,
    pub size: u32,
    pub drm_format_modifier: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PrimeLayer {
    pub drm_format: u32,
    pub num_planes: u32,
    pub object_index: [u32; 4],
    pub offset: [u32; 4],
    pub pitch: [u32; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PrimeSurfaceDescriptor {
    pub fourcc: u32,
    pub width: u32,
    pub height: u32,
    pub num_objects: u32,
    pub objects: [PrimeObject; 4],
    pub num_layers: u32,
    pub layers: [PrimeLayer; 4],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DrmFormatModifierList {
    pub num_modifiers: u32,
    pub modifiers: *const u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ProcColorProperties {
    pub chroma_sample_location: u8,
    pub color_range: u8,
    pub colour_primaries: u8,
    pub transfer_characteristics: u8,
    pub matrix_coefficients: u8,
    pub reserved: [u8; 3],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ProcPipelineParameter {
    pub surface: Id,
    pub surface_region: *const Rectangle,
    pub surface_color_standard: i32,
    pub output_region: *const Rectangle,
    pub output_background_color: u32,
    pub output_color_standard: i32,
    pub pipeline_flags: u32,
    pub filter_flags: u32,
    pub filters: *const Id,
    pub num_filters: u32,
    pub forward_references: *const Id,
    pub num_forward_references: u32,
    pub backward_references: *const Id,
    pub num_backward_references: u32,
    pub rotation_state: u32,
    pub blend_state: *const c_void,
    pub mirror_state: u32,
    pub additional_outputs: *const Id,
    pub num_additional_outputs: u32,
    pub input_surface_flag: u32,
    pub output_surface_flag: u32,
    pub input_color_properties: ProcColorProperties,
    pub output_color_properties: ProcColorProperties,
    pub processing_mode: i32,
    pub output_hdr_metadata: *const c_void,
    pub va_reserved: [u32; 16],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ProcPipelineCaps {
    pub pipeline_flags: u32,
    pub filter_flags: u32,
    pub num_forward_references: u32,
    pub num_backward_references: u32,
    pub input_color_standards: *const i32,
    pub num_input_color_standards: u32,
    pub output_color_standards: *const i32,
    pub num_output_color_standards: u32,
    pub rotation_flags: u32,
    pub blend_flags: u32,
    pub mirror_flags: u32,
    pub num_additional_outputs: u32,
    pub num_input_pixel_formats: u32,
    pub input_pixel_format: *const u32,
    pub num_output_pixel_formats: u32,
    pub output_pixel_format: *const u32,
    pub max_input_width: u32,
    pub max_input_height: u32,
    pub min_input_width: u32,
    pub min_input_height: u32,
    pub max_output_width: u32,
    pub max_output_height: u32,
    pub min_output_width: u32,
    pub min_output_height: u32,
    pub va_reserved: [u32; 14],
}

/// What names a status in `va.h`, without `VA_STATUS_ERROR_`.
pub fn status_name(value: Status) -> &'static str {
    match value {
        status::SUCCESS => "SUCCESS",
        status::OPERATION_FAILED => "OPERATION_FAILED",
        status::ALLOCATION_FAILED => "ALLOCATION_FAILED",
        status::INVALID_DISPLAY => "INVALID_DISPLAY",
        status::INVALID_CONFIG => "INVALID_CONFIG",
        status::INVALID_CONTEXT => "INVALID_CONTEXT",
        status::INVALID_SURFACE => "INVALID_SURFACE",
        status::INVALID_BUFFER => "INVALID_BUFFER",
        status::INVALID_IMAGE => "INVALID_IMAGE",
        status::INVALID_SUBPICTURE => "INVALID_SUBPICTURE",
        status::ATTR_NOT_SUPPORTED => "ATTR_NOT_SUPPORTED",
        status::MAX_NUM_EXCEEDED => "MAX_NUM_EXCEEDED",
        status::UNSUPPORTED_PROFILE => "UNSUPPORTED_PROFILE",
        status::UNSUPPORTED_ENTRYPOINT => "UNSUPPORTED_ENTRYPOINT",
        status::UNSUPPORTED_RT_FORMAT => "UNSUPPORTED_RT_FORMAT",
        status::UNSUPPORTED_BUFFERTYPE => "UNSUPPORTED_BUFFERTYPE",
        status::SURFACE_BUSY => "SURFACE_BUSY",
        status::FLAG_NOT_SUPPORTED => "FLAG_NOT_SUPPORTED",
        status::INVALID_PARAMETER => "INVALID_PARAMETER",
        status::RESOLUTION_NOT_SUPPORTED => "RESOLUTION_NOT_SUPPORTED",
        status::UNIMPLEMENTED => "UNIMPLEMENTED",
        status::INVALID_IMAGE_FORMAT => "INVALID_IMAGE_FORMAT",
        status::DECODING_ERROR => "DECODING_ERROR",
        status::ENCODING_ERROR => "ENCODING_ERROR",
        status::INVALID_VALUE => "INVALID_VALUE",
        status::UNSUPPORTED_FILTER => "UNSUPPORTED_FILTER",
        status::HW_BUSY => "HW_BUSY",
        status::UNSUPPORTED_MEMORY_TYPE => "UNSUPPORTED_MEMORY_TYPE",
        status::NOT_ENOUGH_BUFFER => "NOT_ENOUGH_BUFFER",
        status::TIMEDOUT => "TIMEDOUT",
        _ => "another status",
    }
}

/// `VAEncMiscParameterBuffer` with what follows it, at once: C has an array of words there.
#[repr(C, packed(4))]
#[derive(Debug, Clone, Copy)]
pub struct EncMisc<T> {
    pub kind: u32,
    pub value: T,
}
