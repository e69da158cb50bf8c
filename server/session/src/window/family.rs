//! Dialogs and what they belong to.

use super::{WindowId, Windows};

impl Windows {
    pub(super) fn ancestors(&self, id: WindowId) -> impl Iterator<Item = WindowId> {
        std::iter::successors(Some(id), |id| self.windows.get(id)?.parent)
    }

    pub(super) fn descendants(&self, id: WindowId) -> Vec<WindowId> {
        let below = |window: &&WindowId| self.ancestors(**window).any(|above| above == id);
        self.stack
            .iter()
            .filter(below)
            .copied()
            .filter(|window| *window != id)
            .collect()
    }

    pub(super) fn family(&self, id: WindowId) -> Vec<WindowId> {
        let head = self.ancestors(id).last().unwrap_or(id);
        let mut family = self.descendants(head);
        family.push(head);
        family
    }
}
