//! The client's command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::control_lines::parse_size;

/// Arguments of `heliostat-terminal client`.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Where to show pictures
    #[arg(long, value_enum, default_value_t = Backend::Window)]
    pub backend: Backend,
    /// A broker, best first; may be repeated
    #[arg(long = "broker", value_name = "HOST:PORT")]
    pub brokers: Vec<String>,
    /// A key that the broker must prove, as sha256:<64 hex digits>; may be repeated
    #[arg(long = "site-key", value_name = "PIN")]
    pub site_keys: Vec<String>,
    /// The terminal's name
    #[arg(long)]
    pub name: Option<String>,
    /// The terminal's id, if it has no MAC address to be known by
    #[arg(long)]
    pub id: Option<String>,
    /// The file of the headless back end's picture
    #[arg(long, value_name = "FILE")]
    pub framebuffer: Option<PathBuf>,
    /// Size of a window or a headless screen
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = parse_size)]
    pub size: (u32, u32),
    /// Take JSON lines on standard input and say events on standard output
    #[arg(long)]
    pub control: bool,
    /// Where cards come from
    #[arg(long, value_enum, default_value_t = CardSource::Pcsc)]
    pub card_source: CardSource,
    /// The keyboard layout, as XKB has it: "de" or "ch(fr)"
    #[arg(long, default_value = "")]
    pub layout: String,
    /// Descriptor of the socket to PID 1
    #[arg(long, value_name = "N", hide = true)]
    pub state_fd: Option<i32>,
}

/// Where to show pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Real screens, by kernel mode setting
    Kms,
    /// A window on your own desktop
    Window,
    /// A file in memory
    Headless,
}

/// Where cards come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CardSource {
    /// Real readers, through pcscd
    Pcsc,
    /// Control lines
    Control,
}
