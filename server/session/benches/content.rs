//! What a changed window costs between a client's commit and the bytes of a frame, stage by stage,
//! as ratios against copying a 1920×1080 picture once; a line of JSON each.

use std::hint::black_box;
use std::time::{Duration, Instant};

use heliostat_session::content::{Content, MotionRoom, Room};
use heliostat_tiles::{Encoder, Rect};
use heliostat_wire::id::LayerId;
use heliostat_wire::output::Size;

const SIZE: Size = Size { w: 1920, h: 1080 };
const ROUNDS: u32 = 24;
const ALL: Rect = Rect {
    x: 0,
    y: 0,
    w: SIZE.w,
    h: SIZE.h,
};

fn main() {
    let memcpy = copying();
    let whole = |n: u32| move |x: u32, y: u32| text(x, y + n * 54);
    measure("scroll", memcpy, ALL, whole);
    let photo = |n: u32| move |x: u32, y: u32| photo(x, y, n);
    measure("new photo", memcpy, ALL, photo);
    let still = |_: u32| text;
    measure("false damage", memcpy, ALL, still);
    let letter = Rect {
        x: 900,
        y: 513,
        w: 9,
        h: 18,
    };
    let typed =
        |n: u32| move |x: u32, y: u32| 0xff00_0000 | ((hash(x / 2 + n, y / 3) % 5) * 0x33_33_33);
    measure("one character", memcpy, letter, typed);
}

fn measure<P: Fn(u32, u32) -> u32>(
    case: &str,
    memcpy: Duration,
    area: Rect,
    picture: impl Fn(u32) -> P,
) {
    let mut content = Content::new(LayerId(1), SIZE, false);
    let mut encoder = Encoder::new(1);
    let mut motion = MotionRoom::default();
    let room = Room {
        pixels: usize::MAX,
        bytes: u64::MAX,
        serial: 1,
        now: Instant::now(),
    };
    let (mut update, mut encode, mut finish) = (Vec::new(), Vec::new(), Vec::new());
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for n in 0..ROUNDS {
        let picture = picture(n);
        let buffer: Vec<u32> = (0..SIZE.w * SIZE.h)
            .map(|at| picture(at % SIZE.w, at / SIZE.w))
            .collect();
        let start = Instant::now();
        content.update(area, |x, y, run| {
            let at = (y * SIZE.w + x) as usize;
            run.copy_from_slice(&buffer[at..at + run.len()]);
            true
        });
        let updated = Instant::now();
        content.told(1);
        content.encode(&mut encoder, &mut motion, room);
        let encoded = Instant::now();
        batch.clear();
        encoder.finish(&mut batch);
        // The first picture is new in every case.
        if n > 0 {
            update.push(updated - start);
            encode.push(encoded - updated);
            finish.push(encoded.elapsed());
            bytes += batch.len();
        }
    }
    let [update, encode, finish] = [update, encode, finish].map(median);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{{\"bench\":\"content\",\"case\":\"{case}\",\"bytes\":{},\"update_ms\":{:.3},\"encode_ms\":{:.3},\
         \"zstd_ms\":{:.3},\"all_to_memcpy\":{:.2}}}",
        bytes / (ROUNDS as usize - 1),
        ms(update),
        ms(encode),
        ms(finish),
        (update + encode + finish).as_secs_f64() / memcpy.as_secs_f64(),
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time of copying a whole picture.
fn copying() -> Duration {
    let from = vec![1u32; (SIZE.w * SIZE.h) as usize];
    let mut to = vec![0u32; from.len()];
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        to.copy_from_slice(black_box(&from));
        black_box(&to);
        start.elapsed()
    });
    median(times.collect())
}

fn hash(x: u32, y: u32) -> u32 {
    let mut v = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b);
    v ^= v >> 15;
    v = v.wrapping_mul(0xc2b2_ae35);
    v ^ v >> 13
}

/// Lines of characters on white, with ragged right edges.
fn text(x: u32, y: u32) -> u32 {
    let (column, line) = (x / 9, y / 18);
    let (gx, gy) = (x % 9, y % 18);
    let written = column < 40 + hash(line, 1) % 120 && hash(column, line) & 7 > 0;
    let ink = written && gx < 7 && (3..14).contains(&gy);
    let glyph = hash(column, line) % 60;
    let shade = if ink {
        hash(glyph * 16 + gx / 2, gy / 3) % 5
    } else {
        0
    };
    0xff00_0000 | (0xff_ff_ff - shade * 0x33_33_33)
}

/// Slopes with grain, other ones for each number.
fn photo(x: u32, y: u32, number: u32) -> u32 {
    let (x, y) = (x + number * 37, y + number * 91);
    let slope = |a: u32, b: u32| ((x / a + y / b) % 256) << 8;
    let grain = hash(x, y) & 0x03_03_03;
    0xff00_0000 | (slope(3, 5) << 8 | slope(7, 2) | slope(4, 9) >> 8) ^ grain
}
