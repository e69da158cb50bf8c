//! Ratios against memcpy and against zstd alone, in one run; a line of JSON each.

use std::hint::black_box;
use std::time::{Duration, Instant};

use heliostat_tiles::motion::{Motion, Workspace};
use heliostat_tiles::oracle::{Layer, Layers, push_changes};
use heliostat_tiles::{Decoder, Encoder, Limits, Part, Squeezer, cells};

const W: u32 = 1920;
const H: u32 = 1080;
const OPAQUE: u32 = 0xff00_0000;
/// Runs of which the best counts.
const RUNS: usize = 9;

fn main() {
    let desktop = drawn(|x, y| text(x, y, 0));
    let cases = [
        ("desktop", None, drawn(|x, y| text(x, y, 0))),
        (
            "scroll",
            Some(desktop.clone()),
            drawn(|x, y| text(x, y, 51)),
        ),
        (
            "one character",
            Some(desktop.clone()),
            one_character(&desktop),
        ),
        ("photo", None, drawn(photo)),
        ("grey photo", None, drawn(grey_photo)),
        (
            "noise",
            None,
            drawn(|x, y| OPAQUE | hash(x, y) & 0xff_ff_ff),
        ),
    ];
    for (name, old, new) in cases {
        measure(name, old.as_ref(), &new);
    }
    measure_motion("scroll", &desktop, &drawn(|x, y| text(x, y, 51)));
    let dragged = |left: u32, top: u32| {
        drawn(
            move |x, y| match (x.wrapping_sub(left) < 800, y.wrapping_sub(top) < 600) {
                (true, true) => photo(x - left, y - top),
                _ => text(x, y, 0),
            },
        )
    };
    measure_motion("drag", &dragged(200, 150), &dragged(209, 143));
    measure_motion(
        "nothing moved",
        &drawn(photo),
        &drawn(|x, y| OPAQUE | hash(x, y)),
    );
}

fn measure(name: &str, old: Option<&Layer>, new: &Layer) {
    let mut encoder = Encoder::new(1);
    let mut batch = Vec::new();
    let encode = best_of(|| {
        batch.clear();
        push(&mut encoder, old, new);
        encoder.finish(&mut batch);
    });
    let (pack, squeeze) = stages(old, new);
    let mut layers = Layers(vec![old.cloned().unwrap_or_else(|| Layer::new(W, H))]);
    let mut decoder = Decoder::new();
    let decode = best_of(|| {
        decoder
            .decode(&batch, &Limits::default(), &mut layers)
            .unwrap()
    });
    let bytes: Vec<u8> = new
        .pixels
        .iter()
        .flat_map(|pixel| pixel.to_le_bytes())
        .collect();
    let mut copy = vec![0; bytes.len()];
    let memcpy = best_of(|| copy.copy_from_slice(black_box(&bytes)));
    let mut plain = Vec::new();
    let zstd = best_of(|| plain = zstd::bulk::compress(black_box(&bytes), 1).unwrap());
    println!(
        "{{\"bench\":\"tiles\",\"case\":\"{name}\",\"bytes\":{},\"zstd1_bytes\":{},\
         \"encode_ms\":{:.3},\"pack_ms\":{:.3},\"squeeze_ms\":{:.3},\"decode_ms\":{:.3},\"encode_to_memcpy\":{:.1},\"encode_to_zstd1\":{:.2}}}",
        batch.len(),
        plain.len(),
        encode.as_secs_f64() * 1e3,
        pack.as_secs_f64() * 1e3,
        squeeze.as_secs_f64() * 1e3,
        decode.as_secs_f64() * 1e3,
        encode.as_secs_f64() / memcpy.as_secs_f64(),
        encode.as_secs_f64() / zstd.as_secs_f64(),
    );
}

/// The time of packing parts, and that of compressing them, which a session does on other threads.
fn stages(old: Option<&Layer>, new: &Layer) -> (Duration, Duration) {
    let mut encoder = Encoder::new(1);
    let (full, parts) = std::sync::mpsc::channel();
    encoder.set_outlet(Box::new(move |part| {
        full.send(part).expect("is heard");
        None
    }));
    let mut squeezer = Squeezer::new();
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..RUNS {
        let start = Instant::now();
        push(&mut encoder, old, new);
        let mut packed: Vec<Part> = parts.try_iter().collect();
        packed.push(encoder.end().last);
        let pack = start.elapsed();
        let start = Instant::now();
        for part in &mut packed {
            black_box(squeezer.squeeze(part));
        }
        best = (best.0.min(pack), best.1.min(start.elapsed()));
    }
    best
}

fn measure_motion(name: &str, old: &Layer, new: &Layer) {
    let (mut room, mut encoder) = (Workspace::default(), Encoder::new(1));
    let mut batch = Vec::new();
    push_changes(&mut encoder, 0, old, new);
    encoder.finish(&mut batch);
    let without = batch.len();
    let mut found = Vec::new();
    let search = best_of(|| {
        found.clear();
        Motion::default().find(old.view(), new.view(), &mut room, &mut found);
    });
    batch.clear();
    push_moved(&mut room, &mut encoder, old, new);
    encoder.finish(&mut batch);
    let mut decoder = Decoder::new();
    let decode = best_of(|| {
        let mut layers = Layers(vec![old.clone()]);
        decoder
            .decode(&batch, &Limits::default(), &mut layers)
            .unwrap();
    });
    println!(
        "{{\"bench\":\"motion\",\"case\":\"{name}\",\"copies\":{},\"bytes\":{},\"bytes_without\":{without},\
         \"search_ms\":{:.3},\"decode_and_clone_ms\":{:.3}}}",
        found.len(),
        batch.len(),
        search.as_secs_f64() * 1e3,
        decode.as_secs_f64() * 1e3,
    );
}

/// Looks for motion as a session does, and pushes what it leaves.
fn push_moved(room: &mut Workspace, encoder: &mut Encoder, old: &Layer, new: &Layer) {
    let mut copies = Vec::new();
    Motion::default().find(old.view(), new.view(), room, &mut copies);
    let mut moved = old.clone();
    for copy in &copies {
        assert!(encoder.copy(0, copy));
        for y in 0..copy.from.h {
            let from = (copy.from.y + y) as usize * W as usize + copy.from.x as usize;
            let to = (copy.to.1 + y) as usize * W as usize + copy.to.0 as usize;
            let w = copy.from.w as usize;
            moved.pixels[to..to + w].copy_from_slice(&old.pixels[from..from + w]);
        }
    }
    push_changes(encoder, 0, &moved, new);
}

fn push(encoder: &mut Encoder, old: Option<&Layer>, new: &Layer) {
    if let Some(old) = old {
        return push_changes(encoder, 0, old, new);
    }
    for cell in cells(new.area()) {
        encoder.push(0, cell, new.view().sub(cell).unwrap(), None);
    }
}

fn best_of(mut work: impl FnMut()) -> Duration {
    let run = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..RUNS).map(|_| run(&mut work)).min().unwrap_or_default()
}

fn drawn(colour: impl Fn(u32, u32) -> u32) -> Layer {
    let mut layer = Layer::new(W, H);
    for (i, pixel) in layer.pixels.iter_mut().enumerate() {
        *pixel = colour(i as u32 % W, i as u32 / W);
    }
    layer
}

fn hash(x: u32, y: u32) -> u32 {
    let mut v = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b);
    v ^= v >> 15;
    v = v.wrapping_mul(0xc2b2_ae35);
    v ^ v >> 13
}

/// Lines of characters on white, with ragged right edges, scrolled up by `scroll` pixels.
fn text(x: u32, y: u32, scroll: u32) -> u32 {
    let (column, line) = (x / 9, (y + scroll) / 17);
    let (gx, gy) = (x % 9, (y + scroll) % 17);
    let written = column < 40 + hash(line, 1) % 120 && hash(column, line) & 7 > 0;
    let ink = written && gx < 7 && (3..14).contains(&gy);
    let glyph = hash(column, line) % 60;
    let shade = if ink {
        hash(glyph * 16 + gx / 2, gy / 3) % 5
    } else {
        0
    };
    OPAQUE | (0xff_ff_ff - shade * 0x33_33_33)
}

fn photo(x: u32, y: u32) -> u32 {
    let wave =
        |a: f32, b: f32| ((x as f32 / a).sin() * (y as f32 / b).cos() * 100.0 + 128.0) as u32;
    let grain = hash(x, y) & 0x03_03_03;
    OPAQUE | (wave(90.0, 70.0) << 16 | wave(50.0, 120.0) << 8 | wave(200.0, 30.0)) ^ grain
}

/// Smooth shapes at several sizes with grain of two bits that is the same in each colour.
fn grey_photo(x: u32, y: u32) -> u32 {
    let corner = |x: u32, y: u32, shift: u32| (hash(x, y * 16 + shift) & 0xff) as f32;
    let smooth = |shift: u32| {
        let part = |at: u32| {
            let t = (at & ((1 << shift) - 1)) as f32 / (1 << shift) as f32;
            t * t * (3.0 - 2.0 * t)
        };
        let (column, row, across, down) = (x >> shift, y >> shift, part(x), part(y));
        let top =
            corner(column, row, shift) * (1.0 - across) + corner(column + 1, row, shift) * across;
        let low = corner(column, row + 1, shift) * (1.0 - across)
            + corner(column + 1, row + 1, shift) * across;
        (top * (1.0 - down) + low * down) / 256.0 - 0.5
    };
    let light = 128.0 + smooth(8) * 110.0 + smooth(6) * 60.0 + smooth(4) * 24.0 + smooth(2) * 8.0;
    let (light, warmth) = (
        light as i32 + (hash(x, y) & 3) as i32,
        (smooth(7) * 50.0) as i32,
    );
    let channel = |value: i32| value.clamp(0, 255) as u32;
    OPAQUE | channel(light + warmth) << 16 | channel(light) << 8 | channel(light - warmth)
}

fn one_character(page: &Layer) -> Layer {
    let mut page = page.clone();
    for y in 513..524 {
        for x in 900..907 {
            page.pixels[y * W as usize + x] =
                OPAQUE | ((hash(x as u32 / 2, y as u32 / 3) % 5) * 0x33_33_33);
        }
    }
    page
}
