//! A terminal ends with the newest pixels, whatever happened between.

use heliostat_tiles::oracle::{Layer, Layers};
use heliostat_tiles::{Decoder, Limits, TileSink};
use heliostat_wire::id::VideoId;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Paint(Rect, u32),
    Draw(Rect, u32, u32),
    Reshape(u32, u32, bool),
    Encode(usize),
    Forget,
    Film(Rect),
    EndFilm,
}

fn op() -> impl Strategy<Value = Op> {
    let rect = (0u32..150, 0u32..150, 1u32..90, 1u32..90);
    let rect = rect.prop_map(|(x, y, w, h)| Rect { x, y, w, h });
    prop_oneof![
        4 => (rect, any::<u32>()).prop_map(|(rect, colour)| Op::Paint(rect, colour % 5 * 0x0101_0101)),
        3 => (0u32..3, 0u32..40, 0u32..40).prop_map(|(half, x, y)| {
            let rect = Rect { x: 75 * (half % 2), y: 0, w: 75 * (1 + half / 2), h: 200 };
            Op::Draw(rect, x, y)
        }),
        1 => (1u32..160, 1u32..160, any::<bool>()).prop_map(|(w, h, a)| Op::Reshape(w, h, a)),
        3 => (1usize..30_000).prop_map(Op::Encode),
        1 => Just(Op::Forget),
        1 => (0u32..150, 0u32..150, 1u32..150, 1u32..150)
            .prop_map(|(x, y, w, h)| Op::Film(Rect { x, y, w, h })),
        1 => Just(Op::EndFilm),
    ]
}

fn resize(layer: &mut Layer, size: Size, alpha: bool) {
    let mut new = Layer::new(size.w, size.h);
    new.pixels.fill(empty(alpha));
    for y in 0..layer.h.min(size.h) as usize {
        let w = layer.w.min(size.w) as usize;
        let (from, to) = (y * layer.w as usize, y * size.w as usize);
        new.pixels[to..to + w].copy_from_slice(&layer.pixels[from..from + w]);
    }
    *layer = new;
}

fn room(pixels: usize) -> Room {
    Room {
        pixels,
        bytes: u64::MAX,
        now: Instant::now(),
        serial: 1,
    }
}

fn send(
    content: &mut Content,
    (terminal, decoder): (&mut Layers, &mut Decoder),
    encoder: &mut Encoder,
    max: usize,
) {
    let size = content.size();
    if (terminal.0[0].w, terminal.0[0].h) != (size.w, size.h) || !content.in_step {
        resize(&mut terminal.0[0], size, content.alpha());
    }
    content.told(1);
    // A film's pixels are nobody's business while it plays.
    if let Some(film) = content.playing() {
        let (pixels, stride) = terminal.pixels_mut(0, film.rect).unwrap();
        for row in pixels.chunks_mut(stride).take(film.rect.h as usize) {
            row[..film.rect.w as usize].fill(0xff12_3456);
        }
    }
    content.encode(encoder, &mut MotionRoom::default(), room(max));
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    decoder
        .decode(&batch, &Limits::default(), terminal)
        .unwrap();
}

proptest! {
    #[test]
    fn terminal_ends_with_the_newest_pixels_whatever_happened_between(ops in prop::collection::vec(op(), 1..40)) {
        let mut content = Content::new(LayerId(0), Size { w: 70, h: 100 }, true);
        let mut terminal = Layers(vec![Layer::new(70, 100)]);
        let mut encoder = Encoder::new(1);
        // Few, so that slots are taken again.
        encoder.start_keeping(3, 7);
        let mut decoder = Decoder::keeping(3);
        for op in ops {
            match op {
                Op::Paint(rect, colour) => content.update(rect, |_, _, run| { run.fill(colour); true }),
                // The same picture at another place, as scrolling does.
                Op::Draw(rect, x, y) => content.update(rect, |left, top, run| {
                    for (pixel, at) in run.iter_mut().zip(left..) {
                        *pixel = (at + x).wrapping_mul(0x9e37_79b9) ^ ((top + y).wrapping_mul(0x85eb_ca6b) >> 9);
                    }
                    true
                }),
                Op::Reshape(w, h, alpha) => content.reshape(Size { w, h }, alpha),
                Op::Encode(max) => send(&mut content, (&mut terminal, &mut decoder), &mut encoder, max),
                Op::Forget => content.forget(),
                Op::Film(rect) => {
                    let size = content.size();
                    let all = Rect { x: 0, y: 0, w: size.w, h: size.h };
                    if let Some(rect) = rect.intersection(all) {
                        content.start_video(VideoId(1), rect, Instant::now());
                    }
                }
                Op::EndFilm => content.end_video(),
            }
        }
        content.end_video();
        send(&mut content, (&mut terminal, &mut decoder), &mut encoder, usize::MAX);
        prop_assert!(!content.is_dirty());
        prop_assert_eq!(content.pixels(), &terminal.0[0].pixels[..]);
    }
}

fn settled() -> (Content, Encoder) {
    let mut content = Content::new(LayerId(3), Size { w: 100, h: 100 }, false);
    let mut encoder = Encoder::new(1);
    content.told(1);
    content.encode(&mut encoder, &mut MotionRoom::default(), room(usize::MAX));
    encoder.finish(&mut Vec::new());
    (content, encoder)
}

#[test]
fn damage_without_a_change_costs_nothing() {
    let (mut content, _) = settled();
    let all = Rect {
        x: 0,
        y: 0,
        w: 100,
        h: 100,
    };
    content.update(all, |_, _, run| {
        run.fill(0xff00_0000);
        true
    });
    assert!(!content.is_dirty());
}

#[test]
fn change_that_was_undone_before_it_was_sent_costs_nothing() {
    let (mut content, mut encoder) = settled();
    let spot = Rect {
        x: 5,
        y: 5,
        w: 3,
        h: 3,
    };
    for colour in [0xffff_ffff, 0xff00_0000] {
        content.update(spot, |_, _, run| {
            run.fill(colour);
            true
        });
    }
    content.encode(&mut encoder, &mut MotionRoom::default(), room(usize::MAX));
    assert!(encoder.is_empty());
}

#[test]
fn only_the_changed_rectangle_is_sent() {
    let (mut content, mut encoder) = settled();
    content.update(
        Rect {
            x: 60,
            y: 60,
            w: 9,
            h: 18,
        },
        |_, _, run| {
            run.fill(0xffff_ffff);
            true
        },
    );
    content.encode(&mut encoder, &mut MotionRoom::default(), room(usize::MAX));
    assert_eq!(encoder.pixel_count(), 9 * 18);
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    assert!(batch.len() < 100, "{} bytes", batch.len());
}

/// Takes in rows of `area` of a picture; what the encoder got of it then.
fn shown(content: &mut Content, area: Rect, picture: impl Fn(u32, u32) -> u32) -> (bool, usize) {
    content.update(area, |left, y, run| {
        (left..)
            .zip(run)
            .for_each(|(x, pixel)| *pixel = picture(x, y));
        true
    });
    let mut encoder = Encoder::new(1);
    content.encode(&mut encoder, &mut MotionRoom::default(), room(usize::MAX));
    assert!(!content.is_dirty());
    (encoder.has_copies(), encoder.pixel_count())
}

fn noise(x: u32, y: u32) -> u32 {
    let v = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b);
    (v ^ v >> 15).wrapping_mul(0xc2b2_ae35)
}

#[test]
fn of_a_scroll_only_the_new_rows_are_kept_and_sent() {
    let mut content = Content::new(LayerId(3), Size { w: 500, h: 400 }, false);
    let page = Rect {
        x: 30,
        y: 40,
        w: 450,
        h: 360,
    };
    shown(&mut content, page, noise);
    // Up by fast and slow steps, then down.
    for (y, rows) in [(18, 18), (60, 42), (70, 10), (50, 20), (20, 30)] {
        content.update(page, |left, top, run| {
            (left..)
                .zip(run)
                .for_each(|(x, pixel)| *pixel = noise(x, top + y));
            true
        });
        let dirty = content.dirty;
        assert!(dirty <= 16, "{dirty} cells");
        let (copies, pixels) = shown(&mut content, page, |x, top| noise(x, top + y));
        assert!(copies && pixels <= 450 * rows, "{pixels} pixels");
    }
}

#[test]
fn scrolls_that_no_frame_has_carried_become_one_copy_of_what_the_terminal_has() {
    let mut content = Content::new(LayerId(3), Size { w: 500, h: 400 }, false);
    let page = Rect {
        x: 0,
        y: 0,
        w: 500,
        h: 400,
    };
    shown(&mut content, page, noise);
    for y in [20, 40] {
        content.update(page, |left, top, run| {
            (left..)
                .zip(run)
                .for_each(|(x, pixel)| *pixel = noise(x, top + y));
            true
        });
    }
    let (copies, pixels) = shown(&mut content, page, |x, top| noise(x, top + 60));
    assert!(copies && pixels <= 500 * 60, "{pixels} pixels");
}

/// A photograph over text, whose letters have soft edges.
fn photo_at((left, top): (u32, u32)) -> impl Fn(u32, u32) -> u32 {
    let text = |x: u32, y: u32| {
        let letter = noise(x / 8, y / 18) % 40;
        let shade = noise(x % 8 + letter * 8, y % 18);
        let ink = y % 18 < 12 && letter > 8 && shade & 1 == 1;
        let grey = if ink { shade >> 24 } else { 0xff };
        0xff00_0000 | (0x01_0101 * grey)
    };
    move |x: u32, y: u32| {
        let inside = (left..left + PHOTO.0).contains(&x) && (top..top + PHOTO.1).contains(&y);
        if inside {
            noise(x - left, y - top) | 0xff00_0000
        } else {
            text(x, y)
        }
    }
}

const PHOTO: (u32, u32) = (400, 300);

/// What changes when a photograph goes from one place to another one.
fn between(old: (u32, u32), new: (u32, u32)) -> Rect {
    Rect {
        x: old.0.min(new.0),
        y: old.1.min(new.1),
        w: PHOTO.0 + old.0.abs_diff(new.0),
        h: PHOTO.1 + old.1.abs_diff(new.1),
    }
}

#[test]
fn of_a_dragged_picture_only_what_it_uncovers_is_sent() {
    let size = Size { w: 900, h: 700 };
    let mut content = Content::new(LayerId(3), size, false);
    let mut place = (300u32, 200u32);
    let page = content.whole();
    shown(&mut content, page, photo_at(place));
    for (dx, dy) in [(9, 5), (9, 5), (9, -5), (-9, -5), (-13, 7), (0, 11)] {
        let next = (
            place.0.wrapping_add_signed(dx),
            place.1.wrapping_add_signed(dy),
        );
        let area = between(place, next);
        place = next;
        let (copies, pixels) = shown(&mut content, area, photo_at(place));
        let uncovered = area.area() - 400 * 300;
        assert!(
            copies && pixels <= 3 * uncovered,
            "{pixels} pixels, {uncovered} are new"
        );
    }
}

#[test]
fn dragged_picture_is_no_film_anywhere() {
    // Tenths of a pixel in both directions, as fast and as slowly as somebody drags.
    for (across, down) in [
        (50, 30),
        (50, 5),
        (50, 10),
        (40, 3),
        (30, 10),
        (20, 20),
        (9, 60),
    ] {
        let size = Size { w: 900, h: 700 };
        let mut content = Content::new(LayerId(3), size, false);
        let began = Instant::now();
        let swing = |at: u32, room: u32| room - (at % (2 * room)).abs_diff(room);
        let at = |n: u32| {
            let x = swing(200 + n * across / 10, 500);
            (x, swing(100 + n * down / 10, 400))
        };
        let page = content.whole();
        shown(&mut content, page, photo_at(at(0)));
        for n in 1..300 {
            shown(&mut content, between(at(n - 1), at(n)), photo_at(at(n)));
            content.look_for_films(false, began + n * Duration::from_micros(16_667));
            let film = content.found_film();
            assert_eq!(film, None, "frame {n}, {across} and {down} tenths a frame");
        }
    }
}

/// A frame on its way.
struct UnderWay {
    serial: u32,
    /// What has to come before it; everything where absent.
    after: Option<Vec<u32>>,
    shape: Option<(Size, bool)>,
    batch: Vec<u8>,
}

fn frame(content: &mut Content, encoder: &mut Encoder, (serial, most): (u32, usize)) -> UnderWay {
    let shape = (!content.in_step).then_some((content.size(), content.alpha()));
    content.told(serial);
    let room = Room {
        serial,
        ..room(most)
    };
    content.encode(encoder, &mut MotionRoom::default(), room);
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    UnderWay {
        serial,
        after: None,
        shape,
        batch,
    }
}

fn answer(content: &mut Content, encoder: &mut Encoder, serial: u32) -> Option<UnderWay> {
    if !content.has_answer() {
        return None;
    }
    let after = content.push_answer(encoder, serial, Instant::now());
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    Some(UnderWay {
        serial,
        after: Some(after),
        shape: None,
        batch,
    })
}

proptest! {
    #[test]
    fn frames_may_come_in_any_order_that_answers_allow(
        ops in prop::collection::vec((op(), 0u32..4, any::<bool>()), 1..40),
    ) {
        let mut content = Content::new(LayerId(0), Size { w: 70, h: 100 }, true);
        let mut terminal = Layers(vec![Layer::new(70, 100)]);
        let mut encoder = Encoder::new(1);
        encoder.start_keeping(3, 7);
        let mut decoder = Decoder::keeping(3);
        let (mut under_way, mut serial, mut overtook) = (Vec::<UnderWay>::new(), 1, 0);
        let last = [(); 2].map(|()| (Op::Encode(usize::MAX), 4, true));
        for (op, kind, comes) in ops.into_iter().chain(last) {
            let paint = |content: &mut Content, rect: Rect, colour: u32| {
                content.update(rect, |_, _, run| { run.fill(colour); true });
            };
            match op {
                Op::Paint(rect, colour) => paint(&mut content, rect, colour % 5 * 0x0101_0101),
                Op::Draw(rect, x, y) => content.update(rect, |left, top, run| {
                    for (pixel, at) in run.iter_mut().zip(left..) {
                        *pixel = (at + x).wrapping_mul(0x9e37_79b9) ^ ((top + y).wrapping_mul(0x85eb_ca6b) >> 9);
                    }
                    true
                }),
                Op::Reshape(w, h, alpha) => content.reshape(Size { w, h }, alpha),
                Op::Forget => content.forget(),
                // Here a key that is typed.
                Op::Film(rect) => paint(&mut content, Rect { w: 9, h: 9, ..rect }, serial),
                Op::Encode(most) => {
                    under_way.push(frame(&mut content, &mut encoder, (serial, most)));
                    serial += 1;
                }
                Op::EndFilm => {}
            }
            if kind < 2 && let Some(answer) = answer(&mut content, &mut encoder, serial) {
                under_way.push(answer);
                serial += 1;
            }
            // Without the oldest one, or with it; what may go ahead of those that wait does.
            let mut at = usize::from(!comes);
            while at < under_way.len() {
                let after = under_way[at].after.as_ref();
                let must = |other: &UnderWay| after.is_none_or(|all| all.contains(&other.serial));
                if under_way[..at].iter().any(must) {
                    at += 1;
                    continue;
                }
                let frame = under_way.remove(at);
                overtook += usize::from(at > 0);
                at = usize::from(!comes);
                if let Some((size, alpha)) = frame.shape {
                    resize(&mut terminal.0[0], size, alpha);
                }
                decoder.decode(&frame.batch, &Limits::default(), &mut terminal).unwrap();
            }
        }
        prop_assert!(under_way.is_empty(), "{overtook} have overtaken others");
        prop_assert!(!content.is_dirty());
        prop_assert_eq!(content.pixels(), &terminal.0[0].pixels[..]);
    }
}
