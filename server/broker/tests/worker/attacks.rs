//! Modules that hang and crash, and people who guess.

use std::time::{Duration, Instant};

use heliostat_broker::process::Process;
use heliostat_control::worker::{Credential, Failure};
use tokio::task::JoinSet;

use crate::site::{DEADLINE, Site, answer, authenticated, failed, person, probe_rules};

#[tokio::test]
async fn a_module_that_hangs_is_killed_with_its_worker_and_said() {
    let mut site = Site::of_probe("");
    let notes = site.notes();
    let rules = probe_rules(&format!("does=hang notes={}", notes.display()));
    std::fs::write(site.folder.path().join("pam.d/heliostat"), rules).unwrap();
    site.workers.patience = Duration::from_secs(2);
    let mut worker = site.login(Credential::Password).await;
    let process = Process::watch(worker.pid().unwrap()).unwrap();
    let (why, text) = failed(worker.hear().await);
    assert_eq!(why, Failure::Hung);
    assert!(text.contains("Try again"), "{text}");
    process.exited().await;
    // The module had a child, which hung as well.
    assert!(std::fs::read_to_string(notes).unwrap().contains("child"));
    let services = site.folder.path().display().to_string();
    let left = || {
        let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes.any(|entry| {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(&services)
        })
    };
    let began = Instant::now();
    // It is no child of ours, so that no event tells of its end.
    while left() {
        assert!(began.elapsed() < DEADLINE, "the module's child is left");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_module_that_crashes_takes_its_worker_and_nobody_else() {
    let site = Site::with(&[
        ("heliostat", probe_rules("does=crash")),
        ("fine", probe_rules("")),
    ]);
    let mut other = site.workers.start().unwrap();
    let mut begin = crate::site::begin(Credential::Password);
    begin.service = "fine".to_owned();
    other
        .say(&heliostat_control::worker::ToWorker::Begin(begin))
        .await;
    other.hear().await;
    let mut worker = site.login(Credential::Password).await;
    let (why, text) = failed(worker.hear().await);
    assert_eq!(why, Failure::Crashed);
    assert!(text.contains("broke off"), "{text}");
    answer(&mut other, "tree").await;
    assert_eq!(other.hear().await, authenticated(&person()));
}

/// What a right password takes, in milliseconds.
async fn right(site: &Site) -> u128 {
    let began = Instant::now();
    let mut worker = site.login(Credential::Password).await;
    worker.hear().await;
    answer(&mut worker, "tree").await;
    assert_eq!(worker.hear().await, authenticated(&person()));
    began.elapsed().as_millis()
}

#[tokio::test]
async fn a_thousand_wrong_passwords_wait_out_their_delay_and_slow_nobody_down() {
    // PAM varies a delay by half either way.
    const DELAY: Duration = Duration::from_millis(1000);
    let rules = format!("delay_us={}", DELAY.as_micros());
    let site = std::sync::Arc::new(Site::of_probe(&rules));
    let mut guesses = JoinSet::new();
    let (mut wrong, mut slowest) = (0, 0);
    for number in 0..1000 {
        if guesses.len() == 100 {
            wrong += usize::from(guesses.join_next().await.unwrap().unwrap());
        }
        let guessing = site.clone();
        guesses.spawn(async move {
            let mut worker = guessing.login(Credential::Password).await;
            worker.hear().await;
            let guessed = Instant::now();
            answer(&mut worker, "bush").await;
            let denied = failed(worker.hear().await).0 == Failure::Denied;
            denied && guessed.elapsed() >= DELAY / 2
        });
        if number % 100 == 50 {
            slowest = slowest.max(right(&site).await);
        }
    }
    while let Some(guessed) = guesses.join_next().await {
        wrong += usize::from(guessed.unwrap());
    }
    assert_eq!(wrong, 1000);
    eprintln!("the slowest right password among them took {slowest} ms");
    // The delays of the others are twenty times as long, one after another.
    assert!(slowest < 5000, "{slowest} ms");
}
