//! What Heliostat should need beside the best of its peers, and whether it does.

use clap::ValueEnum;

use super::figures::{Figures, Film};
use super::systems::System;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    Bytes,
    /// The same, of peers whose film looks no better.
    FilmBytes,
    ServerMs,
    InputP95,
}

/// At most this share of the best peer's.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the figure that is the share.
    pub name: &'static str,
    /// The workload.
    pub workload: &'static str,
    /// The share.
    pub share: f64,
    cost: Cost,
    /// What peers do in its place.
    peers_workload: &'static str,
}

const fn target(name: &'static str, workload: &'static str, cost: Cost, share: f64) -> Target {
    Target {
        name,
        workload,
        share,
        cost,
        peers_workload: workload,
    }
}

/// Peers' viewers keep nothing, so each of their connections is one anew.
const REATTACH: Target = Target {
    peers_workload: "connect",
    ..target(
        "reattach_bytes_ratio",
        "reattach-kept",
        Cost::Bytes,
        1.0 / 50.0,
    )
};

/// What the desktop at the viewer's end does by itself where windows are sent and no desktop: it moves
/// windows, raises them, keeps them, and does nothing.
const DESKTOPS_OWN: [&str; 4] = ["move", "switch", "idle", REATTACH.workload];

/// All of them.
pub const TARGETS: [Target; 15] = [
    target("typing_p95_ratio", "typing", Cost::InputP95, 0.5),
    target("scroll_bytes_ratio", "scroll", Cost::Bytes, 1.0 / 8.0),
    target("photo_drag_bytes_ratio", "drag", Cost::Bytes, 1.0 / 3.0),
    target("move_bytes_ratio", "move", Cost::Bytes, 1.0 / 100.0),
    target("menu_bytes_ratio", "menu", Cost::Bytes, 1.0 / 20.0),
    target("workspace_bytes_ratio", "switch", Cost::Bytes, 1.0 / 100.0),
    target("video_bytes_ratio", "video360", Cost::FilmBytes, 1.0 / 3.0),
    target(
        "video720_bytes_ratio",
        "video720",
        Cost::FilmBytes,
        1.0 / 3.0,
    ),
    REATTACH,
    target("scroll_server_cpu_ratio", "scroll", Cost::ServerMs, 0.5),
    target("drag_server_cpu_ratio", "drag", Cost::ServerMs, 0.5),
    target("move_server_cpu_ratio", "move", Cost::ServerMs, 0.5),
    target("idle_server_cpu_ratio", "idle", Cost::ServerMs, 0.5),
    target("video_server_cpu_ratio", "video360", Cost::ServerMs, 1.0),
    target("video720_server_cpu_ratio", "video720", Cost::ServerMs, 1.0),
];

/// What a run of Heliostat's took beside the best comparable one of its peers.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    /// What Heliostat took.
    pub own: f64,
    /// Which peer took least, and how much; none where none is comparable.
    pub best: Option<(&'a str, f64)>,
    /// Of what.
    pub what: &'static str,
}

impl Comparison<'_> {
    /// The share of the best peer's: infinite where theirs is none and ours some, none without a peer.
    pub fn ratio(&self) -> Option<f64> {
        let (_, least) = self.best?;
        match (self.own > 0.0, least > 0.0) {
            (false, _) => Some(0.0),
            (true, false) => Some(f64::INFINITY),
            (true, true) => Some(self.own / least),
        }
    }
}

impl Target {
    /// Compares Heliostat's run on the loopback interface with its peers' there; none where there is no
    /// such run of Heliostat's.
    ///
    /// Peers that show less than half as many frames are left out: they leave out what is to be
    /// compared. So are those that send windows and no desktop where it is the viewer's desktop that
    /// does the work, which costs them nothing; the pixels of one window cross the wire as anybody's.
    pub fn compare<'a>(&self, all: &'a [Figures]) -> Option<Comparison<'a>> {
        let runs = |workload: &'static str| {
            all.iter().filter(move |figures| {
                let there = figures.link == "loopback" && figures.error.is_none();
                figures.workload == workload && there
            })
        };
        let is_own = |figures: &&Figures| figures.system == System::Heliostat.name();
        let own = runs(self.workload).find(is_own)?;
        let best = runs(self.peers_workload)
            .filter(|peer| is_peer(peer) && peer.seen * 2 >= own.seen)
            .filter(|peer| sends_a_desktop(peer) || !DESKTOPS_OWN.contains(&self.workload))
            .filter(|peer| self.cost != Cost::FilmBytes || looks_as_good(own, peer))
            .filter_map(|peer| Some((peer.system.as_str(), self.of(peer)?)))
            .min_by(|(_, one), (_, other)| one.total_cmp(other));
        let what = match self.cost {
            Cost::Bytes | Cost::FilmBytes => "bytes a frame",
            Cost::ServerMs => "ms of the server",
            Cost::InputP95 => "ms until it is seen, p95",
        };
        let own = self.of(own)?;
        Some(Comparison { own, best, what })
    }

    fn of(&self, figures: &Figures) -> Option<f64> {
        match self.cost {
            Cost::Bytes | Cost::FilmBytes => figures.bytes_per_frame.map(|bytes| bytes as f64),
            // Nothing is drawn in idle.
            Cost::ServerMs => figures.server_ms_per_frame.or(Some(figures.server_ms)),
            Cost::InputP95 => figures.input_ms.map(|times| times.p95),
        }
    }
}

/// One line for each target that has figures, as a Markdown list.
pub fn list(all: &[Figures]) -> String {
    let lines = TARGETS.iter().filter_map(|target| line(target, all));
    lines.map(|line| format!("- {line}\n")).collect()
}

fn line(target: &Target, all: &[Figures]) -> Option<String> {
    let compared = target.compare(all)?;
    let (name, wanted) = (target.workload, target.share);
    let Comparison { own, best, what } = compared;
    let Some(((peer, least), ratio)) = best.zip(compared.ratio()) else {
        return Some(format!("{name}, {what}: no peer is comparable"));
    };
    let met = if ratio <= wanted { "yes" } else { "no" };
    let share = match ratio.is_finite() {
        true => format!("{ratio:.3}"),
        false => "theirs is none".to_owned(),
    };
    Some(format!(
        "{name}, {what}: {own:.2}, of {peer}'s {least:.2} at most {wanted:.3}: {met} ({share})",
    ))
}

/// Whether it is a run of a peer's, and not one of Heliostat on whatever network.
pub fn is_peer(figures: &Figures) -> bool {
    let mut ours = System::value_variants()
        .iter()
        .filter(|system| system.is_ours());
    ours.all(|system| figures.system != system.name())
}

/// Whether a system sends a desktop, and not the windows of one.
fn sends_a_desktop(figures: &Figures) -> bool {
    !figures.system.starts_with("waypipe")
}

/// Whether a film looked as good on one system as on the other.
fn looks_as_good(one: &Figures, other: &Figures) -> bool {
    let decibels = |film: Option<Film>| film.map(|film| film.psnr_db.unwrap_or(f64::INFINITY));
    decibels(one.film).is_some_and(|one| decibels(other.film).is_some_and(|other| one >= other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::figures::Times;

    fn run(system: &str, workload: &str, bytes: u64, psnr_db: Option<f64>) -> Figures {
        let mut figures = Figures::empty(system, "loopback", workload);
        figures.seen = 100;
        figures.bytes_per_frame = Some(bytes);
        figures.server_ms_per_frame = Some(1.0);
        figures.film = Some(Film {
            compared: 1,
            psnr_db,
            worst_psnr_db: psnr_db,
        });
        figures
    }

    #[test]
    fn best_peer_is_the_one_that_takes_fewest_bytes_of_those_that_show_as_much() {
        let all = [
            run("heliostat", "scroll", 10, None),
            run("tigervnc", "scroll", 100, None),
            run("wayvnc", "scroll", 90, None),
            Figures {
                seen: 9,
                ..run("xpra", "scroll", 2, None)
            },
        ];
        let list = list(&all);
        let first = list.lines().next().unwrap();
        assert!(first.contains("wayvnc's 90.00"), "{first}");
        assert!(first.contains(": yes (0.111)"), "{first}");
    }

    #[test]
    fn windows_without_a_desktop_count_where_pixels_of_one_window_are_sent() {
        let of_the_viewers_desktop = [
            "move_bytes_ratio",
            "move_server_cpu_ratio",
            "workspace_bytes_ratio",
            "idle_server_cpu_ratio",
            "reattach_bytes_ratio",
        ];
        for target in TARGETS {
            let took = |system, workload, costs: u16| Figures {
                input_ms: Times::of(vec![costs.into()]),
                server_ms_per_frame: Some(costs.into()),
                ..run(system, workload, costs.into(), None)
            };
            let all = [
                took("heliostat", target.workload, 3),
                took("tigervnc", target.peers_workload, 9),
                took("waypipe-zstd", target.peers_workload, 5),
            ];
            let compared = target.compare(&all).unwrap();
            let best = match of_the_viewers_desktop.contains(&target.name) {
                true => ("tigervnc", 9.0),
                false => ("waypipe-zstd", 5.0),
            };
            assert_eq!(compared.best, Some(best), "{}", target.name);
        }
    }

    #[test]
    fn each_system_that_can_be_measured_counts_or_is_left_out_by_a_rule() {
        for (target, system) in TARGETS.iter().flat_map(|target| {
            let systems = System::value_variants().iter();
            systems.map(move |system| (target, system))
        }) {
            let took = |system, workload| Figures {
                input_ms: Times::of(vec![5.0]),
                ..run(system, workload, 5, Some(40.0))
            };
            let all = [
                took("heliostat", target.workload),
                took(system.name(), target.peers_workload),
            ];
            let is_windows = matches!(system, System::Waypipe | System::WaypipeZstd);
            let left_out = is_windows && DESKTOPS_OWN.contains(&target.workload);
            let text = line(target, &all).unwrap();
            let says = match system.is_ours() || left_out {
                true => "no peer is comparable".to_owned(),
                false => format!(", of {}'s ", system.name()),
            };
            assert!(text.contains(&says), "{}: {text}", target.name);
        }
    }

    #[test]
    fn heliostat_over_tcp_is_no_peer_of_its_own() {
        let mut all = vec![
            run("heliostat", "scroll", 10, None),
            run("heliostat-tcp", "scroll", 11, None),
        ];
        let scroll = TARGETS.iter().find(|target| target.workload == "scroll");
        assert_eq!(scroll.unwrap().compare(&all).unwrap().best, None);
        all.push(run("tigervnc", "scroll", 100, None));
        let compared = scroll.unwrap().compare(&all).unwrap();
        assert_eq!(
            (compared.own, compared.best),
            (10.0, Some(("tigervnc", 100.0)))
        );
    }

    #[test]
    fn share_of_a_window_s_bytes_is_missed_as_any_other() {
        let all = [
            run("heliostat", "menu", 1132, None),
            run("tigervnc", "menu", 160_000, None),
            run("waypipe", "menu", 14_114, None),
        ];
        let text = list(&all);
        assert!(
            text.contains("of waypipe's 14114.00 at most 0.050: no (0.080)"),
            "{text}"
        );
    }

    #[test]
    fn kept_pixels_are_compared_with_peers_that_connect_anew() {
        let all = [
            run("heliostat", "reattach-kept", 10, None),
            run("tigervnc", "connect", 1000, None),
            run("heliostat", "connect", 20, None),
        ];
        let compared = REATTACH.compare(&all).unwrap();
        assert_eq!(compared.best, Some(("tigervnc", 1000.0)));
        assert_eq!(compared.ratio(), Some(0.01));
    }

    #[test]
    fn nothing_is_no_share_of_something_and_something_no_share_of_nothing() {
        let compared = |own, least| Comparison {
            own,
            best: Some(("tigervnc", least)),
            what: "ms of the server",
        };
        assert_eq!(compared(0.0, 0.0).ratio(), Some(0.0));
        assert_eq!(compared(0.0, 5.0).ratio(), Some(0.0));
        assert_eq!(compared(5.0, 0.0).ratio(), Some(f64::INFINITY));
        let mut all = vec![run("heliostat", "idle", 1, None)];
        let idle = TARGETS.iter().find(|target| target.workload == "idle");
        assert_eq!(idle.unwrap().compare(&all).unwrap().ratio(), None);
        all.clear();
        assert!(idle.unwrap().compare(&all).is_none());
    }

    #[test]
    fn film_is_compared_with_those_that_look_no_better() {
        let mut all = vec![
            run("heliostat", "video360", 30, Some(40.0)),
            run("wayvnc", "video360", 60, Some(33.0)),
            run("tigervnc", "video360", 50, Some(45.0)),
        ];
        assert!(list(&all).contains("wayvnc's 60.00 at most 0.333: no"));
        all[0].film = None;
        assert!(list(&all).contains("no peer is comparable"));
    }
}
