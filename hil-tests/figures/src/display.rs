//! The display engine by itself: what a person feels, and what it costs. How it stands beside peers
//! is told by `peers.rs` and `make bench-peers`.

use anyhow::Context;
use hil_bench::harness::figures::{Figures, Times};
use hil_bench::harness::measure::{self, Commit};
use hil_bench::harness::systems::System;
use hil_bench::link::{Link, Profile};
use hil_bench::workload::Workload;

use crate::memory::MOST_MIB;
use crate::{Figure, percentile};

const CELLS: u32 = 200;
const PICTURES: u32 = 12;

/// Keys, alone and while a film plays.
pub fn measure_typing() -> anyhow::Result<Vec<Figure>> {
    let alone = input_of(&run(Workload::Typing)?)?;
    let beside = input_of(&run(Workload::TypingVideo)?)?;
    let figure = |name, value, target, beside: &str| Figure {
        name,
        value,
        unit: "ms",
        target: Some(target),
        how: format!(
            "300 keys, a character each{beside}, 1920x1080, loopback: key line to frame shown"
        ),
    };
    let film = " while a film of 640x360 plays";
    Ok(vec![
        figure("typing_p50_ms", alone.p50, 1.0, ""),
        figure("typing_p95_ms", alone.p95, 3.0, ""),
        figure("typing_video_p50_ms", beside.p50, 2.0, film),
        figure("typing_video_p95_ms", beside.p95, 8.0, film),
    ])
}

/// What one thing that desktops do all day takes on the wire, and how soon the picture is right when
/// it ends: the names of both figures.
pub fn measure_work(
    workload: Workload,
    [bytes, exact]: [&'static str; 2],
) -> anyhow::Result<Vec<Figure>> {
    let run = run(workload)?;
    let how = format!(
        "the bench's {}, {} of {} frames seen",
        run.workload, run.seen, run.asked
    );
    Ok(vec![
        Figure {
            name: bytes,
            value: run.bytes_per_frame.context("no frame was seen")? as f64,
            unit: "bytes",
            target: None,
            how: format!(
                "{how}: bytes a frame, both ways with all headers; the target is a share of the \
                 best peer's, see make bench-peers"
            ),
        },
        exact_after(exact, &run, &how),
    ])
}

/// From the last frame drawn until the picture at rest is right; infinite where it never was.
fn exact_after(name: &'static str, run: &Figures, how: &str) -> Figure {
    Figure {
        name,
        value: run.exact_after_ms.unwrap_or(f64::INFINITY),
        unit: "ms",
        target: Some(500.0),
        how: format!("{how}: from its last frame drawn to the picture bit for bit right"),
    }
}

/// A large film: how soon the picture is right when it stops, and what the session holds while it
/// plays.
pub fn measure_large_video() -> anyhow::Result<Vec<Figure>> {
    let run = run(Workload::Video720)?;
    let how = format!(
        "a film of 1280x720 at 30 Hz for 6 s in a desktop of 1920x1080, {} of {} frames seen",
        run.seen, run.asked
    );
    let mut servers = run.server_memory_mib.iter();
    // The kernel cuts names short.
    let session = servers.find(|process| "heliostat-session".starts_with(&process.name));
    let session = session.context("the session has a process")?.memory;
    let memory = |name, value, what: &str| Figure {
        name,
        value,
        unit: "MiB",
        target: Some(MOST_MIB),
        how: format!("{how}: {what} of heliostat-session when the picture is at rest again"),
    };
    Ok(vec![
        exact_after("video720_exact_ms", &run, &how),
        memory("video720_session_rss_mib", session.rss, "VmRSS"),
        memory("video720_session_private_mib", session.private, "RssAnon"),
    ])
}

/// A film in a still desktop, and how soon the picture is right when it stops.
pub fn measure_video() -> anyhow::Result<Vec<Figure>> {
    let run = run(Workload::Video360)?;
    let film = run.film.context("no frame of the film was seen")?;
    let how = format!(
        "a film of 640x360 at 30 Hz for 6 s, {} of {} frames seen",
        run.seen, run.asked
    );
    let figure = |name, value, unit, what: &str| Figure {
        name,
        value,
        unit,
        target: None,
        how: format!("{how}: {what}"),
    };
    let looks = match film.psnr_db {
        Some(_) => format!("{} frames against what was drawn", film.compared),
        None => format!("{} frames, all exactly what was drawn", film.compared),
    };
    Ok(vec![
        figure(
            "video_bytes",
            run.bytes_per_frame.context("no frame was seen")? as f64,
            "bytes",
            "bytes a frame; the target is a share of the best peer's, see make bench-peers",
        ),
        figure(
            "video_psnr_db",
            film.psnr_db.unwrap_or(f64::INFINITY),
            "dB",
            &looks,
        ),
        exact_after("video_exact_ms", &run, &how),
    ])
}

/// From the card to the whole picture, at a terminal that has not shown it before.
pub fn measure_connect() -> anyhow::Result<Vec<Figure>> {
    let link = Link::lay(Profile::Loopback)?;
    let run = measure::measure_connect(System::Heliostat, &link, measure::Viewing::Anew)?;
    Ok(vec![Figure {
        name: "connect_exact_ms",
        value: run.exact_after_ms.unwrap_or(f64::INFINITY),
        unit: "ms",
        target: Some(30.0),
        how: "median of 8 cards inserted at new terminals, a page of text at 1920x1080, loopback: \
              card line to the frame that is bit for bit right"
            .to_owned(),
    }])
}

/// From a commit to the bytes, of the smallest change and of the largest.
pub fn measure_commits() -> anyhow::Result<Vec<Figure>> {
    let (cells, cell_us) = measure::measure_commits(Workload::Typing, CELLS)?;
    let (pictures, picture_us) = measure::measure_commits(Workload::Photo, PICTURES)?;
    let sorted = |commits: &[Commit], time: fn(&Commit) -> f64| {
        let mut times: Vec<f64> = commits.iter().map(time).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let first = sorted(&cells, |commit| commit.first_us);
    let last = sorted(&pictures, |commit| commit.last_us);
    let bytes = pictures.iter().map(|commit| commit.bytes).sum::<usize>() / pictures.len();
    Ok(vec![
        Figure {
            name: "one_cell_us",
            value: cell_us,
            unit: "us",
            target: Some(50.0),
            how: format!(
                "median of {CELLS} commits of a 9x18 cell and the number of its frame, at rest \
                 before: the session has heard the commit until the bytes are handed to the link, \
                 as it says itself (heliostatctl top)"
            ),
        },
        Figure {
            name: "one_cell_packet_us",
            value: percentile(&first, 0.5),
            unit: "us",
            target: None,
            how: format!(
                "the same commits: handed to the compositor's socket until the packet is on the \
                 loopback interface, with the wake-ups of the session and of the link's thread; \
                 the soonest took {:.0} us",
                first[0]
            ),
        },
        Figure {
            name: "full_change_ms",
            value: picture_us / 1000.0,
            unit: "ms",
            target: Some(12.0),
            how: format!(
                "median of {PICTURES} new full-screen photos at 1920x1080, {bytes} bytes each: the \
                 session has heard the commit until all bytes are handed to the link, as it says \
                 itself, with the terminal decoding on the same processors"
            ),
        },
        Figure {
            name: "full_change_packet_ms",
            value: percentile(&last, 0.5) / 1000.0,
            unit: "ms",
            target: None,
            how: format!(
                "the same photos: handed to the compositor's socket until the last packet is on \
                 the loopback interface; the soonest took {:.1} ms",
                last[0] / 1000.0
            ),
        },
    ])
}

fn run(workload: Workload) -> anyhow::Result<Figures> {
    let link = Link::lay(Profile::Loopback)?;
    measure::measure(System::Heliostat, &link, workload)
}

fn input_of(run: &Figures) -> anyhow::Result<Times> {
    run.input_ms.context("no key was seen")
}
