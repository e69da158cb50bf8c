//! A film whose client says by points when its pictures are drawn, and hears by others when buffers are free.

use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use hil_local::framebuffer::Shot;
use hil_local::{Site, Terminal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::desktop::{KEY_A, STEP, look_once, wait_for_picture};
use super::{Outcome, zero_copy};
use crate::inside::card::{self, Card};
use crate::inside::film::{self, Seen};
use crate::inside::points::Line;
use crate::inside::report::Report;

/// The driver whose device has timelines.
const DRIVER: &str = "virtio_gpu";
/// Where the client says which picture it holds.
const HELD: &str = "/run/home/alice/held";
/// So many looks in a row see what they have to.
const LOOKS: usize = 3;

/// The picture that a client holds.
struct Held {
    client: u32,
    number: u32,
    /// The client's descriptor of the timeline on which its buffer's end is told.
    fd: i32,
    end: u64,
}

impl Held {
    fn read() -> Option<Self> {
        let text = std::fs::read_to_string(HELD).ok()?;
        let mut words = text.split_whitespace();
        Some(Self {
            client: words.next()?.parse().ok()?,
            number: words.next()?.parse().ok()?,
            fd: words.next()?.parse().ok()?,
            end: words.next()?.parse().ok()?,
        })
    }

    /// The timeline on which the end of its buffer is told.
    fn line(&self, device: &Card) -> Result<Line> {
        let client = rustix::process::Pid::from_raw(self.client as i32).context("a process")?;
        let client = pidfd_open(client, PidfdFlags::empty())?;
        let fd = pidfd_getfd(&client, self.fd, PidfdGetfdFlags::empty())?;
        Line::import(device, fd.as_fd())
    }
}

pub fn points(report: &mut Report) -> Result<Outcome> {
    let _ = std::fs::remove_file(HELD);
    let Some(node) = card::nodes(DRIVER, "renderD")?.pop() else {
        bail!("{DRIVER} has no render node");
    };
    let film = format!("nv12 --points {} --held {HELD}", node.display());
    zero_copy::play(&film, (DRIVER, ""), report, |site, report| {
        let mut terminal = zero_copy::start(site, &[], report)?;
        zero_copy::no_copies_for_a_while(site, &mut terminal, report)?;
        let device = Card::open(&node)?;
        nothing_but_pictures(&mut terminal, report)?;
        let last = nothing_before_its_point(&mut terminal, &device, report)?;
        goes_on(&mut terminal, last, report)?;
        nothing_but_pictures(&mut terminal, report)?;
        dies_with_points_open((site, &mut terminal), &device, report)
    })
}

/// Buffers that are free are filled with white by their client: nobody ever sees that.
fn nothing_but_pictures(terminal: &mut Terminal, report: &mut Report) -> Result<()> {
    for _ in 0..LOOKS {
        let shot = look_once(terminal, report)?;
        if film::find(&shot).is_none() {
            report.picture("torn", &shot)?;
            bail!("a buffer was told to be free, and was seen after that");
        }
    }
    Ok(())
}

/// Has the client hold a picture back, and waits until the one before is what is left of the film.
fn hold(terminal: &mut Terminal, report: &mut Report) -> Result<Held> {
    terminal.press(KEY_A)?;
    terminal.wait_for("a picture that is held", STEP, |_| Path::new(HELD).exists())?;
    let held = Held::read().context("the client says what it holds")?;
    let before = |shot: &Shot| film::find(shot).is_some_and(|seen| seen.number == held.number - 1);
    wait_for_picture(
        terminal,
        report,
        "picture before the one that is held",
        before,
    )?;
    Ok(held)
}

/// A picture whose point is not signalled is not seen; returns its number.
fn nothing_before_its_point(
    terminal: &mut Terminal,
    device: &Card,
    report: &mut Report,
) -> Result<u32> {
    let held = hold(terminal, report)?;
    let line = held.line(device)?;
    for _ in 0..LOOKS {
        let shot = look_once(terminal, report)?;
        let seen = film::find(&shot).map(|Seen { number, .. }| number);
        ensure!(
            seen == Some(held.number - 1),
            "{seen:?} is seen while {} is held",
            held.number
        );
    }
    let reached = line.reached(device)?;
    report.note(format!(
        "held {}: its buffer is free at {}, reached {reached}",
        held.number, held.end
    ));
    ensure!(
        reached < held.end,
        "the buffer of a picture that is held is free"
    );
    Ok(held.number)
}

/// The held picture is let go, and the film with it.
fn goes_on(terminal: &mut Terminal, held: u32, report: &mut Report) -> Result<()> {
    terminal.press(KEY_A)?;
    let later = |shot: &Shot| film::find(shot).is_some_and(|seen| seen.number > held);
    wait_for_picture(
        terminal,
        report,
        "picture after the one that was held",
        later,
    )?;
    terminal.wait_named("video", STEP)?;
    Ok(())
}

/// A client that dies while one of its commits waits gets its buffer back, and nobody else notices.
fn dies_with_points_open(
    (site, terminal): (&Site, &mut Terminal),
    device: &Card,
    report: &mut Report,
) -> Result<()> {
    let held = hold(terminal, report)?;
    let line = held.line(device)?;
    ensure!(
        line.reached(device)? < held.end,
        "it is free before its client dies"
    );
    let told = line.told(device, held.end)?;
    kill(Pid::from_raw(held.client as i32), Signal::SIGKILL)?;
    let patience = Timespec {
        tv_sec: STEP.as_secs() as i64,
        tv_nsec: 0,
    };
    let came = poll(&mut [PollFd::new(&told, PollFlags::IN)], Some(&patience))?;
    ensure!(came == 1, "a buffer of a client that died is never free");
    let gone = |shot: &Shot| film::find(shot).is_none();
    wait_for_picture(terminal, report, "desk without the film", gone)?;
    let sessions = site.ctl(&["session", "list"])?;
    report.note(format!("after its client died: {sessions}"));
    ensure!(
        sessions.to_string().contains("alice"),
        "the session is gone: {sessions}"
    );
    Ok(())
}
