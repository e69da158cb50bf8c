//! What the network process and PID 1 tell each other. Types only.

use heliostat_terminal_state::{Code, Link, Stage};
use serde::{Deserialize, Serialize};

/// The network as it is now; every report replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetReport {
    /// `Cable`, `Dhcp`, `Broker` or `Ready`.
    pub stage: Stage,
    /// What stands in the way, once it has done so for a while.
    #[serde(default)]
    pub code: Option<Code>,
    /// One sentence about it.
    #[serde(default)]
    pub text: String,
    /// The boot interface.
    #[serde(default)]
    pub link: Option<Link>,
    /// The name DHCP gave.
    #[serde(default)]
    pub host_name: Option<String>,
    /// The name of a terminal without one, from the MAC.
    #[serde(default)]
    pub default_name: Option<String>,
    /// Brokers found, best first.
    #[serde(default)]
    pub brokers: Vec<String>,
}

/// PID 1 → network process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// No broker found so far answers: look for others.
    LookAgain,
}
