//! What the program says of a session.toml before any session has to do with it.

use std::process::Command;

#[test]
fn slip_in_a_session_toml_is_named_and_fails_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_heliostat-session"))
            .args(["--check-config", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said)
    };
    let fine = (Some(0), format!("{}: fine\n", file.display()));
    assert_eq!(check("background = \"#102030\"\n"), fine);
    let (code, said) = check("\n[shortcuts]\nclose = \"Alt+F444\"\n");
    assert_eq!(code, Some(1));
    for part in [&*file.to_string_lossy(), "line 3", "F444"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}
