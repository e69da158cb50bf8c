//! Surfaces go out and come in by file descriptor, and are counted.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use heliostat_drv_video::sys::plain::zeroed;
use heliostat_drv_video::va::{self, Id, fourcc, status};

use crate::alone::alone;
use crate::client::{Encoder, SIZE, convert, converter, draw, look, painted};
use crate::sys::{Va, memfd};

const OUT: u32 = va::EXPORT_READ_ONLY | va::EXPORT_WRITE_ONLY;

fn inode(fd: &OwnedFd) -> u64 {
    std::fs::File::from(fd.try_clone().unwrap())
        .metadata()
        .unwrap()
        .ino()
}

#[test]
fn surface_goes_out_and_comes_in_again_as_the_same_memory() {
    alone(
        "surfaces::surface_goes_out_and_comes_in_again_as_the_same_memory",
        |alone| {
            let va = &alone.va;
            let first = va
                .create_surfaces(va::RT_FORMAT_YUV420, SIZE, 1, &[])
                .unwrap()[0];
            draw(va, first, 7).unwrap();
            for layers in [va::EXPORT_SEPARATE_LAYERS, va::EXPORT_COMPOSED_LAYERS] {
                let (descriptor, fds) = va.export(first, OUT | layers).unwrap();
                let separate = layers == va::EXPORT_SEPARATE_LAYERS;
                assert_eq!(descriptor.num_layers, 1 + u32::from(separate));
                let second = va.import(va::RT_FORMAT_YUV420, descriptor).unwrap();
                assert_eq!(look(va, second), painted(va, 7));
                let named = format!("inode={} ", inode(&fds[0]));
                assert!(alone.counters().contains(&named), "{}", alone.counters());
                va.destroy_surfaces(&[second]).unwrap();
            }
            va.destroy_surfaces(&[first]).unwrap();
        },
    );
}

#[test]
fn counters_tell_what_the_driver_did_from_what_clients_had_done() {
    alone(
        "surfaces::counters_tell_what_the_driver_did_from_what_clients_had_done",
        |alone| {
            let va = &alone.va;
            let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
            let (_, fds) = va
                .export(encoder.input, OUT | va::EXPORT_COMPOSED_LAYERS)
                .unwrap();
            for number in 0..3 {
                encoder.submit(va, &encoder.picture(number)).unwrap();
            }
            let line = |alone: &crate::alone::Alone| {
                let named = format!("inode={} ", inode(&fds[0]));
                let all = alone.counters();
                all.lines()
                    .find(|line| line.starts_with(&named))
                    .unwrap()
                    .to_owned()
            };
            // A buffer of DMA wherever the kernel makes them.
            let udmabuf = std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/udmabuf");
            let backing = match udmabuf {
                Ok(_) => "backing=udmabuf",
                Err(_) => "backing=memfd",
            };
            let untouched = line(alone);
            assert!(untouched.contains(backing), "{untouched}");
            assert!(
                untouched.contains("mapped=3 lent=0 copied=0 encoded=3"),
                "{untouched}"
            );
            look(&alone.va, encoder.input).unwrap();
            draw(&alone.va, encoder.input, 1).unwrap();
            let touched = line(alone);
            assert!(
                touched.contains("mapped=3 lent=1 copied=1 encoded=3"),
                "{touched}"
            );
        },
    );
}

fn descriptor(fd: &OwnedFd, code: &[u8; 4], size: (u32, u32)) -> va::PrimeSurfaceDescriptor {
    let mut d: va::PrimeSurfaceDescriptor = zeroed();
    d.fourcc = fourcc(code);
    (d.width, d.height) = size;
    d.num_objects = 1;
    d.objects[0].fd = fd.as_raw_fd();
    d.objects[0].size = 65536;
    d.num_layers = 1;
    d.layers[0].drm_format = fourcc(b"NV12");
    d.layers[0].num_planes = 2;
    d.layers[0].pitch = [192, 192, 0, 0];
    d.layers[0].offset = [0, 192 * 100, 0, 0];
    d
}

#[test]
fn lying_descriptors_are_refused_one_by_one() {
    alone(
        "surfaces::lying_descriptors_are_refused_one_by_one",
        |alone| {
            let fd = memfd(65536, true);
            let right = descriptor(&fd, b"NV12", SIZE);
            let va = &alone.va;
            assert!(va.import(va::RT_FORMAT_YUV420, right).is_ok());
            type Lie = fn(&mut va::PrimeSurfaceDescriptor);
            let lies: [(&str, i32, Lie); 14] = [
                ("only the linear one", status::INVALID_VALUE, |d| {
                    d.objects[0].drm_format_modifier = 0x0100_0000_0000_0001;
                }),
                ("only the linear one", status::INVALID_VALUE, |d| {
                    d.objects[0].drm_format_modifier = 0x00ff_ffff_ffff_ffff;
                }),
                ("is called 65537 bytes", status::INVALID_PARAMETER, |d| {
                    d.objects[0].size = 65537
                }),
                ("is called 0 bytes", status::INVALID_PARAMETER, |d| {
                    d.objects[0].size = 0
                }),
                ("ends at byte", status::INVALID_PARAMETER, |d| {
                    d.objects[0].size = 20000
                }),
                ("ends at byte", status::INVALID_PARAMETER, |d| {
                    d.layers[0].offset[1] = 60000
                }),
                ("ends at byte", status::INVALID_PARAMETER, |d| {
                    d.layers[0].offset[1] = u32::MAX
                }),
                ("ends at byte", status::INVALID_PARAMETER, |d| {
                    d.layers[0].pitch[0] = 1 << 31
                }),
                ("overlap", status::INVALID_PARAMETER, |d| {
                    d.layers[0].offset[1] = 64
                }),
                ("a pitch of 128", status::INVALID_PARAMETER, |d| {
                    d.layers[0].pitch[0] = 128
                }),
                ("a pitch of 160", status::INVALID_PARAMETER, |d| {
                    d.layers[0].pitch[1] = 160
                }),
                ("in object 1 of 1", status::INVALID_PARAMETER, |d| {
                    d.layers[0].object_index[1] = 1
                }),
                ("do not make NV12", status::INVALID_PARAMETER, |d| {
                    d.num_layers = 4_000_000_000
                }),
                ("objects", status::INVALID_PARAMETER, |d| {
                    d.num_objects = 4_000_000_000
                }),
            ];
            for (why, expected, lie) in lies {
                let mut lying = right;
                lie(&mut lying);
                assert_eq!(
                    va.import(va::RT_FORMAT_YUV420, lying),
                    Err(expected),
                    "{why}"
                );
                let log = alone.log();
                assert!(log.lines().last().unwrap().contains(why), "{why}: {log}");
            }
        },
    );
}

#[test]
fn memory_that_is_no_buffer_or_could_shrink_is_refused() {
    alone(
        "surfaces::memory_that_is_no_buffer_or_could_shrink_is_refused",
        |alone| {
            let va = &alone.va;
            let unsealed = memfd(65536, false);
            let file = OwnedFd::from(std::fs::File::open("/dev/zero").unwrap());
            for (fd, why) in [
                (&unsealed, "not sealed"),
                (&file, "no DMA-BUF and no memfd"),
            ] {
                let refused = va.import(va::RT_FORMAT_YUV420, descriptor(fd, b"NV12", SIZE));
                assert_eq!(refused, Err(status::INVALID_PARAMETER));
                assert!(
                    alone.log().lines().last().unwrap().contains(why),
                    "{}",
                    alone.log()
                );
            }
            let mut closed = descriptor(&file, b"NV12", SIZE);
            closed.objects[0].fd = 987;
            assert_eq!(
                va.import(va::RT_FORMAT_YUV420, closed),
                Err(status::INVALID_PARAMETER)
            );
        },
    );
}

#[test]
fn surface_in_use_is_neither_exported_nor_mapped_nor_rendered_to_nor_destroyed() {
    alone(
        "surfaces::surface_in_use_is_neither_exported_nor_mapped_nor_rendered_to_nor_destroyed",
        |alone| {
            let va = &alone.va;
            let busy = Err(status::SURFACE_BUSY);
            let encoder = Encoder::new(va, false, va::RC_CQP).unwrap();
            let (_, converts) = converter(va).unwrap();
            let refuses = |va: &Va, id: Id| {
                let exported = va.export(id, OUT | va::EXPORT_COMPOSED_LAYERS);
                assert_eq!(exported.err(), Some(status::SURFACE_BUSY));
                assert_eq!(va.destroy_surfaces(&[id]), busy);
                let image = va.derive_image(id).unwrap();
                assert_eq!(va.map(image.buf).err(), Some(status::SURFACE_BUSY));
                va.destroy_image(&image).unwrap();
            };
            // In an open picture.
            va.begin(encoder.context, encoder.input).unwrap();
            refuses(va, encoder.input);
            assert_eq!(va.begin(converts, encoder.input), busy);
            assert_eq!(va.sync(encoder.input), busy);
            assert_eq!(
                va.surface_status(encoder.input),
                Ok(va::surface_status::RENDERING)
            );
            assert!(va.end(encoder.context).is_err());
            // Encoded, and nobody has waited.
            encoder.give(va, &encoder.picture(0)).unwrap();
            refuses(va, encoder.input);
            assert_eq!(
                va.destroy_buffer(encoder.coded),
                Err(status::INVALID_BUFFER)
            );
            va.sync_buffer(encoder.coded).unwrap();
            va.export(encoder.input, OUT | va::EXPORT_COMPOSED_LAYERS)
                .unwrap();
            // Mapped by the client.
            let image = va.derive_image(encoder.input).unwrap();
            va.map(image.buf).unwrap();
            assert_eq!(va.begin(encoder.context, encoder.input), busy);
            assert_eq!(va.destroy_surfaces(&[encoder.input]), busy);
            assert_eq!(va.destroy_image(&image), Err(status::INVALID_BUFFER));
            va.unmap(image.buf).unwrap();
            assert_eq!(va.destroy_surfaces(&[encoder.input]), busy);
            va.destroy_image(&image).unwrap();
            va.destroy_surfaces(&[encoder.input]).unwrap();
            assert_eq!(va.sync(encoder.input), Err(status::INVALID_SURFACE));
        },
    );
}

#[test]
fn client_may_free_a_buffer_that_was_imported() {
    alone(
        "surfaces::client_may_free_a_buffer_that_was_imported",
        |alone| {
            let va = &alone.va;
            let fd = memfd(65536, true);
            let from = va
                .import(va::RT_FORMAT_YUV420, descriptor(&fd, b"NV12", SIZE))
                .unwrap();
            drop(fd);
            let (_, context) = converter(va).unwrap();
            let into = va
                .create_surfaces(va::RT_FORMAT_RGB32, SIZE, 1, &[])
                .unwrap()[0];
            let mut parameters: va::ProcPipelineParameter = zeroed();
            parameters.surface = from;
            convert(va, context, &parameters, into).unwrap();
            va.sync(into).unwrap();
            assert!(
                alone.counters().contains("role=imported backing=memfd"),
                "{}",
                alone.counters()
            );
        },
    );
}
