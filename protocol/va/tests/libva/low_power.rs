//! The entry point for low power: taken, left alone, refused.

use heliostat_va::probe::Probe;
use heliostat_video::{Encoded, Size};

use crate::alone::{alone, display};
use crate::changes::BOUNDED;
use crate::encoding::{encoder, nothing_is_left};
use crate::scene::{Buffer, Viewer, XRGB};
use crate::stage::Ran;
use crate::sys::set_environment;

/// What is said to be encoded of a bounded film, and how often the driver encodes it for low power.
fn film_where_there_is(name: &str, low_power: &str, fault: &str) -> Option<(String, Ran)> {
    let name = format!("low_power::{name}");
    let ran = alone(&name, fault, || {
        set_environment("HELIOSTAT_VA_HAS", low_power);
        let size = Size { w: 320, h: 208 };
        let mut encoder = encoder(size, BOUNDED);
        let (buffer, mut unit) = (Buffer::new(XRGB, size), Vec::new());
        let mut viewer = Viewer::new(size);
        for time in 0..20 {
            let drawn = buffer.draw(time);
            let encoded = buffer.with(|b| encoder.encode(b, false, &mut unit));
            let is_key = encoded.unwrap() == Encoded::Key;
            assert_eq!(is_key, time == 0, "{time}");
            assert!(viewer.compare(&unit, &drawn) >= 30.0, "{time}");
        }
        let said = match encoder.take_refusal() {
            Some(why) => format!("{}, for {why}", encoder.path().way),
            None => encoder.path().way.to_string(),
        };
        assert!(encoder.take_refusal().is_none());
        std::fs::write(std::env::var("HELIOSTAT_VA_LOG").unwrap() + "-errors", said).unwrap();
    })?;
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
    Some((ran.errors.clone(), ran))
}

/// Films of which all was encoded for low power.
fn by_low_power(log: &str) -> usize {
    let lines = log.lines();
    let lines = lines.filter(|line| line.contains(": 20 pictures encoded"));
    lines.filter(|line| line.ends_with("by EncSliceLP")).count()
}

#[test]
fn film_is_encoded_for_low_power_where_that_can_do_all_that_is_wanted() {
    let name = "film_is_encoded_for_low_power_where_that_can_do_all_that_is_wanted";
    let Some((said, ran)) = film_where_there_is(name, "low-power", "") else {
        return;
    };
    nothing_is_left(&ran.log);
    assert_eq!((said.as_str(), by_low_power(&ran.log)), ("EncSliceLP", 1));
}

#[test]
fn low_power_that_bounds_no_rate_is_left_alone() {
    let name = "low_power_that_bounds_no_rate_is_left_alone";
    let Some((said, ran)) = film_where_there_is(name, "low-power-constant", "") else {
        return;
    };
    nothing_is_left(&ran.log);
    assert_eq!((said.as_str(), by_low_power(&ran.log)), ("EncSlice", 0));
}

#[test]
fn film_that_low_power_refuses_goes_by_the_other_entry_point_at_once() {
    let name = "film_that_low_power_refuses_goes_by_the_other_entry_point_at_once";
    // The second context of conversions is made for the film, then comes that of its encoder; and the
    // second picture that is ended is the first one encoded.
    for fault in ["vaCreateContext:3", "vaEndPicture:2", "vaSyncBuffer:1"] {
        let Some((said, ran)) = film_where_there_is(name, "low-power", fault) else {
            return;
        };
        let call = fault.split(':').next().unwrap();
        let expected = format!("EncSlice, for {call} fails with");
        assert!(said.starts_with(&expected), "{fault}: {said}");
        assert_eq!(by_low_power(&ran.log), 0, "{fault}: {}", ran.log);
        let by_other = ran.log.lines().filter(|l| l.contains(": 20 pictures"));
        assert_eq!(by_other.count(), 1, "{fault}: {}", ran.log);
    }
}

#[test]
fn low_power_that_is_listed_and_refused_while_it_is_probed_is_as_if_there_were_none() {
    let name = "low_power_that_is_listed_and_refused_while_it_is_probed_is_as_if_there_were_none";
    // Main's is the third configuration, Baseline's the seventh.
    let faults = "vaCreateConfig:3,vaCreateConfig:7";
    let Some((said, ran)) = film_where_there_is(name, "low-power", faults) else {
        return;
    };
    for call in [3, 7] {
        let fails = format!("vaCreateConfig with OPERATION_FAILED: call {call} fails");
        assert!(ran.log.contains(&fails), "{}", ran.log);
    }
    // Nothing is refused a second time.
    assert_eq!(said, "EncSlice");
    assert_eq!(by_low_power(&ran.log), 0, "{}", ran.log);
    assert!(ran.log.contains(": 20 pictures"), "{}", ran.log);
}

#[test]
fn probe_says_what_is_listed_and_refused_and_takes_what_is_left_of_it() {
    let name = "probe_says_what_is_listed_and_refused_and_takes_what_is_left_of_it";
    for (faults, path) in [
        ("vaCreateConfig:3", "H.264 Baseline by EncSliceLP ("),
        (
            "vaCreateConfig:3,vaCreateConfig:7",
            "H.264 Main by EncSlice (EncSliceLP refuses)",
        ),
        // A driver may refuse earlier: it is asked for attributes twice for each encoder.
        (
            "vaGetConfigAttributes:4,vaCreateConfig:6",
            "H.264 Main by EncSlice (EncSliceLP refuses)",
        ),
    ] {
        let ran = alone(&format!("low_power::{name}"), faults, || {
            set_environment("HELIOSTAT_VA_HAS", "low-power");
            let probe = Probe::new(&display().unwrap()).unwrap();
            let size = Size { w: 1920, h: 1080 };
            println!("{probe}way: {}", probe.plan_encoding(size, true).unwrap());
        });
        let Some(ran) = ran else { return };
        let said = "H.264 Main, EncSliceLP: listed, and refused: va";
        assert!(ran.said.contains(said), "{faults}: {}", ran.said);
        assert!(
            ran.said.contains(&format!("way: {path}")),
            "{faults}: {}",
            ran.said
        );
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

#[test]
fn encoder_that_is_refused_while_it_is_probed_is_an_error_where_it_is_the_usual_one() {
    let name = "encoder_that_is_refused_while_it_is_probed_is_an_error_where_it_is_the_usual_one";
    let ran = alone(&format!("low_power::{name}"), "vaCreateConfig:2", || {
        set_environment("HELIOSTAT_VA_HAS", "low-power");
        let refused = Probe::new(&display().unwrap());
        assert!(refused.is_err(), "{refused:?}");
    });
    let Some(ran) = ran else { return };
    assert!(ran.log.contains("call 2 fails"), "{}", ran.log);
}
