//! The structures of C that are written down in Rust, compared with C's own headers.

use std::fmt::Write as _;
use std::process::Command;

use heliostat_drv_video::{sys::backend, va};

/// Name in C, name in Rust, fields in both.
macro_rules! structures {
    ($($c:literal $rust:ty { $($c_field:literal $field:ident)* })*) => {
        fn expected() -> Vec<(&'static str, usize, Vec<(&'static str, usize)>)> {
            vec![$((
                $c,
                size_of::<$rust>(),
                vec![$(($c_field, std::mem::offset_of!($rust, $field))),*],
            )),*]
        }
    };
}

structures! {
    "VAConfigAttrib" va::ConfigAttrib { "value" value }
    "VASurfaceAttrib" va::SurfaceAttrib { "flags" flags "value" value }
    "VAGenericValue" va::GenericValue { "value" value }
    "VARectangle" va::Rectangle { "width" width "height" height }
    "VAImageFormat" va::ImageFormat { "depth" depth "alpha_mask" alpha_mask }
    "VAImage" va::Image {
        "format" format "buf" buf "width" width "data_size" data_size "pitches" pitches
        "offsets" offsets "component_order" component_order
    }
    "VAPictureH264" va::PictureH264 { "flags" flags "BottomFieldOrderCnt" bottom_field_order_cnt }
    "VAPictureParameterBufferH264" va::PictureParameterH264 {
        "ReferenceFrames" reference_frames
        "picture_width_in_mbs_minus1" picture_width_in_mbs_minus1
        "num_ref_frames" num_ref_frames "seq_fields" seq_fields
        "pic_init_qp_minus26" pic_init_qp_minus26 "pic_fields" pic_fields "frame_num" frame_num
    }
    "VAIQMatrixBufferH264" va::IqMatrixH264 { "ScalingList8x8" scaling_list_8x8 }
    "VASliceParameterBufferH264" va::SliceParameterH264 {
        "slice_data_bit_offset" slice_data_bit_offset "slice_type" slice_type
        "slice_qp_delta" slice_qp_delta "RefPicList0" ref_pic_list0 "RefPicList1" ref_pic_list1
        "luma_log2_weight_denom" luma_log2_weight_denom "luma_weight_l0_flag" weights_l0
        "luma_weight_l1_flag" weights_l1
    }
    "VAEncSequenceParameterBufferH264" va::EncSequenceParameterH264 {
        "intra_period" intra_period "bits_per_second" bits_per_second
        "picture_width_in_mbs" picture_width_in_mbs "seq_fields" seq_fields
        "offset_for_ref_frame" offset_for_ref_frame "frame_cropping_flag" frame_cropping_flag
        "frame_crop_bottom_offset" frame_crop_bottom_offset "vui_fields" vui_fields
        "time_scale" time_scale
    }
    "VAEncPictureParameterBufferH264" va::EncPictureParameterH264 {
        "ReferenceFrames" reference_frames "coded_buf" coded_buf "frame_num" frame_num
        "second_chroma_qp_index_offset" second_chroma_qp_index_offset "pic_fields" pic_fields
    }
    "VAEncSliceParameterBufferH264" va::EncSliceParameterH264 {
        "macroblock_info" macroblock_info "slice_type" slice_type "idr_pic_id" idr_pic_id
        "delta_pic_order_cnt" delta_pic_order_cnt
        "num_ref_idx_l0_active_minus1" num_ref_idx_l0_active_minus1 "RefPicList0" ref_pic_list0
        "luma_weight_l0_flag" weights_l0 "luma_weight_l1_flag" weights_l1
        "cabac_init_idc" cabac_init_idc "slice_beta_offset_div2" slice_beta_offset_div2
    }
    "VAEncPackedHeaderParameterBuffer" va::EncPackedHeaderParameter {
        "bit_length" bit_length "has_emulation_bytes" has_emulation_bytes
    }
    "VAEncMiscParameterBuffer" va::EncMisc<[u32; 0]> { "data" value }
    "VAEncMiscParameterRateControl" va::EncMiscRateControl {
        "min_qp" min_qp "rc_flags" rc_flags "max_qp" max_qp
    }
    "VAEncMiscParameterFrameRate" va::EncMiscFrameRate { "framerate" framerate }
    "VAEncMiscParameterHRD" va::EncMiscHrd { "buffer_size" buffer_size }
    "VAEncMiscParameterBufferQualityLevel" va::EncMiscQualityLevel { "quality_level" quality_level }
    "VAEncMiscParameterSkipFrame" va::EncMiscSkipFrame {
        "num_skip_frames" num_skip_frames "size_skip_frames" size_skip_frames
    }
    "VAEncROI" va::EncRoi { "roi_value" roi_value }
    "VAEncMiscParameterBufferROI" va::EncMiscRoi {
        "max_delta_qp" max_delta_qp "min_delta_qp" min_delta_qp "roi" roi "roi_flags" roi_flags
    }
    "VAEncMiscParameterBufferDirtyRect" va::EncMiscDirtyRect { "roi_rectangle" roi_rectangle }
    "VACodedBufferSegment" va::CodedBufferSegment { "status" status "buf" buf "next" next }
    "VADRMPRIMESurfaceDescriptor" va::PrimeSurfaceDescriptor {
        "num_objects" num_objects "objects" objects "num_layers" num_layers "layers" layers
    }
    "VADRMFormatModifierList" va::DrmFormatModifierList { "modifiers" modifiers }
    "VAProcColorProperties" va::ProcColorProperties { "matrix_coefficients" matrix_coefficients }
    "VAProcPipelineParameterBuffer" va::ProcPipelineParameter {
        "surface_region" surface_region "surface_color_standard" surface_color_standard
        "output_region" output_region "filter_flags" filter_flags "num_filters" num_filters
        "rotation_state" rotation_state "blend_state" blend_state "mirror_state" mirror_state
        "num_additional_outputs" num_additional_outputs
        "input_color_properties" input_color_properties
        "output_color_properties" output_color_properties
        "output_hdr_metadata" output_hdr_metadata
    }
    "VAProcPipelineCaps" va::ProcPipelineCaps {
        "input_color_standards" input_color_standards "rotation_flags" rotation_flags
        "input_pixel_format" input_pixel_format "max_input_width" max_input_width
        "min_output_height" min_output_height
    }
    "struct VADriverVTable" backend::VTable {
        "vaSetDisplayAttributes" set_display_attributes "vaCreateSurfaces2" create_surfaces2
        "vaExportSurfaceHandle" export_surface_handle "vaSyncBuffer" sync_buffer
    }
    "struct VADriverVTableVPP" backend::VTableVpp {
        "vaQueryVideoProcPipelineCaps" query_pipeline_caps
    }
    "struct VADriverContext" backend::DriverContext {
        "vtable" vtable "version_major" version_major "max_display_attributes" max_display_attributes
        "str_vendor" str_vendor "vtable_vpp" vtable_vpp "vtable_prot" vtable_prot
    }
}

#[test]
fn structures_lie_in_memory_as_they_do_in_c() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("layout.c"), folder.path().join("layout"));
    let mut code = String::from(
        "#include <stdio.h>\n#include <stddef.h>\n#include <va/va.h>\n#include <va/va_enc_h264.h>\n\
         #include <va/va_vpp.h>\n#include <va/va_drmcommon.h>\n#include <va/va_backend.h>\n\
         #include <va/va_backend_vpp.h>\nint main(void) {\n",
    );
    for (name, _, fields) in expected() {
        writeln!(code, "printf(\"%zu\\n\", sizeof({name}));").unwrap();
        for (field, _) in fields {
            writeln!(code, "printf(\"%zu\\n\", offsetof({name}, {field}));").unwrap();
        }
    }
    code += "return 0; }\n";
    std::fs::write(&source, code).unwrap();
    let compiler = Command::new("cc")
        .arg("-w")
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .output();
    let Ok(compiled) = compiler else {
        println!("skipped: there is no C compiler");
        return;
    };
    if !compiled.status.success() {
        let why = String::from_utf8_lossy(&compiled.stderr);
        assert!(why.contains("va/va.h"), "{why}");
        println!("skipped: libva's headers are not installed");
        return;
    }
    let printed = Command::new(&program).output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    let mut numbers = printed.lines().map(|line| line.parse::<usize>().unwrap());
    for (name, size, fields) in expected() {
        assert_eq!(numbers.next(), Some(size), "size of {name}");
        for (field, offset) in fields {
            assert_eq!(numbers.next(), Some(offset), "{name}.{field}");
        }
    }
}
