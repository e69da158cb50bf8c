//! `make try`: your own desktop in a window, with a virtual card, in seconds.
//!
//! A broker and a session run as yourself (or, as root, as a user of a world of their own); the
//! terminal is the product's own with its window back end.

use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use hil_local::{Site, SiteOptions, Terminal};
use nix::unistd::{Uid, User};

/// The card of this person.
const CARD: &str = "piv:7472790000000000000000000000cafe";
const HELP: &str = "insert · pull · status · quit";

/// Your own desktop in a window, with a virtual card, in seconds.
#[derive(Parser)]
struct Args {}

fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    if ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .all(|v| std::env::var_os(v).is_none())
    {
        bail!(
            "make try opens a window, so it needs a desktop: set DISPLAY or WAYLAND_DISPLAY (make demo needs none)"
        );
    }
    let person = person()?;
    println!("starting a broker for {person}");
    let options = SiteOptions {
        desktop: true,
        more: lowest_user(),
        ..SiteOptions::default()
    };
    let site = Site::start(&options)?;
    site.add_card(CARD, &person)?;
    let mut terminal = site.window("try", (1280, 800))?;
    terminal.wait_named("connected", Duration::from_secs(10))?;
    println!("inserting {person}'s card");
    terminal.insert_card(CARD)?;
    let attached = terminal.wait_for("desktop", Duration::from_secs(20), |event| {
        event.name() == "receipt" || event.value["code"].is_string()
    })?;
    match attached.value["stages"]["FirstFrameShown"].as_u64() {
        Some(us) => println!(
            "your desktop is there, {:.0} ms after the card",
            us as f64 / 1000.0
        ),
        None => println!(
            "{}",
            attached.value["headline"]
                .as_str()
                .unwrap_or("it did not start")
        ),
    }
    converse(&site, &mut terminal)
}

/// Whose desktop it is.
fn person() -> anyhow::Result<String> {
    if Uid::effective().is_root() {
        hil_rig::namespaces::enter()?;
        return Ok(hil_rig::namespaces::PEOPLE[0].name.to_owned());
    }
    let user = User::from_uid(Uid::effective())?.context("you have no name on this machine")?;
    Ok(user.name)
}

/// Whoever tries it may have a session, whatever their number.
fn lowest_user() -> String {
    format!("min_uid = {}\n", Uid::effective().as_raw().clamp(1, 1000))
}

fn converse(site: &Site, terminal: &mut Terminal) -> anyhow::Result<()> {
    println!("{HELP} (or close the window)");
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    loop {
        print!("> ");
        std::io::stdout().flush()?;
        let line = loop {
            // The window may be closed while nothing is typed.
            match lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => break line,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    terminal.wait_end()?;
                    return Ok(());
                }
                Err(_) if !terminal.is_running() => return Ok(()),
                Err(_) => terminal.drain(),
            }
        };
        match line.trim() {
            "" => {}
            "insert" => terminal.insert_card(CARD)?,
            "pull" => terminal.pull_card()?,
            "status" => println!("{:#}", site.ctl(&["session", "list"])?),
            "quit" | "exit" => return Ok(()),
            _ => println!("{HELP}"),
        }
    }
}
