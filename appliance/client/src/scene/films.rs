//! Films of the scene that are in surfaces: where they are to be seen, and when they are copied.

use std::sync::Arc;

use heliostat_tiles::{Rect as TileRect, TileSink};
use heliostat_va::decoder::Frame;
use heliostat_wire::id::{LayerId, OutputId, VideoId};
use heliostat_wire::scene::{Placement, Transform, UNITS_PER_PIXEL};

use super::{Scene, shown_at};
use crate::compose::covers;
use crate::geometry::Rect;
use crate::planes::{Cover, Fit, Format, NV12, Use, Wanted};
use crate::video::hardware::Device;

impl Scene {
    /// An attach begins: its videos are decoded by a device, where there is one.
    pub fn use_device(&mut self, device: Option<Arc<Device>>) {
        self.videos.use_device(device);
    }

    /// Videos whose decoder has failed since the last call.
    pub fn take_failed_videos(&mut self) -> Vec<VideoId> {
        self.videos.take_failed()
    }

    /// Pixels copied out of surfaces so far.
    pub fn copied_pixels(&self) -> u64 {
        self.videos.copied()
    }

    /// Whether an output has had another picture in a surface since the last call.
    pub fn take_new_surface(&mut self, id: OutputId) -> bool {
        let output = self.outputs.get_mut(&id);
        output.is_some_and(|output| std::mem::take(&mut output.has_new_surface))
    }

    pub(super) fn note_surface(&mut self, layer: LayerId) {
        for output in self.outputs.values_mut() {
            let is_here = |placement: &Placement| placement.layer == layer;
            output.has_new_surface |= output.stack.iter().any(is_here);
        }
    }

    /// The newest picture of a video, while it is in a surface, and its number.
    pub fn film(&self, video: VideoId) -> Option<(&Frame, u64)> {
        let picture = self.videos.get(video)?.picture()?;
        Some((&picture.frame, picture.number))
    }

    /// The layer of a video.
    pub fn layer_of(&self, video: VideoId) -> Option<LayerId> {
        self.videos.get(video).map(|video| video.layer())
    }

    /// Puts the newest picture of a video among its layer's pixels. What is drawn of it stays as it is.
    pub fn copy_film(&mut self, video: VideoId) {
        let Some(id) = self.layer_of(video) else {
            return;
        };
        if let Some(layer) = self.layers.get_mut(&id) {
            self.videos.copy(video, layer);
        }
    }

    /// The layer's pixels are what is shown of a video from now on.
    pub(super) fn end_film(&mut self, video: VideoId) {
        let Some(found) = self.videos.get(video).filter(|v| v.picture().is_some()) else {
            return;
        };
        let (layer, rect) = (found.layer(), found.rect());
        self.copy_film(video);
        self.videos.let_go(video);
        self.damaged(layer.0, rect);
    }

    /// Before somebody reads or writes a layer's pixels: what is in surfaces there comes among them,
    /// and no plane shows it any more.
    pub(super) fn copy_films_in(&mut self, layer: LayerId, within: Option<TileRect>) {
        if self.videos.surfaces_in(layer).next().is_none() {
            return;
        }
        let touches =
            |(_, rect): &(VideoId, TileRect)| within.is_none_or(|within| overlap(within, *rect));
        let touched: Vec<_> = self.videos.surfaces_in(layer).filter(touches).collect();
        for (video, _) in touched {
            self.end_film(video);
        }
    }

    /// As above, for all layers.
    pub(super) fn copy_all_films(&mut self) {
        let layers: Vec<LayerId> = self.layers.keys().copied().collect();
        for layer in layers {
            self.copy_films_in(layer, None);
        }
    }

    /// The newest picture of a video, in the format that a plane is to show.
    pub fn film_for(&self, planned: &Use) -> Option<Frame> {
        let video = self.videos.get(planned.video)?;
        match planned.format.code {
            NV12 => Some(video.picture()?.frame.clone()),
            _ => video.converted(),
        }
    }

    /// How long decoders took for the frame that was applied last.
    pub fn decoding_ns(&self) -> u64 {
        self.videos.decoding_ns()
    }

    /// Films that are to be seen on an output, where pictures are in surfaces.
    #[cfg(test)]
    pub fn wanted(&self, id: OutputId, top: Option<Rect>) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        self.want(id, top, &mut wanted);
        wanted
    }

    /// Puts the films that are to be seen on an output, where pictures are in surfaces, in place of what
    /// `wanted` holds. `top` is drawn over all layers.
    pub fn want(&self, id: OutputId, top: Option<Rect>, wanted: &mut Vec<Wanted>) {
        wanted.clear();
        let Some(output) = self.output(id) else {
            return;
        };
        let bounds = Rect::of_size(output.size.w, output.size.h);
        for (height, placement) in output.stack.iter().enumerate() {
            for (video, _) in self.videos.surfaces_in(placement.layer) {
                let (Some(known), Some((frame, _))) = (self.videos.get(video), self.film(video))
                else {
                    continue;
                };
                let part = known.rect();
                let part = Rect::of_area(part.x, part.y, part.w, part.h);
                let area = shown_at(placement, part).intersection(bounds);
                let Some(area) = area else { continue };
                let fit = fit(placement, known.rect());
                wanted.push(Wanted {
                    video,
                    format: format_of(frame),
                    converted: known.converts_into(),
                    fit,
                    area,
                    cover: self.cover(&output.stack[height + 1..], area, top),
                });
            }
        }
    }

    fn cover(&self, over: &[Placement], area: Rect, top: Option<Rect>) -> Cover {
        if over.iter().any(|placement| covers(self, placement, area)) {
            return Cover::Whole;
        }
        let overlaps = |rect: Rect| rect.intersection(area).is_some();
        let is_over = |placement: &Placement| {
            placement.opacity > 0 && overlaps(Rect::from_wire(placement.dst))
        };
        match top.is_some_and(overlaps) || over.iter().any(is_over) {
            true => Cover::Part,
            false => Cover::None,
        }
    }
}

fn overlap(a: TileRect, b: TileRect) -> bool {
    let along = |a: (u32, u32), b: (u32, u32)| {
        u64::from(a.0) < u64::from(b.0) + u64::from(b.1)
            && u64::from(b.0) < u64::from(a.0) + u64::from(a.1)
    };
    along((a.x, a.w), (b.x, b.w)) && along((a.y, a.h), (b.y, b.h))
}

/// How a surface lies in memory.
pub fn format_of(frame: &Frame) -> Format {
    let objects = &frame.memory().descriptor.objects;
    Format {
        code: frame.format().drm,
        modifier: objects[0].drm_format_modifier,
    }
}

/// What of a video goes where under a placement, where its edges are edges of pixels on the output.
fn fit(placement: &Placement, rect: TileRect) -> Option<Fit> {
    if placement.transform != Transform::Normal || placement.opacity != 255 {
        return None;
    }
    let unit = i64::from(UNITS_PER_PIXEL);
    let src = placement.src;
    let along = |start: u32, length: u32, crop: (u32, u32), dst: (i32, u32)| {
        let (from, crop_length) = (i64::from(crop.0), i64::from(crop.1));
        let left = (i64::from(start) * unit).max(from);
        let right = ((i64::from(start) + i64::from(length)) * unit).min(from + crop_length);
        let place = |edge: i64| {
            let scaled = (edge - from) * i64::from(dst.1);
            (crop_length > 0 && scaled % crop_length == 0)
                .then(|| i64::from(dst.0) + scaled / crop_length)
        };
        // From 1/256 to 1/65536 pixel.
        let source = u32::try_from((left - i64::from(start) * unit) << 8).ok()?;
        let size = u32::try_from((right - left) << 8)
            .ok()
            .filter(|size| *size > 0)?;
        Some(((source, size), (place(left)?, place(right)?)))
    };
    let dst = placement.dst;
    let ((x, w), (left, right)) = along(rect.x, rect.w, (src.x, src.w), (dst.x, dst.w))?;
    let ((y, h), (top, bottom)) = along(rect.y, rect.h, (src.y, src.h), (dst.y, dst.h))?;
    let dst = Rect::from_edges(left, top, right, bottom);
    (!dst.is_empty()).then_some(Fit {
        source: [x, y, w, h],
        dst,
    })
}

#[cfg(test)]
mod tests {
    use heliostat_wire::scene::{Crop, Rect as WireRect};

    use super::*;

    fn placement(src: (u32, u32, u32, u32), dst: (i32, i32, u32, u32)) -> Placement {
        let [x, y, w, h] = [src.0, src.1, src.2, src.3].map(|v| v * UNITS_PER_PIXEL);
        Placement {
            layer: LayerId(1),
            output: OutputId(0),
            dst: WireRect {
                x: dst.0,
                y: dst.1,
                w: dst.2,
                h: dst.3,
            },
            src: Crop { x, y, w, h },
            transform: Transform::Normal,
            opacity: 255,
        }
    }

    const FILM: TileRect = TileRect {
        x: 10,
        y: 20,
        w: 64,
        h: 48,
    };

    /// Whole pixels of the picture, and left, top, width and height on the output.
    type Found = ([u32; 4], (i32, i32, i32, i32));

    fn found(placement: &Placement) -> Option<Found> {
        let fit = fit(placement, FILM)?;
        let Rect { x, y, w, h } = fit.dst;
        Some((fit.source.map(|v| v >> 16), (x, y, w, h)))
    }

    #[test]
    fn film_goes_where_its_layer_is_cut_and_scaled_as_it_is() {
        let whole = placement((0, 0, 100, 100), (5, 7, 100, 100));
        assert_eq!(found(&whole), Some(([0, 0, 64, 48], (15, 27, 64, 48))));
        let cut = placement((20, 30, 40, 30), (0, 0, 40, 30));
        assert_eq!(found(&cut), Some(([10, 10, 40, 30], (0, 0, 40, 30))));
        let doubled = placement((0, 0, 100, 100), (0, 0, 200, 200));
        assert_eq!(found(&doubled), Some(([0, 0, 64, 48], (20, 40, 128, 96))));
        let between = placement((0, 0, 100, 100), (0, 0, 150, 151));
        assert_eq!(found(&between), None);
        let beside = placement((80, 80, 10, 10), (0, 0, 10, 10));
        assert_eq!(found(&beside), None);
        let mut see_through = whole;
        see_through.opacity = 254;
        assert_eq!(found(&see_through), None);
        let mut turned = whole;
        turned.transform = Transform::Rotate180;
        assert_eq!(found(&turned), None);
        let mut odd = whole;
        odd.src.x += 128;
        assert_eq!(found(&odd), None);
    }

    #[test]
    fn wild_places_do_no_harm() {
        for src in [0, 1, 255, u32::MAX] {
            for dst in [0, 1, u32::MAX] {
                let mut wild = placement((0, 0, 1, 1), (i32::MIN, i32::MAX, dst, dst));
                (wild.src.x, wild.src.w, wild.src.h) = (src, src, src);
                let _ = fit(&wild, FILM);
            }
        }
    }
}
