//! Logins at greeters by PAM's workers.

use heliostat_control::worker::{Begin, Credential, FromWorker, Secret, ToWorker};

use super::{LoginWorker, LoginWorkers};
use crate::worker::{Worker, Workers};

/// Starts a PAM worker for each login at one greeter.
#[derive(Debug, Clone)]
pub struct PamLogins {
    /// What starts them.
    pub workers: Workers,
    /// The PAM service of people.
    pub service: String,
    /// The address of the greeter's terminal.
    pub rhost: String,
    /// The terminal's name.
    pub tty: String,
}

impl LoginWorkers for PamLogins {
    type Worker = Worker;

    async fn start(&mut self, person: &str) -> anyhow::Result<Worker> {
        let mut worker = self.workers.start()?;
        let begin = Begin {
            service: self.service.clone(),
            person: Some(person.to_owned()),
            by: Credential::Password,
            rhost: self.rhost.clone(),
            tty: self.tty.clone(),
        };
        worker.say(&ToWorker::Begin(begin)).await;
        Ok(worker)
    }
}

impl LoginWorker for Worker {
    async fn answer(&mut self, text: Option<Secret>) {
        self.say(&ToWorker::Answer { text }).await;
    }

    async fn hear(&mut self) -> FromWorker {
        Worker::hear(self).await
    }
}
