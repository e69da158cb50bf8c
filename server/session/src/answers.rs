//! Answers to input by themselves: a few cells that have just changed go in a frame of their own, ahead
//! of pictures that wait or are under way ([ADR 0015](../../../docs/adr/0015-answers-overtake.md)).

use std::collections::BTreeSet;
use std::time::Instant;

use heliostat_wire::id::LayerId;

use crate::app::App;
use crate::attach::Outgoing;

impl App {
    /// When a frame with nothing but an answer may go; none where none is due.
    pub(crate) fn answer_deadline(&self, now: Instant) -> Option<Instant> {
        let may = self.dirty.answer && !self.dirty.layout;
        self.terminal.as_ref().filter(|_| may)?.answer_at(now)
    }

    /// Sends the few cells that have just changed, unless they are all that there is to send and
    /// nothing is under way: any frame is as good then. Returns whether it did.
    pub(crate) fn send_answer(&mut self, now: Instant) -> bool {
        self.dirty.answer = false;
        let (dirty_before, started) = (self.dirty_tiles(), Instant::now());
        let Some(terminal) = &mut self.terminal else {
            return false;
        };
        let outputs = terminal.told.outputs.values();
        let shown: BTreeSet<LayerId> = outputs
            .flat_map(|output| output.stack.iter().map(|placement| placement.layer))
            .collect();
        let surfaces = self.surfaces.all_mut().chain(self.titles.all_mut());
        let contents = surfaces.map(|surface| &mut surface.content);
        let contents = contents.filter(|content| shown.contains(&content.layer()));
        let (answers, others): (Vec<_>, Vec<_>) =
            contents.partition(|content| content.has_answer());
        let is_all = others.iter().all(|content| !content.is_dirty())
            && answers.iter().all(|content| content.has_nothing_else());
        if answers.is_empty() || is_all && terminal.in_flight().0 == 0 {
            return false;
        }
        let serial = terminal.pace.next_serial();
        self.encoder.set_level(terminal.level());
        let pushed = answers.into_iter().map(|content| {
            let mut after = content.push_answer(&mut self.encoder, serial, now);
            after.extend(terminal.order.before(content.layer()));
            after
        });
        let after: Vec<u32> = pushed.flatten().collect();
        if self.encoder.is_empty() {
            return false;
        }
        // What wants to know when its pixels are seen hears it with the frame that follows.
        let encoder = (&mut self.encoder, &self.squeeze);
        let out = Outgoing {
            after: Some(&after),
            ..Outgoing::default()
        };
        let sent = terminal.send_frame(now, out, encoder);
        let tiles = dirty_before.saturating_sub(self.dirty_tiles());
        self.count_frame(sent, tiles, started.elapsed());
        true
    }
}
