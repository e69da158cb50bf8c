//! Between a person and their session: `heliostat-leave` says an [`Ask`](crate::session::Ask) as one
//! line of JSON, the session answers with one.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The session's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was heard.
    pub done: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where a session with this Wayland socket listens; nowhere without XDG_RUNTIME_DIR.
pub fn socket_of(wayland_display: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?;
    // WAYLAND_DISPLAY may be a path.
    let name = std::path::Path::new(wayland_display)
        .file_name()?
        .to_str()?;
    Some(PathBuf::from(folder).join(format!("heliostat-{name}.sock")))
}
