//! Runs workloads on systems, side by side, and reports one JSON line each and a table.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use hil_bench::harness::figures::Figures;
use hil_bench::harness::pin::Pins;
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
    /// Run the server and the applications on one processor, and the client on another
    #[arg(long)]
    pin: bool,
    /// Write the figures into this file as well, as a JSON array
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the table into this file as well
    #[arg(long)]
    table: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let pins = args.pin.then(Pins::of_this_machine).transpose()?;
    namespaces::enter()?;
    let mut report = Report {
        all: Vec::new(),
        json: args.json,
        table: args.table,
    };
    let systems = match args.systems.is_empty() {
        true => System::value_variants().to_vec(),
        false => args.systems,
    };
    let wanted = |name: &str| args.workloads.is_empty() || args.workloads.iter().any(|w| w == name);
    for profile in args.links {
        let link = Link::lay(profile)?.pinned(pins);
        for workload in Workload::value_variants() {
            let name = workload.name();
            for system in systems.iter().filter(|_| wanted(&name)) {
                let run = || measure::measure(*system, &link, *workload);
                report.note(*system, &link, &name, run)?;
            }
        }
        for viewing in measure::Viewing::ALL {
            let name = viewing.name();
            for system in systems.iter().filter(|_| wanted(name)) {
                let run = || measure::measure_connect(*system, &link, viewing);
                report.note(*system, &link, name, run)?;
            }
        }
    }
    println!("\n{}", report.text());
    Ok(())
}

/// What was measured so far, and where it goes.
struct Report {
    all: Vec<Figures>,
    json: Option<PathBuf>,
    table: Option<PathBuf>,
}

impl Report {
    /// Runs, prints and writes; an error is a line, too. A run of an hour may be broken off, so
    /// everything is written each time.
    fn note(
        &mut self,
        system: System,
        link: &Link,
        workload: &str,
        run: impl FnOnce() -> anyhow::Result<Figures>,
    ) -> anyhow::Result<()> {
        let figures = match system.missing() {
            Some(missing) => Err(anyhow::anyhow!("not measured: {missing}")),
            None => run(),
        };
        let mut figures = figures.unwrap_or_else(|error| {
            let mut figures = Figures::empty(system.name(), &link.profile().name(), workload);
            figures.error = Some(format!("{error:#}"));
            figures
        });
        figures.pinned = link.pins();
        println!("{}", serde_json::to_string(&figures)?);
        self.all.push(figures);
        if let Some(path) = &self.table {
            std::fs::write(path, self.text())?;
        }
        if let Some(path) = &self.json {
            std::fs::write(path, serde_json::to_string_pretty(&self.all)?)?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let tables = report::tables(&self.all);
        let targets = targets::list(&self.all);
        match self.all.iter().any(targets::is_peer) && !targets.is_empty() {
            true => format!("{tables}Targets beside the best peer\n\n{targets}"),
            false => tables,
        }
    }
}
