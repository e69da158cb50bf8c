//! A desktop to look at where there is no screen: a broker, a session with the desktop that is
//! shipped (or by the given session.toml) and a headless terminal. Control lines of the terminal (docs/book/src/headless.md) go in, its events
//! come out; `{"screenshot": "/tmp/a.png"}` is the one to begin with.
//!
//! `target/debug/heliostat-look SESSION_TOML|desktop [WIDTHxHEIGHT]`

use std::io::BufRead;
use std::time::{Duration, Instant};

use anyhow::Context;
use hil_local::{Site, SiteOptions};
use nix::unistd::{Uid, User};

const CARD: &str = "piv:00000000000000000000000000001007";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let toml = arguments
        .next()
        .context("heliostat-look SESSION_TOML|desktop [WIDTHxHEIGHT]")?;
    let size = arguments.next().unwrap_or_else(|| "1280x800".to_owned());
    let (w, h) = size.split_once('x').context("a size such as 1280x800")?;
    let person = match Uid::effective().is_root() {
        true => {
            hil_rig::namespaces::enter()?;
            hil_rig::namespaces::PEOPLE[0].name.to_owned()
        }
        false => {
            User::from_uid(Uid::effective())?
                .context("you have no name")?
                .name
        }
    };
    let options = SiteOptions {
        session_toml: match toml.as_str() {
            "desktop" => String::new(),
            path => std::fs::read_to_string(path).with_context(|| toml.clone())?,
        },
        desktop: toml == "desktop",
        more: format!("min_uid = {}\n", Uid::effective().as_raw().clamp(1, 1000)),
        ..SiteOptions::default()
    };
    let site = Site::start(&options)?;
    site.add_card(CARD, &person)?;
    println!("{}", site.folder().display());
    let mut terminal = site.headless("look", (w.parse()?, h.parse()?))?;
    terminal.wait_named("connected", Duration::from_secs(20))?;
    terminal.insert_card(CARD)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.trim() {
            "" => {}
            "quit" => break,
            line => terminal.send(&serde_json::from_str(line).with_context(|| line.to_owned())?)?,
        }
        let until = Instant::now() + Duration::from_millis(50);
        while let Some(event) = terminal.next_event(until) {
            if event.name() != "frame_shown" {
                println!("{}", event.value);
            }
        }
    }
    Ok(())
}
