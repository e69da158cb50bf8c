//! What films may cost on links of all rates.

use heliostat_tiles::Rect;
use proptest::prelude::*;

use super::*;

const LARGE: Rect = Rect {
    x: 40,
    y: 30,
    w: 1280,
    h: 720,
};

fn bits(rect: Rect, rate: Option<u64>) -> u64 {
    quality(rect, rate).bits_per_second.into()
}

#[test]
fn film_follows_the_rate_of_its_link_and_leaves_room_on_it() {
    // Bytes a second: what is between is six tenths of the link's bits.
    for (rate, wanted) in [
        (0, FEWEST_BITS),
        (25_000, FEWEST_BITS),
        (250_000, 1_200_000),
        (625_000, 3_000_000),
        (1_250_000, 6_000_000),
    ] {
        assert_eq!(bits(LARGE, Some(rate)), wanted, "{rate} bytes a second");
    }
}

#[test]
fn wide_link_and_one_of_which_nothing_is_known_give_what_the_picture_needs_and_no_more() {
    let enough = bits(LARGE, None);
    let pictures = Quality::default().pictures_per_second as u64;
    assert_eq!(enough, 1280 * 720 * pictures / 2);
    assert_eq!(bits(LARGE, Some(125_000_000)), enough);
    assert_eq!(bits(LARGE, Some(u64::MAX)), enough);
    // A small one needs less on the same link, but never too little to be looked at.
    let small = Rect {
        w: 320,
        h: 180,
        ..LARGE
    };
    assert_eq!(bits(small, None), enough / 16);
    let tiny = Rect {
        w: 16,
        h: 16,
        ..LARGE
    };
    assert_eq!(bits(tiny, None), FEWEST_BITS);
}

#[test]
fn only_the_bits_follow_the_link() {
    let fine = Quality::default();
    let narrow = quality(LARGE, Some(100_000));
    assert_eq!(narrow.pictures_per_second, fine.pictures_per_second);
    assert!(narrow.bits_per_second < quality(LARGE, None).bits_per_second);
}

proptest! {
    #[test]
    fn more_rate_is_never_worse(
        (w, h) in (1u32..4096, 1u32..4096),
        (one, other) in (any::<u64>(), any::<u64>()),
    ) {
        let rect = Rect { w, h, ..LARGE };
        let (less, more) = (one.min(other), one.max(other));
        prop_assert!(bits(rect, Some(less)) <= bits(rect, Some(more)));
        prop_assert!(bits(rect, Some(more)) <= bits(rect, None));
        prop_assert!(bits(rect, Some(less)) >= FEWEST_BITS);
    }
}

#[test]
fn picture_of_a_film_that_is_given_up_is_late_no_more() {
    let mut videos = Videos::default();
    let layer = LayerId(1);
    let [one, other] = [1, 2].map(|seconds| {
        let video = videos.open(layer, LARGE, Coder::Processor);
        let until = Instant::now() + Duration::from_secs(seconds);
        let stage = Stage::Encoding { until: Some(until) };
        videos.open.get_mut(&video).expect("open").stage = stage;
        (video, until)
    });
    assert_eq!(videos.late_at(), Some(one.1));
    videos.expect_nothing_of(one.0);
    assert_eq!(videos.late_at(), Some(other.1));
    videos.expect_nothing_of(other.0);
    assert_eq!(videos.late_at(), None);
    // They are open, and nobody encodes their next picture, until a frame says that they are over.
    assert!([one, other].iter().all(|(video, _)| videos.is_open(*video)));
    assert!(
        [one, other]
            .iter()
            .all(|(video, _)| !videos.is_free(*video))
    );
}
