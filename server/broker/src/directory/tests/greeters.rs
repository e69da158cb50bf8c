//! Greeters that are left alone, lost, or cannot be had.

use heliostat_control::session::Ask;

use super::*;

/// A person without a card at a greeter.
fn greeted(site: &mut Site, id: &str) -> (LinkId, SessionId, Offer) {
    let (link, _) = site.online(id, 1);
    let greeter = start_of(&site.says(link, ToBroker::Login { seq: 1 })).expect("a greeter");
    let offer = offer_of(&site.ready(greeter, None)).expect("an offer");
    site.attached_says(greeter, offer.attach);
    (link, greeter, offer)
}

fn asks(site: &mut Site, session: SessionId, ask: Ask) -> Vec<Action> {
    let message = FromSession::Asks(ask);
    site.event(Event::Session { session, message })
}

#[test]
fn a_greeter_at_which_nobody_types_gives_its_terminal_up() {
    for ask in [Ask::Idle, Ask::Detach] {
        let mut site = Site::with("", Remembered::default());
        let (link, greeter, offer) = greeted(&mut site, "a");
        assert_eq!(offer.idle_s, Some(300));
        let actions = asks(&mut site, greeter, ask);
        let left = (link, offer.attach, DetachReason::ByPerson);
        assert_eq!(detach(&actions), Some(left));
        let told = told(&actions, greeter);
        assert!(
            matches!(told.last(), Some(ToSession::End { .. })),
            "{told:?}"
        );
    }
}

#[test]
fn nothing_locks_a_greeter_and_a_kiosk_is_never_idle() {
    let mut site = Site::with("", Remembered::default());
    let (_, greeter, _) = greeted(&mut site, "a");
    assert_eq!(asks(&mut site, greeter, Ask::Lock), []);
    let kiosk = "[default]\nkiosk = [\"map\"]\nidle = \"1min\"";
    let mut site = Site::with(kiosk, Remembered::default());
    let (_, kiosk, offer) = greeted(&mut site, "a");
    assert_eq!(offer.idle_s, None);
    assert_eq!(asks(&mut site, kiosk, Ask::Idle), []);
    // A session that is not there any more asks for nothing.
    site.gone(kiosk, Gone::Exited);
    assert_eq!(asks(&mut site, kiosk, Ask::Detach), []);
}

#[test]
fn a_login_that_is_repeated_after_a_broken_link_begins_anew() {
    let mut site = Site::with("", Remembered::default());
    let (_, greeter, _) = greeted(&mut site, "a");
    site.gone(greeter, Gone::Exited);
    let (link, _) = site.online("a", 1);
    let again = site.says(link, ToBroker::Login { seq: 1 });
    assert!(start_of(&again).is_some(), "{again:?}");
}

#[test]
fn a_greeter_that_an_earlier_broker_started_ends_as_a_broken_link_does() {
    let mut site = Site::with("", Remembered::default());
    let owner = Owner {
        kind: Kind::Greeter,
        person: "greeter".to_owned(),
        ..Owner::default()
    };
    let (now, id) = (site.now(), SessionId([77; 16]));
    let actions = site.directory.adopt(now, id, &owner);
    let reason = DetachReason::LinkLost;
    assert_eq!(told(&actions, id), [&ToSession::End { reason }]);
}

#[test]
fn a_terminal_that_hears_of_a_crash_first_is_told_of_it_all_the_same() {
    let mut site = Site::with("", Remembered::default());
    let (link, greeter, offer) = greeted(&mut site, "a");
    let heard = link_ended(offer.attach, DetachReason::SessionCrashed);
    assert_eq!(site.says(link, heard), []);
    let text = refusal_text(&site.gone(greeter, Gone::Died("it exited".to_owned())));
    assert!(
        text.starts_with("The page for logging in has crashed"),
        "{text}"
    );
}

#[test]
fn a_greeter_that_cannot_be_started_is_called_what_it_is() {
    let mut site = Site::with("", Remembered::default());
    let (_, greeter, _) = greeted(&mut site, "a");
    let how = Gone::Died("it exited with code 1".to_owned());
    let text = refusal_text(&site.gone(greeter, how));
    assert!(
        text.starts_with("The page for logging in has crashed"),
        "{text}"
    );
}
