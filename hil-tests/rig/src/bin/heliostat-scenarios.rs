//! The scenarios: a few boots, many assertions, each on pixels and processes.
//!
//! `heliostat-scenarios` plays what every change has to pass; `--all` plays the long ones too;
//! `--only NAME` plays one.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use hil_rig::story::{self, ALICE, BOB, STEP};
use hil_rig::{BOOT, Firmware, Picture, Rig, RigOptions, image, namespaces, programs};

#[derive(Parser)]
struct Args {
    /// Play the long scenarios as well
    #[arg(long)]
    all: bool,
    /// Play only scenarios whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Play the scenarios of one boot in here
    #[arg(long, value_enum, hide = true)]
    boot: Option<Boot>,
}

/// One scenario. Those of a boot share a rig, in the order in which they stand.
struct Scenario {
    name: &'static str,
    boot: Boot,
    long: bool,
    play: fn(&mut Rig) -> anyhow::Result<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Boot {
    /// Two terminals as they are sold.
    Bios,
    /// One terminal with a shell inside, to break things.
    Shell,
    /// One terminal with UEFI.
    Uefi,
    /// An image without a site key, and a terminal without a display.
    Bare,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "BIOS netboot to the idle screen",
        boot: Boot::Bios,
        long: false,
        play: netboot,
    },
    Scenario {
        name: "hot-desk from A to B",
        boot: Boot::Bios,
        long: false,
        play: hot_desk,
    },
    Scenario {
        name: "two people at once",
        boot: Boot::Bios,
        long: false,
        play: two_people,
    },
    Scenario {
        name: "unknown card",
        boot: Boot::Bios,
        long: false,
        play: unknown_card,
    },
    Scenario {
        name: "same card at two terminals",
        boot: Boot::Bios,
        long: false,
        play: newer_wins,
    },
    Scenario {
        name: "broker killed under a live session",
        boot: Boot::Bios,
        long: false,
        play: broker_killed,
    },
    Scenario {
        name: "card torn out while it is read",
        boot: Boot::Bios,
        long: true,
        play: torn_out,
    },
    Scenario {
        name: "cards that cannot be read",
        boot: Boot::Bios,
        long: true,
        play: unreadable_cards,
    },
    Scenario {
        name: "two readers",
        boot: Boot::Bios,
        long: true,
        play: two_readers,
    },
    Scenario {
        name: "cable pulled for ten seconds",
        boot: Boot::Bios,
        long: true,
        play: cable_pulled,
    },
    Scenario {
        name: "terminal power-cut and netbooted again",
        boot: Boot::Bios,
        long: true,
        play: power_cut,
    },
    Scenario {
        name: "pcscd killed in the terminal",
        boot: Boot::Shell,
        long: true,
        play: pcscd_killed,
    },
    Scenario {
        name: "UEFI netboot to a desktop",
        boot: Boot::Uefi,
        long: true,
        play: uefi,
    },
    Scenario {
        name: "image without a site key",
        boot: Boot::Bare,
        long: true,
        play: no_site_key,
    },
    Scenario {
        name: "terminal without a display",
        boot: Boot::Bare,
        long: true,
        play: no_display,
    },
];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(boot) = args.boot {
        return inside(boot, &args);
    }
    let (mut passed, mut failed) = (0, 0);
    for boot in [Boot::Bios, Boot::Shell, Boot::Uefi, Boot::Bare] {
        if chosen(&args, boot).next().is_none() {
            continue;
        }
        image::build(boot == Boot::Shell)?;
        let counts = play_apart(boot)?;
        passed += counts.0;
        failed += counts.1;
    }
    let skipped = SCENARIOS.len() - passed - failed;
    if skipped > 0 {
        println!("{skipped} skipped: not chosen (all of them play with --all, make scenarios)");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ensure!(failed == 0, "scenarios failed");
    Ok(())
}

fn chosen(args: &Args, boot: Boot) -> impl Iterator<Item = &'static Scenario> + use<> {
    let (all, only) = (args.all, args.only.clone());
    SCENARIOS.iter().filter(move |scenario| {
        let wanted = match &only {
            Some(only) => scenario.name.contains(only.as_str()),
            None => all || !scenario.long,
        };
        scenario.boot == boot && wanted
    })
}

/// Each boot has a process and namespaces of its own; its last words are the counts.
fn play_apart(boot: Boot) -> anyhow::Result<(usize, usize)> {
    let name = boot.to_possible_value().context("a boot has a name")?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .args(["--boot", name.get_name()])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("the scenarios' output")?;
    let mut counts = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        match line.strip_prefix(COUNTS) {
            Some(words) => {
                let mut numbers = words.split_whitespace().map(str::parse);
                counts = numbers.next().zip(numbers.next());
            }
            None => println!("{line}"),
        }
    }
    let status = child.wait()?;
    match counts {
        Some((Ok(passed), Ok(failed))) => Ok((passed, failed)),
        _ => bail!("the scenarios of a boot ended early ({status})"),
    }
}

/// What the process of a boot says last, before the numbers of those passed and failed.
const COUNTS: &str = "counts: ";

fn inside(boot: Boot, args: &Args) -> anyhow::Result<()> {
    let image = image::build(boot == Boot::Shell)?;
    namespaces::enter()?;
    let scenarios: Vec<_> = chosen(args, boot).collect();
    let (passed, failed) = play_boot(boot, image, &scenarios);
    println!("{COUNTS}{passed} {failed}");
    Ok(())
}

fn play_boot(boot: Boot, image: PathBuf, scenarios: &[&Scenario]) -> (usize, usize) {
    let started = Instant::now();
    println!("switching terminals on ({boot:?})");
    let mut rig = match start(boot, image) {
        Ok(rig) => rig,
        Err(error) => {
            println!("FAILED  boot: {error:#}");
            return (0, scenarios.len());
        }
    };
    println!(
        "terminals switched on after {:.0} s",
        started.elapsed().as_secs_f64()
    );
    let mut failed = 0;
    for scenario in scenarios {
        let started = Instant::now();
        let result = (scenario.play)(&mut rig).and_then(|()| tidy(boot, &mut rig));
        let took = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("ok      {} ({took:.0} s)", scenario.name),
            Err(error) => {
                failed += 1;
                println!("FAILED  {} ({took:.0} s): {error:#}", scenario.name);
                let _ = tidy(boot, &mut rig);
            }
        }
    }
    (scenarios.len() - failed, failed)
}

fn start(boot: Boot, image: PathBuf) -> anyhow::Result<Rig> {
    let (firmware, terminals, name) = match boot {
        Boot::Bios => (Firmware::Bios, 2, "bios"),
        Boot::Shell => (Firmware::Bios, 1, "shell"),
        Boot::Uefi => (Firmware::Uefi, 1, "uefi"),
        Boot::Bare => (Firmware::Bios, 2, "bare"),
    };
    let folder = programs::target()?.join("scenarios").join(name);
    let shell = boot == Boot::Shell;
    Rig::start(&RigOptions {
        terminals,
        firmware,
        windows: false,
        shell,
        two_readers: boot == Boot::Bios,
        bare: boot == Boot::Bare,
        image,
        folder,
    })
}

/// No card anywhere, every terminal idle: how each scenario begins.
fn tidy(boot: Boot, rig: &mut Rig) -> anyhow::Result<()> {
    if boot == Boot::Bare {
        return Ok(());
    }
    for name in rig.names() {
        for reader in rig.machine(&name)?.readers() {
            reader.pull()?;
        }
        rig.pull(&name)?;
        rig.wait_idle(&name)?;
    }
    Ok(())
}

fn netboot(rig: &mut Rig) -> anyhow::Result<()> {
    for name in rig.names() {
        rig.wait_idle(&name)?;
        let console = rig.machine(&name)?.console();
        ensure!(
            console.contains("screen shown"),
            "PID 1 does not know of the first screen"
        );
    }
    let known = rig.site.ctl(&["terminal", "list"])?;
    let online = known.as_array().map_or(0, |all| {
        all.iter()
            .filter(|terminal| terminal["address"].is_string())
            .count()
    });
    ensure!(online == rig.names().len(), "{online} terminals online");
    Ok(())
}

fn hot_desk(rig: &mut Rig) -> anyhow::Result<()> {
    story::arrive(rig, ALICE, "A")?;
    let foot = story::foot_of(ALICE)?;
    let typed = story::colour(rig, ALICE, "A")?;
    story::drag(rig, ALICE, "A")?;
    story::leave(rig, "A")?;
    story::sees_nothing_of(rig, ALICE, "A")?;
    ensure!(story::foot_of(ALICE)? == foot, "foot did not run on");
    story::come_back_to(rig, ALICE, "B", &typed)?;
    ensure!(story::foot_of(ALICE)? == foot, "it is another foot");
    let (_, receipts) = story::receipts(rig)?;
    ensure!(
        receipts.len() >= 2,
        "two attaches, but {} receipts",
        receipts.len()
    );
    receipts.iter().for_each(|line| println!("        {line}"));
    Ok(())
}

fn two_people(rig: &mut Rig) -> anyhow::Result<()> {
    rig.insert(BOB.name, "A")?;
    story::come_back(rig, ALICE, "B")?;
    rig.machine("A")?
        .wait_for("Bob's foot", STEP, |p| p.share(story::FOOT) > 0.04)?;
    story::colour(rig, BOB, "A")?;
    story::sees_nothing_of(rig, ALICE, "A")?;
    story::sees_nothing_of(rig, BOB, "B")?;
    ensure!(
        story::foot_of(ALICE)? != story::foot_of(BOB)?,
        "one foot for both"
    );
    let (hers, his) = (story::session_of(rig, ALICE)?, story::session_of(rig, BOB)?);
    ensure!(
        hers["uid"] == 62001 && his["uid"] == 62002,
        "sessions of other users: {hers} {his}"
    );
    Ok(())
}

fn unknown_card(rig: &mut Rig) -> anyhow::Result<()> {
    rig.insert("mallory", "A")?;
    // The card that is not known: no desktop, no idle screen, an alert.
    let refused = |p: &Picture| p.share(ALERT) > 0.004;
    rig.machine("A")?.wait_for("refusal", STEP, refused)?;
    let sessions = rig.site.ctl(&["session", "list"])?;
    let of_mallory = sessions
        .as_array()
        .into_iter()
        .flatten()
        .any(|s| s["person"] == "mallory");
    ensure!(!of_mallory, "a session for nobody");
    Ok(())
}

/// The colour of trouble on the terminal's own screens.
const ALERT: u32 = 0xf0_7f_6a;

fn newer_wins(rig: &mut Rig) -> anyhow::Result<()> {
    story::come_back(rig, ALICE, "A")?;
    story::come_back(rig, ALICE, "B")?;
    // The older desk says where the desktop went; its card is still in.
    let told = |p: &Picture| p.share(ALICE.colour) == 0.0 && p.share(0xf6_b7_3c) > 0.003;
    rig.machine("A")?
        .wait_for("word of where the desktop went", STEP, told)?;
    let session = story::session_of(rig, ALICE)?;
    let terminal = session["terminal"].as_str().unwrap_or("").to_uppercase();
    ensure!(terminal == "B", "the session is at {terminal:?}");
    Ok(())
}

fn broker_killed(rig: &mut Rig) -> anyhow::Result<()> {
    story::come_back(rig, ALICE, "A")?;
    let session = story::session_of(rig, ALICE)?;
    rig.site.kill_broker()?;
    // The session neither notices nor minds.
    let machine = rig.machine("A")?;
    machine.type_text("clear; printf '\\033]11;#a06010\\007'\n")?;
    machine.wait_for("typing without a broker", STEP, |p| {
        p.share(0xa0_60_10) > 0.04
    })?;
    rig.site.restart_broker()?;
    let found = story::session_of(rig, ALICE)?;
    ensure!(
        found["pid"] == session["pid"],
        "the session was not adopted: {found}"
    );
    let machine = rig.machine("A")?;
    machine.type_text(&format!("printf '\\033]11;#{:06x}\\007'\n", ALICE.colour))?;
    machine.wait_for("typing after it", STEP, |p| p.share(ALICE.colour) > 0.04)?;
    // The terminal finds the new broker by itself: the next pull and insert need it.
    story::leave(rig, "A")?;
    story::come_back(rig, ALICE, "A").map(drop)
}

/// How many cards the terminals have said they could not read.
fn unreadable_so_far(rig: &Rig) -> anyhow::Result<usize> {
    let lines = rig.site.ctl(&["audit", "-n", "10000"])?;
    let lines = lines.as_array().context("the audit trail is a list")?;
    let unreadable = |line: &&serde_json::Value| line["event"] == "card_unreadable";
    Ok(lines.iter().filter(unreadable).count())
}

fn torn_out(rig: &mut Rig) -> anyhow::Result<()> {
    let card = hil_card::Card::named(ALICE.name);
    let before = unreadable_so_far(rig)?;
    // Gone after the first answer: in the middle of being read.
    rig.machine("A")?.reader().insert_and_tear(card, 1)?;
    let deadline = Instant::now() + STEP;
    // The screen was idle before and is idle after, so the broker is asked what it was told.
    while unreadable_so_far(rig)? == before {
        ensure!(
            Instant::now() < deadline,
            "the terminal never said that the card could not be read"
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
    ensure!(
        !rig.machine("A")?.reader().has_card(),
        "the card was not torn out"
    );
    rig.pull("A")?;
    rig.wait_idle("A")?;
    story::sees_nothing_of(rig, ALICE, "A")?;
    rig.insert(ALICE.name, "A")?;
    let desktop = |p: &Picture| p.share(story::FOOT) > 0.04 || p.share(ALICE.colour) > 0.04;
    rig.machine("A")?
        .wait_for("the desktop", STEP, desktop)
        .map(drop)
}

fn unreadable_cards(rig: &mut Rig) -> anyhow::Result<()> {
    for kind in [hil_card::Kind::Garbage, hil_card::Kind::Silent] {
        let machine = rig.machine("A")?;
        let card = hil_card::Card::new(kind.clone());
        machine.reader().insert(card)?;
        let trouble = |p: &Picture| p.share(ALERT) > 0.004;
        machine
            .wait_for("word of a card that cannot be read", STEP, trouble)
            .with_context(|| format!("{kind:?}"))?;
        let sessions = rig.site.ctl(&["session", "list"])?;
        let attached = sessions.as_array().into_iter().flatten();
        let at_a = attached.filter(|session| is_at_a(session)).count();
        ensure!(at_a == 0, "{kind:?} has opened a session");
        rig.pull("A")?;
        rig.wait_idle("A")?;
    }
    // The reader is none the worse for it.
    rig.insert(ALICE.name, "A")?;
    let desktop = |p: &Picture| p.share(story::FOOT) > 0.04 || p.share(ALICE.colour) > 0.04;
    rig.machine("A")?
        .wait_for("the desktop", STEP, desktop)
        .map(drop)
}

fn is_at_a(session: &serde_json::Value) -> bool {
    session["terminal"]
        .as_str()
        .is_some_and(|terminal| terminal.eq_ignore_ascii_case("a"))
}

fn two_readers(rig: &mut Rig) -> anyhow::Result<()> {
    // A card of no use is in the first reader when Alice puts hers into the second.
    rig.insert("mallory", "A")?;
    let machine = rig.machine("A")?;
    let refused = machine.wait_for("refusal", STEP, |p| p.share(ALERT) > 0.004)?;
    let alice = || hil_card::Card::named(ALICE.name);
    machine.readers()[1].insert(alice())?;
    let words = |p: &Picture| p.share(ALERT) > 0.004 && p.pixels != refused.pixels;
    machine.wait_for("word of the card in the second reader", STEP, words)?;
    // Pulling the first makes the second the desk's card.
    machine.reader().pull()?;
    let desktop = |p: &Picture| p.share(story::FOOT) > 0.04 || p.share(ALICE.colour) > 0.04;
    machine.wait_for("Alice's desktop", STEP, desktop)?;
    story::colour(rig, ALICE, "A")?;
    let hers = |p: &Picture| p.share(ALICE.colour) > 0.04;
    let session = story::session_of(rig, ALICE)?;
    ensure!(is_at_a(&session), "attached elsewhere: {session}");
    // Bob's card beside hers changes nothing: what is on the screen stays until her card goes.
    rig.insert(BOB.name, "A")?;
    story::sees_nothing_of(rig, BOB, "A")?;
    let machine = rig.machine("A")?;
    machine.wait_for("Alice's desktop, still", STEP, hers)?;
    machine.readers()[1].pull()?;
    let machine = rig.machine("A")?;
    let his = |p: &Picture| {
        p.share(ALICE.colour) == 0.0 && (p.share(story::FOOT) > 0.04 || p.share(BOB.colour) > 0.04)
    };
    machine.wait_for("Bob's desktop", STEP, his)?;
    let session = story::session_of(rig, BOB)?;
    ensure!(is_at_a(&session), "attached elsewhere: {session}");
    Ok(())
}

fn no_site_key(rig: &mut Rig) -> anyhow::Result<()> {
    let machine = rig.machine("A")?;
    let trouble = |p: &Picture| p.share(ALERT) > 0.004;
    machine.wait_for("word of the missing key", BOOT, trouble)?;
    let console = machine.console();
    ensure!(console.contains("E40"), "no E40 on the serial console");
    // A card changes nothing: without a key nobody is talked to.
    rig.insert(ALICE.name, "A")?;
    rig.machine("A")?
        .wait_for("the same screen", STEP, trouble)?;
    let known = rig.site.ctl(&["terminal", "list"])?;
    ensure!(
        known == serde_json::json!([]),
        "terminals came online: {known}"
    );
    Ok(())
}

fn no_display(rig: &mut Rig) -> anyhow::Result<()> {
    // The serial line is all that such a terminal has to speak with.
    let deadline = Instant::now() + BOOT;
    let machine = rig.machine("B")?;
    while !machine.console().contains("E10") {
        ensure!(
            Instant::now() < deadline,
            "no E10 on the serial console: {}",
            machine.console()
        );
        std::thread::park_timeout(Duration::from_millis(100));
    }
    ensure!(machine.is_on(), "the terminal has gone down");
    Ok(())
}

fn cable_pulled(rig: &mut Rig) -> anyhow::Result<()> {
    story::come_back(rig, ALICE, "A")?;
    rig.machine("A")?.set_cable(false)?;
    let without = Instant::now();
    rig.machine("A")?
        .wait_for("word of the broken link", STEP, |p| p.share(ALERT) > 0.0005)?;
    let ten = Duration::from_secs(10);
    std::thread::park_timeout(ten.saturating_sub(without.elapsed()));
    rig.machine("A")?.set_cable(true)?;
    let colour = ALICE.colour;
    rig.machine("A")?
        .wait_for("the desktop, by itself", STEP * 2, |p| {
            p.share(colour) > 0.04
        })?;
    Ok(())
}

fn power_cut(rig: &mut Rig) -> anyhow::Result<()> {
    story::come_back(rig, ALICE, "A")?;
    let foot = story::foot_of(ALICE)?;
    rig.set_power("A", false)?;
    rig.set_power("A", true)?;
    rig.wait_idle("A")?;
    story::come_back(rig, ALICE, "A")?;
    ensure!(story::foot_of(ALICE)? == foot, "foot did not run on");
    Ok(())
}

fn pcscd_killed(rig: &mut Rig) -> anyhow::Result<()> {
    story::arrive(rig, ALICE, "A")?;
    story::colour(rig, ALICE, "A")?;
    // A terminal whose card service dies does not know whether the card is still there.
    rig.machine("A")?.run_inside("busybox killall -9 pcscd")?;
    let colour = ALICE.colour;
    rig.machine("A")?
        .wait_for("blank screen", STEP, |p| p.share(colour) == 0.0)?;
    rig.machine("A")?
        .wait_for("the desktop, by itself", STEP, |p| p.share(colour) > 0.04)?;
    Ok(())
}

fn uefi(rig: &mut Rig) -> anyhow::Result<()> {
    let name = rig.names().into_iter().next().context("a terminal")?;
    rig.wait_idle(&name)?;
    story::arrive(rig, ALICE, &name)?;
    story::colour(rig, ALICE, &name).map(drop)
}
