//! What a client asks of the sizes of its pictures.

use crate::refusal::{Done, refuse};
use crate::sys::plain::read;
use crate::va::{self, misc, status};

/// How quantizers are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// `VA_RC_CQP`, `VA_RC_CBR` or `VA_RC_VBR`.
    pub mode: u32,
    /// Bits a second at most; 0 while nobody has said so.
    pub bits_per_second: u32,
    /// Bits a second on average, in percent of that.
    pub target_percentage: u32,
    /// The finest and the coarsest quantizer.
    pub qp_range: (u8, u8),
    /// Pictures a second.
    pub pictures_per_second: f32,
}

/// What is taken as bits a second: enough for lossless pictures of any size we encode.
const MAX_BITS_PER_SECOND: u32 = 1_000_000_000;

impl Rate {
    /// Of a configuration whose rate control is `mode`.
    pub fn new(mode: u32) -> Self {
        Self {
            mode,
            bits_per_second: 0,
            target_percentage: 100,
            qp_range: (1, 51),
            pictures_per_second: 30.0,
        }
    }

    /// Takes what a buffer of miscellaneous parameters holds.
    pub fn take(&mut self, bytes: &[u8]) -> Done {
        let Some((kind, body)) = bytes.split_first_chunk::<4>() else {
            return refuse(
                status::INVALID_BUFFER,
                "miscellaneous parameters without a type",
            );
        };
        match u32::from_ne_bytes(*kind) {
            misc::FRAME_RATE => self.take_frame_rate(&exact(body)?),
            misc::RATE_CONTROL => self.take_rate_control(&exact(body)?),
            misc::HRD => exact::<va::EncMiscHrd>(body).map(|_| ()),
            misc::QUALITY_LEVEL => match exact::<va::EncMiscQualityLevel>(body)?.quality_level {
                0 | 1 => Ok(()),
                level => refuse(
                    status::INVALID_VALUE,
                    format!("quality level {level}, and there is one"),
                ),
            },
            other => refuse(
                status::UNSUPPORTED_BUFFERTYPE,
                format!("miscellaneous parameters of type {other} are not offered"),
            ),
        }
    }

    fn take_frame_rate(&mut self, rate: &va::EncMiscFrameRate) -> Done {
        let numerator = (rate.framerate & 0xffff) as f32;
        let denominator = (rate.framerate >> 16).max(1) as f32;
        let rate = numerator / denominator;
        if !(0.1..=1000.0).contains(&rate) {
            return refuse(
                status::INVALID_VALUE,
                format!("{rate} pictures a second are out of bounds"),
            );
        }
        self.pictures_per_second = rate;
        Ok(())
    }

    fn take_rate_control(&mut self, rate: &va::EncMiscRateControl) -> Done {
        if self.mode == va::RC_CQP {
            return refuse(
                status::INVALID_PARAMETER,
                "rate control parameters in a configuration of constant quantizers",
            );
        }
        if rate.bits_per_second == 0 || rate.bits_per_second > MAX_BITS_PER_SECOND {
            let bits = rate.bits_per_second;
            return refuse(
                status::INVALID_VALUE,
                format!("{bits} bits a second are out of bounds"),
            );
        }
        if rate.target_percentage > 100 || rate.min_qp > 51 || rate.max_qp > 51 {
            return refuse(
                status::INVALID_VALUE,
                "percentages end at 100 and quantizers at 51",
            );
        }
        self.bits_per_second = rate.bits_per_second;
        // Zero means that the driver may choose.
        self.target_percentage = match rate.target_percentage {
            0 => 100,
            percentage => percentage,
        };
        let finest = rate.min_qp.max(1) as u8;
        let coarsest = match rate.max_qp {
            0 => 51,
            qp => qp as u8,
        };
        if finest > coarsest {
            return refuse(
                status::INVALID_VALUE,
                "the finest quantizer is coarser than the coarsest",
            );
        }
        self.qp_range = (finest, coarsest);
        Ok(())
    }

    /// The same for a picture before which there was time for so many others: it may have their bits.
    pub fn after(self, left_out: u8) -> Self {
        Self {
            pictures_per_second: self.pictures_per_second / (1.0 + f32::from(left_out)),
            ..self
        }
    }

    /// Bits a second on average and at most, where bits count.
    pub fn bits(&self, of_sequence: u32) -> Done<(u32, u32)> {
        let most = match self.bits_per_second {
            0 => of_sequence,
            most => most,
        };
        if self.mode == va::RC_CQP {
            return Ok((1_000_000, 1_000_000));
        }
        if most == 0 || most > MAX_BITS_PER_SECOND {
            return refuse(
                status::INVALID_PARAMETER,
                format!("rate control by bits without bits a second, or with {most}"),
            );
        }
        let average = match self.mode {
            va::RC_VBR => (u64::from(most) * u64::from(self.target_percentage) / 100) as u32,
            _ => most,
        };
        Ok((average.max(1), most))
    }
}

fn exact<T: crate::sys::plain::Plain>(body: &[u8]) -> Done<T> {
    match read(body) {
        Some(value) if body.len() == size_of::<T>() => Ok(value),
        _ => refuse(
            status::INVALID_BUFFER,
            format!("miscellaneous parameters of {} bytes", body.len()),
        ),
    }
}
