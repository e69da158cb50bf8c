//! A real session process with real clients, a broker's socket and a terminal's link on loopback.

#[path = "../../src/tests/client.rs"]
#[expect(dead_code, reason = "the compositor's own tests use more of it")]
mod client;
mod config;
#[cfg(feature = "gpu")]
mod gpu;
#[path = "../../../../hil-tests/rig/src/lack.rs"]
#[allow(dead_code, reason = "it has more than tests without a GPU need")]
mod lack;
mod layouts;
mod leave;
#[path = "../../src/scene/model.rs"]
mod model;
mod panel;
#[path = "../../../../protocol/link/tests/link/relay.rs"]
#[expect(dead_code, reason = "the link's own tests use more of it")]
mod relay;
mod support;
mod x11;

use std::time::{Duration, Instant};

use client::Painting;
use heliostat_control::session::FromSession;
use heliostat_link::CloseCode;
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, OutputId, Ticket};
use heliostat_wire::input::InputEvent;
use relay::{Relay, Weather};
use support::{Desktop, Runtime, are_installed, size};

const KEY_A: u16 = 30;
const BACKGROUND: u32 = 0x12_3456;

fn with_foot(test: impl AsyncFnOnce(&mut Desktop)) {
    with_foot_blinking("no", test);
}

fn with_foot_blinking(blinks: &str, test: impl AsyncFnOnce(&mut Desktop)) {
    if !are_installed(&["foot"]) {
        return;
    }
    // The kernel's terminal echoes what is typed at cat.
    let foot = format!("foot --config=/dev/null --override=cursor.blink={blinks} cat");
    run(
        &format!("background = \"#123456\"\nautostart = [\"{foot}\"]\n"),
        test,
    );
}

fn run(config: &str, test: impl AsyncFnOnce(&mut Desktop)) {
    Runtime::block_on(async {
        let mut desktop = Desktop::start(config).await;
        test(&mut desktop).await;
        desktop.end().await;
    });
}

#[test]
fn foot_is_on_the_terminal_and_a_typed_key_changes_its_pixels() {
    with_foot(async |desktop| {
        let mut terminal = desktop.attach("a", size(1280, 800)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        let background = terminal.model.pixel(OutputId(0), 0, 0);
        assert_eq!(background, BACKGROUND);
        terminal.quiet(Duration::from_millis(300)).await;
        let before = terminal.picture();
        terminal.key(KEY_A, true).await;
        terminal.key(KEY_A, false).await;
        terminal
            .until_picture("the key changes foot", |picture| *picture != before)
            .await;
    });
}

#[test]
fn pixel_that_a_terminal_has_lost_is_mended() {
    with_foot(async |desktop| {
        let mut terminal = desktop.attach("a", size(1280, 800)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        terminal.quiet(Duration::from_millis(300)).await;
        let before = terminal.window_pixels();
        let layers = terminal.model.layers.values_mut();
        let largest = layers.max_by_key(|layer| layer.pixels.len()).unwrap();
        largest.pixels[12_345] ^= 1;
        terminal.say_cells().await;
        terminal.quiet(Duration::from_millis(300)).await;
        assert_eq!(terminal.window_pixels(), before);
        let stats = desktop.stats().await;
        assert_eq!(stats.cells_wrong, 1);
        assert!(stats.cells_checked > 10, "{}", stats.cells_checked);
    });
}

#[test]
fn terminal_that_wants_everything_anew_all_the_time_gets_it_once_a_second() {
    with_foot(async |desktop| {
        let mut terminal = desktop.attach("a", size(1280, 800)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        terminal.quiet(Duration::from_millis(300)).await;
        let before = desktop.stats().await;
        let start = Instant::now();
        for _ in 0..200 {
            terminal.refresh().await;
        }
        terminal.quiet(Duration::from_millis(500)).await;
        let after = desktop.stats().await;
        let all: u32 = terminal
            .model
            .layers
            .values()
            .map(|layer| layer.size.w.div_ceil(64) * layer.size.h.div_ceil(64))
            .sum();
        let most = u64::from(all) * (start.elapsed().as_secs() + 2);
        assert!(
            after.tiles - before.tiles <= most,
            "{} tiles",
            after.tiles - before.tiles
        );
        assert!(after.tiles > before.tiles);
    });
}

#[test]
fn terminal_that_comes_back_with_what_it_holds_is_sent_no_pixels_again() {
    with_foot(async |desktop| {
        let mut terminal = desktop.attach("a", size(1280, 800)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        terminal.quiet(Duration::from_millis(300)).await;
        let (before, tiles) = (terminal.picture(), desktop.stats().await.tiles);
        let mut terminal = desktop.come_back(terminal).await;
        terminal
            .until_picture("the desktop is as it was", |picture| *picture == before)
            .await;
        assert_eq!(desktop.stats().await.tiles, tiles);
    });
}

#[test]
fn foot_moves_to_the_next_terminal_as_it_was() {
    with_foot(async |desktop| {
        let mut a = desktop.attach("a", size(1280, 800)).await;
        a.until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        a.quiet(Duration::from_millis(300)).await;
        let before = a.window_pixels();
        let mut b = desktop.attach("b", size(1600, 1000)).await;
        let reason = a.goodbye().await;
        assert_eq!(
            reason,
            DetachReason::MovedElsewhere {
                terminal: "b".into()
            }
        );
        b.until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        b.quiet(Duration::from_millis(300)).await;
        assert_eq!(
            b.window_pixels(),
            before,
            "the same foot with the same text"
        );
    });
}

/// Text that never repeats, as fast as it can be drawn: far more than a narrow way carries.
fn with_noise(test: impl AsyncFnOnce(&mut Desktop)) {
    if !are_installed(&["foot"]) {
        return;
    }
    let noise = "sh -c 'while :; do head -c 20000 /dev/urandom | base64 -w 200; done'";
    let foot = "foot --config=/dev/null --window-size-pixels=1200x750";
    run(&format!("autostart = [\"\"\"{foot} {noise}\"\"\"]\n"), test);
}

const NARROW: Duration = Duration::from_millis(120);

/// How long answers take in noise on a way of 2 Mbit/s that loses so many packets in 1000, the
/// middle one and the 95th of 100; and the bytes a second of frames.
fn answers_in_noise(loss: u64, check: impl FnOnce(Duration, Duration, f64)) {
    with_noise(async |desktop| {
        let weather = Weather {
            rate: Some(250_000),
            loss,
            ..Weather::far(NARROW)
        };
        let relay = Relay::start(desktop.address(), weather).await;
        let mut terminal = desktop.attach_by(relay.address, "a", size(1280, 800)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        let (mut waits, mut bytes) = (Vec::new(), 0);
        let started = Instant::now();
        for number in 1..=60 {
            let asked = Instant::now();
            terminal.motion(600 + number as i32 % 40, 400).await;
            bytes += terminal.until_answered(number).await;
            waits.push(asked.elapsed());
        }
        let carried = bytes as f64 / started.elapsed().as_secs_f64();
        waits.sort_unstable();
        let (middle, late) = (waits[30], waits[56]);
        let link = desktop.stats().await.link.expect("attached");
        eprintln!(
            "{loss} of 1000 lost: answers after {middle:?}, the later ones {late:?}; {carried:.0} bytes/s; {} of {} packets sent again",
            link.lost_packets, link.sent_datagrams,
        );
        check(middle, late, carried);
    });
}

#[test]
fn narrow_way_that_is_full_of_pixels_lets_answers_through() {
    answers_in_noise(0, |middle, _, carried| {
        // A picture of this kind takes a second and more; an answer behind one would be as late.
        assert!(middle < NARROW * 2, "{middle:?}");
        assert!(carried > 60_000.0, "the way is used: {carried:.0} bytes/s");
    });
}

#[test]
fn photograph_on_a_narrow_way_is_seen_soon_and_exact_later() {
    const PHOTO: Painting = Painting {
        w: 1000,
        h: 700,
        seed: 1,
    };
    run("autostart = []\n", async |desktop| {
        let weather = Weather {
            delay: (Duration::from_millis(30), Duration::from_millis(30)),
            rate: Some(625_000),
            ..Weather::FINE
        };
        let relay = Relay::start(desktop.address(), weather).await;
        let mut terminal = desktop.attach_by(relay.address, "a", size(1280, 800)).await;
        let mut client = desktop.client();
        let window = |model: &model::Model| {
            model
                .layers
                .values()
                .position(|layer| layer.size.w == PHOTO.w)
        };
        terminal
            .until_with(&mut client, "the globals", |client, _| client.has_globals())
            .await;
        client.make_window();
        terminal
            .until_with(&mut client, "the window", |client, _| {
                client.is_configured()
            })
            .await;
        client.commit(PHOTO);
        terminal
            .until_with(&mut client, "the first picture", |_, model| {
                window(model).is_some()
            })
            .await;
        let started = Instant::now();
        client.picture((0, 0, PHOTO.w, PHOTO.h), 5);
        let (mut alike, mut most) = (None, 0.0);
        terminal
            .until_with(&mut client, "the exact picture", |client, model| {
                let (same, near) = likeness(&client.pixels, &terminal_pixels(model, PHOTO.w));
                if near > 0.95 && alike.is_none() {
                    alike = Some(started.elapsed());
                    most = same;
                }
                same == 1.0
            })
            .await;
        let exact = started.elapsed();
        let alike = alike.expect("it is alike before it is exact");
        eprintln!(
            "a likeness after {alike:?} ({:.0} % of it exact), exact after {exact:?}",
            most * 100.0
        );
        assert!(alike * 2 < exact, "{alike:?} and {exact:?}");
        assert!(most < 0.7, "it was all but exact when it was alike");
    });
}

fn terminal_pixels(model: &model::Model, w: u32) -> Vec<u32> {
    let layer = model.layers.values().find(|layer| layer.size.w == w);
    layer.map(|layer| layer.pixels.clone()).unwrap_or_default()
}

/// How much of a picture is exact, and how much of it looks like the drawn one.
fn likeness(drawn: &[u32], shown: &[u32]) -> (f64, f64) {
    let far = |a: u32, b: u32| {
        let channels = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        channels.take(3).map(|(a, b)| a.abs_diff(b)).max() > Some(48)
    };
    let pairs = || drawn.iter().zip(shown);
    let same = pairs().filter(|(a, b)| (*a ^ *b) & 0xff_ffff == 0).count();
    let near = pairs().filter(|(a, b)| !far(**a, **b)).count();
    let all = drawn.len().max(1) as f64;
    (same as f64 / all, near as f64 / all)
}

#[test]
fn narrow_way_that_loses_packets_too_is_used_and_lets_answers_through() {
    answers_in_noise(20, |middle, late, carried| {
        // What follows a lost packet waits for it: a round trip and a half.
        assert!(middle < NARROW * 4, "{middle:?}");
        assert!(late < NARROW * 8, "{late:?}");
        assert!(carried > 60_000.0, "the way is used: {carried:.0} bytes/s");
    });
}

/// From a gigabit to a megabit while a frame is on its way, as when a cable gives way to a phone.
#[test]
fn way_that_becomes_narrow_in_mid_frame_stays_usable_and_memory_bounded() {
    with_noise(async |desktop| {
        let wide = Weather {
            rate: Some(125_000_000),
            queue: Some(512 << 10),
            ..Weather::far(Duration::from_millis(1))
        };
        let relay = Relay::start(desktop.address(), wide).await;
        let mut terminal = desktop.attach_by(relay.address, "a", size(1280, 800)).await;
        terminal
            .until("pixels flow", |model| {
                model.layers.len() >= 2 && model.serial >= 30
            })
            .await;
        desktop.forget_most_memory();
        let before = desktop.most_memory();
        let narrow = Weather {
            rate: Some(125_000),
            queue: Some(256 << 10),
            ..wide
        };
        relay.change(narrow);
        let (changed, mut waits) = (Instant::now(), Vec::new());
        for number in 1..=60 {
            let asked = Instant::now();
            terminal.motion(600 + number as i32 % 40, 400).await;
            terminal.until_answered(number).await;
            waits.push((changed.elapsed(), asked.elapsed()));
        }
        let first = waits[0].1;
        let mut later: Vec<_> = waits[20..].iter().map(|wait| wait.1).collect();
        later.sort_unstable();
        let grown = desktop.most_memory() - before;
        eprintln!(
            "the first answer after {first:?}, the twentieth {:?} after the change, then {:?}, the later ones {:?}; {grown} KiB more memory",
            waits[19].0, later[20], later[38],
        );
        // All that may be under way takes the narrow way eight seconds, a picture two.
        assert!(first < Duration::from_secs(8), "{waits:?}");
        assert!(later[20] < Duration::from_millis(1000), "{waits:?}");
        assert!(grown < 32 << 10, "{grown} KiB");
    });
}

#[test]
fn typing_hardly_feels_that_packets_are_lost() {
    with_foot(async |desktop| {
        let trip = Duration::from_millis(150);
        let weather = Weather {
            seed: 4,
            loss: 50,
            ..Weather::far(trip)
        };
        let relay = Relay::start(desktop.address(), weather).await;
        let mut terminal = desktop.attach_by(relay.address, "a", size(1280, 800)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        let mut waits = Vec::new();
        for number in 0..80 {
            let asked = Instant::now();
            terminal.key(KEY_A, true).await;
            terminal.until_answered(2 * number + 1).await;
            waits.push(asked.elapsed());
            terminal.key(KEY_A, false).await;
        }
        // The first ones show the ends how the way is.
        let mut waits = waits.split_off(20);
        waits.sort_unstable();
        let (middle, late) = (waits[30], waits[56]);
        eprintln!("letters after {middle:?}, the later ones {late:?}");
        assert!(late < trip * 2, "{waits:?}");
    });
}

#[test]
fn ticket_opens_once_and_only_for_its_terminal() {
    run("autostart = []\n", async |desktop| {
        let (attach, ticket) = desktop.expect("a").await;
        let stolen = desktop.dial_as_stranger(attach, &ticket).await;
        assert_eq!(stolen, CloseCode::TicketRefused);
        let guessed = desktop.dial(attach, &Ticket([0; 32])).await;
        assert_eq!(guessed.refusal().await, CloseCode::TicketRefused);
        let mut terminal = desktop.dial(attach, &ticket).await;
        terminal.attached().await;
        let again = desktop.dial(attach, &ticket).await;
        assert_eq!(again.refusal().await, CloseCode::TicketRefused);
    });
}

#[test]
fn terminal_that_comes_just_before_its_ticket_is_let_in() {
    run("autostart = []\n", async |desktop| {
        let (attach, ticket) = desktop.make_ticket();
        let mut terminal = desktop.dial(attach, &ticket).await;
        desktop.announce(attach, &ticket, "a").await;
        terminal.attached().await;
    });
}

#[test]
fn terminal_that_breaks_the_protocol_is_sent_away_and_the_session_lives() {
    run("autostart = []\n", async |desktop| {
        for wrong in [
            InputEvent::Key {
                code: 0xffff,
                pressed: true,
            },
            InputEvent::Button {
                code: KEY_A,
                pressed: true,
            },
        ] {
            let mut terminal = desktop.attach("a", size(800, 600)).await;
            terminal.input(vec![wrong]).await;
            assert_eq!(terminal.goodbye().await, DetachReason::ProtocolViolation);
        }
        let mut terminal = desktop.attach("a", size(800, 600)).await;
        terminal.shown(4711).await;
        assert_eq!(terminal.goodbye().await, DetachReason::ProtocolViolation);
        let mut terminal = desktop.attach("a", size(800, 600)).await;
        terminal
            .until("an empty desk is shown", |model| model.serial >= 1)
            .await;
    });
}

#[test]
fn broker_that_comes_back_learns_who_is_attached() {
    run("autostart = []\n", async |desktop| {
        let mut terminal = desktop.attach("a", size(800, 600)).await;
        terminal
            .until("an empty desk is shown", |model| model.serial >= 1)
            .await;
        let attached = desktop.reconnect_broker().await;
        assert_eq!(attached.expect("somebody is attached").terminal, "a");
        drop(terminal);
    });
}

#[test]
fn terminal_that_goes_to_another_link_has_not_gone_unless_it_does_not_come() {
    run("autostart = []\n", async |desktop| {
        let first = desktop.attach("a", size(800, 600)).await;
        let (attach, ticket) = desktop.expect("a").await;
        first.leave_for_another().await;
        let mut second = desktop.dial(attach, &ticket).await;
        second.attached().await;
        let over = |word: &FromSession| matches!(word, FromSession::Detached { .. });
        // The second one takes its place, as if both had been there.
        let moved = DetachReason::MovedElsewhere {
            terminal: "a".into(),
        };
        let word = desktop.next_word(over).await;
        let FromSession::Detached { attach_id, reason } = word else {
            panic!("{word:?}");
        };
        assert_eq!((attach_id, reason), (AttachId(1), moved));
        second.leave_for_another().await;
        let word = desktop.next_word(over).await;
        let FromSession::Detached { attach_id, reason } = word else {
            panic!("{word:?}");
        };
        assert_eq!((attach_id, reason), (attach, DetachReason::LinkLost));
    });
}

#[test]
fn session_with_foot_on_a_full_screen_stays_small() {
    with_foot(async |desktop| {
        let mut terminal = desktop.attach("a", size(1920, 1080)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        // Super+Up maximises.
        for (code, pressed) in [(125, true), (103, true), (103, false), (125, false)] {
            terminal.key(code, pressed).await;
        }
        let full = |model: &model::Model| model.layers.values().any(|layer| layer.size.w == 1920);
        terminal.until("foot is maximised", full).await;
        terminal.quiet(Duration::from_millis(300)).await;
        let stats = desktop.stats().await;
        assert_eq!((stats.windows, stats.clients), (1, 1));
        let mib = stats.private_bytes as f64 / f64::from(1 << 20);
        eprintln!("private memory with foot maximised: {mib:.1} MiB");
        assert!(mib <= 40.0, "{mib} MiB");
    });
}

#[test]
fn first_frame_of_an_attach_shows_the_desktop() {
    with_foot(async |desktop| {
        let mut first = desktop.attach("a", size(1920, 1080)).await;
        first
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        first.quiet(Duration::from_millis(300)).await;
        for _ in 0..20 {
            let mut terminal = desktop.attach("b", size(1920, 1080)).await;
            let layers_at_first = std::cell::OnceCell::new();
            terminal
                .until("foot is shown", |model| {
                    if model.serial > 0 {
                        layers_at_first.get_or_init(|| model.layers.len());
                    }
                    model.layers.len() >= 2
                })
                .await;
            assert!(layers_at_first.get() >= Some(&2), "{layers_at_first:?}");
        }
    });
}

/// UDP payload so far, both ways.
async fn wire_bytes(desktop: &mut Desktop) -> u64 {
    let link = desktop.stats().await.link.expect("attached");
    link.sent_bytes + link.received_bytes
}

#[test]
fn blinking_cursor_costs_few_bytes_on_the_wire() {
    with_foot_blinking("yes", async |desktop| {
        let mut terminal = desktop.attach("a", size(1920, 1080)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        let settled = terminal.model.serial + 2;
        terminal
            .until("foot blinks", |model| model.serial >= settled)
            .await;
        let before = wire_bytes(desktop).await;
        terminal
            .until("foot blinks", |model| model.serial >= settled + 8)
            .await;
        let each = (wire_bytes(desktop).await - before) / 8;
        eprintln!("{each} bytes of UDP a blink, both ways");
        assert!((50..=300).contains(&each), "{each} bytes a blink");
    });
}

#[test]
fn dragged_window_costs_few_bytes_on_the_wire() {
    with_foot(async |desktop| {
        let mut terminal = desktop.attach("a", size(1920, 1080)).await;
        terminal
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        terminal.quiet(Duration::from_millis(300)).await;
        terminal.motion(960, 540).await;
        terminal.key(56, true).await;
        terminal
            .input(vec![InputEvent::Button {
                code: 0x110,
                pressed: true,
            }])
            .await;
        terminal.quiet(Duration::from_millis(100)).await;
        let before = wire_bytes(desktop).await;
        for step in 1..=100 {
            let serial = terminal.model.serial;
            terminal.motion(960 + step * 3, 540 + step).await;
            terminal
                .until("the window moves", |model| model.serial > serial)
                .await;
        }
        let each = (wire_bytes(desktop).await - before) / 100;
        eprintln!("{each} bytes of UDP a frame of a drag, both ways");
        assert!((20..=200).contains(&each), "{each} bytes a frame");
    });
}
