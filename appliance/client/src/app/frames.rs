//! Frames of the scene: applied, drawn, acknowledged.

use heliostat_link::Frame;
use heliostat_terminal_state::ClientReport;
use heliostat_wire::control::ToBroker;
use heliostat_wire::id::AttachId;
use heliostat_wire::receipt::Stage as ReceiptStage;
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::app::App;
use crate::app::links::FRAMES_IN_FLIGHT;
use crate::clock::monotonic_us;
use crate::display::{Display, Shown};
use crate::net::NetCommand;

/// What is known of a frame while it is applied and shown.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    received_ns: u64,
    /// How long decoders of films took.
    decoding_ns: u64,
}

impl Taken {
    /// What our part of the way has cost until now, films' decoders aside.
    pub fn overhead_ns(&self) -> u64 {
        let whole = App::now_ns().saturating_sub(self.received_ns);
        whole.saturating_sub(self.decoding_ns)
    }
}

impl App {
    pub(super) fn frame(&mut self, id: AttachId, frame: &Frame, received_ns: u64) {
        let now_ns = Self::now_ns();
        let Some(attached) = self.attached.as_mut().filter(|attached| attached.id == id) else {
            return;
        };
        self.timeline
            .mark(ReceiptStage::FirstFrameReceived, now_ns / 1000);
        if attached.is_flooded(FRAMES_IN_FLIGHT) {
            return self.protocol_violation("more frames are under way than were offered");
        }
        match attached.apply(frame) {
            Ok(()) => {
                self.taken = Some(Taken {
                    received_ns,
                    decoding_ns: attached.scene.decoding_ns(),
                });
                self.redraw();
                self.taken = None;
            }
            Err(error) => self.protocol_violation(&error.to_string()),
        }
    }

    pub(super) fn display_ready(&mut self) {
        if let Display::Kms(kms) = &mut self.display
            && let Err(error) = kms.dispatch()
        {
            warn!(%error, "display events cannot be read");
        }
        self.redraw();
    }

    /// Tells everybody what has been scanned out.
    pub(super) fn settle(&mut self) {
        let mut all = std::mem::take(&mut self.shown);
        self.display.take_shown(&mut all);
        all.drain(..).for_each(|shown| self.shown(&shown));
        self.shown = all;
        let failed = self.attached.as_mut().map(|a| a.failed_videos());
        for message in failed.unwrap_or_default() {
            self.to_session(message);
        }
        let (display, retries) = (&self.display, &self.retries);
        let stuck = display.stuck();
        let silent = stuck.iter().filter(|stuck| stuck.is_silent());
        let due = self
            .attached
            .as_mut()
            .filter(|attached| attached.has_picture())
            .and_then(|attached| {
                let is_settled = |output| display.is_settled(output);
                let is_silent = |output| {
                    retries.is_dark(output) || silent.clone().any(|stuck| stuck.output == output)
                };
                attached.acknowledge(Self::now_ns(), is_settled, is_silent)
            });
        if let Some(message) = due {
            self.to_session(message);
            let attached = self.attached.as_mut();
            let cells = attached.and_then(|attached| attached.cells_after_ack(Self::now_ns()));
            cells.into_iter().for_each(|cells| self.to_session(cells));
        }
    }

    fn shown(&mut self, shown: &Shown) {
        if !self.screen_shown {
            self.screen_shown = true;
            if let Some(init) = &mut self.init {
                init.report(&ClientReport::ScreenShown);
            }
        }
        let caption = shown.caption;
        if caption.attach == 0 {
            return;
        }
        if self.announcer.enabled {
            let event = json!({
                "attach": caption.attach,
                "serial": caption.serial,
                "last_input": caption.last_input,
                "at_us": shown.at_ns / 1000,
            });
            self.announcer.say("frame_shown", event);
        }
        if let Some(attached) = self.attached.as_mut().filter(|a| a.id.0 == caption.attach) {
            attached.shown(shown);
            self.first_frame_shown(AttachId(caption.attach), shown.at_ns / 1000);
        }
    }

    fn first_frame_shown(&mut self, id: AttachId, at_us: u64) {
        if !self.timeline.has_begun() || self.timeline.has(ReceiptStage::FirstFrameShown) {
            return;
        }
        self.timeline.mark(ReceiptStage::FirstFrameShown, at_us);
        let receipt = self.timeline.receipt(id);
        let stages: Map<String, Value> = receipt
            .stages
            .iter()
            .map(|time| (format!("{:?}", time.stage), json!(time.us)))
            .collect();
        let event = json!({"attach": id.0, "stages": stages, "at_us": monotonic_us()});
        self.announcer.say("receipt", event);
        self.net
            .command(NetCommand::ToBroker(ToBroker::Receipt(receipt)));
    }
}
