//! What administrators are told of the graphics device.

#[path = "../../../../hil-tests/va-driver/tests/libva/stage.rs"]
#[allow(dead_code, reason = "it has more than these tests need")]
mod stage;

use std::path::Path;
use std::process::Command;

use stage::{Lack, Stage};

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

#[test]
fn session_without_an_id_is_none() {
    let output = Command::new(env!("CARGO_BIN_EXE_heliostat-session")).output();
    let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert!(said.contains("--id"), "{said}");
}
