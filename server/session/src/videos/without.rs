//! Without the feature `gpu` no film is ever lent.

use std::time::Instant;

use heliostat_wire::id::VideoId;
use smithay::reexports::calloop::channel;

use super::Videos;
use crate::app::Event;
use crate::gpu::Gpu;
use crate::surface::Surface;

/// The thread of the hardware: none.
#[derive(Debug, Default)]
pub(super) struct Hardware(());

impl Hardware {
    /// A video is over.
    pub(super) fn end(&self, _video: VideoId) {}

    /// Takes a unit's memory back.
    pub(super) fn give_back(&mut self, _unit: Vec<u8>) {}

    /// The thread is to end.
    pub(super) fn let_go(&mut self) {}
}

impl Videos {
    /// Looks whether the hardware can have a surface's buffers from now on.
    pub(super) fn lend(&mut self, _: &mut Surface, _: bool, _: &mut Gpu, _: Instant) {}

    /// Gives the newest buffer of a film to the hardware.
    pub(super) fn give(
        &mut self,
        _: &mut Surface,
        _: Option<u64>,
        _: (&Gpu, &channel::Sender<Event>),
        _: Instant,
    ) -> bool {
        false
    }
}
