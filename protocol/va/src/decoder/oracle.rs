//! What the tests and the fuzz target check of any bytes: headers and the pictures that others build on,
//! as the decoder keeps them, without a device.

use heliostat_video::syntax::{
    Kind, PictureParameters, SequenceParameters, Slice, SliceKind, units,
};

use super::references::References;

/// Pictures that are held may be no more than this, whatever a stream says.
const MOST_HELD: usize = 16;

/// Takes bytes for an H.264 stream, each slice for a picture. Returns how many pictures it had.
///
/// # Panics
/// Where pictures are held that should not be, or a list names one that is not.
pub fn references(bytes: &[u8]) -> usize {
    let (mut sequence, mut picture) = (None, PictureParameters::default());
    let (mut held, mut list, mut pictures) = (References::<usize>::default(), Vec::new(), 0);
    for unit in units(bytes).into_iter().flatten() {
        let Some(Ok(kind)) = unit.first().map(|first| Kind::of(*first)) else {
            continue;
        };
        match kind {
            Kind::Sequence => sequence = SequenceParameters::read(unit).ok().or(sequence),
            Kind::Picture => picture = PictureParameters::read(unit).unwrap_or(picture),
            Kind::Supplemental | Kind::Delimiter => {}
            Kind::Slice | Kind::Idr => {
                let Some(sequence) = &sequence else { continue };
                let Ok((slice, bits)) = Slice::read(unit, sequence, &picture) else {
                    continue;
                };
                assert!(bits <= unit.len() * 8);
                let Some(current) = held.begin(&slice, sequence) else {
                    held.clear();
                    continue;
                };
                if slice.kind == SliceKind::Predicted
                    && held.list(&slice, sequence, &picture, &mut list).is_some()
                {
                    assert!(list.iter().all(|listed| held.has(&listed.what)));
                    assert!(!list.is_empty());
                }
                pictures += 1;
                held.end(&current, &slice, sequence, pictures);
                assert!(held.is_begun() && held.held().len() <= MOST_HELD);
                assert_eq!(held.has(&pictures), current.is_reference);
            }
        }
    }
    pictures
}

#[cfg(test)]
mod tests {
    use heliostat_video::{Encoder, Picture, Quality, Size};
    use proptest::prelude::*;

    use super::*;

    fn film() -> Vec<u8> {
        let size = Size { w: 64, h: 48 };
        let mut encoder = Encoder::new(size, Quality::default()).unwrap();
        let (mut picture, mut all) = (Picture::default(), Vec::new());
        for time in 0..6 {
            let pixels: Vec<u32> = (0..64 * 48).map(|n| n * 977 + time * 31).collect();
            assert!(picture.take(size, &pixels));
            let mut unit = Vec::new();
            encoder.encode(&picture, time == 4, &mut unit).unwrap();
            all.extend(unit);
        }
        all
    }

    #[test]
    fn every_picture_of_a_film_is_counted() {
        assert_eq!(references(&film()), 6);
    }

    proptest! {
        #[test]
        fn damaged_films_hold_no_more_than_they_may(
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..40), 0..12),
        ) {
            let mut film = film();
            let starts: Vec<usize> = film.windows(3).enumerate()
                .filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
            for (index, value, beside) in hits {
                // Headers are what counts here.
                let at = (starts[index.index(starts.len())] + 3 + beside).min(film.len() - 1);
                film[at] ^= value;
            }
            references(&film);
        }
    }
}
