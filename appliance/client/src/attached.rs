//! The session on the screen: its scene, its cursors, and what has been shown of it.

use std::collections::BTreeMap;

use heliostat_link::Frame;
use heliostat_wire::List;
use heliostat_wire::clock::Clock;
use heliostat_wire::id::{AttachId, OutputId};
use heliostat_wire::input::{InputBatch, InputEvent};
use heliostat_wire::output::Outputs;
use heliostat_wire::session::ToSession;

use crate::cursor::Cursors;
use crate::display::{Caption, Shown};
use crate::geometry::Damage;
use crate::scene::{Budget, Scene, SceneError};

/// One attach, from its join to its leave.
pub struct Attached {
    /// The attach.
    pub id: AttachId,
    /// What the session has drawn.
    pub scene: Scene,
    /// What the session has defined.
    pub cursors: Cursors,
    newest: u32,
    last_input: u32,
    acknowledged: u32,
    clock: Clock,
    outputs: BTreeMap<OutputId, Progress>,
}

/// How far one output is.
#[derive(Default)]
struct Progress {
    damage: Damage,
    shown: u32,
}

impl Attached {
    /// Nothing has been drawn yet.
    pub fn new(id: AttachId, outputs: &Outputs, budget: Budget) -> Self {
        let mut attached = Self {
            id,
            scene: Scene::new(outputs, budget),
            cursors: Cursors::default(),
            newest: 0,
            last_input: 0,
            acknowledged: 0,
            clock: Clock::default(),
            outputs: BTreeMap::new(),
        };
        attached.set_outputs(outputs);
        attached
    }

    /// Screens came, went or changed.
    pub fn set_outputs(&mut self, outputs: &Outputs) {
        self.scene.set_outputs(outputs);
        self.outputs
            .retain(|id, _| outputs.iter().any(|output| output.id == *id));
        for output in outputs.iter() {
            self.outputs.entry(output.id).or_default();
        }
    }

    /// Applies a frame that has arrived.
    pub fn apply(&mut self, frame: &Frame) -> Result<(), SceneError> {
        self.scene.apply(&frame.header, &frame.content)?;
        self.newest = frame.header.serial;
        self.last_input = frame.header.last_input;
        for (id, progress) in &mut self.outputs {
            progress.damage.add_all(&self.scene.take_damage(*id));
        }
        Ok(())
    }

    /// Whether another frame would be more than `offered` that are not acknowledged.
    pub fn is_flooded(&self, offered: u32) -> bool {
        self.newest - self.acknowledged >= offered
    }

    /// Whether there is anything to show yet.
    pub fn has_picture(&self) -> bool {
        self.newest > 0
    }

    /// More has to be drawn, as where the pointer was.
    pub fn add_damage(&mut self, output: OutputId, damage: &Damage) {
        if let Some(progress) = self.outputs.get_mut(&output) {
            progress.damage.add_all(damage);
        }
    }

    /// All has to be drawn.
    pub fn damage_all(&mut self) {
        self.scene.damage_all();
        for (id, progress) in &mut self.outputs {
            progress.damage.add_all(&self.scene.take_damage(*id));
        }
    }

    /// Takes what has to be drawn on an output.
    pub fn take_damage(&mut self, output: OutputId) -> Damage {
        self.outputs
            .get_mut(&output)
            .map(|p| std::mem::take(&mut p.damage))
            .unwrap_or_default()
    }

    /// What a picture drawn now shows.
    pub fn caption(&self) -> Caption {
        Caption {
            serial: self.newest,
            last_input: self.last_input,
            attach: self.id.0,
        }
    }

    /// A picture of this attach has been scanned out.
    pub fn shown(&mut self, shown: &Shown) {
        if let Some(progress) = self.outputs.get_mut(&shown.output) {
            progress.shown = progress.shown.max(shown.caption.serial);
        }
    }

    /// The acknowledgement that is due: every output shows a frame when it has flipped to it, or
    /// when the frame changed nothing there.
    pub fn acknowledge(
        &mut self,
        at_ns: u64,
        is_free: impl Fn(OutputId) -> bool,
    ) -> Option<ToSession> {
        let reached = self.outputs.iter().map(|(id, progress)| {
            let idle = progress.damage.is_empty() && is_free(*id);
            if idle { self.newest } else { progress.shown }
        });
        let serial = reached.min().unwrap_or(self.newest);
        if serial <= self.acknowledged {
            return None;
        }
        self.acknowledged = serial;
        Some(ToSession::FrameShown {
            serial,
            after_us: self.clock.tell(at_ns / 1000),
        })
    }

    /// Input that was made at `time_us`, as the session is to hear of it: every one, in order.
    pub fn input(&mut self, time_us: u64, event: InputEvent) -> ToSession {
        ToSession::Input(InputBatch {
            after_us: self.clock.tell(time_us),
            events: List::truncated(vec![event]),
        })
    }
}
