//! Pictures of films that are all there is to send: their frame goes without a look at the desktop.
//!
//! That is most of what a session sends while a film plays: the scene is as the terminal was told, and
//! no tile has changed. So there is nothing to compare, and how much the desktop holds does not matter.
//! Flat outputs are composed first, and take the longer way.

use std::time::Instant;

use crate::app::App;
use crate::attach::{Attachment, Outgoing};
use crate::few::is_placed;
use crate::presentation::Feedback;
use crate::shares;

impl App {
    /// Sends pictures that have just been encoded before anything else is looked at, if a frame may go
    /// now and they are all that there is. Otherwise nothing has happened.
    pub(crate) fn send_ready_films(&mut self, now: Instant) {
        let may_go = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        // Answers to input go first, when everything is settled.
        if self.videos.is_ready()
            && !may_go(self.answer_deadline(now))
            && may_go(self.frame_deadline(now))
        {
            self.send_films(now);
        }
    }

    /// Sends what is ready of films, if nothing else of a scene has changed that the terminal knows, and
    /// says to whom what was committed looks the same as before. Returns whether that was all; otherwise
    /// nothing has happened.
    pub(crate) fn send_films(&mut self, now: Instant) -> bool {
        let is_simple = self.dirty.pixels && !self.dirty.layout;
        if !is_simple || self.flat.is_on() || self.videos.are_none() {
            return false;
        }
        self.draw_titles();
        let terminal = self.terminal.as_mut();
        let Some(terminal) = terminal.filter(|terminal| !terminal.has_to_forget()) else {
            return false;
        };
        let allowance = terminal.allowance(now);
        if !self.has_only_films() {
            return false;
        }
        self.dirty.answer = false;
        self.hear_squeezed();
        let films = self.take_film_part(|_, _| true, shares::of_films(allowance, 0));
        let more = self.videos.is_ready();
        self.dirty.pixels = more;
        let feedback = self.feedback_as_told();
        let Some(terminal) = &mut self.terminal else {
            return true;
        };
        if more {
            terminal.more_to_come();
        }
        if films.after.is_empty() {
            match more {
                true => terminal.pace.full(now),
                false => self.committed = None,
            }
            let shown = terminal.also_wants(feedback);
            self.present(shown, now);
            return true;
        }
        let out = Outgoing {
            after: None,
            ops: films.after,
            units: films.units,
            feedback,
            since: if more { None } else { self.committed.take() },
        };
        let encoder = (&mut self.encoder, &self.squeeze);
        let sent = terminal.send_frame(now, out, encoder);
        terminal.pace.more_to_come(more);
        self.counters.films.left(sent, &films.coded);
        self.count_frame(sent, 0, now.elapsed());
        true
    }

    /// Whether all that is shown is as the terminal holds it, but for films, and all of those play on.
    fn has_only_films(&mut self) -> bool {
        let Some(terminal) = &self.terminal else {
            return false;
        };
        let mut playing = 0;
        for surface in self.surfaces.all_mut().chain(self.titles.all_mut()) {
            let content = &surface.content;
            let film = content.playing();
            let is_as_told = match is_placed(terminal, content.layer()) {
                true => !content.is_dirty(),
                false => film.is_none(),
            };
            if !is_as_told {
                return false;
            }
            playing += usize::from(film.is_some_and(|film| self.videos.is_open(film.video)));
        }
        playing == self.videos.count()
    }

    /// Who wants to know when what was committed is shown, by the scene that the terminal knows.
    pub(crate) fn feedback_as_told(&mut self) -> Vec<Feedback> {
        if self.feedback.is_empty() {
            return Vec::new();
        }
        let take = |terminal: &mut Attachment| std::mem::take(&mut terminal.told);
        let Some(told) = self.terminal.as_mut().map(take) else {
            return Vec::new();
        };
        let feedback = self.take_feedback(&told);
        if let Some(terminal) = &mut self.terminal {
            terminal.told = told;
        }
        feedback
    }
}
