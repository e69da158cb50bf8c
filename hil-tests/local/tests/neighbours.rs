//! Two people on one server: what the one's programs and terminal do, the other does not notice.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use hil_local::terminal::monotonic_us;
use hil_local::{Lent, Site, SiteOptions, Terminal, Told, apart, framebuffer};
use hil_rig::namespaces::{PEOPLE, Person};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Nothing here takes longer on a machine that works and is busy.
const STEP: Duration = Duration::from_secs(20);
const KEY_A: u16 = 30;
/// What is typed at least, and for how long: so short that a link whose terminal is silent outlives it,
/// and long enough to count a storm.
const KEYS: usize = 40;
const TYPING_US: u64 = 1_000_000;
/// How much longer a key may take beside a storm, the middle one and 95 of 100: on two processors
/// everything of it has to wait for programs that never rest.
const TIMES: u64 = 3;
const MORE_US: u64 = 20_000;
const LATE_MORE_US: u64 = 150_000;
/// What makes a storm one: commits of everything, a second.
const STORM: u64 = 1000;
/// What a session may grow by while it is in a storm: its window, frames of it, and their encoders.
const MOST_GROWN_KIB: u64 = 128 * 1024;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    if !apart::enter(&[], || None)? {
        return Ok(());
    }
    typing_goes_on_beside_a_storm_on_a_terminal_that_acknowledges_nothing()?;
    println!("typing_goes_on_beside_a_storm_on_a_terminal_that_acknowledges_nothing ... ok");
    Ok(())
}

fn typing_goes_on_beside_a_storm_on_a_terminal_that_acknowledges_nothing() -> anyhow::Result<()> {
    let probe = Lent::new("hil-probe")?;
    let [typist, stormy] = &PEOPLE;
    let told = Told::listen(probe.path().with_file_name("keys"))?;
    let keys = format!("keys --tell {}", told.path().display());
    autostart(typist, &probe, &keys)?;
    let commits = commits_of(stormy)?;
    let site = Site::start(&SiteOptions {
        session_toml: "xwayland = false\n".to_owned(),
        ..SiteOptions::default()
    })?;
    let mut desk = attach(&site, typist, "desk-1")?;
    told.until_it_hears(&mut desk, STEP)?;
    let before = type_keys(&mut desk)?;
    check_told_latency(&site, typist, before.middle_us)?;

    autostart(
        stormy,
        &probe,
        &format!("storm --tell {}", commits.display()),
    )?;
    let mut silent = attach(&site, stormy, "desk-2")?;
    silent.wait_for("the storm", STEP, |event| {
        event.name() == "frame_shown" && event.number("serial") > Some(10)
    })?;
    let pid = session_of(&site, stormy)?["pid"].as_u64();
    let pid = pid.context("the session has a process")?;
    let held = private_kib(pid)?;
    let terminal = Pid::from_raw(silent.pid() as i32);
    kill(terminal, Signal::SIGSTOP)?;
    let (began_us, asked) = (monotonic_us(), commits_so_far(&commits)?);
    let beside = type_keys(&mut desk)?;
    let (took_us, asked) = (monotonic_us() - began_us, commits_so_far(&commits)? - asked);
    let grown = private_kib(pid)?.saturating_sub(held);
    let attached = session_of(&site, stormy)?["terminal"].clone();
    kill(terminal, Signal::SIGCONT)?;

    println!(
        "key to changed pixels: {before:?} alone, {beside:?} beside a storm of {} ms with {asked} \
         commits of everything in which the other session grew by {grown} KiB",
        took_us / 1000
    );
    ensure!(attached == "desk-2", "the silent terminal was let go");
    ensure!(asked * 1_000_000 >= STORM * took_us, "there was no storm");
    let middle_us = before.middle_us * TIMES + MORE_US;
    ensure!(beside.middle_us <= middle_us, "the storm is noticed");
    let late_us = before.late_us * TIMES + LATE_MORE_US;
    ensure!(beside.late_us <= late_us, "the storm is noticed by some");
    ensure!(grown <= MOST_GROWN_KIB, "the storm's session grows");
    // Its own person has not lost the desktop either.
    silent.drain();
    silent.wait_named("frame_shown", STEP)?;
    Ok(())
}

/// Has a person's desktop start the probe.
fn autostart(person: &Person, probe: &Lent, drawing: &str) -> anyhow::Result<()> {
    let mut folder = Path::new("/run/home").join(person.name);
    for name in [".config", "heliostat"] {
        folder.push(name);
        std::fs::create_dir(&folder)?;
        chown(&folder, Some(person.uid), Some(person.uid))?;
    }
    let file = folder.join("session.toml");
    let line = format!("autostart = [\"{} {drawing}\"]\n", probe.path().display());
    std::fs::write(&file, line)?;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644))?;
    Ok(())
}

/// Where a person's storm tells of its commits: a file that is theirs.
fn commits_of(person: &Person) -> anyhow::Result<PathBuf> {
    let file = Path::new("/run/home").join(person.name).join("commits");
    std::fs::write(&file, "0\n")?;
    chown(&file, Some(person.uid), Some(person.uid))?;
    Ok(file)
}

/// How many commits a storm has made, to within ten.
fn commits_so_far(file: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    // What is behind the last end of a line is being written.
    let (whole, _) = text.rsplit_once('\n').context("the storm tells nothing")?;
    let last = whole.lines().next_back().context("a line")?;
    last.parse().context("a number of commits")
}

/// A new terminal with a person's desktop.
fn attach(site: &Site, person: &Person, name: &str) -> anyhow::Result<Terminal> {
    let card = format!("piv:{:032x}", person.uid);
    site.add_card(&card, person.name)?;
    let mut terminal = site.headless(name, (640, 400))?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(&card)?;
    terminal.wait_named("attached", STEP)?;
    Ok(terminal)
}

/// How long keys took until they had changed the picture, in microseconds.
#[derive(Debug)]
struct Keys {
    middle_us: u64,
    /// 95 of 100 took at most this.
    late_us: u64,
}

/// Types, each key when the one before has changed the picture.
fn type_keys(desk: &mut Terminal) -> anyhow::Result<Keys> {
    let file = desk.framebuffer.clone().context("a file")?;
    let mut times = Vec::with_capacity(KEYS);
    let end = monotonic_us() + TYPING_US;
    while times.len() < KEYS || monotonic_us() < end {
        desk.drain();
        let before = framebuffer::digest(&file)?;
        let start = monotonic_us();
        desk.key(KEY_A, true)?;
        let mut digest = Ok(before);
        let shown = desk.wait_for("changed pixels", STEP, |event| {
            let is_new = event.name() == "frame_shown" && event.number("at_us") > Some(start);
            if is_new {
                digest = framebuffer::digest(&file);
            }
            !matches!(digest, Ok(now) if now == before)
        })?;
        digest?;
        times.push(shown.number("at_us").unwrap_or(0).saturating_sub(start));
        desk.key(KEY_A, false)?;
    }
    times.sort_unstable();
    Ok(Keys {
        middle_us: times[times.len() / 2],
        late_us: times[times.len() * 95 / 100],
    })
}

/// Whether `heliostatctl top` tells the time from input to photon as it was for the keys that were
/// typed: here it took `median_us` from before the key until its pixels were seen.
fn check_told_latency(site: &Site, typist: &Person, median_us: u64) -> anyhow::Result<()> {
    let round = site.ctl(&["top", "--once"])?;
    let mut lines = round["sessions"].as_array().into_iter().flatten();
    let line = lines.find(|line| line["person"] == typist.name);
    let line = line.context("top knows the typist")?;
    let told = |name: &str| {
        line[name]
            .as_u64()
            .with_context(|| format!("{name}: {line}"))
    };
    let (p50, p99) = (
        told("input_to_photon_p50_us")?,
        told("input_to_photon_p99_us")?,
    );
    println!("input to photon: top says {p50} us (p99 {p99}), the keys took {median_us}");
    ensure!(0 < p50 && p50 <= p99, "{line}");
    ensure!(
        p50 <= 2 * median_us,
        "top tells of slower keys than there were: {line}"
    );
    Ok(())
}

fn session_of(site: &Site, person: &Person) -> anyhow::Result<Value> {
    let sessions = site.ctl(&["session", "list"])?;
    let mut sessions = sessions.as_array().into_iter().flatten();
    let is_theirs = |session: &&Value| session["person"] == person.name;
    sessions
        .find(is_theirs)
        .cloned()
        .with_context(|| format!("{} has no session", person.name))
}

/// Memory that a process has to itself.
fn private_kib(pid: u64) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    let kib = private.map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.sum::<Option<u64>>().context("numbers in smaps_rollup")
}
