//! From an application's commit to the bytes on the wire, for Heliostat on the loopback interface.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{STEP, Stage};
use crate::harness::capture::Capture;
use crate::harness::systems::System;
use crate::link::{Link, Profile};
use crate::workload::Workload;

/// What belongs to a frame has been sent when this has passed since it was seen.
const QUIET: Duration = Duration::from_millis(60);

/// One commit.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    /// Until the first packet of its frame, in microseconds.
    pub first_us: f64,
    /// Until the last.
    pub last_us: f64,
    /// The packets' payload.
    pub bytes: usize,
}

/// Lets the drawing client commit so many frames, one after the other, with rests between them.
/// Returns them, and the median of what the session says of the time from a commit until its link had
/// the bytes, in microseconds.
pub fn measure(workload: Workload, frames: u32) -> anyhow::Result<(Vec<Commit>, f64)> {
    let link = Link::lay(Profile::Loopback)?;
    let mut stage = Stage::set(System::Heliostat, &link, workload)?;
    let capture = Capture::start()?;
    let mut commits = Vec::new();
    for number in 1..=frames {
        let quiet = Instant::now() + QUIET;
        while stage.viewer.next_shown(quiet).is_some() {}
        capture.take();
        let since_ns = stage.drawing.step()?;
        stage
            .viewer
            .wait_marker((0, 0), STEP, |marker| marker == number)
            .with_context(|| format!("frame {number}"))?;
        let quiet = Instant::now() + QUIET;
        while stage.viewer.next_shown(quiet).is_some() {}
        let packets = capture.take();
        let own = packets.iter();
        let own = own.filter(|packet| packet.is_update() && packet.at_ns >= since_ns);
        let own: Vec<_> = own.collect();
        ensure!(
            !own.is_empty(),
            "frame {number} was seen, but no packet of it"
        );
        let us = |at_ns: u64| (at_ns - since_ns) as f64 / 1000.0;
        commits.push(Commit {
            first_us: us(own[0].at_ns),
            last_us: us(own[own.len() - 1].at_ns),
            // The loopback interface shows each packet as it goes and as it comes.
            bytes: own.iter().map(|packet| packet.bytes).sum::<usize>() / 2,
        });
    }
    let own = stage.running.desktop.commit_to_link_us()?;
    Ok((commits, own.context("the session does not say")?.into()))
}
