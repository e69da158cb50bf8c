//! Who gets what of frames on a way that does not carry all that there is.

use std::time::Duration;

use super::client::Painting;
use super::films::{on_a_way, play_until};
use super::fixture::way::WIDE;
use super::fixture::{Fixture, within};

/// Bytes a second.
const RATE: u64 = 100_000;
/// What films get of each frame, in bytes.
const PIECE: u32 = 2 << 10;
const LARGE: Painting = Painting {
    w: 560,
    h: 420,
    seed: 1,
};
/// More than what may be an answer to input.
const SMALL: Painting = Painting {
    w: 200,
    h: 130,
    seed: 1,
};
const PICTURE: Duration = Duration::from_millis(33);

/// Text over all of a window, other text for each `n`.
fn write(fixture: &mut Fixture, window: usize, n: u32) {
    let client = fixture.client(window);
    let (w, h) = client.size();
    let letter = |at: u32| {
        let grain = (at / 2 + n * 7919).wrapping_mul(0x9e37_79b9);
        [0xff20_2020, 0xff80_8078, 0xfff0_f0e8, 0xffff_ffff]
            [((grain ^ grain >> 15) >> 13 & 3) as usize]
    };
    client.drew((w, h), (0..w * h).map(letter).collect());
    client.show_again();
}

fn is_exact(fixture: &mut Fixture, window: usize) -> bool {
    let (left, top) = fixture.corner(window);
    let (w, h) = fixture.client(window).size();
    let mut places = (0..h).flat_map(|y| (0..w).map(move |x| (x, y)));
    places.all(|(x, y)| {
        let shown = fixture.shown(left + x as i32, top + y as i32);
        shown == fixture.client(window).at(x, y)
    })
}

#[test]
fn small_change_goes_before_a_large_one_whichever_window_is_the_older() {
    for is_small_older in [false, true] {
        let mut fixture = Fixture::new();
        fixture.offer_videos(0);
        fixture.attach("a", (1280, 720));
        fixture.carry(WIDE);
        let [first, second] = match is_small_older {
            true => [SMALL, LARGE],
            false => [LARGE, SMALL],
        }
        .map(|painting| fixture.open(painting));
        let (small, large) = match is_small_older {
            true => (first, second),
            false => (second, first),
        };
        fixture.drag(large, 40, 60);
        fixture.drag(small, 800, 60);
        fixture.settle();
        fixture.carry(RATE);
        write(&mut fixture, large, 1);
        write(&mut fixture, small, 1);
        within("the small one is shown", || {
            fixture.turn();
            is_exact(&mut fixture, small)
        });
        assert!(!is_exact(&mut fixture, large), "{is_small_older}");
        within("all is shown", || {
            fixture.turn();
            fixture.is_lossless()
        });
        fixture.assert_shows(&[first, second]);
    }
}

#[test]
fn film_moves_on_while_text_fills_every_frame() {
    let (mut fixture, film) = on_a_way((1280, 720));
    let text = fixture.open(LARGE);
    fixture.drag(film, 20, 40);
    fixture.drag(text, 600, 60);
    fixture.settle();
    play_until(&mut fixture, film, 1);
    fixture.carry(RATE);
    fixture.take_brought();
    let (mut n, mut pictures) = (0, 0);
    within("the film moves on", || {
        n += 1;
        write(&mut fixture, text, n);
        fixture.client(film).picture(super::films::FILM, 100 + n);
        fixture.turn_for(PICTURE);
        assert!(!is_exact(&mut fixture, text), "frames are full");
        for frame in fixture.take_brought() {
            for (_, bytes, is_last) in frame.pieces {
                assert!(is_last || bytes >= PIECE, "{bytes} bytes of a picture");
                pictures += u32::from(is_last && frame.tiles > 0);
            }
        }
        assert_eq!(fixture.films(), 1);
        pictures >= 10
    });
}
