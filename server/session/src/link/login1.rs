//! Locking by logind: `loginctl lock-session` and whatever else sends this session's Lock signal, as
//! programs that lock before the machine sleeps do.
//!
//! A connection to the system bus that knows four messages. A bus library would come with threads
//! and an executor of its own in every session, for one signal.

mod bus;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use heliostat_control::session::Ask;
use tracing::{debug, info};

use super::{LinkEvent, Post};
use bus::{Bus, Signal};

const LOGIND: &str = "org.freedesktop.login1";
const SESSION: &str = "org.freedesktop.login1.Session";
/// Where the system bus is unless the environment says otherwise.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// How long to wait before looking for a bus again that has gone away.
const AGAIN: Duration = Duration::from_secs(30);

/// Hears of locks until the session ends, where logind knows the session.
pub(super) async fn serve(post: Post) {
    let Ok(session) = std::env::var("XDG_SESSION_ID") else {
        return;
    };
    let Some(bus) = socket(std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok().as_deref()) else {
        return;
    };
    loop {
        let path = object(&session);
        let heard = async { hear(subscribe(&bus, &path).await?, &path, &post).await };
        if let Err(why) = heard.await {
            debug!("logind is not heard: {why:#}");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The socket of the bus with this address, where it has one that we know how to reach.
fn socket(address: Option<&str>) -> Option<PathBuf> {
    let Some(address) = address else {
        return Some(SYSTEM_BUS.into());
    };
    let paths = address.split(';').filter_map(|one| {
        let options = one.strip_prefix("unix:")?;
        let mut options = options.split(',');
        options.find_map(|option| option.strip_prefix("path="))
    });
    // Bytes that are escaped are in no path that anybody uses.
    paths.map(PathBuf::from).next()
}

/// A connection over which the locks of the session with this object come.
async fn subscribe(bus: &Path, path: &str) -> anyhow::Result<Bus> {
    let mut bus = Bus::connect(bus).await?;
    let rule = format!(
        "type='signal',sender='{LOGIND}',interface='{SESSION}',member='Lock',path='{path}'"
    );
    bus.add_match(&rule)
        .await
        .context("cannot ask for signals")?;
    info!(path, name = bus.name(), "logind may lock this session");
    Ok(bus)
}

async fn hear(mut bus: Bus, path: &str, post: &Post) -> anyhow::Result<()> {
    loop {
        let signal = bus.signal().await?;
        if !is_lock(&signal, path) {
            continue;
        }
        // Anybody on the bus may send us a signal of any name: only the bus says whose it is.
        if bus.owner_of(LOGIND).await? != Some(signal.sender) {
            debug!("somebody else than logind has sent a Lock");
            continue;
        }
        if !post(LinkEvent::Asked(Ask::Lock)) {
            bail!("the session is ending");
        }
    }
}

fn is_lock(signal: &Signal, path: &str) -> bool {
    (&*signal.path, &*signal.interface, &*signal.member) == (path, SESSION, "Lock")
}

/// The object of a session, as logind makes paths of ids.
fn object(session: &str) -> String {
    let mut path = String::from("/org/freedesktop/login1/session/");
    for (at, byte) in session.bytes().enumerate() {
        let plain = byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
        match plain {
            true => path.push(char::from(byte)),
            false => path += &format!("_{byte:02x}"),
        }
    }
    path
}
