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

use hil_local::apart;

type Test = (&'static str, fn());

const MODULES: [&[Test]; 5] = [
    logins::TESTS,
    greeters::TESTS,
    leaving::TESTS,
    kiosks::TESTS,
    places::TESTS,
];

fn main() -> ExitCode {
    match apart::enter(&["heliostat-leave", "heliostat-greeter"], || None) {
        Ok(true) => {}
        Ok(false) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
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
