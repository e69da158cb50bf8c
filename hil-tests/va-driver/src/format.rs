//! Formats of surfaces and how they lie in memory.

use crate::va::{self, fourcc};

/// Which byte of a pixel is which; absent for planes of luma and chroma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes {
    /// Places of red, green, blue and alpha.
    pub places: [usize; 4],
    /// Alpha counts.
    pub alpha: bool,
}

/// A format of surfaces and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// `VA_FOURCC_*`.
    pub fourcc: u32,
    /// `DRM_FORMAT_*`.
    pub drm: u32,
    /// Order of bytes, for RGB.
    pub rgb: Option<Bytes>,
}

/// `DRM_FORMAT_R8`, a plane of luma by itself.
pub const DRM_R8: u32 = fourcc(b"R8  ");
/// `DRM_FORMAT_GR88`, a plane of chroma by itself.
pub const DRM_GR88: u32 = fourcc(b"GR88");

const fn rgb(code: &[u8; 4], drm: &[u8; 4], places: [usize; 4], alpha: bool) -> Format {
    Format {
        fourcc: fourcc(code),
        drm: fourcc(drm),
        rgb: Some(Bytes { places, alpha }),
    }
}

/// Planes of luma and of interleaved chroma.
pub const NV12: Format = Format {
    fourcc: fourcc(b"NV12"),
    drm: fourcc(b"NV12"),
    rgb: None,
};

/// All formats. VA's names give bytes in the order of memory, DRM's in words of little endian.
pub const ALL: [Format; 7] = [
    NV12,
    rgb(b"BGRX", b"XR24", [2, 1, 0, 3], false),
    rgb(b"BGRA", b"AR24", [2, 1, 0, 3], true),
    rgb(b"RGBX", b"XB24", [0, 1, 2, 3], false),
    rgb(b"RGBA", b"AB24", [0, 1, 2, 3], true),
    rgb(b"XRGB", b"BX24", [1, 2, 3, 0], false),
    rgb(b"ARGB", b"BA24", [1, 2, 3, 0], true),
];

/// The longest side of a surface in pixels.
pub const MAX_SIDE: u32 = 8192;
/// Distances of rows are multiples of this many bytes, as display and encoding engines want them.
pub const PITCH_ALIGNMENT: u32 = 64;
/// The same for surfaces of our own, which engines of all kinds can read.
const OWN_PITCH_ALIGNMENT: u32 = 256;

/// A plane of a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneLayout {
    /// Index of the buffer that it is in.
    pub object: usize,
    /// Bytes before its first row.
    pub offset: u32,
    /// Bytes from row to row.
    pub pitch: u32,
}

impl Format {
    /// The format of a code.
    pub fn of(code: u32) -> Option<Self> {
        ALL.into_iter().find(|format| format.fourcc == code)
    }

    /// The format that surfaces of `VA_RT_FORMAT_*` have where no pixel format is asked for.
    pub fn of_rt(rt_format: u32) -> Option<Self> {
        match rt_format {
            va::RT_FORMAT_YUV420 => Some(NV12),
            va::RT_FORMAT_RGB32 => Self::of(fourcc(b"BGRX")),
            _ => None,
        }
    }

    /// Its `VA_RT_FORMAT_*`.
    pub fn rt_format(self) -> u32 {
        match self.rgb {
            Some(_) => va::RT_FORMAT_RGB32,
            None => va::RT_FORMAT_YUV420,
        }
    }

    /// Bytes of a row and rows of each plane of a picture of `width` and `height` pixels.
    pub fn planes(self, width: u32, height: u32) -> Vec<(u32, u32)> {
        match self.rgb {
            Some(_) => vec![(width * 4, height)],
            None => vec![
                (width, height),
                (width.next_multiple_of(2), height.div_ceil(2)),
            ],
        }
    }

    /// How a surface of our own lies in one buffer, and the bytes that the buffer needs.
    pub fn layout(self, width: u32, height: u32) -> (Vec<PlaneLayout>, u64) {
        let mut offset = 0;
        let mut layout = Vec::new();
        for (bytes, rows) in self.planes(width, height) {
            let pitch = bytes.next_multiple_of(OWN_PITCH_ALIGNMENT);
            layout.push(PlaneLayout {
                object: 0,
                offset,
                pitch,
            });
            offset += pitch * rows.next_multiple_of(2);
        }
        (layout, offset.into())
    }

    /// What `vaQueryImageFormats` says of it.
    pub fn image_format(self) -> va::ImageFormat {
        let mask = |place: usize| 0xffu32 << (8 * place);
        let (bits_per_pixel, depth, masks) = match self.rgb {
            None => (12, 0, [0; 4]),
            Some(Bytes { places, alpha }) => {
                let mut masks = places.map(mask);
                if !alpha {
                    masks[3] = 0;
                }
                (32, if alpha { 32 } else { 24 }, masks)
            }
        };
        va::ImageFormat {
            fourcc: self.fourcc,
            byte_order: 1,
            bits_per_pixel,
            depth,
            red_mask: masks[0],
            green_mask: masks[1],
            blue_mask: masks[2],
            alpha_mask: masks[3],
            va_reserved: [0; 4],
        }
    }
}

/// A code as text, for the log.
pub fn name(code: u32) -> String {
    let readable = |byte: u8| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '?',
    };
    code.to_le_bytes().map(readable).iter().collect()
}
