//! Client → PID 1.

use serde::{Deserialize, Serialize};

use crate::Code;

/// Exit status by which the client asks PID 1 for a reboot; any other exit is a restart.
pub const EXIT_REBOOT: i32 = 80;
/// Exit status by which the client asks PID 1 to power the terminal off.
pub const EXIT_POWEROFF: i32 = 81;

/// Something the client tells PID 1, one JSON line on the state socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum ClientReport {
    /// The first screen of this client was scanned out.
    ScreenShown,
    /// The client's main loop runs. A client that has said so once has to go on saying it, every
    /// five seconds or so: after fifteen without, it is taken to hang and started anew.
    Alive,
    /// The client's own stage changed: shown on the serial console, kept for the next client.
    Status {
        /// What stands in the way now; `None` when nothing does any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<Code>,
        /// One sentence for a person.
        #[serde(default)]
        text: String,
    },
    /// Every broker in the list was tried in vain: look for others (DNS, DHCP) again.
    BrokersUnreachable,
    /// The person or the broker asked for a reboot.
    Reboot,
    /// The person or the broker asked for power off.
    PowerOff,
}
