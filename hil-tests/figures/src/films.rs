//! Films by hardware, for which the software VA driver stands in: what our own part of the way costs,
//! the driver's aside.
//!
//! ```text
//!   client commits ─► vaBeginPicture … the driver encodes … its bytes are there ─► frame at the link
//!   └─ commit_to_va_us ─┘                                   └──── va_to_link_us ────┘
//!
//!   frame off the link ─► applied … the driver decodes … ─► on a plane
//!   └──────── link_to_plane_us, the driver aside ──────────────────┘
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hil_local::{Lent, Site, SiteOptions, Terminal};
use hil_rig::programs;
use nix::mount::{MsFlags, mount, umount};
use serde_json::Value;
use tempfile::TempDir;

use crate::attach::CARD;
use crate::{Figure, percentile};

const STEP: Duration = Duration::from_secs(20);
/// A driver in software has to keep up, or pictures would wait for those before them.
const RATE: u64 = 10;
/// Pictures before the first that counts, and those that count.
const WARM: u64 = 20;
const PICTURES: u64 = 120;
const PATIENCE: Duration = Duration::from_secs(60);

/// What sessions find in place of a graphics device, as long as this lives.
struct Stage(TempDir);

impl Stage {
    /// Sets it, inside a mount namespace of our own: sysfs says of `/dev/null` that it is a node of
    /// DRM, and everybody's environment which driver there is.
    fn set() -> anyhow::Result<Self> {
        let driver = programs::folder()?.join("libheliostat_drv_video.so");
        if !driver.is_file() {
            bail!("skipped: there is no VA driver, cargo build -p hil-va-driver makes one");
        }
        let environment = Path::new("/etc/environment");
        if !environment.is_file() {
            bail!("skipped: there is no /etc/environment to tell sessions of the driver");
        }
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        fs::copy(&driver, at("heliostat_drv_video.so")).context("copy the VA driver")?;
        let path = folder.path().display();
        let text = format!("LIBVA_DRIVERS_PATH={path}\nLIBVA_DRIVER_NAME=heliostat\n");
        fs::write(at("environment"), text)?;
        let none: Option<&str> = None;
        let nodes = Path::new(NODES);
        mount(Some("tmpfs"), nodes, Some("tmpfs"), MsFlags::empty(), none)
            .context("skipped: sysfs cannot be covered")?;
        let stage = Self(folder);
        fs::create_dir_all(nodes.join("1:3/device/drm"))?;
        let told = stage.0.path().join("environment");
        mount(Some(&told), environment, none, MsFlags::MS_BIND, none)
            .context("skipped: /etc/environment cannot be covered")?;
        Ok(stage)
    }
}

const NODES: &str = "/sys/dev/char";

impl Drop for Stage {
    fn drop(&mut self) {
        // What was never covered cannot be uncovered.
        let _ = umount("/etc/environment");
        let _ = umount(NODES);
    }
}

/// The numbers of films that the session tells.
#[derive(Debug)]
struct Films(Value);

impl Films {
    fn of(site: &Site) -> anyhow::Result<Self> {
        let sessions = site.ctl(&["session", "list"])?;
        let films = member(&sessions, "films");
        let films = films.with_context(|| format!("the session tells of no films: {sessions}"))?;
        Ok(Self(films.clone()))
    }

    fn number(&self, name: &str) -> anyhow::Result<u64> {
        let number = self.0[name].as_u64();
        number.with_context(|| format!("no {name} in {}", self.0))
    }
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => {
            let below = || members.values().find_map(|below| member(below, name));
            members.get(name).or_else(below)
        }
        Value::Array(all) => all.iter().find_map(|below| member(below, name)),
        _ => None,
    }
}

/// Waits until the hardware has encoded so many pictures.
fn wait_for(site: &Site, terminal: &mut Terminal, pictures: u64) -> anyhow::Result<Films> {
    let limit = Instant::now() + PATIENCE;
    loop {
        // To ask costs the session time: after a second's pictures is soon enough.
        for _ in 0..RATE {
            let is_frame = |event: &hil_local::Event| event.name() == "frame_shown";
            terminal.wait_for("a picture", STEP, is_frame)?;
        }
        let films = Films::of(site)?;
        if films.number("by_hardware")? >= pictures {
            return Ok(films);
        }
        ensure!(
            Instant::now() < limit,
            "the hardware has not encoded {pictures} pictures: {films:?}"
        );
    }
}

/// A site whose sessions play a film of 1080p.
fn site(probe: &Lent) -> anyhow::Result<Site> {
    let program = probe.path().display();
    let options = SiteOptions {
        session_toml: format!(
            "render_node = \"/dev/null\"\nautostart = [\"{program} film --rate {RATE}\"]\n"
        ),
        ..SiteOptions::default()
    };
    Site::start(&options)
}

/// The same film, decoded by the driver in software at a terminal whose screen has a plane.
pub fn measure_terminal() -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::set()?;
    let probe = Lent::new("hil-probe")?;
    let site = site(&probe)?;
    site.add_card(CARD, "alice")?;
    let environment = [
        ("LIBVA_DRIVERS_PATH", stage.0.path()),
        ("LIBVA_DRIVER_NAME", Path::new("heliostat")),
    ];
    let node = Path::new("/dev/null");
    let mut terminal = site.headless_with_plane("desk", (1920, 1080), node, &environment)?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    let mut times = Vec::new();
    while times.len() < (WARM + PICTURES) as usize {
        let shown = terminal.wait_named("video", STEP)?;
        ensure!(
            ["primary", "over"].contains(&shown.value["way"].as_str().unwrap_or("")),
            "the film is not on a plane: {}",
            shown.value
        );
        // Pictures that waited for one before them have none.
        times.extend(shown.number("overhead_us").map(|us| us as f64));
    }
    let mut times = times.split_off(WARM as usize);
    times.sort_by(f64::total_cmp);
    let worst = percentile(&times, 0.99);
    Ok(vec![Figure {
        name: "link_to_plane_us",
        value: percentile(&times, 0.5),
        unit: "us",
        target: Some(300.0),
        how: format!(
            "{PICTURES} pictures, 1920x1080, {RATE} a second, decoded by the software VA driver, as the \
             terminal says itself: median from a frame's last byte off the link to the decoder's \
             surface on a plane, the driver's decoding aside; the display is one in memory, so that \
             the kernel's own commit is aside as well; the 99th percentile is {worst} us"
        ),
    }])
}

/// A film of 1080p in a real session, at a headless terminal of 60 Hz.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let _stage = Stage::set()?;
    let probe = Lent::new("hil-probe")?;
    let site = site(&probe)?;
    site.add_card(CARD, "alice")?;
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    let before = wait_for(&site, &mut terminal, WARM)?;
    let start = before.number("by_hardware")?;
    let after = wait_for(&site, &mut terminal, start + PICTURES)?;
    let pictures = after.number("by_hardware")? - start;
    ensure!(
        after.number("by_processor")? == before.number("by_processor")?
            && after.number("failures")? == 0,
        "the hardware did not encode all of the film: {before:?} {after:?}"
    );
    let copied = after.number("read_bytes")? - before.number("read_bytes")?;
    let film = format!(
        "{pictures} pictures of NV12, 1920x1080, {RATE} a second, encoded by the software VA driver \
         from their client's buffers, as the session says itself"
    );
    let figure = |name, part: &str, target, what: &str| {
        let value = after.number(&format!("{part}_p50_us"))? as f64;
        let worst = after.number(&format!("{part}_p99_us"))?;
        anyhow::Ok(Figure {
            name,
            value,
            unit: "us",
            target: Some(target),
            how: format!("{film}: median {what}; the 99th percentile is {worst} us"),
        })
    };
    Ok(vec![
        figure(
            "commit_to_va_us",
            "commit_to_encoder",
            300.0,
            "from the client's commit to vaBeginPicture, with the way to the hardware's thread and \
             its check of the buffer",
        )?,
        figure(
            "va_to_link_us",
            "coded_to_link",
            100.0,
            "from the driver's bytes to the frame that the link was handed, with the way back from \
             the hardware's thread and what it waits for a terminal of 60 Hz",
        )?,
        Figure {
            name: "video_copied_bytes",
            value: copied as f64 / pictures as f64,
            unit: "bytes",
            target: Some(0.0),
            how: format!(
                "{film}: bytes of its pixels that the session has read, a picture; the terminal's \
                 side is checked in the machine with planes"
            ),
        },
    ])
}
