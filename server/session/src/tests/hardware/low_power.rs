//! Films by the entry point for low power, where a device has one.

use super::stage::alone_with;
use super::*;

/// Two films play for a while by a device that has the entry point, of which this call fails. Returns in
/// how many contexts pictures were encoded by either.
fn plays(name: &str, fault: &str) -> Option<[usize; 2]> {
    let name = format!("tests::hardware::low_power::{name}");
    let told = [
        ("HELIOSTAT_VA_HAS", "low-power"),
        ("HELIOSTAT_VA_FAULTS", fault),
    ];
    let ran = alone_with(&name, &told, || {
        let mut player = Player::new(XRGB, SIZE);
        player.say_film();
        player.play_by_hardware(10);
        within("the newest picture is shown", || {
            player.play();
            player.likeness() >= 28.0
        });
        player.settle();
        // Another film, with another encoder.
        player.play_by_hardware(10);
        assert_eq!(player.fixture.stats().films.failures, 0);
        player.settle();
        player.end();
    })?;
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
    assert_told_rightly(&ran.log);
    let lines = ran.log.lines().filter(|line| {
        line.contains(" pictures encoded: ") && !line.contains(": 0 pictures encoded")
    });
    let (low, usual): (Vec<_>, Vec<_>) = lines.partition(|line| line.ends_with("by EncSliceLP"));
    Some([low.len(), usual.len()])
}

#[test]
fn film_goes_by_the_entry_point_for_low_power_where_there_is_one() {
    let name = "film_goes_by_the_entry_point_for_low_power_where_there_is_one";
    let Some([low, usual]) = plays(name, "") else {
        return;
    };
    assert!(low >= 2 && usual == 0, "{low}, {usual}");
}

#[test]
fn film_that_is_refused_for_low_power_goes_by_the_other_entry_point_and_so_does_the_next() {
    let name =
        "film_that_is_refused_for_low_power_goes_by_the_other_entry_point_and_so_does_the_next";
    // The second picture that is ended is the first that is encoded: the one before was converted.
    let Some([low, usual]) = plays(name, "vaEndPicture:2") else {
        return;
    };
    // The call fails once only, but nobody asks again.
    assert!(usual >= 2 && low == 0, "{low}, {usual}");
}
