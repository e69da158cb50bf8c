//! Films that play on: what each of their pictures costs, and that their buffers come back.

use super::super::explicit::{Explicit, Line};
use super::super::fixture::within;
use super::super::lent::NV12;
use super::{PICTURE, Player, SIZE, alone, assert_failed};

/// Pictures of a film after which all that is kept for it has been allocated.
const FIRST: u64 = 30;
/// Pictures that are counted then.
const PICTURES: u64 = 60;
/// Allocations of the compositor's thread for a picture that plays, of all kinds: three more than the 20 that
/// there are (docs/hardware.md says whose they are), for turns of the loop that busy machines add.
const FOR_A_PICTURE: u64 = 23;

#[test]
fn film_that_plays_allocates_nothing_but_what_is_handed_on() {
    let name = "steady::film_that_plays_allocates_nothing_but_what_is_handed_on";
    let ran = alone(name, "", || {
        let mut player = Player::new(NV12, SIZE);
        // On a machine that is too busy a film stops in between, and begins anew: neither its start nor
        // its end is of the steady state.
        within("a film plays for a while", || {
            player.play_by_hardware(1);
            let film = player.fixture.newest_film();
            player.play_by_hardware(FIRST);
            let (before, start) = (player.fixture.allocated(), player.by_hardware());
            player.play_by_hardware(PICTURES);
            let pictures = player.by_hardware() - start;
            let made = player.fixture.allocated() - before;
            if film.is_none() || player.fixture.newest_film() != film {
                return false;
            }
            let each = made as f64 / pictures as f64;
            println!("{made} allocations, {pictures} pictures: {each:.2} a picture");
            assert!(made > pictures, "nothing is counted");
            assert!(made <= pictures * FOR_A_PICTURE, "{each:.2} a picture");
            true
        });
        // A desktop at rest allocates nothing at all, however often it is looked at.
        player.fixture.settle();
        assert_eq!(player.fixture.films(), 0);
        let before = player.fixture.allocated();
        for _ in 0..1000 {
            player.fixture.turn();
        }
        let made = player.fixture.allocated() - before;
        println!("{made} allocations in 1000 turns at rest");
        assert!(made < 100, "{made}");
        player.end();
    });
    let counted = ran.iter().flat_map(|ran| ran.said.lines());
    counted
        .filter(|line| line.contains("allocations"))
        .for_each(|line| println!("{line}"));
}

/// A film whose client says by points when its buffers are drawn, and draws into them when others say
/// that they are free. Says how often a picture was held when the next one was committed.
fn plays_by_points() -> u32 {
    let mut player = Player::new(NV12, SIZE);
    let client = player.fixture.client(player.window);
    let surface = client.surface.clone().expect("opened");
    let explicit = Explicit::new(client, &surface);
    let free = [0; 3].map(|_| Line::new(client, &explicit.manager));
    let mut held = 0;
    for n in 1..=45u64 {
        let (at, round) = (n as usize % 3, n.div_ceil(3));
        let free_again = |player: &mut Player| free[at].reached(&mut player.fixture);
        within("the buffer is free", || {
            player.fixture.turn();
            free_again(&mut player) >= round - 1
        });
        let before = &free[(n as usize - 1) % 3];
        held += u32::from(n > 1 && before.reached(&mut player.fixture) < (n - 1).div_ceil(3));
        explicit.set_on(n, (&free[at], round));
        // Some are drawn when they are committed.
        if n.is_multiple_of(2) {
            explicit.drawn.reach(&mut player.fixture, n);
        }
        player.time = n as u32 - 1;
        let read = player.fixture.stats().films.read_bytes;
        player.show();
        player.fixture.turn();
        // One that was read is free at once; the encoder's is not before another has taken its place.
        let was_read = player.fixture.stats().films.read_bytes > read;
        let is_free = free_again(&mut player) >= round;
        assert!(was_read || !is_free, "{n} is free and was not replaced");
        explicit.drawn.reach(&mut player.fixture, n);
        player.fixture.turn_for(PICTURE);
    }
    within("the film is over, and all buffers are free", || {
        player.fixture.turn();
        free.iter()
            .all(|free| free.reached(&mut player.fixture) == 15)
    });
    assert_eq!(player.fixture.held_commits(), (0, 0));
    println!("{:?}", player.fixture.stats().films);
    player.end();
    held
}

#[test]
fn buffers_of_a_film_are_free_when_the_encoder_has_done_with_them() {
    let name = "steady::buffers_of_a_film_are_free_when_the_encoder_has_done_with_them";
    alone(name, "", || {
        let held = plays_by_points();
        assert!(held >= 30, "{held}");
    });
}

#[test]
fn buffers_of_a_film_are_free_when_its_device_is_given_up() {
    let name = "steady::buffers_of_a_film_are_free_when_its_device_is_given_up";
    let faults = [
        ("vaEndPicture", 9),
        ("vaSyncBuffer", 9),
        ("vaCreateSurfaces2", 11),
    ];
    for (call, number) in faults {
        let ran = alone(name, &format!("{call}:{number}"), || {
            plays_by_points();
        });
        let Some(ran) = ran else { return };
        assert_failed(&ran, call, number);
    }
}
