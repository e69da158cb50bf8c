//! DMA-BUFs as others describe them, checked before a driver sees them.
//!
//! Whoever describes a buffer may lie or be wrong: an encoder that reads past its end reads the memory
//! of somebody else. What the kernel knows, the size of a buffer and which it is, is asked of the kernel.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd};

use heliostat_video::Size;
use rustix::fs::{SealFlags, SeekFrom, fcntl_get_seals, fstat, fstatfs, seek};

use crate::abi::{self, PrimeSurfaceDescriptor, fourcc};
use crate::sys::plain::zeroed;

/// `DRM_FORMAT_MOD_LINEAR`: rows one after the other.
pub const LINEAR: u64 = 0;
/// The most planes that a buffer has, those of compression included.
pub const MAX_PLANES: usize = 4;

/// A plane of a buffer.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// The DMA-BUF that it is in; planes may be in one.
    pub fd: BorrowedFd<'a>,
    /// Bytes before its first row.
    pub offset: u32,
    /// Bytes from row to row.
    pub pitch: u32,
}

/// A buffer as linux-dmabuf has it.
#[derive(Debug, Clone, Copy)]
pub struct Dmabuf<'a> {
    /// `DRM_FORMAT_*`.
    pub format: u32,
    /// Width and height in pixels.
    pub size: Size,
    /// `DRM_FORMAT_MOD_*`.
    pub modifier: u64,
    /// Its planes, in the format's order.
    pub planes: &'a [Plane<'a>],
}

/// Why a buffer is not imported.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A format that is not encoded.
    #[error("the buffer's format {:?} is not encoded", name(*.0))]
    Format(u32),
    /// Another size than that of the video.
    #[error("the buffer has {}×{} pixels, the video {}×{}", .found.w, .found.h, .wanted.w, .wanted.h)]
    Size {
        /// The buffer's.
        found: Size,
        /// The video's.
        wanted: Size,
    },
    /// A part that does not lie in the buffer, or whose chroma begins between two samples.
    #[error("the buffer has {}×{} pixels, and no part of {}×{} at {},{}", .found.w, .found.h, .wanted.w, .wanted.h, .corner.0, .corner.1)]
    Part {
        /// The buffer's size.
        found: Size,
        /// Where the part begins.
        corner: (u32, u32),
        /// The video's size.
        wanted: Size,
    },
    /// A layout that the device was not found to read.
    #[error("the buffer's modifier {0:#x} is not one that the device reads")]
    Modifier(u64),
    /// Too few planes, or too many.
    #[error("the buffer has {found} planes, its format {wanted}")]
    Planes {
        /// The buffer's.
        found: usize,
        /// The format's.
        wanted: usize,
    },
    /// Rows that overlap.
    #[error("rows of plane {plane} are {pitch} bytes apart and have {row} bytes")]
    Pitch {
        /// Which.
        plane: usize,
        /// Bytes from row to row.
        pitch: u32,
        /// Bytes of a row.
        row: u32,
    },
    /// A plane that does not lie in its buffer.
    #[error("plane {plane} ends at byte {end} of a buffer of {bytes}")]
    PastEnd {
        /// Which.
        plane: usize,
        /// The byte behind its last one.
        end: u64,
        /// Bytes of the buffer, as the kernel says.
        bytes: u64,
    },
    /// Memory that its owner could take away from those who read it.
    #[error("the memory of plane {0} could be taken away: it is no DMA-BUF, and not sealed")]
    Unsteady(usize),
    /// Two planes in the same bytes.
    #[error("planes {0} and {1} overlap")]
    Overlap(usize, usize),
    /// A descriptor that the kernel says nothing of.
    #[error("the descriptor of plane {plane} cannot be looked at: {error}")]
    Descriptor {
        /// Which.
        plane: usize,
        /// Why.
        error: io::Error,
    },
}

/// Which buffer a descriptor is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// What the kernel knows of a buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Object {
    /// Which it is.
    pub identity: Identity,
    /// Its bytes.
    pub bytes: u64,
}

/// A format that is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// `DRM_FORMAT_*`: words of little endian.
    pub drm: u32,
    /// `VA_FOURCC_*`: bytes in the order of memory.
    pub va: u32,
    /// It is luma and chroma, as encoders want it.
    pub is_nv12: bool,
}

const fn format(drm: &[u8; 4], va: &[u8; 4], is_nv12: bool) -> Format {
    Format {
        drm: fourcc(drm),
        va: fourcc(va),
        is_nv12,
    }
}

/// Planes of luma and of interleaved chroma.
pub const NV12: Format = format(b"NV12", b"NV12", true);
/// All formats that are encoded. Alpha does not count.
pub const FORMATS: [Format; 5] = [
    NV12,
    format(b"XR24", b"BGRX", false),
    format(b"AR24", b"BGRA", false),
    format(b"XB24", b"RGBX", false),
    format(b"AB24", b"RGBA", false),
];

impl Format {
    /// The format of a DRM code.
    pub fn of_drm(code: u32) -> Option<Self> {
        FORMATS.into_iter().find(|format| format.drm == code)
    }

    /// The `VA_RT_FORMAT_*` of its surfaces.
    pub fn rt_format(self) -> u32 {
        match self.is_nv12 {
            true => abi::RT_FORMAT_YUV420,
            false => abi::RT_FORMAT_RGB32,
        }
    }

    /// How many planes it has, compression aside.
    pub fn planes(self) -> usize {
        1 + usize::from(self.is_nv12)
    }

    /// Bytes of a row of a plane, and its rows.
    pub fn extent(self, plane: usize, size: Size) -> (u32, u32) {
        match (self.is_nv12, plane) {
            (false, _) => (size.w * 4, size.h),
            (true, 0) => (size.w, size.h),
            (true, _) => (size.w.next_multiple_of(2), size.h.div_ceil(2)),
        }
    }
}

/// A code of four characters as text.
pub fn name(code: u32) -> String {
    let readable = |byte: u8| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '?',
    };
    code.to_le_bytes().map(readable).iter().collect()
}

/// `DMA_BUF_MAGIC` of the kernel's.
const DMA_BUF_MAGIC: rustix::fs::FsWord = 0x444d_4142;
/// What /proc says of a DMA-BUF has fewer bytes.
const MOST_SAID: u64 = 1 << 10;

/// Whether the memory of a descriptor stays as large as it is: that of a DMA-BUF, or of a memfd that is
/// sealed against shrinking. Whoever reads any other file through a mapping is at its owner's mercy.
///
/// This may be asked of any descriptor, and never waits for anybody. `fstat`, `lseek`, `fstatfs`, `mmap`,
/// `poll` and `ioctl` do where a file is on FUSE or a network: they ask its server, which may be the
/// client that has sent the descriptor, and may not answer. Seals are looked up by the kernel in files
/// of its own memory and refused for all others; and what /proc says of a descriptor comes from the
/// kernel's table, where only DMA-BUFs name their exporter. What is steady is memory of the kernel's,
/// of which everything may be asked.
pub fn is_steady(fd: BorrowedFd<'_>) -> bool {
    match fcntl_get_seals(fd) {
        Ok(seals) => seals.contains(SealFlags::SHRINK),
        Err(_) => has_exporter(fd) && fstatfs(fd).is_ok_and(|stat| stat.f_type == DMA_BUF_MAGIC),
    }
}

/// Whether /proc says what only DMA-BUFs say.
fn has_exporter(fd: BorrowedFd<'_>) -> bool {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let mut said = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MOST_SAID).read_to_end(&mut said));
    let mut lines = said.split(|byte| *byte == b'\n');
    read.is_ok() && lines.any(|line| line.starts_with(b"exp_name:"))
}

/// Asks the kernel for the buffer of each plane. Of memory that is not [steady](is_steady) this may wait
/// for somebody who never answers.
pub fn look(buffer: &Dmabuf<'_>) -> Result<[Object; MAX_PLANES], Refused> {
    let mut objects = [Object::default(); MAX_PLANES];
    for (plane, (object, described)) in objects.iter_mut().zip(buffer.planes).enumerate() {
        let ask = || -> rustix::io::Result<Object> {
            let stat = fstat(described.fd)?;
            // A DMA-BUF says its size to seeks only.
            let bytes = match u64::try_from(stat.st_size) {
                Ok(bytes) if bytes > 0 => bytes,
                _ => seek(described.fd, SeekFrom::End(0))?,
            };
            let (device, inode) = (stat.st_dev, stat.st_ino);
            Ok(Object {
                identity: Identity { device, inode },
                bytes,
            })
        };
        *object = ask().map_err(|error| Refused::Descriptor {
            plane,
            error: error.into(),
        })?;
    }
    Ok(objects)
}

/// Checks that a video of size `wanted` is a part of a buffer.
pub fn check_part(buffer: &Dmabuf<'_>, corner: (u32, u32), wanted: Size) -> Result<(), Refused> {
    let found = buffer.size;
    // Drivers are told of places in 16 bits, one of them a sign.
    let fits = |start: u32, length: u32, all: u32| {
        start <= i16::MAX as u32 && length <= all && start <= all - length
    };
    let is_inside = fits(corner.0, wanted.w, found.w) && fits(corner.1, wanted.h, found.h);
    // A chroma sample is of two columns and two rows.
    let is_between = buffer.format == NV12.drm && (corner.0 | corner.1) & 1 != 0;
    match is_inside && !is_between {
        true => Ok(()),
        false => Err(Refused::Part {
            found,
            corner,
            wanted,
        }),
    }
}

/// Checks what is claimed of a buffer against what the kernel knows of its planes, and describes it to
/// libva. The video is of `size`, and the device reads these `modifiers`.
pub fn check(
    buffer: &Dmabuf<'_>,
    objects: &[Object; MAX_PLANES],
    size: Size,
    modifiers: &[u64],
) -> Result<(Format, PrimeSurfaceDescriptor), Refused> {
    let format = Format::of_drm(buffer.format).ok_or(Refused::Format(buffer.format))?;
    if buffer.size != size {
        return Err(Refused::Size {
            found: buffer.size,
            wanted: size,
        });
    }
    if !modifiers.contains(&buffer.modifier) {
        return Err(Refused::Modifier(buffer.modifier));
    }
    let (found, wanted) = (buffer.planes.len(), format.planes());
    // Compressed layouts have planes of their own besides.
    let most = match buffer.modifier {
        LINEAR => wanted,
        _ => MAX_PLANES,
    };
    if !(wanted..=most).contains(&found) {
        return Err(Refused::Planes { found, wanted });
    }
    check_planes(buffer, objects, format)?;
    Ok((format, describe(buffer, objects, format)))
}

fn check_planes(
    buffer: &Dmabuf<'_>,
    objects: &[Object; MAX_PLANES],
    format: Format,
) -> Result<(), Refused> {
    let mut spans = [(0, 0); MAX_PLANES];
    for (plane, described) in buffer.planes.iter().enumerate() {
        let (row, rows) = match plane < format.planes() {
            true => format.extent(plane, buffer.size),
            // What compression needs is the device's secret; at least it begins in the buffer.
            false => (1, 1),
        };
        let pitch = described.pitch;
        if pitch < row {
            return Err(Refused::Pitch { plane, pitch, row });
        }
        let start = u64::from(described.offset);
        let end = start + u64::from(pitch) * u64::from(rows - 1) + u64::from(row);
        let bytes = objects[plane].bytes;
        if end > bytes {
            return Err(Refused::PastEnd { plane, end, bytes });
        }
        for before in 0..plane {
            let (other_start, other_end) = spans[before];
            let same = objects[before].identity == objects[plane].identity;
            if same && start < other_end && other_start < end {
                return Err(Refused::Overlap(before, plane));
            }
        }
        spans[plane] = (start, end);
    }
    Ok(())
}

fn describe(
    buffer: &Dmabuf<'_>,
    objects: &[Object; MAX_PLANES],
    format: Format,
) -> PrimeSurfaceDescriptor {
    let mut d: PrimeSurfaceDescriptor = zeroed();
    d.fourcc = format.va;
    (d.width, d.height) = (buffer.size.w, buffer.size.h);
    d.num_layers = 1;
    d.layers[0].drm_format = format.drm;
    d.layers[0].num_planes = buffer.planes.len() as u32;
    for (plane, described) in buffer.planes.iter().enumerate() {
        let same = |before: &usize| objects[*before].identity == objects[plane].identity;
        let index = match (0..plane).find(same) {
            Some(before) => d.layers[0].object_index[before],
            None => {
                let index = d.num_objects;
                d.num_objects += 1;
                let object = &mut d.objects[index as usize];
                object.fd = described.fd.as_raw_fd();
                object.size = u32::try_from(objects[plane].bytes).unwrap_or(u32::MAX);
                object.drm_format_modifier = buffer.modifier;
                index
            }
        };
        let layer = &mut d.layers[0];
        layer.object_index[plane] = index;
        layer.offset[plane] = described.offset;
        layer.pitch[plane] = described.pitch;
    }
    d
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::*;

    const SIZE: Size = Size { w: 65, h: 47 };

    fn object(inode: u64, bytes: u64) -> Object {
        Object {
            identity: Identity { device: 1, inode },
            bytes,
        }
    }

    proptest! {
        #[test]
        fn what_is_let_through_lies_in_its_buffer(
            format in prop::sample::select(FORMATS.to_vec()),
            planes in prop::collection::vec((0u64..3, any::<u32>(), any::<u32>(), any::<bool>()), 0..6),
            bytes in 0u64..40_000,
            modifier in prop::sample::select(vec![LINEAR, 1 << 56 | 2]),
        ) {
            let file = File::open("/dev/null").unwrap();
            let plane = |(_, offset, pitch, small): &(u64, u32, u32, bool)| Plane {
                fd: file.as_fd(),
                offset: if *small { offset % 30_000 } else { *offset },
                pitch: if *small { pitch % 600 } else { *pitch },
            };
            let described: Vec<_> = planes.iter().map(plane).collect();
            let mut objects = [object(9, 0); MAX_PLANES];
            for (object, (inode, ..)) in objects.iter_mut().zip(&planes) {
                *object = self::object(*inode, bytes);
            }
            let buffer = Dmabuf { format: format.drm, size: SIZE, modifier, planes: &described };
            if let Ok((format, d)) = check(&buffer, &objects, SIZE, &[LINEAR, 1 << 56 | 2]) {
                for plane in 0..format.planes() {
                    let (row, rows) = format.extent(plane, SIZE);
                    let layer = d.layers[0];
                    let last = u64::from(layer.offset[plane])
                        + u64::from(layer.pitch[plane]) * u64::from(rows - 1);
                    let object = d.objects[layer.object_index[plane] as usize];
                    prop_assert!(last + u64::from(row) <= object.size.into());
                    prop_assert!(layer.pitch[plane] >= row);
                }
            }
        }
    }

    #[test]
    fn each_lie_is_called_by_its_name() {
        let file = File::open("/dev/null").unwrap();
        let fd = file.as_fd();
        let plane = |offset, pitch| Plane { fd, offset, pitch };
        let check = |format: &[u8; 4], size, modifier, planes: &[Plane<'_>]| {
            let objects = [object(1, 64 * 1024); MAX_PLANES];
            let format = fourcc(format);
            let buffer = Dmabuf {
                format,
                size,
                modifier,
                planes,
            };
            check(&buffer, &objects, SIZE, &[LINEAR]).map(|_| ())
        };
        let good = [plane(0, 320), plane(0, 320)];
        assert!(check(b"XR24", SIZE, LINEAR, &good[..1]).is_ok());
        let other = Size { w: 64, h: 47 };
        let refused = [
            (check(b"YUYV", SIZE, LINEAR, &good[..1]), "format"),
            (check(b"XR24", other, LINEAR, &good[..1]), "64×47 pixels"),
            (check(b"XR24", SIZE, 7, &good[..1]), "modifier 0x7"),
            (check(b"XR24", SIZE, LINEAR, &good), "2 planes"),
            (check(b"XR24", SIZE, LINEAR, &[]), "0 planes"),
            (
                check(b"XR24", SIZE, LINEAR, &[plane(0, 256)]),
                "256 bytes apart",
            ),
            (
                check(b"XR24", SIZE, LINEAR, &[plane(u32::MAX, 320)]),
                "ends at",
            ),
            (
                check(b"XR24", SIZE, LINEAR, &[plane(0, u32::MAX)]),
                "ends at",
            ),
            (
                check(b"NV12", SIZE, LINEAR, &[plane(0, 128), plane(128, 128)]),
                "overlap",
            ),
        ];
        for (answer, word) in refused {
            let said = answer.unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn part_lies_in_its_buffer_and_its_chroma_on_samples() {
        let wanted = Size { w: 33, h: 20 };
        let check = |format: &[u8; 4], corner| {
            let buffer = Dmabuf {
                format: fourcc(format),
                size: SIZE,
                modifier: LINEAR,
                planes: &[],
            };
            check_part(&buffer, corner, wanted).is_ok()
        };
        for corner in [(0, 0), (32, 27), (31, 26), (1, 0), (0, 1)] {
            assert!(check(b"XR24", corner), "{corner:?}");
            let even = corner.0 % 2 == 0 && corner.1 % 2 == 0;
            assert_eq!(check(b"NV12", corner), even, "{corner:?}");
        }
        for corner in [(33, 0), (0, 28), (u32::MAX, 0), (0, u32::MAX - 5)] {
            assert!(!check(b"XR24", corner), "{corner:?}");
        }
    }

    #[test]
    fn memory_that_can_shrink_is_not_steady() {
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("test", flags).unwrap();
        assert!(!is_steady(memory.as_fd()));
        rustix::fs::fcntl_add_seals(&memory, SealFlags::GROW).unwrap();
        assert!(!is_steady(memory.as_fd()));
        rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK).unwrap();
        assert!(is_steady(memory.as_fd()));
        assert!(!is_steady(tempfile::tempfile().unwrap().as_fd()));
        let (pipe, _other) = std::io::pipe().unwrap();
        assert!(!is_steady(pipe.as_fd()));
    }

    #[test]
    fn descriptor_of_no_size_is_refused() {
        let (pipe, _other) = std::io::pipe().unwrap();
        let planes = [Plane {
            fd: pipe.as_fd(),
            offset: 0,
            pitch: 320,
        }];
        let buffer = Dmabuf {
            format: fourcc(b"XR24"),
            size: SIZE,
            modifier: LINEAR,
            planes: &planes,
        };
        assert!(matches!(
            look(&buffer),
            Err(Refused::Descriptor { plane: 0, .. })
        ));
    }
}
