//! In which formats and layouts clients may make buffers: pure.

use std::fmt::Write;

use heliostat_va::dmabuf::{self, LINEAR, name};
use smithay::backend::allocator::{Format, Fourcc, Modifier};

/// More than any device has; each is 16 bytes in a table that all clients map.
const MOST: usize = 512;

/// Formats and layouts, the better ones first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offers {
    /// Those that go to the encoder as they are.
    pub encoded: Vec<Format>,
    /// Those that are read, whatever they show.
    pub others: Vec<Format>,
}

impl Offers {
    /// Of `encoded` formats the encoder reads the layouts `encoder`, and linear buffers where that is said of
    /// the format; the processor reads formats that are `linear`, and the device whatever it `reads`. What is
    /// encoded is among them: when it is a film no more, it is read.
    pub fn new(
        encoded: &[(dmabuf::Format, bool)],
        encoder: &[u64],
        linear: &[dmabuf::Format],
        reads: &[Format],
    ) -> Self {
        let code = |format: &dmabuf::Format| Fourcc::try_from(format.drm).ok();
        let plain = |code| Format {
            code,
            modifier: Modifier::from(LINEAR),
        };
        let mut offers = Self::default();
        for (format, is_taken_linear) in encoded {
            let Some(code) = code(format) else { continue };
            offers.encoded.extend(is_taken_linear.then(|| plain(code)));
            let is_encoded = |read: &&Format| {
                read.code == code && encoder.contains(&read.modifier.into()) && !is_linear(read)
            };
            offers.encoded.extend(reads.iter().filter(is_encoded));
        }
        let others = linear.iter().filter_map(code).map(plain);
        for other in others.chain(reads.iter().copied()) {
            let known = offers.encoded.iter().chain(&offers.others);
            if !known.into_iter().any(|known| *known == other) {
                offers.others.push(other);
            }
        }
        offers
            .others
            .truncate(MOST.saturating_sub(offers.encoded.len()));
        offers
    }

    /// Those that are left where the device reads no more.
    pub fn linear(&self) -> Self {
        self.read_by(&[])
    }

    /// Those that are left where the device reads these layouts and no others.
    pub fn read_by(&self, reads: &[Format]) -> Self {
        let is_left = |format: &Format| is_linear(format) || reads.contains(format);
        let left = |all: &[Format]| all.iter().copied().filter(is_left).collect();
        Self {
            encoded: left(&self.encoded),
            others: left(&self.others),
        }
    }

    /// Layouts in which a format is taken.
    pub fn modifiers_of(&self, format: Fourcc) -> Vec<u64> {
        let all = self.encoded.iter().chain(&self.others);
        let its = all.filter(|offered| offered.code == format);
        its.map(|offered| offered.modifier.into()).collect()
    }

    /// Whether such a buffer goes to the encoder as it is.
    pub fn is_encoded(&self, format: Format) -> bool {
        self.encoded.contains(&format)
    }

    /// For people: each format with its layouts.
    pub fn describe(&self) -> String {
        let mut said = String::new();
        for (what, formats) in [
            ("read by the encoder", &self.encoded),
            ("read back", &self.others),
        ] {
            let _ = writeln!(
                said,
                "buffers offered to programs, {what}: {}",
                list(formats)
            );
        }
        said
    }
}

/// Whether its rows are one after the other.
pub fn is_linear(format: &Format) -> bool {
    u64::from(format.modifier) == LINEAR
}

fn list(formats: &[Format]) -> String {
    let mut codes: Vec<Fourcc> = Vec::new();
    for format in formats {
        if !codes.contains(&format.code) {
            codes.push(format.code);
        }
    }
    let layouts = |code: Fourcc| {
        let its = formats.iter().filter(|format| format.code == code);
        let its = its.map(|format| match is_linear(format) {
            true => "linear".to_owned(),
            false => format!("{:#x}", u64::from(format.modifier)),
        });
        its.collect::<Vec<_>>().join(" ")
    };
    let said = codes
        .iter()
        .map(|code| format!("{} ({})", name(*code as u32), layouts(*code)));
    let said: Vec<_> = said.collect();
    match said.is_empty() {
        true => "none".to_owned(),
        false => said.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use heliostat_va::dmabuf::{FORMATS, NV12};

    use super::*;

    const TILED: u64 = 1 << 56 | 2;
    const COMPRESSED: u64 = 1 << 56 | 4;

    fn format(code: Fourcc, modifier: u64) -> Format {
        let modifier = Modifier::from(modifier);
        Format { code, modifier }
    }

    fn device() -> Offers {
        let rgb = [FORMATS[1], FORMATS[2]];
        let reads = [Fourcc::Xrgb8888, Fourcc::Argb8888, Fourcc::Xbgr8888]
            .map(|code| [TILED, COMPRESSED].map(|modifier| format(code, modifier)));
        let encoded = [NV12, FORMATS[1]].map(|format| (format, true));
        Offers::new(&encoded, &[LINEAR, TILED], &rgb, reads.as_flattened())
    }

    #[test]
    fn what_the_encoder_reads_comes_first_and_nothing_that_is_never_read() {
        let offers = device();
        let (nv12, xrgb) = (Fourcc::Nv12, Fourcc::Xrgb8888);
        let encoded = [(nv12, LINEAR), (xrgb, LINEAR), (xrgb, TILED)];
        assert_eq!(
            offers.encoded,
            encoded.map(|(code, layout)| format(code, layout))
        );
        assert!(offers.others.contains(&format(Fourcc::Argb8888, LINEAR)));
        assert!(offers.others.contains(&format(xrgb, COMPRESSED)));
        let both = |other: &&Format| offers.encoded.contains(other);
        assert_eq!(offers.others.iter().filter(both).count(), 0);
        assert_eq!(offers.modifiers_of(nv12), [LINEAR]);
        assert_eq!(offers.modifiers_of(xrgb), [LINEAR, TILED, COMPRESSED]);
        assert!(offers.is_encoded(format(xrgb, TILED)));
        assert!(!offers.is_encoded(format(xrgb, COMPRESSED)));
    }

    #[test]
    fn rgb_can_always_be_drawn() {
        let rgb = [FORMATS[1], FORMATS[2]];
        let offers = Offers::new(&[(NV12, true)], &[LINEAR, TILED], &rgb, &[]);
        let codes: Vec<_> = offers.others.iter().map(|format| format.code).collect();
        assert_eq!(codes, [Fourcc::Xrgb8888, Fourcc::Argb8888]);
        let offers = Offers::new(
            &FORMATS.map(|format| (format, true)),
            &[LINEAR, TILED],
            &rgb,
            &[],
        );
        assert_eq!(
            (offers.encoded.len(), offers.others.len()),
            (FORMATS.len(), 0)
        );
    }

    #[test]
    fn linear_buffers_that_the_encoder_refuses_are_read_or_not_offered() {
        let rgb = [FORMATS[1], FORMATS[2]];
        let reads = [format(Fourcc::Xrgb8888, TILED)];
        let encoded = FORMATS.map(|format| (format, format == FORMATS[4]));
        let offers = Offers::new(&encoded, &[LINEAR, TILED], &rgb, &reads);
        let abgr = format(Fourcc::Abgr8888, LINEAR);
        assert_eq!(offers.encoded, [reads[0], abgr]);
        let plain = [Fourcc::Xrgb8888, Fourcc::Argb8888].map(|code| format(code, LINEAR));
        assert_eq!(offers.others, plain);
        // What nobody was offered is not taken either.
        assert_eq!(offers.modifiers_of(Fourcc::Nv12), [0; 0]);
        assert_eq!(offers.modifiers_of(Fourcc::Xbgr8888), [0; 0]);
        assert_eq!(offers.modifiers_of(Fourcc::Xrgb8888), [TILED, LINEAR]);
    }

    #[test]
    fn without_a_device_that_reads_only_what_is_linear_is_left() {
        let left = device().linear();
        assert!(left.encoded.iter().chain(&left.others).all(is_linear));
        assert_eq!((left.encoded.len(), left.others.len()), (2, 1));
        let (tiled, xrgb) = (format(Fourcc::Xrgb8888, TILED), Fourcc::Xrgb8888);
        let left = device().read_by(&[tiled]);
        assert!(left.is_encoded(tiled) && left.others.iter().all(is_linear));
        assert_eq!(left.modifiers_of(xrgb), [LINEAR, TILED]);
        let said = device().describe();
        assert!(
            said.contains("NV12 (linear), XR24 (linear 0x100000000000002)"),
            "{said}"
        );
        assert!(Offers::default().describe().contains("none"));
    }
}
