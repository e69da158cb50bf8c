//! Threads, which a machine may have no more of: a limit on tasks is soon reached by others.

use std::io;
use std::thread::Builder;

/// Where threads come from.
#[derive(Debug, Clone, Default)]
pub enum Threads {
    /// The system.
    #[default]
    System,
    /// The system, and only so many more.
    #[cfg(test)]
    Few(std::sync::Arc<std::sync::atomic::AtomicUsize>),
}

impl Threads {
    /// Starts one, or says why there is none; then `work` is dropped.
    pub fn start(&self, thread: Builder, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        match self {
            Self::System => {}
            #[cfg(test)]
            Self::Few(left) => {
                use std::sync::atomic::Ordering::Relaxed;
                let one_less = |left: usize| left.checked_sub(1);
                let none = |_| io::Error::from(io::ErrorKind::WouldBlock);
                left.fetch_update(Relaxed, Relaxed, one_less)
                    .map_err(none)?;
            }
        }
        thread.spawn(work).map(drop)
    }

    /// So many and no more.
    #[cfg(test)]
    pub fn few(left: usize) -> Self {
        Self::Few(std::sync::Arc::new(left.into()))
    }
}
