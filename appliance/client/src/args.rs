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
    /// A headless screen behaves as one with a plane that shows films as they are decoded: for measuring
    #[arg(long, hide = true)]
    pub plane: bool,
    /// Take JSON lines on standard input and say events on standard output
    #[arg(long)]
    pub control: bool,
    /// Where cards come from
    #[arg(long, value_enum, default_value_t = CardSource::Pcsc)]
    pub card_source: CardSource,
    /// What decodes videos: "auto" (the graphics device, else the processor), "software", or a node
    /// such as /dev/dri/renderD128
    #[arg(long, default_value = "auto", value_name = "auto|software|NODE")]
    pub decoder: DecoderChoice,
    /// The graphics device with the screens, such as /dev/dri/card0, if it is not the first
    #[arg(long, value_name = "CARD")]
    pub card: Option<PathBuf>,
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

/// What decodes videos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecoderChoice {
    /// The render node of the screens' device, or the first one.
    Auto,
    /// The processor.
    Software,
    /// This node's device.
    Node(PathBuf),
}

impl std::str::FromStr for DecoderChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "software" => Ok(Self::Software),
            path if path.starts_with('/') => Ok(Self::Node(path.into())),
            _ => Err("it is auto, software, or the path of a render node".to_owned()),
        }
    }
}
