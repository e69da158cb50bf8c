//! A stand-in for GLES in tests: it reads memory files whose rows lie upside down, a layout that no
//! processor is told of.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use heliostat_tiles::Rect as TileRect;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Buffer, Format, Fourcc, Modifier};

use super::super::devices::{DeviceId, Lease};
use super::super::drawing::Ended;

/// The modifier of that layout, of a vendor that there is none.
pub const UPSIDE_DOWN: u64 = 0x7f << 56 | 1;

/// Reads such buffers.
#[derive(Debug, Default)]
pub struct ByFake {
    /// On which device it is.
    pub lease: Lease,
    /// It ends so when it is asked for something next.
    pub ends: Option<Ended>,
    /// How often it was asked about a buffer.
    pub asked: usize,
    /// How often it has read.
    pub count: usize,
}

/// What it reads.
pub fn layouts() -> [Format; 2] {
    [Fourcc::Xrgb8888, Fourcc::Argb8888].map(|code| Format {
        code,
        modifier: Modifier::from(UPSIDE_DOWN),
    })
}

/// The device that it is on.
pub fn device() -> DeviceId {
    DeviceId::of_node(Path::new("/pretended/reader"))
}

impl ByFake {
    /// On a device.
    pub fn on(lease: Lease) -> Self {
        Self {
            lease,
            ..Self::default()
        }
    }

    pub(super) fn takes(&mut self, buffer: &Dmabuf) -> Result<(), Ended> {
        self.lease.check()?;
        self.asked += 1;
        if let Some(ended) = self.ends.take() {
            return Err(ended);
        }
        match buffer.num_planes() {
            1 => Ok(()),
            _ => Err(anyhow!("it has more planes than one").into()),
        }
    }

    pub(super) fn read(
        &mut self,
        buffer: &Dmabuf,
        parts: &[TileRect],
        take: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<(), Ended> {
        self.lease.check()?;
        if let Some(ended) = self.ends.take() {
            return Err(ended);
        }
        self.count += 1;
        let fd = buffer.handles().next().context("a plane")?;
        let file = File::from(fd.try_clone_to_owned().context("a descriptor")?);
        let pitch = u64::from(buffer.strides().next().context("a plane")?);
        let is_linear = buffer.format().modifier == Modifier::Linear;
        for (n, part) in parts.iter().enumerate() {
            let mut pixels = Vec::new();
            for y in part.y..part.y + part.h {
                let row = match is_linear {
                    true => y,
                    false => buffer.height() - 1 - y,
                };
                let mut bytes = vec![0; part.w as usize * 4];
                let at = u64::from(row) * pitch + u64::from(part.x) * 4;
                file.read_exact_at(&mut bytes, at).context("read")?;
                let words = bytes.chunks_exact(4);
                let words = words.map(|word| word.try_into().map_or(0, u32::from_le_bytes));
                pixels.extend(words);
            }
            take(n, &pixels);
        }
        Ok(())
    }
}
