//! A terminal comes, speaks and goes.

use std::time::Instant;

use heliostat_control::session::{Attached, FromSession};
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, OutputId};
use heliostat_wire::session::ToSession;
use tracing::warn;

use super::{App, Dirty};
use crate::attach::Attachment;
use crate::link::NewAttach;

impl App {
    pub(super) fn attach(&mut self, attach: NewAttach) {
        let before = self.terminal.take();
        let same_desk = |old: &&Attachment| old.terminal == attach.terminal;
        match before.as_ref().filter(same_desk) {
            // By another link, which takes nobody to be at it.
            Some(old) => self.absence.go_on((old.id, attach.id), attach.idle),
            None => self.absence.begin(attach.idle, Instant::now()),
        }
        if let Some(old) = before {
            let goes_on = same_desk(&&old) && old.changes;
            let terminal = attach.terminal.as_str().into();
            old.bye(DetachReason::MovedElsewhere { terminal });
            let terminal = attach.terminal.as_str().into();
            self.parted(old, DetachReason::MovedElsewhere { terminal });
            // One that only comes by another link still holds what it held, and will let go of it.
            if !goes_on {
                self.let_go();
            }
        }
        self.tell_broker(FromSession::Attached(Attached {
            attach_id: attach.id,
            terminal: attach.terminal.clone(),
        }));
        let start = self.begin(&attach);
        if start.told.layers.is_empty() {
            self.flat.reset();
        }
        let lossy = !self.config.always_exact;
        self.videos.reset(lossy.then_some(&attach.capabilities));
        self.set_layout_hint(&attach.layout);
        self.set_outputs(&attach.outputs);
        let keyboard = attach.keyboard.clone();
        self.terminal = Some(Attachment::new(attach, start, Instant::now()));
        self.sync_keyboard(&keyboard);
        self.cursors.forget();
        self.show_cursor();
        self.show_leds();
        self.dirty = Dirty {
            pixels: true,
            answer: false,
            layout: true,
            callbacks: true,
            cursor: true,
        };
    }

    pub(super) fn hear(&mut self, id: AttachId, message: ToSession) {
        let Some(terminal) = self.terminal.as_mut().filter(|terminal| terminal.id == id) else {
            return;
        };
        match message {
            ToSession::Input(batch) => self.input(&batch),
            ToSession::Keyboard(state) => self.sync_keyboard(&state),
            ToSession::Heartbeat => self.input.heartbeat(Instant::now()),
            ToSession::Outputs(outputs) => {
                terminal
                    .rhythms
                    .retain(|id| outputs.iter().any(|output| output.id == id));
                terminal.announced.hear(outputs);
            }
            ToSession::FrameShown {
                serial,
                after_us,
                output,
            } => self.frame_shown(serial, after_us, output),
            ToSession::VideoFailed { video } => self.film_failed(video, Instant::now()),
            ToSession::Cells { serial, cells } => self.check_cells(serial, &cells),
            ToSession::Refresh => {
                warn!(
                    terminal = terminal.terminal,
                    "the terminal's copy of the scene is damaged, it is sent anew"
                );
                self.forget_contents();
                self.dirty.pixels = true;
                self.dirty.layout = true;
            }
            // The link's task keeps these for itself.
            ToSession::Attach { .. } | ToSession::Bye(_) => {}
        }
    }

    pub(super) fn frame_shown(&mut self, serial: u32, after_us: i64, output: Option<OutputId>) {
        let screen = output.and_then(|id| self.desk.screen(id));
        let screen = screen.map(|screen| (screen.id, screen.interval));
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let Some(shown) = terminal.shown(serial, after_us, Instant::now(), screen) else {
            return self.break_off("it has shown a frame that was never sent");
        };
        let attach_id = terminal.id;
        self.counters.frames_shown += shown.frames;
        if let Some(took) = shown.first_after {
            let took_ms = took.as_millis() as u32;
            self.tell_broker(FromSession::FirstFrame { attach_id, took_ms });
        }
        self.present(shown.feedback, shown.at);
    }

    /// Parts from a terminal that breaks the protocol.
    pub(crate) fn break_off(&mut self, why: &str) {
        if let Some(terminal) = &self.terminal {
            warn!(
                terminal = terminal.terminal,
                "the terminal is sent away: {why}"
            );
        }
        self.detach(None, DetachReason::ProtocolViolation);
    }

    pub(super) fn link_changes(&mut self, id: AttachId) {
        if let Some(terminal) = self.terminal.as_mut().filter(|terminal| terminal.id == id) {
            terminal.changes = true;
        }
    }

    pub(super) fn link_ended(&mut self, id: AttachId, reason: DetachReason) {
        if let Some(terminal) = self.terminal.take_if(|terminal| terminal.id == id) {
            self.parted(terminal, reason);
            self.rest();
        }
    }

    /// Parts from the terminal: from whichever there is, or from that of an attach. One that was there
    /// before it is meant as well, for it may have asked for that attach and not taken it up.
    pub(super) fn detach(&mut self, id: Option<AttachId>, reason: DetachReason) {
        let meant = |terminal: &mut Attachment| id.is_none_or(|id| !terminal.id.is_later_than(id));
        if let Some(terminal) = self.terminal.take_if(meant) {
            terminal.bye(reason.clone());
            self.parted(terminal, reason);
            self.rest();
        }
    }

    /// Nobody watches: no key is held, no frame is asked for.
    pub(super) fn rest(&mut self) {
        self.release_all_keys();
        self.callbacks.rest();
        self.videos.reset(None);
    }
}
