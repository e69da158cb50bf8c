//! The drawing core: from the number of a frame to its pixels and what changed. It knows no window
//! system and no clock, so that the harness can draw what a viewer should show.

use crate::canvas::{Canvas, Rect};
use crate::marker;
use crate::photo;
use crate::text::{CELL_H, CELL_W, PAPER, Text, mix};
use crate::workload::{BAR_H, Over, Workload};

const SCROLL_LINES: u64 = 3;
const PHOTO: (u32, u32) = (800, 600);
/// The document of the second page, and of menus.
const OTHER_DOCUMENT: u64 = 7;
/// Typing begins here, in an empty part of the page.
const TYPING_TOP: u32 = BAR_H + 24 * CELL_H;
const TYPING_COLUMNS: u32 = 200;

/// A workload being drawn.
pub struct Play {
    workload: Workload,
    text: Text,
    /// The full-screen surface.
    pub base: Canvas,
    base_n: u32,
    /// What lies over it.
    pub over: Option<Canvas>,
    over_n: u32,
    dragged: Option<Dragged>,
    /// The frame whose picture has been brought.
    brought: Option<u32>,
}

/// Paints the picture that a workload's clock has painted anew for frame `n`.
pub fn paint(workload: Workload, n: u32, picture: &mut Canvas) {
    if let Over::Film(_) = workload.over() {
        photo::paint_film(picture, n);
        marker::draw(picture, (0, 0), n);
    } else {
        photo::paint(picture, n.into());
    }
}

/// A photo inside the surface, and what is under it.
struct Dragged {
    under: Canvas,
    photo: Canvas,
}

impl Play {
    /// Draws frame 0.
    ///
    /// # Errors
    /// The font is not installed.
    pub fn new(workload: Workload) -> anyhow::Result<Self> {
        let text = Text::load()?;
        let (w, h) = workload.screen();
        let mut base = Canvas::new(w, h, 0xd8_dc_e2);
        let mut dragged = None;
        match workload {
            Workload::Photo => photo::paint(&mut base, 0),
            typing if typing.is_typing() => {
                base.fill(Rect::new(0, BAR_H, base.w, base.h - BAR_H), PAPER);
                for line in 0..22 {
                    text.line(&mut base, BAR_H + line * CELL_H, 0, line.into());
                }
            }
            _ => text.page(&mut base, BAR_H, 0, 0),
        }
        if workload == Workload::Drag {
            let mut photo = Canvas::new(PHOTO.0, PHOTO.1, 0);
            photo::paint(&mut photo, 1);
            let under = base.clone();
            base.copy(&photo, photo.bounds(), drag_place(0));
            dragged = Some(Dragged { under, photo });
        }
        marker::draw(&mut base, (0, 0), 0);
        let over = draw_over(workload, &text);
        Ok(Self {
            workload,
            text,
            base,
            base_n: 0,
            over,
            over_n: 0,
            dragged,
            brought: None,
        })
    }

    /// The workload.
    pub fn workload(&self) -> Workload {
        self.workload
    }

    /// The frames that the full-screen surface and what lies over it show.
    pub fn frames(&self) -> (u32, u32) {
        (self.base_n, self.over_n)
    }

    /// Draws a later frame of the full-screen surface and returns what it changed.
    pub fn go_base(&mut self, n: u32) -> Vec<Rect> {
        let before = std::mem::replace(&mut self.base_n, n);
        let mut damage = match self.workload {
            typing if typing.is_typing() => (before..n).map(|key| self.type_key(key)).collect(),
            Workload::Scroll => self.scroll(before, n),
            Workload::Drag => self.drag(before, n),
            Workload::Photo => {
                self.paint_unless_brought(n);
                vec![self.base.bounds()]
            }
            _ => Vec::new(),
        };
        damage.push(marker::draw(&mut self.base, (0, 0), n));
        damage
    }

    /// Draws a later frame of what lies over and returns what it changed.
    pub fn go_over(&mut self, n: u32) -> Vec<Rect> {
        self.over_n = n;
        match (&self.over, self.workload.over()) {
            (Some(over), Over::Film(_) | Over::Photos(_)) => {
                let damage = vec![over.bounds()];
                self.paint_unless_brought(n);
                damage
            }
            _ => Vec::new(),
        }
    }

    /// The picture that the clock has painted anew in each frame, where there is one.
    pub fn painted(&mut self) -> Option<&mut Canvas> {
        match (self.workload, self.workload.over()) {
            (Workload::Photo, _) => Some(&mut self.base),
            (_, Over::Film(_) | Over::Photos(_)) => self.over.as_mut(),
            _ => None,
        }
    }

    /// Takes the picture of frame `n` as [`paint`] has painted it, and returns the one before.
    pub fn bring(&mut self, n: u32, picture: Canvas) -> Canvas {
        self.brought = Some(n);
        match self.painted() {
            Some(before) => std::mem::replace(before, picture),
            None => picture,
        }
    }

    fn paint_unless_brought(&mut self, n: u32) {
        let workload = self.workload;
        if self.brought.take() != Some(n)
            && let Some(picture) = self.painted()
        {
            paint(workload, n, picture);
        }
    }

    /// Whether what lies over is there.
    pub fn over_is_shown(&self) -> bool {
        match self.workload.over() {
            Over::Nothing => false,
            Over::Menu(_) => self.over_n % 2 == 1,
            Over::Film(_) | Over::Photos(_) | Over::Window(..) | Over::Page => true,
        }
    }

    /// The whole screen, with a second window at `window`, where it is there.
    pub fn picture(&self, window: Option<(i32, i32)>) -> Canvas {
        let mut screen = self.base.clone();
        let place = match self.workload.over() {
            Over::Film(rect) | Over::Photos(rect) => Some((rect.x as i32, rect.y as i32)),
            Over::Menu(rect) if self.over_is_shown() => Some((rect.x as i32, rect.y as i32)),
            Over::Window(..) | Over::Page => window,
            _ => None,
        };
        if let (Some(over), Some(place)) = (&self.over, place) {
            screen.copy_clipped(over, place);
        }
        screen
    }

    fn type_key(&mut self, key: u32) -> Rect {
        let x = (1 + key % TYPING_COLUMNS) * CELL_W;
        let line = key / TYPING_COLUMNS % 30;
        // Photos leave room for the text above them only.
        let top = match self.workload.over() {
            Over::Photos(_) => BAR_H + CELL_H,
            _ => TYPING_TOP,
        };
        let y = top + line * CELL_H;
        let character = b'!' + (mix(key.into()) % 94) as u8;
        self.text
            .character(&mut self.base, (x, y), character, 0x24_29_2e);
        Rect::new(x, y, CELL_W, CELL_H)
    }

    fn scroll(&mut self, before: u32, n: u32) -> Vec<Rect> {
        let page = Rect::new(0, BAR_H, self.base.w, self.base.h - BAR_H);
        let lines = page.h / CELL_H;
        let up = (n - before) * SCROLL_LINES as u32;
        if up < lines {
            let width = self.base.w as usize;
            let from = (page.y + up * CELL_H) as usize * width;
            let to = page.y as usize * width;
            let end = (page.y + lines * CELL_H) as usize * width;
            self.base.pixels.copy_within(from..end, to);
        }
        for line in lines.saturating_sub(up)..lines {
            let number = u64::from(n) * SCROLL_LINES + u64::from(line);
            self.text
                .line(&mut self.base, page.y + line * CELL_H, 0, number);
        }
        vec![page]
    }

    fn drag(&mut self, before: u32, n: u32) -> Vec<Rect> {
        let Some(Dragged { under, photo }) = &self.dragged else {
            return Vec::new();
        };
        let at = |(x, y)| Rect::new(x, y, PHOTO.0, PHOTO.1);
        let (old, new) = (at(drag_place(before)), at(drag_place(n)));
        self.base.copy(under, old, (old.x, old.y));
        self.base.copy(photo, photo.bounds(), (new.x, new.y));
        vec![old.around(new)]
    }
}

/// Where the photo is in frame `n`: it goes to and fro, some pixels a frame in both directions.
fn drag_place(n: u32) -> (u32, u32) {
    let (w, h) = Workload::Drag.screen();
    let swing = |n: u32, range: u32| {
        let at = n % (2 * range);
        if at < range { at } else { 2 * range - at }
    };
    (
        swing(200 + n * 9, w - PHOTO.0),
        BAR_H + swing(100 + n * 5, h - PHOTO.1 - BAR_H),
    )
}

fn draw_over(workload: Workload, text: &Text) -> Option<Canvas> {
    let mut canvas = match workload.over() {
        Over::Nothing => return None,
        Over::Film(rect) => {
            let mut canvas = Canvas::new(rect.w, rect.h, 0);
            photo::paint_film(&mut canvas, 0);
            canvas
        }
        // Nothing at first: a slow link would need most of a minute for a photo to begin with.
        Over::Photos(rect) => return Some(Canvas::new(rect.w, rect.h, PAPER)),
        Over::Menu(rect) => {
            let mut canvas = Canvas::new(rect.w, rect.h, PAPER);
            text.page(&mut canvas, 0, OTHER_DOCUMENT, 0);
            return Some(canvas);
        }
        Over::Window(w, h) => {
            let mut canvas = Canvas::new(w, h, 0);
            photo::paint(&mut canvas, 1);
            canvas
        }
        Over::Page => {
            let (w, h) = workload.screen();
            let mut canvas = Canvas::new(w, h, 0xe2_dc_d8);
            text.page(&mut canvas, BAR_H, OTHER_DOCUMENT, 0);
            marker::draw(&mut canvas, (0, 0), 1);
            return Some(canvas);
        }
    };
    marker::draw(&mut canvas, (0, 0), 0);
    Some(canvas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_the_same_whichever_frames_were_skipped_before_it() {
        for workload in [
            Workload::Typing,
            Workload::TypingPhotos,
            Workload::Scroll,
            Workload::Drag,
        ] {
            let mut all = Play::new(workload).unwrap();
            for n in 1..=45 {
                all.go_base(n);
            }
            let mut some = Play::new(workload).unwrap();
            for n in [2, 30, 45] {
                some.go_base(n);
            }
            assert!(all.base == some.base, "{workload:?}");
        }
    }

    #[test]
    fn nothing_changes_outside_the_damage() {
        for workload in [
            Workload::Typing,
            Workload::Scroll,
            Workload::Drag,
            Workload::Menu,
        ] {
            let mut play = Play::new(workload).unwrap();
            for n in [1, 2, 5, 40] {
                let mut patched = play.base.clone();
                for rect in play.go_base(n) {
                    patched.copy(&play.base, rect, (rect.x, rect.y));
                }
                assert!(patched == play.base, "{workload:?} {n}");
            }
        }
    }
}
