//! The way to a terminal: who measures it, and what is known of it.

use std::time::Duration;

use heliostat_link::{Connection, Path, Stats};

/// Who measures the way.
#[derive(Debug)]
pub enum Way {
    /// A link does, while it carries.
    Link(Connection),
    /// Nobody does: frames may have what they want.
    Unmeasured,
    /// A test says how it is.
    #[cfg(test)]
    Said(Path),
}

impl Way {
    /// What is known of it, where it is measured.
    pub fn path(&self) -> Option<Path> {
        match self {
            Self::Link(connection) => Some(connection.path()),
            Self::Unmeasured => None,
            #[cfg(test)]
            Self::Said(path) => Some(*path),
        }
    }

    /// The round trip as it now is; zero where nobody knows.
    pub fn rtt(&self) -> Duration {
        let measured = self.path().and_then(|path| path.rtt);
        measured.unwrap_or_else(|| self.stats().rtt)
    }

    /// What its link counts.
    pub fn stats(&self) -> Stats {
        match self {
            Self::Link(connection) => connection.stats(),
            Self::Unmeasured => Stats::default(),
            #[cfg(test)]
            Self::Said(_) => Stats::default(),
        }
    }
}

impl From<Option<Connection>> for Way {
    fn from(connection: Option<Connection>) -> Self {
        connection.map_or(Self::Unmeasured, Self::Link)
    }
}
