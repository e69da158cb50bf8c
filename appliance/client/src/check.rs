//! `heliostat-terminal --check-display`: what was found, and which way each kind of video will take.

use std::path::Path;

use heliostat_va::decoder::Frame;
use heliostat_video::{Encoder, Picture, Quality, Size};
use heliostat_wire::id::VideoId;
use heliostat_wire::output::Output;

use crate::args::DecoderChoice;
use crate::display::Display;
use crate::display::kms::{Kms, find_device};
use crate::geometry::Rect;
use crate::planes::{Cover, Fit, Wanted, Way};
use crate::scene::format_of;
use crate::video::hardware::{Device, NoDevice};

/// A video as pages have them.
const FILM: Size = Size { w: 640, h: 360 };
const VIDEO: VideoId = VideoId(0);

/// Looks at the screens of `card`, or of the first one that has any, and at what decodes videos, and
/// prints both. Whether a film goes from its decoder to a screen without a copy, at least where nothing
/// is over it.
pub fn check_display(card: Option<&Path>, decoder: &DecoderChoice) -> anyhow::Result<bool> {
    let card = card.map_or_else(find_device, |card| Ok(card.to_owned()))?;
    let mut kms = Kms::open(&card)?;
    print!("{}", kms.describe()?);
    let display = Display::Kms(kms);
    let node = match decoder {
        DecoderChoice::Auto => display.render_node(),
        DecoderChoice::Node(node) => Some(node.clone()),
        DecoderChoice::Software => None,
    };
    kms = match display {
        Display::Kms(kms) => kms,
        Display::Headless(_) | Display::Window(_) => anyhow::bail!("no screens"),
    };
    match &node {
        Some(node) => println!("render node: {}", node.display()),
        None => println!("render node: none"),
    }
    let opened = match &node {
        _ if *decoder == DecoderChoice::Software => {
            println!("videos: by the processor, so it was asked for");
            return Ok(false);
        }
        Some(node) => Device::open(node),
        None => Err(NoDevice::NoNode),
    };
    let device = match opened {
        Ok(device) => device,
        Err(error) => {
            println!("videos: by the processor, and copied: {error}");
            println!("{}", advice(&error));
            return Ok(false);
        }
    };
    print!("{}", device.probe());
    println!("videos: by {}", device.summary());
    if !kms.is_master() {
        println!("another program has the screens: what follows is what the planes say, not tried");
    }
    let outputs = kms.outputs();
    if outputs.is_empty() {
        println!("no screen is connected: no way can be said");
    }
    let mut all = !outputs.is_empty();
    for output in outputs.iter() {
        all &= check_output(&mut kms, &device, output);
    }
    println!("zero copy: {}", if all { "yes" } else { "no" });
    Ok(all)
}

fn advice(error: &NoDevice) -> &'static str {
    match error {
        NoDevice::NoNode => {
            "  load the graphics driver's module; without /dev/dri/renderD* nothing decodes"
        }
        NoDevice::Closed { .. } => {
            "  the node belongs to root or the group render: run this as root"
        }
        NoDevice::Va(heliostat_va::Error::Missing(_)) => {
            "  the image needs libva2 and libva-drm2, and the vendor's driver"
        }
        NoDevice::Va(_) => {
            "  the image needs the driver of this vendor: *_drv_video.so in /usr/lib/*/dri, and its firmware"
        }
        NoDevice::NoPath(_) => "  this device is not used for videos",
    }
}

/// A kind of video.
struct Sort {
    what: &'static str,
    size: Size,
    dst: Rect,
    cover: Cover,
}

/// Says which way videos take on one output; whether the plain one takes a plane.
fn check_output(kms: &mut Kms, device: &Device, output: &Output) -> bool {
    let (w, h) = (output.size.w, output.size.h);
    println!("videos on {}, {w}×{h}:", output.connector);
    let film = Size {
        w: FILM.w.min(w & !1).max(16),
        h: FILM.h.min(h & !1).max(16),
    };
    let at = |size: Size| Rect::of_size(size.w, size.h);
    let larger = Size {
        w: (film.w * 3 / 2).min(w),
        h: (film.h * 3 / 2).min(h),
    };
    let sorts = [
        Sort {
            what: "in a window",
            size: film,
            dst: at(film),
            cover: Cover::None,
        },
        Sort {
            what: "in a window, with something over it",
            size: film,
            dst: at(film),
            cover: Cover::Part,
        },
        Sort {
            what: "in a window, enlarged",
            size: film,
            dst: at(larger),
            cover: Cover::None,
        },
        Sort {
            what: "on the whole screen",
            size: Size { w, h },
            dst: Rect::of_size(w, h),
            cover: Cover::None,
        },
    ];
    let mut plain = false;
    for (index, sort) in sorts.iter().enumerate() {
        let way = way(kms, device, output, sort);
        let converted = match way {
            Ok((_, true)) => ", as RGB that the device makes of it",
            _ => "",
        };
        let said = match way.clone().map(|(way, _)| way) {
            Ok(Way::Primary) => {
                "zero copy: the decoder's surface in place of what is drawn".to_owned()
            }
            Ok(Way::Over(plane)) => format!("zero copy: plane {}, over what is drawn", plane.0),
            Ok(Way::Under(plane)) => format!("zero copy: plane {}, under what is drawn", plane.0),
            Ok(Way::Copied(why)) => format!("decoded by hardware, then copied: {why}"),
            Ok(Way::Hidden) => "not seen".to_owned(),
            Err(ref why) => format!("by the processor, and copied: {why}"),
        };
        println!("  {}: {said}{converted}", sort.what);
        if index == 0 {
            plain = way.is_ok_and(|(way, _)| way.is_plane());
        }
    }
    plain
}

/// How a video is shown, and whether the device makes RGB of it for that.
fn way(
    kms: &mut Kms,
    device: &Device,
    output: &Output,
    sort: &Sort,
) -> Result<(Way, bool), String> {
    let frame = frame(device, sort.size)?;
    let mut converter = device.converter(sort.size);
    let rgb = converter.as_mut().ok().and_then(|c| c.convert(&frame).ok());
    let format = format_of(&frame);
    let wanted = [Wanted {
        video: VIDEO,
        format,
        converted: rgb.as_ref().map(format_of),
        fit: Some(Fit {
            source: [0, 0, sort.size.w << 16, sort.size.h << 16],
            dst: sort.dst,
        }),
        area: sort.dst,
        cover: sort.cover,
    }];
    let arranged = match kms.is_master() {
        true => kms.arrange(
            output.id,
            &wanted,
            &|planned| match planned.format == format {
                true => Some(frame.clone()),
                false => rgb.clone(),
            },
        ),
        false => kms.arrange_untried(output.id, &wanted),
    };
    let way = arranged.way(VIDEO).unwrap_or(Way::Hidden);
    Ok((way, arranged.is_converted(VIDEO)))
}

/// A picture out of the decoder.
fn frame(device: &Device, size: Size) -> Result<Frame, String> {
    let mut decoder = device
        .decoder(size)
        .ok_or("the device does not decode videos of this size")?;
    let mut picture = Picture::default();
    let mut unit = Vec::new();
    if !picture.take(size, &vec![0xff80_8080; size.area()]) {
        return Err("no video has this size".to_owned());
    }
    let mut encoder = Encoder::new(size, Quality::default()).map_err(|error| error.to_string())?;
    let encoded = encoder.encode(&picture, true, &mut unit);
    encoded.map_err(|error| error.to_string())?;
    decoder.decode(&unit).map_err(|error| error.to_string())
}
