//! Locking and leaving: a real locker, and the tool that people and panels start.

use std::time::Duration;

use heliostat_control::session::{Ask, FromSession};
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::OutputId;
use tokio::process::Child;

use crate::panel::{Panel, State};
use crate::support::{Desktop, Terminal, are_installed, size};
use crate::{KEY_A, run};

const RED: u32 = 0xff_0000;
const BACKGROUND: u32 = 0x12_3456;

fn with_locker(config: &str, test: impl AsyncFnOnce(&mut Desktop)) {
    if !are_installed(&["foot", "swaylock"]) {
        return;
    }
    let foot = "foot --config=/dev/null --override=cursor.blink=no cat";
    run(
        &format!("background = \"#123456\"\nautostart = [\"{foot}\"]\n{config}"),
        test,
    );
}

async fn with_foot_shown(desktop: &mut Desktop) -> Terminal {
    let mut terminal = desktop.attach("a", size(1280, 800)).await;
    terminal
        .until("foot is shown", |model| model.layers.len() >= 2)
        .await;
    terminal.quiet(Duration::from_millis(300)).await;
    terminal
}

fn swaylock(desktop: &Desktop) -> Child {
    let mut command = desktop.command("swaylock");
    command.args(["--color=ff0000", "--no-unlock-indicator"]);
    command.spawn().unwrap()
}

async fn until_all(terminal: &mut Terminal, colour: u32) {
    terminal
        .until_picture("the screen has one colour", |picture| {
            picture.iter().all(|pixel| pixel & 0xff_ffff == colour)
        })
        .await;
}

#[test]
fn locked_session_shows_its_locker_and_hears_keys_for_it_alone() {
    with_locker("", async |desktop| {
        let mut terminal = with_foot_shown(desktop).await;
        let before = terminal.window_pixels();
        let mut locker = swaylock(desktop);
        until_all(&mut terminal, RED).await;
        terminal.key(KEY_A, true).await;
        terminal.key(KEY_A, false).await;
        // Alt+F4 closes no window that cannot be seen.
        for (code, pressed) in [(56, true), (62, true), (62, false), (56, false)] {
            terminal.key(code, pressed).await;
        }
        terminal.quiet(Duration::from_millis(300)).await;
        let mut elsewhere = desktop.attach("b", size(1024, 768)).await;
        until_all(&mut elsewhere, RED).await;
        desktop.signal(&locker, "USR1");
        assert!(elsewhere.beside(locker.wait()).await.unwrap().success());
        let mut back = desktop.attach("a", size(1280, 800)).await;
        // At another desk it may have stood elsewhere, but nothing was typed into it or closed it.
        back.until("foot is shown", |model| model.layers.len() >= 2)
            .await;
        back.quiet(Duration::from_millis(300)).await;
        assert!(back.window_pixels() == before, "foot is as it was");
    });
}

#[test]
fn session_whose_locker_dies_stays_locked_until_another_one_lets_go() {
    with_locker("", async |desktop| {
        let mut terminal = with_foot_shown(desktop).await;
        let mut locker = swaylock(desktop);
        until_all(&mut terminal, RED).await;
        locker.kill().await.unwrap();
        until_all(&mut terminal, BACKGROUND).await;
        let mut elsewhere = desktop.attach("b", size(1280, 800)).await;
        elsewhere.quiet(Duration::from_millis(300)).await;
        assert!(elsewhere.model.layers.is_empty(), "nothing of foot is sent");
        let mut second = swaylock(desktop);
        until_all(&mut elsewhere, RED).await;
        desktop.signal(&second, "USR1");
        assert!(elsewhere.beside(second.wait()).await.unwrap().success());
        elsewhere
            .until("foot is shown", |model| model.layers.len() >= 2)
            .await;
    });
}

#[test]
fn wish_to_lock_starts_the_locker_where_the_broker_does_not_lock() {
    let locker = "locker = \"swaylock --color=ff0000 --no-unlock-indicator\"\n";
    with_locker(locker, async |desktop| {
        let mut terminal = with_foot_shown(desktop).await;
        assert!(terminal.beside(desktop.leave("lock")).await);
        assert_eq!(
            desktop
                .next_word(|word| matches!(word, FromSession::Asks(_)))
                .await,
            FromSession::Asks(Ask::Lock)
        );
        // This broker only hears it.
        until_all(&mut terminal, RED).await;
        desktop.kill_child("swaylock");
        until_all(&mut terminal, BACKGROUND).await;
        until_all(&mut terminal, RED).await;
        desktop.signal_child("swaylock", "USR1");
        terminal
            .until("foot is shown", |model| {
                model.pixel(OutputId(0), 0, 0) == BACKGROUND && model.layers.len() >= 2
            })
            .await;
    });
}

#[test]
fn locker_that_is_missing_or_hangs_leaves_nothing_on_the_terminal() {
    for locker in ["/no/such/locker", "tail -f /dev/null"] {
        let config = format!("autostart = []\nlocker = \"{locker}\"\n");
        run(&config, async |desktop| {
            let mut terminal = desktop.attach("a", size(800, 600)).await;
            assert!(terminal.beside(desktop.leave("lock")).await);
            assert_eq!(terminal.goodbye().await, DetachReason::Locked, "{locker}");
        });
    }
}

#[test]
fn wishes_to_leave_reach_the_broker() {
    run("autostart = []\n", async |desktop| {
        for (wish, ask) in [("detach", Ask::Detach), ("logout", Ask::LogOut)] {
            assert!(desktop.leave(wish).await);
            assert_eq!(
                desktop
                    .next_word(|word| matches!(word, FromSession::Asks(_)))
                    .await,
                FromSession::Asks(ask)
            );
        }
        assert!(!desktop.leave("dance").await);
    });
}

#[test]
fn panel_sees_windows_and_what_it_asks_for_is_done() {
    if !are_installed(&["foot"]) {
        return;
    }
    let foot = "foot --config=/dev/null --title=one --override=locked-title=yes cat";
    run(&format!("autostart = [\"{foot}\"]\n"), async |desktop| {
        let mut terminal = with_foot_shown(desktop).await;
        let mut panel = Panel::new(desktop.connection());
        let stands = |model: &crate::model::Model| !model.outputs[&OutputId(0)].1.is_empty();
        let window = panel.until(|panel| panel.done).clone();
        assert_eq!(
            (panel.title.as_str(), panel.app_id.as_str()),
            ("one", "foot")
        );
        assert_eq!(panel.states, [State::Activated as u8]);
        window.set_minimized();
        panel.until(|panel| panel.states == [State::Minimized as u8]);
        terminal
            .until("it is put away", |model| !stands(model))
            .await;
        window.unset_minimized();
        window.set_maximized();
        panel.until(|panel| panel.states.len() == 2);
        terminal.until("it is there again", stands).await;
        window.close();
        panel.until(|panel| panel.closed);
        terminal.until("it closes", |model| !stands(model)).await;
    });
}

#[test]
fn part_of_the_desktop_that_dies_is_started_again() {
    if !are_installed(&["foot"]) {
        return;
    }
    let config = "background = \"#123456\"\nautostart = []\n[parts]\npanel = \"foot --config=/dev/null cat\"\n";
    run(config, async |desktop| {
        let mut terminal = with_foot_shown(desktop).await;
        desktop.kill_child("foot");
        terminal
            .until("foot goes", |model| {
                model.outputs[&OutputId(0)].1.is_empty()
            })
            .await;
        terminal
            .until("it is started again", |model| {
                !model.outputs[&OutputId(0)].1.is_empty()
            })
            .await;
    });
}
