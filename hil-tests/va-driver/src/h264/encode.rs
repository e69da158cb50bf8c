//! Encoding as hardware does it: the client writes all headers, the driver the slice data.
//!
//! OpenH264 writes whole streams with headers of its own. Of its slices only the data is taken, whose
//! meaning depends on little of what headers say: entropy coding, number of references, transforms,
//! prediction and deblocking. Those are held equal, or refused; then the client's header is put in
//! front, with the quantizer that OpenH264 really began with where the driver chooses quantizers.

mod agree;

use agree::{bit, check_picture, check_sequence, check_slice};

use super::bits::{BitWriter, Nal, escape, unescape, units};
use super::parameters::{Pps, Sps, Unfit};
use super::rate::Rate;
use super::slice::{IDR, Kind, SLICE, SliceHeader};
use crate::refusal::{Done, refuse};
use crate::sys::codec::{self, Planes, Settings};
use crate::va::{self, Id, packed, status};

/// A header that the client has packed.
#[derive(Debug, Clone)]
pub struct PackedHeader {
    /// One of `va::packed`.
    pub kind: u32,
    /// With its start code.
    pub bytes: Vec<u8>,
    /// Bits of it that count.
    pub bits: usize,
    /// Emulation prevention is in it already.
    pub escaped: bool,
}

/// All that came for one picture.
#[derive(Debug)]
pub struct Input<'a> {
    /// `VAProfile` of the configuration.
    pub profile: i32,
    /// The newest sequence parameters.
    pub sequence: Option<&'a va::EncSequenceParameterH264>,
    /// The picture's.
    pub picture: &'a va::EncPictureParameterH264,
    /// Its slices'.
    pub slices: &'a [va::EncSliceParameterH264],
    /// Packed headers in the order in which they came.
    pub headers: &'a [PackedHeader],
    /// Rate control.
    pub rate: &'a Rate,
}

/// What will be encoded and how.
#[derive(Debug)]
pub struct Plan {
    /// Headers before the slice, in Annex B.
    prefix: Vec<u8>,
    sps: Sps,
    pps: Pps,
    header: SliceHeader,
    unit: (u8, u8),
    settings: Settings,
    /// The surface that the picture is a reference as.
    reconstructed: Id,
}

impl Plan {
    /// Coded width and height in pixels.
    pub fn coded_size(&self) -> (u32, u32) {
        (self.settings.width, self.settings.height)
    }
}

/// One stream that is encoded.
#[derive(Debug)]
pub struct Encoder {
    codec: codec::Encoder,
    /// The client's sets.
    sps: Option<Sps>,
    pps: Option<Pps>,
    /// OpenH264's.
    own: (Option<Sps>, Option<Pps>),
    /// Where the client holds the newest reference.
    newest: Option<Id>,
}

impl Encoder {
    /// An encoder at the beginning of a stream.
    pub fn new() -> Done<Self> {
        let Ok(codec) = codec::Encoder::new() else {
            return refuse(status::ALLOCATION_FAILED, "the codec cannot be made");
        };
        Ok(Self {
            codec,
            sps: None,
            pps: None,
            own: (None, None),
            newest: None,
        })
    }

    /// Checks everything that a picture came with.
    pub fn plan(&mut self, input: &Input<'_>) -> Done<Plan> {
        let Some(sequence) = input.sequence else {
            return refuse(
                status::INVALID_PARAMETER,
                "a picture before any sequence parameters",
            );
        };
        let [slice] = input.slices else {
            return refuse(
                status::INVALID_PARAMETER,
                format!("{} slices, and one is offered", input.slices.len()),
            );
        };
        let idr = input.picture.pic_fields & 1 == 1;
        let (prefix, found) = self.take_sets(input.headers)?;
        if idr && found != (true, true) {
            return refuse(
                status::INVALID_PARAMETER,
                "missing packed header: an IDR picture needs both its SPS and its PPS",
            );
        }
        let (Some(sps), Some(pps)) = (self.sps.clone(), self.pps.clone()) else {
            return refuse(
                status::INVALID_PARAMETER,
                "missing packed header: no SPS and PPS have come yet",
            );
        };
        check_sequence(&sps, sequence, input.profile)?;
        check_picture(&pps, input.picture, sps.id)?;
        let (header, unit) = packed_slice(input.headers, &sps, &pps)?;
        check_slice(&header, unit, (input.picture, slice), &sps, &pps)?;
        self.check_reference(input.picture, slice, &header)?;
        let settings = settings(&sps, &pps, &header, sequence, input.rate)?;
        Ok(Plan {
            prefix,
            sps,
            pps,
            header,
            unit,
            settings,
            reconstructed: input.picture.curr_pic.picture_id,
        })
    }

    /// Encodes; the answer is the access unit in Annex B.
    pub fn run(&mut self, plan: &Plan, planes: Planes<'_>) -> Done<Vec<u8>> {
        let intra = plan.header.kind() == Kind::I;
        let stream = match self.codec.encode(plan.settings, planes, intra) {
            Ok(stream) => stream,
            Err(codec::Failed(code)) => {
                return refuse(status::ENCODING_ERROR, format!("the codec says {code}"));
            }
        };
        let mut unit = plan.prefix.clone();
        self.splice(plan, &stream, &mut unit)?;
        if plan.unit.0 > 0 {
            self.newest = Some(plan.reconstructed);
        }
        Ok(unit)
    }

    /// Takes parameter sets out of packed headers. The answer is all headers before the slice, and
    /// whether an SPS and a PPS were there.
    fn take_sets(&mut self, headers: &[PackedHeader]) -> Done<(Vec<u8>, (bool, bool))> {
        let mut prefix = Vec::new();
        let mut found = (false, false);
        for header in headers.iter().filter(|header| header.kind != packed::SLICE) {
            let bytes = header.escaped_bytes()?;
            let nals = units(&bytes);
            if nals.is_empty() {
                return refuse(
                    status::INVALID_PARAMETER,
                    "a packed header without a start code",
                );
            }
            for nal in nals {
                let Ok(nal) = Nal::parse(nal) else {
                    return refuse(status::INVALID_PARAMETER, "a packed header without a unit");
                };
                match (header.kind, nal.kind) {
                    (packed::SEQUENCE, 7) => {
                        self.sps = Some(fit(Sps::parse(&nal.payload), "SPS")?);
                        found.0 = true;
                    }
                    (packed::SEQUENCE | packed::PICTURE, 8) => {
                        self.pps = Some(fit(Pps::parse(&nal.payload), "PPS")?);
                        found.1 = true;
                    }
                    (_, 6 | 9) | (packed::RAW_DATA, 12) => {}
                    (kind, unit) => {
                        return refuse(
                            status::INVALID_PARAMETER,
                            format!("a unit of type {unit} in a packed header of type {kind}"),
                        );
                    }
                }
            }
            prefix.extend(bytes);
        }
        Ok((prefix, found))
    }

    fn check_reference(
        &self,
        picture: &va::EncPictureParameterH264,
        slice: &va::EncSliceParameterH264,
        header: &SliceHeader,
    ) -> Done {
        let recon = picture.curr_pic.picture_id;
        if header.kind() == Kind::I {
            return match header.idr || self.newest.is_some() {
                true => Ok(()),
                false => refuse(
                    status::INVALID_PARAMETER,
                    "the first picture is no IDR picture",
                ),
            };
        }
        let Some(newest) = self.newest else {
            return refuse(
                status::INVALID_PARAMETER,
                "the first picture is no IDR picture",
            );
        };
        let listed = slice.ref_pic_list0[0].picture_id;
        if header.references[0] != 1 || listed != newest {
            return refuse(
                status::INVALID_PARAMETER,
                format!(
                    "{} references, the first {listed:#x}: one is offered, the newest, {newest:#x}",
                    header.references[0]
                ),
            );
        }
        let held = picture.reference_frames.iter();
        let held = held.filter(|held| held.flags & va::PICTURE_H264_INVALID == 0);
        if !held.clone().any(|held| held.picture_id == newest) {
            return refuse(
                status::INVALID_PARAMETER,
                format!("the reference {newest:#x} is not among the reference frames"),
            );
        }
        if recon == newest {
            return refuse(
                status::INVALID_SURFACE,
                "the reconstructed picture would overwrite its own reference",
            );
        }
        Ok(())
    }

    /// Puts the client's slice header before OpenH264's slice data.
    fn splice(&mut self, plan: &Plan, stream: &[u8], out: &mut Vec<u8>) -> Done {
        let mut slices = 0;
        for unit in units(stream) {
            let Ok(nal) = Nal::parse(unit) else {
                return refuse(status::ENCODING_ERROR, "the codec wrote an empty unit");
            };
            match nal.kind {
                7 => self.own.0 = Sps::parse(&nal.payload).ok(),
                8 => self.own.1 = Pps::parse(&nal.payload).ok(),
                IDR | SLICE => {
                    self.splice_slice(plan, &nal, out)?;
                    slices += 1;
                }
                _ => {}
            }
        }
        match slices {
            1 => Ok(()),
            count => refuse(
                status::ENCODING_ERROR,
                format!("the codec wrote {count} slices instead of one"),
            ),
        }
    }

    fn splice_slice(&self, plan: &Plan, nal: &Nal, out: &mut Vec<u8>) -> Done {
        let (Some(sps), Some(pps)) = &self.own else {
            return refuse(
                status::ENCODING_ERROR,
                "the codec wrote no parameters that can be read",
            );
        };
        let unit = (nal.reference, nal.kind);
        let Ok((own, length)) = SliceHeader::parse(unit, &nal.payload, sps, pps) else {
            return refuse(
                status::ENCODING_ERROR,
                "the codec wrote an odd slice header",
            );
        };
        let mut header = plan.header.clone();
        let alike = own.kind() == header.kind()
            && own.references == header.references
            && own.deblocking == header.deblocking
            && own.cabac_init == header.cabac_init
            && pps.cabac == plan.pps.cabac
            && own.weights.is_empty();
        if !alike {
            return refuse(
                status::ENCODING_ERROR,
                format!("the codec wrote another slice than was asked for: {own:?}"),
            );
        }
        header.qp_delta = pps.qp + own.qp_delta - plan.pps.qp;
        if plan.settings.qp.is_some() && header.qp_delta != plan.header.qp_delta {
            return refuse(status::ENCODING_ERROR, "the codec took another quantizer");
        }
        let mut bits = BitWriter::default();
        header.write(&mut bits, &plan.sps, &plan.pps);
        let payload = append_data(bits, &nal.payload, length, pps.cabac);
        let (reference, kind) = plan.unit;
        Nal {
            reference,
            kind,
            payload,
        }
        .write(out);
        Ok(())
    }
}

/// Appends slice data with its trailing bits, which in CABAC begin at a byte.
fn append_data(mut bits: BitWriter, payload: &[u8], from: usize, cabac: bool) -> Vec<u8> {
    if cabac {
        bits.align(true);
        bits.append(payload, from.next_multiple_of(8), payload.len() * 8);
        return bits.into_bytes();
    }
    let last = payload.last().map_or(0, |byte| byte.trailing_zeros()) as usize;
    bits.append(payload, from, payload.len() * 8 - 1 - last);
    bits.finish()
}

impl PackedHeader {
    fn used_bytes(&self) -> Done<&[u8]> {
        match self.bytes.get(..self.bits.div_ceil(8)) {
            Some(bytes) if self.bits > 32 => Ok(bytes),
            _ => refuse(
                status::INVALID_PARAMETER,
                format!(
                    "a packed header of {} bits in {} bytes",
                    self.bits,
                    self.bytes.len()
                ),
            ),
        }
    }

    /// With emulation prevention, as it goes into the stream.
    fn escaped_bytes(&self) -> Done<Vec<u8>> {
        let bytes = self.used_bytes()?;
        if self.escaped {
            return Ok(bytes.to_vec());
        }
        let Some(start) = start_code(bytes) else {
            return refuse(
                status::INVALID_PARAMETER,
                "a packed header without a start code",
            );
        };
        let mut out = bytes[..start].to_vec();
        escape(&bytes[start..], &mut out);
        Ok(out)
    }

    /// Type and reference indicator, the plain payload, and how many bits of it count.
    fn slice_payload(&self) -> Done<((u8, u8), Vec<u8>, usize)> {
        let bytes = self.used_bytes()?;
        let body = start_code(bytes).and_then(|start| Some((start, bytes.get(start..)?)));
        let Some((start, [head, body @ ..])) = body else {
            return refuse(
                status::INVALID_PARAMETER,
                "a packed slice header without a start code",
            );
        };
        let plain = if self.escaped {
            unescape(body)
        } else {
            body.to_vec()
        };
        let removed = body.len() - plain.len();
        let bits = self.bits.saturating_sub((start + 1 + removed) * 8);
        Ok(((head >> 5 & 3, head & 31), plain, bits))
    }
}

/// Where the unit begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0, 0, 1, ..] => Some(3),
        [0, 0, 0, 1, ..] => Some(4),
        _ => None,
    }
}

fn fit<T>(parsed: Result<T, Unfit>, what: &str) -> Done<T> {
    parsed.or_else(|unfit| match unfit {
        Unfit::Malformed => refuse(
            status::INVALID_PARAMETER,
            format!("a packed {what} that cannot be read"),
        ),
        Unfit::Unsupported(why) => refuse(
            status::INVALID_PARAMETER,
            format!("a packed {what} that asks for {why}"),
        ),
    })
}

/// The one packed slice header, whose bits must be all there and no more.
fn packed_slice(headers: &[PackedHeader], sps: &Sps, pps: &Pps) -> Done<(SliceHeader, (u8, u8))> {
    let mut slices = headers.iter().filter(|header| header.kind == packed::SLICE);
    let (Some(packed), None) = (slices.next(), slices.next()) else {
        return refuse(
            status::INVALID_PARAMETER,
            "missing packed header: one slice needs one packed slice header",
        );
    };
    let (unit, payload, bits) = packed.slice_payload()?;
    let Ok((header, length)) = SliceHeader::parse(unit, &payload, sps, pps) else {
        return refuse(
            status::INVALID_PARAMETER,
            "a packed slice header that cannot be read with its SPS and PPS",
        );
    };
    // Some clients end the header where CABAC data can begin, as the slice data's syntax has it.
    let aligned = pps.cabac && bits == length.next_multiple_of(8) && ones(&payload, length, bits);
    if length != bits && !aligned {
        return refuse(
            status::INVALID_PARAMETER,
            format!("a packed slice header of {bits} bits, where its SPS and PPS make {length}"),
        );
    }
    Ok((header, unit))
}

fn ones(payload: &[u8], from: usize, to: usize) -> bool {
    let mut bits = (from..to).map(|at| {
        payload
            .get(at / 8)
            .is_some_and(|byte| bit((*byte).into(), 7 - at as u32 % 8))
    });
    bits.all(|bit| bit)
}

fn settings(
    sps: &Sps,
    pps: &Pps,
    header: &SliceHeader,
    sequence: &va::EncSequenceParameterH264,
    rate: &Rate,
) -> Done<Settings> {
    let qp = pps.qp + header.qp_delta;
    let Some(qp) = u8::try_from(qp).ok().filter(|qp| *qp <= 51) else {
        return refuse(status::INVALID_PARAMETER, format!("a quantizer of {qp}"));
    };
    let (idc, alpha, beta) = header.deblocking;
    if idc > 2 || alpha.abs() > 6 || beta.abs() > 6 {
        return refuse(
            status::INVALID_PARAMETER,
            "deblocking parameters out of bounds",
        );
    }
    Ok(Settings {
        width: sps.width_mbs * 16,
        height: sps.height_mbs * 16,
        cabac: pps.cabac,
        deblocking: (idc, alpha, beta),
        qp: (rate.mode == va::RC_CQP).then_some(qp),
        bits_per_second: rate.bits(sequence.bits_per_second)?,
        qp_range: rate.qp_range,
        pictures_per_second: rate.pictures_per_second,
    })
}
