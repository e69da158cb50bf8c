//! The stage itself: what vkms does with planes and DMA-BUFs, without anything of the product.

use anyhow::{Context, Result, ensure};
use drm::buffer::{Buffer as _, DrmFourcc, DrmModifier};
use drm::control::dumbbuffer::DumbBuffer;
use drm::control::property::Value;
use drm::control::{AtomicCommitFlags, Device as _, Mode, PlaneType, crtc, framebuffer};
use hil_local::framebuffer::Shot;

use super::Outcome;
use crate::inside::buffer::{DmaBuf, Layout};
use crate::inside::card::{Card, Object, Plane, Request};
use crate::inside::colour::{BT601, BT709, Matrix, distance};
use crate::inside::look;
use crate::inside::report::Report;

/// What is around the video.
const GROUND: [u8; 3] = [0x20, 0x40, 0x60];
/// The video's size and place.
const VIDEO: (u32, u32) = (320, 240);
const AT: (u32, u32) = (101, 61);
/// Its four quarters.
const QUARTERS: [[u8; 3]; 4] = [[200, 40, 40], [40, 180, 60], [30, 60, 220], [128, 128, 128]];
/// Rounding to luma and chroma and back, and that of the display's fixed point.
const TOLERANCE: u8 = 4;
/// 16.16 fixed point.
const ONE: u32 = 1 << 16;

/// A screen that is on, with a picture on its primary plane.
struct Stage {
    card: Card,
    crtc: crtc::Handle,
    planes: Vec<Plane>,
    mode: Mode,
    ground: DumbBuffer,
    framebuffer: framebuffer::Handle,
}

impl Stage {
    /// Lights the screen with its smallest mode.
    fn light() -> Result<Self> {
        let card = Card::vkms()?;
        let crtc = card.crtc()?;
        let planes = card.planes()?;
        let (connector, modes) = card.screen()?;
        let mode = modes
            .iter()
            .find(|mode| mode.size() == (640, 480))
            .context("no mode of 640×480")?;
        let mode = *mode;
        let mut ground = card.create_dumb_buffer((640, 480), DrmFourcc::Xrgb8888, 32)?;
        let [r, g, b] = GROUND;
        for pixel in card.map_dumb_buffer(&mut ground)?.chunks_exact_mut(4) {
            pixel.copy_from_slice(&[b, g, r, 0]);
        }
        let framebuffer = card.add_framebuffer(&ground, 24, 32)?;
        let Value::Blob(blob) = card.create_property_blob(&mode)? else {
            anyhow::bail!("a mode is no blob");
        };
        let mut request = Request::default();
        request.set(&card.object(connector)?, "CRTC_ID", u32::from(crtc).into())?;
        let object = card.object(crtc)?;
        request.set(&object, "MODE_ID", blob)?;
        request.set(&object, "ACTIVE", 1)?;
        let stage = Self {
            card,
            crtc,
            planes,
            mode,
            ground,
            framebuffer,
        };
        let primary = stage.plane(PlaneType::Primary)?;
        request.place(
            &primary.object,
            crtc,
            framebuffer,
            [0, 0, 640 * ONE, 480 * ONE],
            (0, 0, 640, 480),
        )?;
        stage
            .card
            .commit(request, AtomicCommitFlags::ALLOW_MODESET)
            .context("light the screen")?;
        Ok(stage)
    }

    fn plane(&self, kind: PlaneType) -> Result<&Plane> {
        let plane = self.planes.iter().find(|plane| plane.kind == kind);
        plane.with_context(|| format!("no plane of the kind {kind:?}"))
    }

    /// Sets how a plane reads luma and chroma.
    fn colours(
        &self,
        request: &mut Request,
        plane: &Plane,
        encoding: &str,
        range: &str,
    ) -> Result<()> {
        for (name, word) in [("COLOR_ENCODING", encoding), ("COLOR_RANGE", range)] {
            let number = self.card.number_of(&plane.object, name, word)?;
            request.set(&plane.object, name, number)?;
        }
        Ok(())
    }

    /// Whether the display would take this.
    fn would_take(&self, request: Request) -> bool {
        self.card
            .commit(request, AtomicCommitFlags::TEST_ONLY)
            .is_ok()
    }

    /// Makes all planes but the primary one empty.
    fn empty(&self) -> Result<()> {
        let mut request = Request::default();
        for plane in self
            .planes
            .iter()
            .filter(|plane| plane.kind != PlaneType::Primary)
        {
            request.clear(&plane.object)?;
        }
        self.card
            .commit(request, AtomicCommitFlags::empty())
            .context("empty the planes")
    }
}

impl Drop for Stage {
    /// The next scenario finds the screen off, as after a boot.
    fn drop(&mut self) {
        let off = || -> Result<()> {
            let mut request = Request::default();
            for plane in &self.planes {
                request.clear(&plane.object)?;
            }
            let object = self.card.object(self.crtc)?;
            request.set(&object, "ACTIVE", 0)?;
            request.set(&object, "MODE_ID", 0)?;
            let (connector, _) = self.card.screen()?;
            request.set(&self.card.object(connector)?, "CRTC_ID", 0)?;
            self.card
                .commit(request, AtomicCommitFlags::ALLOW_MODESET)?;
            self.card.destroy_framebuffer(self.framebuffer)?;
            Ok(self.card.destroy_dumb_buffer(self.ground)?)
        };
        if let Err(error) = off() {
            eprintln!("the screen stays on: {error:#}");
        }
    }
}

/// A video of four colours in a real DMA-BUF.
fn video(layout: Layout, matrix: Matrix) -> Result<DmaBuf> {
    let mut buffer = DmaBuf::from_memory(layout.bytes())?;
    paint(&mut buffer, layout, matrix);
    Ok(buffer)
}

fn paint(buffer: &mut DmaBuf, layout: Layout, matrix: Matrix) {
    let (w, h) = (layout.size.0 / 2, layout.size.1 / 2);
    for (number, rgb) in (0..).zip(QUARTERS) {
        let place = (number % 2 * w, number / 2 * h, w, h);
        layout.fill_nv12(buffer.bytes_mut(), place, matrix.yuv(rgb));
    }
}

/// The colours in the middles of the four quarters, red first.
fn quarters(shot: &Shot) -> [[u8; 3]; 4] {
    std::array::from_fn(|number| {
        let (column, row) = (number as u32 % 2, number as u32 / 2);
        rgb(
            shot,
            AT.0 + VIDEO.0 * (2 * column + 1) / 4,
            AT.1 + VIDEO.1 * (2 * row + 1) / 4,
        )
    })
}

fn rgb(shot: &Shot, x: u32, y: u32) -> [u8; 3] {
    let [b, g, r] = shot.pixel(x, y);
    [r, g, b]
}

/// The whole buffer, in 16.16.
fn whole((w, h): (u32, u32)) -> [u32; 4] {
    [0, 0, w * ONE, h * ONE]
}

pub fn overlay(report: &mut Report) -> Result<Outcome> {
    let stage = Stage::light()?;
    for plane in &stage.planes {
        let known = [
            "zpos",
            "alpha",
            "rotation",
            "COLOR_ENCODING",
            "COLOR_RANGE",
            "IN_FORMATS",
            "pixel blend mode",
        ];
        let names = plane.object.names();
        report.note(format!(
            "plane {}: {:?}, {} formats, NV12 {}, of {known:?} it has {:?}",
            u32::from(plane.object.handle),
            plane.kind,
            plane.formats.len(),
            plane.takes(DrmFourcc::Nv12),
            known
                .iter()
                .filter(|name| names.contains(name))
                .collect::<Vec<_>>(),
        ));
    }
    let plane = stage.plane(PlaneType::Overlay)?;
    ensure!(
        plane.takes(DrmFourcc::Nv12),
        "the overlay plane takes no NV12"
    );
    let layout = Layout::nv12(VIDEO, VIDEO.0);
    let buffer = video(layout, BT709)?;
    let framebuffer = stage.card.show(&buffer, layout)?;
    let place = (AT.0 as i32, AT.1 as i32, VIDEO.0, VIDEO.1);

    let mut request = Request::default();
    request.place(&plane.object, stage.crtc, framebuffer, whole(VIDEO), place)?;
    stage.colours(
        &mut request,
        plane,
        "ITU-R BT.709 YCbCr",
        "YCbCr limited range",
    )?;
    stage
        .card
        .commit(request, AtomicCommitFlags::empty())
        .context("show the video")?;
    let shot = look::picture(&stage.card)?;
    report.picture("overlay", &shot)?;
    for (shown, wanted) in quarters(&shot).into_iter().zip(QUARTERS) {
        ensure!(
            distance(shown, wanted) <= TOLERANCE,
            "{wanted:?} is shown as {shown:?}"
        );
    }
    for (x, y) in [(0, 0), (AT.0 - 1, AT.1), (AT.0 + VIDEO.0, AT.1), (639, 479)] {
        let shown = rgb(&shot, x, y);
        ensure!(
            shown == GROUND,
            "beside the video, at {x},{y}, is {shown:?}"
        );
    }
    ensure!(rgb(&shot, AT.0, AT.1) != GROUND, "the video begins late");

    let planes = look::scanned_out(&stage.card)?;
    let behind = planes
        .iter()
        .find(|p| p.plane == plane.object.handle)
        .context("the plane is off")?;
    ensure!(
        behind.inode == buffer.inode()? && behind.format == DrmFourcc::Nv12,
        "the plane shows another buffer: {behind:?}"
    );
    report.note(format!(
        "the framebuffer's buffer is the DMA-BUF itself: inode {}",
        behind.inode
    ));

    // The same bytes by another matrix are other colours: the property is heeded.
    let mut request = Request::default();
    stage.colours(
        &mut request,
        plane,
        "ITU-R BT.601 YCbCr",
        "YCbCr limited range",
    )?;
    stage.card.commit(request, AtomicCommitFlags::empty())?;
    let shot = look::picture(&stage.card)?;
    for (shown, wanted) in quarters(&shot).into_iter().zip(QUARTERS) {
        let other = BT601.rgb(BT709.yuv(wanted));
        ensure!(
            distance(shown, other) <= TOLERANCE,
            "by BT.601 {other:?} is shown as {shown:?}"
        );
    }
    let far = quarters(&shot)
        .into_iter()
        .zip(QUARTERS)
        .any(|(a, b)| distance(a, b) > 2 * TOLERANCE);
    ensure!(far, "a wrong matrix would not be noticed");
    stage.empty()?;
    stage.card.destroy_framebuffer(framebuffer)?;
    Ok(Outcome::Held)
}

/// What is asked of the display, and whether it takes that.
struct Question<'a> {
    what: &'a str,
    taken: bool,
}

pub fn limits(report: &mut Report) -> Result<Outcome> {
    let stage = Stage::light()?;
    let mut wrong = Vec::new();
    let mut ask = |question: Question<'_>, taken: bool| {
        let Question {
            what,
            taken: wanted,
        } = question;
        report.note(format!(
            "{} {what}",
            if taken { "takes" } else { "refuses" }
        ));
        if taken != wanted {
            wrong.push(what.to_owned());
        }
    };
    let layout = Layout::nv12(VIDEO, VIDEO.0);
    let buffer = video(layout, BT709)?;
    let framebuffer = stage.card.show(&buffer, layout)?;
    let overlay = &stage.plane(PlaneType::Overlay)?.object;
    let placed = |plane: &Object<_>, source: [u32; 4], place| -> Result<bool> {
        let mut request = Request::default();
        request.place(plane, stage.crtc, framebuffer, source, place)?;
        Ok(stage.would_take(request))
    };
    let (w, h) = VIDEO;
    let full = whole(VIDEO);
    let half = [ONE / 2, 0, (w - 1) * ONE, h * ONE];
    for (what, wanted, source, place) in [
        ("a video at an odd place", true, full, (101, 61, w, h)),
        ("one partly off the screen", true, full, (-100, 400, w, h)),
        ("one wholly off the screen", true, full, (700, 0, w, h)),
        (
            "a crop of it",
            true,
            [2 * ONE, 2 * ONE, 100 * ONE, 100 * ONE],
            (0, 0, 100, 100),
        ),
        (
            "a crop at an odd place",
            true,
            [3 * ONE, 5 * ONE, 101 * ONE, 99 * ONE],
            (0, 0, 101, 99),
        ),
        ("a crop at half a pixel", true, half, (0, 0, w - 1, h)),
        ("twice its size", false, full, (0, 0, 2 * w, 2 * h)),
        (
            "one pixel more than its size",
            false,
            full,
            (0, 0, w + 1, h),
        ),
        ("half its size", false, full, (0, 0, w / 2, h / 2)),
    ] {
        ask(
            Question {
                what,
                taken: wanted,
            },
            placed(overlay, source, place)?,
        );
    }
    for (what, wanted, kind) in [
        (
            "NV12 on the primary plane, smaller than the screen",
            true,
            PlaneType::Primary,
        ),
        ("NV12 on the cursor plane", true, PlaneType::Cursor),
    ] {
        let object = &stage.plane(kind)?.object;
        ask(
            Question {
                what,
                taken: wanted,
            },
            placed(object, full, (10, 10, w, h))?,
        );
    }
    for (what, wanted, layout) in [
        ("a pitch of 330 bytes", true, Layout::nv12(VIDEO, 330)),
        ("a pitch of 321 bytes", true, Layout::nv12(VIDEO, 321)),
        (
            "a pitch less than the width",
            false,
            Layout::nv12(VIDEO, 318),
        ),
        ("an odd size", true, Layout::nv12((319, 239), 320)),
        (
            "chroma at an odd offset",
            true,
            Layout {
                offsets: [0, w * h + 1],
                ..layout
            },
        ),
        (
            "luma not at the start",
            true,
            Layout {
                offsets: [4096, 4096 + w * h],
                ..layout
            },
        ),
        (
            "the linear modifier",
            true,
            Layout {
                modifier: Some(DrmModifier::Linear),
                ..layout
            },
        ),
        (
            "a tiled modifier",
            false,
            Layout {
                modifier: Some(DrmModifier::I915_y_tiled),
                ..layout
            },
        ),
        (
            "P010",
            true,
            Layout {
                format: DrmFourcc::P010,
                ..Layout::nv12(VIDEO, 2 * w)
            },
        ),
        ("a picture of 16×16", true, Layout::nv12((16, 16), 16)),
    ] {
        let buffer = DmaBuf::from_memory(layout.bytes())?;
        ask(
            Question {
                what,
                taken: wanted,
            },
            shown(&stage, overlay, &buffer, layout)?,
        );
    }
    let short = DmaBuf::from_memory(4096)?;
    ask(
        Question {
            what: "a buffer that is too small",
            taken: false,
        },
        shown(&stage, overlay, &short, layout)?,
    );
    let heap = DmaBuf::from_heap(layout.bytes())?;
    ask(
        Question {
            what: "a buffer of the system's heap",
            taken: true,
        },
        shown(&stage, overlay, &heap, layout)?,
    );
    let (kinds, overlays) = order(&stage);
    report.note(format!(
        "{overlays} overlays; planes from the lowest: {kinds:?}"
    ));
    report.note(format!(
        "modes: the preferred one is {:?}",
        stage.card.screen()?.1[0].size()
    ));
    report.note(format!(
        "the lit mode is {:?} at {} Hz",
        stage.mode.size(),
        stage.mode.vrefresh()
    ));
    report.note(format!(
        "pitch of a dumb buffer of 640 pixels: {}",
        stage.ground.pitch()
    ));
    ensure!(
        wrong.is_empty(),
        "not as the README says: {}",
        wrong.join(", ")
    );
    under_and_over(&stage, report)?;
    stage.card.destroy_framebuffer(framebuffer)?;
    Ok(Outcome::Held)
}

/// Whether a layout becomes a framebuffer and that goes onto a plane.
fn shown(
    stage: &Stage,
    plane: &Object<drm::control::plane::Handle>,
    buffer: &DmaBuf,
    layout: Layout,
) -> Result<bool> {
    let Ok(framebuffer) = stage.card.show(buffer, layout) else {
        return Ok(false);
    };
    let (w, h) = layout.size;
    let mut request = Request::default();
    request.place(
        plane,
        stage.crtc,
        framebuffer,
        whole(layout.size),
        (0, 0, w, h),
    )?;
    let taken = stage.would_take(request);
    stage.card.destroy_framebuffer(framebuffer)?;
    Ok(taken)
}

fn order(stage: &Stage) -> (Vec<PlaneType>, usize) {
    let kinds: Vec<PlaneType> = stage.planes.iter().map(|plane| plane.kind).collect();
    let overlays = kinds
        .iter()
        .filter(|kind| **kind == PlaneType::Overlay)
        .count();
    (kinds, overlays)
}

/// Planes lie over one another in the order of their numbers; no property says so.
fn under_and_over(stage: &Stage, report: &mut Report) -> Result<()> {
    let size = (64, 64);
    let layout = Layout::xrgb(size);
    let overlays: Vec<&Plane> = stage
        .planes
        .iter()
        .filter(|p| p.kind == PlaneType::Overlay)
        .collect();
    let cursor = stage.plane(PlaneType::Cursor)?;
    let mut framebuffers = Vec::new();
    let mut request = Request::default();
    for (plane, rgb) in [(overlays[0], 1u8), (overlays[1], 2), (cursor, 3)] {
        let mut buffer = DmaBuf::from_memory(layout.bytes())?;
        buffer.bytes_mut().fill(rgb);
        let framebuffer = stage.card.show(&buffer, layout)?;
        let x = 16 * (i32::from(rgb) - 1);
        request.place(
            &plane.object,
            stage.crtc,
            framebuffer,
            whole(size),
            (x, 0, 64, 64),
        )?;
        framebuffers.push(framebuffer);
    }
    stage
        .card
        .commit(request, AtomicCommitFlags::empty())
        .context("show three planes")?;
    let shot = look::picture(&stage.card)?;
    let seen = [8, 24, 40].map(|x| shot.pixel(x, 8)[0]);
    report.note("planes lie over one another in the order of their numbers, the cursor's on top");
    stage.empty()?;
    for framebuffer in framebuffers {
        stage.card.destroy_framebuffer(framebuffer)?;
    }
    ensure!(seen == [1, 2, 3], "planes lie in another order: {seen:?}");
    Ok(())
}
