//! What the session says of how far its terminal is.

use std::time::Duration;

use heliostat_control::stats::{Behind, LayerKind, LayerStats};

use super::client::Painting;
use super::fixture::Fixture;

const WINDOW: Painting = Painting {
    w: 200,
    h: 100,
    seed: 1,
};

fn behind(fixture: &mut Fixture) -> Behind {
    let link = fixture.stats().link.expect("attached");
    link.behind.expect("this session says it")
}

#[test]
fn terminal_is_lossless_once_everything_is_acknowledged_and_not_before() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    fixture.acknowledge(false);
    let window = fixture.open(WINDOW);
    fixture.settle();
    let open = behind(&mut fixture);
    assert!(open.frames_in_flight > 0, "{open:?}");
    // 200 by 100 pixels are 4 by 2 tiles.
    assert!(open.tiles_in_flight + open.dirty_tiles >= 8, "{open:?}");
    assert_eq!(open.lossless_since_s, None);
    assert!(open.layers_behind > 0 && open.behind_for_ms.is_some());

    fixture.acknowledge(true);
    fixture.settle();
    let all = Behind {
        lossless_since_s: Some(0),
        layers: 1,
        ..Behind::default()
    };
    assert_eq!(behind(&mut fixture), all);

    fixture.acknowledge(false);
    fixture.client(window).invert(0, 0, 5, 5);
    fixture.settle();
    let one_tile = Behind {
        frames_in_flight: 1,
        tiles_in_flight: 1,
        layers: 1,
        layers_behind: 1,
        ..Behind::default()
    };
    let mut now = behind(&mut fixture);
    assert!(now.behind_for_ms.take().is_some());
    assert_eq!(now, one_tile);
    for _ in 0..8 {
        fixture.client(window).invert(0, 0, 5, 5);
        fixture.settle();
        fixture.client(window).invert(100, 50, 50, 5);
        fixture.settle();
    }
    let stuck = behind(&mut fixture);
    assert_eq!(stuck.frames_in_flight, 3, "the terminal queues no more");
    assert!(stuck.dirty_tiles > 0, "{stuck:?}");

    fixture.acknowledge(true);
    fixture.settle();
    assert_eq!(behind(&mut fixture), all);
}

/// How each layer does, the largest first.
fn layers(fixture: &mut Fixture) -> Vec<LayerStats> {
    let link = fixture.stats().link.expect("attached");
    let layers = link.layers.expect("this session says it");
    assert_eq!(layers.left_out, 0);
    layers.largest
}

/// Their sizes, kinds, and whether each is lossless.
fn states(fixture: &mut Fixture) -> Vec<((u32, u32), LayerKind, bool)> {
    let layers = layers(fixture).into_iter();
    layers
        .map(|l| ((l.w, l.h), l.kind, l.lossless_since_s.is_some()))
        .collect()
}

#[test]
fn each_layer_is_lossless_by_itself() {
    const LARGER: Painting = Painting { w: 210, ..WINDOW };
    let (larger, smaller) = ((210, 100), (200, 100));
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    fixture.acknowledge(false);
    let window = fixture.open(WINDOW);
    fixture.settle();
    let unknown = [(smaller, LayerKind::Tiles, false)];
    assert_eq!(states(&mut fixture), unknown, "nothing is acknowledged");

    fixture.acknowledge(true);
    let other = fixture.open(LARGER);
    fixture.settle();
    let both = [
        (larger, LayerKind::Tiles, true),
        (smaller, LayerKind::Tiles, true),
    ];
    assert_eq!(states(&mut fixture), both);
    let ids = |layers: Vec<LayerStats>| layers.iter().map(|l| l.layer).collect::<Vec<_>>();
    let before = ids(layers(&mut fixture));
    assert_ne!(before[0], before[1]);

    fixture.acknowledge(false);
    fixture.client(window).invert(0, 0, 5, 5);
    fixture.settle();
    let one = [
        (larger, LayerKind::Tiles, true),
        (smaller, LayerKind::Tiles, false),
    ];
    assert_eq!(states(&mut fixture), one);
    assert_eq!(ids(layers(&mut fixture)), before);

    fixture.acknowledge(true);
    fixture.settle();
    assert_eq!(states(&mut fixture), both);
    fixture.close(other);
    fixture.settle();
    assert_eq!(states(&mut fixture), both[1..]);
}

#[test]
fn another_terminal_begins_with_nothing() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    fixture.open(WINDOW);
    fixture.settle();
    assert!(behind(&mut fixture).lossless_since_s.is_some());
    fixture.acknowledge(false);
    fixture.attach("b", (640, 480));
    fixture.settle();
    assert_eq!(behind(&mut fixture).lossless_since_s, None);
    fixture.detach();
    fixture.turn_for(Duration::from_millis(5));
    assert_eq!(fixture.stats().link, None);
}

#[test]
fn frames_tiles_and_times_are_counted() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    let before = fixture.stats();
    fixture.client(window).invert(0, 0, 5, 5);
    fixture.settle();
    let after = fixture.stats();
    assert_eq!(after.tiles, before.tiles + 1);
    assert_eq!(after.frames, before.frames + 1);
    assert_eq!(after.frames_shown, after.frames);
    assert_eq!(after.encode.counts.iter().sum::<u64>(), after.frames);
    assert!(after.encode.sum_us > before.encode.sum_us);
    assert!(after.encode.p50_us <= after.encode.p99_us);
    assert!(after.up_ms >= before.up_ms);
}
