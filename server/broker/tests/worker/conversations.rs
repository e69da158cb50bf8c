//! What modules say and ask.

use heliostat_control::worker::{Credential, Failure, FromWorker, Style, ToWorker};
use nix::unistd::Uid;

use crate::site::{Site, answer, authenticated, begin, failed, person, prompt};

#[tokio::test]
async fn messages_of_all_kinds_come_at_once_and_are_answered_where_they_ask() {
    let site = Site::of_probe("does=much");
    let mut worker = site.login(Credential::Password).await;
    assert_eq!(worker.hear().await, prompt(Style::Info, "one"));
    assert_eq!(worker.hear().await, prompt(Style::Visible, "two"));
    answer(&mut worker, "zwei").await;
    assert_eq!(worker.hear().await, prompt(Style::Error, "three"));
    assert_eq!(worker.hear().await, prompt(Style::Secret, "four"));
    answer(&mut worker, "vier").await;
    assert_eq!(worker.hear().await, authenticated(&person()));
}

#[tokio::test]
async fn modules_are_told_where_somebody_sits_and_may_map_names() {
    let site = Site::of_probe(&format!("does=where map={}", person()));
    let mut worker = site.workers.start().unwrap();
    let mut begin = begin(Credential::Password);
    begin.person = Some("a.nickname".to_owned());
    worker.say(&ToWorker::Begin(begin)).await;
    assert_eq!(worker.hear().await, prompt(Style::Info, "192.0.2.7 desk 7"));
    assert_eq!(worker.hear().await, authenticated(&person()));
}

#[tokio::test]
async fn a_wrong_password_is_denied_in_pams_words() {
    let site = Site::of_probe("");
    let mut worker = site.login(Credential::Password).await;
    assert_eq!(worker.hear().await, prompt(Style::Secret, "Password: "));
    answer(&mut worker, "bush").await;
    let (why, text) = failed(worker.hear().await);
    assert_eq!((why, &*text), (Failure::Denied, "Authentication failure"));
}

#[tokio::test]
async fn who_gives_up_is_not_said_to_have_typed_something_wrong() {
    let site = Site::of_probe("");
    let mut worker = site.login(Credential::Password).await;
    worker.hear().await;
    worker.say(&ToWorker::Answer { text: None }).await;
    assert_eq!(failed(worker.hear().await).0, Failure::Cancelled);
}

#[tokio::test]
async fn an_answer_that_pam_could_not_take_ends_the_login_and_nothing_else() {
    let site = Site::of_probe("");
    for text in ["x".repeat(10_000), "tree\0".to_owned()] {
        let mut worker = site.login(Credential::Password).await;
        worker.hear().await;
        answer(&mut worker, &text).await;
        assert_eq!(failed(worker.hear().await).0, Failure::Cancelled);
    }
}

#[tokio::test]
async fn an_old_password_is_changed_on_the_way_in() {
    let site = Site::of_probe("account=old");
    let mut worker = site.login(Credential::Password).await;
    worker.hear().await;
    answer(&mut worker, "tree").await;
    assert_eq!(worker.hear().await, prompt(Style::Secret, "New password: "));
    answer(&mut worker, "oak").await;
    assert_eq!(worker.hear().await, authenticated(&person()));
    let mut worker = site.login(Credential::Password).await;
    worker.hear().await;
    answer(&mut worker, "tree").await;
    worker.hear().await;
    answer(&mut worker, "elm").await;
    assert_eq!(failed(worker.hear().await).0, Failure::PasswordChange);
}

#[tokio::test]
async fn a_card_is_asked_for_no_password_and_its_account_is_checked_all_the_same() {
    let site = Site::of_probe("does=crash");
    let mut worker = site.workers.start().unwrap();
    let admitted = worker.admit(begin(Credential::Card)).await;
    assert_eq!(admitted.unwrap(), person());
    if !Uid::effective().is_root() {
        return eprintln!("skipped: a user's own account is not checked against them");
    }
    let site = Site::of_probe("account=expired");
    let mut worker = site.workers.start().unwrap();
    let (why, text) = worker.admit(begin(Credential::Card)).await.unwrap_err();
    assert_eq!(why, Failure::Expired);
    assert_eq!(text, "Your account ended with the term.");
    let site = Site::of_probe("account=locked");
    let mut worker = site.workers.start().unwrap();
    let (why, text) = worker.admit(begin(Credential::Card)).await.unwrap_err();
    assert_eq!((why, &*text), (Failure::Locked, "Permission denied"));
    // Nobody is there to type a new password.
    let site = Site::of_probe("account=old");
    let mut worker = site.workers.start().unwrap();
    let refused = worker.admit(begin(Credential::Card)).await.unwrap_err();
    assert_eq!(refused.0, Failure::PasswordChange);
}

#[tokio::test]
async fn a_card_of_somebody_without_an_account_is_told_so() {
    let site = Site::of_probe("");
    let mut worker = site.workers.start().unwrap();
    let mut begin = begin(Credential::Card);
    begin.person = Some("no-such-person-here".to_owned());
    let (why, text) = worker.admit(begin).await.unwrap_err();
    assert_eq!(why, Failure::Locked);
    assert!(text.contains("no account on the server"), "{text}");
}

#[tokio::test]
async fn a_broker_that_goes_away_ends_the_login() {
    let site = Site::of_probe("");
    let mut worker = site.login(Credential::Password).await;
    assert!(matches!(worker.hear().await, FromWorker::Prompt { .. }));
    let pid = worker.pid().unwrap();
    let process = heliostat_broker::process::Process::watch(pid).unwrap();
    drop(worker);
    process.exited().await;
}
