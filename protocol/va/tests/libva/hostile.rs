//! Buffers that are not what is said of them.

use std::os::fd::AsFd;

use heliostat_va::dmabuf::{Dmabuf, LINEAR, Plane, Refused};
use heliostat_va::encoder::{EncodeError, Encoder};
use heliostat_va::probe::Probe;
use heliostat_video::{Encoded, Size};

use crate::alone::{alone, display};
use crate::encoding::{CONSTANT, settings};
use crate::scene::{Buffer, Viewer, XRGB};

const SIZE: Size = Size { w: 150, h: 100 };

#[test]
fn lies_are_refused_before_the_driver_sees_them_and_the_video_goes_on() {
    let name = "hostile::lies_are_refused_before_the_driver_sees_them_and_the_video_goes_on";
    let ran = alone(name, "", || {
        let display = display().unwrap();
        let probe = Probe::new(&display).unwrap();
        let mut encoder = Encoder::new(&display, &probe, settings(SIZE, CONSTANT)).unwrap();
        let (good, mut viewer) = (Buffer::new(XRGB, SIZE), Viewer::new(SIZE));
        let mut unit = Vec::new();
        let drawn = good.draw(0);
        good.with(|b| encoder.encode(b, false, &mut unit)).unwrap();
        viewer.compare(&unit, &drawn);
        let plane = |offset, pitch| Plane {
            fd: good.file.as_fd(),
            offset,
            pitch,
        };
        let mut refused = |format, size, modifier, planes: &[Plane<'_>]| {
            let lie = Dmabuf {
                format,
                size,
                modifier,
                planes,
            };
            match encoder.encode(&lie, false, &mut unit) {
                Err(EncodeError::Buffer(refused)) => refused,
                other => panic!("{lie:?}: {other:?}"),
            }
        };
        let right = plane(0, 640);
        let found = refused(XRGB, SIZE, LINEAR, &[plane(0, 596)]);
        assert!(
            matches!(
                found,
                Refused::Pitch {
                    pitch: 596,
                    row: 600,
                    ..
                }
            ),
            "{found}"
        );
        let found = refused(XRGB, SIZE, LINEAR, &[plane(40_000, 640)]);
        assert!(matches!(found, Refused::PastEnd { .. }), "{found}");
        let found = refused(XRGB, SIZE, LINEAR, &[plane(0, 0xffff_ffc0)]);
        assert!(matches!(found, Refused::PastEnd { .. }), "{found}");
        let found = refused(XRGB, SIZE, 0x0100_0000_0000_0002, &[right]);
        assert!(matches!(found, Refused::Modifier(_)), "{found}");
        let found = refused(u32::from_le_bytes(*b"YUYV"), SIZE, LINEAR, &[right]);
        assert!(matches!(found, Refused::Format(_)), "{found}");
        let found = refused(XRGB, Size { w: 16384, h: 16384 }, LINEAR, &[right]);
        assert!(matches!(found, Refused::Size { .. }), "{found}");
        let found = refused(XRGB, SIZE, LINEAR, &[right; 5]);
        assert!(matches!(found, Refused::Planes { found: 5, .. }), "{found}");
        let small = Buffer::new(XRGB, Size { w: 16, h: 16 });
        let of_small = Plane {
            fd: small.file.as_fd(),
            ..right
        };
        let found = refused(XRGB, SIZE, LINEAR, &[of_small]);
        assert!(
            matches!(found, Refused::PastEnd { bytes: 1536, .. }),
            "{found}"
        );
        let drawn = good.draw(1);
        let after = good.with(|b| encoder.encode(b, false, &mut unit)).unwrap();
        assert_eq!(after, Encoded::Difference);
        assert!(viewer.compare(&unit, &drawn) >= 35.0);
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("refused"), "{}", ran.log);
        assert_eq!(ran.log.matches("imported").count(), 1, "{}", ran.log);
    }
}

#[test]
fn buffer_that_the_driver_does_not_take_leaves_the_video_as_it_is() {
    let name = "hostile::buffer_that_the_driver_does_not_take_leaves_the_video_as_it_is";
    alone(name, "", || {
        let display = display().unwrap();
        let probe = Probe::new(&display).unwrap();
        let mut encoder = Encoder::new(&display, &probe, settings(SIZE, CONSTANT)).unwrap();
        let (good, mut unit) = (Buffer::new(XRGB, SIZE), Vec::new());
        good.with(|b| encoder.encode(b, false, &mut unit)).unwrap();
        // A file has a size and an inode, and is no DMA-BUF all the same.
        let file = tempfile::tempfile().unwrap();
        file.set_len(64_000).unwrap();
        let planes = [Plane {
            fd: file.as_fd(),
            offset: 0,
            pitch: 640,
        }];
        let fake = Dmabuf {
            format: XRGB,
            size: SIZE,
            modifier: LINEAR,
            planes: &planes,
        };
        let found = encoder.encode(&fake, false, &mut unit);
        assert!(matches!(found, Err(EncodeError::Import(_))), "{found:?}");
        let after = good.with(|b| encoder.encode(b, false, &mut unit)).unwrap();
        assert_eq!(after, Encoded::Difference);
    });
}

#[test]
fn buffer_that_its_owner_closes_stays_good_while_it_is_held() {
    let name = "hostile::buffer_that_its_owner_closes_stays_good_while_it_is_held";
    alone(name, "", || {
        let display = display().unwrap();
        let probe = Probe::new(&display).unwrap();
        let mut encoder = Encoder::new(&display, &probe, settings(SIZE, CONSTANT)).unwrap();
        let mut unit = Vec::new();
        let mut viewer = Viewer::new(SIZE);
        for time in 0..40 {
            // Each is new and gone after its picture: what is held of them is bounded.
            let buffer = Buffer::new(XRGB, SIZE);
            let drawn = buffer.draw(time);
            buffer
                .with(|b| encoder.encode(b, false, &mut unit))
                .unwrap();
            assert!(viewer.compare(&unit, &drawn) >= 35.0);
        }
        let held = std::fs::read_dir("/proc/self/fd").unwrap();
        let held = held.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let held = held.filter(|target| target.to_string_lossy().contains("memfd:test"));
        assert!(held.count() <= 16);
    });
}
