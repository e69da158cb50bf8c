//! The timeline of the attach that is under way.

use heliostat_wire::List;
use heliostat_wire::id::AttachId;
use heliostat_wire::receipt::{Receipt, Stage, StageTime};

/// Collects the stages of one card edge.
#[derive(Debug, Default)]
pub struct Timeline {
    began_us: Option<u64>,
    stages: Vec<StageTime>,
}

impl Timeline {
    /// A card edge at this time begins a new timeline.
    pub fn begin(&mut self, at_us: u64) {
        self.began_us = Some(at_us);
        self.stages.clear();
        self.mark(Stage::CardEdge, at_us);
    }

    /// Whether there is a timeline at all.
    pub fn has_begun(&self) -> bool {
        self.began_us.is_some()
    }

    /// A stage has been reached. Only the first time counts.
    pub fn mark(&mut self, stage: Stage, at_us: u64) {
        let Some(began) = self.began_us else { return };
        if self.stages.iter().all(|known| known.stage != stage) {
            let us = at_us.saturating_sub(began).min(u64::from(u32::MAX)) as u32;
            self.stages.push(StageTime { stage, us });
        }
    }

    /// Whether a stage has been reached.
    pub fn has(&self, stage: Stage) -> bool {
        self.stages.iter().any(|known| known.stage == stage)
    }

    /// The timeline as it is sent to the broker.
    pub fn receipt(&self, attach_id: AttachId) -> Receipt {
        Receipt {
            attach_id,
            stages: List::truncated(self.stages.clone()),
        }
    }
}
