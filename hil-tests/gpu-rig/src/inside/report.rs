//! Telling the host.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use hil_local::framebuffer::Shot;

use crate::lines::{Line, PORT, to_hex};

/// The way to the host.
pub struct Report {
    port: File,
    slowest_look: Duration,
}

impl Report {
    /// Opens the port; nobody has made links by its name here.
    pub fn open() -> Result<Self> {
        for entry in fs::read_dir("/sys/class/virtio-ports").context("no port to the host")? {
            let entry = entry?;
            if fs::read_to_string(entry.path().join("name"))?.trim() == PORT {
                let device = format!("/dev/{}", entry.file_name().to_string_lossy());
                let port = OpenOptions::new().write(true).open(&device);
                return Ok(Self {
                    port: port.context(device)?,
                    slowest_look: Duration::ZERO,
                });
            }
        }
        anyhow::bail!("no port of the name {PORT}")
    }

    /// Sends a line.
    pub fn say(&mut self, line: &Line) {
        // A host that is gone has switched the machine off.
        let _ = self.port.write_all(line.to_text().as_bytes());
    }

    /// Tells something worth reading.
    pub fn note(&mut self, text: impl Into<String>) {
        self.say(&Line::Note { text: text.into() });
    }

    /// Remembers how long a look at the screen took.
    pub fn looked(&mut self, took: Duration) {
        self.slowest_look = self.slowest_look.max(took);
    }

    /// The slowest of the looks since this was last asked, if there were any.
    pub fn take_slowest_look(&mut self) -> Option<Duration> {
        let took = std::mem::take(&mut self.slowest_look);
        (took > Duration::ZERO).then_some(took)
    }

    /// Sends a picture.
    pub fn picture(&mut self, name: &str, shot: &Shot) -> Result<()> {
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, shot.w, shot.h);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fast);
        let rgb: Vec<u8> = shot
            .pixels
            .chunks_exact(4)
            .flat_map(|p| [p[2], p[1], p[0]])
            .collect();
        encoder.write_header()?.write_image_data(&rgb)?;
        self.say(&Line::Picture {
            name: name.to_owned(),
            png: to_hex(&png),
        });
        Ok(())
    }
}
