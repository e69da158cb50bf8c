//! What of a film has changed since its last picture was taken, going by damage.
//!
//! ```text
//!               a picture is taken
//!   Anything ───────────────────────► Parts ◄─┐
//!      ▲                               │  └───┘ something of it is damaged
//!      └───────────────────────────────┘
//!        it has begun, is sent anew, or has changed as nobody has said
//! ```

use heliostat_compose::geometry::{Damage, Rect};

/// See above.
#[derive(Debug, Default)]
pub enum News {
    /// Whatever there is of it.
    #[default]
    Anything,
    /// Nothing beside these parts of the layer.
    Parts(Damage),
}

impl News {
    /// Some of it is damaged.
    pub(super) fn damage(&mut self, part: heliostat_tiles::Rect) {
        if let Self::Parts(damage) = self {
            damage.add(Rect::of_area(part.x, part.y, part.w, part.h));
        }
    }

    /// A picture of it is taken: this was the news of it.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Parts(Damage::new()))
    }

    /// Where the picture that was taken, which is `film` of the layer, may differ from the one before, in its
    /// own pixels; nothing where nobody knows.
    #[cfg(feature = "gpu")]
    pub fn within(
        &self,
        film: heliostat_tiles::Rect,
    ) -> Option<impl Iterator<Item = heliostat_tiles::Rect>> {
        let Self::Parts(damage) = self else {
            return None;
        };
        let within = Rect::of_area(film.x, film.y, film.w, film.h);
        Some(damage.rects().iter().filter_map(move |rect| {
            let Rect { x, y, w, h } = rect.intersection(within)?;
            let [x, y] = [x - within.x, y - within.y].map(i32::unsigned_abs);
            let [w, h] = [w, h].map(i32::unsigned_abs);
            Some(heliostat_tiles::Rect { x, y, w, h })
        }))
    }
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use heliostat_tiles::Rect;
    use proptest::prelude::*;

    use super::*;

    const FILM: Rect = Rect {
        x: 30,
        y: 20,
        w: 90,
        h: 60,
    };

    fn part() -> impl Strategy<Value = Rect> {
        (0u32..150, 0u32..100, 1u32..40, 1u32..40).prop_map(|(x, y, w, h)| Rect { x, y, w, h })
    }

    /// Whether a place of the layer is in one of the parts, which are in the film's own pixels.
    fn are_at(parts: &[Rect], (x, y): (u32, u32)) -> bool {
        let is_in = |part: &Rect| {
            let (left, top) = (FILM.x + part.x, FILM.y + part.y);
            (left..left + part.w).contains(&x) && (top..top + part.h).contains(&y)
        };
        parts.iter().any(is_in)
    }

    proptest! {
        #[test]
        fn all_that_was_damaged_since_the_last_picture_is_told_with_the_next(
            pictures in prop::collection::vec(prop::collection::vec(part(), 0..30), 1..6),
        ) {
            let mut news = News::default();
            news.damage(FILM);
            prop_assert!(news.take().within(FILM).is_none());
            for damaged in pictures {
                damaged.iter().for_each(|part| news.damage(*part));
                let told: Vec<_> = news.take().within(FILM).unwrap().collect();
                for part in &told {
                    prop_assert!(part.x + part.w <= FILM.w && part.y + part.h <= FILM.h);
                }
                for part in damaged.iter().filter_map(|part| part.intersection(FILM)) {
                    let (right, bottom) = (part.x + part.w - 1, part.y + part.h - 1);
                    for corner in [(part.x, part.y), (right, part.y), (part.x, bottom), (right, bottom)] {
                        prop_assert!(are_at(&told, corner), "{part:?} is not in {told:?}");
                    }
                }
                prop_assert_eq!(news.take().within(FILM).unwrap().count(), 0);
            }
        }
    }
}
