//! The outputs that clients see: those of the terminal, or of the last one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use heliostat_wire::id::OutputId;
use heliostat_wire::output::{Output as WireOutput, Size};
use smithay::desktop::layer_map_for_output;
use smithay::output::{Mode, Output, PhysicalProperties, Scale, Subpixel};
use smithay::reexports::wayland_server::DisplayHandle;
use smithay::reexports::wayland_server::backend::GlobalId;
use smithay::utils::{Logical, Point, Transform};

use crate::app::App;
use crate::window::Rect;

/// Dots an inch at which pixels are shown one to one.
const PLAIN_DPI: f64 = 110.0;
/// Dots an inch from which they are not.
const DENSE_DPI: f64 = 160.0;

/// For how long clients may still bind an output that has gone: its announcement may be on its way to
/// them when they are told that it has gone.
const LINGERS: Duration = Duration::from_secs(60);
/// So many outputs that have gone can be bound at most.
const MOST_GONE: usize = 64;

/// One output.
#[derive(Debug)]
pub struct Screen {
    /// The terminal's id for it.
    pub id: OutputId,
    /// As clients see it.
    pub output: Output,
    /// Pixels.
    pub size: Size,
    /// Device pixels a logical pixel.
    pub scale: f64,
    /// Place on the desk, in logical pixels.
    pub rect: Rect,
    /// Time between two frames.
    pub interval: Duration,
    global: GlobalId,
}

/// All outputs.
#[derive(Debug, Default)]
pub struct Desk {
    screens: Vec<Screen>,
    gone: Gone<GlobalId>,
}

/// What is announced no more and can still be bound, the first that has gone first.
#[derive(Debug)]
struct Gone<T>(VecDeque<(T, Instant)>);

impl<T> Default for Gone<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Gone<T> {
    fn add(&mut self, one: T, now: Instant) {
        self.0.push_back((one, now));
    }

    /// What nobody may bind any more.
    fn take_over(&mut self, now: Instant) -> impl Iterator<Item = T> {
        let over = |then: &Instant| now.saturating_duration_since(*then) >= LINGERS;
        let late = self.0.iter().take_while(|(_, then)| over(then)).count();
        let excess = self.0.len().saturating_sub(MOST_GONE);
        self.0.drain(..late.max(excess)).map(|(one, _)| one)
    }
}

impl Desk {
    /// The outputs; never empty once configured.
    pub fn screens(&self) -> &[Screen] {
        &self.screens
    }

    /// An output by the terminal's id.
    pub fn screen(&self, id: OutputId) -> Option<&Screen> {
        self.screens.iter().find(|screen| screen.id == id)
    }

    /// The output at a place, or the nearest one.
    pub fn screen_at(&self, at: Point<f64, Logical>) -> Option<&Screen> {
        let distance = |screen: &&Screen| {
            let Rect { x, y, w, h } = screen.rect;
            let beyond = |at: f64, start: i32, length: i32| {
                (f64::from(start) - at)
                    .max(at - f64::from(start + length))
                    .max(0.0)
            };
            (beyond(at.x, x, w) + beyond(at.y, y, h)) as i64
        };
        self.screens.iter().min_by_key(distance)
    }

    /// The shortest time between two frames of any output.
    pub fn interval(&self) -> Duration {
        let shortest = self.screens.iter().map(|screen| screen.interval).min();
        shortest.unwrap_or(Duration::from_micros(16_667))
    }

    /// Makes the outputs those of a terminal. Clients see known ids as the same outputs in another
    /// mode. A terminal without screens changes nothing.
    pub fn configure(&mut self, handle: &DisplayHandle, outputs: &[WireOutput]) {
        let outputs: Vec<_> = outputs.iter().filter(is_usable).collect();
        if outputs.is_empty() {
            return;
        }
        let now = Instant::now();
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.screens)
            .into_iter()
            .partition(|screen| outputs.iter().any(|output| output.id == screen.id));
        for screen in gone {
            // Bars belong to one output; those that are wanted elsewhere come anew.
            for bar in layer_map_for_output(&screen.output).layers() {
                bar.layer_surface().send_close();
            }
            handle.disable_global::<App>(screen.global.clone());
            self.gone.add(screen.global, now);
        }
        for global in self.gone.take_over(now) {
            handle.remove_global::<App>(global);
        }
        let mut kept: Vec<_> = kept.into_iter().map(Some).collect();
        for (output, rect) in outputs.iter().zip(layout(&outputs)) {
            let known = kept
                .iter_mut()
                .find(|screen| screen.as_ref().is_some_and(|screen| screen.id == output.id));
            let known = known.and_then(Option::take);
            self.screens
                .push(Screen::configured(known, handle, output, rect));
        }
    }
}

impl Screen {
    fn configured(
        known: Option<Self>,
        handle: &DisplayHandle,
        wire: &WireOutput,
        rect: Rect,
    ) -> Self {
        let (output, global) = match known {
            Some(screen) => (screen.output, screen.global),
            None => {
                let output = Output::new(format!("heliostat-{}", wire.id.0), properties(wire));
                let global = output.create_global::<App>(handle);
                (output, global)
            }
        };
        let refresh = if wire.refresh_mhz == 0 {
            60_000
        } else {
            wire.refresh_mhz.clamp(10_000, 1_000_000)
        };
        let mode = Mode {
            size: (wire.size.w as i32, wire.size.h as i32).into(),
            refresh: refresh as i32,
        };
        let before = output.current_mode().filter(|before| *before != mode);
        let scale = scale_of(wire);
        output.set_preferred(mode);
        output.change_current_state(
            Some(mode),
            Some(Transform::Normal),
            Some(Scale::Fractional(scale)),
            Some((rect.x, rect.y).into()),
        );
        before.into_iter().for_each(|mode| output.delete_mode(mode));
        Self {
            id: wire.id,
            output,
            size: wire.size,
            scale,
            rect,
            interval: Duration::from_nanos(1_000_000_000_000 / u64::from(refresh)),
            global,
        }
    }
}

fn properties(wire: &WireOutput) -> PhysicalProperties {
    let name = |text: &str| {
        if text.is_empty() {
            "Heliostat".to_owned()
        } else {
            text.to_owned()
        }
    };
    PhysicalProperties {
        size: (
            wire.physical_mm.w.min(10_000) as i32,
            wire.physical_mm.h.min(10_000) as i32,
        )
            .into(),
        subpixel: Subpixel::Unknown,
        make: name(&wire.make),
        model: name(&wire.model),
    }
}

/// Device pixels a logical pixel, from the screen's physical size, in quarters.
fn scale_of(output: &WireOutput) -> f64 {
    let mm = output.physical_mm;
    // Projectors and bad EDIDs give sizes that no screen on a desk has.
    if mm.w < 60 || mm.h < 40 {
        return 1.0;
    }
    let dpi = f64::from(output.size.w) * 25.4 / f64::from(mm.w);
    if dpi < DENSE_DPI {
        return 1.0;
    }
    ((dpi / PLAIN_DPI * 4.0).round() / 4.0).clamp(1.25, 3.0)
}

/// Whether it can be a screen of a desk at all.
fn is_usable(output: &&WireOutput) -> bool {
    let side = |side| (1..=16384).contains(&side);
    side(output.size.w) && side(output.size.h)
}

/// The scale of the densest screen; nothing without any, as then the desk keeps those that it has.
pub fn largest_scale(outputs: &[WireOutput]) -> Option<f64> {
    let scales = outputs.iter().filter(is_usable).map(scale_of);
    scales.reduce(f64::max)
}

/// Places on the desk: the terminal gives them in pixels, and scales differ, so outputs are put
/// beside and below each other in the order in which they stand.
fn layout(outputs: &[&WireOutput]) -> Vec<Rect> {
    let logical = |pixels: u32, output: &WireOutput| {
        (f64::from(pixels) / scale_of(output)).round().max(1.0) as i32
    };
    let start = |output: &WireOutput, along: fn(&WireOutput) -> (i32, u32)| {
        let before = |other: &&&WireOutput| {
            let (from, length) = along(other);
            i64::from(from) + i64::from(length) <= i64::from(along(output).0)
        };
        let columns: std::collections::BTreeMap<i32, i32> = outputs
            .iter()
            .filter(before)
            .map(|other| (along(other).0, logical(along(other).1, other)))
            .collect();
        columns.values().sum::<i32>()
    };
    outputs
        .iter()
        .map(|output| Rect {
            x: start(output, |output| (output.x, output.size.w)),
            y: start(output, |output| (output.y, output.size.h)),
            w: logical(output.size.w, output),
            h: logical(output.size.h, output),
        })
        .collect()
}

/// What clients see before the first terminal has come.
pub fn before_any_terminal() -> WireOutput {
    WireOutput {
        id: OutputId(0),
        connector: "virtual".into(),
        make: "Heliostat".into(),
        model: "no terminal".into(),
        size: Size { w: 1920, h: 1080 },
        refresh_mhz: 60_000,
        physical_mm: Size { w: 0, h: 0 },
        x: 0,
        y: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(w: u32, h: u32, mm: (u32, u32), x: i32) -> WireOutput {
        WireOutput {
            size: Size { w, h },
            physical_mm: Size { w: mm.0, h: mm.1 },
            x,
            ..before_any_terminal()
        }
    }

    #[test]
    fn what_has_gone_is_kept_for_a_while_and_never_more_than_so_much() {
        let start = Instant::now();
        let mut gone = Gone::default();
        for n in 0..MOST_GONE + 3 {
            gone.add(n, start);
        }
        assert!(gone.take_over(start).eq(0..3));
        let later = start + LINGERS;
        gone.add(99, later);
        assert!(gone.take_over(later).eq(3..MOST_GONE + 3));
        assert_eq!(gone.take_over(later).count(), 0);
        assert!(gone.take_over(later + LINGERS).eq([99]));
    }

    #[test]
    fn only_dense_screens_are_scaled() {
        assert_eq!(scale_of(&output(1920, 1080, (531, 299), 0)), 1.0);
        assert_eq!(scale_of(&output(2560, 1440, (597, 336), 0)), 1.0);
        assert_eq!(scale_of(&output(3840, 2160, (597, 336), 0)), 1.5);
        assert_eq!(scale_of(&output(2560, 1600, (286, 179), 0)), 2.0);
        assert_eq!(scale_of(&output(1920, 1080, (0, 0), 0)), 1.0);
        assert_eq!(scale_of(&output(1920, 1080, (16, 9), 0)), 1.0);
    }

    #[test]
    fn programs_that_draw_for_one_scale_draw_for_the_densest_screen_and_for_none_without_one() {
        let (plain, dense) = ((1920, 1080, (531, 299)), (3840, 2160, (597, 336)));
        let outputs = [plain, dense].map(|(w, h, mm)| output(w, h, mm, 0));
        assert_eq!(largest_scale(&outputs), Some(1.5));
        assert_eq!(largest_scale(&outputs[..1]), Some(1.0));
        assert_eq!(largest_scale(&[]), None);
        assert_eq!(largest_scale(&[output(0, 2160, (597, 336), 0)]), None);
    }

    #[test]
    fn screens_side_by_side_leave_no_gap_whatever_their_scales() {
        let left = output(3840, 2160, (597, 336), 0);
        let right = output(1920, 1080, (531, 299), 3840);
        let rects = layout(&[&left, &right]);
        assert_eq!(
            rects[0],
            Rect {
                x: 0,
                y: 0,
                w: 2560,
                h: 1440
            }
        );
        assert_eq!(
            rects[1],
            Rect {
                x: 2560,
                y: 0,
                w: 1920,
                h: 1080
            }
        );
    }
}
