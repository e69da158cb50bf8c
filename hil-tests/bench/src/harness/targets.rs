//! What Heliostat should need beside the best of its peers, and whether it does.

use super::figures::{Figures, Film};
use super::systems::System;

/// What is compared.
#[derive(Debug, Clone, Copy)]
enum Cost {
    Bytes,
    /// The same, of peers whose film looks no better.
    FilmBytes,
    ServerMs,
}

/// At most this share of the best peer's.
struct Target {
    workload: &'static str,
    cost: Cost,
    share: f64,
}

const fn target(workload: &'static str, cost: Cost, share: f64) -> Target {
    Target {
        workload,
        cost,
        share,
    }
}

const TARGETS: [Target; 13] = [
    target("scroll", Cost::Bytes, 1.0 / 8.0),
    target("drag", Cost::Bytes, 1.0 / 3.0),
    target("move", Cost::Bytes, 1.0 / 100.0),
    target("menu", Cost::Bytes, 1.0 / 20.0),
    target("switch", Cost::Bytes, 1.0 / 100.0),
    target("video360", Cost::FilmBytes, 1.0 / 3.0),
    target("video720", Cost::FilmBytes, 1.0 / 3.0),
    target("scroll", Cost::ServerMs, 0.5),
    target("drag", Cost::ServerMs, 0.5),
    target("move", Cost::ServerMs, 0.5),
    target("idle", Cost::ServerMs, 0.5),
    target("video360", Cost::ServerMs, 1.0),
    target("video720", Cost::ServerMs, 1.0),
];

/// One line for each target that has figures, as a Markdown list. Systems that send windows and no
/// desktop are left out: what their viewer's desktop does costs them nothing. So are those that show
/// less than half as many frames: they leave out what is to be compared.
pub fn list(all: &[Figures]) -> String {
    let lines = TARGETS.iter().filter_map(|target| line(target, all));
    lines.map(|line| format!("- {line}\n")).collect()
}

fn line(target: &Target, all: &[Figures]) -> Option<String> {
    let runs = all.iter().filter(|figures| {
        figures.workload == target.workload && figures.link == "loopback" && figures.error.is_none()
    });
    let (own, peers): (Vec<&Figures>, Vec<&Figures>) =
        runs.partition(|figures| figures.system == System::Heliostat.name());
    let own = *own.first()?;
    let cost = |figures: &Figures| cost(target.cost, figures);
    let best = peers
        .into_iter()
        .filter(|peer| !peer.system.starts_with("waypipe") && peer.seen * 2 >= own.seen)
        .filter(|peer| !matches!(target.cost, Cost::FilmBytes) || looks_as_good(own, peer))
        .filter_map(|peer| Some((peer, cost(peer)?)))
        .min_by(|(_, one), (_, other)| one.total_cmp(other));
    let what = match target.cost {
        Cost::Bytes | Cost::FilmBytes => "bytes a frame",
        Cost::ServerMs => "ms of the server",
    };
    let (name, wanted, value) = (target.workload, target.share, cost(own)?);
    let Some((peer, least)) = best else {
        return Some(format!("{name}, {what}: no peer is comparable"));
    };
    let met = if value <= least * wanted { "yes" } else { "no" };
    let share = match least > 0.0 {
        true => format!("{:.3}", value / least),
        false => "theirs is none".to_owned(),
    };
    Some(format!(
        "{name}, {what}: {value:.2}, of {}'s {least:.2} at most {wanted:.3}: {met} ({share})",
        peer.system,
    ))
}

fn cost(cost: Cost, figures: &Figures) -> Option<f64> {
    match cost {
        Cost::Bytes | Cost::FilmBytes => figures.bytes_per_frame.map(|bytes| bytes as f64),
        // Nothing is drawn in idle.
        Cost::ServerMs => figures.server_ms_per_frame.or(Some(figures.server_ms)),
    }
}

/// Whether a film looked as good on one system as on the other.
fn looks_as_good(one: &Figures, other: &Figures) -> bool {
    let decibels = |film: Option<Film>| film.map(|film| film.psnr_db.unwrap_or(f64::INFINITY));
    decibels(one.film).is_some_and(|one| decibels(other.film).is_some_and(|other| one >= other))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn best_peer_is_the_one_that_sends_a_desktop_for_the_fewest_bytes() {
        let all = [
            run("heliostat", "scroll", 10, None),
            run("tigervnc", "scroll", 100, None),
            run("wayvnc", "scroll", 90, None),
            run("waypipe", "scroll", 1, None),
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
