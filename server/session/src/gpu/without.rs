//! A session that was built without the feature `gpu`: there are no buffers but shared memory, and no
//! device.

use heliostat_tiles::Rect;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::wayland::compositor::SurfaceData;

use super::{Reading, RenderNode};

/// A buffer of a client's, of which there is none.
#[derive(Debug, Clone)]
pub enum Loan {}

impl Loan {
    /// Its sides in pixels.
    pub fn sides(&self) -> (i32, i32) {
        match *self {}
    }

    /// Whether its alpha counts.
    pub fn alpha(&self) -> bool {
        match *self {}
    }

    /// Whether it is a picture of luma and chroma.
    pub fn is_nv12(&self) -> bool {
        match *self {}
    }

    /// Whether the encoder reads its layout.
    pub fn is_encoded(&self) -> bool {
        match *self {}
    }

    /// Whether the session has drawn into it.
    pub fn is_own(&self) -> bool {
        match *self {}
    }

    /// Lets `see` read its pixels.
    pub fn read(
        &self,
        _rects: &[Rect],
        _see: impl FnMut(Rect, &mut dyn FnMut(u32, u32, &mut [u32]) -> bool),
    ) -> bool {
        match *self {}
    }
}

/// What a commit has of a buffer: nothing is ever told of its end.
#[derive(Debug, Clone)]
pub enum Release {}

impl Release {
    /// That of the commit which has just been applied to a surface.
    pub fn of_commit(_states: &SurfaceData) -> Option<Self> {
        None
    }
}

/// All buffers of all clients: none.
#[derive(Debug, Default)]
pub struct Buffers;

impl Buffers {
    /// A client has destroyed a buffer.
    pub fn remove(&mut self, _buffer: &WlBuffer) {}

    /// A buffer that was committed, if it is one of these.
    pub fn lend(&mut self, _buffer: &WlBuffer, _release: Option<Release>) -> Option<Loan> {
        None
    }

    /// When the device may read again: there is none.
    pub fn reader_deadline(&self) -> Option<std::time::Instant> {
        None
    }

    /// How often GLES has ended.
    pub fn gles_ends(&self) -> u64 {
        0
    }

    /// Bytes of pixels that the processor has read of them.
    pub fn read_bytes(&self) -> u64 {
        0
    }
}

/// The graphics device: none.
#[derive(Debug)]
pub struct Gpu;

impl Gpu {
    /// Says that there is none, where one is wanted.
    pub fn open(wanted: &RenderNode, _reading: Reading) -> Self {
        if *wanted != RenderNode::Off {
            tracing::info!(
                "films are encoded by the processor: this session was built without `gpu`"
            );
        }
        Self
    }

    /// Who reads programs' buffers: there are none.
    pub fn describe_reading(&self) -> String {
        String::new()
    }

    /// The node of the device that encodes: none.
    pub fn node(&self) -> Option<&std::path::Path> {
        None
    }

    /// Whether the device encodes what is composed here.
    pub fn encodes_composed(&self) -> bool {
        false
    }
}

/// Says what there is: nothing.
pub fn check(_wanted: &RenderNode) -> (String, bool) {
    let text = "this heliostat-session was built without the feature `gpu`\n\
                way of films: the processor encodes them, from shared memory\n";
    (text.to_owned(), false)
}
