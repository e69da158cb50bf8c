//! People at their desks: the broker by its configuration, the greeter, PAM with people's passwords,
//! and terminals at which somebody types. In namespaces of its own, with people who exist there only.
//!
//! Words after the program's name choose tests by parts of their names. The pictures are left in
//! `target/people/` for whoever wants to look at them.

mod desk;
mod greeters;
mod kiosks;
mod leaving;
mod logins;
mod places;

use std::panic::catch_unwind;
use std::process::ExitCode;

use hil_local::programs;
use hil_rig::namespaces;
use nix::unistd::Uid;

type Test = (&'static str, fn());

const MODULES: [&[Test]; 5] = [
    logins::TESTS,
    greeters::TESTS,
    leaving::TESTS,
    kiosks::TESTS,
    places::TESTS,
];

fn main() -> ExitCode {
    let needed = [
        "heliostat-broker",
        "heliostat-session",
        "heliostat-leave",
        "heliostat-terminal",
        "heliostat-greeter",
        "heliostatctl",
        "hil-probe",
    ];
    if namespaces::is_outside() {
        if !Uid::effective().is_root() {
            println!("skipped: people of one's own need root");
            return ExitCode::SUCCESS;
        }
        if let Some(error) = needed.iter().find_map(|name| programs::find(name).err()) {
            println!("skipped: {error}");
            return ExitCode::SUCCESS;
        }
    }
    if let Err(error) = namespaces::enter() {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let chosen: Vec<_> = chosen
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted =
        |name: &str| chosen.is_empty() || chosen.iter().any(|word| name.contains(word.as_str()));
    let mut failed = Vec::new();
    for (name, test) in MODULES
        .concat()
        .into_iter()
        .filter(|(name, _)| wanted(name))
    {
        let began = std::time::Instant::now();
        let well = catch_unwind(test).is_ok();
        let word = if well { "ok" } else { "FAILED" };
        println!("{name} ... {word} ({:.1} s)", began.elapsed().as_secs_f64());
        failed.extend((!well).then_some(name));
    }
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            println!("failed: {}", failed.join(", "));
            ExitCode::FAILURE
        }
    }
}
