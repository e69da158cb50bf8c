//! Batches of tiles into the scene: small ones here and now, large ones with their parts opened on
//! other threads meanwhile.
//!
//! ```text
//!   opener 0: part 0, part 3, … ─┐
//!   opener 1: part 1, part 4, … ─┼─► the caller writes part 0, part 1, part 2, …
//!   opener 2: part 2, part 5, … ─┘
//! ```
//!
//! The threads come with such a batch and end with it; each is one or two parts ahead of what is
//! written, so that no more bodies are held than that, and never more than the limits allow for the
//! whole batch.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, Scope};

use heliostat_tiles::{DecodeError, Decoder, Limits, Opened, Opener, Sealed, sealed_parts};

use crate::scene::Scene;

/// Compressed bytes from which a batch is worth threads.
const LARGE: usize = 192 << 10;
/// Threads at most, beside the one that writes.
const MOST_OPENERS: usize = 3;
/// Parts that wait between an opener and who writes.
const AHEAD: usize = 1;

/// Parts in the order of one opener.
type Parts = Receiver<Result<Opened, DecodeError>>;

/// Writes the rectangles of `batch` to `scene`.
pub fn decode(decoder: &mut Decoder, batch: &[u8], scene: &mut Scene) -> Result<(), DecodeError> {
    // To ask for the processors costs more than a small batch.
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let cores = if batch.len() < LARGE { 1 } else { cores() };
    if cores == 1 {
        return decoder.decode(batch, &Limits::default(), scene);
    }
    // Who writes waits most of the time, so that there is an opener for each processor.
    decode_with(cores.min(MOST_OPENERS), decoder, batch, scene)
}

/// The same with so many openers, where the batch has parts.
fn decode_with(
    openers: usize,
    decoder: &mut Decoder,
    batch: &[u8],
    scene: &mut Scene,
) -> Result<(), DecodeError> {
    let limits = Limits::default();
    let Some(parts) = sealed_parts(batch, &limits) else {
        return decoder.decode(batch, &limits, scene);
    };
    let layers = scene.layers();
    let sizes: HashMap<u32, (u32, u32)> = layers
        .map(|(id, layer)| (id.0, (layer.size.w, layer.size.h)))
        .collect();
    thread::scope(|scope| {
        let opened: io::Result<Vec<Parts>> = (0..openers)
            .map(|number| {
                let own = parts.iter().skip(number).step_by(openers);
                start(scope, own, &sizes)
            })
            .collect();
        // Where there is no thread to be had, those that have started end with their channels.
        let Ok(opened) = opened else {
            return decoder.decode(batch, &limits, scene);
        };
        let turns = (0..parts.len()).map(|number| &opened[number % openers]);
        // An opener that is gone without a word has failed.
        let in_order = turns.map(|turn| turn.recv().unwrap_or(Err(DecodeError::Corrupt)));
        decoder.decode_opened(in_order, &limits, scene)
    })
}

/// Starts an opener of these parts.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    parts: impl Iterator<Item = &'scope Sealed<'scope>> + Send + 'scope,
    sizes: &'scope HashMap<u32, (u32, u32)>,
) -> io::Result<Parts> {
    let (send, opened) = sync_channel(AHEAD);
    let thread = thread::Builder::new().name("opener".to_owned());
    thread.spawn_scoped(scope, move || {
        let mut opener = Opener::new();
        for part in parts {
            let part = opener.open(part, &Limits::default(), |layer| sizes.get(&layer).copied());
            if send.send(part).is_err() {
                break;
            }
        }
    })?;
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use heliostat_tiles::{Encoder, PixelsRef, Rect, cells};
    use heliostat_wire::List;
    use heliostat_wire::id::LayerId;
    use heliostat_wire::output::{Outputs, Size};
    use heliostat_wire::scene::{FrameHeader, SceneOp};

    use super::*;
    use crate::scene::Budget;

    const SIZE: Size = Size { w: 700, h: 600 };

    fn scene() -> Scene {
        let budget = Budget {
            layers: 1,
            bytes: 4 << 20,
            cells: 8,
            videos: 0,
            video_pixels: 0,
        };
        let mut scene = Scene::new(&Outputs::default(), budget);
        let create = SceneOp::CreateLayer {
            layer: LayerId(1),
            size: SIZE,
            alpha: false,
        };
        let header = FrameHeader {
            serial: 1,
            last_input: 0,
            overtakes: 0,
            ops: List::truncated(vec![create]),
        };
        scene.apply(&header, &[0, 0, 0]).unwrap();
        scene
    }

    /// A batch of a picture of slopes, noise and plain cells, in several parts.
    fn batch() -> Vec<u8> {
        let pixels: Vec<u32> = (0..SIZE.w * SIZE.h)
            .map(|at| {
                let (x, y) = (at % SIZE.w, at / SIZE.w);
                let grain = at.wrapping_mul(0x9e37_79b1) >> 16;
                match (x / 64 + y / 64) % 8 {
                    0 => 0xff00_0000 | (grain << 8),
                    1 => 0xff12_3456,
                    _ => 0xff00_0000 | ((x / 3 + grain % 4) << 16) | ((y / 4) << 8) | (grain % 3),
                }
            })
            .collect();
        let mut encoder = Encoder::new(1);
        encoder.start_keeping(8, 1);
        let whole = PixelsRef::new(&pixels, SIZE.w as usize, SIZE.w, SIZE.h).unwrap();
        let area = Rect {
            x: 0,
            y: 0,
            w: SIZE.w,
            h: SIZE.h,
        };
        for cell in cells(area) {
            let all = Rect { x: 0, y: 0, ..cell };
            encoder.push_cell(1, (cell, all), whole.sub(cell).unwrap(), None, true);
        }
        let mut batch = Vec::new();
        encoder.finish(&mut batch);
        batch
    }

    fn pixels(scene: &Scene) -> Vec<u32> {
        scene.layers().next().unwrap().1.pixels.clone()
    }

    #[test]
    fn parts_opened_on_threads_leave_what_one_thread_leaves_whole_or_broken() {
        let batch = batch();
        let parts = sealed_parts(&batch, &Limits::default()).unwrap().len();
        assert!(parts > 3, "{parts} parts");
        let broken = (1..200).map(|n| {
            let mut broken = batch.clone();
            let at = n * broken.len() / 200;
            broken[at] ^= 1 << (n % 8);
            broken
        });
        let (mut refused, mut taken) = (0, 0);
        for batch in [batch.clone()].into_iter().chain(broken) {
            let mut one = scene();
            let by_one = Decoder::keeping(8).decode(&batch, &Limits::default(), &mut one);
            match by_one {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
            for openers in 1..=MOST_OPENERS {
                let mut many = scene();
                let by_many = decode_with(openers, &mut Decoder::keeping(8), &batch, &mut many);
                assert_eq!(by_many, by_one);
                assert!(pixels(&many) == pixels(&one));
            }
        }
        assert!(
            refused > 10 && taken > 10,
            "{refused} refused, {taken} taken"
        );
    }
}
