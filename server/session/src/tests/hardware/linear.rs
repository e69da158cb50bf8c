//! Linear buffers that were tried out, and what becomes of those that the encoder refuses.

use heliostat_va::dmabuf::{FORMATS, LINEAR};
use smithay::backend::allocator::Fourcc;

use super::super::lent::{ARGB, XBGR};
use super::stage::alone_with;
use super::*;
use crate::gpu::{Gpu, check};

/// The probe makes ten surfaces and each encoder four; the one after that is the buffer. They are tried in
/// the order of `FORMATS`.
fn import_of(format: usize) -> String {
    format!("vaCreateSurfaces2:{}", 15 + 5 * format)
}

fn tried() -> RenderNode {
    RenderNode::Tried(node())
}

/// What is said of the trial of each format.
fn lines(said: &str) -> Vec<&str> {
    let lines = said.lines();
    lines
        .filter_map(|line| line.strip_prefix("linear "))
        .collect()
}

#[test]
fn each_format_is_tried_when_a_device_is_opened_and_nothing_is_left_of_it() {
    let name = "linear::each_format_is_tried_when_a_device_is_opened_and_nothing_is_left_of_it";
    let ran = alone(name, "", || {
        let before = open_files();
        let (said, is_taken) = check(&tried());
        assert!(is_taken);
        let taken = ["NV12", "XR24", "AR24", "XB24", "AB24"]
            .map(|format| format!("{format} for the encoder: tried and taken"));
        assert_eq!(lines(&said), taken);
        assert_eq!(open_files(), before);
        // Where there are no buffers to try all is offered as it is.
        let (said, _) = check(&RenderNode::Path(node()));
        let all = lines(&said);
        assert_eq!(all.len(), FORMATS.len(), "{said}");
        assert!(
            all.iter().all(|line| line.contains("not tried: ")),
            "{said}"
        );
        let [tried, not] = [tried(), RenderNode::Path(node())].map(|node| {
            let gpu = Gpu::open(&node, Reading::Processor);
            gpu.offered().expect("a device").1.clone()
        });
        assert_eq!(tried, not);
        assert!(tried.encoded.len() == FORMATS.len() && tried.others.is_empty());
    });
    let Some(ran) = ran else { return };
    // Twice five pictures, each of a key.
    let encoded = ran
        .log
        .lines()
        .filter(|line| line.contains(": 1 pictures encoded"));
    assert_eq!(encoded.count(), 10, "{}", ran.log);
    assert!(!ran.log.contains("refused"), "{}", ran.log);
}

#[test]
fn format_that_the_encoder_refuses_is_not_offered_for_it_and_the_others_are() {
    let name = "linear::format_that_the_encoder_refuses_is_not_offered_for_it_and_the_others_are";
    for (n, format) in FORMATS.into_iter().enumerate() {
        let code = Fourcc::try_from(format.drm).unwrap();
        let ran = alone(name, &import_of(n), || {
            let told = std::env::var("HELIOSTAT_VA_FAULTS").unwrap();
            let n = (0..FORMATS.len()).find(|n| import_of(*n) == told).unwrap();
            let format = FORMATS[n];
            let code = Fourcc::try_from(format.drm).unwrap();
            let (said, is_taken) = check(&tried());
            assert!(is_taken);
            for (at, line) in lines(&said).into_iter().enumerate() {
                let refused =
                    "tried and refused: the device does not take the buffer: vaCreateSurfaces";
                let expected = if at == n { refused } else { "tried and taken" };
                assert!(line.contains(expected), "{line}");
            }
            let without_a_copy = said
                .lines()
                .find(|line| line.starts_with("encoded without"));
            let name = heliostat_va::dmabuf::name(format.drm);
            assert!(!without_a_copy.unwrap().contains(&name), "{said}");
            let gpu = Gpu::open(&tried(), Reading::Processor);
            let offers = gpu.offered().expect("a device").1;
            assert_eq!(offers.encoded.len(), FORMATS.len() - 1);
            assert!(offers.encoded.iter().all(|offered| offered.code != code));
            // The processor reads what every program wants.
            let is_read = [XRGB, ARGB].contains(&format.drm);
            let left: &[u64] = if is_read { &[LINEAR] } else { &[] };
            assert_eq!(offers.modifiers_of(code), left);
            assert_eq!(gpu.encodes_composed(), format.drm != XRGB);
        });
        let Some(ran) = ran else { return };
        assert!(
            ran.log.contains("vaCreateSurfaces2 with"),
            "{code}: {}",
            ran.log
        );
    }
}

#[test]
fn film_in_buffers_that_were_refused_is_read_and_goes_by_the_processor() {
    let name = "linear::film_in_buffers_that_were_refused_is_read_and_goes_by_the_processor";
    alone(name, &import_of(1), || {
        let mut player = Player::on(tried(), XRGB, SIZE);
        player.say_film();
        within("the processor encodes", || {
            player.play();
            player.fixture.stats().films.by_processor >= 5
        });
        let films = player.fixture.stats().films;
        assert_eq!((films.by_hardware, films.failures), (0, 0), "{films:?}");
        player.settle();
        player.end();
    });
}

#[test]
fn client_that_makes_a_buffer_which_was_refused_and_is_not_read_is_told() {
    let name = "linear::client_that_makes_a_buffer_which_was_refused_and_is_not_read_is_told";
    alone(name, &import_of(3), || {
        let (mut fixture, window) = with_window(tried());
        let canvases = [NV12, XBGR].map(|format| Canvas::new(format, SIZE));
        let client = fixture.client(window);
        canvases[0].buffer(client);
        fixture.settle();
        assert_eq!(fixture.buffers(), (1, 0));
        // Who names no buffer to be refused is sent away, as the protocol has it.
        canvases[1].buffer(fixture.client(window));
        within("the client is sent away", || {
            fixture.turn();
            !fixture.client(window).pump()
        });
    });
}

#[test]
fn entry_point_for_low_power_that_refuses_the_trial_is_not_asked_for_films() {
    let name = "entry_point_for_low_power_that_refuses_the_trial_is_not_asked_for_films";
    let name = format!("tests::hardware::linear::{name}");
    // NV12 is not converted, so that the first picture is encoded.
    let told = [
        ("HELIOSTAT_VA_HAS", "low-power"),
        ("HELIOSTAT_VA_FAULTS", "vaEndPicture:1"),
    ];
    let ran = alone_with(&name, &told, || {
        let (said, _) = check(&tried());
        assert!(said.contains("by EncSlice (EncSliceLP refuses)"), "{said}");
        assert!(
            lines(&said)
                .iter()
                .all(|line| line.ends_with("tried and taken")),
            "{said}"
        );
        let mut player = Player::on(tried(), XRGB, SIZE);
        player.say_film();
        player.play_by_hardware(5);
        player.settle();
        player.end();
    });
    let Some(ran) = ran else { return };
    let low = ran
        .log
        .lines()
        .filter(|line| line.contains("pictures encoded") && line.ends_with("by EncSliceLP"));
    let low: Vec<_> = low.collect();
    assert!(
        low.iter().all(|line| line.contains(": 0 pictures encoded")),
        "{low:?}"
    );
    assert_eq!(low.len(), 2, "each display's once: {}", ran.log);
}
