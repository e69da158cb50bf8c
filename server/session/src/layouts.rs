//! Which keyboard layout is active, for panels: the last line of a file in the person's runtime
//! folder, which a panel follows as it follows a log.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use heliostat_control::ask;
use tracing::debug;

use crate::app::App;

/// Bytes after which the file begins anew; whoever follows it notices.
const MAX_BYTES: usize = 4096;

/// The file.
#[derive(Debug, Default)]
pub struct LayoutFile {
    path: Option<PathBuf>,
    file: Option<File>,
    /// The last line, and how much is above it.
    said: Option<String>,
    bytes: usize,
}

impl LayoutFile {
    /// The file beside the person's socket of this session, which goes with the runtime folder.
    pub fn of(wayland_display: &str) -> Self {
        Self {
            path: ask::socket_of(wayland_display).map(|socket| socket.with_extension("layout")),
            ..Self::default()
        }
    }

    /// Notes what is active now; nothing where there is no choice.
    fn say(&mut self, layout: &str) {
        if self.said.as_deref() == Some(layout) {
            return;
        }
        let Some(path) = &self.path else { return };
        let line = format!("{layout}\n");
        self.bytes += line.len();
        if self.file.is_none() || self.bytes > MAX_BYTES {
            self.bytes = line.len();
            self.file = File::create(path)
                .inspect_err(|error| debug!("{}: {error}", path.display()))
                .ok();
        }
        let written = self
            .file
            .as_mut()
            .map(|file| file.write_all(line.as_bytes()));
        if let Some(Err(error)) = written {
            debug!("{}: {error}", path.display());
        }
        self.said = Some(layout.to_owned());
    }
}

impl App {
    /// Tells panels which layout is active, where that is another than they know.
    pub(crate) fn tell_layout(&mut self) {
        let keyboard = self.keyboard.clone();
        let name = keyboard.with_xkb_state(self, |context| {
            let xkb = context.xkb().lock().ok()?;
            let choice = xkb.layouts().nth(1).is_some();
            choice.then(|| xkb.layout_name(xkb.active_layout()).to_owned())
        });
        self.layouts.say(&name.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_what_is_active_and_the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heliostat-x.layout");
        let mut file = LayoutFile {
            path: Some(path.clone()),
            ..LayoutFile::default()
        };
        let text = || std::fs::read_to_string(&path).unwrap();
        file.say("");
        assert_eq!(text(), "\n");
        file.say("German");
        file.say("German");
        file.say("English (US)");
        assert_eq!(text(), "\nGerman\nEnglish (US)\n");
        for _ in 0..1000 {
            file.say("German");
            file.say("English (US)");
        }
        assert!(text().len() <= MAX_BYTES);
        assert!(text().ends_with("English (US)\n"));
        // Without a runtime folder nobody is told, and nothing else is wrong.
        LayoutFile::default().say("German");
    }
}
