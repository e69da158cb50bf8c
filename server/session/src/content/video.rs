//! A film inside a layer: its rectangle goes as pictures of a video, the rest of it as ever.
//!
//! ```text
//!            Watch finds a film            changed ─► picture taken ─► changed …
//!   no film ───────────────────► playing ─────────────────────────────────────────┐
//!      ▲                                                                          │
//!      └──── still for a quarter of a second, hidden, reshaped, forgotten, over ◄─┘
//!            (its cells become dirty with an unknown base, so that they settle to the exact pixels)
//! ```
//!
//! On a link that would carry a photograph for a while, it is a film of one picture first: what
//! shows a likeness already waits behind what shows nothing of the kind.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use heliostat_tiles::{Rect, TILE};
use heliostat_video::Picture;
use heliostat_wire::id::VideoId;

use super::beside::outside;
use super::news::News;
use super::watch::{self, Verdict, Watch};
use super::{Base, Content, whole_view};

/// A film that has not changed for this long has stopped.
pub const STILL: Duration = Duration::from_millis(250);
/// One that came back after it had stopped has few pictures a second, and may wait longer for the
/// next one; not so long that a desktop at rest would be inexact for half a second.
const STILL_AGAIN: Duration = Duration::from_millis(450);
/// A film that begins so soon after another one has stopped is the same.
const BACK_SOON: Duration = Duration::from_secs(5);

/// About what a pixel of a photograph takes.
const BYTES_A_PIXEL: u64 = 2;
/// And a cell of one.
const CELL_BYTES: u64 = BYTES_A_PIXEL * (TILE * TILE) as u64;
/// How much of the rectangle around it a photograph has to fill, in percent.
const FILLED: usize = 60;

/// A film that could not be a video is not looked for again for this long.
const REFUSED: Duration = Duration::from_secs(5);
/// Photographs are looked for this often.
const LOOK: Duration = Duration::from_millis(250);

/// What a client says of its surface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hint {
    /// Nothing, or that it is a game: see for yourself.
    #[default]
    Nothing,
    /// It shows a film.
    Film,
    /// It shows a photograph: every pixel counts.
    Still,
}

/// What a layer knows of films in it.
#[derive(Debug, Default)]
pub(super) struct Films {
    pub(super) watch: Watch,
    pub(super) hint: Hint,
    playing: Option<Playing>,
    /// What of it has changed since its last picture was taken.
    news: News,
    /// What is a film, and has no video yet.
    found: Option<Rect>,
    /// Dirty cells of which the terminal shows a likeness.
    likenesses: BTreeSet<u32>,
    /// Cells that the film shares with the rest of the layer, and whose rest has changed.
    pub(super) beside: BTreeSet<u32>,
    refused: Refusal,
    /// When a film stood still for so long that it was over.
    stopped: Option<Instant>,
    /// The film has come back after that.
    is_back: bool,
    /// Pictures of it; a photograph has one.
    pictures: u32,
    /// When photographs were looked for last.
    looked: Option<Instant>,
}

/// For how long no film is looked for.
#[derive(Debug, Default, Clone, Copy)]
enum Refusal {
    #[default]
    None,
    Until(Instant),
    Ever,
}

/// A film that goes as a video.
#[derive(Debug, Clone, Copy)]
pub struct Playing {
    /// Its id.
    pub video: VideoId,
    /// Where in the layer's pixels.
    pub rect: Rect,
    /// It has changed since its last picture was taken.
    pub changed: bool,
    /// When its last picture was taken.
    pub at: Instant,
    /// A picture of it has been sent.
    pub shown: bool,
    /// The encoder reads it from the client's buffers: the layer's pixels are not the newest ones
    /// there.
    pub lent: bool,
}

impl Films {
    /// Where the film is that goes as a video.
    pub(super) fn playing_rect(&self) -> Option<Rect> {
        self.playing.map(|playing| playing.rect)
    }

    /// Some of the film has changed, in this cell.
    pub(super) fn note_changed(&mut self, cell: u32) {
        if let Some(playing) = &mut self.playing {
            playing.changed = true;
            self.news = News::Anything;
        }
        self.watch.note_film(cell);
    }

    /// The layer is another one, of so many cells, or the terminal holds nothing of it.
    pub(super) fn forget(&mut self, columns: u32, cells: usize) {
        self.playing = None;
        self.found = None;
        self.likenesses.clear();
        self.beside.clear();
        self.watch.reset(columns, cells);
    }
}

impl Content {
    /// What the client says of this surface.
    pub fn set_hint(&mut self, hint: Hint) {
        self.films.hint = hint;
    }

    /// What the client says of this surface.
    pub fn hint(&self) -> Hint {
        self.films.hint
    }

    /// The film that goes as a video.
    pub fn playing(&self) -> Option<&Playing> {
        self.films.playing.as_ref()
    }

    /// Cells that the terminal does not hold exactly, since they are parts of a film.
    pub fn film_cells(&self) -> usize {
        let playing = self.films.playing.as_ref();
        playing.map_or(0, |playing| heliostat_tiles::cells(playing.rect).count())
    }

    /// The part that is a film and could be a video. Copies that wait are of the pictures before it.
    pub fn found_film(&self) -> Option<Rect> {
        self.films.found.filter(|_| self.waiting.is_empty())
    }

    /// The film that was found cannot be a video now.
    pub fn pass_over_film(&mut self, now: Instant) {
        self.films.found = None;
        if !matches!(self.films.refused, Refusal::Ever) {
            self.films.refused = Refusal::Until(now + REFUSED);
        }
    }

    /// Nothing of this layer is ever a video.
    pub fn refuse_films(&mut self) {
        self.end_video();
        self.films.refused = Refusal::Ever;
    }

    fn refuses_films(&self, now: Instant) -> bool {
        match self.films.refused {
            Refusal::None => false,
            Refusal::Until(then) => now < then,
            Refusal::Ever => true,
        }
    }

    /// A picture of the film was sent.
    pub fn film_shown(&mut self) {
        if let Some(playing) = &mut self.films.playing {
            playing.shown = true;
        }
    }

    /// The film's picture is to be sent once more.
    pub fn film_anew(&mut self) {
        if let Some(playing) = &mut self.films.playing {
            playing.changed = true;
            self.films.news = News::Anything;
        }
    }

    /// The film's next picture may differ from the last one anywhere.
    pub fn has_changed_unseen(&mut self) {
        self.films.news = News::Anything;
    }

    /// Whether the film's newest pixels are in no frame yet, where the encoder `is_free` or not.
    pub fn film_waits(&self, is_free: impl Fn(VideoId) -> bool) -> bool {
        let playing = self.films.playing.as_ref();
        playing.is_some_and(|playing| playing.changed || !is_free(playing.video))
    }

    /// Whether all pixels of `rect` are opaque, as a video's are.
    pub fn is_opaque(&self, rect: Rect) -> bool {
        let view = self.view().sub(rect);
        let opaque = |row: &[u32]| row.iter().all(|pixel| pixel >> 24 == 0xff);
        !self.alpha || view.is_some_and(|view| view.rows().all(opaque))
    }

    /// The part that is a film goes as `video` from now on, unless copies wait.
    pub fn start_video(&mut self, video: VideoId, rect: Rect, now: Instant) {
        self.end_video();
        if !self.waiting.is_empty() {
            return;
        }
        for part in heliostat_tiles::cells(rect) {
            let cell = self.cell_at(part);
            let base = std::mem::replace(&mut self.cells[cell as usize], Base::Film);
            self.dirty -= usize::from(base.is_dirty());
            if base.is_dirty() && self.cell_rect(cell) != part {
                self.films.beside.insert(cell);
            }
            self.films.likenesses.remove(&cell);
        }
        let since = |stopped| now.saturating_duration_since(stopped);
        self.films.is_back = self.films.stopped.is_some_and(|at| since(at) < BACK_SOON);
        self.films.pictures = 0;
        self.films.watch.begin_film();
        self.films.news = News::Anything;
        self.films.playing = Some(Playing {
            video,
            rect,
            changed: true,
            at: now,
            shown: false,
            lent: false,
        });
    }

    /// This part of the layer goes as `video` from now on, from buffers in which it is not read here,
    /// unless copies wait. Returns whether it does. One that is lent already is in it.
    pub fn lend(&mut self, video: VideoId, rect: Rect, now: Instant) -> bool {
        self.start_video(video, rect, now);
        let playing = self.films.playing.as_mut();
        playing.map(|playing| playing.lent = true).is_some()
    }

    /// Whether some of it could be a video now.
    pub fn may_be_lent(&self, now: Instant) -> bool {
        self.waiting.is_empty() && !self.refuses_films(now)
    }

    /// Whether the newest pixels of a film are in a buffer that the encoder is given.
    pub fn is_lent(&self) -> bool {
        self.lent().is_some()
    }

    /// The part that such a film covers.
    pub fn lent(&self) -> Option<Rect> {
        let playing = self.films.playing.filter(|playing| playing.lent)?;
        Some(playing.rect)
    }

    /// The pixels come from elsewhere: a film whose buffers the encoder was given is over.
    pub fn end_loan(&mut self) {
        if self.is_lent() {
            self.end_video();
        }
    }

    /// These parts of a buffer have changed in which the film is not read here. Returns those beside
    /// it, which are to be read.
    pub fn note_damage(&mut self, damage: &[Rect]) -> Vec<Rect> {
        let columns = self.columns();
        let mut rest = Vec::new();
        self.note_drawn(damage);
        let Some(playing) = &mut self.films.playing else {
            return damage.to_vec();
        };
        for rect in damage {
            rest.extend(outside(*rect, playing.rect));
            let Some(inside) = rect.intersection(playing.rect) else {
                continue;
            };
            playing.changed = true;
            self.films.news.damage(inside);
            for part in heliostat_tiles::cells(inside) {
                let cell = part.y / TILE * columns + part.x / TILE;
                self.films.watch.note_film(cell);
            }
        }
        rest
    }

    /// The film's newest picture is being taken by the encoder, where it has changed: the film, and what of
    /// it has.
    pub fn give_picture(&mut self, now: Instant) -> Option<(Playing, News)> {
        let playing = self.films.playing.as_mut();
        let playing = playing.filter(|playing| playing.changed)?;
        playing.changed = false;
        playing.at = now;
        self.films.pictures = self.films.pictures.saturating_add(1);
        self.films.watch.note_picture();
        Some((*playing, self.films.news.take()))
    }

    /// No part is a video any more. What it covered is sent exactly.
    pub fn end_video(&mut self) {
        self.films.found = None;
        let Some(playing) = self.films.playing.take() else {
            return;
        };
        self.films.beside.clear();
        for part in heliostat_tiles::cells(playing.rect) {
            let cell = self.cell_at(part);
            self.cells[cell as usize] = Base::Unknown;
            self.dirty += 1;
            if playing.shown && !playing.changed {
                self.films.likenesses.insert(cell);
            }
        }
    }

    /// Looks for a photograph among what is dirty that would take longer than `bytes` allow; it
    /// becomes a film of one picture.
    pub fn look_for_photographs(&mut self, bytes: u64, now: Instant) {
        let looked = self.films.looked;
        let is_soon = looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK);
        let is_taken = self.films.playing.is_some() || self.films.found.is_some();
        let is_wanted = self.films.hint != Hint::Still && !self.refuses_films(now);
        if is_soon || is_taken || !is_wanted {
            return;
        }
        let cells = (0..).zip(&self.cells);
        let dirty = cells.filter(|(_, base)| base.is_dirty());
        let cells = dirty.map(|(cell, _)| cell);
        let new: Vec<u32> = cells.filter(|cell| !self.is_likeness(*cell)).collect();
        if (new.len() as u64) * CELL_BYTES <= bytes {
            return;
        }
        self.films.looked = Some(now);
        let view = whole_view(&self.pixels, self.size);
        let natural = new.into_iter().filter(|cell| {
            let pixels = view.sub(self.cell_rect(*cell));
            pixels.is_some_and(watch::is_natural)
        });
        let natural: BTreeSet<u32> = natural.collect();
        let columns = self.columns();
        self.films.found = watch::largest(natural, columns, |cell| Some(self.cell_rect(cell)))
            .filter(|(filled, rect)| {
                *filled as u64 * BYTES_A_PIXEL > bytes && filled * 100 >= rect.area() * FILLED
            })
            .map(|(_, rect)| rect);
    }

    /// Whether the terminal shows a likeness of a dirty cell.
    pub(super) fn is_likeness(&self, cell: u32) -> bool {
        self.films.likenesses.contains(&cell)
    }

    /// Whether there are such cells.
    pub(super) fn has_likenesses(&self) -> bool {
        !self.films.likenesses.is_empty()
    }

    /// A cell was sent, or has changed: a likeness of it is worth nothing any more.
    pub(super) fn forget_likeness(&mut self, cell: u32) {
        self.films.likenesses.remove(&cell);
    }

    /// Takes the film's newest picture, where it has changed, into `picture`: in the codec's planes,
    /// which takes no longer than a copy of the pixels and leaves three eighths of their bytes. Ends
    /// the video where the film is not opaque.
    pub fn take_picture(&mut self, picture: &mut Picture, now: Instant) -> Option<Playing> {
        let rect = self.films.playing.filter(|playing| playing.changed)?.rect;
        let size = heliostat_video::Size {
            w: rect.w,
            h: rect.h,
        };
        let from = &self.pixels[self.place(rect.x, rect.y)..];
        let stride = self.size.w as usize;
        if !self.is_opaque(rect) || !picture.take_rows(size, from, stride) {
            self.end_video();
            self.pass_over_film(now);
            return None;
        }
        let (playing, _) = self.give_picture(now)?;
        Some(playing)
    }

    /// When the film has stood still for long enough to be over, if it stands still.
    pub fn still_at(&self) -> Option<Instant> {
        let playing = self.films.playing.filter(|playing| !playing.changed)?;
        Some(
            playing.at
                + if self.films.is_back {
                    STILL_AGAIN
                } else {
                    STILL
                },
        )
    }

    /// Looks at what has changed for films that have begun or are over; one is not while its picture
    /// `is_busy` on its way out. Returns whether one is over, so that there is something to send.
    pub fn look_for_films(&mut self, is_busy: bool, now: Instant) -> bool {
        let rect = self.films.playing.map(|playing| playing.rect);
        let is_still = !is_busy && self.still_at().is_some_and(|at| at <= now);
        if rect.is_none() {
            if self.refuses_films(now) {
                return false;
            }
            if let Refusal::Until(_) = std::mem::take(&mut self.films.refused) {
                // What has changed meanwhile says nothing about how often.
                let (columns, cells) = (self.columns(), self.cell_count());
                self.films.watch.reset(columns, cells);
            }
        }
        let view = whole_view(&self.pixels, self.size);
        let is_natural = |part: Rect| view.sub(part).is_some_and(watch::is_natural);
        let known = (rect, self.films.hint);
        match self.films.watch.judge(known, is_natural, now) {
            _ if is_still => {
                self.films.stopped = (self.films.pictures > 1).then_some(now);
                self.end_video();
            }
            Verdict::Over if !is_busy => self.end_video(),
            Verdict::Over | Verdict::Same => {}
            Verdict::Film(rect) => self.films.found = Some(rect),
        }
        rect.is_some() && self.films.playing.is_none()
    }

    /// A run of a row has come to be something else.
    pub(super) fn note_film(&mut self, x: u32, y: u32, w: u32) {
        let run = Rect { x, y, w, h: 1 };
        let Some(playing) = &mut self.films.playing else {
            return;
        };
        if overlaps(playing.rect, run) {
            playing.changed = true;
            self.films.news = News::Anything;
        }
    }

    /// Whether some of `rect` belongs to the film.
    pub(super) fn has_film_in(&self, rect: Rect) -> bool {
        self.films
            .playing
            .is_some_and(|playing| overlaps(playing.rect, rect))
    }

    fn cell_at(&self, part: Rect) -> u32 {
        part.y / TILE * self.columns() + part.x / TILE
    }
}

fn overlaps(a: Rect, b: Rect) -> bool {
    a.intersection(b).is_some()
}
