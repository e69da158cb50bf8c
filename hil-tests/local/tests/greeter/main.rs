//! The greeter on a terminal's screen, typed at by key codes, with the broker's own greetd task
//! behind it. PAM's words are said by the test, so that each of its moods can be had.
//!
//! The pictures are left in `target/greeter/` for whoever wants to look at them.

mod desk;

use heliostat_control::greetd::{CardState, Enrol, GreeterContext};
use heliostat_control::worker::{Failure, Style};
use hil_local::{keys, programs};

use desk::{Desk, are_there, is_installed};

fn clinic() -> GreeterContext {
    GreeterContext {
        site: "Clinic".to_owned(),
        terminal: "desk-1".to_owned(),
        ..GreeterContext::default()
    }
}

#[test]
fn a_person_logs_in_by_name_and_password_and_sees_what_pam_says() {
    if !are_there() {
        return;
    }
    let mut desk = Desk::start("plain", (1280, 800), clinic());
    desk.picture("1-fresh");
    desk.type_text("anna");
    desk.picture("2-name");
    desk.press(keys::ENTER);
    assert_eq!(desk.begun(), "anna");
    desk.prompt(Style::Secret, "Password: ");
    desk.press(keys::CAPS);
    desk.type_text("wrong");
    desk.picture("3-password-caps-lock");
    desk.press(keys::CAPS);
    desk.forget_frames();
    desk.press(keys::ENTER);
    assert_eq!(desk.answer().as_deref(), Some("WRONG"));
    desk.picture_of_next_frame("4-waiting");
    desk.fail(Failure::Denied, "Authentication failure");
    // The greeter asks anew for the same person.
    assert_eq!(desk.begun(), "anna");
    desk.prompt(Style::Secret, "Password: ");
    desk.picture("5-wrong-password");
    desk.type_text("old");
    desk.press(keys::ENTER);
    assert_eq!(desk.answer().as_deref(), Some("old"));
    desk.prompt(
        Style::Info,
        "You are required to change your password immediately (password expired).",
    );
    desk.prompt(Style::Secret, "New password: ");
    desk.picture("6-expired-password");
    desk.type_text("new");
    desk.press(keys::ENTER);
    assert_eq!(desk.answer().as_deref(), Some("new"));
    desk.let_in("anna");
    let choices = desk.logged_in("anna");
    assert!(!choices.enrol);
    desk.picture("7-welcome");
    desk.end();
}

#[test]
fn an_unknown_card_is_offered_and_choices_are_made_by_keys_alone() {
    if !are_there() {
        return;
    }
    let context = GreeterContext {
        card: CardState::Unknown,
        enrol: Enrol::Offer,
        desktops: vec!["Plain".to_owned(), "With everything".to_owned()],
        layouts: vec!["us".to_owned(), "de".to_owned()],
        ..clinic()
    };
    let mut desk = Desk::start("card", (1280, 800), context);
    desk.picture("1-unknown-card");
    // Name, card, desktop, keyboard.
    desk.press(keys::TAB);
    desk.press(keys::SPACE);
    desk.press(keys::TAB);
    desk.press(keys::SPACE);
    desk.press(keys::TAB);
    desk.press(keys::SPACE);
    desk.press(keys::TAB);
    desk.press(keys::TAB);
    // With the German layout from now on: the key of y types z, the one of the semicolon ö.
    desk.type_text("yo;");
    desk.picture("2-chosen");
    desk.press(keys::ENTER);
    assert_eq!(desk.begun(), "zoö");
    desk.prompt(Style::Visible, "Code from your token: ");
    desk.type_text("123");
    desk.picture("3-visible-question");
    desk.press(keys::ENTER);
    assert_eq!(desk.answer().as_deref(), Some("123"));
    desk.let_in("zoö");
    let choices = desk.logged_in("zoö");
    assert!(choices.enrol);
    assert_eq!(choices.desktop.as_deref(), Some("With everything"));
    assert_eq!(choices.layout.as_deref(), Some("de"));
    desk.end();
}

#[test]
fn escape_starts_over_and_a_dead_broker_is_said_and_waited_for() {
    if !are_there() {
        return;
    }
    let mut desk = Desk::start("small", (800, 600), clinic());
    desk.type_text("anna");
    desk.press(keys::ENTER);
    assert_eq!(desk.begun(), "anna");
    desk.prompt(Style::Secret, "Password: ");
    desk.picture("1-password");
    desk.press(keys::ESC);
    assert_eq!(desk.cancelled(), "anna");
    desk.type_text("bob");
    desk.press(keys::ENTER);
    assert_eq!(desk.begun(), "bob");
    desk.prompt(Style::Secret, "Password: ");
    desk.stop_broker();
    desk.picture("2-offline");
    desk.start_broker(GreeterContext {
        person: Some("Frau Dr. Wolfeschlegelsteinhausenbergerdorff-Müller".to_owned()),
        message: Some("You were away for long: your desktop asks for your password.".to_owned()),
        site: "病院 · Klinik · بيت".to_owned(),
        terminal: "reception-desk-with-a-very-long-name-17".to_owned(),
        ..clinic()
    });
    // This person is not asked for a name.
    assert!(desk.begun().starts_with("Frau"));
    desk.prompt(Style::Secret, "Password for this account: ");
    desk.picture("3-fixed-person-long-names");
    desk.end();
}

#[test]
fn tuigreet_in_foot_works_in_its_place() {
    let target = programs::target().unwrap();
    let tuigreet = target.join("greeters/bin/tuigreet");
    if !tuigreet.is_file() {
        eprintln!("skipped: cargo install tuigreet --root target/greeters");
        return;
    }
    if !are_there() || !is_installed("foot") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).unwrap();
    let lent = folder.path().join("tuigreet");
    std::fs::copy(&tuigreet, &lent).unwrap();
    let command = format!(
        "foot --config=/dev/null --fullscreen env GREETD_SOCK=SOCKET {} --cmd anything",
        lent.display()
    );
    let mut desk = Desk::start_other("tuigreet", (1280, 800), &command);
    desk.type_text("anna");
    desk.press(keys::ENTER);
    assert_eq!(desk.begun(), "anna");
    desk.prompt(Style::Secret, "Password: ");
    desk.type_text("wrong");
    desk.press(keys::ENTER);
    assert_eq!(desk.answer().as_deref(), Some("wrong"));
    desk.fail(Failure::Denied, "Authentication failure");
    // It asks anew for the same person, or for a name again.
    desk.picture("1-wrong-password");
    desk.end();
}

#[test]
fn nobody_gets_past_the_greeter_by_the_keys_of_a_desktop() {
    if !are_there() {
        return;
    }
    let mut desk = Desk::start("chords", (1280, 800), clinic());
    for (modifier, key) in [
        (keys::LEFTALT, keys::F4),
        (keys::LEFTALT, keys::TAB),
        (keys::LEFTMETA, keys::ENTER),
        (keys::LEFTMETA, keys::DOWN),
        (keys::LEFTMETA, keys::F),
    ] {
        desk.chord(modifier, key);
    }
    // What the keys did is done by the time that the greeter has an answer to this.
    desk.type_text("anna");
    desk.press(keys::ENTER);
    assert_eq!(desk.begun(), "anna");
    assert_eq!(desk.started(), 1);
    desk.end();
}

#[test]
fn the_greeter_is_soon_on_the_screen_and_small() {
    if !are_there() {
        return;
    }
    let mut desk = Desk::start("soon", (1920, 1080), clinic());
    desk.picture("1-full-hd");
    let (took_ms, memory_kib) = (desk.first_page_ms(), desk.greeter_memory_kib());
    println!("from main to the first page: {took_ms} ms, {memory_kib} KiB of its own");
    // Far more than it takes, for slow machines and debug builds; the figures are measured apart.
    assert!(took_ms < 5000 && memory_kib < 200 << 10);
    desk.end();
}
