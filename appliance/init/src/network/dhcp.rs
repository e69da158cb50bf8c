//! Asking for a lease, and renewing it, for as long as the task lives.

use std::time::Duration;

use mozim::{DhcpError, DhcpV4Client, DhcpV4Config, DhcpV4State};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::interface::Interface;
use super::lease::{BROKER_OPTION, Lease};

/// Without an answer for this long the client starts over, so that its pauses, which double, stay
/// short: a terminal has nothing else to do than to wait for a server that comes back.
const START_OVER_SEC: u32 = 30;
/// The pause after an error.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Leases that came, with the interface they are for.
pub(super) type Leases = mpsc::Sender<(u32, Lease)>;

/// Asks on `interface` and sends every lease, new or renewed, into `leases`. `host_name` is what
/// the server is told about who asks.
pub(super) async fn ask(interface: Interface, host_name: Option<String>, leases: Leases) {
    loop {
        match ask_once(&interface, host_name.as_deref(), &leases).await {
            Ok(()) => return,
            Err(error) if error.kind() == mozim::ErrorKind::Timeout => {
                info!(interface = interface.name, "no answer from DHCP, asking on");
            }
            Err(error) => {
                warn!(interface = interface.name, %error, "DHCP failed, asking on");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Ends without an error when nobody listens to leases any more.
async fn ask_once(
    interface: &Interface,
    host_name: Option<&str>,
    leases: &Leases,
) -> Result<(), DhcpError> {
    let mut client = DhcpV4Client::init(config(interface, host_name)?, None).await?;
    loop {
        if let DhcpV4State::Done(lease) = client.run().await? {
            match Lease::from_dhcp(&lease) {
                Ok(lease) => {
                    if leases.send((interface.index, lease)).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => warn!(%error, "lease refused"),
            }
        }
    }
}

fn config(interface: &Interface, host_name: Option<&str>) -> Result<DhcpV4Config, DhcpError> {
    let mut config = DhcpV4Config::new(&interface.name);
    config.set_iface_index(interface.index);
    config.set_iface_mac_raw(&interface.mac.0)?;
    // Firmware and iPXE ask with the same id, so that the lease stays the same.
    config.use_mac_as_client_id();
    config.request_extra_dhcp_opts(&[BROKER_OPTION]);
    config.set_timeout_sec(START_OVER_SEC);
    if let Some(name) = host_name {
        config.set_host_name(name);
    }
    Ok(config)
}
