//! Films by hardware: clients' buffers go into the encoder as they are. The hardware is the software
//! driver of `hil-tests/va-driver` behind the real libva.
//!
//! That driver is not built by this crate's tests; where nobody has built it they say so and skip.

mod changes;
mod flat;
mod linear;
mod low_power;
#[path = "../../../../hil-tests/va-driver/tests/libva/stage.rs"]
#[allow(dead_code, reason = "it has more than these tests need")]
pub mod stage;
mod steady;
mod switched;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use heliostat_video::oracle::psnr;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_manager_v1::WpContentTypeManagerV1;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_v1::Type;

use super::fixture::{Fixture, within};
use super::lent::{ALL, Canvas, NV12, XRGB, commit, with_window};
use crate::flat::Force;
use crate::gpu::{Reading, RenderNode};
use stage::{NODE, RELEASE, Ran};

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

/// A client that plays a film in its window, in three buffers.
struct Player {
    fixture: Fixture,
    window: usize,
    canvases: [Canvas; 3],
    buffers: Vec<WlBuffer>,
    time: u32,
    drawn: Vec<u32>,
    /// Where the film is, and what is beside it, where it is in a part of the window.
    part: Option<(Place, Vec<u32>)>,
}

impl Player {
    fn new(format: u32, size: (u32, u32)) -> Self {
        Self::on(RenderNode::Path(node()), format, size)
    }

    /// One in a session with this device.
    fn on(node: RenderNode, format: u32, size: (u32, u32)) -> Self {
        let (mut fixture, window) = with_window(node);
        let canvases = [0; 3].map(|_| Canvas::new(format, size));
        let client = fixture.client(window);
        let buffers = canvases
            .iter()
            .map(|canvas| canvas.buffer(client))
            .collect();
        Self {
            fixture,
            window,
            canvases,
            buffers,
            time: 0,
            drawn: Vec::new(),
            part: None,
        }
    }

    /// One whose film is in a part of a window that shows something else besides.
    fn in_a_part(size: (u32, u32), film: Place) -> Self {
        let mut player = Self::new(XRGB, size);
        let pattern = |n: u32| 0xff00_0000 | (n % size.0 / 9 * 0x0011_0300) ^ (n / size.0 / 7);
        player.part = Some((film, (0..size.0 * size.1).map(pattern).collect()));
        player.show_all();
        player.fixture.settle();
        player
    }

    /// Draws what is beside the film and its next picture, and commits all of it.
    fn show_all(&mut self) {
        self.show_with(&[ALL]);
    }

    /// Inverts a rectangle beside the film, and plays the next picture.
    fn play_beside(&mut self, (x, y, w, h): Place) {
        let width = self.canvases[0].size.0;
        let ((fx, fy, fw, fh), beside) = self.part.as_mut().expect("a part");
        for n in (0..beside.len() as u32).filter(|n| {
            let (at_x, at_y) = (n % width, n / width);
            (x..x + w).contains(&at_x) && (y..y + h).contains(&at_y)
        }) {
            beside[n as usize] ^= 0x00ff_ffff;
        }
        let film = [*fx, *fy, *fw, *fh].map(|side| side as i32);
        let changed = [x, y, w, h].map(|side| side as i32);
        self.show_with(&[film, changed].map(|[x, y, w, h]| (x, y, w, h)));
        self.fixture.turn_for(PICTURE);
    }

    /// How alike the film is to what was drawn, in dB, and how many pixels beside it are not right.
    fn likeness_of_part(&mut self) -> (f64, usize) {
        let (left, top) = self.fixture.corner(self.window);
        let width = self.canvases[0].size.0;
        let (x, y, w, h) = self.part.as_ref().expect("a part").0;
        let (mut drawn, mut shown, mut wrong) = (Vec::new(), Vec::new(), 0);
        for (n, pixel) in (0..).zip(&self.drawn) {
            let (at_x, at_y) = (n % width, n / width);
            let seen = self.fixture.shown(at_x as i32 + left, at_y as i32 + top);
            match (x..x + w).contains(&at_x) && (y..y + h).contains(&at_y) {
                true => {
                    drawn.push(*pixel);
                    shown.push(seen);
                }
                false => wrong += usize::from((seen ^ pixel) & 0x00ff_ffff != 0),
            }
        }
        (psnr(&drawn, &shown), wrong)
    }

    /// Says that this is a film.
    fn say_film(&mut self) {
        let client = self.fixture.client(self.window);
        let manager: WpContentTypeManagerV1 = client.bind(1);
        let surface = client.surface.clone().expect("opened");
        let content = manager.get_surface_content_type(&surface, &client.handle(), ());
        content.set_content_type(Type::Video);
    }

    fn canvas(&self) -> &Canvas {
        &self.canvases[self.time as usize % 3]
    }

    /// Plays the next picture.
    fn play(&mut self) {
        self.show();
        self.fixture.turn_for(PICTURE);
    }

    /// Draws the next picture and commits it.
    fn show(&mut self) {
        match self.part {
            Some(((x, y, w, h), _)) => {
                let [x, y, w, h] = [x, y, w, h].map(|side| side as i32);
                self.show_with(&[(x, y, w, h)]);
            }
            None => self.show_with(&[ALL]),
        }
    }

    fn show_with(&mut self, damage: &[(i32, i32, i32, i32)]) {
        self.time += 1;
        self.drawn = self.canvas().picture(self.time);
        if let Some(((x, y, w, h), beside)) = &self.part {
            let width = self.canvases[0].size.0;
            for (n, pixel) in (0..).zip(&mut self.drawn) {
                let (at_x, at_y) = (n % width, n / width);
                if !(*x..x + w).contains(&at_x) || !(*y..y + h).contains(&at_y) {
                    *pixel = beside[n as usize];
                }
            }
        }
        self.canvas().put(&self.drawn);
        let client = self.fixture.client(self.window);
        client.drew(self.canvases[0].size, self.drawn.clone());
        let buffer = &self.buffers[self.time as usize % 3];
        let surface = client.surface.as_ref().expect("opened");
        for (x, y, w, h) in &damage[1..] {
            surface.damage_buffer(*x, *y, *w, *h);
        }
        commit(client, buffer, damage[0]);
    }

    /// Plays until the hardware has encoded so many pictures more.
    fn play_by_hardware(&mut self, pictures: u64) {
        let until = self.by_hardware() + pictures;
        within("the hardware encodes", || {
            self.play();
            self.by_hardware() >= until
        });
    }

    fn by_hardware(&mut self) -> u64 {
        self.fixture.stats().films.by_hardware
    }

    /// How alike what the terminal shows is to what was drawn, in dB.
    fn likeness(&mut self) -> f64 {
        let (left, top) = self.fixture.corner(self.window);
        let (w, h) = self.canvases[0].size;
        let place = |n: u32| ((n % w) as i32 + left, (n / w) as i32 + top);
        let shown = (0..w * h).map(place);
        let shown: Vec<u32> = shown.map(|(x, y)| self.fixture.shown(x, y)).collect();
        psnr(&self.drawn, &shown)
    }

    /// The film stops, and what it leaves is exact.
    fn settle(&mut self) {
        self.fixture.settle();
        assert_eq!(self.fixture.films(), 0);
        self.fixture.assert_shows(&[self.window]);
    }

    /// Everything ends, and the driver writes down what it has counted.
    fn end(self) {
        drop(self.fixture);
        within("the hardware's thread has ended", || {
            encoding_threads() == 0
        });
    }
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

/// Calls that an encoder reaches, and which of them fail: those before are of the probe.
const CALLS: [(&str, &[u32]); 11] = [
    ("vaCreateConfig", &[7, 8]),
    ("vaCreateContext", &[2, 3]),
    ("vaCreateBuffer", &[1, 30]),
    ("vaCreateSurfaces2", &[11, 13, 16]),
    ("vaBeginPicture", &[1, 12]),
    ("vaRenderPicture", &[2, 11]),
    ("vaEndPicture", &[1, 12]),
    ("vaSyncBuffer", &[1, 8]),
    ("vaSyncSurface", &[1, 8]),
    ("vaMapBuffer", &[1, 8]),
    ("vaUnmapBuffer", &[1, 8]),
];

#[test]
fn hardware_that_fails_costs_no_picture_no_buffer_and_no_file() {
    let name = "hardware_that_fails_costs_no_picture_no_buffer_and_no_file";
    for (call, numbers) in CALLS {
        for number in numbers {
            let fault = format!("{call}:{number}");
            let ran = alone(name, &fault, || {
                let mut player = Player::new(XRGB, SIZE);
                player.say_film();
                let before = open_files();
                // Whoever encodes, it plays.
                within("the film plays", || {
                    player.play();
                    let films = player.fixture.stats().films;
                    films.by_hardware + films.by_processor >= 16
                });
                player.show();
                within("the newest picture is shown", || {
                    player.fixture.turn();
                    player.likeness() >= 28.0
                });
                player.settle();
                within("everything is given back", || {
                    player.fixture.turn();
                    player.fixture.buffers() == (3, 0) && open_files() <= before
                });
                println!("{:?}", player.fixture.stats().films);
                player.end();
            });
            let Some(ran) = ran else { return };
            assert_failed(&ran, call, *number);
        }
    }
}

/// Threads that have the hardware encode, or wait for it.
fn encoding_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.ok()?.path().join("comm")).ok()
    };
    let names = threads.filter_map(name);
    names.filter(|name| name.starts_with("films by")).count()
}

#[test]
fn driver_that_hangs_costs_no_film_and_is_used_again_when_it_has_answered() {
    let name = "driver_that_hangs_costs_no_film_and_is_used_again_when_it_has_answered";
    for fault in ["vaSyncSurface:6=hang", "vaEndPicture:13=hang"] {
        let ran = alone(name, fault, || {
            let release = PathBuf::from(std::env::var_os(RELEASE).unwrap());
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &release, fifo, mode, 0).unwrap();
            let mut player = Player::new(XRGB, SIZE);
            player.say_film();
            player.play_by_hardware(1);
            within("the film goes on by the processor", || {
                player.play();
                player.fixture.stats().films.by_processor >= 5
            });
            let films = player.fixture.stats().films;
            assert_eq!(films.failures, 1, "{films:?}");
            // The driver may still look at what it was given, and is given nothing else.
            assert_eq!(encoding_threads(), 1);
            player.settle();
            within("everything but that is given back", || {
                player.fixture.turn();
                player.fixture.buffers() == (3, 1)
            });
            // Who writes waits for the driver to read.
            drop(std::fs::File::options().write(true).open(&release).unwrap());
            within("that is given back too", || {
                player.fixture.turn();
                player.fixture.buffers() == (3, 0)
            });
            player.play_by_hardware(5);
            player.settle();
            player.end();
        });
        let Some(ran) = ran else { return };
        assert!(
            ran.log.contains("as the list of faults has it"),
            "{fault}: {}",
            ran.log
        );
    }
}

#[test]
fn driver_that_hangs_for_ever_has_one_thread_of_ours_however_often_terminals_come() {
    let name = "driver_that_hangs_for_ever_has_one_thread_of_ours_however_often_terminals_come";
    let ran = alone(name, "vaSyncBuffer:4=hang", || {
        let mut player = Player::new(XRGB, SIZE);
        player.say_film();
        player.play_by_hardware(1);
        for round in 0..3 {
            let before = player.fixture.stats().films.by_processor;
            within("the film goes on by the processor", || {
                player.play();
                player.fixture.stats().films.by_processor >= before + 5
            });
            player.fixture.detach();
            player.fixture.turn_for(PICTURE);
            player.fixture.attach(&format!("{round}"), (640, 480));
            assert_eq!(encoding_threads(), 1);
        }
        player.settle();
        // The client is not kept from going either.
        player.fixture.close(player.window);
        within("nothing is left of it but what the driver has", || {
            player.fixture.turn();
            player.fixture.buffers().0 == 0
        });
    });
    let Some(ran) = ran else { return };
    assert!(ran.log.contains("call 4 fails as the list"), "{}", ran.log);
}

#[test]
fn failure_with_one_clients_buffers_does_not_keep_the_hardware_from_another() {
    let name = "failure_with_one_clients_buffers_does_not_keep_the_hardware_from_another";
    let ran = alone(name, "vaEndPicture:8", || {
        let mut player = Player::new(NV12, SIZE);
        within("the hardware fails", || {
            player.play();
            player.fixture.stats().films.failures == 1
        });
        let failed = std::time::Instant::now();
        let before = player.by_hardware();
        let other = player.fixture.connect();
        player.fixture.client(other).make_window();
        within("the window is configured", || {
            player.fixture.turn();
            player.fixture.client(other).is_configured()
        });
        let canvases = [0; 3].map(|_| Canvas::new(NV12, SIZE));
        let client = player.fixture.client(other);
        let buffers = canvases.each_ref().map(|canvas| canvas.buffer(client));
        let mut time = 0;
        within("the hardware encodes the other's film", || {
            time += 1;
            canvases[time % 3].draw(time as u32);
            commit(player.fixture.client(other), &buffers[time % 3], ALL);
            player.fixture.turn_for(PICTURE);
            player.by_hardware() >= before + 3
        });
        assert!(
            failed.elapsed() < Duration::from_secs(5),
            "the machine is too slow"
        );
        player.end();
    });
    let Some(ran) = ran else { return };
    assert!(ran.log.contains("call 8 fails"), "{}", ran.log);
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
