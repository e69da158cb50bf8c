//! `make demo`: two terminals, two people, one server, from firmware to pixels.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Parser;
use hil_rig::control::{Request, obey};
use hil_rig::story::{self, ALICE, BOB};
use hil_rig::{Firmware, Rig, RigOptions, image, namespaces, programs};

/// The whole chain: two PCs boot through their firmware, cards move between them. Interactive on a
/// desktop; by itself with DEMO=auto or without one.
#[derive(Parser)]
struct Args {}

fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    let folder = programs::target()?.join("demo");
    // Packages are fetched before the network of the machine is left behind; inside, the image is
    // there already.
    let image = image::build(false).context("the netboot image")?;
    if namespaces::is_outside() {
        println!("entering namespaces of our own: all of it ends with this program");
    }
    namespaces::enter()?;
    // What an earlier demo left would look like this one's.
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|v| std::env::var_os(v).is_some());
    let auto = std::env::var("DEMO").as_deref() == Ok("auto") || !has_display;
    let options = RigOptions {
        terminals: 2,
        firmware: Firmware::Bios,
        windows: !auto,
        shell: false,
        two_readers: false,
        bare: false,
        image,
        folder: folder.clone(),
    };
    println!("starting the broker and the netboot service; switching terminals A and B on");
    let mut rig = Rig::start(&options)?;
    println!("they boot: firmware, DHCP, iPXE, kernel, our PID 1 (a minute, emulated)");
    for name in rig.names() {
        rig.wait_idle(&name)?;
        println!("  {name} asks for a card");
    }
    match auto {
        true => tell(&mut rig, &folder),
        false => converse(&mut rig),
    }
}

/// The story, by itself.
fn tell(rig: &mut Rig, folder: &Path) -> anyhow::Result<()> {
    let mut shot = Shots { folder, number: 0 };
    shot.take(rig, "A", "idle")?;
    shot.take(rig, "B", "idle")?;

    println!("Alice inserts her card at A");
    let took = story::arrive(rig, ALICE, "A")?;
    println!(
        "  her desktop is there after {:.1} s, started from nothing",
        took.as_secs_f64()
    );
    let foot = story::foot_of(ALICE)?;
    println!("  foot runs as alice, process {foot}");
    let typed = story::colour(rig, ALICE, "A")?;
    println!("  what she types is on the screen");
    shot.take(rig, "A", "alice")?;
    let (before, after) = story::drag(rig, ALICE, "A")?;
    println!(
        "  she drags the window from {},{} to {},{}",
        before.x, before.y, after.x, after.y
    );
    shot.take(rig, "A", "alice-dragged")?;

    println!("Alice pulls her card");
    let took = story::leave(rig, "A")?;
    println!("  A is idle again, seen {:.2} s later", took.as_secs_f64());
    shot.take(rig, "A", "pulled")?;
    ensure!(story::foot_of(ALICE)? == foot, "foot did not run on");
    story::sees_nothing_of(rig, ALICE, "A")?;

    println!("Bob inserts his card at A, Alice hers at B");
    rig.insert(BOB.name, "A")?;
    let share = story::come_back_to(rig, ALICE, "B", &typed)?;
    println!(
        "  Alice's text is on B as it was ({:.1} % of its pixels), at B's size",
        share * 100.0
    );
    ensure!(story::foot_of(ALICE)? == foot, "it is another foot");
    shot.take(rig, "B", "alice")?;
    rig.machine("A")?
        .wait_for("Bob's foot", story::STEP, |p| p.share(story::FOOT) > 0.04)?;
    story::colour(rig, BOB, "A")?;
    story::sees_nothing_of(rig, ALICE, "A")?;
    story::sees_nothing_of(rig, BOB, "B")?;
    let (hers, his) = (story::session_of(rig, ALICE)?, story::session_of(rig, BOB)?);
    ensure!(hers["uid"] != his["uid"], "one user for both");
    println!(
        "  Bob has a desktop of his own, as user {}, and sees nothing of hers",
        his["uid"]
    );
    shot.take(rig, "A", "bob")?;

    let (receipts, lines) = story::receipts(rig)?;
    std::fs::write(folder.join("receipts.json"), format!("{receipts:#}\n"))?;
    println!("receipts, from the card edge on, under an emulated processor:");
    lines.iter().for_each(|line| println!("  {line}"));
    ensure!(
        lines.len() >= 3,
        "three attaches, but {} receipts",
        lines.len()
    );
    println!(
        "all of it was verified on the pixels; pictures are in {}",
        folder.display()
    );
    Ok(())
}

/// Numbers and writes screenshots.
struct Shots<'a> {
    folder: &'a Path,
    number: u32,
}

impl Shots<'_> {
    fn take(&mut self, rig: &mut Rig, terminal: &str, what: &str) -> anyhow::Result<()> {
        self.number += 1;
        let name = format!("{}-{terminal}-{what}.png", self.number);
        rig.screenshot(terminal, &self.folder.join(name))
    }
}

const HELP: &str = "insert alice A · pull A · status · screenshot A · quit";

/// A prompt for a person who has the terminals before their eyes.
fn converse(rig: &mut Rig) -> anyhow::Result<()> {
    println!("{HELP}");
    let mut lines = std::io::stdin().lock().lines();
    loop {
        print!("> ");
        std::io::stdout().flush()?;
        let Some(line) = lines.next().transpose()? else {
            return Ok(());
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let request = match words[..] {
            [] => continue,
            ["quit" | "exit"] => return Ok(()),
            ["insert", card, terminal] => Request::Insert {
                card: card.to_owned(),
                terminal: terminal.to_owned(),
            },
            ["pull", terminal] => Request::Pull {
                terminal: terminal.to_owned(),
            },
            ["screenshot", terminal] => {
                let path = PathBuf::from(format!("target/demo/{terminal}.png"));
                println!("{}", path.display());
                Request::Screenshot {
                    terminal: terminal.to_owned(),
                    path: std::path::absolute(path)?,
                }
            }
            ["status"] => Request::Status,
            _ => {
                println!("{HELP}");
                continue;
            }
        };
        match obey(rig, request) {
            Ok(value) if value.is_object() => println!("{value:#}"),
            Ok(_) => {}
            Err(error) => println!("{error:#}"),
        }
    }
}
