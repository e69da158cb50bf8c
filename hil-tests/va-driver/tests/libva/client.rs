//! A client that encodes, decodes and converts as it should, for tests to spoil.

use heliostat_drv_video::h264::bits::{BitWriter, Nal, escape, units};
use heliostat_drv_video::h264::parameters::{Order, Pps, Sps};
use heliostat_drv_video::h264::slice::{IDR, Marking, SLICE, SliceHeader};
use heliostat_drv_video::sys::plain::zeroed;
use heliostat_drv_video::va::{
    self, Id, buffer, config_attrib, entrypoint, fourcc, packed, profile,
};

use crate::sys::{Answer, Va};

/// Sides of the pictures that tests encode: not multiples of macroblocks.
pub const SIZE: (u32, u32) = (150, 100);
const BLOCKS: (u32, u32) = (10, 7);
pub const PACKED: u32 = va::PACKED_SEQUENCE | va::PACKED_PICTURE | va::PACKED_SLICE;

/// A header and how it is announced.
#[derive(Debug, Clone)]
pub struct Header {
    pub kind: u32,
    pub bytes: Vec<u8>,
    pub bits: usize,
    pub escaped: bool,
}

/// All that is given for a picture.
#[derive(Debug, Clone)]
pub struct Picture {
    pub sequence: Option<va::EncSequenceParameterH264>,
    pub parameters: va::EncPictureParameterH264,
    pub slices: Vec<va::EncSliceParameterH264>,
    pub headers: Vec<Header>,
    pub misc: Vec<Vec<u8>>,
    /// What is told of this picture only, behind its parameters.
    pub told: Vec<Vec<u8>>,
}

/// An encoder with its surfaces.
pub struct Encoder {
    pub config: Id,
    pub context: Id,
    pub input: Id,
    /// Where pictures are references, in turn.
    pub held: Vec<Id>,
    pub coded: Id,
    pub sps: Sps,
    pub pps: Pps,
}

impl Encoder {
    pub fn new(va: &Va, cabac: bool, rate: u32) -> Answer<Self> {
        let (of, idc) = match cabac {
            true => (profile::H264_MAIN, 77),
            false => (profile::H264_CONSTRAINED_BASELINE, 66),
        };
        let config = va.create_config(
            of,
            entrypoint::ENC_SLICE,
            &[
                (config_attrib::RT_FORMAT, va::RT_FORMAT_YUV420),
                (config_attrib::RATE_CONTROL, rate),
                (config_attrib::ENC_PACKED_HEADERS, PACKED),
            ],
        )?;
        let surfaces = va.create_surfaces(va::RT_FORMAT_YUV420, SIZE, 3, &[])?;
        let size = (SIZE.0 as i32, SIZE.1 as i32);
        let context = va.create_context(config, size, &surfaces)?;
        let coded = va.create_buffer_of(context, buffer::ENC_CODED, 100_000, &[0; 100_000])?;
        let sps = Sps {
            profile: idc,
            constraints: 0x40,
            level: 31,
            id: 0,
            frame_num_bits: 8,
            order: Order::Decoding,
            references: 1,
            gaps: false,
            width_mbs: BLOCKS.0,
            height_mbs: BLOCKS.1,
            direct_8x8: true,
            crop: [0, 5, 0, 6],
            vui: false,
        };
        let pps = Pps {
            cabac,
            references: [1, 1],
            qp: 26,
            qs: 26,
            deblocking_control: true,
            ..Pps::default()
        };
        Ok(Self {
            config,
            context,
            input: surfaces[0],
            held: surfaces[1..].to_vec(),
            coded,
            sps,
            pps,
        })
    }

    pub fn header(&self, number: u32) -> SliceHeader {
        let idr = number == 0;
        SliceHeader {
            reference: 3,
            idr,
            first_mb: 0,
            slice_type: if idr { 7 } else { 5 },
            pps_id: 0,
            frame_num: number,
            idr_pic_id: 0,
            order_lsb: 0,
            order_deltas: [0; 2],
            redundant: 0,
            direct_spatial: false,
            overridden: false,
            references: [u32::from(!idr), 0],
            modifications: [None, None],
            weights: Vec::new(),
            marking: if idr {
                Marking::Idr(false, false)
            } else {
                Marking::Sliding
            },
            cabac_init: 0,
            qp_delta: -2,
            deblocking: (0, 1, -1),
        }
    }

    /// What is right for picture `number`, the first of which is an IDR picture.
    pub fn picture(&self, number: u32) -> Picture {
        let held = self.held[number as usize % 2];
        let before = self.held[(number as usize + 1) % 2];
        let idr = number == 0;
        let mut sequence: va::EncSequenceParameterH264 = zeroed();
        sequence.level_idc = 31;
        sequence.ip_period = 1;
        sequence.bits_per_second = 1_000_000;
        sequence.max_num_ref_frames = 1;
        sequence.picture_width_in_mbs = BLOCKS.0 as u16;
        sequence.picture_height_in_mbs = BLOCKS.1 as u16;
        sequence.seq_fields = 1 | 1 << 2 | 1 << 5 | 4 << 6 | 2 << 10;
        sequence.frame_cropping_flag = 1;
        sequence.frame_crop_right_offset = 5;
        sequence.frame_crop_bottom_offset = 6;
        let mut parameters: va::EncPictureParameterH264 = zeroed();
        let nobody = || {
            let mut nobody: va::PictureH264 = va::PictureH264 {
                picture_id: va::INVALID_ID,
                frame_idx: 0,
                flags: va::PICTURE_H264_INVALID,
                top_field_order_cnt: 0,
                bottom_field_order_cnt: 0,
                va_reserved: [0; 4],
            };
            nobody.frame_idx = 0;
            nobody
        };
        let is = |picture_id| va::PictureH264 {
            picture_id,
            flags: 8,
            ..nobody()
        };
        parameters.curr_pic = is(held);
        parameters.reference_frames = [nobody(); 16];
        parameters.coded_buf = self.coded;
        parameters.frame_num = number as u16;
        parameters.pic_init_qp = 26;
        parameters.pic_fields = u32::from(idr) | 1 << 1 | u32::from(self.pps.cabac) << 3 | 1 << 9;
        let mut slice: va::EncSliceParameterH264 = zeroed();
        slice.num_macroblocks = BLOCKS.0 * BLOCKS.1;
        slice.macroblock_info = va::INVALID_ID;
        slice.slice_type = if idr { 7 } else { 5 };
        slice.ref_pic_list0 = [nobody(); 32];
        slice.ref_pic_list1 = [nobody(); 32];
        if !idr {
            parameters.reference_frames[0] = is(before);
            slice.ref_pic_list0[0] = is(before);
        }
        slice.slice_qp_delta = -2;
        slice.slice_alpha_c0_offset_div2 = 1;
        slice.slice_beta_offset_div2 = -1;
        let mut headers = Vec::new();
        if idr {
            headers.push(set(packed::SEQUENCE, 7, self.sps.write()));
            headers.push(set(packed::PICTURE, 8, self.pps.write()));
        }
        headers.push(self.slice_header(&self.header(number)));
        Picture {
            sequence: idr.then_some(sequence),
            parameters,
            slices: vec![slice],
            headers,
            misc: Vec::new(),
            told: Vec::new(),
        }
    }

    /// A packed slice header.
    pub fn slice_header(&self, header: &SliceHeader) -> Header {
        let kind = if header.idr { IDR } else { SLICE };
        let mut bits = BitWriter::default();
        header.write(&mut bits, &self.sps, &self.pps);
        let length = bits.position();
        let mut bytes = vec![0, 0, 0, 1, header.reference << 5 | kind];
        bytes.extend(bits.into_bytes());
        Header {
            kind: packed::SLICE,
            bytes,
            bits: 40 + length,
            escaped: false,
        }
    }

    /// Gives a picture and waits for its bytes.
    pub fn submit(&self, va: &Va, picture: &Picture) -> Answer<Vec<u8>> {
        self.give(va, picture)?;
        va.sync_buffer(self.coded)?;
        let (bytes, status) = va.read_coded(self.coded)?;
        assert_eq!(status, 0);
        Ok(bytes)
    }

    /// Gives a picture.
    pub fn give(&self, va: &Va, picture: &Picture) -> Answer {
        let buffers = self.buffers(va, picture)?;
        va.begin(self.context, self.input)?;
        let rendered = va.render(self.context, &buffers);
        let ended = va.end(self.context);
        for id in buffers {
            va.destroy_buffer(id)?;
        }
        rendered.and(ended)
    }

    pub fn buffers(&self, va: &Va, picture: &Picture) -> Answer<Vec<Id>> {
        let c = self.context;
        let mut ids = Vec::new();
        if let Some(sequence) = &picture.sequence {
            ids.push(va.create_buffer(c, buffer::ENC_SEQUENCE_PARAMETER, sequence)?);
        }
        for misc in &picture.misc {
            ids.push(va.create_buffer_of(c, buffer::ENC_MISC_PARAMETER, misc.len(), misc)?);
        }
        ids.push(va.create_buffer(c, buffer::ENC_PICTURE_PARAMETER, &picture.parameters)?);
        for told in &picture.told {
            ids.push(va.create_buffer_of(c, buffer::ENC_MISC_PARAMETER, told.len(), told)?);
        }
        for header in &picture.headers {
            let mut announced: va::EncPackedHeaderParameter = zeroed();
            announced.kind = header.kind;
            announced.bit_length = header.bits as u32;
            announced.has_emulation_bytes = header.escaped.into();
            ids.push(va.create_buffer(c, buffer::ENC_PACKED_HEADER_PARAMETER, &announced)?);
            let bytes = &header.bytes;
            ids.push(va.create_buffer_of(c, buffer::ENC_PACKED_HEADER_DATA, bytes.len(), bytes)?);
        }
        for slice in &picture.slices {
            ids.push(va.create_buffer(c, buffer::ENC_SLICE_PARAMETER, slice)?);
        }
        Ok(ids)
    }

    pub fn destroy(self, va: &Va) -> Answer {
        va.destroy_buffer(self.coded)?;
        va.destroy_context(self.context)?;
        va.destroy_surfaces(&[self.input, self.held[0], self.held[1]])?;
        va.destroy_config(self.config)
    }
}

/// A packed parameter set.
pub fn set(kind: u32, unit: u8, payload: Vec<u8>) -> Header {
    let mut bytes = vec![0, 0, 0, 1, 3 << 5 | unit];
    escape(&payload, &mut bytes);
    Header {
        kind,
        bits: bytes.len() * 8,
        bytes,
        escaped: true,
    }
}

/// A picture that moves, as bytes of an NV12 image.
pub fn paint(image: &va::Image, bytes: &mut [u8], time: u32) {
    let hill = |value: u32| {
        let value = value % 256;
        if value < 128 {
            value * 2
        } else {
            510 - value * 2
        }
        .min(255) as u8
    };
    for plane in 0..2 {
        for row in 0..SIZE.1 >> plane {
            let at = (image.offsets[plane] + row * image.pitches[plane]) as usize;
            for (x, byte) in (0..SIZE.0).zip(&mut bytes[at..]) {
                *byte = hill((x + 3 * time) * 2 + (row + time) * (3 + plane as u32));
            }
        }
    }
}

/// Writes the picture of `time` into a surface.
pub fn draw(va: &Va, surface: Id, time: u32) -> Answer {
    let image = va.create_image(fourcc(b"NV12"), SIZE)?;
    va.with_image(&image, |bytes| paint(&image, bytes, time))?;
    va.put_image(surface, &image, SIZE, SIZE)?;
    va.destroy_image(&image)
}

/// Rows of both planes of a surface, without gaps.
pub fn look(va: &Va, surface: Id) -> Answer<Vec<u8>> {
    let image = va.derive_image(surface)?;
    let mut seen = Vec::new();
    va.with_image(&image, |bytes| seen = without_gaps(&image, bytes))?;
    va.destroy_image(&image)?;
    Ok(seen)
}

/// Rows of both planes, without gaps.
pub fn without_gaps(image: &va::Image, bytes: &[u8]) -> Vec<u8> {
    let rows = (0..2).flat_map(|plane| (0..SIZE.1 >> plane).map(move |row| (plane, row)));
    let rows = rows.flat_map(|(plane, row)| {
        let at = (image.offsets[plane] + row * image.pitches[plane]) as usize;
        &bytes[at..at + SIZE.0 as usize]
    });
    rows.copied().collect()
}

/// The picture of `time` as `look` sees it.
pub fn painted(va: &Va, time: u32) -> Answer<Vec<u8>> {
    let image = va.create_image(fourcc(b"NV12"), SIZE)?;
    let mut seen = Vec::new();
    va.with_image(&image, |bytes| {
        paint(&image, bytes, time);
        seen = without_gaps(&image, bytes);
    })?;
    va.destroy_image(&image)?;
    Ok(seen)
}

/// Signal to noise of two pictures in dB.
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    let mean = squares.sum::<f64>() / a.len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-6)).log10()
}

/// A decoder of what `Encoder` makes.
pub struct Decoder {
    pub config: Id,
    pub context: Id,
    pub surfaces: Vec<Id>,
}

/// What a client says of an access unit.
pub struct Unit {
    pub parameters: va::PictureParameterH264,
    pub slice: va::SliceParameterH264,
    pub data: Vec<u8>,
}

impl Decoder {
    pub fn new(va: &Va) -> Answer<Self> {
        let config = va.create_config(profile::H264_MAIN, entrypoint::VLD, &[])?;
        let surfaces = va.create_surfaces(va::RT_FORMAT_YUV420, SIZE, 2, &[])?;
        let size = (SIZE.0 as i32, SIZE.1 as i32);
        let context = va.create_context(config, size, &surfaces)?;
        Ok(Self {
            config,
            context,
            surfaces,
        })
    }

    /// The surface of a picture.
    pub fn target(&self, number: u32) -> Id {
        self.surfaces[number as usize % 2]
    }

    /// Reads an access unit of `encoder` as a client does.
    pub fn read(&self, encoder: &Encoder, unit: &[u8], number: u32) -> Unit {
        let (sps, pps) = (&encoder.sps, &encoder.pps);
        let slice = units(unit)
            .into_iter()
            .find(|unit| [IDR, SLICE].contains(&(unit[0] & 31)));
        let data = slice.unwrap().to_vec();
        let nal = Nal::parse(&data).unwrap();
        let head = (nal.reference, nal.kind);
        let (header, bits) = SliceHeader::parse(head, &nal.payload, sps, pps).unwrap();
        let nobody = encoder.picture(0).parameters.reference_frames[0];
        let is = |picture_id| va::PictureH264 {
            picture_id,
            flags: 8,
            ..nobody
        };
        let mut parameters: va::PictureParameterH264 = zeroed();
        parameters.curr_pic = is(self.target(number));
        parameters.reference_frames = [nobody; 16];
        parameters.picture_width_in_mbs_minus1 = (BLOCKS.0 - 1) as u16;
        parameters.picture_height_in_mbs_minus1 = (BLOCKS.1 - 1) as u16;
        parameters.num_ref_frames = 1;
        parameters.seq_fields = 1 | 1 << 4 | 1 << 6 | 4 << 8 | 2 << 12;
        parameters.pic_fields = u32::from(pps.cabac) | 1 << 8 | 1 << 10;
        parameters.frame_num = header.frame_num as u16;
        let mut slice: va::SliceParameterH264 = zeroed();
        slice.slice_data_size = data.len() as u32;
        slice.slice_data_bit_offset = bits as u16 + 8;
        slice.slice_type = (header.slice_type % 5) as u8;
        slice.slice_qp_delta = header.qp_delta as i8;
        slice.slice_alpha_c0_offset_div2 = header.deblocking.1 as i8;
        slice.slice_beta_offset_div2 = header.deblocking.2 as i8;
        slice.ref_pic_list0 = [nobody; 32];
        if !header.idr {
            parameters.reference_frames[0] = is(self.target(number + 1));
            slice.ref_pic_list0[0] = is(self.target(number + 1));
        }
        Unit {
            parameters,
            slice,
            data,
        }
    }

    /// Gives an access unit.
    pub fn submit(&self, va: &Va, unit: &Unit, number: u32) -> Answer {
        let c = self.context;
        let buffers = [
            va.create_buffer(c, buffer::PICTURE_PARAMETER, &unit.parameters)?,
            va.create_buffer(c, buffer::SLICE_PARAMETER, &unit.slice)?,
            va.create_buffer_of(c, buffer::SLICE_DATA, unit.data.len(), &unit.data)?,
        ];
        va.begin(c, self.target(number))?;
        let rendered = va.render(c, &buffers);
        let ended = va.end(c);
        for id in buffers {
            va.destroy_buffer(id)?;
        }
        rendered.and(ended)
    }

    pub fn destroy(self, va: &Va) -> Answer {
        va.destroy_context(self.context)?;
        va.destroy_surfaces(&self.surfaces)?;
        va.destroy_config(self.config)
    }
}

/// A context for conversions.
pub fn converter(va: &Va) -> Answer<(Id, Id)> {
    let config = va.create_config(profile::NONE, entrypoint::VIDEO_PROC, &[])?;
    Ok((config, va.create_context(config, (64, 64), &[])?))
}

/// Converts one surface into another.
pub fn convert(va: &Va, context: Id, parameters: &va::ProcPipelineParameter, into: Id) -> Answer {
    let id = va.create_buffer(context, buffer::PROC_PIPELINE_PARAMETER, parameters)?;
    va.begin(context, into)?;
    let rendered = va.render(context, &[id]);
    let ended = va.end(context);
    va.destroy_buffer(id)?;
    rendered.and(ended)
}
