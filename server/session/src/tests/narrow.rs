//! A film over a way that carries less than its pictures take at their best.

use std::time::Duration;

use super::films::{FILM, difference, on_a_way, play_until};
use super::fixture::{Fixture, within};

/// Bytes a second.
const RATE: u64 = 30_000;
/// What is under way at most, in bytes: twice the least that a way is taken to hold, of which a film
/// may have the half once more.
const UNDER_WAY: usize = 8 << 10;
const PICTURE: Duration = Duration::from_millis(33);
/// Pictures of which one is measured by the other.
const MANY: usize = 20;
/// Pictures that are drawn while the way carries nothing.
const BLOCKED: usize = 80;

/// A film that plays on.
struct Film {
    fixture: Fixture,
    window: usize,
    time: u32,
    /// How much lighter its pictures are than at first.
    lighter: u32,
    /// Bytes of each picture that the terminal has had of it, and of the one that has begun to come.
    pictures: Vec<u32>,
    begun: u32,
}

impl Film {
    fn found() -> Self {
        let (mut fixture, window) = on_a_way((640, 480));
        play_until(&mut fixture, window, 1);
        Self {
            fixture,
            window,
            time: 1000,
            lighter: 0,
            pictures: Vec::new(),
            begun: 0,
        }
    }

    /// The client draws a picture whose grain is another one each time.
    fn play(&mut self) {
        self.time += 1;
        let client = self.fixture.client(self.window);
        let (width, (left, top, w, h)) = (client.size().0, FILM);
        for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))) {
            let grain = (x + y * w + self.time * 0x3_0001).wrapping_mul(0x9e37_79b9);
            let light = self.lighter + (x + y + self.time * 5) % 128 + (grain ^ grain >> 15) % 64;
            client.pixels[((top + y) * width + left + x) as usize] =
                0xff00_0000 | (light * 0x01_01_01);
        }
        client.present(left as i32, top as i32, w as i32, h as i32);
        self.fixture.turn_for(PICTURE);
        self.look();
    }

    fn look(&mut self) {
        let brought = self.fixture.take_brought();
        for (_, bytes, is_last) in brought.into_iter().flat_map(|frame| frame.pieces) {
            self.begun += bytes;
            if is_last {
                self.pictures.push(std::mem::take(&mut self.begun));
            }
        }
    }

    /// How much lighter what is shown of it is than what the client has drawn, on average.
    fn off_by(&mut self) -> i64 {
        let (left, top) = self.fixture.corner(self.window);
        let (x, y, w, h) = FILM;
        let places = (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y)));
        let off = places.map(|(x, y)| {
            let shown = self.fixture.shown(left + x as i32, top + y as i32) & 0xff;
            i64::from(shown) - i64::from(self.fixture.client(self.window).at(x, y) & 0xff)
        });
        off.sum::<i64>() / i64::from(w * h)
    }

    /// Plays on until many pictures more have come. Returns how many bytes they have on average.
    fn mean(&mut self) -> u32 {
        self.pictures.clear();
        within("many pictures come", || {
            self.play();
            assert_eq!(self.fixture.films(), 1);
            self.pictures.len() >= MANY
        });
        self.pictures.iter().sum::<u32>() / self.pictures.len() as u32
    }
}

#[test]
fn film_on_a_narrow_way_is_coarser_and_fills_no_queue_and_text_beside_it_gets_through() {
    let mut film = Film::found();
    let fine = film.mean();
    assert!(u64::from(fine) * 30 > RATE, "{fine} bytes: this is narrow");
    film.fixture.carry(RATE);
    // The encoder begins anew, with a whole picture.
    film.mean();
    let coarse = film.mean();
    println!("{fine} bytes a picture, then {coarse}");
    assert!(coarse * 2 < fine, "{coarse} after {fine} bytes");

    let (mut most, mut letters) = (0, 0);
    while letters < 5 {
        let Film {
            fixture, window, ..
        } = &mut film;
        fixture
            .client(*window)
            .invert(20 + letters * 12, 260, 9, 18);
        letters += 1;
        within("the letter is shown", || {
            film.play();
            most = most.max(film.fixture.bytes_under_way());
            assert_eq!(film.fixture.films(), 1);
            difference(&mut film.fixture, film.window).1 == 0.0
        });
    }
    assert!(most <= UNDER_WAY, "{most} bytes were under way");
}

#[test]
fn film_whose_way_is_blocked_goes_on_with_its_newest_picture_and_is_exact_after_it_has_stopped() {
    let mut film = Film::found();
    film.fixture.carry(RATE);
    film.mean();
    film.fixture.block(true);
    film.pictures.clear();
    for _ in 0..BLOCKED {
        film.play();
    }
    film.lighter = 60;
    film.play();
    assert!(film.pictures.is_empty(), "nothing has come");
    let waiting = film.fixture.bytes_under_way();
    assert!(waiting <= UNDER_WAY, "{waiting} bytes wait");
    film.fixture.block(false);
    let mut off_by = i64::MAX;
    within("the film is over", || {
        film.fixture.turn();
        film.look();
        let is_over = film.fixture.films() == 0;
        if !is_over {
            off_by = film.off_by();
        }
        is_over
    });
    assert!(off_by.abs() < 10, "the newest is what was shown at last");
    let came = film.pictures.len();
    assert!((1..BLOCKED / 2).contains(&came), "{came} of {BLOCKED}");
    within("all is exact", || {
        film.fixture.turn();
        film.fixture.is_lossless()
    });
    film.fixture.assert_shows(&[film.window]);
}
