//! What the way to the driver's thread and back costs.

use heliostat_video::{Encoder, Picture, Quality};

use super::*;
use crate::alone::alone;
use crate::counting::allocations;
use crate::stage::NODE;

const SIZE: Size = Size { w: 320, h: 208 };
/// Pictures after which all that is kept has been allocated.
const FIRST: usize = 8;

/// Access units of a film, of which every picture differs from the one before.
fn film(pictures: u32) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(SIZE, Quality::default()).unwrap();
    let mut picture = Picture::default();
    let make = |time: u32| {
        let pixels: Vec<u32> = (0..SIZE.w * SIZE.h).map(|n| n * 977 + time * 31).collect();
        assert!(picture.take(SIZE, &pixels));
        let mut unit = Vec::new();
        encoder.encode(&picture, false, &mut unit).unwrap();
        unit
    };
    (0..pictures).map(make).collect()
}

#[test]
fn steady_film_goes_to_the_drivers_thread_and_back_without_an_allocation_on_either_side() {
    let name = "video::driver::tests::steady_film_goes_to_the_drivers_thread_and_back_without_an_allocation_on_either_side";
    alone(name, "", || {
        let node = std::env::var_os(NODE).unwrap();
        let file = std::fs::File::options().read(true).write(true).open(node);
        let (driver, _) = Driver::open(OwnedFd::from(file.unwrap())).unwrap();
        let driver = Arc::new(driver);
        let mut decoder = driver.decoder(SIZE).unwrap();
        let mut reader = VideoReader::of(Some(Arc::clone(&driver)));
        let (mut shown, mut made) = (None, Vec::new());
        for (time, unit) in film(60).iter().enumerate() {
            let there = driver.allocations();
            let here = allocations();
            let frame = decoder.decode(unit).unwrap();
            // Some are copied, as where somebody wants their pixels.
            let mut is_read = false;
            if time % 2 == 1 {
                reader.read(&frame, |_| is_read = true).unwrap();
                assert!(is_read);
            }
            // The one before is let go when this one is shown.
            shown = Some(frame);
            let here = allocations() - here;
            made.push((here, driver.allocations() - there));
        }
        assert!(shown.is_some());
        assert!(made[0].1 > 0, "nothing is counted");
        let steady = &made[FIRST..];
        assert!(steady.iter().all(|made| *made == (0, 0)), "{made:?}");
    });
}
