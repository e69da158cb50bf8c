//! A film that fills a flat output: its own buffers are encoded while it is alone, and what GLES has composed while
//! a note is over it. Mesa's software draws, on vgem.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use hil_local::framebuffer::Shot;
use hil_local::{Site, Terminal};

use super::Outcome;
use super::desktop::{STEP, wait_for_picture};
use super::film::{INODES, WHILE_PLAYING};
use super::zero_copy::{self, counted, is_on_plane};
use crate::inside::client::GROUND;
use crate::inside::colour::distance;
use crate::inside::report::Report;
use crate::inside::{card, film as pictures, note};

/// Where the film says where the compositor is.
const SOCKET: &str = "/run/home/alice/socket";
/// The mode that the display likes best.
const SCREEN: (u32, u32) = (1024, 768);
/// What is open of DMA-BUFs is called so.
const DMA_BUF: &str = "/dmabuf:";

pub fn composed(report: &mut Report) -> Result<Outcome> {
    for library in ["libEGL_mesa.so.0", "libgbm.so.1", "dri/kms_swrast_dri.so"] {
        if !Path::new("/usr/lib/x86_64-linux-gnu")
            .join(library)
            .exists()
        {
            return Ok(Outcome::Skipped(format!("there is no {library}")));
        }
    }
    let node = card::nodes("vgem", "card")?
        .pop()
        .context("no card of vgem")?;
    let settings = format!("flat = \"always\"\nflat_node = {node:?}\n");
    let (w, h) = SCREEN;
    let film = format!("xrgb --hint --rate 9 --screen {w} {h} --socket {SOCKET}");
    zero_copy::play_with(&film, &settings, ("vgem", ""), report, watch)
}

fn watch(site: &Site, report: &mut Report) -> Result<()> {
    let mut terminal = zero_copy::start_within(4 * STEP, site, &[], report)?;
    let clients = inodes_of_the_client()?;
    let on_screen = |terminal: &mut Terminal, report: &mut Report, what: &str, is_over: bool| {
        let shot = wait_for_picture(terminal, report, what, |shot| is_right(shot, is_over))?;
        report.picture(what, &shot)
    };

    on_screen(&mut terminal, report, "the film alone", false)?;
    let alone = encoded_for_a_while(site, &mut terminal, report)?;
    report.note(format!(
        "alone: the client's {clients:?}, encoded {alone:?}"
    ));
    ensure!(
        !alone.is_empty() && alone.is_subset(&clients),
        "something else was encoded than the client's buffers"
    );

    let note = Note::over_it()?;
    on_screen(&mut terminal, report, "a note over the film", true)?;
    let composed = encoded_for_a_while(site, &mut terminal, report)?;
    let of_session = inodes_of_the_session()?;
    report.note(format!(
        "with a note: encoded {composed:?}, the session has {of_session:?}"
    ));
    ensure!(
        !composed.is_empty() && composed.is_disjoint(&clients),
        "a buffer without the note was encoded"
    );
    ensure!(
        composed.is_subset(&of_session),
        "what was encoded is not what the session has composed"
    );
    on_screen(&mut terminal, report, "a note over the film, later", true)?;

    drop(note);
    on_screen(&mut terminal, report, "the film alone again", false)?;
    let again = encoded_for_a_while(site, &mut terminal, report)?;
    ensure!(
        !again.is_empty() && again.is_subset(&clients),
        "the note is gone, and still it is composed: {again:?}"
    );
    zero_copy::end(&mut terminal, report)
}

/// What the encoder has read while pictures went by of which nobody has copied anything.
fn encoded_for_a_while(
    site: &Site,
    terminal: &mut Terminal,
    report: &mut Report,
) -> Result<BTreeSet<u64>> {
    let stretch = zero_copy::stretch(site, terminal, report)?;
    for event in &stretch.pictures {
        ensure!(
            is_on_plane(event) && event.number("copied_pixels") == Some(0),
            "pixels were copied: {}",
            event.value
        );
    }
    stretch.ensure_unread()?;
    let driver = stretch.driver;
    let read = counted()?.into_iter().filter(|counted| {
        let known = driver.iter().find(|known| known.inode == counted.inode);
        counted.role == "imported"
            && counted.processed_from > known.map_or(0, |known| known.processed_from)
    });
    Ok(read.map(|counted| counted.inode).collect())
}

/// Whether the screen shows the film and what is around it, and the note where it `is_over` it.
fn is_right(shot: &Shot, is_over: bool) -> bool {
    let rgb = |x: u32, y: u32| {
        let [b, g, r] = shot.pixel(x, y);
        [r, g, b]
    };
    let Some(seen) = pictures::find(shot) else {
        return false;
    };
    let corners = [
        (0, 0),
        (shot.w - 1, 0),
        (0, shot.h - 1),
        (shot.w - 1, shot.h - 1),
    ];
    let has_ground = corners.iter().all(|(x, y)| rgb(*x, *y) == [GROUND; 3]);
    let (x, y, w, h) = note::PLACE;
    let inside = [(8, 8), (w / 2, h / 2), (w - 8, h - 8)];
    let mut inside = inside.iter().map(|(dx, dy)| rgb(x + dx, y + dy));
    let near = |shown| distance(shown, note::COLOUR) <= WHILE_PLAYING;
    let shows_note = match is_over {
        true => inside.all(near),
        false => !inside.any(near),
    };
    seen.off <= WHILE_PLAYING && has_ground && shows_note
}

/// A note over everything, until this is dropped.
struct Note(Child);

impl Note {
    fn over_it() -> Result<Self> {
        let socket = OsString::from_vec(fs::read(SOCKET).context("where the compositor is")?);
        let mut command = Command::new("/proc/self/exe");
        command.arg("note").env("WAYLAND_DISPLAY", &socket);
        Ok(Self(command.spawn().context("start the note")?))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inodes_of_the_client() -> Result<BTreeSet<u64>> {
    let text = fs::read_to_string(INODES).context("the client's inodes")?;
    let inodes = text.lines().map(str::parse);
    inodes.collect::<Result<_, _>>().context("an inode")
}

/// DMA-BUFs that the session holds which its client does not.
fn inodes_of_the_session() -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        if !"heliostat-session".starts_with(name.trim_end()) || name.trim_end().len() < 15 {
            continue;
        }
        for fd in fs::read_dir(folder.join("fd"))? {
            let fd = fd?.path();
            let target = fs::read_link(&fd).unwrap_or_default();
            if target.to_string_lossy().starts_with(DMA_BUF)
                && let Ok(meta) = fs::metadata(&fd)
            {
                found.insert(meta.ino());
            }
        }
    }
    Ok(&found - &inodes_of_the_client()?)
}
