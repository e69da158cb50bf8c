//! Which figures there are, with names and units as Prometheus recommends them.

use heliostat_control::admin::{SessionRow, Status};
use heliostat_control::stats::{ENCODE_BOUNDS_US, EncodeStats, LinkStats, SessionStats};

use super::{Exposition, Kind};
use crate::tally::Tally;
use Kind::{Counter, Gauge};

/// A family of one sample for each `T`; none where the value is not known.
struct Family<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
}

const fn family<T>(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
) -> Family<T> {
    Family {
        name,
        kind,
        help,
        value,
    }
}

#[rustfmt::skip]
const BROKER: [Family<(Status, Tally)>; 9] = [
    family("heliostat_broker_uptime_seconds", Gauge, "Seconds since the broker started.",
        |(status, _)| Some(status.up_s as f64)),
    family("heliostat_terminals_online", Gauge, "Terminals with a live control link.",
        |(status, _)| Some(status.terminals_online.into())),
    family("heliostat_sessions", Gauge, "Sessions, running or about to.",
        |(status, _)| Some(status.sessions.into())),
    family("heliostat_sessions_attached", Gauge, "Sessions that are on a terminal.",
        |(status, _)| Some(status.attached.into())),
    family("heliostat_cards", Gauge, "Cards that are not revoked.",
        |(status, _)| Some(status.cards.into())),
    family("heliostat_attaches_total", Counter, "Attaches offered to terminals since the broker started.",
        |(_, tally)| Some(tally.attaches as f64)),
    family("heliostat_cards_refused_total", Counter, "Cards refused since the broker started.",
        |(_, tally)| Some(tally.cards_refused as f64)),
    family("heliostat_sessions_started_total", Counter, "Sessions started since the broker started.",
        |(_, tally)| Some(tally.sessions_started as f64)),
    family("heliostat_sessions_crashed_total", Counter, "Sessions that crashed since the broker started.",
        |(_, tally)| Some(tally.sessions_crashed as f64)),
];

#[rustfmt::skip]
const SESSION: [Family<SessionStats>; 18] = [
    family("heliostat_session_uptime_seconds", Gauge, "Seconds since the session started.",
        |stats| Some(stats.up_s as f64)),
    family("heliostat_session_clients", Gauge, "Wayland clients with a window.",
        |stats| Some(stats.clients.into())),
    family("heliostat_session_windows", Gauge, "Windows mapped.",
        |stats| Some(stats.windows.into())),
    family("heliostat_session_flat_outputs", Gauge, "Outputs that the session composes, since the terminal cannot hold all of their layers.",
        |stats| Some(stats.flat_outputs.into())),
    family("heliostat_session_gles_failures_total", Counter, "How often GLES was given up, for composing or for reading programs' GPU buffers.",
        |stats| Some(stats.gles_failures as f64)),
    family("heliostat_session_private_memory_bytes", Gauge, "Memory that the session shares with no other process.",
        |stats| Some(stats.private_bytes as f64)),
    family("heliostat_session_frames_total", Counter, "Frames sent.",
        |stats| Some(stats.frames as f64)),
    family("heliostat_session_frames_shown_total", Counter, "Frames that terminals have acknowledged as scanned out.",
        |stats| Some(stats.frames_shown as f64)),
    family("heliostat_session_frame_bytes_total", Counter, "Bytes of frames, before the transport adds its own.",
        |stats| Some(stats.frame_bytes as f64)),
    family("heliostat_session_tiles_total", Counter, "Tiles that frames brought up to date.",
        |stats| Some(stats.tiles as f64)),
    family("heliostat_session_tiles_checked_total", Counter, "Tiles that terminals have said they hold, and that were compared.",
        |stats| Some(stats.cells_checked as f64)),
    family("heliostat_session_tiles_wrong_total", Counter, "Tiles that terminals held wrongly: damaged memory, or a bug.",
        |stats| Some(stats.cells_wrong as f64)),
    family("heliostat_session_film_pictures_by_hardware_total", Counter, "Pictures of films that hardware has encoded.",
        |stats| Some(stats.films.by_hardware as f64)),
    family("heliostat_session_film_pictures_by_processor_total", Counter, "Pictures of films that were encoded in software.",
        |stats| Some(stats.films.by_processor as f64)),
    family("heliostat_session_film_hardware_failures_total", Counter, "How often the hardware that encodes films has failed.",
        |stats| Some(stats.films.failures as f64)),
    family("heliostat_session_dmabuf_read_bytes_total", Counter, "Bytes of pixels that the processor has read of programs' GPU buffers.",
        |stats| Some(stats.films.read_bytes as f64)),
    family("heliostat_session_film_commit_to_encoder_p50_seconds", Gauge, "Median of the last times from a program's commit to the hardware; absent without hardware.",
        |stats| Some(seconds(stats.films.commit_to_encoder_p50_us?.into()))),
    family("heliostat_session_film_coded_to_link_p50_seconds", Gauge, "Median of the last times from the hardware's bytes to their frame with the link; absent without hardware.",
        |stats| Some(seconds(stats.films.coded_to_link_p50_us?.into()))),
];

#[rustfmt::skip]
const LINK: [Family<LinkStats>; 15] = [
    family("heliostat_link_round_trip_seconds", Gauge, "Round-trip time, smoothed.",
        |link| Some(seconds(link.rtt_us.into()))),
    family("heliostat_link_sent_bytes_total", Counter, "UDP payload sent since the attach.",
        |link| Some(link.sent_bytes as f64)),
    family("heliostat_link_sent_datagrams_total", Counter, "UDP datagrams sent since the attach.",
        |link| Some(link.sent_datagrams as f64)),
    family("heliostat_link_received_bytes_total", Counter, "UDP payload received since the attach.",
        |link| Some(link.received_bytes as f64)),
    family("heliostat_link_received_datagrams_total", Counter, "UDP datagrams received since the attach.",
        |link| Some(link.received_datagrams as f64)),
    family("heliostat_link_lost_packets_total", Counter, "Packets lost on the way to the terminal since the attach.",
        |link| Some(link.lost_packets as f64)),
    family("heliostat_link_congestion_window_bytes", Gauge, "Bytes that may be under way at once.",
        |link| Some(link.congestion_window_bytes as f64)),
    family("heliostat_link_frames_in_flight", Gauge, "Frames sent and not acknowledged.",
        |link| Some(link.behind?.frames_in_flight.into())),
    family("heliostat_link_tiles_in_flight", Gauge, "Tiles of frames that are not acknowledged.",
        |link| Some(link.behind?.tiles_in_flight as f64)),
    family("heliostat_link_dirty_tiles", Gauge, "Tiles that have changed and were not sent.",
        |link| Some(link.behind?.dirty_tiles as f64)),
    family("heliostat_link_lossless", Gauge, "1 while the terminal is known to hold exactly the newest pixels, otherwise 0.",
        |link| Some(link.behind?.lossless_since_s.is_some().into())),
    family("heliostat_link_lossless_seconds", Gauge, "For how long it has been lossless; absent while it is not.",
        |link| Some(link.behind?.lossless_since_s? as f64)),
    family("heliostat_link_layers", Gauge, "Layers that the terminal shows: windows, menus, title bars.",
        |link| Some(link.behind?.layers.into())),
    family("heliostat_link_layers_behind", Gauge, "Those of them that are not known to be exactly the newest pixels.",
        |link| Some(link.behind?.layers_behind.into())),
    family("heliostat_link_layers_behind_seconds", Gauge, "For how long the one of them has not been that was exact the longest ago; absent while all are.",
        |link| Some(seconds(link.behind?.behind_for_ms?.saturating_mul(1000)))),
];

/// The text. `rows` are the sessions; what one last said is left out where that is longer than
/// `fresh_ms` ago, so that no graph shows a stuck session at work.
pub fn text(status: &Status, tally: &Tally, rows: &[SessionRow], fresh_ms: u64) -> String {
    let mut out = Exposition::default();
    let info = "heliostat_broker_info";
    out.family(
        info,
        Gauge,
        "Always 1; the labels say which broker this is.",
    );
    let labels = [("version", &*status.version), ("site", &*status.site)];
    out.sample(info, &labels, 1.0);
    let broker = (status.clone(), *tally);
    for family in &BROKER {
        out.family(family.name, family.kind, family.help);
        if let Some(value) = (family.value)(&broker) {
            out.sample(family.name, &[], value);
        }
    }
    let sessions: Vec<Speaker<'_>> = rows.iter().map(|row| Speaker::new(row, fresh_ms)).collect();
    answers(&mut out, &sessions);
    for family in &SESSION {
        out.family(family.name, family.kind, family.help);
        for session in &sessions {
            let value = session.stats.and_then(|stats| (family.value)(stats));
            session.sample(&mut out, family.name, value);
        }
    }
    frame_times(
        &mut out,
        &sessions,
        "heliostat_session_encode_seconds",
        "Time from the first look at a frame's tiles to its bytes.",
        |stats| &stats.encode,
    );
    frame_times(
        &mut out,
        &sessions,
        "heliostat_session_commit_to_link_seconds",
        "Time from a program's commit until the link has all of its changes.",
        |stats| &stats.commit_to_link,
    );
    for family in &LINK {
        out.family(family.name, family.kind, family.help);
        for session in &sessions {
            let value = session.link().and_then(|link| (family.value)(link));
            session.link_sample(&mut out, family.name, &[], value);
        }
    }
    input_to_photon(&mut out, &sessions);
    out.finish()
}

/// A session, and what it said in time.
struct Speaker<'a> {
    id: &'a str,
    person: &'a str,
    terminal: &'a str,
    running: bool,
    stats: Option<&'a SessionStats>,
}

impl<'a> Speaker<'a> {
    fn new(row: &'a SessionRow, fresh_ms: u64) -> Self {
        let fresh = row.stats_age_ms.is_some_and(|age| age <= fresh_ms);
        Self {
            id: &row.id,
            person: &row.person,
            terminal: row.terminal.as_deref().unwrap_or_default(),
            running: row.state == "running",
            stats: row.stats.as_ref().filter(|_| fresh),
        }
    }

    fn link(&self) -> Option<&'a LinkStats> {
        self.stats?.link.as_ref()
    }

    fn sample(&self, out: &mut Exposition, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            out.sample(
                name,
                &[("session", self.id), ("person", self.person)],
                value,
            );
        }
    }

    fn link_sample(
        &self,
        out: &mut Exposition,
        name: &str,
        more: &[(&str, &str)],
        value: Option<f64>,
    ) {
        let Some(value) = value else { return };
        let mut labels = vec![
            ("session", self.id),
            ("person", self.person),
            ("terminal", self.terminal),
        ];
        labels.extend_from_slice(more);
        out.sample(name, &labels, value);
    }
}

fn answers(out: &mut Exposition, sessions: &[Speaker<'_>]) {
    let name = "heliostat_session_answers";
    let help = "1 where a running session said in time how it is, otherwise 0.";
    out.family(name, Gauge, help);
    for session in sessions.iter().filter(|session| session.running) {
        session.sample(out, name, Some(session.stats.is_some().into()));
    }
}

fn frame_times(
    out: &mut Exposition,
    sessions: &[Speaker<'_>],
    name: &str,
    help: &str,
    times: fn(&SessionStats) -> &EncodeStats,
) {
    out.family(name, Kind::Histogram, help);
    for session in sessions {
        let Some(encode) = session.stats.map(times) else {
            continue;
        };
        // A session is its person's, and of any version: it may count into other buckets.
        if encode.counts.len() != ENCODE_BOUNDS_US.len() + 1 {
            continue;
        }
        let bounds = ENCODE_BOUNDS_US.map(|us| seconds(us.into()).to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        let labels = [("session", session.id), ("person", session.person)];
        let mut below = 0u64;
        for (bound, count) in bounds.zip(&encode.counts) {
            below = below.saturating_add(*count);
            let labels = [labels[0], labels[1], ("le", bound)];
            out.sample(&format!("{name}_bucket"), &labels, below as f64);
        }
        out.sample(&format!("{name}_sum"), &labels, seconds(encode.sum_us));
        out.sample(&format!("{name}_count"), &labels, below as f64);
    }
}

fn input_to_photon(out: &mut Exposition, sessions: &[Speaker<'_>]) {
    let name = "heliostat_link_input_to_photon_seconds";
    let help =
        "Time from input at the terminal to the frame that shows it; quantiles of the last 512.";
    out.family(name, Kind::Summary, help);
    for session in sessions {
        let Some(link) = session.link() else { continue };
        let quantiles = [
            ("0.5", link.input_to_photon_p50_us),
            ("0.99", link.input_to_photon_p99_us),
        ];
        for (quantile, us) in quantiles {
            let value = us.map(|us| seconds(us.into()));
            session.link_sample(out, name, &[("quantile", quantile)], value);
        }
        let sum = seconds(link.input_to_photon_sum_us);
        session.link_sample(out, &format!("{name}_sum"), &[], Some(sum));
        let count = link.input_to_photon_count as f64;
        session.link_sample(out, &format!("{name}_count"), &[], Some(count));
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use heliostat_control::stats::{Behind, EncodeStats};

    use super::super::parser::{self, Sample};
    use super::*;

    fn status() -> Status {
        Status {
            version: "0.1.0".to_owned(),
            site: "Site \"one\"".to_owned(),
            site_key: String::new(),
            listen: String::new(),
            pid: 1,
            up_s: 60,
            terminals_online: 3,
            sessions: 2,
            attached: 1,
            cards: 4,
        }
    }

    fn row(id: &str, person: &str, age_ms: Option<u64>) -> SessionRow {
        let link = LinkStats {
            rtt_us: 1500,
            sent_bytes: 1 << 40,
            input_to_photon_p50_us: Some(12_000),
            behind: Some(Behind {
                frames_in_flight: 2,
                dirty_tiles: 7,
                layers: 5,
                layers_behind: 2,
                behind_for_ms: Some(1500),
                ..Behind::default()
            }),
            ..LinkStats::default()
        };
        let stats = SessionStats {
            frames: 9,
            encode: EncodeStats {
                counts: vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, u64::MAX],
                sum_us: 2_500_000,
                ..EncodeStats::default()
            },
            link: Some(link),
            ..SessionStats::default()
        };
        SessionRow {
            id: id.to_owned(),
            person: person.to_owned(),
            uid: 1000,
            pid: 2,
            started_s: 0,
            port: None,
            wayland_display: None,
            state: "running".to_owned(),
            terminal: Some("desk \\\n\"9\"".to_owned()),
            stats: age_ms.map(|_| stats),
            stats_age_ms: age_ms,
        }
    }

    fn samples(rows: &[SessionRow]) -> Vec<Sample> {
        let tally = Tally {
            attaches: 5,
            ..Tally::default()
        };
        let text = text(&status(), &tally, rows, 100);
        let families = parser::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        families.into_iter().flat_map(|f| f.samples).collect()
    }

    fn value(samples: &[Sample], name: &str, session: &str) -> Option<f64> {
        let is_it = |s: &&Sample| s.name == name && s.label("session").unwrap_or("") == session;
        samples.iter().find(is_it).map(|sample| sample.value)
    }

    #[test]
    fn figures_have_base_units_and_labels_that_name_the_desk() {
        let samples = samples(&[row("s1", "alice", Some(3))]);
        let of = |name: &str| value(&samples, name, "s1");
        assert_eq!(value(&samples, "heliostat_attaches_total", ""), Some(5.0));
        assert_eq!(of("heliostat_session_frames_total"), Some(9.0));
        assert_eq!(of("heliostat_link_round_trip_seconds"), Some(0.0015));
        assert_eq!(
            of("heliostat_link_sent_bytes_total"),
            Some((1u64 << 40) as f64)
        );
        assert_eq!(of("heliostat_link_dirty_tiles"), Some(7.0));
        assert_eq!(of("heliostat_link_lossless"), Some(0.0));
        assert_eq!(of("heliostat_link_lossless_seconds"), None);
        assert_eq!(of("heliostat_link_layers"), Some(5.0));
        assert_eq!(of("heliostat_link_layers_behind"), Some(2.0));
        assert_eq!(of("heliostat_link_layers_behind_seconds"), Some(1.5));
        assert_eq!(of("heliostat_session_encode_seconds_sum"), Some(2.5));
        assert_eq!(of("heliostat_link_input_to_photon_seconds"), Some(0.012));
        let rtt = samples.iter().find(|s| s.name.contains("round_trip"));
        assert_eq!(rtt.unwrap().label("terminal"), Some("desk \\\n\"9\""));
        assert_eq!(rtt.unwrap().label("person"), Some("alice"));
    }

    #[test]
    fn buckets_are_cumulative_whatever_a_session_claims() {
        let samples = samples(&[row("s1", "alice", Some(3))]);
        let buckets = samples.iter().filter(|s| s.name.ends_with("_bucket"));
        let counts: Vec<f64> = buckets.map(|bucket| bucket.value).collect();
        assert_eq!(counts[..3], [1.0, 3.0, 3.0]);
        assert_eq!(counts.len(), ENCODE_BOUNDS_US.len() + 1);
        let mut other = row("s1", "alice", Some(3));
        other.stats.as_mut().unwrap().encode.counts.pop();
        let samples = self::samples(&[other]);
        assert!(!samples.iter().any(|s| s.name.contains("encode")));
    }

    #[test]
    fn a_session_that_did_not_answer_in_time_lacks_its_series() {
        let samples = samples(&[row("s1", "alice", Some(101)), row("s2", "bob", Some(100))]);
        assert_eq!(
            value(&samples, "heliostat_session_answers", "s1"),
            Some(0.0)
        );
        assert_eq!(
            value(&samples, "heliostat_session_answers", "s2"),
            Some(1.0)
        );
        assert_eq!(
            value(&samples, "heliostat_session_frames_total", "s1"),
            None
        );
        assert!(value(&samples, "heliostat_session_frames_total", "s2").is_some());
        let silent = self::samples(&[row("s3", "carol", None)]);
        assert_eq!(value(&silent, "heliostat_session_answers", "s3"), Some(0.0));
    }

    #[test]
    fn without_sessions_the_families_are_still_announced() {
        let text = text(&status(), &Tally::default(), &[], 100);
        assert!(parser::parse(&text).unwrap().len() > 20);
    }
}
