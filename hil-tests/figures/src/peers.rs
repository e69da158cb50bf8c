//! Desktops beside those of others: shares of what the best peer takes, all from one run.

use anyhow::{Context, bail};
use clap::ValueEnum;
use hil_bench::harness::figures::Figures;
use hil_bench::harness::measure::{self, Viewing};
use hil_bench::harness::systems::System;
use hil_bench::harness::targets::{TARGETS, Target};
use hil_bench::link::{Link, Profile};
use hil_bench::workload::Workload;

use crate::Figure;

/// The shares that have to do with a workload.
pub fn measure(workload: Workload) -> anyhow::Result<Vec<Figure>> {
    let name = workload.name();
    beside_peers(&name, |system, link| {
        measure::measure(system, link, workload)
    })
}

/// A terminal that has kept what it showed, beside viewers that keep nothing.
pub fn measure_reattach() -> anyhow::Result<Vec<Figure>> {
    beside_peers(Viewing::Kept.name(), |system, link| {
        let viewing = match system {
            System::Heliostat => Viewing::Kept,
            _ => Viewing::Anew,
        };
        measure::measure_connect(system, link, viewing)
    })
}

/// Runs something on Heliostat and on all peers that are installed.
fn beside_peers(
    name: &str,
    run: impl Fn(System, &Link) -> anyhow::Result<Figures>,
) -> anyhow::Result<Vec<Figure>> {
    let is_peer = |system: &&System| !system.is_ours() && system.missing().is_none();
    let peers: Vec<System> = System::value_variants()
        .iter()
        .filter(is_peer)
        .copied()
        .collect();
    if peers.is_empty() {
        bail!("skipped: no peer is installed, hil-tests/scripts/setup.sh peers installs them");
    }
    let link = Link::lay(Profile::Loopback)?;
    progress(name, System::Heliostat, 1, peers.len() + 1);
    let mut all = vec![run(System::Heliostat, &link)?];
    for (number, peer) in (2..).zip(&peers) {
        progress(name, *peer, number, peers.len() + 1);
        // Foreign viewers stay black now and then.
        match run(*peer, &link).or_else(|_| run(*peer, &link)) {
            Ok(figures) => all.push(figures),
            Err(error) => eprintln!("{name} on {}: left out: {error:#}", peer.name()),
        }
    }
    let targets = TARGETS.iter().filter(|target| target.workload == name);
    targets.map(|target| figure(target, &all)).collect()
}

/// The runs take minutes.
fn progress(name: &str, system: System, number: usize, of: usize) {
    eprintln!("{name} on {} ({number} of {of})", system.name());
}

fn figure(target: &Target, all: &[Figures]) -> anyhow::Result<Figure> {
    let compared = target.compare(all).context("Heliostat has no such run")?;
    let what = compared.what;
    let systems = all.iter().map(|figures| figures.system.as_str()).skip(1);
    let measured = systems.collect::<Vec<_>>().join(", ");
    let how = match compared.best {
        Some((peer, least)) => format!(
            "the bench's {}, 1920x1080, loopback, one run: {:.2} {what} beside {peer}'s {least:.2}, \
             the least of {measured} by the rules of docs/benches.md",
            target.workload, compared.own
        ),
        None => format!(
            "skipped: {:.2} {what}, and none of {measured} is comparable",
            compared.own
        ),
    };
    Ok(Figure {
        name: target.name,
        value: compared.ratio().unwrap_or(f64::NAN),
        unit: "of the best peer's",
        target: Some(target.share),
        how,
    })
}
