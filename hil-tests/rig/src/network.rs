//! The site's network: a bridge, and a cable to each terminal.

use std::process::Command;

use anyhow::{Context, bail};

/// The bridge.
pub const BRIDGE: &str = "br0";
/// The server's address on it.
pub const SERVER: &str = "10.77.0.1";

/// Lays the bridge. The server is at [`SERVER`]; IPv6 is there so that iPXE does not wait for it.
pub fn build() -> anyhow::Result<()> {
    ip(&[
        "link",
        "add",
        BRIDGE,
        "type",
        "bridge",
        "forward_delay",
        "0",
        "mcast_snooping",
        "0",
    ])?;
    ip(&["addr", "add", &format!("{SERVER}/24"), "dev", BRIDGE])?;
    ip(&["addr", "add", "fd77::1/64", "dev", BRIDGE, "nodad"])?;
    ip(&["link", "set", BRIDGE, "up"])
}

/// Lays a cable that ends in a tap for a machine.
pub fn add_cable(tap: &str) -> anyhow::Result<()> {
    ip(&["tuntap", "add", tap, "mode", "tap"])?;
    ip(&["link", "set", tap, "master", BRIDGE, "up"])
}

/// Runs `ip`.
fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("run ip (package iproute2)")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
