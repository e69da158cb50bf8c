//! Decoding as hardware does it: the client has read all headers, the driver gets their values and
//! the slices.
//!
//! OpenH264 wants the headers, so they are written again. What VA does not carry is filled in so that
//! it has no influence: the profile is called Baseline, which in OpenH264 means no more than that
//! every picture comes out at once (its parser takes CABAC, 8×8 transforms and B slices in any
//! profile); default numbers of references come out of the slices that use them; scaling lists, which
//! VA has merged, all go into the PPS. Two things cannot be had: the cycle of picture order type 1,
//! without which B slices cannot be decoded, and fields.

use openh264::decoder::{DecodeOptions, Decoder as Codec, Flush};
use openh264::formats::YUVSource;

use super::bits::Nal;
use super::parameters::{Order, Pps, Sps};
use super::slice::{IDR, Kind, SLICE, SliceHeader};
use crate::refusal::{Done, refuse};
use crate::va::{self, status};

/// All that came for one picture.
#[derive(Debug)]
pub struct Picture {
    /// The picture's parameters.
    pub parameters: va::PictureParameterH264,
    /// Scaling lists.
    pub scaling: Option<va::IqMatrixH264>,
    /// Slices, each a NAL unit without its start code.
    pub slices: Vec<(va::SliceParameterH264, Vec<u8>)>,
}

/// An access unit that OpenH264 can read.
#[derive(Debug)]
pub struct Plan {
    unit: Vec<u8>,
    /// Coded width and height in pixels.
    pub size: (u32, u32),
}

/// One stream that is decoded.
pub struct Decoder {
    codec: Codec,
    sets: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// Decoded planes: luma and both chroma, each with the distance of its rows in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Decoded<'a> {
    /// Planes and their pitches.
    pub planes: [(&'a [u8], usize); 3],
    /// Width and height in pixels.
    pub size: (usize, usize),
}

/// Macroblocks of the largest picture, as level 5.2 has it.
pub const MAX_MACROBLOCKS: u32 = 36864;
/// Slices of one picture.
const MAX_SLICES: usize = 1024;

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Done<Self> {
        match Codec::new() {
            Ok(codec) => Ok(Self { codec, sets: None }),
            Err(_) => refuse(status::ALLOCATION_FAILED, "the codec cannot be made"),
        }
    }

    /// Checks a picture and writes its headers again.
    pub fn plan(&mut self, picture: &Picture) -> Done<Plan> {
        if picture.slices.is_empty() || picture.slices.len() > MAX_SLICES {
            return refuse(
                status::INVALID_PARAMETER,
                format!("a picture of {} slices", picture.slices.len()),
            );
        }
        let sps = sequence(&picture.parameters)?;
        let mut pps = self::picture(&picture.parameters, picture.scaling.as_ref());
        let nals = picture.slices.iter().map(|(_, unit)| parse(unit));
        let nals = nals.collect::<Done<Vec<_>>>()?;
        pps.id = pps_id(&nals[0])?;
        let mut headers = Vec::new();
        for (nal, (parameters, _)) in nals.iter().zip(&picture.slices) {
            headers.push(header(nal, parameters, &sps, &mut pps)?);
        }
        for (header, (parameters, _)) in headers.iter().zip(&picture.slices) {
            check(header, parameters, &picture.parameters, &pps)?;
        }
        if sps.order_is_lost() && headers.iter().any(|(header, _)| header.kind() == Kind::B) {
            return refuse(
                status::UNIMPLEMENTED,
                "B slices with picture order type 1, whose cycle VA does not carry",
            );
        }
        Ok(Plan {
            unit: self.access_unit(&sps, &pps, picture, headers[0].0.idr),
            size: (sps.width_mbs * 16, sps.height_mbs * 16),
        })
    }

    fn access_unit(&mut self, sps: &Sps, pps: &Pps, picture: &Picture, idr: bool) -> Vec<u8> {
        let mut unit = Vec::new();
        let sets = (sps.write(), pps.write());
        // A new sequence repeats its sets; otherwise they are written when they change.
        let (sps_before, pps_before) = self.sets.take().filter(|_| !idr).unzip();
        for (kind, payload, before) in [(7, &sets.0, sps_before), (8, &sets.1, pps_before)] {
            if before.as_ref() != Some(payload) {
                let nal = Nal {
                    reference: 3,
                    kind,
                    payload: payload.clone(),
                };
                nal.write(&mut unit);
            }
        }
        for (_, slice) in &picture.slices {
            unit.extend([0, 0, 0, 1]);
            unit.extend_from_slice(slice);
        }
        self.sets = Some(sets);
        unit
    }

    /// Decodes. The error says what the codec said; the stream goes on at the next IDR picture.
    pub fn run<T>(
        &mut self,
        plan: &Plan,
        take: impl FnOnce(Decoded<'_>) -> T,
    ) -> Result<T, String> {
        let options = DecodeOptions::new().flush_after_decode(Flush::NoFlush);
        let decoded = match self.codec.decode_with_options(&plan.unit, options) {
            Ok(Some(decoded)) => decoded,
            Ok(None) => {
                self.sets = None;
                return Err("the codec gave no picture: one before it is missing, or data".into());
            }
            Err(error) => {
                self.sets = None;
                return Err(format!("the codec: {error}"));
            }
        };
        let (y, u, v) = decoded.strides();
        Ok(take(Decoded {
            planes: [(decoded.y(), y), (decoded.u(), u), (decoded.v(), v)],
            size: decoded.dimensions(),
        }))
    }
}

impl Sps {
    fn order_is_lost(&self) -> bool {
        matches!(self.order, Order::Cycle { .. })
    }
}

fn sequence(parameters: &va::PictureParameterH264) -> Done<Sps> {
    let fields = parameters.seq_fields;
    let plain = fields & 3 == 1
        && fields >> 2 & 1 == 0
        && (
            parameters.bit_depth_luma_minus8,
            parameters.bit_depth_chroma_minus8,
        ) == (0, 0)
        && parameters.num_slice_groups_minus1 == 0;
    if !plain {
        return refuse(
            status::INVALID_PARAMETER,
            "samples other than 4:2:0 of 8 bits, or slice groups",
        );
    }
    if fields >> 4 & 1 == 0 || parameters.pic_fields >> 5 & 1 == 1 {
        return refuse(
            status::INVALID_PARAMETER,
            "interlaced pictures are not decoded",
        );
    }
    let width_mbs = u32::from(parameters.picture_width_in_mbs_minus1) + 1;
    let height_mbs = u32::from(parameters.picture_height_in_mbs_minus1) + 1;
    if width_mbs * height_mbs > MAX_MACROBLOCKS || parameters.num_ref_frames > 16 {
        return refuse(
            status::RESOLUTION_NOT_SUPPORTED,
            format!("a picture of {width_mbs}×{height_mbs} macroblocks"),
        );
    }
    let order = match fields >> 12 & 3 {
        0 => Order::Lsb {
            bits: (fields >> 14 & 15).min(12) + 4,
        },
        1 => Order::Cycle {
            always_zero: fields >> 18 & 1 == 1,
        },
        2 => Order::Decoding,
        _ => {
            return refuse(
                status::INVALID_PARAMETER,
                "there is no picture order type 3",
            );
        }
    };
    Ok(Sps {
        profile: 66,
        constraints: 0,
        level: 52,
        id: 0,
        frame_num_bits: (fields >> 8 & 15).min(12) + 4,
        order,
        references: parameters.num_ref_frames.into(),
        gaps: fields >> 3 & 1 == 1,
        width_mbs,
        height_mbs,
        direct_8x8: fields >> 6 & 1 == 1,
        crop: [0; 4],
        vui: false,
    })
}

fn picture(parameters: &va::PictureParameterH264, scaling: Option<&va::IqMatrixH264>) -> Pps {
    let fields = parameters.pic_fields;
    let flag = |at: u32| fields >> at & 1 == 1;
    let transform_8x8 = flag(4);
    Pps {
        id: 0,
        sps_id: 0,
        cabac: flag(0),
        order_present: flag(7),
        references: [1, 1],
        weighted: flag(1),
        bi_weighted: (fields >> 2 & 3).min(2),
        qp: 26 + i32::from(parameters.pic_init_qp_minus26).clamp(-26, 25),
        qs: 26 + i32::from(parameters.pic_init_qs_minus26).clamp(-26, 25),
        chroma_qp: [
            i32::from(parameters.chroma_qp_index_offset).clamp(-12, 12),
            i32::from(parameters.second_chroma_qp_index_offset).clamp(-12, 12),
        ],
        deblocking_control: flag(8),
        constrained_intra: flag(6),
        redundant: flag(9),
        transform_8x8,
        scaling: scaling.and_then(|scaling| lists(scaling, transform_8x8)),
    }
}

/// Scaling lists in zigzag order; nothing where they are all flat.
fn lists(scaling: &va::IqMatrixH264, transform_8x8: bool) -> Option<Vec<Vec<u8>>> {
    let small = scaling.scaling_list_4x4.iter().map(|list| zigzag(list, 4));
    let large = scaling.scaling_list_8x8.iter().map(|list| zigzag(list, 8));
    let lists: Vec<_> = match transform_8x8 {
        true => small.chain(large).collect(),
        false => small.collect(),
    };
    let flat = lists.iter().flatten().all(|value| *value == 16);
    // A zero would end a list in the syntax, and no scaling has it.
    let odd = lists.iter().flatten().any(|value| *value == 0);
    (!flat && !odd).then_some(lists)
}

/// From raster order to that of the frame scan (6.4.4 and 8.5.6).
fn zigzag(raster: &[u8], side: usize) -> Vec<u8> {
    let mut order: Vec<(usize, usize)> =
        (0..side * side).map(|at| (at / side, at % side)).collect();
    order.sort_by_key(|(row, column)| {
        let diagonal = row + column;
        (diagonal, if diagonal % 2 == 0 { *column } else { *row })
    });
    order
        .iter()
        .map(|(row, column)| raster[row * side + column])
        .collect()
}

fn parse(unit: &[u8]) -> Done<Nal> {
    match Nal::parse(unit) {
        Ok(nal) if [IDR, SLICE].contains(&nal.kind) => Ok(nal),
        _ => refuse(
            status::INVALID_BUFFER,
            "slice data does not begin with the unit of a slice",
        ),
    }
}

fn pps_id(nal: &Nal) -> Done<u32> {
    let mut bits = super::bits::BitReader::new(&nal.payload);
    let id = bits.ue().and_then(|_| bits.ue()).and_then(|_| bits.ue());
    match id {
        Ok(id @ 0..=255) => Ok(id),
        _ => refuse(status::INVALID_BUFFER, "slice data without a slice header"),
    }
}

/// Reads a slice header; where the header has the default number of references, that becomes the
/// PPS's.
fn header(
    nal: &Nal,
    parameters: &va::SliceParameterH264,
    sps: &Sps,
    pps: &mut Pps,
) -> Done<(SliceHeader, usize)> {
    let active = [
        u32::from(parameters.num_ref_idx_l0_active_minus1) + 1,
        u32::from(parameters.num_ref_idx_l1_active_minus1) + 1,
    ];
    let with_default = Pps {
        references: active.map(|count| count.min(32)),
        ..pps.clone()
    };
    let unit = (nal.reference, nal.kind);
    let Ok((header, length)) = SliceHeader::parse(unit, &nal.payload, sps, &with_default) else {
        return refuse(
            status::INVALID_PARAMETER,
            "a slice header that cannot be read with the parameters of its picture",
        );
    };
    let lists = match header.kind() {
        Kind::I => 0,
        Kind::P => 1,
        Kind::B => 2,
    };
    if !header.overridden {
        pps.references[..lists].copy_from_slice(&with_default.references[..lists]);
    }
    Ok((header, length))
}

/// Refuses parameters that say something else than the slice's own header: hardware would believe
/// the parameters.
fn check(
    (header, length): &(SliceHeader, usize),
    slice: &va::SliceParameterH264,
    picture: &va::PictureParameterH264,
    pps: &Pps,
) -> Done {
    let same = |name: &str, header: i64, parameter: i64| match header == parameter {
        true => Ok(()),
        false => refuse(
            status::INVALID_PARAMETER,
            format!("the slice header says {name} {header}, the parameters {parameter}"),
        ),
    };
    let bits = length + 8;
    same(
        "slice_data_bit_offset",
        bits as i64,
        slice.slice_data_bit_offset.into(),
    )?;
    same(
        "first_mb_in_slice",
        header.first_mb.into(),
        slice.first_mb_in_slice.into(),
    )?;
    let kind = i64::from(slice.slice_type) % 5;
    same("slice_type", i64::from(header.slice_type) % 5, kind)?;
    same("pic_parameter_set_id", header.pps_id.into(), pps.id.into())?;
    same(
        "frame_num",
        header.frame_num.into(),
        picture.frame_num.into(),
    )?;
    let reference = picture.pic_fields >> 10 & 1;
    same(
        "that nal_ref_idc is not 0:",
        (header.reference != 0).into(),
        reference.into(),
    )?;
    same(
        "slice_qp_delta",
        header.qp_delta.into(),
        slice.slice_qp_delta.into(),
    )?;
    if header.kind() != Kind::I {
        let active = i64::from(slice.num_ref_idx_l0_active_minus1) + 1;
        same("num_ref_idx_l0_active", header.references[0].into(), active)?;
        same(
            "cabac_init_idc",
            header.cabac_init.into(),
            slice.cabac_init_idc.into(),
        )?;
    }
    if header.kind() == Kind::B {
        let active = i64::from(slice.num_ref_idx_l1_active_minus1) + 1;
        same("num_ref_idx_l1_active", header.references[1].into(), active)?;
        let direct = i64::from(slice.direct_spatial_mv_pred_flag);
        same(
            "direct_spatial_mv_pred_flag",
            header.direct_spatial.into(),
            direct,
        )?;
    }
    let idc = slice.disable_deblocking_filter_idc;
    same(
        "disable_deblocking_filter_idc",
        header.deblocking.0.into(),
        idc.into(),
    )?;
    if idc != 1 {
        let (alpha, beta) = (
            slice.slice_alpha_c0_offset_div2,
            slice.slice_beta_offset_div2,
        );
        same(
            "slice_alpha_c0_offset_div2",
            header.deblocking.1.into(),
            alpha.into(),
        )?;
        same(
            "slice_beta_offset_div2",
            header.deblocking.2.into(),
            beta.into(),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_is_that_of_frames() {
        let raster: Vec<u8> = (0..16).collect();
        let order = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];
        assert_eq!(zigzag(&raster, 4), order);
    }
}
