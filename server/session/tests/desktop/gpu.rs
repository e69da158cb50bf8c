//! What administrators are told of the graphics device.

#[path = "../../../../hil-tests/va-driver/tests/libva/stage.rs"]
#[allow(dead_code, reason = "it has more than these tests need")]
mod stage;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use stage::{Lack, Stage};

use super::client::Painting;
use super::lack;
use super::support::{Desktop, Runtime, size};

/// A window that shows nothing but a film.
const FILM: Painting = Painting {
    w: 320,
    h: 240,
    seed: 1,
};
const PICTURE: Duration = Duration::from_millis(33);

/// Where the processor encodes, the answer is no, and says why and what may be done.
#[test]
fn check_says_why_the_processor_encodes_and_fails() {
    let home = tempfile::tempdir().unwrap();
    for (node, why) in [
        ("/nowhere", "/nowhere cannot be opened"),
        ("off", "no device is wanted"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_heliostat-session"))
            .args(["--check-gpu", "--render-node", node])
            .env("HOME", home.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(said.contains("way of films: the processor"), "{said}");
    }
}

/// With the software driver of `hil-tests/va-driver`, where somebody has built it.
#[test]
fn check_names_the_device_that_encodes_and_succeeds() {
    let stage = match Stage::set() {
        Ok(stage) => stage,
        Err(lack) => return lack.skip(),
    };
    let output = stage
        .command(Path::new(env!("CARGO_BIN_EXE_heliostat-session")))
        .args(["--check-gpu", "--render-node"])
        .arg(&stage.node)
        .env("HOME", stage.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if said.contains("libva is not installed") {
        return Lack::Part("libva is not installed".to_owned()).skip();
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    let node = stage.node.display();
    for word in [
        &format!("render node: {node}"),
        "packed headers",
        "way of films: H.264",
    ] {
        assert!(said.contains(word), "{said}");
    }
}

/// Plays a film in a session with this node, until the terminal has it as one.
async fn plays_by_the_processor(desktop: &mut Desktop) {
    let mut terminal = desktop.attach("a", size(640, 480)).await;
    let mut client = desktop.client();
    terminal
        .until_with(&mut client, "the globals", |client, _| client.has_globals())
        .await;
    let globals = &client.state.globals;
    assert!(!globals.iter().any(|global| global.1.contains("dmabuf")));
    client.make_window();
    terminal
        .until_with(&mut client, "the window", |client, _| {
            client.is_configured()
        })
        .await;
    client.commit(FILM);
    let (mut time, mut due) = (0, Instant::now());
    terminal
        .until_with(&mut client, "the film is found", |client, model| {
            if due <= Instant::now() {
                (time, due) = (time + 1, Instant::now() + PICTURE);
                client.picture((0, 0, FILM.w, FILM.h), time);
            }
            !model.films.is_empty()
        })
        .await;
    let films = desktop.stats().await.films;
    assert!(films.by_processor > 0, "{films:?}");
    assert_eq!((films.by_hardware, films.failures), (0, 0), "{films:?}");
}

#[test]
fn session_whose_render_node_is_none_says_so_in_one_line_and_goes_on_by_the_processor() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (node, why) in [
        (Path::new("/nowhere"), "/nowhere cannot be opened"),
        (file.path(), "has no working driver"),
    ] {
        let node = node.display().to_string();
        let config = format!("render_node = \"{node}\"\nautostart = []\n");
        Runtime::block_on(async {
            let mut desktop = Desktop::start(&config).await;
            plays_by_the_processor(&mut desktop).await;
            let log = desktop.log();
            let about = |line: &&str| {
                let words = [node.as_str(), "libva", "films are encoded by"];
                words.iter().any(|word| line.contains(word))
            };
            let said: Vec<&str> = log.lines().filter(about).collect();
            let [line] = said[..] else {
                panic!("not one line: {said:#?}");
            };
            let words = [" INFO ", "films are encoded by the processor", &node, why];
            for word in words {
                assert!(line.contains(word), "no {word:?} in {line}");
            }
            desktop.end().await;
        });
    }
}

#[test]
fn session_without_an_id_is_none() {
    let output = Command::new(env!("CARGO_BIN_EXE_heliostat-session")).output();
    let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert!(said.contains("--id"), "{said}");
}
