use heliostat_va::decoder::converter::RGB;
use proptest::prelude::*;

use super::*;

const BOUNDS: Rect = Rect {
    x: 0,
    y: 0,
    w: 100,
    h: 80,
};
const TILED: u64 = 1 << 56 | 2;

fn nv12(modifier: u64) -> Format {
    Format {
        code: NV12,
        modifier,
    }
}

fn plane(id: u32, heights: Heights) -> Plane {
    let drawn = Format {
        code: ARGB,
        modifier: LINEAR,
    };
    Plane {
        id: PlaneId(id),
        formats: vec![drawn, nv12(LINEAR), nv12(TILED)],
        heights,
        is_bt709: true,
    }
}

fn planes(overlays: u32) -> Planes {
    Planes {
        primary: plane(1, Heights::Fixed(10)),
        overlays: (0..overlays)
            .map(|n| plane(2 + n, Heights::Range(0, 20)))
            .collect(),
        cursor: Some(plane(99, Heights::Fixed(255))),
    }
}

fn video(id: u32, dst: (i32, i32, i32, i32), cover: Cover) -> Wanted {
    let (x, y, w, h) = dst;
    let dst = Rect { x, y, w, h };
    Wanted {
        video: VideoId(id),
        format: nv12(LINEAR),
        converted: None,
        fit: Some(Fit {
            source: [0, 0, (w as u32) << 16, (h as u32) << 16],
            dst,
        }),
        area: dst,
        cover,
    }
}

fn ways(planes: &Planes, wanted: &[Wanted]) -> Vec<Way> {
    let planned = plan(BOUNDS, planes, wanted, &mut |_| true);
    planned.videos.into_iter().map(|(_, way)| way).collect()
}

#[test]
fn video_goes_over_what_is_drawn_and_under_it_where_something_is_over_the_video() {
    let over = [video(1, (5, 5, 40, 40), Cover::None)];
    assert_eq!(ways(&planes(2), &over), [Way::Over(PlaneId(2))]);
    let under = [video(1, (5, 5, 40, 40), Cover::Part)];
    assert_eq!(ways(&planes(2), &under), [Way::Under(PlaneId(2))]);
    let planned = plan(BOUNDS, &planes(2), &under, &mut |_| true);
    assert_eq!(planned.layout.ground, Ground::Holed);
    assert_eq!(planned.layout.heights, [(PlaneId(2), 0)]);
    let hidden = [video(1, (5, 5, 40, 40), Cover::Whole)];
    assert_eq!(ways(&planes(2), &hidden), [Way::Hidden]);
}

#[test]
fn video_is_converted_only_where_no_plane_shows_it_as_it_is() {
    let rgb = Format {
        code: RGB.drm,
        modifier: LINEAR,
    };
    let mut wanted = video(1, (5, 5, 40, 40), Cover::None);
    let used = |planes: &Planes, wanted: Wanted, takes: fn(&Layout) -> bool| {
        let planned = plan(BOUNDS, planes, &[wanted], &mut |layout| takes(layout));
        let format = planned.layout.uses.first().map(|u| u.format);
        (planned.videos[0].1, format)
    };
    wanted.converted = Some(rgb);
    let mut planes = planes(1);
    let over = Way::Over(PlaneId(2));
    planes.overlays[0].formats.push(rgb);
    let any: fn(&Layout) -> bool = |_| true;
    assert_eq!(used(&planes, wanted, any), (over, Some(wanted.format)));
    // The driver refuses, or the plane shows no NV12, or makes of it what it likes.
    let no_nv12: fn(&Layout) -> bool = |layout| layout.uses[0].format.code != NV12;
    assert_eq!(used(&planes, wanted, no_nv12), (over, Some(rgb)));
    planes.overlays[0].is_bt709 = false;
    assert_eq!(used(&planes, wanted, any), (over, Some(rgb)));
    planes.overlays[0].formats = vec![rgb];
    assert_eq!(used(&planes, wanted, any), (over, Some(rgb)));
    wanted.converted = None;
    let copied = Way::Copied(Why::NoneLeft);
    assert_eq!(used(&planes, wanted, any), (copied, None));
}

#[test]
fn video_that_fills_the_screen_is_scanned_out_in_place_of_what_is_drawn() {
    let full = [
        video(1, (10, 10, 20, 20), Cover::None),
        video(2, (0, 0, 100, 80), Cover::None),
    ];
    assert_eq!(ways(&planes(2), &full), [Way::Hidden, Way::Primary]);
    let mut no_nv12 = planes(2);
    no_nv12.primary.formats.truncate(1);
    let alone = &full[1..];
    assert_eq!(ways(&no_nv12, alone), [Way::Over(PlaneId(2))]);
    let covered = [video(2, (0, 0, 100, 80), Cover::Part)];
    assert_eq!(ways(&planes(2), &covered), [Way::Under(PlaneId(2))]);
}

#[test]
fn largest_videos_get_the_planes_and_the_rest_is_copied_with_its_reason() {
    let three = [
        video(1, (0, 0, 20, 20), Cover::None),
        video(2, (30, 0, 40, 40), Cover::None),
        video(3, (0, 40, 30, 30), Cover::None),
    ];
    let expected = [
        Way::Copied(Why::NoneLeft),
        Way::Over(PlaneId(2)),
        Way::Over(PlaneId(3)),
    ];
    assert_eq!(ways(&planes(2), &three), expected);
    let mut other = three[1];
    other.format.modifier = 7;
    let mut turned = three[0];
    turned.fit = None;
    let copied = [Way::Copied(Why::NoneLeft), Way::Copied(Why::NoFit)];
    assert_eq!(ways(&planes(2), &[other, turned]), copied);
    let mut unsaid = planes(1);
    unsaid.overlays[0].heights = Heights::Unsaid;
    let covered = [video(1, (0, 0, 20, 20), Cover::Part)];
    assert_eq!(ways(&unsaid, &covered), [Way::Copied(Why::Covered)]);
    assert_eq!(ways(&unsaid, &three[..1]), [Way::Over(PlaneId(2))]);
    unsaid.overlays[0].is_bt709 = false;
    unsaid.primary.is_bt709 = false;
    assert_eq!(ways(&unsaid, &three[..1]), [Way::Copied(Why::Colours)]);
    let refused = plan(BOUNDS, &planes(2), &three[..1], &mut |_| false);
    assert_eq!(refused.videos[0].1, Way::Copied(Why::Refused));
    assert_eq!(refused.layout, Layout::default());
}

#[test]
fn videos_that_overlap_are_not_both_seen_through_holes() {
    let two = [
        video(1, (0, 0, 40, 40), Cover::Part),
        video(2, (20, 20, 60, 60), Cover::Part),
    ];
    let expected = [Way::Copied(Why::Covered), Way::Under(PlaneId(2))];
    assert_eq!(ways(&planes(2), &two), expected);
}

fn heights() -> impl Strategy<Value = Heights> {
    prop_oneof![
        Just(Heights::Unsaid),
        (0u64..9).prop_map(Heights::Fixed),
        (0u64..5, 0u64..9).prop_map(|(least, more)| Heights::Range(least, least + more)),
    ]
}

fn any_plane(id: u32) -> impl Strategy<Value = Plane> {
    (heights(), any::<[bool; 4]>()).prop_map(move |(heights, has)| {
        let mut plane = plane(id, heights);
        let mut keep = has.into_iter();
        plane.formats.retain(|_| keep.next() == Some(true));
        plane.is_bt709 = has[3] || has[0];
        plane
    })
}

fn any_planes() -> impl Strategy<Value = Planes> {
    let overlays = (any_plane(2), any_plane(3), any_plane(4), 0usize..4);
    let overlays = overlays.prop_map(|(a, b, c, count)| {
        let mut all = vec![a, b, c];
        all.truncate(count);
        all
    });
    (any_plane(1), overlays, any_plane(99), any::<bool>()).prop_map(
        |(primary, overlays, cursor, has_cursor)| Planes {
            primary,
            overlays,
            cursor: has_cursor.then_some(cursor),
        },
    )
}

fn any_video(id: u32) -> impl Strategy<Value = Wanted> {
    let place = (-10i32..90, -10i32..70, 1i32..110, 1i32..90);
    let full = prop_oneof![3 => place, 1 => Just((0, 0, 100, 80))];
    let cover = prop_oneof![Just(Cover::None), Just(Cover::Part), Just(Cover::Whole)];
    (full, cover, any::<[bool; 3]>()).prop_map(move |(place, cover, bits)| {
        let mut wanted = video(id, place, cover);
        if bits[0] {
            wanted.format.modifier = if bits[1] { TILED } else { UNSAID };
        }
        if bits[1] && bits[2] {
            wanted.fit = None;
        }
        wanted
    })
}

/// Where a plane stands in a layout, if anybody knows.
fn height(planes: &Planes, layout: &Layout, id: PlaneId) -> Option<u64> {
    let told = layout.heights.iter().find(|(plane, _)| *plane == id);
    let all = planes.overlays.iter().chain([&planes.primary]);
    let plane = all.chain(&planes.cursor).find(|p| p.id == id)?;
    match (plane.heights, told) {
        (Heights::Fixed(height), None) => Some(height),
        (Heights::Range(least, most), Some((_, height))) => {
            assert!((least..=most).contains(height));
            Some(*height)
        }
        (Heights::Fixed(_), Some(_)) => panic!("{id:?} cannot be put anywhere"),
        (Heights::Unsaid | Heights::Range(..), _) => None,
    }
}

proptest! {
    #[test]
    fn whatever_planes_and_videos_there_are_nothing_is_shown_wrongly(
        planes in any_planes(),
        wanted in (any_video(1), any_video(2), any_video(3), any_video(4), 0usize..5)
            .prop_map(|(a, b, c, d, count)| { let mut all = vec![a, b, c, d]; all.truncate(count); all }),
        answers in prop::collection::vec(any::<bool>(), 16),
    ) {
        let mut asked = Vec::new();
        let planned = plan(BOUNDS, &planes, &wanted, &mut |layout| {
            let answer = answers[asked.len()];
            asked.push((layout.clone(), answer));
            answer
        });
        prop_assert!(asked.len() <= MOST_QUESTIONS);
        let layout = &planned.layout;
        // What is relied on is what was judged last of all that was allowed.
        let allowed = asked.iter().rev().find(|(_, answer)| *answer).map(|(layout, _)| layout);
        prop_assert_eq!(allowed.cloned().unwrap_or_default(), layout.clone());
        let videos: Vec<_> = planned.videos.iter().map(|(video, _)| *video).collect();
        prop_assert_eq!(videos, wanted.iter().map(|w| w.video).collect::<Vec<_>>());
        let mut used: Vec<_> = layout.uses.iter().map(|u| u.plane).collect();
        used.sort();
        used.dedup();
        prop_assert_eq!(used.len(), layout.uses.len());
        let on_planes = planned.videos.iter().filter(|(_, way)| way.is_plane()).count();
        prop_assert_eq!(on_planes, layout.uses.len());
        let mut holes: Vec<Rect> = Vec::new();
        let primary = height(&planes, layout, planes.primary.id);
        for (wanted, (_, way)) in wanted.iter().zip(&planned.videos) {
            let used = layout.uses.iter().find(|u| u.video == wanted.video);
            prop_assert_eq!(used.is_some(), way.is_plane());
            prop_assert!(wanted.cover != Cover::Whole || *way == Way::Hidden);
            prop_assert!(!matches!(way, Way::Copied(_)) || layout.ground != Ground::Video);
            let Some(used) = used else { continue };
            prop_assert_eq!((Some(used.fit), used.format), (wanted.fit, wanted.format));
            let mut all = planes.overlays.iter().chain([&planes.primary]);
            let plane = all.find(|plane| plane.id == used.plane).unwrap();
            prop_assert!(plane.takes(used.format) && plane.is_bt709);
            let here = height(&planes, layout, used.plane);
            let cursor = planes.cursor.as_ref().and_then(|c| height(&planes, layout, c.id));
            if let (Some(here), Some(cursor)) = (here, cursor) {
                prop_assert!(here < cursor);
            }
            match way {
                Way::Primary => {
                    prop_assert!(used.fit.dst.contains(BOUNDS) && wanted.cover == Cover::None);
                    prop_assert!(layout.uses.len() == 1 && layout.ground == Ground::Video);
                }
                Way::Over(_) => {
                    prop_assert_eq!(wanted.cover, Cover::None);
                    if let (Some(here), Some(primary)) = (here, primary) {
                        prop_assert!(here > primary);
                    }
                }
                Way::Under(_) => {
                    prop_assert_eq!(layout.ground, Ground::Holed);
                    prop_assert!(here.unwrap() < primary.unwrap());
                    prop_assert!(holes.iter().all(|hole| hole.intersection(used.fit.dst).is_none()));
                    holes.push(used.fit.dst);
                }
                Way::Hidden | Way::Copied(_) => unreachable!("it has a plane"),
            }
        }
    }
}
