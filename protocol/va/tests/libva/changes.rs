//! What has changed of pictures, as the driver is told: it compares what it is told with what it sees.

use heliostat_va::encoder::{About, Area, EncodeError, Encoder, Rate};
use heliostat_va::probe::Probe;
use heliostat_video::{Encoded, Size};

use crate::alone::{alone, display};
use crate::encoding::{CONSTANT, settings};
use crate::scene::{Buffer, NV12, Viewer, XRGB, pixels};
use crate::sys::set_environment;

pub const SIZE: Size = Size { w: 322, h: 241 };
pub const BOUNDED: Rate = Rate::Bounded {
    bits_per_second: 4_000_000,
    finest: 20,
    coarsest: 40,
};

/// A desktop of which little changes.
pub struct Desktop {
    size: Size,
    pub shown: Vec<u32>,
    buffers: [Buffer; 3],
    time: u32,
}

impl Desktop {
    pub fn new(format: u32, size: Size) -> Self {
        Self {
            size,
            shown: pixels(size, 0),
            buffers: [0; 3].map(|_| Buffer::new(format, size)),
            time: 0,
        }
    }

    /// Draws a small part anew, and all of that into the next buffer. Returns which part.
    pub fn draw(&mut self) -> Area {
        self.time += 1;
        let part = Area {
            x: 7 + self.time * 13 % (self.size.w - 60),
            y: 3 + self.time * 7 % (self.size.h - 40),
            w: 33,
            h: 21,
        };
        let other = pixels(self.size, self.time % 8 * 3);
        for y in part.y..part.y + part.h {
            let at = (y * self.size.w + part.x) as usize;
            let run = at..at + part.w as usize;
            self.shown[run.clone()].copy_from_slice(&other[run]);
        }
        self.buffer().show(&self.shown);
        part
    }

    pub fn buffer(&self) -> &Buffer {
        &self.buffers[self.time as usize % 3]
    }

    /// What is shown of a part.
    fn part(&self, (x, y): (u32, u32), size: Size) -> Vec<u32> {
        let rows = self.shown.chunks(self.size.w as usize).skip(y as usize);
        let rows = rows.take(size.h as usize);
        let part = rows.flat_map(|row| &row[x as usize..][..size.w as usize]);
        part.copied().collect()
    }
}

fn encoder(size: Size, rate: Rate) -> Encoder {
    let display = display().unwrap();
    let probe = Probe::new(&display).unwrap();
    Encoder::new(&display, &probe, settings(size, rate)).unwrap()
}

/// Has 60 pictures encoded of a desktop, or a part of it, with a picture refused now and then and a key
/// in the middle; each is to come out as it was drawn.
fn play(format: u32, rate: Rate, size: Size, corner: (u32, u32)) {
    let mut desktop = Desktop::new(format, SIZE);
    let mut encoder = encoder(size, rate);
    let (mut viewer, mut unit) = (Viewer::new(size), Vec::new());
    for number in 0..60 {
        let drawn = desktop.draw();
        let inside = Area {
            x: drawn.x.saturating_sub(corner.0),
            y: drawn.y.saturating_sub(corner.1),
            ..drawn
        };
        let about = About {
            key: number == 30,
            changed: Some(&[inside]),
            left_out: 1,
        };
        if number % 7 == 6 {
            let mut encode = |about| {
                let beyond = (SIZE.w, corner.1);
                desktop
                    .buffer()
                    .with(|b| encoder.encode_part(b, beyond, about, &mut unit))
            };
            let refused = encode(about).unwrap_err();
            assert!(matches!(refused, EncodeError::Buffer(_)), "{refused}");
            continue;
        }
        let encoded = desktop
            .buffer()
            .with(|b| encoder.encode_part(b, corner, about, &mut unit));
        let is_key = number == 0 || number == 30;
        assert_eq!(encoded.unwrap() == Encoded::Key, is_key, "{number}");
        let quality = viewer.compare(&unit, &desktop.part(corner, size));
        assert!(quality >= 30.0, "{number}: {quality} dB");
    }
}

fn told(log: &str) -> Vec<&str> {
    let lines = log.lines().filter_map(|line| line.split_once("encoded: "));
    lines.map(|(_, told)| told).collect()
}

#[test]
fn only_what_has_changed_is_told_and_pictures_are_whole_all_the_same() {
    let name = "changes::only_what_has_changed_is_told_and_pictures_are_whole_all_the_same";
    let ran = alone(name, "", || {
        let part = Size { w: 200, h: 120 };
        play(XRGB, CONSTANT, SIZE, (0, 0));
        play(NV12, BOUNDED, SIZE, (0, 0));
        play(XRGB, BOUNDED, part, (51, 33));
        play(NV12, CONSTANT, part, (50, 34));
    });
    let Some(ran) = ran else { return };
    assert!(!ran.log.contains("refused"), "{}", ran.log);
    let told = told(&ran.log);
    assert_eq!(told.len(), 4, "{}", ran.log);
    for (n, told) in told.into_iter().enumerate() {
        let rectangles: u32 = told.split(' ').next().unwrap().parse().unwrap();
        // Of a part nothing has changed now and then.
        let expected = if n < 2 { 18..=18 } else { 3..=17 };
        assert!(expected.contains(&rectangles), "{told}");
        assert!(told.contains(" 0 with regions of interest"), "{told}");
    }
    let after = |of: &str| ran.log.matches(of).count();
    assert_eq!(
        (after(" 0 after others"), after(" 50 after others")),
        (2, 2)
    );
}

#[test]
fn what_has_changed_is_of_interest_where_the_driver_hears_no_more() {
    let name = "changes::what_has_changed_is_of_interest_where_the_driver_hears_no_more";
    let ran = alone(name, "", || {
        set_environment("HELIOSTAT_VA_LACKS", "dirty-rectangles");
        play(XRGB, BOUNDED, SIZE, (0, 0));
        set_environment("HELIOSTAT_VA_LACKS", "dirty-rectangles,skipped-pictures");
        play(XRGB, CONSTANT, SIZE, (0, 0));
        set_environment("HELIOSTAT_VA_LACKS", "dirty-rectangles,regions");
        play(XRGB, BOUNDED, SIZE, (0, 0));
    });
    let Some(ran) = ran else { return };
    assert!(!ran.log.contains("refused"), "{}", ran.log);
    let expected = [
        "0 with dirty rectangles, 50 with regions of interest, 50 after others that were skipped",
        "0 with dirty rectangles, 0 with regions of interest, 0 after others that were skipped",
        "0 with dirty rectangles, 0 with regions of interest, 50 after others that were skipped",
    ];
    assert_eq!(told(&ran.log), expected);
}

#[test]
fn buffer_of_another_format_is_another_picture_whatever_is_said_to_have_changed() {
    let name =
        "changes::buffer_of_another_format_is_another_picture_whatever_is_said_to_have_changed";
    let ran = alone(name, "", || {
        let mut encoder = encoder(SIZE, CONSTANT);
        let mut desktops = [XRGB, NV12].map(|format| Desktop::new(format, SIZE));
        let (mut viewer, mut unit) = (Viewer::new(SIZE), Vec::new());
        for number in 0..30 {
            for desktop in &mut desktops {
                desktop.draw();
            }
            let desktop = &mut desktops[usize::from(number > 20)];
            if number == 21 {
                desktop.shown = pixels(SIZE, 70);
                desktop.buffer().show(&desktop.shown);
            }
            let about = About {
                changed: match number {
                    21 => Some(&[]),
                    _ => None,
                },
                ..About::default()
            };
            desktop
                .buffer()
                .with(|b| encoder.encode_part(b, (0, 0), about, &mut unit))
                .unwrap();
            assert!(viewer.compare(&unit, &desktop.shown) >= 30.0, "{number}");
        }
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("refused"), "{}", ran.log);
    }
}

#[test]
fn lie_about_what_has_changed_costs_that_picture_and_a_key_follows() {
    let name = "changes::lie_about_what_has_changed_costs_that_picture_and_a_key_follows";
    let ran = alone(name, "", || {
        let mut encoder = encoder(SIZE, CONSTANT);
        let mut desktop = Desktop::new(XRGB, SIZE);
        let (mut viewer, mut unit) = (Viewer::new(SIZE), Vec::new());
        let mut give = |desktop: &Desktop, drawn: &[Area]| {
            let about = About {
                changed: Some(drawn),
                ..About::default()
            };
            let encoded = desktop
                .buffer()
                .with(|b| encoder.encode_part(b, (0, 0), about, &mut unit));
            encoded.inspect(|_| assert!(viewer.compare(&unit, &desktop.shown) >= 30.0))
        };
        for number in 0..40 {
            let drawn = desktop.draw();
            if number != 25 {
                let expected = number == 0 || number == 26;
                let encoded = give(&desktop, &[drawn]).unwrap();
                assert_eq!(encoded == Encoded::Key, expected, "{number}");
                continue;
            }
            let elsewhere = Area {
                x: (drawn.x + 160) % 300,
                ..drawn
            };
            let refused = give(&desktop, &[elsewhere]).unwrap_err();
            assert!(matches!(refused, EncodeError::Va(_)), "{refused}");
        }
    });
    let Some(ran) = ran else { return };
    let said = "outside of all dirty rectangles";
    assert_eq!(ran.log.matches(said).count(), 1, "{}", ran.log);
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
}
