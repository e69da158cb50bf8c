//! The broker from its configuration to its end.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use heliostat_link::{CloseCode, Identity, Link, Server};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::admin::{self, About};
use crate::config::Config;
use crate::directory::Directory;
use crate::hub::{Hub, MAX_EVENTS};
use crate::launcher::Launcher;
use crate::metrics;
use crate::policy_file;
use crate::proof::Authorities;
use crate::store::Store;
use crate::terminal;
use crate::x11_sockets;

/// The site key, made where there is none.
pub fn site_key(config: &Config) -> anyhow::Result<Identity> {
    // Nothing that the broker keeps is for anybody else's eyes.
    umask(Mode::from_bits_truncate(0o077));
    let dir = &config.state_dir;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(Identity::load_or_create(&dir.join("site.key"))?)
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let identity = site_key(&config)?;
    let _lock = lock(&config.state_dir)?;
    let launcher = Arc::new(Launcher::new(&config)?);
    if Uid::effective().is_root()
        && let Err(problem) = x11_sockets::make(Path::new(x11_sockets::FOLDER))
    {
        warn!("sessions may do without X11: {problem:#}");
    }
    let (store, remembered) = Store::open(&config.state_dir, &identity)?;
    // Taken first: what is written from here on is a change.
    let loaded = policy_file::stamp(&config.policy);
    let policy = policy_file::load(&config.policy)?.at(config.here());
    let authorities = authorities(&config.cards.authorities)?;
    let directory = Directory::new(config.setup(), policy, authorities, remembered);
    let admin = admin::listen(
        &config.run_dir.join("admin.sock"),
        config.admin_group.as_deref(),
    )?;
    let socket = UdpSocket::bind(config.listen).with_context(|| {
        format!(
            "cannot listen on {}/udp: is another broker running, or is the address not this \
             machine's?",
            config.listen
        )
    })?;
    let metrics = match config.metrics.listen {
        Some(address) => Some(metrics::bind(address).await?),
        None => None,
    };
    let server = Server::listen(socket, &identity, Link::Control, config.budget())?;
    let server = Arc::new(server);
    let listen = server.local_addr()?.to_string();
    let tcp = server.listens_on_tcp();
    info!(%listen, tcp, site_key = %identity.pin(), "the broker is up");
    let about = About {
        site: config.site.clone(),
        site_key: identity.pin().to_string(),
        listen,
    };
    let (to_hub, inbox) = mpsc::channel(MAX_EVENTS);
    let addresses = config.session_addresses.clone();
    let greeter = greeter_command(&config)?;
    let to = to_hub.clone();
    let mut hub = Hub::new(directory, store, launcher, about, greeter, addresses, to);
    hub.adopt();
    let mut links = tokio::spawn(terminal::accept(server.clone(), to_hub.clone()));
    let with_group = config.admin_group.is_some();
    let admins = tokio::spawn(admin::accept(admin, with_group, to_hub.clone()));
    let policies = tokio::spawn(policy_file::watch(
        config.policy.clone(),
        loaded,
        config.here(),
        to_hub.clone(),
    ));
    let scrapes = metrics.map(|listener| tokio::spawn(metrics::serve(listener, to_hub)));
    let mut deaf = false;
    let store = hub.run(inbox, end(stop()?, &mut links, &mut deaf)).await;
    info!("leaving; sessions run on");
    links.abort();
    admins.abort();
    policies.abort();
    scrapes.inspect(JoinHandle::abort);
    server.shutdown(CloseCode::ShuttingDown).await;
    let _ = fs::remove_file(config.run_dir.join("admin.sock"));
    drop(store);
    if deaf {
        bail!("terminals were not accepted any more, see above; start the broker again");
    }
    Ok(())
}

/// Resolves when the broker is asked to leave, or when no terminal can reach it any more: then it is
/// `deaf`, and better started again than running in silence.
async fn end(stop: impl Future<Output = ()>, links: &mut JoinHandle<()>, deaf: &mut bool) {
    tokio::select! {
        () = stop => {}
        ended = links => {
            error!(?ended, "terminals are not accepted any more");
            *deaf = true;
        }
    }
}

/// Resolves when the broker is asked to leave.
fn stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// The greeter as configured, or the one beside our own program.
pub(crate) fn greeter_command(config: &Config) -> anyhow::Result<Vec<String>> {
    match &config.greeter.command {
        Some(command) => Ok(command.clone()),
        None => {
            let ours = std::env::current_exe().context("cannot find our own program")?;
            let beside = ours.with_file_name("heliostat-greeter");
            Ok(vec![beside.to_string_lossy().into_owned()])
        }
    }
}

/// Those who may vouch for cards' keys; nothing where nobody may.
pub fn authorities(files: &[PathBuf]) -> anyhow::Result<Option<Authorities>> {
    let mut text = String::new();
    for file in files {
        let more = fs::read_to_string(file)
            .with_context(|| format!("cards.authorities: cannot read {}", file.display()))?;
        text.push_str(&more);
        text.push('\n');
    }
    if files.is_empty() {
        return Ok(None);
    }
    let authorities = Authorities::from_pem(&text).context("cards.authorities")?;
    Ok(Some(authorities))
}

/// Two brokers must not share one state.
fn lock(state_dir: &Path) -> anyhow::Result<Flock<File>> {
    let path = state_dir.join("broker.lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err(_) => bail!("another broker uses {}: stop it first", state_dir.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broker_that_accepts_no_terminals_ends_and_is_deaf() {
        let mut deaf = false;
        let mut links = tokio::spawn(async {});
        end(std::future::pending(), &mut links, &mut deaf).await;
        assert!(deaf);
        let mut deaf = false;
        let mut links = tokio::spawn(std::future::pending());
        end(std::future::ready(()), &mut links, &mut deaf).await;
        assert!(!deaf);
    }
}
