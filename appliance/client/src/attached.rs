//! The session on the screen: its scene, its cursors, and what has been shown of it.

use std::collections::{BTreeMap, VecDeque};

use heliostat_link::Frame;
use heliostat_wire::id::{AttachId, OutputId};
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
    /// Serials and arrival times of frames that are not acknowledged.
    arrivals: VecDeque<(u32, u64)>,
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
            arrivals: VecDeque::new(),
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

    /// Applies a frame that has arrived at this time (CLOCK_MONOTONIC, nanoseconds).
    pub fn apply(&mut self, frame: &Frame, at_ns: u64) -> Result<(), SceneError> {
        self.scene.apply(&frame.header, &frame.content)?;
        self.newest = frame.header.serial;
        self.last_input = frame.header.last_input;
        self.arrivals.push_back((self.newest, at_ns));
        for (id, progress) in &mut self.outputs {
            progress.damage.add_all(&self.scene.take_damage(*id));
        }
        Ok(())
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
        let mut arrived_ns = at_ns;
        while let Some(&(known, at)) = self.arrivals.front()
            && known <= serial
        {
            arrived_ns = at;
            self.arrivals.pop_front();
        }
        let latency_us = (at_ns.saturating_sub(arrived_ns) / 1000).min(u64::from(u32::MAX)) as u32;
        Some(ToSession::FrameShown {
            serial,
            at_us: at_ns / 1000,
            latency_us,
        })
    }
}
