//! A film whose pixels nobody copies: which buffers the encoder reads, and which the display shows.
//!
//! Buffers are told by their inodes, which a DMA-BUF keeps however often it is handed on. What the client says it
//! has made, what the VA driver says it has had (see its README), and what the kernel says it scans out have to be
//! the same ones; and the product's own counters have to say that it read none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use drm::buffer::DrmFourcc;
use hil_local::{Event, Site, Terminal};
use serde_json::Value;

use super::Outcome;
use super::desktop::{self, CARD, STEP, wait_for_picture, with_logs};
use super::film::{self, INODES};
use crate::inside::card::{self, Card};
use crate::inside::film as pictures;
use crate::inside::init::{self, VA_COUNTERS, VA_LOG};
use crate::inside::look;
use crate::inside::report::Report;

/// Which call of the driver's fails, once: well after the film has begun.
pub(super) const FAULTS: &str = "HELIOSTAT_VA_FAULTS";
const FAULT: &str = "vaEndPicture:40";
const FAULT_PICTURE: u64 = 40;
/// Formats that a session tries.
const TRIED: usize = 5;
/// So many pictures in a row have to go by without a copy.
pub(super) const PICTURES: usize = 12;
/// How often pictures in a row are waited for.
const TRIES: usize = 6;

/// A line of the VA driver's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) inode: u64,
    pub(super) role: String,
    pub(super) lent: u64,
    pub(super) copied: u64,
    encoded: u64,
    decoded: u64,
    pub(super) processed_from: u64,
    pub(super) processed_into: u64,
}

impl Counted {
    fn parse(line: &str) -> Option<Self> {
        let word = |name: &str| {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let number = |name: &str| word(name)?.parse().ok();
        Some(Self {
            inode: number("inode")?,
            role: word("role")?.to_owned(),
            lent: number("lent")?,
            copied: number("copied")?,
            encoded: number("encoded")?,
            decoded: number("decoded")?,
            processed_from: number("processed-from")?,
            processed_into: number("processed-into")?,
        })
    }
}

/// What the driver has counted, in the session's process and in the terminal's.
pub(super) fn counted() -> Result<Vec<Counted>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(VA_COUNTERS)? {
        let text = match fs::read_to_string(entry?.path()) {
            // It is about to replace the file of its process.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            text => text?,
        };
        for line in text.lines() {
            let counted = Counted::parse(line);
            all.push(counted.with_context(|| format!("the driver counted {line:?}"))?);
        }
    }
    Ok(all)
}

/// The numbers of films that the one session tells.
#[derive(Debug)]
pub(super) struct Films {
    pub(super) by_hardware: u64,
    pub(super) read_bytes: u64,
}

impl Films {
    /// What it says when it is asked now. A session that is too busy to answer in time is asked again: what it
    /// has said before, or that it has not said anything yet, is of no use here.
    pub(super) fn of(site: &Site) -> Result<Self> {
        let deadline = Instant::now() + STEP;
        loop {
            let asked = Instant::now();
            let sessions = site.ctl(&["session", "list"])?;
            if let Some(films) = Self::said_within(asked.elapsed(), &sessions)? {
                return Ok(films);
            }
            ensure!(
                Instant::now() < deadline,
                "a session has not said within {STEP:?} how it is: {sessions}"
            );
        }
    }

    fn said_within(time: Duration, sessions: &Value) -> Result<Option<Self>> {
        let age_ms = member(sessions, "stats_age_ms").and_then(Value::as_u64);
        if age_ms.is_none_or(|age_ms| Duration::from_millis(age_ms) > time) {
            return Ok(None);
        }
        let films = member(sessions, "films").with_context(|| format!("no films in {sessions}"))?;
        let number = |name: &str| {
            films[name]
                .as_u64()
                .with_context(|| format!("no {name} in {films}"))
        };
        Ok(Some(Self {
            by_hardware: number("by_hardware")?,
            read_bytes: number("read_bytes")?,
        }))
    }
}

/// The first member of this name, wherever it is.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members
            .get(name)
            .or_else(|| members.values().find_map(|value| member(value, name))),
        Value::Array(values) => values.iter().find_map(|value| member(value, name)),
        _ => None,
    }
}

pub fn nv12(report: &mut Report) -> Result<Outcome> {
    play("nv12", ("vgem", ""), report, without_copies)
}

pub fn xrgb(report: &mut Report) -> Result<Outcome> {
    // Its colours alone say as little as those of any program, so players say what they show.
    play("xrgb --hint", ("vgem", ""), report, without_copies)
}

/// The terminal's driver fails in the middle of the film.
pub fn decoder_fails(report: &mut Report) -> Result<Outcome> {
    play("nv12", ("vgem", ""), report, |site, report| {
        heals(site, &[(FAULTS, FAULT)], report)
    })
}

/// The session's driver does.
pub fn encoder_fails(report: &mut Report) -> Result<Outcome> {
    play("nv12", ("vgem", FAULT), report, |site, report| {
        heals(site, &[], report)
    })
}

/// Plays a film on a site whose sessions encode on the render node of a driver; what fails there is planned.
pub(super) fn play(
    pixels: &str,
    device: (&str, &str),
    report: &mut Report,
    watch: impl FnOnce(&Site, &mut Report) -> Result<()>,
) -> Result<Outcome> {
    play_with(pixels, "", device, report, watch)
}

/// Plays a film in a session with further settings.
pub(super) fn play_with(
    pixels: &str,
    settings: &str,
    (driver, faults): (&str, &str),
    report: &mut Report,
    watch: impl FnOnce(&Site, &mut Report) -> Result<()>,
) -> Result<Outcome> {
    // What the processes of other scenarios have left.
    for entry in fs::read_dir(VA_COUNTERS)? {
        fs::remove_file(entry?.path())?;
    }
    fs::write(VA_LOG, "")?;
    let Some(node) = card::nodes(driver, "renderD")?.pop() else {
        bail!("{driver} has no render node");
    };
    let settings = format!("render_node = {node:?}\n{settings}");
    init::tell_people(faults)?;
    let site = desktop::site(&film::command(pixels), &settings)?;
    let result = watch(&site, report);
    let result = with_logs(&site, report, result);
    init::tell_people("")?;
    result.map(|()| Outcome::Held)
}

pub(super) fn start(
    site: &Site,
    environment: &[(&str, &str)],
    report: &mut Report,
) -> Result<Terminal> {
    start_within(STEP, site, environment, report)
}

/// Attaches a terminal, and waits so long for the film to be on a plane.
pub(super) fn start_within(
    limit: Duration,
    site: &Site,
    environment: &[(&str, &str)],
    report: &mut Report,
) -> Result<Terminal> {
    let mut terminal = site.kms("desk", environment)?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    let first = terminal.wait_for("video on a plane", limit, is_on_plane)?;
    report.note(format!("on a plane: {}", first.value));
    Ok(terminal)
}

fn without_copies(site: &Site, report: &mut Report) -> Result<()> {
    let mut terminal = start(site, &[], report)?;
    no_copies_for_a_while(site, &mut terminal, report)?;
    let numbers = colours_and_numbers(&mut terminal, report)?;
    report.note(format!("numbers seen while it played: {numbers:?}"));
    same_buffers(report)?;
    end(&mut terminal, report)
}

/// The film stops and becomes exact, its plane is given up, and nothing of it is left without the card.
pub(super) fn end(terminal: &mut Terminal, report: &mut Report) -> Result<()> {
    film::stop(terminal, report)?;
    let exported: BTreeSet<u64> = counted()?
        .iter()
        .filter(|c| c.role == "exported")
        .map(|c| c.inode)
        .collect();
    let films = || -> Result<Vec<_>> {
        let mut shown = look::scanned_out(&Card::vkms()?)?;
        shown.retain(|plane| exported.contains(&plane.inode));
        Ok(shown)
    };
    let mut left = films()?;
    if !left.is_empty() {
        // What stands still and looks exact may be a film's for a second more.
        let are_gone = |_: &_| {
            left = films().unwrap_or_default();
            left.is_empty()
        };
        let waited = wait_for_picture(terminal, report, "end of the film on its plane", are_gone);
        waited.with_context(|| format!("the film is over, and planes show {left:?}"))?;
        ensure!(films()?.is_empty(), "a film is on a plane again");
    }
    terminal.pull_card()?;
    let gone = |shot: &_| pictures::find(shot).is_none();
    wait_for_picture(terminal, report, "idle screen", gone)?;
    Ok(())
}

/// A driver that fails once is not seen on the screen: the film goes on, and nobody is detached.
fn heals(site: &Site, environment: &[(&str, &str)], report: &mut Report) -> Result<()> {
    let mut terminal = start(site, environment, report)?;
    // The fault comes within these; whatever shows them, they go on.
    let before = Films::of(site)?;
    let mut detached = false;
    let shown = |event: &Event| {
        detached |= matches!(event.name(), "detached" | "disconnected");
        event.name() == "frame_shown" && event.number("serial") > Some(FAULT_PICTURE + 30)
    };
    terminal.wait_for("picture after the fault", STEP, shown)?;
    ensure!(!detached, "the terminal was detached");
    let failed = fs::read_to_string(VA_LOG).unwrap_or_default();
    ensure!(
        failed.contains("as the list of faults has it"),
        "the driver has not failed: {failed}"
    );
    let numbers = colours_and_numbers(&mut terminal, report)?;
    report.note(format!("numbers seen after the fault: {numbers:?}"));
    report.note(format!("session: {before:?}, then {:?}", Films::of(site)?));
    end(&mut terminal, report)
}

pub(super) fn is_on_plane(event: &Event) -> bool {
    event.name() == "video" && event.number("scanned_inode").is_some()
}

/// Pictures of one film that went by, and what was counted before and after them.
pub(super) struct Stretch {
    pub(super) pictures: Vec<Event>,
    before: Films,
    after: Films,
    /// What the driver had counted before.
    pub(super) driver: Vec<Counted>,
}

impl Stretch {
    /// All of it was encoded by the hardware, and the session has read nothing.
    pub(super) fn ensure_unread(&self) -> Result<()> {
        ensure!(
            self.after.by_hardware > self.before.by_hardware,
            "the hardware encoded nothing"
        );
        ensure!(
            self.after.read_bytes == self.before.read_bytes,
            "the session has read pixels of the film"
        );
        Ok(())
    }
}

/// Lets pictures of one film go by.
///
/// A look at the screen, and a machine that is too busy, make a film stop and begin anew, for which it is read. So
/// it is a stretch without that that counts: the film of the picture before it and of the one after it is its own.
pub(super) fn stretch(
    site: &Site,
    terminal: &mut Terminal,
    report: &mut Report,
) -> Result<Stretch> {
    for _ in 0..TRIES {
        terminal.drain();
        let film = terminal.wait_named("video", STEP)?.number("video");
        // Pictures of what was there before may still be under way.
        terminal.wait_named("video", STEP)?;
        let (before, driver) = (Films::of(site)?, counted()?);
        let pictures = (0..PICTURES).map(|_| terminal.wait_named("video", STEP));
        let pictures: Vec<Event> = pictures.collect::<Result<_>>()?;
        let after = Films::of(site)?;
        terminal.drain();
        let last = terminal.wait_named("video", STEP)?;
        let other = pictures.iter().chain([&last]);
        let other = other
            .map(|event| event.number("video"))
            .find(|video| *video != film);
        match other {
            Some(other) => report.note(format!(
                "not in one piece: video {film:?}, then {other:?}; {before:?}, then {after:?}"
            )),
            None => {
                report.note(format!(
                    "session: {before:?}, {PICTURES} pictures later {after:?}"
                ));
                return Ok(Stretch {
                    pictures,
                    before,
                    after,
                    driver,
                });
            }
        }
    }
    bail!("no {PICTURES} pictures in a row are of one film")
}

/// Neither the session nor the terminal touches a pixel while pictures go by.
pub(super) fn no_copies_for_a_while(
    site: &Site,
    terminal: &mut Terminal,
    report: &mut Report,
) -> Result<()> {
    let stretch = stretch(site, terminal, report)?;
    // Each surface has one framebuffer, made once.
    let mut framebuffers = BTreeMap::new();
    for event in &stretch.pictures {
        ensure!(
            is_on_plane(event),
            "a picture is on no plane: {}",
            event.value
        );
        let (decoded, shown) = (event.number("decoded_inode"), event.number("scanned_inode"));
        ensure!(
            decoded == shown,
            "another buffer is shown than was decoded: {}",
            event.value
        );
        ensure!(
            event.number("copied_pixels") == Some(0),
            "pixels were copied: {}",
            event.value
        );
        let by = event.number("framebuffer");
        if let (Some(surface), Some(by)) = (shown, by) {
            let known = *framebuffers.entry(surface).or_insert(by);
            ensure!(
                known == by,
                "surface {surface} was shown by framebuffer {known}, and is by {by}"
            );
        }
        ensure!(by.is_some(), "no framebuffer is told: {}", event.value);
    }
    let inodes: BTreeSet<u64> = framebuffers.keys().copied().collect();
    let by: BTreeSet<u64> = framebuffers.values().copied().collect();
    ensure!(
        by.len() == inodes.len() && inodes.len() < PICTURES,
        "{PICTURES} pictures, surfaces by framebuffers: {framebuffers:?}"
    );
    stretch.ensure_unread()?;
    let exported: BTreeSet<u64> = decoded_into(&counted()?);
    ensure!(
        inodes.is_subset(&exported),
        "the terminal shows {inodes:?}, the driver has exported {exported:?}"
    );
    Ok(())
}

fn decoded_into(counted: &[Counted]) -> BTreeSet<u64> {
    let decoded = counted
        .iter()
        .filter(|c| c.role == "exported" && c.decoded > 0);
    decoded.map(|counted| counted.inode).collect()
}

/// Two looks at the screen itself.
pub(super) fn colours_and_numbers(
    terminal: &mut Terminal,
    report: &mut Report,
) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for look in 0..2 {
        let mut seen = None;
        let newer = |shot: &_| {
            seen = pictures::find(shot)
                .filter(|seen| numbers.last().is_none_or(|last| seen.number > *last));
            seen.is_some()
        };
        let shot = wait_for_picture(terminal, report, "next picture of the film", newer)?;
        if look == 0 {
            report.picture("plane", &shot)?;
        }
        let seen = seen.context("a film was found")?;
        ensure!(seen.off <= film::WHILE_PLAYING, "colours are off: {seen:?}");
        numbers.push(seen.number);
    }
    Ok(numbers)
}

/// Which planes show a video, as the kernel says.
fn video_planes() -> Result<Vec<look::ScannedOut>> {
    let mut planes = look::scanned_out(&Card::vkms()?)?;
    planes.retain(|plane| plane.format == DrmFourcc::Nv12);
    Ok(planes)
}

/// The client's buffers are those that were encoded, and the decoder's are those that the kernel scans out.
fn same_buffers(report: &mut Report) -> Result<()> {
    let clients = fs::read_to_string(INODES).context("the client's buffers")?;
    let clients: BTreeSet<u64> = clients.lines().map(str::parse).collect::<Result<_, _>>()?;
    let planes = video_planes()?;
    let counted = counted()?;
    // Other colours than the encoder's are made into those by the hardware first.
    let is_read = |c: &&Counted| c.role == "imported" && c.encoded + c.processed_from > 0;
    // A session that opens a device tries it with one buffer of each format, which is seen once.
    let is_once = |c: &&Counted| c.encoded + c.processed_from == 1 && !clients.contains(&c.inode);
    let tried = counted.iter().filter(is_read).filter(is_once).count();
    ensure!(tried <= TRIED, "{tried} other buffers were encoded");
    let imported = counted.iter().filter(is_read).filter(|c| !is_once(c));
    let encoded: BTreeSet<u64> = imported.map(|counted| counted.inode).collect();
    report.note(format!(
        "the client's buffers {clients:?}, encoded from {encoded:?}"
    ));
    ensure!(
        !encoded.is_empty() && encoded.is_subset(&clients),
        "other buffers were encoded"
    );
    let touched = counted.iter().find(|c| c.lent > 0 || c.copied > 0);
    ensure!(
        touched.is_none(),
        "the driver was asked for pixels: {touched:?}"
    );
    let decoded = decoded_into(&counted);
    let [plane] = &planes[..] else {
        bail!("one plane is to show the film: {planes:?}");
    };
    report.note(format!("scanned out: {plane:?}, decoded into {decoded:?}"));
    ensure!(
        decoded.contains(&plane.inode),
        "the plane shows a buffer that was not decoded into"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_counters_is_read_by_its_names() {
        let line = "inode=15471 device=1 role=exported backing=udmabuf fourcc=NV12 size=1920x1080 mapped=3 lent=0 \
                    copied=2 encoded=3 decoded=4 processed-from=0 processed-into=0";
        let counted = Counted::parse(line).unwrap();
        assert_eq!((counted.inode, counted.role.as_str()), (15471, "exported"));
        assert_eq!((counted.lent, counted.copied), (0, 2));
        assert_eq!((counted.encoded, counted.decoded), (3, 4));
        assert_eq!(Counted::parse("inode=1 role=exported"), None);
    }

    #[test]
    fn only_what_was_said_since_it_was_asked_counts() {
        let row = |stats: Value, age_ms: Value| serde_json::json!([{"stats": stats, "stats_age_ms": age_ms}]);
        let stats = serde_json::json!({"films": {"by_hardware": 3, "read_bytes": 7}});
        let said = |sessions: &Value| Films::said_within(Duration::from_millis(80), sessions);
        let fresh = said(&row(stats.clone(), 80.into())).unwrap().unwrap();
        assert_eq!((fresh.by_hardware, fresh.read_bytes), (3, 7));
        assert!(said(&row(stats, 81.into())).unwrap().is_none());
        assert!(said(&row(Value::Null, Value::Null)).unwrap().is_none());
        assert!(said(&row(serde_json::json!({}), 0.into())).is_err());
    }

    #[test]
    fn a_member_is_found_however_deep_it_is() {
        let value = serde_json::json!([{"a": {"films": {"read_bytes": 7}}}]);
        assert_eq!(member(&value, "films").unwrap()["read_bytes"], 7);
        assert_eq!(member(&value, "nothing"), None);
    }
}
