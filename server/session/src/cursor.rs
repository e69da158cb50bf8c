//! Cursor images: named ones from the installed theme, those that clients draw, and a plain arrow.
//!
//! The terminal moves the cursor by itself; it is only told which image to show.

mod turns;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use heliostat_tiles::{Encoder, PixelsRef, Rect};
use heliostat_wire::bounded::List;
use heliostat_wire::id::CursorId;
use heliostat_wire::limits::{MAX_CURSOR_SIDE, MAX_CURSORS, MAX_MESSAGE};
use heliostat_wire::output::Size;
use heliostat_wire::session::{Cursor as WireCursor, ToTerminal};
use smithay::input::pointer::{CursorIcon, CursorImageStatus, CursorImageSurfaceData};
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};
use smithay::wayland::compositor::with_states;
use tracing::{info, warn};
use xcursor::CursorTheme;
use xcursor::parser::parse_xcursor;

use crate::app::App;
use crate::config::Config;
use turns::Turns;

/// Size of named cursors, in logical pixels.
const SIZE: u32 = 24;

/// An image with the place that points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    size: Size,
    hotspot: (i32, i32),
    pixels: Vec<u32>,
}

/// What is shown, and what the terminal knows.
#[derive(Debug)]
pub struct Cursors {
    status: CursorImageStatus,
    theme: Option<CursorTheme>,
    size: u32,
    /// What the terminal knows, least recently used first.
    known: VecDeque<(CursorId, Image)>,
    shown: Option<WireCursor>,
    turns: Turns,
    /// The session wants this shape, whatever the client under the pointer wants.
    own: Option<CursorIcon>,
    /// A client holds the pointer where it is.
    pub(crate) locked: bool,
    /// Where on its surface that client has drawn one.
    pub(crate) hint: Option<(WlSurface, Point<f64, Logical>)>,
}

impl Cursors {
    /// From the theme that was chosen, or the default one.
    pub fn new(config: &Config) -> Self {
        let name = config.cursor.theme.clone();
        let name = name.or_else(|| std::env::var("XCURSOR_THEME").ok());
        let candidates = [
            name.as_deref(),
            Some("default"),
            Some("Adwaita"),
            Some("DMZ-White"),
        ];
        let usable = |name: &str| {
            let theme = CursorTheme::load(name);
            theme
                .load_icon("left_ptr")
                .or_else(|| theme.load_icon("default"))
                .map(|_| theme)
        };
        let theme = candidates.into_iter().flatten().find_map(usable);
        if theme.is_none() {
            info!("no cursor theme is installed: a plain arrow is shown");
        }
        Self {
            status: CursorImageStatus::default_named(),
            theme,
            size: u32::from(config.cursor.size.unwrap_or(SIZE as u8)).max(8),
            known: VecDeque::new(),
            shown: None,
            turns: Turns::default(),
            own: None,
            locked: false,
            hint: None,
        }
    }

    /// Another terminal knows none of them.
    pub fn forget(&mut self) {
        self.known.clear();
        self.shown = None;
        self.turns = Turns::default();
    }

    fn named(&self, icon: CursorIcon, scale: f64) -> Image {
        let names = std::iter::once(icon.name()).chain(icon.alt_names().iter().copied());
        let names = names.chain(["left_ptr"]);
        let side = (f64::from(self.size) * scale).round() as u32;
        let theme = self.theme.as_ref();
        let loaded =
            theme.and_then(|theme| names.into_iter().find_map(|name| load(theme, name, side)));
        loaded.unwrap_or_else(|| arrow(scale))
    }

    /// The default cursor as X servers take it: bytes of blue, green, red and alpha, size, hotspot.
    pub fn for_x11(&self, scale: f64) -> (Vec<u8>, Size, (i32, i32)) {
        let image = self.named(CursorIcon::Default, scale);
        let bytes = image.pixels.iter().flat_map(|pixel| pixel.to_le_bytes());
        (bytes.collect(), image.size, image.hotspot)
    }

    /// The id of an image that the terminal knows.
    fn known_id(&mut self, image: &Image) -> Option<CursorId> {
        let at = self.known.iter().position(|(_, known)| known == image)?;
        let known = self.known.remove(at)?;
        let id = known.0;
        self.known.push_back(known);
        Some(id)
    }

    /// What is shown while the image that is wanted has to wait: the one before, or where the pointer
    /// was hidden or held, which it is no more, the one that was used last.
    fn meanwhile(&self) -> WireCursor {
        match (self.shown, self.known.back()) {
            (Some(WireCursor::Image(shown)), _) => WireCursor::Image(shown),
            (_, Some((last, _))) => WireCursor::Image(*last),
            (_, None) => WireCursor::Hidden,
        }
    }

    /// An id for an image that the terminal does not know.
    fn new_id(&mut self, image: Image) -> CursorId {
        let id = match self.known.len() < MAX_CURSORS {
            true => CursorId(self.known.len() as u8),
            false => self.known.pop_front().expect("there are some").0,
        };
        self.known.push_back((id, image));
        id
    }
}

/// An image as messages have it.
fn encode(image: &Image) -> Option<List<u8, MAX_MESSAGE>> {
    let Size { w, h } = image.size;
    let pixels = PixelsRef::new(&image.pixels, w as usize, w, h)?;
    let mut encoder = Encoder::new(3);
    for cell in heliostat_tiles::cells(Rect { x: 0, y: 0, w, h }) {
        encoder.push(0, cell, pixels.sub(cell)?, None);
    }
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    List::new(batch).ok()
}

fn load(theme: &CursorTheme, name: &str, side: u32) -> Option<Image> {
    let bytes = std::fs::read(theme.load_icon(name)?).ok()?;
    let images = parse_xcursor(&bytes)?;
    let best = images
        .iter()
        .min_by_key(|image| (image.size.abs_diff(side), image.delay))?;
    let size = Size {
        w: best.width,
        h: best.height,
    };
    let fits = |side: u32| (1..=MAX_CURSOR_SIDE).contains(&side);
    if !fits(size.w) || !fits(size.h) {
        return None;
    }
    let pixels = best.pixels_rgba.chunks_exact(4);
    let pixels = pixels
        .map(|p| u32::from_le_bytes([p[2], p[1], p[0], p[3]]))
        .collect::<Vec<_>>();
    (pixels.len() == (size.w * size.h) as usize).then_some(Image {
        size,
        hotspot: (
            best.xhot.min(size.w - 1) as i32,
            best.yhot.min(size.h - 1) as i32,
        ),
        pixels,
    })
}

/// A plain arrow: white within a black outline, twelve by nineteen at scale one.
fn arrow(scale: f64) -> Image {
    let size = Size {
        w: (13.0 * scale).ceil() as u32,
        h: (20.0 * scale).ceil() as u32,
    };
    // The outline of the shape, clockwise from the tip.
    let corners = [
        (0.0, 0.0),
        (12.0, 12.0),
        (7.0, 12.5),
        (9.5, 18.0),
        (7.0, 19.0),
        (4.6, 13.6),
        (0.0, 17.5),
    ];
    let inside = |x: f64, y: f64, margin: f64| {
        let edges = corners.iter().zip(corners.iter().cycle().skip(1));
        let mut odd = false;
        let mut nearest = f64::MAX;
        for (&(ax, ay), &(bx, by)) in edges {
            if (ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax {
                odd = !odd;
            }
            let (dx, dy) = (bx - ax, by - ay);
            let t = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            nearest = nearest.min((x - ax - t * dx).hypot(y - ay - t * dy));
        }
        odd && nearest >= margin
    };
    let pixel = |n: u32| {
        let x = (f64::from(n % size.w) + 0.5) / scale;
        let y = (f64::from(n / size.w) + 0.5) / scale;
        match (inside(x, y, 1.0), inside(x, y, 0.0)) {
            (true, _) => 0xffff_ffff,
            (_, true) => 0xff00_0000,
            _ => 0,
        }
    };
    let pixels = (0..size.w * size.h).map(pixel).collect();
    Image {
        size,
        hotspot: (0, 0),
        pixels,
    }
}

impl App {
    /// A client has chosen a cursor.
    pub(crate) fn set_cursor(&mut self, status: CursorImageStatus) {
        self.cursors.status = status;
        self.show_cursor();
    }

    /// The session itself wants a shape, as over a border; or no longer.
    pub(crate) fn set_own_cursor(&mut self, icon: Option<CursorIcon>) {
        if self.cursors.own != icon {
            self.cursors.own = icon;
            self.show_cursor();
        }
    }

    /// The surface that a client draws as the cursor.
    pub(crate) fn cursor_surface(&self) -> Option<WlSurface> {
        match &self.cursors.status {
            CursorImageStatus::Surface(surface) if surface.is_alive() => Some(surface.clone()),
            _ => None,
        }
    }

    /// What is shown at the pointer may be something else now. It is told when everything else is
    /// in order: smithay holds the pointer's lock while it reports a client's choice.
    pub(crate) fn show_cursor(&mut self) {
        self.dirty.cursor = true;
    }

    /// When the terminal is to be told what to show.
    pub(crate) fn cursor_deadline(&self, now: Instant) -> Option<Instant> {
        let has_news = self.terminal.is_some() && self.dirty.cursor;
        has_news.then(|| self.cursors.turns.next(now))
    }

    /// Tells the terminal what to show, if that is something else and it is its turn.
    pub(crate) fn tell_cursor_if_due(&mut self, now: Instant) {
        if self.cursor_deadline(now).is_none_or(|at| at > now) {
            return;
        }
        self.dirty.cursor = false;
        self.cursors.turns.looked(now, self.desk.interval());
        let image = match self.cursors.locked {
            true => None,
            false => self.cursor_image(),
        };
        let cursor = match image {
            None if self.cursors.locked => WireCursor::Locked,
            None => WireCursor::Hidden,
            Some(image) => match self.cursors.known_id(&image) {
                Some(id) => WireCursor::Image(id),
                None => match self.define_cursor(image, now) {
                    Some(id) => WireCursor::Image(id),
                    None => {
                        self.show_cursor();
                        self.cursors.meanwhile()
                    }
                },
            },
        };
        if self.cursors.shown != Some(cursor) {
            self.cursors.shown = Some(cursor);
            self.say(ToTerminal::SetCursor(cursor));
        }
    }

    /// Tells the terminal of an image that it does not know; nothing where that has to wait.
    fn define_cursor(&mut self, image: Image, now: Instant) -> Option<CursorId> {
        let terminal = self.terminal.as_ref()?;
        let (said, rate) = (
            terminal.has_said_all(),
            terminal.carries(Duration::from_secs(1)),
        );
        // Those of the theme are few and small, and no client decides how often they change.
        let is_drawn = self.cursors.own.is_none() && self.cursor_surface().is_some();
        let may = match is_drawn {
            true => self.cursors.turns.may_define(now, said),
            false => said,
        };
        if !may {
            return None;
        }
        let batch = encode(&image)?;
        if is_drawn {
            self.cursors.turns.defined(now, batch.len(), rate);
        }
        let (size, hotspot) = (image.size, image.hotspot);
        let id = self.cursors.new_id(image);
        self.say(ToTerminal::DefineCursor {
            id,
            size,
            hotspot,
            image: batch,
        });
        // It may have the id of the one that is shown.
        self.cursors.shown = None;
        Some(id)
    }

    fn cursor_image(&self) -> Option<Image> {
        let scale = self
            .desk
            .screen_at(self.pointer.current_location())
            .map_or(1.0, |s| s.scale);
        match (&self.cursors.own, &self.cursors.status) {
            (Some(icon), _) => Some(self.cursors.named(*icon, scale)),
            (None, CursorImageStatus::Hidden) => None,
            (None, CursorImageStatus::Named(icon)) => Some(self.cursors.named(*icon, scale)),
            (None, CursorImageStatus::Surface(surface)) => self.drawn_cursor(surface, scale),
        }
    }

    /// A client's cursor, in the output's pixels.
    fn drawn_cursor(&self, surface: &WlSurface, scale: f64) -> Option<Image> {
        let known = self.surfaces.get(surface)?;
        let (content, view) = (&known.content, &known.view);
        let hotspot = with_states(surface, |states| {
            let data = states.data_map.get::<CursorImageSurfaceData>()?;
            Some(data.lock().ok()?.hotspot)
        });
        let hotspot = hotspot.unwrap_or_default();
        let device = |logical: i32| (f64::from(logical) * scale).round() as i64;
        let most = self
            .terminal
            .as_ref()
            .map_or(0, |terminal| terminal.max_cursor_side);
        let most = i64::from(most.min(MAX_CURSOR_SIDE));
        let (w, h) = (device(view.size.w), device(view.size.h));
        if w > most || h > most {
            warn!(
                "a client's cursor of {w}×{h} pixels is larger than {most} a side: an arrow is shown"
            );
            return Some(arrow(scale));
        }
        let size = Size {
            w: w.max(1) as u32,
            h: h.max(1) as u32,
        };
        let from = content.size();
        let nearest = |n: u32| {
            let x = u64::from(n % size.w) * u64::from(from.w) / u64::from(size.w);
            let y = u64::from(n / size.w) * u64::from(from.h) / u64::from(size.h);
            content.pixels()[(y * u64::from(from.w) + x) as usize]
        };
        let inside = |at: i64, side: u32| at.clamp(0, i64::from(side) - 1) as i32;
        Some(Image {
            size,
            hotspot: (
                inside(device(hotspot.x), size.w),
                inside(device(hotspot.y), size.h),
            ),
            pixels: (0..size.w * size.h).map(nearest).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(shade: u32) -> Image {
        Image {
            size: Size { w: 2, h: 2 },
            hotspot: (0, 0),
            pixels: vec![shade; 4],
        }
    }

    fn cursors() -> Cursors {
        Cursors {
            status: CursorImageStatus::default_named(),
            theme: None,
            size: SIZE,
            known: VecDeque::new(),
            shown: None,
            turns: Turns::default(),
            own: None,
            locked: false,
            hint: None,
        }
    }

    #[test]
    fn image_is_defined_once_and_the_least_recent_one_makes_room() {
        let mut cursors = cursors();
        for n in 0..MAX_CURSORS as u32 {
            assert_eq!(cursors.known_id(&plain(n)), None);
            assert_eq!(u32::from(cursors.new_id(plain(n)).0), n);
        }
        assert_eq!(cursors.known_id(&plain(0)), Some(CursorId(0)));
        let id = cursors.new_id(plain(1000));
        assert_eq!(id, CursorId(1), "the first one was used since");
        assert_eq!(cursors.known_id(&plain(1)), None);
    }

    #[test]
    fn arrow_points_with_its_corner_at_every_scale() {
        for scale in [1.0, 1.5, 3.0] {
            let arrow = arrow(scale);
            assert_eq!(arrow.hotspot, (0, 0));
            assert!(arrow.pixels.contains(&0xffff_ffff));
            assert_eq!(arrow.pixels[arrow.size.w as usize - 1], 0);
            assert!(encode(&arrow).is_some());
        }
    }
}
