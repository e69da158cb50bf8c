//! Films by hardware, for which the software VA driver stands in: what our own part of the way costs,
//! the driver's aside.
//!
//! ```text
//!   client commits ─► vaBeginPicture … the driver encodes
//!   └─ commit_to_va_us ─┘
//!
//!   its bytes are there ─► copied, ours ─► frame with the link's thread ─► packet on the interface
//!   │                      └─── va_to_link_us ───┘                            │
//!   └──────────────────────────── va_to_packet_us ────────────────────────────┘
//!
//!   frame off the link ─► applied … the driver decodes … ─► on a plane
//!   └──────── link_to_plane_us, the driver aside ──────────────────┘
//! ```

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hil_bench::harness::capture::{Capture, Packet};
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
/// Bytes of a pixel that a terminal has copied.
const PIXEL: u64 = 4;

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
        let text = format!(
            "LIBVA_DRIVERS_PATH={path}\nLIBVA_DRIVER_NAME=heliostat\nHELIOSTAT_VA_TIMES={path}/{TIMES}\n"
        );
        fs::write(at("environment"), text)?;
        // The driver runs as whoever the session is of.
        File::create(at(TIMES))?.set_permissions(Permissions::from_mode(0o666))?;
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

    /// When the driver had the bytes of each picture that it has encoded, in nanoseconds of
    /// CLOCK_REALTIME.
    fn coded_ns(&self) -> anyhow::Result<Vec<u64>> {
        let text =
            fs::read_to_string(self.0.path().join(TIMES)).context("read the driver's times")?;
        let times = text.lines().map(str::parse::<u64>);
        times
            .collect::<Result<_, _>>()
            .context("the driver's times")
    }
}

/// Where the driver writes down when pictures are encoded.
const TIMES: &str = "times";
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

/// How long each picture's bytes took from the driver to the first packet that left after them, in
/// microseconds, sorted. Those that were encoded again at once, or went together with a later one, have
/// none.
fn until_packet(coded_ns: &[u64], packets: &[Packet]) -> Vec<f64> {
    let sent: Vec<u64> = packets
        .iter()
        .filter(|packet| packet.is_update())
        .map(|packet| packet.at_ns)
        .collect();
    let next = coded_ns.iter().skip(1).copied().chain([u64::MAX]);
    let took = coded_ns.iter().zip(next).filter_map(|(coded, next)| {
        let first = sent.get(sent.partition_point(|at| at < coded))?;
        (*first < next).then(|| (first - coded) as f64 / 1000.0)
    });
    let mut took: Vec<f64> = took.collect();
    took.sort_by(f64::total_cmp);
    took
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
    let mut before = None;
    let (mut shown_pictures, mut copied_pixels) = (0, 0);
    while times.len() < (WARM + PICTURES) as usize {
        let shown = terminal.wait_named("video", STEP)?;
        if times.len() >= WARM as usize && before.is_none() {
            before = Some(Films::of(&site)?);
        }
        if before.is_some() {
            shown_pictures += 1;
            let copied = shown.number("copied_pixels");
            copied_pixels += copied.with_context(|| format!("no copies in {}", shown.value))?;
        }
        ensure!(
            ["primary", "over"].contains(&shown.value["way"].as_str().unwrap_or("")),
            "the film is not on a plane: {}",
            shown.value
        );
        // Pictures that waited for one before them have none.
        times.extend(shown.number("overhead_us").map(|us| us as f64));
    }
    let (before, after) = (before.context("no picture was counted")?, Films::of(&site)?);
    let since = |name| anyhow::Ok(after.number(name)? - before.number(name)?);
    let (encoded, read_bytes) = (since("by_hardware")?, since("read_bytes")?);
    ensure!(
        encoded > 0 && since("by_processor")? == 0 && since("failures")? == 0,
        "the hardware did not encode all of the film: {before:?} {after:?}"
    );
    let (read, copied) = (
        read_bytes as f64 / encoded as f64,
        (copied_pixels * PIXEL) as f64 / f64::from(shown_pictures),
    );
    let mut times = times.split_off(WARM as usize);
    times.sort_by(f64::total_cmp);
    let worst = percentile(&times, 0.99);
    Ok(vec![
        Figure {
            name: "link_to_plane_us",
            value: percentile(&times, 0.5),
            unit: "us",
            target: Some(300.0),
            how: format!(
                "{PICTURES} pictures, 1920x1080, {RATE} a second, decoded by the software VA driver, as \
                 the terminal says itself: median from a frame's last byte off the link to the decoder's \
                 surface on a plane, the driver's decoding aside; the display is one in memory, so that \
                 the kernel's own commit is aside as well; the 99th percentile is {worst} us"
            ),
        },
        Figure {
            name: "video_copied_bytes",
            value: read + copied,
            unit: "bytes",
            target: Some(0.0),
            how: format!(
                "the same film, NV12 in its client's buffers, encoded and decoded by the software VA \
                 driver: bytes of its pixels that the session has read ({encoded} pictures, {read} \
                 each) and that the terminal has copied ({shown_pictures} pictures, {copied} each), a \
                 picture, as both say themselves"
            ),
        },
    ])
}

/// A film of 1080p in a real session, at a headless terminal of 60 Hz.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::set()?;
    let probe = Lent::new("hil-probe")?;
    let site = site(&probe)?;
    site.add_card(CARD, "alice")?;
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    let before = wait_for(&site, &mut terminal, WARM)?;
    let start = before.number("by_hardware")?;
    let (capture, warm) = (Capture::start()?, stage.coded_ns()?.len());
    let after = wait_for(&site, &mut terminal, start + PICTURES)?;
    let pictures = after.number("by_hardware")? - start;
    ensure!(
        after.number("by_processor")? == before.number("by_processor")?
            && after.number("failures")? == 0,
        "the hardware did not encode all of the film: {before:?} {after:?}"
    );
    let packets = capture.take();
    let coded_ns = stage.coded_ns()?.split_off(warm);
    let to_packet = until_packet(&coded_ns, &packets);
    ensure!(
        to_packet.len() as u64 >= PICTURES / 2,
        "of {} pictures packets were seen of {}",
        coded_ns.len(),
        to_packet.len()
    );
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
            "from the time that we have taken the driver's bytes until the link's thread is given the \
             frame, with the way back from the hardware's thread, what it waits for a terminal of 60 \
             Hz, and the making of the frame; that thread's wake-up is in va_to_packet_us",
        )?,
        Figure {
            name: "va_to_packet_us",
            value: percentile(&to_packet, 0.5),
            unit: "us",
            target: None,
            how: format!(
                "{} of the same pictures: the driver has their bytes, as it notes in a file, until \
                 the first packet of their frame is on the loopback interface, with the map and copy \
                 of the bytes and the wake-ups of the session and of the link's thread; the 99th \
                 percentile is {:.0} us, the soonest took {:.0} us",
                to_packet.len(),
                percentile(&to_packet, 0.99),
                to_packet[0]
            ),
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_s_time_is_that_of_the_first_packet_after_it_and_before_the_next() {
        let packet = |at_ns, bytes| Packet {
            at_ns,
            port: 4500,
            bytes,
        };
        let packets = [
            packet(900, 1200),
            packet(2_000, 40),
            packet(31_000, 1200),
            packet(32_000, 1200),
            packet(75_000, 300),
            Packet {
                port: 4400,
                ..packet(90_500, 1200)
            },
        ];
        // The second was encoded again at once, the last has not left.
        let coded = [1_000, 50_000, 60_000, 90_000];
        assert_eq!(until_packet(&coded, &packets), [15.0, 30.0]);
    }
}
