//! Slice headers of frames, read and written (7.3.3).

use super::bits::{BitReader, BitWriter, Malformed};
use super::parameters::{Order, Pps, Sps};

/// `nal_unit_type` of a slice of an IDR picture.
pub const IDR: u8 = 5;
/// `nal_unit_type` of any other slice.
pub const SLICE: u8 = 1;

/// The kinds of slices that pictures of our profiles have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Predicted from one list.
    P,
    /// Predicted from two lists.
    B,
    /// Predicted from nothing else.
    I,
}

impl Kind {
    /// Of `slice_type`, where 5 to 9 say that the whole picture is of that kind.
    pub fn of(slice_type: u32) -> Result<Self, Malformed> {
        match slice_type {
            0 | 5 => Ok(Self::P),
            1 | 6 => Ok(Self::B),
            2 | 7 => Ok(Self::I),
            _ => Err(Malformed),
        }
    }
}

/// A slice header. Where a field has no bits in this header, it has the value that the standard
/// infers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceHeader {
    /// `nal_ref_idc`.
    pub reference: u8,
    /// It belongs to an IDR picture.
    pub idr: bool,
    /// `first_mb_in_slice`.
    pub first_mb: u32,
    /// `slice_type` as written.
    pub slice_type: u32,
    /// `pic_parameter_set_id`.
    pub pps_id: u32,
    /// `frame_num`.
    pub frame_num: u32,
    /// `idr_pic_id`.
    pub idr_pic_id: u32,
    /// `pic_order_cnt_lsb`.
    pub order_lsb: u32,
    /// `delta_pic_order_cnt_bottom`, or both `delta_pic_order_cnt`.
    pub order_deltas: [i32; 2],
    /// `redundant_pic_cnt`.
    pub redundant: u32,
    /// `direct_spatial_mv_pred_flag`.
    pub direct_spatial: bool,
    /// `num_ref_idx_active_override_flag`.
    pub overridden: bool,
    /// Entries of both lists that are used.
    pub references: [u32; 2],
    /// Operations of `ref_pic_list_modification()` for each list, where its flag is set.
    pub modifications: [Option<Vec<(u32, u32)>>; 2],
    /// The bits of `pred_weight_table()`.
    pub weights: Vec<bool>,
    /// `dec_ref_pic_marking()`.
    pub marking: Marking,
    /// `cabac_init_idc`.
    pub cabac_init: u32,
    /// `slice_qp_delta`.
    pub qp_delta: i32,
    /// `disable_deblocking_filter_idc`, `slice_alpha_c0_offset_div2`, `slice_beta_offset_div2`.
    pub deblocking: (u32, i32, i32),
}

/// `dec_ref_pic_marking()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marking {
    /// The picture is no reference.
    None,
    /// `no_output_of_prior_pics_flag` and `long_term_reference_flag`.
    Idr(bool, bool),
    /// The oldest goes.
    Sliding,
    /// Operations with up to two numbers.
    Operations(Vec<(u32, [u32; 2])>),
}

/// Operations in one header: more than any DPB could want.
const MAX_OPERATIONS: usize = 66;

impl SliceHeader {
    /// Reads the header at the front of `payload`; also says how many bits it has.
    pub fn parse(
        (reference, kind): (u8, u8),
        payload: &[u8],
        sps: &Sps,
        pps: &Pps,
    ) -> Result<(Self, usize), Malformed> {
        let idr = kind == IDR;
        let mut bits = BitReader::new(payload);
        let first_mb = bits.ue()?;
        let slice_type = bits.ue()?;
        let slice_kind = Kind::of(slice_type)?;
        let pps_id = bits.ue()?;
        let mut header = Self {
            reference,
            idr,
            first_mb,
            slice_type,
            pps_id,
            frame_num: bits.bits(sps.frame_num_bits)?,
            idr_pic_id: if idr { bits.ue()? } else { 0 },
            order_lsb: 0,
            order_deltas: [0; 2],
            redundant: 0,
            direct_spatial: false,
            overridden: false,
            references: [0; 2],
            modifications: [None, None],
            weights: Vec::new(),
            marking: Marking::None,
            cabac_init: 0,
            qp_delta: 0,
            deblocking: (0, 0, 0),
        };
        header.parse_order(&mut bits, sps, pps)?;
        if pps.redundant {
            header.redundant = bits.ue()?;
        }
        header.parse_lists(&mut bits, slice_kind, pps)?;
        header.marking = Marking::parse(&mut bits, reference, idr)?;
        if pps.cabac && slice_kind != Kind::I {
            header.cabac_init = bits.ue()?;
        }
        header.qp_delta = bits.se()?;
        if pps.deblocking_control {
            header.deblocking.0 = bits.ue()?;
            if header.deblocking.0 != 1 {
                header.deblocking.1 = bits.se()?;
                header.deblocking.2 = bits.se()?;
            }
        }
        Ok((header, bits.position()))
    }

    /// Its kind; headers are only made of types that have one.
    pub fn kind(&self) -> Kind {
        Kind::of(self.slice_type).unwrap_or(Kind::I)
    }

    fn parse_order(
        &mut self,
        bits: &mut BitReader<'_>,
        sps: &Sps,
        pps: &Pps,
    ) -> Result<(), Malformed> {
        match sps.order {
            Order::Lsb { bits: count } => {
                self.order_lsb = bits.bits(count)?;
                if pps.order_present {
                    self.order_deltas[0] = bits.se()?;
                }
            }
            Order::Cycle { always_zero: false } => {
                self.order_deltas[0] = bits.se()?;
                if pps.order_present {
                    self.order_deltas[1] = bits.se()?;
                }
            }
            Order::Cycle { always_zero: true } | Order::Decoding => {}
        }
        Ok(())
    }

    fn parse_lists(
        &mut self,
        bits: &mut BitReader<'_>,
        kind: Kind,
        pps: &Pps,
    ) -> Result<(), Malformed> {
        let lists = match kind {
            Kind::I => return Ok(()),
            Kind::P => 1,
            Kind::B => 2,
        };
        if kind == Kind::B {
            self.direct_spatial = bits.flag()?;
        }
        self.overridden = bits.flag()?;
        for list in 0..lists {
            self.references[list] = match self.overridden {
                true => bits.ue()?.checked_add(1).ok_or(Malformed)?,
                false => pps.references[list],
            };
            if !(1..=32).contains(&self.references[list]) {
                return Err(Malformed);
            }
        }
        for list in 0..lists {
            self.modifications[list] = parse_modifications(bits)?;
        }
        if kind == Kind::P && pps.weighted || kind == Kind::B && pps.bi_weighted == 1 {
            self.parse_weights(bits, lists)?;
        }
        Ok(())
    }

    fn parse_weights(&mut self, bits: &mut BitReader<'_>, lists: usize) -> Result<(), Malformed> {
        let start = bits.clone();
        bits.ue()?;
        bits.ue()?;
        for list in 0..lists {
            for _ in 0..self.references[list] {
                for numbers in [2, 4] {
                    if bits.flag()? {
                        for _ in 0..numbers {
                            bits.se()?;
                        }
                    }
                }
            }
        }
        let length = bits.position() - start.position();
        let mut again = start;
        self.weights = (0..length)
            .map(|_| again.flag())
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Writes the header as `parse` read it.
    pub fn write(&self, bits: &mut BitWriter, sps: &Sps, pps: &Pps) {
        bits.ue(self.first_mb);
        bits.ue(self.slice_type);
        bits.ue(self.pps_id);
        bits.bits(self.frame_num, sps.frame_num_bits);
        if self.idr {
            bits.ue(self.idr_pic_id);
        }
        match sps.order {
            Order::Lsb { bits: count } => {
                bits.bits(self.order_lsb, count);
                if pps.order_present {
                    bits.se(self.order_deltas[0]);
                }
            }
            Order::Cycle { always_zero: false } => {
                bits.se(self.order_deltas[0]);
                if pps.order_present {
                    bits.se(self.order_deltas[1]);
                }
            }
            Order::Cycle { always_zero: true } | Order::Decoding => {}
        }
        if pps.redundant {
            bits.ue(self.redundant);
        }
        self.write_lists(bits);
        self.marking.write(bits);
        if pps.cabac && self.kind() != Kind::I {
            bits.ue(self.cabac_init);
        }
        bits.se(self.qp_delta);
        if pps.deblocking_control {
            bits.ue(self.deblocking.0);
            if self.deblocking.0 != 1 {
                bits.se(self.deblocking.1);
                bits.se(self.deblocking.2);
            }
        }
    }

    fn write_lists(&self, bits: &mut BitWriter) {
        let lists = match self.kind() {
            Kind::I => return,
            Kind::P => 1,
            Kind::B => 2,
        };
        if lists == 2 {
            bits.flag(self.direct_spatial);
        }
        bits.flag(self.overridden);
        if self.overridden {
            let counts = self.references[..lists].iter();
            counts.for_each(|count| bits.ue(count - 1));
        }
        for list in &self.modifications[..lists] {
            bits.flag(list.is_some());
            if let Some(list) = list {
                for (operation, value) in list {
                    bits.ue(*operation);
                    bits.ue(*value);
                }
                bits.ue(3);
            }
        }
        self.weights.iter().for_each(|bit| bits.flag(*bit));
    }
}

fn parse_modifications(bits: &mut BitReader<'_>) -> Result<Option<Vec<(u32, u32)>>, Malformed> {
    if !bits.flag()? {
        return Ok(None);
    }
    let mut list = Vec::new();
    loop {
        match bits.ue()? {
            3 => return Ok(Some(list)),
            operation @ 0..=2 if list.len() < MAX_OPERATIONS => {
                list.push((operation, bits.ue()?));
            }
            _ => return Err(Malformed),
        }
    }
}

impl Marking {
    fn parse(bits: &mut BitReader<'_>, reference: u8, idr: bool) -> Result<Self, Malformed> {
        if reference == 0 {
            return Ok(Self::None);
        }
        if idr {
            return Ok(Self::Idr(bits.flag()?, bits.flag()?));
        }
        if !bits.flag()? {
            return Ok(Self::Sliding);
        }
        let mut operations = Vec::new();
        loop {
            let operation = bits.ue()?;
            if operation == 0 {
                return Ok(Self::Operations(operations));
            }
            if operation > 6 || operations.len() == MAX_OPERATIONS {
                return Err(Malformed);
            }
            let mut numbers = [0; 2];
            for number in &mut numbers[..count_of_numbers(operation)] {
                *number = bits.ue()?;
            }
            operations.push((operation, numbers));
        }
    }

    fn write(&self, bits: &mut BitWriter) {
        match self {
            Self::None => {}
            Self::Idr(no_output, long_term) => {
                bits.flag(*no_output);
                bits.flag(*long_term);
            }
            Self::Sliding => bits.flag(false),
            Self::Operations(operations) => {
                bits.flag(true);
                for (operation, numbers) in operations {
                    bits.ue(*operation);
                    let numbers = &numbers[..count_of_numbers(*operation)];
                    numbers.iter().for_each(|number| bits.ue(*number));
                }
                bits.ue(0);
            }
        }
    }
}

/// Numbers that follow a `memory_management_control_operation`.
fn count_of_numbers(operation: u32) -> usize {
    match operation {
        1 | 2 | 4 | 6 => 1,
        3 => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sets(cabac: bool, order: Order) -> (Sps, Pps) {
        let sps = Sps {
            profile: 77,
            constraints: 0,
            level: 40,
            id: 0,
            frame_num_bits: 8,
            order,
            references: 1,
            gaps: false,
            width_mbs: 40,
            height_mbs: 23,
            direct_8x8: true,
            crop: [0; 4],
            vui: false,
        };
        let pps = Pps {
            cabac,
            references: [1, 1],
            qp: 26,
            qs: 26,
            weighted: true,
            bi_weighted: 1,
            deblocking_control: true,
            ..Pps::default()
        };
        (sps, pps)
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_alike(
            bytes in prop::collection::vec(any::<u8>(), 16..120),
            idr in any::<bool>(),
            reference in 0u8..4,
            cabac in any::<bool>(),
            lsb in any::<bool>(),
        ) {
            let order = if lsb { Order::Lsb { bits: 6 } } else { Order::Decoding };
            let (sps, pps) = sets(cabac, order);
            let unit = (reference, if idr { IDR } else { SLICE });
            if let Ok((header, length)) = SliceHeader::parse(unit, &bytes, &sps, &pps) {
                let mut again = BitWriter::default();
                header.write(&mut again, &sps, &pps);
                prop_assert_eq!(again.position(), length);
                let mut original = BitWriter::default();
                original.append(&bytes, 0, length);
                prop_assert_eq!(again.into_bytes(), original.into_bytes());
            }
        }
    }
}
