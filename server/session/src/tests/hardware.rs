//! Films by hardware: clients' buffers go into the encoder as they are. The hardware is the software
//! driver of `hil-tests/va-driver` behind the real libva.
//!
//! That driver is not built by this crate's tests; where nobody has built it they say so and skip.

mod changes;
mod failing;
mod flat;
mod linear;
mod low_power;
mod player;
#[path = "../../../../hil-tests/va-driver/tests/libva/stage.rs"]
#[allow(dead_code, reason = "it has more than these tests need")]
pub mod stage;
mod steady;
mod switched;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::fixture::within;
use super::lack;
use super::lent::{ALL, Canvas, NV12, XRGB, commit, with_window};
use crate::flat::Force;
use crate::gpu::{Reading, RenderNode};
use player::Player;
use stage::{NODE, Ran};

const PICTURE: Duration = Duration::from_millis(33);
const SIZE: (u32, u32) = (320, 208);
/// A window with more than a film in it.
const WINDOW: (u32, u32) = (480, 300);
/// The film in that, odd and not on the grid of cells: left, top, width, height.
const FILM: Place = (101, 37, 321, 203);

/// From the left and the top, width and height.
type Place = (u32, u32, u32, u32);

/// Runs `test`, which is called `name`, in a process of its own with a device, of which these calls
/// fail, and sees to it that nothing is left behind in the driver. Returns nothing where it is that
/// process, or where there is no device.
fn alone(name: &str, faults: &str, test: impl FnOnce()) -> Option<Ran> {
    alone_at(&format!("tests::hardware::{name}"), faults, test)
}

/// Does the same for a test anywhere in this crate.
pub fn alone_at(name: &str, faults: &str, test: impl FnOnce()) -> Option<Ran> {
    let ran = stage::alone(name, faults, test)?;
    assert!(!ran.log.contains("left behind"), "{faults}: {}", ran.log);
    assert_told_rightly(&ran.log);
    Some(ran)
}

/// Whatever has failed, the driver was told nothing of a picture that is not so.
fn assert_told_rightly(log: &str) {
    for lie in ["dirty rectangles", "is not in a picture", "a region"] {
        let mut lines = log.lines().filter(|line| line.contains("refused"));
        let line = lines.find(|line| line.contains(lie));
        assert!(line.is_none(), "{line:?}");
    }
}

/// One of the calls that were to fail has failed.
fn assert_failed(ran: &Ran, call: &str, number: u32) {
    let said = format!("{call} with OPERATION_FAILED: call {number} fails");
    let is_said = ran.log.contains(&said);
    assert!(is_said, "{call}:{number} never happens: {}", ran.log);
}

/// The render node of a process of its own.
pub fn node() -> PathBuf {
    PathBuf::from(std::env::var_os(NODE).unwrap())
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What the driver has counted of buffers that were imported: inode and line.
fn imported(counters: &str) -> Vec<(u64, &str)> {
    let lines = counters
        .lines()
        .filter(|line| line.contains("role=imported"));
    let inode = |line: &str| line.strip_prefix("inode=")?.split(' ').next()?.parse().ok();
    lines
        .map(|line| (inode(line).expect("an inode"), line))
        .collect()
}

/// A film of this format plays, stops, and is exact; its buffers are what the driver has seen, and
/// nothing of them was read meanwhile.
fn plays_without_a_copy(name: &str, format: u32, work: &str) {
    let ran = alone(name, "", || {
        let mut player = Player::new(format, SIZE);
        if format != NV12 {
            player.say_film();
        }
        player.play_by_hardware(1);
        let mut before = player.fixture.stats().films;
        // A machine that is too busy makes a film of this stop, and begin anew.
        within("a film plays for a while", || {
            before = player.fixture.stats().films;
            let film = player.fixture.newest_film();
            player.play_by_hardware(20);
            film.is_some() && player.fixture.newest_film() == film
        });
        let films = player.fixture.stats().films;
        assert_eq!(films.read_bytes, before.read_bytes, "{films:?}");
        assert_eq!(films.by_processor, before.by_processor, "{films:?}");
        assert_eq!(films.failures, 0, "{films:?}");
        // The newest is kept for when the film is over, and one may be under way.
        assert!(player.fixture.buffers().1 <= 2);
        let read = films.read_bytes;
        player.show();
        within("the newest picture is shown", || {
            player.fixture.turn();
            player.likeness() >= 32.0
        });
        if format == NV12 {
            within("the film is over", || {
                player.fixture.turn();
                player.fixture.films() == 0
            });
            player.fixture.settle();
            // Neighbours share their chroma, so that it is not quite what was drawn.
            assert!(player.likeness() >= 36.0);
        } else {
            player.settle();
        }
        let films = player.fixture.stats().films;
        assert!(films.read_bytes > read, "it is read once, at the end");
        assert_eq!(player.fixture.buffers(), (3, 0));
        // It goes on as it began.
        let before = player.by_hardware();
        player.play_by_hardware(5);
        assert!(player.by_hardware() > before);
        println!("times {:?}", player.fixture.stats().films);
        for canvas in &player.canvases {
            println!("inode {}", canvas.file.metadata().unwrap().ino());
        }
        player.end();
    });
    let Some(ran) = ran else { return };
    let drawn = ran
        .said
        .lines()
        .filter_map(|line| line.strip_prefix("inode "));
    let drawn: BTreeSet<u64> = drawn.map(|inode| inode.parse().unwrap()).collect();
    let imported = imported(&ran.counters);
    let encoded: BTreeSet<u64> = imported.iter().map(|(inode, _)| *inode).collect();
    assert_eq!(drawn.len(), 3);
    assert_eq!(encoded, drawn, "{}", ran.counters);
    for (_, line) in imported {
        assert!(line.contains("lent=0 copied=0"), "{line}");
        assert!(!line.contains(&format!("{work}0")), "{line}");
    }
}

#[test]
fn film_in_a_part_of_a_window_goes_without_a_copy_and_what_is_beside_it_is_exact() {
    let name = "film_in_a_part_of_a_window_goes_without_a_copy_and_what_is_beside_it_is_exact";
    let ran = alone(name, "", || {
        let mut player = Player::in_a_part(WINDOW, FILM);
        player.play_by_hardware(1);
        let mut before = player.fixture.stats().films;
        within("a film plays for a while", || {
            before = player.fixture.stats().films;
            let film = player.fixture.newest_film();
            player.play_by_hardware(20);
            film.is_some() && player.fixture.newest_film() == film
        });
        let films = player.fixture.stats().films;
        assert_eq!(films.read_bytes, before.read_bytes, "{films:?}");
        assert_eq!(films.by_processor, before.by_processor, "{films:?}");
        assert!(player.fixture.buffers().1 <= 2);

        // What is damaged beside it is read, and no more: a strip over its corner, and one apart.
        let strips = [(95, 30, 8, 220), (10, 260, 100, 20)];
        // Rectangles that nearly fill the one around them are taken for that.
        let beside = [327 * 220 - 321 * 203, 100 * 20];
        for (strip, beside) in strips.into_iter().zip(beside) {
            let before = player.fixture.stats().films.read_bytes;
            player.play_beside(strip);
            let read = player.fixture.stats().films.read_bytes - before;
            // Rows may be looked at twice: for motion, and to be taken.
            assert!(
                (beside * 4..=beside * 8).contains(&read),
                "{read} of {beside}"
            );
            within("the newest picture is shown", || {
                player.fixture.turn();
                let (film, wrong) = player.likeness_of_part();
                film >= 30.0 && wrong == 0
            });
        }
        // A commit that damages something else goes on with the film, and reads nothing of it.
        player.play_by_hardware(3);
        player.settle();
        let last = player.fixture.stats().films;
        assert_eq!(last.failures, 0, "{last:?}");
        assert_eq!(player.fixture.buffers(), (3, 0));
        player.play_by_hardware(3);
        for canvas in &player.canvases {
            println!("inode {}", canvas.file.metadata().unwrap().ino());
        }
        player.end();
    });
    let Some(ran) = ran else { return };
    for (_, line) in imported(&ran.counters) {
        assert!(line.contains("lent=0 copied=0 encoded=0"), "{line}");
        assert!(!line.contains(" processed-from=0"), "{line}");
    }
    assert_eq!(imported(&ran.counters).len(), 3, "{}", ran.counters);
}

#[test]
fn what_could_not_be_read_beside_a_film_is_read_with_its_next_picture() {
    let name = "what_could_not_be_read_beside_a_film_is_read_with_its_next_picture";
    alone(name, "", || {
        let mut player = Player::in_a_part(WINDOW, FILM);
        player.play_by_hardware(20);
        let film = player.fixture.newest_film();
        assert!(film.is_some());
        // Something draws while what is beside the film changes, and no more at its next picture, of
        // which nothing beside it is said to be new.
        player.fixture.draw_into_buffers(true);
        player.play_beside((10, 260, 100, 20));
        assert!(player.likeness_of_part().1 > 0);
        player.fixture.draw_into_buffers(false);
        player.play();
        within("what is beside it is right", || {
            player.fixture.turn();
            player.likeness_of_part().1 == 0
        });
        assert_eq!(player.fixture.newest_film(), film);
        player.settle();
        player.end();
    });
}

#[test]
fn film_that_grows_in_its_window_stays_lent_and_one_that_is_over_is_exact() {
    let name = "film_that_grows_in_its_window_stays_lent_and_one_that_is_over_is_exact";
    alone(name, "", || {
        let mut player = Player::in_a_part(WINDOW, (120, 40, 200, 120));
        // So long that nobody remembers how it was found.
        player.play_by_hardware(45);
        let before = player.fixture.newest_film();
        if let Some((film, _)) = &mut player.part {
            *film = (100, 30, 320, 220);
        }
        within("the film that has grown is another one", || {
            player.play_by_hardware(1);
            player.fixture.newest_film() > before && player.fixture.films() == 1
        });
        player.play_by_hardware(5);
        within("what is shown is the newest picture", || {
            player.play();
            let (film, wrong) = player.likeness_of_part();
            film >= 28.0 && wrong == 0
        });
        player.settle();
        // Something small goes on beside it while it stands still.
        player.play_by_hardware(3);
        player.fixture.turn_for(PICTURE);
        let before = player.fixture.stats().films.by_hardware;
        let small = (5, 5, 20, 10);
        within("the film is over", || {
            let time = player.time;
            let canvas = &player.canvases[(time + 1) as usize % 3];
            for y in small.1..small.1 + small.3 {
                for x in small.0..small.0 + small.2 {
                    player.drawn[(y * WINDOW.0 + x) as usize] ^= 0x00ff_ffff;
                }
            }
            canvas.put(&player.drawn);
            player.time += 1;
            let buffer = player.buffers[player.time as usize % 3].clone();
            let client = player.fixture.client(player.window);
            client.drew(WINDOW, player.drawn.clone());
            commit(client, &buffer, (5, 5, 20, 10));
            player.fixture.turn_for(PICTURE);
            player.fixture.films() == 0
        });
        let after = player.fixture.stats().films.by_hardware;
        assert!(after <= before + 2, "{after} {before}");
        player.settle();
        player.end();
    });
}

#[test]
fn film_of_luma_and_chroma_goes_into_the_encoder_without_a_copy() {
    let name = "film_of_luma_and_chroma_goes_into_the_encoder_without_a_copy";
    plays_without_a_copy(name, NV12, " encoded=");
}

#[test]
fn film_that_its_client_calls_one_goes_into_the_converter_without_a_copy() {
    let name = "film_that_its_client_calls_one_goes_into_the_converter_without_a_copy";
    plays_without_a_copy(name, XRGB, " processed-from=");
}

#[test]
fn film_that_nobody_calls_one_is_found_and_lent_where_it_covers_its_window() {
    let name = "film_that_nobody_calls_one_is_found_and_lent_where_it_covers_its_window";
    alone(name, "", || {
        let mut player = Player::new(XRGB, SIZE);
        player.play_by_hardware(5);
        player.settle();
        player.end();
    });
}

#[test]
fn window_that_fills_the_screen_and_changes_all_over_is_lent() {
    let name = "window_that_fills_the_screen_and_changes_all_over_is_lent";
    alone(name, "", || {
        // One colour at a time: nothing that looks like a film.
        let mut player = Player::new(XRGB, (640, 480));
        within("the hardware encodes", || {
            player.time += 1;
            let colour = 0xff00_0000 | player.time.wrapping_mul(0x01_0703) & 0xff_ffff;
            player.drawn = vec![colour; 640 * 480];
            player.canvas().put(&player.drawn);
            let buffer = player.buffers[player.time as usize % 3].clone();
            let client = player.fixture.client(player.window);
            commit(client, &buffer, ALL);
            player.fixture.turn_for(PICTURE);
            player.by_hardware() >= 5
        });
        player.end();
    });
}

#[test]
fn film_whose_output_becomes_flat_is_composed_from_its_newest_pixels() {
    let name = "film_whose_output_becomes_flat_is_composed_from_its_newest_pixels";
    alone(name, "", || {
        let mut player = Player::new(XRGB, SIZE);
        player.say_film();
        player.play_by_hardware(5);
        player.fixture.force_flat(Force::Always);
        within("the output is flat", || {
            player.play();
            player.fixture.stats().flat_outputs == 1
        });
        player.play();
        player.settle();
        // And back, to its buffers.
        player.fixture.force_flat(Force::Never);
        player.fixture.settle();
        assert_eq!(player.fixture.stats().flat_outputs, 0);
        player.play_by_hardware(5);
        player.settle();
        player.end();
    });
}

#[test]
fn terminal_whose_decoder_fails_gets_a_key_from_the_hardware() {
    let name = "terminal_whose_decoder_fails_gets_a_key_from_the_hardware";
    alone(name, "", || {
        let mut player = Player::new(NV12, SIZE);
        player.play_by_hardware(3);
        player.fixture.lose_decoders();
        within("a picture comes that builds on none", || {
            player.play();
            !player.fixture.has_lost_decoders()
        });
        assert_eq!(player.fixture.stats().films.failures, 0);
        player.end();
    });
}

#[test]
fn buffers_that_are_destroyed_and_clients_that_die_leave_nothing_behind() {
    let name = "buffers_that_are_destroyed_and_clients_that_die_leave_nothing_behind";
    alone(name, "", || {
        let mut player = Player::new(NV12, SIZE);
        player.play_by_hardware(1);
        let before = open_files();
        for _ in 0..20 {
            // A new buffer for each picture, destroyed while it is encoded.
            player.time += 1;
            let canvas = Canvas::new(NV12, SIZE);
            player.drawn = canvas.draw(player.time);
            let client = player.fixture.client(player.window);
            let buffer = canvas.buffer(client);
            commit(client, &buffer, ALL);
            buffer.destroy();
            drop(canvas);
            player.fixture.turn_for(PICTURE);
        }
        within("the newest picture is shown", || {
            player.fixture.turn();
            player.likeness() >= 32.0
        });
        assert_eq!(player.fixture.buffers().0, 3);
        player.fixture.settle();
        player.play_by_hardware(5);
        // The hardware may hold one more each of the encoder's and of ours.
        assert!(open_files() <= before + 40, "{} {before}", open_files());
        // It dies with its newest picture on the way.
        player.show();
        player.fixture.turn();
        player.fixture.close(player.window);
        within("nothing is left of it", || {
            player.fixture.turn();
            player.fixture.buffers() == (0, 0) && player.fixture.films() == 0
        });
        player.fixture.settle();
        player.end();
    });
}

#[test]
fn session_lets_the_terminal_go_while_the_hardware_works() {
    let name = "session_lets_the_terminal_go_while_the_hardware_works";
    alone(name, "", || {
        let mut player = Player::new(NV12, SIZE);
        for round in 0..3 {
            player.play_by_hardware(3);
            player.show();
            player.fixture.detach();
            player.fixture.turn_for(PICTURE);
            player.fixture.attach(&format!("{round}"), (640, 480));
        }
        player.play_by_hardware(3);
        player.end();
    });
}

#[test]
fn device_that_is_checked_says_what_it_offers_and_which_way_is_taken() {
    let name = "device_that_is_checked_says_what_it_offers_and_which_way_is_taken";
    alone(name, "", || {
        let node = PathBuf::from(std::env::var_os(NODE).unwrap());
        let (said, is_taken) = crate::gpu::check(&RenderNode::Path(node.clone()));
        assert!(is_taken, "{said}");
        let words = [
            format!("render node: {}", node.display()),
            "driver: ".to_owned(),
            "EncSlice".to_owned(),
            "packed headers: ".to_owned(),
            "encoded without a copy: NV12, XR24".to_owned(),
            "way of films: H.264 ".to_owned(),
        ];
        for word in words {
            assert!(said.contains(&word), "{word:?} in {said}");
        }
        let gpu = crate::gpu::Gpu::open(&RenderNode::Path(node), Reading::Auto);
        let said = gpu.describe_reading();
        let words = [
            "programs' buffers are read by the processor",
            "read by the encoder: NV12 (linear), XR24 (linear",
            "read back: ",
        ];
        for word in words {
            assert!(said.contains(word), "{word:?} in {said}");
        }
    });
}

#[test]
fn device_that_does_not_answer_is_not_taken_and_the_session_does_without() {
    let name = "device_that_does_not_answer_is_not_taken_and_the_session_does_without";
    alone(name, "vaQueryConfigProfiles:1", || {
        let node = PathBuf::from(std::env::var_os(NODE).unwrap());
        let (said, is_taken) = crate::gpu::check(&RenderNode::Path(node.clone()));
        assert!(!is_taken && said.contains("no working driver"), "{said}");
        // The driver counts anew for each display.
        let (mut fixture, window) = with_window(RenderNode::Path(node));
        let globals = &fixture.client(window).state.globals;
        assert!(!globals.iter().any(|global| global.1.contains("dmabuf")));
    });
}

#[test]
fn device_that_hangs_at_the_start_is_not_waited_for() {
    let name = "device_that_hangs_at_the_start_is_not_waited_for";
    let ran = alone(name, "vaQueryConfigProfiles:1=hang", || {
        let node = PathBuf::from(std::env::var_os(NODE).unwrap());
        let (said, is_taken) = crate::gpu::check(&RenderNode::Path(node));
        assert!(!is_taken && said.contains("has not answered"), "{said}");
    });
    let Some(ran) = ran else { return };
    assert!(ran.log.contains("call 1 fails as the list"), "{}", ran.log);
}
