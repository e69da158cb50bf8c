//! People who guess passwords at one desk, and somebody with a card at the next.

use std::fs;
use std::time::{Duration, Instant};

use heliostat_wire::control::{DetachReason, ToBroker};
use nix::unistd::Uid;

use crate::broker::{Broker, eventually, people, small_session};
use crate::greeter::Greeter;

/// What PAM puts after a wrong password; it varies that by half either way.
const DELAY: Duration = Duration::from_secs(3);
const GUESSES: usize = 3;
const ATTACHES: usize = 2;

#[tokio::test]
async fn wrong_passwords_at_one_desk_wait_out_their_delay_and_hold_up_no_card_at_the_next() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root starts greeters");
    }
    let session = small_session().display().to_string();
    let broker = Broker::with_session_command(&session, "# greeter", &[]);
    let rules = format!(
        "auth required pam_faildelay.so delay={}\nauth required pam_unix.so nodelay\n\
         account required pam_permit.so\nsession required pam_permit.so\n",
        DELAY.as_micros()
    );
    fs::write(broker.folder().join("pam.d/heliostat"), rules).unwrap();
    let [person, _] = people();
    broker.add_card("c1", &person);
    let (mut a, mut b) = (broker.terminal("a").await, broker.terminal("b").await);
    a.send(ToBroker::Login { seq: 1 }).await;
    let mut greeter = Greeter::connect(&broker).await;
    for _ in 0..GUESSES {
        greeter.name(&person);
        let guess = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let answer = greeter.password("bush")["type"].clone();
            (greeter, answer, began.elapsed())
        });
        for _ in 0..ATTACHES {
            let mut desktop = b.desktop("c1").await;
            b.pull().await;
            assert_eq!(desktop.bye().await, DetachReason::CardRemoved);
        }
        assert!(!guess.is_finished(), "the cards waited for the password");
        let (spoken, answer, took) = guess.await.unwrap();
        assert_eq!(answer, "error");
        assert!(took >= DELAY / 2, "{took:?}");
        greeter = spoken;
    }
    // The greeter may hear of the last one before its line is written.
    let failed = || broker.audited("login_failed");
    eventually("each guess is audited", || failed() >= GUESSES).await;
    assert_eq!(failed(), GUESSES);
}
