//! How an output last showed videos, and what has to be drawn when that changes.

use heliostat_wire::id::VideoId;

use crate::geometry::{Damage, Rect};
use crate::planes::{Arrangement, Ground, Wanted, Way};

/// One video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    way: Way,
    area: Rect,
    number: u64,
}

/// How an output shows videos.
#[derive(Debug, Default)]
pub struct Films {
    seen: Vec<(VideoId, Seen)>,
    /// Memory that is used again.
    before: Vec<(VideoId, Seen)>,
    has_holes: bool,
}

impl Films {
    /// Takes another arrangement for an output of `bounds`; `number` counts pictures. Adds what has to
    /// be drawn to `damage`, and puts videos whose picture is another one in place of what `other` has.
    pub fn change(
        &mut self,
        bounds: Rect,
        (wanted, arrangement): (&[Wanted], &Arrangement),
        number: impl Fn(VideoId) -> Option<u64>,
        (damage, other): (&mut Damage, &mut Vec<VideoId>),
    ) {
        std::mem::swap(&mut self.seen, &mut self.before);
        self.seen.clear();
        other.clear();
        for wanted in wanted {
            let way = arrangement.way(wanted.video).unwrap_or(Way::Hidden);
            let now = Seen {
                way,
                area: wanted.area,
                number: number(wanted.video).unwrap_or(0),
            };
            let mut known = self.before.iter();
            let at = known.position(|(video, _)| *video == wanted.video);
            let before = at.map(|at| self.before.swap_remove(at).1);
            if before.is_none_or(|before| before.number != now.number) {
                other.push(wanted.video);
            }
            draw(before, now, damage);
            self.seen.push((wanted.video, now));
        }
        // Those that are left are not seen any more, or are among their layers' pixels.
        for (_, gone) in self.before.drain(..) {
            if gone.way.is_plane() {
                damage.add(gone.area);
            }
        }
        let has_holes = arrangement.layout.ground == Ground::Holed;
        if has_holes && !self.has_holes {
            // All pixels need an alpha now.
            damage.add(bounds);
        }
        self.has_holes = has_holes;
    }
}

/// What has to be drawn for a video that is shown another way, elsewhere, or with another picture.
fn draw(before: Option<Seen>, now: Seen, damage: &mut Damage) {
    let is_same_place = before.is_some_and(|b| b.area == now.area && same_kind(b.way, now.way));
    let is_same_picture = before.is_some_and(|before| before.number == now.number);
    if is_same_place && (is_same_picture || now.way.is_plane() || now.way == Way::Hidden) {
        return;
    }
    damage.add(now.area);
    if let Some(before) = before.filter(|_| !is_same_place) {
        damage.add(before.area);
    }
}

fn same_kind(a: Way, b: Way) -> bool {
    std::mem::discriminant(&a) == std::mem::discriminant(&b)
}

#[cfg(test)]
mod tests {
    use heliostat_va::abi::fourcc;

    use super::*;
    use crate::planes::{Cover, Format, LINEAR, Layout, PlaneId, Why};

    const BOUNDS: Rect = Rect {
        x: 0,
        y: 0,
        w: 900,
        h: 900,
    };
    const HERE: Rect = Rect {
        x: 10,
        y: 10,
        w: 20,
        h: 20,
    };
    const THERE: Rect = Rect {
        x: 500,
        y: 500,
        w: 20,
        h: 20,
    };
    const FILM: VideoId = VideoId(3);

    fn change(films: &mut Films, area: Rect, way: Option<Way>, number: u64) -> (Vec<Rect>, usize) {
        let wanted = Wanted {
            video: FILM,
            format: Format {
                code: fourcc(b"NV12"),
                modifier: LINEAR,
            },
            converted: None,
            fit: None,
            area,
            cover: Cover::None,
        };
        let ground = match way {
            Some(Way::Under(_)) => Ground::Holed,
            _ => Ground::Drawn,
        };
        let arrangement = Arrangement {
            videos: way.map(|way| (FILM, way)).into_iter().collect(),
            layout: Layout {
                ground,
                ..Layout::default()
            },
        };
        let wanted = if way.is_some() {
            vec![wanted]
        } else {
            Vec::new()
        };
        let (mut damage, mut other) = (Damage::new(), Vec::new());
        films.change(
            BOUNDS,
            (&wanted, &arrangement),
            |_| Some(number),
            (&mut damage, &mut other),
        );
        (damage.rects().to_vec(), other.len())
    }

    #[test]
    fn only_what_no_plane_shows_is_drawn() {
        let (plane, copied) = (Way::Over(PlaneId(7)), Way::Copied(Why::NoFit));
        let mut films = Films::default();
        assert_eq!(change(&mut films, HERE, Some(copied), 1), (vec![HERE], 1));
        assert_eq!(change(&mut films, HERE, Some(copied), 1), (vec![], 0));
        assert_eq!(change(&mut films, HERE, Some(copied), 2), (vec![HERE], 1));
        assert_eq!(change(&mut films, HERE, Some(plane), 2), (vec![HERE], 0));
        assert_eq!(change(&mut films, HERE, Some(plane), 3), (vec![], 1));
        let (drawn, _) = change(&mut films, THERE, Some(plane), 3);
        assert!(drawn.contains(&HERE) && drawn.contains(&THERE));
        assert_eq!(change(&mut films, THERE, Some(copied), 3), (vec![THERE], 0));
        assert_eq!(change(&mut films, THERE, Some(plane), 4), (vec![THERE], 1));
        // The plane goes with the video.
        assert_eq!(change(&mut films, THERE, None, 0), (vec![THERE], 0));
        assert_eq!(change(&mut films, THERE, None, 0), (vec![], 0));
    }

    #[test]
    fn everything_is_drawn_once_before_there_are_holes() {
        let mut films = Films::default();
        let under = Some(Way::Under(PlaneId(7)));
        assert_eq!(change(&mut films, HERE, under, 1), (vec![BOUNDS], 1));
        assert_eq!(change(&mut films, HERE, under, 2), (vec![], 1));
        let copied = Some(Way::Copied(Why::NoFit));
        assert_eq!(change(&mut films, HERE, copied, 2), (vec![HERE], 0));
        assert_eq!(change(&mut films, HERE, under, 2), (vec![BOUNDS], 0));
    }
}
