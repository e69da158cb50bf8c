//! Sequence and picture parameter sets, read and written.

use super::bits::{BitReader, BitWriter, Malformed};

/// How frame numbers and picture orders are written (7.4.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Type 0: the lowest bits of the order are in each slice.
    Lsb {
        /// `log2_max_pic_order_cnt_lsb`.
        bits: u32,
    },
    /// Type 1: differences from a cycle.
    Cycle {
        /// `delta_pic_order_always_zero_flag`.
        always_zero: bool,
    },
    /// Type 2: pictures are shown in the order of decoding.
    Decoding,
}

/// What of a sequence parameter set a driver compares, and what slices need to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// The six constraint flags, the first highest, and two zeros.
    pub constraints: u8,
    /// `level_idc`.
    pub level: u8,
    /// `seq_parameter_set_id`.
    pub id: u32,
    /// `log2_max_frame_num`.
    pub frame_num_bits: u32,
    /// `pic_order_cnt_type` and what belongs to it.
    pub order: Order,
    /// `max_num_ref_frames`.
    pub references: u32,
    /// `gaps_in_frame_num_value_allowed_flag`.
    pub gaps: bool,
    /// Width in macroblocks.
    pub width_mbs: u32,
    /// Height in macroblocks.
    pub height_mbs: u32,
    /// `direct_8x8_inference_flag`.
    pub direct_8x8: bool,
    /// Left, right, top and bottom, in units of two samples.
    pub crop: [u32; 4],
    /// Whether VUI follows; its bits are the client's own matter.
    pub vui: bool,
}

/// What of a picture parameter set a driver compares, and what slices need to be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pps {
    /// `pic_parameter_set_id`.
    pub id: u32,
    /// `seq_parameter_set_id`.
    pub sps_id: u32,
    /// `entropy_coding_mode_flag`.
    pub cabac: bool,
    /// `bottom_field_pic_order_in_frame_present_flag`.
    pub order_present: bool,
    /// `num_ref_idx_l0_default_active_minus1` and that of list 1, plus 1.
    pub references: [u32; 2],
    /// `weighted_pred_flag`.
    pub weighted: bool,
    /// `weighted_bipred_idc`.
    pub bi_weighted: u32,
    /// `26 + pic_init_qp_minus26`.
    pub qp: i32,
    /// `26 + pic_init_qs_minus26`.
    pub qs: i32,
    /// `chroma_qp_index_offset` and the second one.
    pub chroma_qp: [i32; 2],
    /// `deblocking_filter_control_present_flag`.
    pub deblocking_control: bool,
    /// `constrained_intra_pred_flag`.
    pub constrained_intra: bool,
    /// `redundant_pic_cnt_present_flag`.
    pub redundant: bool,
    /// `transform_8x8_mode_flag`.
    pub transform_8x8: bool,
    /// Scaling lists in zigzag order: six of 16 values, then two of 64 where 8×8 transforms are.
    pub scaling: Option<Vec<Vec<u8>>>,
}

/// Profiles whose parameter sets say more of the samples.
const HIGH_PROFILES: [u8; 12] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134];

/// Why a parameter set is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It cannot be read.
    Malformed,
    /// It asks for what this driver leaves out.
    Unsupported(&'static str),
}

impl From<Malformed> for Unfit {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Sps {
    /// Reads a payload.
    pub fn parse(payload: &[u8]) -> Result<Self, Unfit> {
        let mut bits = BitReader::new(payload);
        let profile = bits.bits(8)? as u8;
        let constraints = bits.bits(8)? as u8;
        let level = bits.bits(8)? as u8;
        let id = bits.ue()?;
        if HIGH_PROFILES.contains(&profile) {
            let depths = (bits.ue()?, bits.ue()?, bits.ue()?);
            let (bypass, scaling) = (bits.flag()?, bits.flag()?);
            if (depths, bypass, scaling) != ((1, 0, 0), false, false) {
                return Err(Unfit::Unsupported(
                    "samples other than plain 4:2:0 of 8 bits",
                ));
            }
        }
        let frame_num_bits = bits.ue()?.checked_add(4).ok_or(Malformed)?;
        let order = Order::parse(&mut bits)?;
        let references = bits.ue()?;
        let gaps = bits.flag()?;
        let width_mbs = bits.ue()?.checked_add(1).ok_or(Malformed)?;
        let height_mbs = bits.ue()?.checked_add(1).ok_or(Malformed)?;
        if !bits.flag()? {
            return Err(Unfit::Unsupported("interlaced pictures"));
        }
        let direct_8x8 = bits.flag()?;
        let mut crop = [0; 4];
        if bits.flag()? {
            for edge in &mut crop {
                *edge = bits.ue()?;
            }
        }
        let vui = bits.flag()?;
        if id > 31 || frame_num_bits > 16 {
            return Err(Unfit::Malformed);
        }
        Ok(Self {
            profile,
            constraints,
            level,
            id,
            frame_num_bits,
            order,
            references,
            gaps,
            width_mbs,
            height_mbs,
            direct_8x8,
            crop,
            vui,
        })
    }

    /// The payload of a set without VUI. Cycles of type 1 are written empty.
    pub fn write(&self) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.bits(self.profile.into(), 8);
        bits.bits(self.constraints.into(), 8);
        bits.bits(self.level.into(), 8);
        bits.ue(self.id);
        if HIGH_PROFILES.contains(&self.profile) {
            bits.ue(1);
            bits.ue(0);
            bits.ue(0);
            bits.bits(0, 2);
        }
        bits.ue(self.frame_num_bits - 4);
        self.order.write(&mut bits);
        bits.ue(self.references);
        bits.flag(self.gaps);
        bits.ue(self.width_mbs - 1);
        bits.ue(self.height_mbs - 1);
        bits.flag(true);
        bits.flag(self.direct_8x8);
        bits.flag(self.crop != [0; 4]);
        if self.crop != [0; 4] {
            self.crop.iter().for_each(|edge| bits.ue(*edge));
        }
        bits.flag(false);
        bits.finish()
    }
}

impl Order {
    fn parse(bits: &mut BitReader<'_>) -> Result<Self, Malformed> {
        match bits.ue()? {
            0 => match bits.ue()? {
                above @ 0..=12 => Ok(Self::Lsb { bits: above + 4 }),
                _ => Err(Malformed),
            },
            1 => {
                let always_zero = bits.flag()?;
                bits.se()?;
                bits.se()?;
                let cycle = bits.ue()?;
                if cycle > 255 {
                    return Err(Malformed);
                }
                for _ in 0..cycle {
                    bits.se()?;
                }
                Ok(Self::Cycle { always_zero })
            }
            2 => Ok(Self::Decoding),
            _ => Err(Malformed),
        }
    }

    fn write(self, bits: &mut BitWriter) {
        match self {
            Self::Lsb { bits: count } => {
                bits.ue(0);
                bits.ue(count - 4);
            }
            Self::Cycle { always_zero } => {
                bits.ue(1);
                bits.flag(always_zero);
                bits.se(0);
                bits.se(0);
                bits.ue(0);
            }
            Self::Decoding => bits.ue(2),
        }
    }
}

impl Pps {
    /// Reads a payload. Scaling lists are refused: no encoder of ours uses them.
    pub fn parse(payload: &[u8]) -> Result<Self, Unfit> {
        let mut bits = BitReader::new(payload);
        let id = bits.ue()?;
        let sps_id = bits.ue()?;
        let cabac = bits.flag()?;
        let order_present = bits.flag()?;
        if bits.ue()? != 0 {
            return Err(Unfit::Unsupported("slice groups"));
        }
        let mut references = [0; 2];
        for count in &mut references {
            *count = bits.ue()?.checked_add(1).ok_or(Malformed)?;
        }
        let weighted = bits.flag()?;
        let bi_weighted = bits.bits(2)?;
        let qp = bits.se()?.checked_add(26).ok_or(Malformed)?;
        let qs = bits.se()?.checked_add(26).ok_or(Malformed)?;
        let chroma = bits.se()?;
        let deblocking_control = bits.flag()?;
        let constrained_intra = bits.flag()?;
        let redundant = bits.flag()?;
        let mut transform_8x8 = false;
        let mut second = chroma;
        if bits.more_data() {
            transform_8x8 = bits.flag()?;
            if bits.flag()? {
                return Err(Unfit::Unsupported("scaling lists in picture parameters"));
            }
            second = bits.se()?;
        }
        if id > 255 || sps_id > 31 || references.iter().any(|count| *count > 32) {
            return Err(Unfit::Malformed);
        }
        if !(0..=51).contains(&qp) {
            return Err(Unfit::Malformed);
        }
        Ok(Self {
            id,
            sps_id,
            cabac,
            order_present,
            references,
            weighted,
            bi_weighted,
            qp,
            qs,
            chroma_qp: [chroma, second],
            deblocking_control,
            constrained_intra,
            redundant,
            transform_8x8,
            scaling: None,
        })
    }

    /// The payload.
    pub fn write(&self) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.ue(self.id);
        bits.ue(self.sps_id);
        bits.flag(self.cabac);
        bits.flag(self.order_present);
        bits.ue(0);
        self.references.iter().for_each(|count| bits.ue(count - 1));
        bits.flag(self.weighted);
        bits.bits(self.bi_weighted, 2);
        bits.se(self.qp - 26);
        bits.se(self.qs - 26);
        bits.se(self.chroma_qp[0]);
        bits.flag(self.deblocking_control);
        bits.flag(self.constrained_intra);
        bits.flag(self.redundant);
        let extended = self.transform_8x8 || self.scaling.is_some();
        if extended || self.chroma_qp[0] != self.chroma_qp[1] {
            bits.flag(self.transform_8x8);
            bits.flag(self.scaling.is_some());
            let lists = self.scaling.iter().flatten();
            lists.for_each(|list| write_scaling_list(list, &mut bits));
            bits.se(self.chroma_qp[1]);
        }
        bits.finish()
    }
}

fn write_scaling_list(list: &[u8], bits: &mut BitWriter) {
    bits.flag(true);
    let mut last = 8;
    for value in list {
        // Differences are modulo 256 (7.3.2.1.1.1), within -128..=127.
        bits.se(i32::from(value.wrapping_sub(last).cast_signed()));
        last = *value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order() -> impl Strategy<Value = Order> {
        prop_oneof![
            (4u32..=16).prop_map(|bits| Order::Lsb { bits }),
            any::<bool>().prop_map(|always_zero| Order::Cycle { always_zero }),
            Just(Order::Decoding),
        ]
    }

    proptest! {
        #[test]
        fn sequence_parameters_come_back(
            profile in prop::sample::select(vec![66u8, 77, 100]),
            order in order(),
            (id, frame_num_bits, references) in (0u32..32, 4u32..=16, 0u32..17),
            (width_mbs, height_mbs) in (1u32..400, 1u32..400),
            crop in prop::array::uniform4(0u32..8),
        ) {
            let sps = Sps {
                profile, constraints: 0x40, level: 41, id, frame_num_bits, order, references,
                gaps: false, width_mbs, height_mbs, direct_8x8: true, crop, vui: false,
            };
            prop_assert_eq!(Sps::parse(&sps.write()), Ok(sps));
        }

        #[test]
        fn picture_parameters_come_back(
            (id, sps_id, qp) in (0u32..256, 0u32..32, 0i32..52),
            flags in prop::array::uniform6(any::<bool>()),
            chroma in (-12i32..=12, -12i32..=12),
        ) {
            let pps = Pps {
                id, sps_id, qp, qs: 26, cabac: flags[0], order_present: flags[1],
                references: [1, 1], weighted: flags[2], bi_weighted: 2,
                chroma_qp: [chroma.0, chroma.1], deblocking_control: flags[3],
                constrained_intra: flags[4], redundant: false, transform_8x8: flags[5],
                scaling: None,
            };
            prop_assert_eq!(Pps::parse(&pps.write()), Ok(pps));
        }

        #[test]
        fn any_bytes_are_parameters_or_not(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Sps::parse(&bytes);
            let _ = Pps::parse(&bytes);
        }
    }
}
