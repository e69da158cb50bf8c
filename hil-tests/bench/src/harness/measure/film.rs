//! How good a film's picture is while it plays.

use crate::canvas::{Canvas, Rect};
use crate::harness::figures::{Film, round};
use crate::harness::viewer::{Viewer, difference, psnr};
use crate::marker;
use crate::play::Play;
use crate::workload::{Over, Workload};

/// One frame of so many is looked at, so that the harness does not slow down what it measures.
const EACH: usize = 6;

/// Pictures of a film as a viewer showed them.
pub struct Sampler {
    rect: Rect,
    seen: usize,
    pictures: Vec<(u32, Canvas)>,
}

impl Sampler {
    /// For the film of a workload, if it has one whose frames are numbered.
    pub fn of(workload: Workload) -> Option<Self> {
        let Over::Film(rect) = workload.over() else {
            return None;
        };
        Some(Self {
            rect,
            seen: 0,
            pictures: Vec::new(),
        })
    }

    /// A frame is shown that was not before.
    pub fn see(&mut self, viewer: &Viewer) {
        self.seen += 1;
        if !self.seen.is_multiple_of(EACH) {
            return;
        }
        // Another frame may have come, so its number is read from the same picture.
        let picture = viewer.part(self.rect);
        let number = picture.as_ref().and_then(|picture| {
            let block = (0..marker::H).flat_map(|y| picture.row(0, y, marker::W).iter().copied());
            marker::read(&block.collect::<Vec<_>>())
        });
        self.pictures.extend(number.zip(picture));
    }

    /// Compares what was seen with what was drawn.
    pub fn judge(self, workload: Workload) -> anyhow::Result<Option<Film>> {
        let mut play = Play::new(workload)?;
        let mut differences = Vec::new();
        for (number, picture) in &self.pictures {
            play.go_over(*number);
            let drawn = play.over.as_ref();
            differences.extend(drawn.map(|drawn| difference(picture, drawn)));
        }
        if differences.is_empty() {
            return Ok(None);
        }
        let mean = differences.iter().sum::<f64>() / differences.len() as f64;
        let worst = differences.iter().copied().fold(0.0, f64::max);
        let decibels = |difference: f64| (difference > 0.0).then(|| round(psnr(difference)));
        Ok(Some(Film {
            compared: differences.len() as u32,
            psnr_db: decibels(mean),
            worst_psnr_db: decibels(worst),
        }))
    }
}
