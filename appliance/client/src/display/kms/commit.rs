//! What planes are told in one commit. Pure.

use crate::planes::{Fit, PlaneId};

/// A plane that shows a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct On {
    /// The plane.
    pub plane: PlaneId,
    /// The kernel's number of the surface's framebuffer.
    pub framebuffer: u32,
    /// What of it goes where.
    pub fit: Fit,
    /// Values of `COLOR_ENCODING` and `COLOR_RANGE`.
    pub colours: Option<(u64, u64)>,
}

/// A property of a plane, and its value from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// The plane.
    pub plane: PlaneId,
    /// The property.
    pub name: &'static str,
    /// The value.
    pub value: u64,
}

/// Gives all that planes with videos are told to `tell`: those that show one, those that did `before`
/// and do not any more, and where they stand.
pub fn films(
    crtc: u32,
    on: impl Iterator<Item = On> + Clone,
    before: impl Iterator<Item = PlaneId>,
    heights: &[(PlaneId, u64)],
    tell: &mut impl FnMut(Set),
) {
    for on in on.clone() {
        let plane = on.plane;
        let told = place(on.framebuffer, crtc, on.fit);
        told.into_iter()
            .for_each(|(name, value)| tell(Set { plane, name, value }));
        if let Some((encoding, range)) = on.colours {
            let told = [("COLOR_ENCODING", encoding), ("COLOR_RANGE", range)];
            told.into_iter()
                .for_each(|(name, value)| tell(Set { plane, name, value }));
        }
    }
    for plane in before {
        if on.clone().all(|on| on.plane != plane) {
            off(plane, tell);
        }
    }
    for &(plane, value) in heights {
        let name = "zpos";
        tell(Set { plane, name, value });
    }
}

/// A plane that shows nothing any more.
pub fn off(plane: PlaneId, tell: &mut impl FnMut(Set)) {
    for name in ["FB_ID", "CRTC_ID"] {
        let value = 0;
        tell(Set { plane, name, value });
    }
}

/// A plane's properties while it shows a part of a framebuffer.
pub fn place(framebuffer: u32, crtc: u32, fit: Fit) -> [(&'static str, u64); 10] {
    let [x, y, w, h] = fit.source.map(u64::from);
    let signed = |value: i32| i64::from(value) as u64;
    [
        ("FB_ID", framebuffer.into()),
        ("CRTC_ID", crtc.into()),
        ("SRC_X", x),
        ("SRC_Y", y),
        ("SRC_W", w),
        ("SRC_H", h),
        ("CRTC_X", signed(fit.dst.x)),
        ("CRTC_Y", signed(fit.dst.y)),
        ("CRTC_W", signed(fit.dst.w)),
        ("CRTC_H", signed(fit.dst.h)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Rect;

    const FIT: Fit = Fit {
        source: [1 << 16, 2 << 15, 64 << 16, 48 << 16],
        dst: Rect {
            x: -5,
            y: 7,
            w: 128,
            h: 96,
        },
    };

    fn told(on: &[On], before: &[PlaneId], heights: &[(PlaneId, u64)]) -> Vec<Set> {
        let (on, before) = (on.iter().copied(), before.iter().copied());
        let mut sets = Vec::new();
        films(41, on, before, heights, &mut |set| sets.push(set));
        sets
    }

    #[test]
    fn plane_is_told_what_of_a_framebuffer_goes_where_and_in_which_colours() {
        let on = On {
            plane: PlaneId(9),
            framebuffer: 31,
            fit: FIT,
            colours: Some((1, 0)),
        };
        let sets = told(&[on], &[], &[(PlaneId(9), 3)]);
        let value = |name| sets.iter().find(|set| set.name == name).unwrap().value;
        assert_eq!((value("FB_ID"), value("CRTC_ID")), (31, 41));
        assert_eq!((value("SRC_X"), value("SRC_Y")), (65536, 65536));
        assert_eq!((value("SRC_W"), value("SRC_H")), (64 << 16, 48 << 16));
        assert_eq!(value("CRTC_X") as i64, -5);
        assert_eq!((value("CRTC_Y"), value("CRTC_W")), (7, 128));
        assert_eq!((value("COLOR_ENCODING"), value("COLOR_RANGE")), (1, 0));
        assert_eq!(value("zpos"), 3);
    }

    /// A display that does what it is told: which plane shows which framebuffer.
    #[derive(Default)]
    struct Fake(BTreeMap<PlaneId, BTreeMap<&'static str, u64>>);

    impl Fake {
        fn commit(&mut self, sets: &[Set]) {
            for set in sets {
                let plane = self.0.entry(set.plane).or_default();
                plane.insert(set.name, set.value);
            }
        }

        fn shown(&self) -> BTreeMap<PlaneId, u64> {
            let shows = |plane: &BTreeMap<_, u64>| plane.get("FB_ID").copied().filter(|fb| *fb > 0);
            let all = self.0.iter();
            all.filter_map(|(id, plane)| Some((*id, shows(plane)?)))
                .collect()
        }
    }

    proptest! {
        #[test]
        fn planes_show_what_was_told_last_and_nothing_from_before(
            pictures in prop::collection::vec(
                prop::collection::btree_map(1u32..6, 1u32..100, 0..5), 1..20),
        ) {
            let mut display = Fake::default();
            let mut before: Vec<PlaneId> = Vec::new();
            for picture in pictures {
                let on: Vec<On> = picture.iter().map(|(plane, framebuffer)| On {
                    plane: PlaneId(*plane),
                    framebuffer: *framebuffer,
                    fit: FIT,
                    colours: None,
                }).collect();
                let sets = told(&on, &before, &[]);
                let mut names: Vec<_> = sets.iter().map(|set| (set.plane, set.name)).collect();
                names.sort();
                names.dedup();
                prop_assert_eq!(names.len(), sets.len(), "something is told twice");
                display.commit(&sets);
                let wanted = picture.iter().map(|(plane, fb)| (PlaneId(*plane), u64::from(*fb)));
                prop_assert_eq!(display.shown(), wanted.collect());
                for plane in display.0.values() {
                    prop_assert_eq!(plane["FB_ID"] == 0, plane["CRTC_ID"] == 0);
                }
                before = picture.keys().map(|plane| PlaneId(*plane)).collect();
            }
        }
    }
}
