//! What the device reads is what the processor reads, or was there to be read.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use smithay::backend::allocator::dmabuf::DmabufFlags;
use smithay::backend::egl::EGLDevice;
use smithay::backend::renderer::ImportMem;

use super::super::buffers::{Buffers, Memory};
use super::*;
use crate::tests::hardware::stage::Lack;

const W: u32 = 211;
const H: u32 = 97;
const CODES: [Fourcc; 4] = [
    Fourcc::Xrgb8888,
    Fourcc::Argb8888,
    Fourcc::Xbgr8888,
    Fourcc::Abgr8888,
];

/// GLES on the first device, which is Mesa's software where there is no other.
fn gles() -> anyhow::Result<ByGles> {
    sys::check_egl()?;
    let device = EGLDevice::enumerate()?.next().context("no device")?;
    ByGles::new(device, false, "a device".to_owned())
}

fn rects() -> impl Strategy<Value = Vec<TileRect>> {
    let rect = (0..W, 0..H, 1..=W, 1..=H).prop_map(|(x, y, w, h)| TileRect {
        x,
        y,
        w: w.min(W - x),
        h: h.min(H - y),
    });
    prop::collection::vec(rect, 1..24)
}

/// Bytes of a picture as they lie in memory, each of them another one than its neighbours.
fn bytes(seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        (state >> 24) as u8
    };
    let pixel = |n: u32| n / 4 % W / 3 + n / 4 / W;
    let at = |n: u32| next() ^ pixel(n) as u8;
    (0..W * H * 4).map(at).collect()
}

/// A pixel of that as layers have it.
fn pixel(code: Fourcc, bytes: &[u8], x: u32, y: u32) -> u32 {
    let at = ((y * W + x) * 4) as usize;
    let [first, g, third, a] = [0, 1, 2, 3].map(|n| u32::from(bytes[at + n]));
    let (r, b) = match code {
        Fourcc::Xbgr8888 | Fourcc::Abgr8888 => (first, third),
        _ => (third, first),
    };
    let a = match code {
        Fourcc::Argb8888 | Fourcc::Abgr8888 => a,
        _ => 255,
    };
    a << 24 | r << 16 | g << 8 | b
}

fn assert_read(code: Fourcc, bytes: &[u8], part: TileRect, pixels: &[u32]) {
    assert_eq!(pixels.len(), part.area());
    for (at, found) in (0..).zip(pixels) {
        let (x, y) = (part.x + at % part.w, part.y + at / part.w);
        let wanted = pixel(code, bytes, x, y);
        assert_eq!(
            *found, wanted,
            "{code:?} at ({x}, {y}): {found:08x} for {wanted:08x}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_read_for_rectangles_is_bounded_and_has_all_of_them(rects in rects()) {
        let parts = parts_of(&rects, (W, H));
        prop_assert!(parts.len() <= MOST_PARTS);
        let area: usize = parts.iter().map(|(part, _)| part.area()).sum();
        prop_assert!(area <= (W * H) as usize, "{area} pixels");
        let mut next = 0;
        for (part, of) in parts {
            prop_assert_eq!(of.start, next);
            next = of.end;
            for rect in &rects[of] {
                prop_assert_eq!(part.around(*rect), part);
            }
        }
        prop_assert_eq!(next, rects.len());
    }

    #[test]
    fn run_is_of_the_part_or_is_refused(
        part in (0..50u32, 0..50u32, 1..20u32, 1..20u32),
        (x, y) in (0..80u32, 0..80u32),
        length in 0..30usize,
    ) {
        let (left, top, w, h) = part;
        let part = TileRect { x: left, y: top, w, h };
        let pixels: Vec<u32> = (0..w * h).collect();
        let mut run = vec![u32::MAX; length];
        let is_inside = x >= left && y >= top && y < top + h && x as usize + length <= (left + w) as usize;
        prop_assert_eq!(copy_run(part, &pixels, (x, y), &mut run), is_inside);
        for (n, found) in (0..).zip(run) {
            let wanted = if is_inside { (y - top) * w + x - left + n } else { u32::MAX };
            prop_assert_eq!(found, wanted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn parts_of_a_texture_are_read_as_they_are(
        code in prop::sample::select(CODES.to_vec()),
        seed in any::<u32>(),
        rects in rects(),
    ) {
        let mut gles = match gles() {
            Ok(gles) => gles,
            Err(error) => {
                Lack::Part(format!("no GLES here: {error:#}")).skip();
                return Ok(());
            }
        };
        let bytes = bytes(seed);
        let size = (W as i32, H as i32).into();
        let texture = gles.drawing.renderer().import_memory(&bytes, code, size, false).unwrap();
        // The same buffer of ours takes what comes later.
        for rects in [&rects[..1], &rects[..], &rects[rects.len() / 2..]] {
            let mut count = 0;
            gles.copy(&texture, rects, &mut |n, pixels| {
                assert_eq!(n, count);
                count += 1;
                assert_read(code, &bytes, rects[n], pixels);
            }).unwrap();
            prop_assert_eq!(count, rects.len());
        }
    }

    #[test]
    fn device_reads_of_buffers_what_the_processor_reads(
        code in prop::sample::select(CODES.to_vec()),
        seed in any::<u32>(),
        rects in rects(),
    ) {
        let bytes = bytes(seed);
        let dmabuf = buffer(code, &bytes);
        let mut gles = match gles() {
            Ok(gles) => gles,
            Err(error) => {
                Lack::Part(format!("no GLES here: {error:#}")).skip();
                return Ok(());
            }
        };
        // Mesa's software does so from 24.2 on; before it wants a node.
        if let Err(error) = gles.take(&dmabuf) {
            Lack::Machine(format!("GLES takes no buffers here: {error:#}")).skip();
            return Ok(());
        }
        let read = |wanted| {
            let mut buffers = Buffers::default();
            let reader = Reader::Gles(Box::new(self::gles().unwrap()));
            buffers.read_by(reader, wanted, crate::gpu::Offers::default());
            let memory = Memory::check(dmabuf.clone(), &[dmabuf::LINEAR]).unwrap();
            let known = buffers.known(memory);
            let mut found = Vec::new();
            let is_read = known.read(&rects, |rect, row| {
                for y in rect.y..rect.y + rect.h {
                    let mut run = vec![0; rect.w as usize];
                    assert!(row(rect.x, y, &mut run));
                    found.extend(run);
                }
            });
            assert!(is_read && buffers.gles_ends() == 0);
            (found, buffers.read_bytes())
        };
        let ((by_processor, _), (by_device, read_bytes)) = (read(Reading::Processor), read(Reading::Device));
        let opaque = match code {
            Fourcc::Xrgb8888 | Fourcc::Xbgr8888 => 0xff00_0000,
            _ => 0,
        };
        let by_processor: Vec<_> = by_processor.iter().map(|pixel| pixel | opaque).collect();
        prop_assert_eq!(by_processor, by_device);
        prop_assert!(read_bytes <= u64::from(W * H * 4), "{} bytes are read", read_bytes);
    }
}

/// Memory that could be a device's, of which rows are wider than the picture.
fn buffer(code: Fourcc, bytes: &[u8]) -> Dmabuf {
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let file = File::from(memfd_create("buffer", flags).unwrap());
    let pitch = (W * 4).next_multiple_of(256);
    let page = 4096;
    file.set_len(u64::from(pitch * H).next_multiple_of(page))
        .unwrap();
    for (y, row) in (0..).zip(bytes.chunks_exact(W as usize * 4)) {
        file.write_all_at(row, y * u64::from(pitch)).unwrap();
    }
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    let size = (W as i32, H as i32);
    let mut builder = Dmabuf::builder(size, code, Modifier::Linear, DmabufFlags::empty());
    assert!(builder.add_plane(OwnedFd::from(file), 0, 0, pitch));
    builder.build().unwrap()
}

#[test]
fn what_is_longer_than_a_texture_is_refused_and_the_next_is_read() {
    let mut gles = match gles() {
        Ok(gles) => gles,
        Err(error) => return Lack::Part(format!("no GLES here: {error:#}")).skip(),
    };
    let bytes = bytes(3);
    let size = (W as i32, H as i32).into();
    let renderer = gles.drawing.renderer();
    let texture = renderer
        .import_memory(&bytes, CODES[0], size, false)
        .unwrap();
    let long = TileRect {
        x: 0,
        y: 0,
        w: gles.drawing.longest() + 1,
        h: 1,
    };
    let refused = gles.copy(&texture, &[long], &mut |_, _| panic!("it is read"));
    assert!(matches!(refused, Err(Ended::Broken(_))), "{refused:?}");
    let part = TileRect {
        x: 7,
        y: 5,
        w: 3,
        h: 2,
    };
    let mut is_read = false;
    let read = gles.copy(&texture, &[part], &mut |_, pixels| {
        assert_read(CODES[0], &bytes, part, pixels);
        is_read = true;
    });
    assert!(read.is_ok() && is_read, "{read:?}");
}

#[test]
fn textures_of_buffers_that_are_gone_go_before_the_next_buffer_is_one() {
    let mut gles = match gles() {
        Ok(gles) => gles,
        Err(error) => return Lack::Part(format!("no GLES here: {error:#}")).skip(),
    };
    let (first, size) = (bytes(3), (W as i32, H as i32).into());
    let renderer = gles.drawing.renderer();
    let texture = renderer.import_memory(&first, CODES[0], size, false);
    let texture = texture.unwrap();
    let name = texture.tex_id();
    assert!(gles.drawing.has_texture(name));
    drop(texture);
    assert!(gles.drawing.has_texture(name), "somebody has to ask for it");
    // Whether it takes that one is another matter.
    let _ = gles.takes(&buffer(CODES[0], &first));
    assert!(!gles.drawing.has_texture(name));
}
