//! Devices that fail, or hang.

use super::player::encoding_threads;
use super::stage::RELEASE;
use super::*;

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
    let name = "failing::hardware_that_fails_costs_no_picture_no_buffer_and_no_file";
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

#[test]
fn driver_that_hangs_costs_no_film_and_is_used_again_when_it_has_answered() {
    let name = "failing::driver_that_hangs_costs_no_film_and_is_used_again_when_it_has_answered";
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
    let name =
        "failing::driver_that_hangs_for_ever_has_one_thread_of_ours_however_often_terminals_come";
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
    let name = "failing::failure_with_one_clients_buffers_does_not_keep_the_hardware_from_another";
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
