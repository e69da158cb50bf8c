//! The worker of one login: `heliostat-broker pam-worker`.
//!
//! One thread, blocking on purpose: PAM blocks. It holds the PAM handle from the first prompt to
//! the end of the session, is the session's parent, and lives on while the broker restarts. What it
//! says and hears is in [`heliostat_control::worker`].
//!
//! ```text
//! Begin ─► login ─► Authenticated ─► Start ─► session ─► Ended ─► PAM session closed
//!            └─► Failed                └─► Failed
//! ```

use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::Context;
use heliostat_control::worker::{FromWorker, ToWorker};

mod channel;
pub(crate) mod descendants;
mod environment;
mod login;
mod session;
pub(crate) mod shed;
mod talk;

use channel::Channel;

/// What all logins of a broker have in common.
#[derive(Debug, clap::Args)]
pub struct PamWorker {
    /// Where PAM's services are described, instead of /etc/pam.d.
    #[arg(long)]
    services: Option<PathBuf>,
}

impl PamWorker {
    /// Sees one login, and the session that comes of it, to the end.
    pub fn run(&self) -> anyhow::Result<()> {
        shed::prepare().context("cannot leave the broker behind")?;
        let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
        shed::forget_standard_input()?;
        let mut channel = Channel::new(socket);
        let voice = channel.voice();
        let Some((ToWorker::Begin(begin), _)) = channel.hear() else {
            return Ok(());
        };
        let services = self.services.as_deref();
        let (mut login, mut channel) = match login::login(&begin, services, channel) {
            Ok(done) => done,
            Err(failed) => {
                let _ = voice.say(&failed);
                return Ok(());
            }
        };
        let person = login.user();
        if voice.say(&FromWorker::Authenticated { person }).is_err() {
            return Ok(());
        }
        // Otherwise the broker is gone, or has no use for this login.
        if let Some((ToWorker::Start(start), fds)) = channel.hear() {
            session::run(&mut login, &start, fds, &voice);
        }
        login.end();
        Ok(())
    }
}
