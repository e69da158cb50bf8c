//! Measures the figures, one JSON line each: name, value, unit, target, whether it is reached, and
//! how it was measured.

mod attach;
mod boot;
mod display;
mod ends;
mod films;
mod key;
mod links;
mod memory;
mod peers;
mod people;
mod sizes;
mod wire;

use clap::Parser;
use hil_bench::link::Profile;
use hil_bench::workload::Workload;
use hil_rig::{image, namespaces};
use serde_json::json;

/// Measures the figures, one JSON line each
#[derive(Parser)]
struct Args {
    /// Only these, by name; `ratios` for all that are shares of the best peer's, which take half an
    /// hour where all peers are installed
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// One figure.
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be at most, where that can be told without peers.
    pub target: Option<f64>,
    /// How it was measured.
    pub how: String,
}

/// A measurement that gives several figures.
struct Measurement {
    gives: &'static [&'static str],
    run: fn() -> anyhow::Result<Vec<Figure>>,
}

const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        gives: &["attach_p50_ms", "attach_p99_ms"],
        run: attach::measure,
    },
    Measurement {
        gives: &["attach_proof_p50_ms", "attach_proof_p99_ms"],
        run: attach::measure_with_proof,
    },
    Measurement {
        gives: &["key_p50_ms", "key_p99_ms"],
        run: key::measure,
    },
    Measurement {
        gives: &["blink_bytes"],
        run: wire::measure_blink,
    },
    Measurement {
        gives: &["drag_bytes_per_frame"],
        run: wire::measure_drag,
    },
    Measurement {
        gives: &["session_private_mib", "session_rss_mib", "broker_rss_mib"],
        run: memory::measure,
    },
    Measurement {
        gives: &["greeter_p50_ms"],
        run: people::measure_greeter,
    },
    Measurement {
        gives: &["new_session_p50_ms", "new_session_panel_p50_ms"],
        run: people::measure_new_session,
    },
    Measurement {
        gives: &["broker_200_rss_mib"],
        run: people::measure_many,
    },
    Measurement {
        gives: &[
            "typing_p50_ms",
            "typing_p95_ms",
            "typing_video_p50_ms",
            "typing_video_p95_ms",
        ],
        run: display::measure_typing,
    },
    Measurement {
        gives: &["scroll_bytes", "scroll_exact_ms"],
        run: || display::measure_work(Workload::Scroll, ["scroll_bytes", "scroll_exact_ms"]),
    },
    Measurement {
        gives: &["drag_bytes", "drag_exact_ms"],
        run: || display::measure_work(Workload::Drag, ["drag_bytes", "drag_exact_ms"]),
    },
    Measurement {
        gives: &["menu_bytes", "menu_exact_ms"],
        run: || display::measure_work(Workload::Menu, ["menu_bytes", "menu_exact_ms"]),
    },
    Measurement {
        gives: &["switch_bytes", "switch_exact_ms"],
        run: || display::measure_work(Workload::Switch, ["switch_bytes", "switch_exact_ms"]),
    },
    Measurement {
        gives: &["photo_bytes", "photo_exact_ms"],
        run: || display::measure_work(Workload::Photo, ["photo_bytes", "photo_exact_ms"]),
    },
    Measurement {
        gives: &["video_bytes", "video_psnr_db", "video_exact_ms"],
        run: display::measure_video,
    },
    Measurement {
        gives: &[
            "video720_exact_ms",
            "video720_session_rss_mib",
            "video720_session_private_mib",
        ],
        run: display::measure_large_video,
    },
    Measurement {
        gives: &["scroll_pinned_missed"],
        run: || ends::measure(Workload::Scroll, "scroll_pinned_missed"),
    },
    Measurement {
        gives: &["drag_pinned_missed"],
        run: || ends::measure(Workload::Drag, "drag_pinned_missed"),
    },
    Measurement {
        gives: &["video720_pinned_missed"],
        run: || ends::measure(Workload::Video720, "video720_pinned_missed"),
    },
    Measurement {
        gives: &["typing_2mbit_p95_ms"],
        run: || {
            let (profile, workload) = (Profile::M2, Workload::Typing);
            links::measure(profile, workload, "typing_2mbit_p95_ms", 40.0)
        },
    },
    Measurement {
        gives: &["typing_photos_5mbit_p95_ms"],
        run: || {
            let (profile, workload) = (Profile::M5, Workload::TypingPhotos);
            links::measure(profile, workload, "typing_photos_5mbit_p95_ms", 30.0)
        },
    },
    Measurement {
        gives: &["typing_photos_20mbit_p95_ms"],
        run: || {
            let (profile, workload) = (Profile::M20, Workload::TypingPhotos);
            links::measure(profile, workload, "typing_photos_20mbit_p95_ms", 30.0)
        },
    },
    Measurement {
        gives: &[
            "typing_4k_server_times",
            "typing_4k_p50_times",
            "typing_2x4k_server_times",
            "typing_2x4k_p50_times",
        ],
        run: sizes::measure,
    },
    Measurement {
        gives: &["connect_exact_ms"],
        run: display::measure_connect,
    },
    Measurement {
        gives: &[
            "one_cell_us",
            "one_cell_packet_us",
            "full_change_ms",
            "full_change_packet_ms",
        ],
        run: display::measure_commits,
    },
    Measurement {
        gives: &["commit_to_va_us", "va_to_link_us", "va_to_packet_us"],
        run: films::measure,
    },
    Measurement {
        gives: &["link_to_plane_us", "video_copied_bytes"],
        run: films::measure_terminal,
    },
    Measurement {
        gives: &["image_mib"],
        run: boot::measure_image,
    },
    Measurement {
        gives: &["pid1_to_idle_s"],
        run: boot::measure_boot,
    },
    Measurement {
        gives: &["typing_p95_ratio"],
        run: || peers::measure(Workload::Typing),
    },
    Measurement {
        gives: &["scroll_bytes_ratio", "scroll_server_cpu_ratio"],
        run: || peers::measure(Workload::Scroll),
    },
    Measurement {
        gives: &["photo_drag_bytes_ratio", "drag_server_cpu_ratio"],
        run: || peers::measure(Workload::Drag),
    },
    Measurement {
        gives: &["move_bytes_ratio", "move_server_cpu_ratio"],
        run: || peers::measure(Workload::Move),
    },
    Measurement {
        gives: &["menu_bytes_ratio"],
        run: || peers::measure(Workload::Menu),
    },
    Measurement {
        gives: &["workspace_bytes_ratio"],
        run: || peers::measure(Workload::Switch),
    },
    Measurement {
        gives: &["video_bytes_ratio", "video_server_cpu_ratio"],
        run: || peers::measure(Workload::Video360),
    },
    Measurement {
        gives: &["video720_bytes_ratio", "video720_server_cpu_ratio"],
        run: || peers::measure(Workload::Video720),
    },
    Measurement {
        gives: &["idle_server_cpu_ratio"],
        run: || peers::measure(Workload::Idle),
    },
    Measurement {
        gives: &["reattach_bytes_ratio"],
        run: peers::measure_reattach,
    },
];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let wanted = |name: &&str| args.only.is_empty() || args.only.iter().any(|o| asks_for(o, name));
    // Packages are fetched before the network of the machine is left behind.
    if ["image_mib", "pid1_to_idle_s"].iter().any(wanted) {
        image::build(false)?;
    }
    namespaces::enter()?;
    for measurement in MEASUREMENTS {
        if !measurement.gives.iter().any(wanted) {
            continue;
        }
        match (measurement.run)() {
            Ok(figures) => figures.iter().filter(|f| wanted(&f.name)).for_each(print),
            Err(error) => {
                for name in measurement.gives {
                    println!(
                        "{}",
                        json!({"name": name, "ok": false, "how": format!("{error:#}")})
                    );
                }
            }
        }
    }
    Ok(())
}

/// Whether a word of `--only` is the name of a figure, or of the group that it is in.
fn asks_for(word: &str, name: &str) -> bool {
    word == name || (word == "ratios" && name.ends_with("_ratio"))
}

fn print(figure: &Figure) {
    // Shares of a hundredth are told from those of a thousandth.
    let digits = if figure.value < 1.0 { 1e4 } else { 1e2 };
    let line = json!({
        "name": figure.name,
        "value": (figure.value * digits).round() / digits,
        "unit": figure.unit,
        "target": figure.target,
        "ok": figure.target.map(|target| figure.value <= target),
        "how": figure.how,
    });
    println!("{line}");
}

/// The value below which this share of `sorted` lies.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Figures that are shares of the same times in milliseconds, sorted: name, share, target.
pub fn shares<const N: usize>(
    sorted: &[f64],
    how: &str,
    wanted: [(&'static str, f64, f64); N],
) -> Vec<Figure> {
    let figure = |(name, share, target)| Figure {
        name,
        value: percentile(sorted, share),
        unit: "ms",
        target: Some(target),
        how: how.to_owned(),
    };
    wanted.map(figure).into()
}

#[cfg(test)]
mod tests {
    use hil_bench::harness::targets::TARGETS;

    use super::*;

    #[test]
    fn each_target_beside_peers_is_measured_with_its_workload() {
        for target in TARGETS {
            let gives = |one: &&Measurement| one.gives.contains(&target.name);
            let mut measurements = MEASUREMENTS.iter().filter(gives);
            let one = measurements.next().expect(target.name);
            assert!(measurements.next().is_none(), "{} twice", target.name);
            let same = TARGETS
                .iter()
                .filter(|other| other.workload == target.workload);
            assert_eq!(same.count(), one.gives.len(), "{}", target.workload);
            assert!(asks_for("ratios", target.name));
        }
        assert!(!asks_for("ratios", "scroll_bytes"));
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&sorted, 0.5), 100.0);
        assert_eq!(percentile(&sorted, 0.99), 198.0);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
    }
}
