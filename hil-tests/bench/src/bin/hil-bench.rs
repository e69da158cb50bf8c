//! Runs workloads on systems, side by side, and reports one JSON line each and a table.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use hil_bench::harness::figures::Figures;
use hil_bench::harness::systems::System;
use hil_bench::harness::{measure, report, targets};
use hil_bench::link::{Link, Profile};
use hil_bench::workload::Workload;
use hil_rig::namespaces;

/// Measures Heliostat and its peers side by side
#[derive(Parser)]
struct Args {
    /// The systems; all of them where none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    systems: Vec<System>,
    /// The workloads; all of them where none is named
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// The links between viewers and servers
    #[arg(long, value_enum, value_delimiter = ',', default_value = "loopback")]
    links: Vec<Profile>,
    /// Write the figures into this file as well, as a JSON array
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the table into this file as well
    #[arg(long)]
    table: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    namespaces::enter()?;
    let systems = match args.systems.is_empty() {
        true => System::value_variants().to_vec(),
        false => args.systems,
    };
    let wanted = |name: &str| args.workloads.is_empty() || args.workloads.iter().any(|w| w == name);
    let mut all = Vec::new();
    for profile in args.links {
        let link = Link::lay(profile)?;
        for workload in Workload::value_variants() {
            for system in systems.iter().filter(|_| wanted(&workload.name())) {
                let run = || measure::measure(*system, &link, *workload);
                all.push(note(*system, &link, &workload.name(), run));
            }
        }
        for again in [false, true] {
            let name = measure::connect_name(again);
            for system in systems.iter().filter(|_| wanted(name)) {
                let run = || measure::measure_connect(*system, &link, again);
                all.push(note(*system, &link, name, run));
            }
        }
    }
    let mut table = report::tables(&all);
    let targets = targets::list(&all);
    if systems.len() > 1 && !targets.is_empty() {
        table += &format!("Targets beside the best peer\n\n{targets}");
    }
    println!("\n{table}");
    if let Some(path) = args.table {
        std::fs::write(path, table)?;
    }
    if let Some(path) = args.json {
        std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// Runs and prints; an error is a line, too.
fn note(
    system: System,
    link: &Link,
    workload: &str,
    run: impl FnOnce() -> anyhow::Result<Figures>,
) -> Figures {
    let figures = match system.missing() {
        Some(missing) => Err(anyhow::anyhow!("not measured: {missing}")),
        None => run(),
    };
    let figures = figures.unwrap_or_else(|error| {
        let mut figures = Figures::empty(system.name(), &link.profile().name(), workload);
        figures.error = Some(format!("{error:#}"));
        figures
    });
    println!("{}", serde_json::to_string(&figures).unwrap_or_default());
    figures
}
