//! What the links say, and what is said on them.

use heliostat_terminal_state::{ClientReport, Code, TerminalState};
use heliostat_wire::control::{Attach, DetachReason, ToBroker};
use heliostat_wire::id::AttachId;
use heliostat_wire::limits::{MAX_CURSOR_SIDE, MAX_LAYERS};
use heliostat_wire::output::Outputs;
use heliostat_wire::session::{Capabilities, Cursor, ToSession, ToTerminal};
use serde_json::json;
use tracing::{info, warn};

use super::App;
use crate::attached::Attached;
use crate::clock::monotonic_us;
use crate::cursor::CursorError;
use crate::desk::DeskEvent;
use crate::keep::Kept;
use crate::net::NetCommand;

/// Frames the terminal takes unacknowledged.
pub(super) const FRAMES_IN_FLIGHT: u32 = 32;

impl App {
    pub(super) fn handle_terminal(&mut self, state: TerminalState) {
        if let Some(name) = state.name.clone().filter(|_| self.desk.control().is_err()) {
            self.around.name = name;
        }
        self.around.terminal = state;
        self.connect();
        self.redraw();
    }

    pub(super) fn control_up(&mut self, name: String, site: String) {
        let at_us = monotonic_us();
        self.announcer.say(
            "connected",
            json!({"name": name, "site": site, "at_us": at_us}),
        );
        if !name.is_empty() {
            self.around.name = name;
        }
        self.around.site = site;
        self.around.control = None;
        self.report_status(None, "connected");
        self.desk(DeskEvent::ControlUp);
    }

    pub(super) fn control_down(&mut self, code: Code, why: String) {
        let at_us = monotonic_us();
        let event = json!({"code": code.as_str(), "why": why, "at_us": at_us});
        self.announcer.say("disconnected", event);
        self.around.control = Some((code, why.clone()));
        self.report_status(Some(code), &why);
        self.desk(DeskEvent::ControlDown(why));
    }

    fn report_status(&mut self, code: Option<Code>, text: &str) {
        if let Some(init) = &mut self.init {
            init.report(&ClientReport::Status {
                code,
                text: text.to_owned(),
            });
        }
    }

    pub(super) fn tell_outputs(&mut self, outputs: Outputs) {
        self.to_session(ToSession::Outputs(outputs.clone()));
        if self.desk.control().is_ok() {
            self.net
                .command(NetCommand::ToBroker(ToBroker::Outputs(outputs)));
        }
    }

    pub(super) fn to_session(&self, message: ToSession) {
        if let Some(attached) = &self.attached {
            self.net
                .command(NetCommand::ToSession(attached.id, message));
        }
    }

    pub(super) fn join(&mut self, attach: Attach) {
        let (attach, first) = self.begin(attach);
        self.net.command(NetCommand::Join { attach, first });
    }

    /// Whatever is seen on a screen that takes no pictures would be of an attach that has gone.
    pub(super) fn quic_passes(&mut self, id: AttachId) {
        if self.display.stuck().is_empty() {
            self.desk(DeskEvent::BetterLink(id));
        }
    }

    /// Goes over to another attach of the same session: its last picture stays until the first one
    /// of the new attach is there.
    pub(super) fn change(&mut self, attach: Attach) {
        let is_same = self.keeper.is_of(attach.pin);
        let Some(attached) = self.attached.take_if(|_| is_same) else {
            self.leave(DetachReason::LinkLost);
            return self.join(attach);
        };
        let (from, had_picture) = (attached.id, attached.has_picture());
        let left = attached.into_scene();
        let lost = DetachReason::LinkLost;
        self.keeper.end(from, left, &lost, Self::now_ns());
        let event = json!({
            "from": from.0,
            "attach": attach.attach_id.0,
            "at_us": monotonic_us(),
        });
        self.announcer.say("changed", event);
        let (attach, first) = self.begin(attach);
        if had_picture {
            self.hold_picture();
        }
        self.net.command(NetCommand::Change { attach, first });
    }

    /// An attach begins. What its link needs.
    fn begin(&mut self, attach: Attach) -> (Box<Attach>, Box<ToSession>) {
        let outputs = self.display.outputs();
        let budget = self.budget();
        let kept = self.keeper.begin(&attach, Self::now_ns());
        let told = kept.as_ref().map(Kept::told);
        let id = attach.attach_id;
        self.attached = Some(match kept {
            Some(kept) => Attached::with(id, &outputs, kept.scene),
            None => Attached::new(id, &outputs, budget),
        });
        if let Some(attached) = &mut self.attached {
            attached.scene.use_device(self.decoder.clone());
        }
        self.seat.begin_attach();
        let first = ToSession::Attach {
            attach_id: attach.attach_id,
            ticket: attach.ticket.clone(),
            outputs,
            capabilities: Capabilities {
                max_layers: budget.layers.min(MAX_LAYERS) as u32,
                max_layer_bytes: budget.bytes,
                max_cursor_side: MAX_CURSOR_SIDE,
                max_frames_in_flight: FRAMES_IN_FLIGHT,
                max_kept_cells: budget.cells,
                max_videos: budget.videos as u32,
                max_video_pixels: budget.video_pixels,
            },
            keyboard: self.seat.keyboard(),
            layout: self.layout.as_str().into(),
            kept: told,
        };
        (Box::new(attach), Box::new(first))
    }

    /// The picture goes first; the pixels are wiped, not only forgotten, or kept for a while where
    /// that is allowed.
    pub(super) fn leave(&mut self, reason: DetachReason) {
        let Some(attached) = self.attached.take() else {
            return;
        };
        self.redraw();
        let id = attached.id;
        let left = attached.into_scene();
        self.keeper.end(id, left, &reason, Self::now_ns());
        let event = json!({
            "attach": id.0,
            "reason": reason_name(&reason),
            "at_us": monotonic_us(),
        });
        self.announcer.say("detached", event);
        self.net.command(NetCommand::Leave(id, reason));
        self.mind_stuck();
    }

    pub(super) fn session_ended(&mut self, id: AttachId, reason: DetachReason, why: &str) {
        info!(attach = id.0, ?reason, why, "session link over");
        self.desk(DeskEvent::SessionEnded(id, reason));
    }

    pub(super) fn handle_session(&mut self, id: AttachId, message: ToTerminal) {
        if self
            .attached
            .as_ref()
            .is_none_or(|attached| attached.id != id)
        {
            return;
        }
        match message {
            ToTerminal::Attached { person, .. } => self.session_attached(id, &person),
            ToTerminal::SetLeds(leds) => self.set_leds(leds),
            ToTerminal::WarpPointer { output, x, y } => self.warp(output, x, y),
            ToTerminal::SetCursor(cursor) => self.set_cursor(cursor),
            ToTerminal::DefineCursor {
                id,
                size,
                hotspot,
                image,
            } => {
                let result = self.cursors(|known| known.define(id, size, hotspot, &image));
                self.check_cursor(result);
            }
            // The link's own task turns a goodbye into the end of the link.
            ToTerminal::Bye(_) => {}
        }
    }

    fn session_attached(&mut self, id: AttachId, person: &str) {
        let event = json!({"attach": id.0, "person": person, "at_us": monotonic_us()});
        self.announcer.say("attached", event);
        self.desk(DeskEvent::SessionAttached(id));
    }

    fn set_cursor(&mut self, cursor: Cursor) {
        self.seat.set_locked(cursor == Cursor::Locked);
        let result = self.cursors(|known| known.set(cursor));
        self.check_cursor(result);
    }

    fn cursors(
        &mut self,
        change: impl FnOnce(&mut crate::cursor::Cursors) -> Result<(), CursorError>,
    ) -> Result<(), CursorError> {
        let before = self.cursor_area();
        let result = self
            .attached
            .as_mut()
            .map_or(Ok(()), |attached| change(&mut attached.cursors));
        self.cursor_changed(before);
        result
    }

    fn check_cursor(&mut self, result: Result<(), CursorError>) {
        if let Err(error) = result {
            self.protocol_violation(&error.to_string());
        }
    }

    /// The session broke the protocol: nothing more of it is shown.
    pub(super) fn protocol_violation(&mut self, why: &str) {
        let Some(id) = self.attached.as_ref().map(|attached| attached.id) else {
            return;
        };
        warn!(attach = id.0, why, "the session broke the protocol");
        self.announce_error(&format!("the session broke the protocol: {why}"));
        self.net
            .command(NetCommand::Leave(id, DetachReason::ProtocolViolation));
        self.desk(DeskEvent::SessionEnded(id, DetachReason::ProtocolViolation));
    }
}

fn reason_name(reason: &DetachReason) -> &'static str {
    match reason {
        DetachReason::CardRemoved => "CardRemoved",
        DetachReason::MovedElsewhere { .. } => "MovedElsewhere",
        DetachReason::SessionEnded => "SessionEnded",
        DetachReason::SessionCrashed => "SessionCrashed",
        DetachReason::ByAdmin => "ByAdmin",
        DetachReason::ByPerson => "ByPerson",
        DetachReason::Locked => "Locked",
        DetachReason::ByPolicy => "ByPolicy",
        DetachReason::CardRevoked => "CardRevoked",
        DetachReason::LinkLost => "LinkLost",
        DetachReason::ProtocolViolation => "ProtocolViolation",
    }
}
