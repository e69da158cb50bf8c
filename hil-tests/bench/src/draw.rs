//! The drawing client: one drawing core, driven by the clock, by keys and by the harness, with a
//! front end for each window system.

mod ahead;
mod control;
mod driver;
mod sheet;
mod wayland;
mod x11;

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::canvas::Rect;
use crate::play::Play;
use crate::workload::{Over, Pace, Workload};
use ahead::Ahead;
use control::{Control, Order};
use driver::Driver;
pub(crate) use wayland::timespec;

/// What a front end reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    /// A key went down; whether it was Tab.
    Key { tab: bool },
    /// The window was closed.
    Closed,
}

/// A window system.
trait Front {
    /// Waits for events of the window system or of `others`, at most for `limit`.
    fn wait(
        &mut self,
        play: &Play,
        others: &[BorrowedFd<'_>],
        limit: Option<Duration>,
    ) -> anyhow::Result<Vec<Happening>>;
    /// Whether the window system is ready for a frame of what the clock drives.
    fn is_ready(&self) -> bool;
    /// Shows what changed in the full-screen surface.
    fn show_base(&mut self, play: &Play, damage: &[Rect]) -> anyhow::Result<()>;
    /// When that was handed to the window system, in nanoseconds of CLOCK_REALTIME.
    fn handed_over_ns(&self) -> u64;
    /// Shows what changed in what lies over.
    fn show_over(&mut self, play: &Play, damage: &[Rect]) -> anyhow::Result<()>;
    /// Opens or closes what lies over.
    fn set_over(&mut self, play: &Play, shown: bool) -> anyhow::Result<()>;
    /// Raises the window that is not on top, where the client has to do that itself.
    fn raise_other(&mut self) -> anyhow::Result<()>;
}

/// Draws until the window is closed. With `x11` it speaks to an X server, else Wayland.
pub fn run(workload: Workload, socket: &Path, x11: bool) -> anyhow::Result<()> {
    let mut control = Control::listen(socket)?;
    let play = Play::new(workload)?;
    if x11 {
        let front = x11::X11::open(&play)?;
        draw(play, front, &mut control)
    } else {
        let front = wayland::Wayland::open(&play)?;
        draw(play, front, &mut control)
    }
}

fn draw(mut play: Play, mut front: impl Front, control: &mut Control) -> anyhow::Result<()> {
    let mut driver = Driver::default();
    let ahead = Ahead::start(&mut play);
    loop {
        let limit = driver
            .deadline()
            .filter(|_| front.is_ready())
            .map(|then| then.saturating_duration_since(Instant::now()));
        // A window system that is never ready again must not keep the harness waiting.
        let limit = limit.or(driver.is_running().then_some(Duration::from_millis(100)));
        let happenings = front.wait(&play, &control.descriptors(), limit)?;
        for happening in happenings {
            match happening {
                Happening::Closed => return Ok(()),
                Happening::Key { tab } => key(&mut play, &mut front, tab)?,
            }
        }
        for order in control.orders()? {
            match order {
                Order::Go { frames } => {
                    let interval = interval_of(play.workload());
                    driver.go(Instant::now(), interval, frames);
                    control.say(&format!("going {}", hil_local::terminal::monotonic_us()));
                }
                Order::Stop => driver.stop(),
                Order::Step => {
                    let n = play.frames().0 + 1;
                    let damage = play.go_base(n);
                    front.show_base(&play, &damage)?;
                    control.say(&format!("stepped {}", front.handed_over_ns()));
                }
            }
        }
        let now = Instant::now();
        if front.is_ready()
            && let Some(n) = driver.due(now)
        {
            if let Some(ahead) = &ahead {
                ahead.bring(&mut play, n);
            }
            step(&mut play, &mut front, n)?;
            driver.drew(n);
        }
        if let Some(drawn) = driver.take_end(now) {
            let (base, over) = play.frames();
            let at_us = hil_local::terminal::monotonic_us();
            control.say(&format!("done {base} {over} {drawn} {at_us}"));
        }
    }
}

/// Nanoseconds of CLOCK_REALTIME, which the kernel's timestamps of packets are of.
fn realtime_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

fn interval_of(workload: Workload) -> Duration {
    match workload.pace() {
        Pace::Every(interval) | Pace::KeysOverFilm(interval) => interval,
        _ => Duration::ZERO,
    }
}

fn key(play: &mut Play, front: &mut impl Front, tab: bool) -> anyhow::Result<()> {
    match play.workload() {
        typing if typing.is_typing() => {
            let n = play.frames().0 + 1;
            let damage = play.go_base(n);
            front.show_base(play, &damage)
        }
        Workload::Switch if tab => front.raise_other(),
        _ => Ok(()),
    }
}

/// Shows frame `n` of what the clock drives.
fn step(play: &mut Play, front: &mut impl Front, n: u32) -> anyhow::Result<()> {
    if play.workload().clock_drives_over() {
        let damage = play.go_over(n);
        return front.show_over(play, &damage);
    }
    if let Over::Menu(_) = play.workload().over() {
        let before = play.over_is_shown();
        play.go_over(n);
        if before != play.over_is_shown() {
            front.set_over(play, !before)?;
        }
    }
    let damage = play.go_base(n);
    front.show_base(play, &damage)
}
