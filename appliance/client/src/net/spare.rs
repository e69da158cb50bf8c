//! The way back from TCP to QUIC: tried beside the link that is served, and kept until the broker
//! has given another attach for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heliostat_link::{Carrier, Connection, Dialer, Link};
use heliostat_wire::id::KeyPin;
use tokio::time::{sleep, timeout};

use super::returning::Returning;

/// A handshake that is not complete by then has failed.
const PATIENCE: Duration = Duration::from_secs(4);

/// What never comes back.
pub(super) enum Never {}

/// A connection to the session by QUIC on which nothing has been said yet, if there is one. The
/// session keeps it for as long as it waits for a first message.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    connection: Option<Connection>,
    returning: Returning,
}

impl Spare {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, connection: Connection) {
        self.lock().connection = Some(connection);
    }

    /// Takes the connection, if it is to the session of this key and lives.
    pub(super) fn take(&self, pin: KeyPin) -> Option<Connection> {
        let kept = self.lock().connection.take();
        kept.filter(|kept| kept.peer() == pin && kept.ended().is_none())
    }

    /// Looks at, or changes, what is known of earlier ways back.
    pub(super) fn returning<T>(&self, change: impl FnOnce(&mut Returning) -> T) -> T {
        change(&mut self.lock().returning)
    }
}

/// While a session link is over TCP, tries now and then whether QUIC reaches the session. Where it
/// does, keeps the connection and says so.
pub(super) fn look_for_quic<F: Fn()>(
    dialer: &Arc<Dialer>,
    present: &Connection,
    spare: &Spare,
    passes: F,
) -> impl Future<Output = Never> + use<F> {
    let (dialer, spare) = (dialer.clone(), spare.clone());
    let (carrier, session) = (present.carrier(), present.remote_address());
    let pins = [present.peer()];
    async move {
        if carrier == Carrier::Quic {
            std::future::pending::<()>().await;
        }
        let mut waits = spare.returning(|known| known.waits());
        loop {
            let mut jitter = [0; 4];
            // Without randomness terminals merely try at the same time.
            let _ = getrandom::fill(&mut jitter);
            sleep(waits.next(u32::from_le_bytes(jitter))).await;
            let dialled = dialer.dial_over(Carrier::Quic, session, Link::Session, &pins);
            if let Ok(Ok(connection)) = timeout(PATIENCE, dialled).await {
                spare.keep(connection);
                passes();
            }
        }
    }
}
