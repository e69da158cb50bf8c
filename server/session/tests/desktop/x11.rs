//! X11 programs: real ones, on the real Xwayland.

use std::process::Stdio;
use std::time::Duration;

use heliostat_wire::id::OutputId;
use tokio::process::{Child, Command};

use crate::support::{Desktop, Terminal, are_installed, size};
use crate::{KEY_A, Runtime, run};

/// A session that starts nothing, where these programs and Xwayland are installed.
fn with_x11(programs: &[&str], test: impl AsyncFnOnce(&mut Desktop)) {
    if !are_installed(programs) || !are_installed(&["Xwayland"]) {
        return;
    }
    run("background = \"#123456\"\nautostart = []\n", test);
}

const XTERM: [&str; 9] = [
    "-fn", "fixed", "-bg", "#204060", "-cr", "#204060", "+bc", "-e", "cat",
];

async fn xterm(desktop: &Desktop, terminal: &mut Terminal) -> Child {
    let child = desktop.command("xterm").args(XTERM).spawn().unwrap();
    terminal
        .until_picture("xterm is shown", |picture| {
            covers(picture, 0x20_4060) > 1000
        })
        .await;
    terminal.quiet(Duration::from_millis(300)).await;
    child
}

fn covers(picture: &[u32], colour: u32) -> usize {
    picture
        .iter()
        .filter(|pixel| **pixel & 0xff_ffff == colour)
        .count()
}

fn output(command: &mut Command) -> impl Future<Output = String> + use<> {
    let output = command.output();
    async {
        let output = tokio::time::timeout(Duration::from_secs(30), output);
        let output = output.await.expect("it ends").unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn xterm_is_a_window_with_a_title_and_a_typed_key_changes_it() {
    with_x11(&["xterm"], async |desktop| {
        let mut terminal = desktop.attach("a", size(1280, 800)).await;
        let mut child = xterm(desktop, &mut terminal).await;
        let layers = terminal.model.layers.len();
        assert!(layers >= 2, "a window and its title bar: {layers}");
        let before = terminal.picture();
        terminal.key(KEY_A, true).await;
        terminal.key(KEY_A, false).await;
        terminal
            .until_picture("the key changes xterm", |picture| *picture != before)
            .await;
        child.kill().await.unwrap();
        terminal
            .until("the window goes", |model| {
                model.pixel(OutputId(0), 640, 400) == 0x12_3456
            })
            .await;
    });
}

#[test]
fn menu_of_an_x11_program_opens_at_the_pointer() {
    with_x11(&["xterm"], async |desktop| {
        let mut terminal = desktop.attach("a", size(1280, 800)).await;
        let mut child = xterm(desktop, &mut terminal).await;
        let before = terminal.model.layers.len();
        terminal.motion(640, 400).await;
        // xterm's menu comes with Ctrl and the left button, and stays while that is held.
        terminal.key(29, true).await;
        terminal.press(272).await;
        terminal
            .until("the menu is a layer", |model| model.layers.len() > before)
            .await;
        terminal.quiet(Duration::from_millis(200)).await;
        let output = &terminal.model.outputs[&OutputId(0)];
        let menu = output.1.last().unwrap().dst;
        // It fits itself to the screen, with the pointer inside.
        let inside =
            |at: i32, start: i32, length: u32| (start..start + length as i32).contains(&at);
        assert!(
            inside(640, menu.x, menu.w) && inside(400, menu.y, menu.h),
            "{menu:?}"
        );
        assert!(menu.y + menu.h as i32 <= 800, "{menu:?}");
        terminal.release(272).await;
        terminal.key(29, false).await;
        terminal
            .until("the menu closes", |model| model.layers.len() <= before)
            .await;
        child.kill().await.unwrap();
    });
}

#[test]
fn text_goes_from_x11_to_wayland_and_back() {
    with_x11(&["xclip", "wl-copy"], async |desktop| {
        let mut terminal = desktop.attach("a", size(800, 600)).await;
        // smithay looks for selections a moment after the first program is let in: what that one
        // copies at once is not seen. So this one only pastes.
        let nothing = output(desktop.command("xclip").arg("-out"));
        assert_eq!(terminal.beside(nothing).await, "");
        for selection in ["clipboard", "primary"] {
            let x11 = ["-selection", selection];
            let wayland: &[&str] = if selection == "primary" {
                &["--primary"]
            } else {
                &[]
            };
            let text = format!("from X11 by {selection}");
            let copy = || {
                desktop
                    .command("xclip")
                    .args(x11)
                    .stdin(Stdio::piped())
                    .spawn()
            };
            give(&mut copy().unwrap(), &text).await;
            let paste = || {
                let mut command = desktop.command("wl-paste");
                output(command.args(wayland).arg("--no-newline"))
            };
            terminal.beside(until_read(paste, &text)).await;
            let text = format!("from Wayland by {selection}, {}", "ä".repeat(100_000));
            let copy = || {
                desktop
                    .command("wl-copy")
                    .args(wayland)
                    .stdin(Stdio::piped())
                    .spawn()
            };
            give(&mut copy().unwrap(), &text).await;
            let paste = || {
                let mut command = desktop.command("xclip");
                output(command.args(x11).args(["-out", "-target", "UTF8_STRING"]))
            };
            terminal.beside(until_read(paste, &text)).await;
        }
    });
}

/// Pastes until it is this text: a selection takes its time from one world to the other.
async fn until_read<F: Future<Output = String>>(paste: impl Fn() -> F, text: &str) {
    let read = async { while paste().await != text {} };
    let read = tokio::time::timeout(Duration::from_secs(30), read).await;
    assert!(read.is_ok(), "the text never comes");
}

async fn give(child: &mut Child, text: &str) {
    use tokio::io::AsyncWriteExt;
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait());
    assert!(status.await.expect("it forks").unwrap().success());
}

#[test]
fn session_outlives_xwayland_and_the_next_program_starts_it_anew() {
    with_x11(&["xterm"], async |desktop| {
        let mut terminal = desktop.attach("a", size(1280, 800)).await;
        let mut first = xterm(desktop, &mut terminal).await;
        desktop.kill_child("Xwayland");
        terminal
            .until("the window goes", |model| {
                model.pixel(OutputId(0), 640, 400) == 0x12_3456
            })
            .await;
        assert!(!first.wait().await.unwrap().success());
        let mut second = xterm(desktop, &mut terminal).await;
        second.kill().await.unwrap();
    });
}

/// The first time it fails as for want of a library; from then on it is the real one.
const FRAIL: &str = "#!/bin/sh
if mkdir \"$XDG_RUNTIME_DIR/tried\"; then echo 'no library' >&2; exit 127; fi
PATH=${PATH#*:} exec Xwayland \"$@\"
";

#[test]
fn xwayland_that_does_not_start_is_said_and_tried_again() {
    if !are_installed(&["xterm", "Xwayland"]) {
        return;
    }
    Runtime::block_on(async {
        let config = "background = \"#123456\"\nautostart = []\n";
        let mut desktop = Desktop::start_with(config, Some(("Xwayland", FRAIL))).await;
        let mut terminal = desktop.attach("a", size(1280, 800)).await;
        let mut child = xterm(&desktop, &mut terminal).await;
        child.kill().await.unwrap();
        let log = desktop.log();
        assert!(log.contains("no library"), "{log}");
        assert!(
            log.contains("Xwayland has ended: it did not start"),
            "{log}"
        );
        desktop.end().await;
    });
}
