//! A stand-in for GLES in tests: the processor composes into memory files, which are lent as GLES' buffers
//! are. Everything but the drawing is the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use anyhow::anyhow;
use heliostat_compose::geometry::Rect;
use heliostat_tiles::Rect as TileRect;
use heliostat_wire::output::Size;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufFlags};
use smithay::backend::allocator::{Allocator, Fourcc, Modifier};

use super::composer::{Job, Layer, by_processor};
use super::swapchain::{Chain, FlatBuffer};
use crate::gpu::{Ended, Lease, Loan};
use crate::sys::NoBuffer;

/// Composes one output.
#[derive(Debug, Default)]
pub struct Fake {
    chain: Option<(Size, Chain)>,
    /// It fails from now on.
    pub fails: bool,
    /// It ends so when it composes next.
    pub ends: Option<Ended>,
    /// Goes when it is let go.
    pub held: Rc<()>,
    /// On which device it is.
    pub lease: Lease,
    /// How often that was asked whether it takes a buffer.
    pub asked: usize,
}

impl Fake {
    /// Composes into a buffer that is lent, if one is free, and gives what is to be read to `take`.
    pub fn compose(
        &mut self,
        job: &Job<'_>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> Result<Option<FlatBuffer>, Ended> {
        self.lease.check()?;
        if let Some(ended) = self.ends.take() {
            return Err(ended);
        }
        if self.fails {
            return Err(anyhow!("it was told to").into());
        }
        let chain = match self.chain.take() {
            Some((size, chain)) if size == job.size => chain,
            _ => Chain::new(Box::new(Files), job.size),
        };
        let (_, chain) = self.chain.insert((job.size, chain));
        let acquired = chain.acquire(job.damage)?;
        // What GLES takes as it is, this has to read.
        let read: BTreeMap<_, _> = job.layers.iter().map(|l| (l.id, pixels_of(l))).collect();
        let layers: Vec<_> = job
            .layers
            .iter()
            .map(|layer| {
                let mut picture = layer.picture;
                picture.pixels = read[&layer.id].as_deref().unwrap_or(picture.pixels);
                Layer {
                    picture,
                    buffer: None,
                    ..*layer
                }
            })
            .collect();
        let mut room = Vec::new();
        let jobs = |read| Job {
            layers: &layers,
            read,
            ..*job
        };
        by_processor(&jobs(job.read), &mut room, take);
        let Some((buffer, drawn)) = acquired else {
            chain.skip(job.damage);
            return Ok(None);
        };
        by_processor(&jobs(drawn.rects()), &mut room, |rect, pixels| {
            put(&buffer.dmabuf, rect, pixels);
        });
        chain.submitted(&buffer);
        Ok(Some(buffer))
    }

    /// Reads a part of a buffer.
    pub fn read_back(
        &self,
        loan: &Loan,
        part: Rect,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> Result<(), Ended> {
        self.lease.check()?;
        let [x, y, w, h] = [part.x, part.y, part.w, part.h].map(|side| side as u32);
        let mut pixels = vec![0; part.area() as usize];
        let is_read = loan.read(&[TileRect { x, y, w, h }], |_, rows| {
            let lines = pixels.chunks_exact_mut(w as usize);
            (y..)
                .zip(lines)
                .for_each(|(y, line)| assert!(rows(x, y, line)));
        });
        take(part, &pixels);
        match is_read {
            true => Ok(()),
            false => Err(Ended::Refused(anyhow!("it is not read"))),
        }
    }

    /// Whether a client's buffer is composed as it is.
    pub fn takes(&mut self, loan: &Loan) -> bool {
        if self.lease.check().is_err() {
            return false;
        }
        self.asked += 1;
        !loan.is_nv12()
    }

    /// What has ended goes, or is left behind, as GLES is.
    pub fn end(self, ended: &Ended) -> Lease {
        let lease = self.lease.clone();
        if ended.lets_go(|| true) {
            drop(self);
        } else {
            std::mem::forget(self);
        }
        lease
    }

    /// Nothing is needed any more.
    pub fn forget(&mut self) {
        self.chain = None;
    }
}

/// The pixels of a layer whose buffer is composed as it is; not counted as read, since GLES would not.
fn pixels_of(layer: &Layer<'_>) -> Option<Vec<u32>> {
    let (dmabuf, size) = (layer.buffer?.dmabuf(), layer.picture.size);
    let (file, pitch) = memory(dmabuf);
    let mut bytes = vec![0; size.w as usize * 4];
    let rows = (0..u64::from(size.h)).flat_map(|y| {
        file.read_exact_at(&mut bytes, y * pitch)
            .expect("it lies in the file");
        let row = bytes.chunks_exact(4);
        let pixels = row.map(|pixel| u32::from_le_bytes(pixel.try_into().expect("four bytes")));
        pixels.collect::<Vec<_>>()
    });
    Some(rows.collect())
}

fn put(dmabuf: &Dmabuf, rect: Rect, pixels: &[u32]) {
    let (file, pitch) = memory(dmabuf);
    for (y, row) in (rect.y as u64..).zip(pixels.chunks_exact(rect.w as usize)) {
        let bytes: Vec<u8> = row.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        let at = y * pitch + rect.x as u64 * 4;
        file.write_all_at(&bytes, at).expect("it lies in the file");
    }
}

fn memory(dmabuf: &Dmabuf) -> (File, u64) {
    let fd = dmabuf.handles().next().expect("a plane");
    let file = File::from(fd.try_clone_to_owned().expect("a descriptor"));
    (file, dmabuf.strides().next().expect("a plane").into())
}

/// Memory files that cannot shrink, which clients of tests have as well.
struct Files;

impl Allocator for Files {
    type Buffer = Dmabuf;
    type Error = NoBuffer;

    fn create_buffer(
        &mut self,
        width: u32,
        height: u32,
        fourcc: Fourcc,
        _: &[Modifier],
    ) -> Result<Dmabuf, NoBuffer> {
        let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
        let memory: OwnedFd = memfd_create("flat", flags).expect("memory");
        let pitch = (width * 4).next_multiple_of(256);
        rustix::fs::ftruncate(&memory, u64::from(pitch) * u64::from(height)).expect("memory");
        fcntl_add_seals(memory.as_fd(), SealFlags::SHRINK).expect("a seal");
        let size = (width as i32, height as i32);
        let flags = DmabufFlags::empty();
        let mut builder = Dmabuf::builder(size, fourcc, Modifier::Linear, flags);
        assert!(builder.add_plane(memory, 0, 0, pitch));
        Ok(builder.build().expect("it has a plane"))
    }
}
