//! Surfaces: what each commit leaves of a client's buffer.

mod lending;
mod offset;

use std::collections::HashMap;
use std::time::Instant;

use heliostat_tiles::Rect as TileRect;
use heliostat_wire::id::LayerId;
use heliostat_wire::limits::{MAX_LAYER_SIDE, MAX_OPAQUE_RECTS};
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Crop, Rect as WireRect, Transform as WireTransform};
use smithay::reexports::wayland_protocols::wp::content_type::v1::server::wp_content_type_v1::Type as ContentType;
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::backend::{ClientId, ObjectId};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_shm::Format;
use smithay::reexports::wayland_server::protocol::wl_surface::{self, WlSurface};
use smithay::utils::{Buffer, Logical, Point, Rectangle, Size as LogicalSize, Transform};
use smithay::wayland::compositor::{
    BufferAssignment, Damage, RectangleKind, RegionAttributes, SurfaceAttributes, SurfaceData,
};
use smithay::wayland::content_type::ContentTypeSurfaceCachedState;
use smithay::wayland::single_pixel_buffer::get_single_pixel_buffer;
use smithay::wayland::viewporter::{ViewportCachedState, ensure_viewport_valid};
use tracing::warn;

use crate::content::{Content, Hint};
use crate::direct::Direct;
use crate::gpu::{Buffers, Release};
use crate::sys;
use crate::x11;

pub use lending::{Newest, read};
pub use offset::moved;

/// Pixels that one surface may have: 8192×8192.
const MAX_SURFACE_PIXELS: u64 = 1 << 26;
/// Pixels that all surfaces together may have, on a desk of any size.
const SURE_PIXELS: u64 = 1 << 27;
/// On a large desk, as many of it.
const DESKS: u64 = 32;
/// And on no desk more: two gigabytes.
const MAX_ALL_PIXELS: u64 = 1 << 29;
/// Rectangles of damage after which all of a surface is looked at.
const MAX_DAMAGE: usize = 256;
/// Rectangles of an input region that are looked at.
const MAX_REGION: usize = 1024;

/// How a surface's pixels are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Size on the desk, in logical pixels.
    pub size: LogicalSize<i32, Logical>,
    /// The part of the buffer that is shown.
    pub crop: Crop,
    /// How that part is turned.
    pub transform: WireTransform,
    /// Opaque parts, in buffer pixels.
    pub opaque: Vec<WireRect>,
    /// Where it takes input, in logical pixels; everywhere where absent.
    pub input: Option<Region>,
}

/// Rectangles that are added and taken away, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Region(Vec<(bool, Rectangle<i32, Logical>)>);

impl Region {
    /// Nothing for a surface that takes input everywhere, or whose region is beyond all measure.
    fn of(region: Option<&RegionAttributes>) -> Option<Self> {
        let region = region.filter(|region| region.rects.len() <= MAX_REGION)?;
        let rect = |(kind, rect): &(RectangleKind, _)| (matches!(kind, RectangleKind::Add), *rect);
        Some(Self(region.rects.iter().map(rect).collect()))
    }

    /// Whether a place is inside.
    pub fn contains(&self, at: Point<i32, Logical>) -> bool {
        let last = self.0.iter().rev().find(|(_, rect)| rect.contains(at));
        last.is_some_and(|(added, _)| *added)
    }
}

/// A surface with pixels.
#[derive(Debug)]
pub struct Surface {
    /// Whose it is; none for the session's own.
    pub client: Option<ClientId>,
    /// Its pixels.
    pub content: Content,
    /// How they are shown.
    pub view: View,
    /// How far its client has moved its corner from where it would be.
    pub offset: Point<i32, Logical>,
    /// Where it is on its parent, if it has one.
    position: Point<i32, Logical>,
    /// What is on it was put in another order since its last commit.
    is_restacked: bool,
    /// Whether its buffers are read, or go to the encoder.
    pub direct: Direct,
    /// Its newest buffer, where it is kept.
    pub newest: Option<Newest>,
    /// A buffer could not be read: pixels may be of pictures before it.
    is_stale: bool,
    /// By which scale its client's last damage was to be understood, and whether by nothing else.
    measure: (i32, bool),
}

impl Surface {
    /// A surface whose `content` is shown as it is.
    pub fn new(client: Option<ClientId>, content: Content) -> Self {
        Self {
            client,
            view: View::whole(content.size()),
            offset: Point::default(),
            position: Point::default(),
            is_restacked: false,
            measure: (1, true),
            content,
            direct: Direct::default(),
            newest: None,
            is_stale: false,
        }
    }
}

/// All surfaces with pixels.
#[derive(Debug, Default)]
pub struct Surfaces {
    /// Buffers of GPUs that clients have.
    pub buffers: Buffers,
    surfaces: HashMap<ObjectId, Surface>,
    layers: u32,
    pixels: u64,
    /// Pixels of the largest desk so far: windows are fitted to a smaller one a little later.
    desk: u64,
    hoarder: Option<ClientId>,
    /// Memory for what a commit has damaged.
    room: Vec<TileRect>,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Pixels may have changed.
    pub pixels: bool,
    /// Size, place or visibility may have changed.
    pub layout: bool,
    /// The client waits for the next frame.
    pub callbacks: bool,
}

/// Why a buffer is not shown. The client is told and loses its connection, no other does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error(
        "buffer of {0}×{1} pixels, at most {MAX_LAYER_SIDE} a side and {MAX_SURFACE_PIXELS} in all are shown"
    )]
    TooLarge(i32, i32),
    #[error("the surfaces of this session have too many pixels already")]
    TooMany,
    #[error("a buffer of this kind or format is not shown")]
    BadFormat,
    #[error("the buffer's memory is smaller than it says")]
    BadMemory,
}

impl Surfaces {
    /// A surface's pixels, if it has any.
    pub fn get(&self, surface: &WlSurface) -> Option<&Surface> {
        self.surfaces.get(&surface.id())
    }

    /// All of them.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Surface> {
        self.surfaces.values_mut()
    }

    /// There is a desk of so many pixels.
    pub fn note_desk(&mut self, pixels: u64) {
        self.desk = self.desk.max(pixels);
    }

    /// Who has to go so that others have room.
    pub fn take_hoarder(&mut self) -> Option<ClientId> {
        self.hoarder.take()
    }

    /// Who would have the most if `client`'s `surface` had this size; of equals the one who wants it.
    fn hoarder(
        &self,
        surface: &WlSurface,
        client: Option<&ClientId>,
        size: Size,
    ) -> Option<ClientId> {
        let mut pixels: HashMap<&ClientId, u64> = HashMap::new();
        pixels.extend(client.map(|client| (client, area(size))));
        let id = surface.id();
        let others = self.surfaces.iter().filter(|(other, _)| **other != id);
        for (_, other) in others {
            if let Some(client) = &other.client {
                *pixels.entry(client).or_default() += area(other.content.size());
            }
        }
        let most = pixels
            .into_iter()
            .max_by_key(|(owner, pixels)| (*pixels, Some(*owner) == client));
        most.map(|(owner, _)| owner.clone())
    }

    /// A name for a layer that no other layer has.
    pub fn next_layer(&mut self) -> LayerId {
        self.layers += 1;
        LayerId(self.layers)
    }

    /// A surface is gone.
    pub fn remove(&mut self, surface: &WlSurface) -> bool {
        let removed = self.surfaces.remove(&surface.id());
        if let Some(surface) = &removed {
            self.pixels -= area(surface.content.size());
        }
        removed.is_some()
    }

    /// Takes what a surface's client has committed.
    pub fn commit(&mut self, surface: &WlSurface, states: &SurfaceData) -> Changes {
        let mut cached = states.cached_state.get::<SurfaceAttributes>();
        let attributes = cached.current();
        let shrunk = surface
            .client()
            .map_or(1.0, |client| x11::scale_of(&client));
        let mut changes = Changes {
            callbacks: !attributes.frame_callbacks.is_empty(),
            ..Changes::default()
        };
        let damage = std::mem::take(&mut attributes.damage);
        let release = Release::of_commit(states);
        match attributes.buffer.take() {
            Some(BufferAssignment::Removed) => changes.layout = self.remove(surface),
            Some(BufferAssignment::NewBuffer(buffer)) => {
                let scale = attributes.buffer_scale;
                let plain = is_plain(states, attributes) && shrunk == 1.0;
                let known = self.surfaces.get_mut(&surface.id());
                let measure =
                    known.map(|known| std::mem::replace(&mut known.measure, (scale, plain)));
                let attached = Attached {
                    damage,
                    scale,
                    // Commits that were held back come as one, with the damage of all and the measure of
                    // the last.
                    plain: plain && measure.is_none_or(|measure| measure == (scale, plain)),
                };
                match self.take(surface, (&buffer, release), attached) {
                    Ok(reshaped) => {
                        changes.pixels = true;
                        changes.layout |= reshaped;
                    }
                    Err(refused) => refuse(surface, refused),
                }
            }
            None => {
                // What is drawn into a buffer that was committed before is in nobody's next damage.
                let known = self.surfaces.get_mut(&surface.id());
                if let Some(known) = known.filter(|_| !damage.is_empty()) {
                    known.content.has_changed_unseen();
                }
            }
        }
        if let Some(known) = self.surfaces.get_mut(&surface.id()) {
            let view = View::of(states, attributes, known.content.size()).shrunk(shrunk);
            changes.layout |= known.view != view;
            known.view = view;
            changes.layout |= known.take_place(states, attributes);
            known.content.set_hint(hint_of(states));
        }
        changes
    }

    /// Takes a buffer's pixels, or the buffer. It is given back when nobody needs it any more.
    fn take(
        &mut self,
        surface: &WlSurface,
        (buffer, release): (&WlBuffer, Option<Release>),
        attached: Attached,
    ) -> Result<bool, Refused> {
        if let Some(loan) = self.buffers.lend(buffer, release) {
            return self.take_loan(surface, loan, &attached, Instant::now());
        }
        let read = self.read(surface, buffer, attached);
        buffer.release();
        read
    }

    fn read(
        &mut self,
        surface: &WlSurface,
        buffer: &WlBuffer,
        attached: Attached,
    ) -> Result<bool, Refused> {
        if let Ok(colour) = get_single_pixel_buffer(buffer) {
            let [r, g, b, a] = colour.rgba8888();
            let pixel = u32::from_be_bytes([a, r, g, b]);
            let size = Size { w: 1, h: 1 };
            let (known, reshaped) = self.shaped(surface, size, true)?;
            known.content.end_loan();
            known.newest = None;
            known.is_stale = false;
            known.content.update(whole(size), |_, _, run| {
                run.fill(pixel);
                true
            });
            return Ok(reshaped);
        }
        let mut damage = std::mem::take(&mut self.room);
        let read = sys::with_shm(buffer, |memory| {
            let alpha = match memory.data.format {
                Format::Argb8888 => true,
                Format::Xrgb8888 => false,
                _ => return Err(Refused::BadFormat),
            };
            let (w, h) = (memory.data.width, memory.data.height);
            let size = size_of(w, h).ok_or(Refused::TooLarge(w, h))?;
            let (known, reshaped) = self.shaped(surface, size, alpha)?;
            let all = reshaped || known.is_behind() || known.is_stale;
            known.content.end_loan();
            known.newest = None;
            let mut whole_memory = true;
            attached.list(&mut damage, size, all);
            for rect in damage.drain(..) {
                known.content.update(rect, |x, y, run| {
                    whole_memory = whole_memory && memory.read(x, y, run);
                    whole_memory
                });
            }
            known.is_stale &= !whole_memory;
            match whole_memory {
                true => Ok(reshaped),
                false => Err(Refused::BadMemory),
            }
        });
        self.room = damage;
        // Where the map is bad, smithay has told the client already.
        read.unwrap_or(Err(Refused::BadFormat))
    }

    /// A surface whose content is made to have this size and kind, and whether it had another.
    fn shaped(
        &mut self,
        surface: &WlSurface,
        size: Size,
        alpha: bool,
    ) -> Result<(&mut Surface, bool), Refused> {
        let known = self
            .surfaces
            .get(&surface.id())
            .map(|known| known.content.size());
        let pixels = self.pixels - known.map_or(0, area) + area(size);
        let client = surface.client().map(|client| client.id());
        if pixels > most_pixels(self.desk) {
            // Who has the most makes room, be it this one or another.
            let most = self.hoarder(surface, client.as_ref(), size);
            if most == client {
                return Err(Refused::TooMany);
            }
            self.hoarder = most;
        }
        self.pixels = pixels;
        let layer = if known.is_none() {
            self.next_layer()
        } else {
            LayerId(0)
        };
        let entry = self
            .surfaces
            .entry(surface.id())
            .or_insert_with(|| Surface::new(client, Content::new(layer, size, alpha)));
        let reshaped = known != Some(size) || entry.content.alpha() != alpha;
        entry.content.reshape(size, alpha);
        Ok((entry, reshaped))
    }
}

/// What the client says that it shows.
fn hint_of(states: &SurfaceData) -> Hint {
    let mut cached = states.cached_state.get::<ContentTypeSurfaceCachedState>();
    match cached.current().content_type() {
        ContentType::Video => Hint::Film,
        ContentType::Photo => Hint::Still,
        _ => Hint::Nothing,
    }
}

fn refuse(surface: &WlSurface, refused: Refused) {
    warn!("a client's surface is refused: {refused}");
    surface.post_error(wl_surface::Error::InvalidSize, refused.to_string());
}

/// Pixels that all surfaces together may have where the desk has so many.
fn most_pixels(desk: u64) -> u64 {
    desk.saturating_mul(DESKS)
        .clamp(SURE_PIXELS, MAX_ALL_PIXELS)
}

fn area(size: Size) -> u64 {
    u64::from(size.w) * u64::from(size.h)
}

fn whole(size: Size) -> TileRect {
    TileRect {
        x: 0,
        y: 0,
        w: size.w,
        h: size.h,
    }
}

fn size_of(w: i32, h: i32) -> Option<Size> {
    let side = |side: i32| {
        u32::try_from(side)
            .ok()
            .filter(|s| (1..=MAX_LAYER_SIDE).contains(s))
    };
    let size = Size {
        w: side(w)?,
        h: side(h)?,
    };
    (area(size) <= MAX_SURFACE_PIXELS).then_some(size)
}

/// A buffer's damage as the client gave it.
struct Attached {
    damage: Vec<Damage>,
    scale: i32,
    /// Surface coordinates are buffer coordinates but for the scale.
    plain: bool,
}

impl Attached {
    /// Puts what is damaged into `rects`, in place of what is there.
    fn list(&self, rects: &mut Vec<TileRect>, size: Size, all: bool) {
        rects.clear();
        let plain = |damage: &Damage| self.plain || matches!(damage, Damage::Buffer(_));
        if all || self.damage.len() > MAX_DAMAGE || !self.damage.iter().all(plain) {
            rects.push(whole(size));
            return;
        }
        let damaged = self
            .damage
            .iter()
            .map(|damage| match damage {
                Damage::Buffer(rect) => (rect.loc.x, rect.loc.y, rect.size.w, rect.size.h, 1),
                Damage::Surface(rect) => {
                    (rect.loc.x, rect.loc.y, rect.size.w, rect.size.h, self.scale)
                }
            })
            .filter_map(|(x, y, w, h, scale)| {
                clipped([x, y, w, h].map(i64::from), i64::from(scale), size)
            });
        rects.extend(damaged);
        together(rects);
    }
}

/// One rectangle around all where it is hardly larger than they are: what has moved is found when
/// its old and its new place are looked at as one.
fn together(rects: &mut Vec<TileRect>) {
    let around = rects.iter().copied().reduce(TileRect::around);
    let all: usize = rects.iter().map(|rect| rect.area()).sum();
    if let Some(around) = around.filter(|around| around.area() * 4 <= all * 5) {
        rects.truncate(1);
        rects.fill(around);
    }
}

/// Damage inside a buffer of `size`; clients send any numbers.
fn clipped([x, y, w, h]: [i64; 4], scale: i64, size: Size) -> Option<TileRect> {
    let span = |start: i64, length: i64, side: u32| {
        let clamp = |edge: i64| edge.saturating_mul(scale).clamp(0, i64::from(side)) as u32;
        let (start, end) = (clamp(start), clamp(start.saturating_add(length)));
        (end > start).then(|| (start, end - start))
    };
    let ((x, w), (y, h)) = (span(x, w, size.w)?, span(y, h, size.h)?);
    Some(TileRect { x, y, w, h })
}

fn is_plain(states: &SurfaceData, attributes: &SurfaceAttributes) -> bool {
    let mut viewport = states.cached_state.get::<ViewportCachedState>();
    let viewport = viewport.current();
    Transform::from(attributes.buffer_transform) == Transform::Normal
        && viewport.src.is_none()
        && viewport.dst.is_none()
}

impl View {
    fn whole(size: Size) -> Self {
        Self {
            size: (size.w as i32, size.h as i32).into(),
            crop: Crop::whole(size),
            transform: WireTransform::Normal,
            opaque: Vec::new(),
            input: None,
        }
    }

    /// Of an X11 program, whose logical pixels are those of the screen.
    fn shrunk(mut self, scale: f64) -> Self {
        if scale != 1.0 {
            let side = |side: i32| ((f64::from(side) / scale).round() as i32).max(1);
            self.size = (side(self.size.w), side(self.size.h)).into();
            self.opaque.clear();
        }
        self
    }

    fn of(states: &SurfaceData, attributes: &SurfaceAttributes, size: Size) -> Self {
        let scale = attributes.buffer_scale.max(1);
        let transform = Transform::from(attributes.buffer_transform);
        let buffer = LogicalSize::<i32, Buffer>::from((size.w as i32, size.h as i32));
        let logical = buffer.to_logical(scale, transform);
        let valid = ensure_viewport_valid(states, logical);
        let viewport = *states.cached_state.get::<ViewportCachedState>().current();
        let src = viewport.src.filter(|_| valid);
        let crop = src.and_then(|src| {
            let rect = src.to_buffer(f64::from(scale), transform, &logical.to_f64());
            crop_of(rect, size)
        });
        let shown = viewport.size().filter(|_| valid).unwrap_or(logical);
        Self {
            size: (shown.w.max(1), shown.h.max(1)).into(),
            crop: crop.unwrap_or(Crop::whole(size)),
            transform: wire_transform(transform),
            opaque: opaque(attributes, scale, size, is_plain(states, attributes)),
            input: Region::of(attributes.input_region.as_ref()),
        }
    }
}

/// A source rectangle in 1/256 pixel, inside the buffer.
fn crop_of(rect: Rectangle<f64, Buffer>, size: Size) -> Option<Crop> {
    let span = |start: f64, length: f64, side: u32| {
        let units = |edge: f64| (edge * 256.0).round().clamp(0.0, f64::from(side) * 256.0) as u32;
        let (start, end) = (units(start), units(start + length));
        (end > start).then(|| (start, end - start))
    };
    let (x, w) = span(rect.loc.x, rect.size.w, size.w)?;
    let (y, h) = span(rect.loc.y, rect.size.h, size.h)?;
    Some(Crop { x, y, w, h })
}

/// How a buffer that its client has drawn with `transform` is turned upright.
fn wire_transform(transform: Transform) -> WireTransform {
    match transform {
        Transform::Normal => WireTransform::Normal,
        Transform::_90 => WireTransform::Rotate270,
        Transform::_180 => WireTransform::Rotate180,
        Transform::_270 => WireTransform::Rotate90,
        Transform::Flipped => WireTransform::Flipped,
        Transform::Flipped90 => WireTransform::Flipped90,
        Transform::Flipped180 => WireTransform::Flipped180,
        Transform::Flipped270 => WireTransform::Flipped270,
    }
}

/// The opaque region in buffer pixels, where it is simple enough to be worth telling.
fn opaque(attributes: &SurfaceAttributes, scale: i32, size: Size, plain: bool) -> Vec<WireRect> {
    let rects = attributes
        .opaque_region
        .as_ref()
        .map_or(&[][..], |region| &region.rects);
    let simple = plain && rects.len() <= MAX_OPAQUE_RECTS;
    if !simple
        || rects
            .iter()
            .any(|(kind, _)| matches!(kind, RectangleKind::Subtract))
    {
        return Vec::new();
    }
    rects
        .iter()
        .filter_map(|(_, rect)| {
            let rect = [rect.loc.x, rect.loc.y, rect.size.w, rect.size.h].map(i64::from);
            let TileRect { x, y, w, h } = clipped(rect, i64::from(scale), size)?;
            Some(WireRect {
                x: x as i32,
                y: y as i32,
                w,
                h,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_desks_have_room_for_their_windows_and_none_for_everything() {
        let hd = 1920 * 1080;
        assert_eq!(most_pixels(0), SURE_PIXELS);
        assert_eq!(most_pixels(hd), SURE_PIXELS);
        assert_eq!(most_pixels(2 * 4 * hd), 32 * 8 * hd);
        assert_eq!(most_pixels(u64::MAX), MAX_ALL_PIXELS);
    }

    #[test]
    fn damage_of_any_numbers_is_clipped_to_the_buffer() {
        let size = Size { w: 100, h: 50 };
        let all = i64::from(i32::MAX);
        assert_eq!(clipped([-5, -5, all, all], 1, size), Some(whole(size)));
        assert_eq!(
            clipped([10, 10, 5, 5], 2, size),
            Some(TileRect {
                x: 20,
                y: 20,
                w: 10,
                h: 10
            })
        );
        assert_eq!(clipped([100, 0, 5, 5], 1, size), None);
        assert_eq!(clipped([5, 5, -3, 3], 1, size), None);
    }

    #[test]
    fn sides_and_areas_have_limits() {
        assert!(size_of(16384, 4096).is_some());
        assert!(size_of(16384, 16384).is_none());
        assert!(size_of(16385, 1).is_none());
        assert!(size_of(0, 5).is_none());
        assert!(size_of(-1, 5).is_none());
    }
}
