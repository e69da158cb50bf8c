//! The timeline of one attach, as the terminal saw it.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::List;
use crate::id::AttachId;
use crate::limits::MAX_RECEIPT_STAGES;

/// A stage of an attach, in the order in which they come.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub enum Stage {
    /// The reader reported the card.
    CardEdge,
    /// The card id was read.
    IdRead,
    /// The broker's challenge arrived.
    Challenged,
    /// The card's proof was made.
    ProofMade,
    /// The broker's attach arrived.
    AttachReceived,
    /// The session link's handshake was complete.
    LinkUp,
    /// The session accepted the ticket.
    Attached,
    /// The first frame had arrived whole.
    FirstFrameReceived,
    /// The first frame was scanned out.
    FirstFrameShown,
    /// Every layer was lossless.
    SettledLossless,
}

/// When a stage was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// Microseconds since the card edge.
    pub us: u32,
}

/// One attach's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Receipt {
    /// The attach.
    pub attach_id: AttachId,
    /// Stages reached, in order of time.
    pub stages: List<StageTime, MAX_RECEIPT_STAGES>,
}
