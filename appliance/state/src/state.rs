//! PID 1 → client: everything PID 1 knows that the client shows or needs.

use serde::{Deserialize, Serialize};

use crate::Code;

/// How far the terminal has come. PID 1 reports up to `Ready`; the client goes on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// No network interface has a carrier yet.
    #[default]
    Cable,
    /// The carrier is up, an address is being asked for.
    Dhcp,
    /// The address is there, the broker is being looked for (or, from the client, connected to).
    Broker,
    /// The broker speaks another version (client only).
    Version,
    /// The card or its reader is the matter (client only).
    Card,
    /// Brokers and site keys are known: the client may connect.
    Ready,
    /// It cannot go on by itself: `code` says why.
    Failed,
}

/// The whole state of the terminal as PID 1 knows it. Every line replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TerminalState {
    /// How far the terminal has come.
    pub stage: Stage,
    /// What stands in the way, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// One sentence for the screen; empty when there is nothing to say.
    #[serde(default)]
    pub text: String,
    /// Faults that do not stop the stage, for small symbols beside it (such as E50).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Code>,
    /// The terminal's name: command line, DHCP option 12, or `t-` and the end of the MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The terminal's id: MAC of the boot interface, lower case with colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The boot interface, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// `HOST:PORT` of each broker, best first. Empty until they are found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<String>,
    /// Accepted site keys, each `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_keys: Vec<String>,
    /// When the steps of this boot happened.
    #[serde(default)]
    pub boot: BootTimes,
}

impl TerminalState {
    /// True when the client has all it needs to connect.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready && !self.brokers.is_empty() && !self.site_keys.is_empty()
    }
}

/// The boot interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// Kernel name, such as `enp0s2` or `eth0`.
    pub interface: String,
    /// MAC, lower case with colons.
    pub mac: String,
    /// The cable is in and the other end answers.
    pub carrier: bool,
    /// IPv4 address with prefix length, such as `10.77.0.20/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// When the steps of this boot happened: milliseconds of kernel uptime (CLOCK_BOOTTIME).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BootTimes {
    /// PID 1 began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_ms: Option<u64>,
    /// A display device was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_ms: Option<u64>,
    /// The client was started for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ms: Option<u64>,
    /// The client said that its first screen was scanned out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen_ms: Option<u64>,
    /// The carrier came up for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_ms: Option<u64>,
    /// The first DHCP lease was had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// Brokers were known for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
}
