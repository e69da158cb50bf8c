//! From counters of two moments to rates; pure.

use std::time::Instant;

use heliostat_control::admin::{SessionRow, Status};
use heliostat_control::stats::{LayerStats, LinkStats, SessionStats};
use serde::Serialize;

/// What the broker said at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was heard.
    pub at: Instant,
    /// The same in seconds since 1970.
    pub at_s: u64,
    /// How the broker is.
    pub status: Status,
    /// Its sessions.
    pub rows: Vec<SessionRow>,
}

/// What one round shows; the form of `--json`.
#[derive(Debug, Serialize)]
pub struct Round {
    /// Seconds since 1970.
    pub at_s: u64,
    /// The site's name.
    pub site: String,
    /// Of all sessions together.
    pub totals: Totals,
    /// Each session, the one that sends most first.
    pub sessions: Vec<Line>,
}

/// All sessions together.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Terminals with a live control link.
    pub terminals_online: u32,
    /// Sessions.
    pub sessions: u32,
    /// Sessions that are on a terminal.
    pub attached: u32,
    /// Frames a second.
    pub fps: f64,
    /// UDP payload bytes a second that are sent.
    pub sent_bytes_per_s: f64,
}

/// One session. What is not known is none.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// The session's id.
    pub session: String,
    /// Whose it is.
    pub person: String,
    /// The terminal it is on.
    pub terminal: Option<String>,
    /// `starting`, `running` or `ending`.
    pub state: String,
    /// How many milliseconds ago it last said how it is.
    pub stats_age_ms: Option<u64>,
    /// Frames a second.
    pub fps: Option<f64>,
    /// UDP payload bytes a second that are sent.
    pub sent_bytes_per_s: Option<f64>,
    /// Tiles a second that are brought up to date.
    pub tiles_per_s: Option<f64>,
    /// Median time of the last frames' encoding, in microseconds.
    pub encode_p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub encode_p99_us: Option<u32>,
    /// Median time from a commit until the link had all of its changes.
    pub commit_to_link_p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub commit_to_link_p99_us: Option<u32>,
    /// Round-trip time in microseconds.
    pub rtt_us: Option<u32>,
    /// Packets lost a second.
    pub lost_packets_per_s: Option<f64>,
    /// Bytes that may be under way at once.
    pub congestion_window_bytes: Option<u64>,
    /// Frames sent and not acknowledged.
    pub frames_in_flight: Option<u32>,
    /// Tiles that the terminal lacks: not sent, or not acknowledged.
    pub tiles_behind: Option<u64>,
    /// Layers that are shown and not exact.
    pub layers_behind: Option<u32>,
    /// For how many milliseconds the one of them has not been that was exact the longest ago.
    pub behind_for_ms: Option<u64>,
    /// Tiles that the terminal held wrongly since the session began, and that were sent again.
    pub tiles_mended: Option<u64>,
    /// Seconds since which the terminal is lossless.
    pub lossless_since_s: Option<u64>,
    /// The layers that the terminal shows, the largest first; so many at most as sessions say of.
    pub layers: Option<Vec<LayerStats>>,
    /// How many more it shows.
    pub layers_left_out: Option<u32>,
    /// Median time from input to the frame that shows it, in microseconds.
    pub input_to_photon_p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub input_to_photon_p99_us: Option<u32>,
    /// Outputs that the session composes, since the terminal cannot hold all of their layers.
    pub flat_outputs: Option<u32>,
    /// Windows mapped.
    pub windows: Option<u32>,
    /// Private memory in bytes.
    pub private_bytes: Option<u64>,
}

impl Round {
    /// What `now` says, with rates since `before`.
    pub fn new(before: Option<&Sample>, now: &Sample) -> Self {
        let line = |row: &SessionRow| {
            let old = before.and_then(|before| {
                let row = before.rows.iter().find(|old| old.id == row.id)?;
                Some((
                    row,
                    now.at.saturating_duration_since(before.at).as_secs_f64(),
                ))
            });
            Line::new(old, row)
        };
        let mut sessions: Vec<Line> = now.rows.iter().map(line).collect();
        let rate = |line: &Line| line.sent_bytes_per_s.unwrap_or(-1.0);
        sessions.sort_by(|a, b| {
            let most_first = rate(b).total_cmp(&rate(a));
            most_first.then_with(|| (&a.person, &a.session).cmp(&(&b.person, &b.session)))
        });
        Self {
            at_s: now.at_s,
            site: now.status.site.clone(),
            totals: Totals {
                terminals_online: now.status.terminals_online,
                sessions: now.status.sessions,
                attached: now.status.attached,
                fps: total(sessions.iter().filter_map(|line| line.fps)),
                sent_bytes_per_s: total(sessions.iter().filter_map(|l| l.sent_bytes_per_s)),
            },
            sessions,
        }
    }
}

impl Line {
    /// `old` is the session's row of before, and how many seconds ago that was heard.
    fn new(old: Option<(&SessionRow, f64)>, row: &SessionRow) -> Self {
        let line = Self {
            session: row.id.clone(),
            person: row.person.clone(),
            terminal: row.terminal.clone(),
            state: row.state.clone(),
            stats_age_ms: row.stats_age_ms,
            ..Self::default()
        };
        let Some(stats) = &row.stats else {
            return line;
        };
        let old = old.and_then(|(old, passed_s)| Some((old.stats.as_ref()?, passed_s)));
        let old = old.and_then(|(old, passed_s)| Some((old, seconds(old, stats, passed_s)?)));
        let link = stats.link.as_ref();
        let old_link = old.and_then(|(old, s)| Some((same_link(old.link.as_ref()?, link?)?, s)));
        let rate = |counter: fn(&SessionStats) -> u64| {
            let (old, s) = old?;
            per_second(counter(old), counter(stats), s)
        };
        let link_rate = |counter: fn(&LinkStats) -> u64| {
            let (old, s) = old_link?;
            per_second(counter(old), counter(link?), s)
        };
        let behind = link.and_then(|link| link.behind);
        let layers = link.and_then(|link| link.layers.as_ref());
        Self {
            fps: rate(|stats| stats.frames),
            tiles_per_s: rate(|stats| stats.tiles),
            sent_bytes_per_s: link_rate(|link| link.sent_bytes),
            lost_packets_per_s: link_rate(|link| link.lost_packets),
            encode_p50_us: stats.encode.p50_us,
            encode_p99_us: stats.encode.p99_us,
            commit_to_link_p50_us: stats.commit_to_link.p50_us,
            commit_to_link_p99_us: stats.commit_to_link.p99_us,
            rtt_us: link.map(|link| link.rtt_us),
            congestion_window_bytes: link.map(|link| link.congestion_window_bytes),
            frames_in_flight: behind.map(|behind| behind.frames_in_flight),
            tiles_behind: behind
                .map(|behind| behind.dirty_tiles.saturating_add(behind.tiles_in_flight)),
            layers_behind: behind
                .filter(|behind| behind.layers > 0)
                .map(|behind| behind.layers_behind),
            behind_for_ms: behind.and_then(|behind| behind.behind_for_ms),
            tiles_mended: Some(stats.cells_wrong),
            lossless_since_s: behind.and_then(|behind| behind.lossless_since_s),
            layers: layers.map(|layers| layers.largest.clone()),
            layers_left_out: layers.map(|layers| layers.left_out),
            input_to_photon_p50_us: link.and_then(|link| link.input_to_photon_p50_us),
            input_to_photon_p99_us: link.and_then(|link| link.input_to_photon_p99_us),
            flat_outputs: Some(stats.flat_outputs),
            windows: Some(stats.windows),
            private_bytes: Some(stats.private_bytes),
            ..line
        }
    }
}

/// How long lies between two answers of a session: by its own clock, so that it does not matter how
/// old each was when it was heard, or as we saw it where it does not tell its clock. None where
/// there is no newer answer.
fn seconds(old: &SessionStats, new: &SessionStats, passed_s: f64) -> Option<f64> {
    let s = match (old.up_ms, new.up_ms) {
        (0, 0) => passed_s,
        (old_ms, new_ms) => new_ms.checked_sub(old_ms)? as f64 / 1000.0,
    };
    (s > 0.0).then_some(s)
}

/// Counters of a link begin anew with each attach.
fn same_link<'a>(old: &'a LinkStats, new: &LinkStats) -> Option<&'a LinkStats> {
    (old.attach_id == new.attach_id).then_some(old)
}

/// The sum of rates; of none it is 0 and not -0, which `sum` gives and people would be shown.
fn total(rates: impl Iterator<Item = f64>) -> f64 {
    rates.fold(0.0, |sum, rate| sum + rate)
}

fn per_second(old: u64, new: u64, seconds: f64) -> Option<f64> {
    Some(new.checked_sub(old)? as f64 / seconds)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use heliostat_control::stats::{Behind, LayerKind, ShownLayers};
    use heliostat_wire::id::{AttachId, LayerId};

    use serde_json::json;

    use super::*;

    pub(crate) fn sample(at: Instant, rows: Vec<SessionRow>) -> Sample {
        let status = Status {
            version: "0".to_owned(),
            site: "Test".to_owned(),
            site_key: String::new(),
            listen: String::new(),
            pid: 1,
            up_s: 1,
            terminals_online: 2,
            sessions: rows.len() as u32,
            attached: 1,
            cards: 1,
        };
        Sample {
            at,
            at_s: 1_795_235_468,
            status,
            rows,
        }
    }

    pub(crate) fn row(id: &str, up_ms: u64, frames: u64, sent_bytes: u64) -> SessionRow {
        let link = LinkStats {
            attach_id: Some(AttachId(1)),
            rtt_us: 400,
            sent_bytes,
            behind: Some(Behind {
                frames_in_flight: 1,
                tiles_in_flight: 2,
                dirty_tiles: 3,
                lossless_since_s: None,
                layers: 4,
                layers_behind: 2,
                behind_for_ms: Some(3100),
            }),
            ..LinkStats::default()
        };
        let stats = SessionStats {
            up_ms,
            frames,
            link: Some(link),
            ..SessionStats::default()
        };
        SessionRow {
            id: id.to_owned(),
            person: format!("person of {id}"),
            uid: 1000,
            pid: 2,
            started_s: 0,
            port: None,
            wayland_display: None,
            state: "running".to_owned(),
            terminal: Some("desk".to_owned()),
            stats: Some(stats),
            stats_age_ms: Some(1),
        }
    }

    fn link(row: &mut SessionRow) -> &mut LinkStats {
        row.stats.as_mut().unwrap().link.as_mut().unwrap()
    }

    fn one(old: SessionRow, new: SessionRow) -> Line {
        let at = Instant::now();
        let later = at + Duration::from_secs(4);
        let round = Round::new(Some(&sample(at, vec![old])), &sample(later, vec![new]));
        round.sessions.into_iter().next().unwrap()
    }

    #[test]
    fn rates_are_by_the_sessions_own_clock() {
        let line = one(row("a", 1000, 10, 5000), row("a", 3000, 130, 25_000));
        assert_eq!(line.fps, Some(60.0));
        assert_eq!(line.sent_bytes_per_s, Some(10_000.0));
        assert_eq!(line.tiles_behind, Some(5));
        assert_eq!(line.layers_behind, Some(2));
        assert_eq!(line.tiles_mended, Some(0));
    }

    #[test]
    fn each_layer_is_listed_with_since_when_it_is_lossless() {
        let layer = |id, (w, h), kind, lossless_since_s| LayerStats {
            layer: LayerId(id),
            w,
            h,
            kind,
            lossless_since_s,
        };
        let mut shows = row("a", 3000, 130, 25_000);
        link(&mut shows).layers = Some(ShownLayers {
            left_out: 2,
            ..ShownLayers::new(vec![
                layer(9, (640, 360), LayerKind::Film, None),
                layer(4, (1920, 1080), LayerKind::Tiles, Some(12)),
            ])
        });
        let older = row("b", 1, 1, 1);
        let round = Round::new(None, &sample(Instant::now(), vec![shows, older]));
        let json = serde_json::to_value(&round).unwrap();
        let expected = json!([
            {"layer": 4, "w": 1920, "h": 1080, "kind": "tiles", "lossless_since_s": 12},
            {"layer": 9, "w": 640, "h": 360, "kind": "film", "lossless_since_s": null},
        ]);
        assert_eq!(json["sessions"][0]["layers"], expected);
        assert_eq!(json["sessions"][0]["layers_left_out"], 2);
        assert_eq!(json["sessions"][1]["layers"], json!(null));
        assert_eq!(json["sessions"][1]["layers_left_out"], json!(null));
    }

    #[test]
    fn a_session_that_does_not_tell_its_clock_is_measured_by_ours() {
        let line = one(row("a", 0, 10, 0), row("a", 0, 50, 400));
        assert_eq!(line.fps, Some(10.0));
        assert_eq!(line.sent_bytes_per_s, Some(100.0));
    }

    #[test]
    fn a_session_that_says_nothing_new_has_no_rates() {
        let line = one(row("a", 1000, 10, 5000), row("a", 1000, 10, 5000));
        assert_eq!((line.fps, line.sent_bytes_per_s), (None, None));
        assert_eq!(line.rtt_us, Some(400));
    }

    #[test]
    fn another_attach_begins_counting_anew() {
        let mut moved = row("a", 2000, 20, 9000);
        link(&mut moved).attach_id = Some(AttachId(2));
        let line = one(row("a", 1000, 10, 5000), moved);
        assert_eq!(line.fps, Some(10.0));
        assert_eq!(line.sent_bytes_per_s, None);
        let line = one(row("a", 1000, 10, 5000), row("a", 2000, 9, 4000));
        assert_eq!((line.fps, line.sent_bytes_per_s), (None, None));
    }

    #[test]
    fn whoever_sends_most_comes_first_and_totals_are_sums() {
        let at = Instant::now();
        let old = ["b", "a", "c"].map(|id| row(id, 1000, 0, 0));
        let mut new = vec![row("b", 2000, 30, 10), row("a", 2000, 60, 10)];
        new.push(row("c", 2000, 1, 900));
        new.push(row("d", 1, 1, 1));
        let round = Round::new(Some(&sample(at, old.to_vec())), &sample(at, new));
        let order: Vec<&str> = round.sessions.iter().map(|l| l.session.as_str()).collect();
        assert_eq!(order, ["c", "a", "b", "d"]);
        assert_eq!(
            (round.totals.fps, round.totals.sent_bytes_per_s),
            (91.0, 920.0)
        );
        assert_eq!(round.sessions[3].fps, None);
    }

    #[test]
    fn a_session_that_has_said_nothing_is_listed() {
        let mut silent = row("a", 0, 0, 0);
        (silent.stats, silent.stats_age_ms) = (None, None);
        let line = one(silent.clone(), silent);
        assert_eq!((line.person.as_str(), line.fps), ("person of a", None));
    }

    #[test]
    fn no_rates_are_nothing_and_not_less() {
        assert_eq!(format!("{:.1}", total(std::iter::empty())), "0.0");
        assert_eq!(total([1.5, 2.0].into_iter()), 3.5);
    }
}
