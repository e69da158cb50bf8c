//! What a service is: a program, its arguments, and how it talks to PID 1. Data.

use std::fmt;
use std::path::PathBuf;

use heliostat_terminal_state::Code;

/// The services there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceId {
    /// DHCP and the search for brokers, in a process of its own so that bytes off the wire are
    /// never parsed by PID 1.
    Network,
    /// The client: screens, input, cards, links.
    Client,
    /// systemd-udevd or eudev: the database that libinput reads.
    Udevd,
    /// pcscd: card readers.
    Pcscd,
    /// A root shell on a serial line, in images built for finding faults.
    Shell,
}

impl ServiceId {
    /// All of them.
    pub const ALL: [ServiceId; 5] = [
        ServiceId::Network,
        ServiceId::Client,
        ServiceId::Udevd,
        ServiceId::Pcscd,
        ServiceId::Shell,
    ];

    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            ServiceId::Network => "network",
            ServiceId::Client => "client",
            ServiceId::Udevd => "udevd",
            ServiceId::Pcscd => "pcscd",
            ServiceId::Shell => "shell",
        }
    }

    /// The code shown while it keeps dying, where the terminal's work depends on it.
    pub fn failing_code(self) -> Option<Code> {
        match self {
            ServiceId::Network => Some(Code::InitFailed),
            ServiceId::Client => Some(Code::ClientFailing),
            ServiceId::Udevd => Some(Code::NoUdev),
            ServiceId::Pcscd => Some(Code::NoCardService),
            ServiceId::Shell => None,
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to run a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Which one it is.
    pub id: ServiceId,
    /// The program, by its full path.
    pub program: PathBuf,
    /// What it finds as its own name, when that is not the path.
    pub arg0: Option<String>,
    /// Its arguments, without the one for the channel.
    pub args: Vec<String>,
    /// Its environment beyond PATH and HOME.
    pub env: Vec<(String, String)>,
    /// The argument behind which the number of its JSON line socket goes; `None` for programs
    /// that are not ours.
    pub channel_flag: Option<String>,
    /// The serial line it talks on, in place of being logged.
    pub tty: Option<PathBuf>,
    /// What the kernel kills first when memory runs out: 1000 first, -1000 never.
    pub oom_score_adj: i16,
}
