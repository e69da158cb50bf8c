//! Clients' buffers as the processor reads them: what is damaged, and no more. What it does not read itself
//! is the device's.

use std::time::{Duration, Instant};

use heliostat_tiles::Rect as TileRect;
use heliostat_va::dmabuf::Plane;
use heliostat_video::{Nv12, Size};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufSyncFailed, DmabufSyncFlags};
use tracing::{debug, warn};

use super::Reading;
use super::buffers::{Known, Memory, Shared};
use super::readers::{copy_run, parts_of};
use crate::sys::Mapping;

impl Memory {
    /// Whether nothing draws into it any more, or will have ceased to within `limit`, going by the kernel's
    /// fences. Some drivers have fences for whoever only reads, such as our encoder. The kernel would wait for
    /// them before anything is read, and commits have waited for theirs: a client that draws into what it
    /// has committed has nobody wait.
    pub(super) fn is_drawn(&self, limit: Duration) -> bool {
        let (start, mut planes) = (Instant::now(), self.dmabuf.handles());
        planes.all(|plane| {
            let left = Timespec::try_from(limit.saturating_sub(start.elapsed()));
            let mut asked = [PollFd::new(&plane, PollFlags::IN)];
            !matches!(poll(&mut asked, left.as_ref().ok()), Ok(0))
        })
    }
}

impl Shared {
    /// Says why a client's buffer was not read, aloud the first time only: it may be so of each picture.
    fn warn_once(&self, why: &str) {
        match self.has_warned.replace(true) {
            false => warn!("{why}"),
            true => debug!("{why}"),
        }
    }

    /// Says once that reading is slow: memory of some devices is not for processors.
    fn note_speed(&self, before: u64, at: Instant) {
        let bytes = self.read_bytes.get() - before;
        let found = self.speed.borrow_mut().note(bytes, at.elapsed());
        let Some(a_second) = found else {
            return;
        };
        let mebibytes = a_second / f64::from(1 << 20);
        let advice = match self.is_read_by_device() {
            true => "the device reads them from now on",
            false => {
                "where windows stutter, render_node = \"off\" in session.toml lets programs draw \
                 into shared memory"
            }
        };
        warn!("reading programs' GPU buffers is slow ({mebibytes:.0} MiB/s): {advice}");
    }

    /// Whether the device reads what the processor could as well.
    fn is_read_by_device(&self) -> bool {
        let is_wanted = match self.wanted.get() {
            Reading::Auto => self.speed.borrow().is_slow(),
            Reading::Processor => false,
            Reading::Device => true,
        };
        is_wanted && self.reader.borrow().is_there()
    }

    /// Has the device read parts of a buffer. False where it does not.
    fn read_by_device(
        &self,
        dmabuf: &Dmabuf,
        parts: &[TileRect],
        take: &mut dyn FnMut(usize, &[u32]),
    ) -> bool {
        let mut reader = self.reader.borrow_mut();
        if !reader.is_there() {
            return false;
        }
        match reader.read(dmabuf, parts, take) {
            Ok(()) => true,
            Err(ended) if ended.is_of_device() => {
                self.end_reader(&mut reader, &ended);
                false
            }
            Err(ended) => {
                self.warn_once(&format!(
                    "a client's buffer cannot be read by the device: {ended}"
                ));
                false
            }
        }
    }
}

impl Known {
    /// Whether nothing draws into it any more, or will have ceased to while there is patience left.
    fn is_drawn_soon(&self) -> bool {
        #[cfg(test)]
        if self.shared.is_drawn_into.get() {
            return false;
        }
        let (mut patience, at) = (self.shared.patience.borrow_mut(), Instant::now());
        let is_drawn = self.memory.is_drawn(patience.left(at));
        patience.spend(at.elapsed());
        is_drawn
    }

    /// Lets `see` read the pixels of each of `rects`.
    pub(super) fn read(
        &self,
        rects: &[TileRect],
        mut see: impl FnMut(TileRect, &mut dyn FnMut(u32, u32, &mut [u32]) -> bool),
    ) -> bool {
        let memory = &self.memory;
        if !self.is_drawn_soon() {
            self.shared
                .warn_once("a client draws into a buffer that it has committed: it is not read");
            return false;
        }
        if !memory.is_linear() {
            return self.read_by_device(rects, see);
        }
        // Of which matrix GLES makes RGB of luma and chroma is the driver's choice.
        let is_tried = !memory.format.is_nv12 && self.shared.is_read_by_device();
        is_tried && self.read_by_device(rects, &mut see) || self.read_by_processor(rects, see)
    }

    fn read_by_device(
        &self,
        rects: &[TileRect],
        mut see: impl FnMut(TileRect, &mut dyn FnMut(u32, u32, &mut [u32]) -> bool),
    ) -> bool {
        let size = self.memory.size;
        let is_inside = |rect: &TileRect| {
            let ends = |start: u32, length: u32| start.checked_add(length);
            let (right, bottom) = (ends(rect.x, rect.w), ends(rect.y, rect.h));
            let fits = |end: Option<u32>, side| end.is_some_and(|end| end <= side);
            rect.area() > 0 && fits(right, size.w) && fits(bottom, size.h)
        };
        let rects: Vec<_> = rects.iter().copied().filter(is_inside).collect();
        let of = parts_of(&rects, (size.w, size.h));
        let parts: Vec<_> = of.iter().map(|(part, _)| *part).collect();
        let dmabuf = &self.memory.dmabuf;
        self.shared
            .read_by_device(dmabuf, &parts, &mut |n, pixels| {
                self.count(pixels.len() * 4);
                for rect in &rects[of[n].1.clone()] {
                    see(*rect, &mut |x, y, run| {
                        copy_run(parts[n], pixels, (x, y), run)
                    });
                }
            })
    }

    fn read_by_processor(
        &self,
        rects: &[TileRect],
        see: impl FnMut(TileRect, &mut dyn FnMut(u32, u32, &mut [u32]) -> bool),
    ) -> bool {
        let Some(maps) = self.maps() else {
            return false;
        };
        let memory = &self.memory;
        let planes = 0..memory.format.planes();
        let (before, at) = (self.shared.read_bytes.get(), Instant::now());
        let began = planes.clone().all(|n| sync(&memory.dmabuf, n, true));
        if began {
            match memory.format.is_nv12 {
                true => self.read_nv12(maps, rects, see),
                false => self.read_rgb(&maps[0], rects, see),
            }
        }
        self.shared.note_speed(before, at);
        let ended = planes.map(|n| sync(&memory.dmabuf, n, false));
        ended.fold(began, |all, one| all && one)
    }

    fn maps(&self) -> Option<&[Mapping]> {
        let maps = self.maps.get_or_init(|| {
            let (size, format) = (self.memory.size, self.memory.format);
            let map = |(n, plane): (usize, Plane<'_>)| {
                let (row, rows) = format.extent(n, size);
                let length = plane.pitch as usize * (rows as usize - 1) + row as usize;
                Mapping::new(plane.fd, plane.offset.into(), length)
            };
            let planes = self.memory.planes().take(format.planes());
            let maps: Result<Vec<_>, _> = planes.enumerate().map(map).collect();
            maps.unwrap_or_else(|error| {
                warn!("a client's buffer cannot be read: {error}");
                Vec::new()
            })
        });
        (!maps.is_empty()).then_some(&maps[..])
    }

    fn count(&self, bytes: usize) {
        let counted = &self.shared.read_bytes;
        counted.set(counted.get() + bytes as u64);
    }

    fn read_rgb(
        &self,
        map: &Mapping,
        rects: &[TileRect],
        mut see: impl FnMut(TileRect, &mut dyn FnMut(u32, u32, &mut [u32]) -> bool),
    ) {
        let Some(plane) = self.memory.planes().next() else {
            return;
        };
        let pitch = plane.pitch as usize;
        // `XB24` and `AB24` have red where the others have blue.
        let is_swapped = self.memory.format.drm.to_le_bytes()[1] == b'B';
        let mut row = |x: u32, y: u32, run: &mut [u32]| {
            let read = map.read_pixels(y as usize * pitch + x as usize * 4, run);
            if is_swapped {
                let swap =
                    |pixel: u32| pixel & 0xff00_ff00 | (pixel & 0xff) << 16 | pixel >> 16 & 0xff;
                run.iter_mut().for_each(|pixel| *pixel = swap(*pixel));
            }
            self.count(run.len() * 4);
            read
        };
        rects.iter().for_each(|rect| see(*rect, &mut row));
    }

    /// Converts each of `rects`, grown to where chroma begins and ends.
    fn read_nv12(
        &self,
        maps: &[Mapping],
        rects: &[TileRect],
        mut see: impl FnMut(TileRect, &mut dyn FnMut(u32, u32, &mut [u32]) -> bool),
    ) {
        let mut room = Room::default();
        for rect in rects {
            let TileRect { x, y, w, h } = *rect;
            let (left, top) = (x & !1, y & !1);
            let part = Size {
                w: x + w - left,
                h: y + h - top,
            };
            if !self.convert(maps, (left, top), part.even(), &mut room) {
                continue;
            }
            let stride = part.even().w;
            see(*rect, &mut |x, y, run| {
                let start = (y - top) as usize * stride as usize + (x - left) as usize;
                let from = room.pixels.get(start..start + run.len());
                from.is_some_and(|from| {
                    run.copy_from_slice(from);
                    true
                })
            });
        }
    }

    /// Converts a part of even sides, at an even place. What lies beyond an odd side is like the last of
    /// it.
    fn convert(
        &self,
        maps: &[Mapping],
        (left, top): (u32, u32),
        part: Size,
        room: &mut Room,
    ) -> bool {
        let mut planes = self.memory.planes();
        let pitches = [0, 1].map(|_| planes.next().map_or(0, |plane| plane.pitch as usize));
        let (w, left, size) = (part.w as usize, left as usize, self.memory.size);
        room.luma.resize(part.area(), 0);
        room.chroma.resize(part.area() / 2, 0);
        let own = w.min(size.w as usize - left);
        let rows = room.luma.chunks_exact_mut(w).zip(top..);
        let mut is_read = rows.fold(true, |all, (row, y)| {
            let y = y.min(size.h - 1) as usize;
            let is_read = maps[0].read(y * pitches[0] + left, &mut row[..own]);
            row.copy_within(own - 1..own, w - 1);
            all && is_read
        });
        let rows = room.chroma.chunks_exact_mut(w).zip(top / 2..);
        is_read = rows.fold(is_read, |all, (row, y)| {
            all && maps[1].read(y as usize * pitches[1] + left, row)
        });
        self.count(room.luma.len() + room.chroma.len());
        room.pixels.resize(part.area(), 0);
        let picture = Nv12 {
            planes: [&room.luma, &room.chroma],
            strides: [w; 2],
        };
        is_read && picture.draw(part, &mut room.pixels, w, &mut Vec::new())
    }
}

/// Memory for what is converted.
#[derive(Default)]
struct Room {
    luma: Vec<u8>,
    chroma: Vec<u8>,
    pixels: Vec<u32>,
}

/// Brings the processor's caches in step with a plane. A memfd has none of its own.
fn sync(dmabuf: &Dmabuf, plane: usize, begins: bool) -> bool {
    let when = match begins {
        true => DmabufSyncFlags::START,
        false => DmabufSyncFlags::END,
    };
    match dmabuf.sync_plane(plane, when | DmabufSyncFlags::READ) {
        Ok(()) => true,
        Err(DmabufSyncFailed::Io(error)) if error.raw_os_error() == Some(libc::ENOTTY) => true,
        Err(error) => {
            warn!("a client's buffer cannot be read: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write};
    use std::os::fd::OwnedFd;

    use smithay::backend::allocator::dmabuf::DmabufFlags;
    use smithay::backend::allocator::{Fourcc, Modifier};

    use super::super::buffers::Buffers;
    use super::super::patience::MOST;
    use super::*;

    /// A buffer into which somebody draws until there is something in its pipes.
    fn drawn_into() -> (Dmabuf, [PipeWriter; 2]) {
        let flags = DmabufFlags::empty();
        let mut builder = Dmabuf::builder((16, 16), Fourcc::Nv12, Modifier::Linear, flags);
        let writers = [0, 1].map(|n| {
            let (reader, writer) = std::io::pipe().unwrap();
            assert!(builder.add_plane(OwnedFd::from(reader), n, 0, 16));
            writer
        });
        (builder.build().unwrap(), writers)
    }

    #[test]
    fn what_is_being_drawn_is_waited_for_as_long_as_is_said_whatever_it_has_of_planes() {
        let limit = Duration::from_millis(300);
        let waits = |dmabuf: &Dmabuf| {
            let (memory, at) = (Memory::unchecked(dmabuf.clone()), Instant::now());
            (memory.is_drawn(limit), at.elapsed())
        };
        let (dmabuf, mut writers) = drawn_into();
        let (is_drawn, waited) = waits(&dmabuf);
        assert!(!is_drawn && waited >= limit, "{waited:?}");
        // One plane is there, the other never will be.
        writers[0].write_all(b"x").unwrap();
        let (is_drawn, waited) = waits(&dmabuf);
        assert!(!is_drawn && waited >= limit, "{waited:?}");
        writers[1].write_all(b"x").unwrap();
        let (is_drawn, waited) = waits(&dmabuf);
        assert!(is_drawn, "{waited:?}");
    }

    #[test]
    fn reader_gives_who_draws_a_moment_and_not_more_however_often_it_is_read() {
        let (dmabuf, writers) = drawn_into();
        let buffers = Buffers::default();
        let known = buffers.known(Memory::unchecked(dmabuf));
        let at = Instant::now();
        let rect = TileRect {
            x: 0,
            y: 0,
            w: 16,
            h: 16,
        };
        // It would wait for ever, were it to wait until it is drawn: nobody ever writes.
        for _ in 0..1000 {
            assert!(!known.read(&[rect], |_, _| panic!("it is read")));
            assert!(at.elapsed() >= MOST);
        }
        assert!(at.elapsed() < 1000 * MOST);
        assert_eq!(buffers.read_bytes(), 0);
        drop(writers);
    }
}
