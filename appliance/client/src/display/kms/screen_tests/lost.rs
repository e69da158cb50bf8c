//! Events that do not come.

use super::*;
use crate::display::kms::overdue;

const SECOND: u64 = 1_000_000_000;

#[test]
fn picture_whose_event_is_lost_is_committed_anew_and_shown() {
    let mut rig = Rig::new();
    rig.draw_at(0, next_of_film(7));
    assert!(rig.retrace().is_some());
    rig.screen.watch(1);
    assert!(rig.screen.event_left(1).is_none() && rig.mind(9 * SECOND).is_none());
    rig.draw_at(5, next_of_film(8));
    // A driver with flips of its own shows it and says nothing.
    rig.kernel().pending = None;
    assert_eq!(rig.screen.event_left(5), Some(overdue::LIMIT));
    let before = rig.kernel().commits.len();
    assert!(rig.mind(SECOND).is_none());
    assert_eq!(
        (rig.kernel().commits.len(), rig.held()),
        (before, vec![7, 8])
    );
    assert!(rig.mind(SECOND + 5).is_some());
    let again = rig.last();
    assert!(again.is_taken && again.flags.contains(AtomicCommitFlags::NONBLOCK));
    assert_eq!(again.sets[&(OVERLAY, "FB_ID")], 8);
    let front = rig.screen.buffers[rig.screen.front].framebuffer();
    assert_eq!(again.sets[&(PRIMARY, "FB_ID")], u64::from(u32::from(front)));
    // What was shown before has been let go, and only now.
    assert_eq!(rig.held(), [8]);
    assert!(!rig.screen.is_free() && rig.screen.is_settled());
    assert!(rig.retrace().is_none() && rig.screen.is_free());
    rig.screen.watch(2 * SECOND);
    assert!(rig.screen.event_left(2 * SECOND).is_none());
    rig.draw_at(2 * SECOND, next_of_film(9));
    assert!(!rig.last().sets.contains_key(&(PRIMARY, "FB_DAMAGE_CLIPS")));
    assert_eq!((rig.retrace().is_some(), rig.held()), (true, vec![9]));
    assert_eq!(rig.screen.lost, 1);
}

#[test]
fn display_that_is_stuck_is_asked_and_not_waited_for_and_both_pictures_are_held() {
    let mut rig = Rig::new();
    rig.draw_at(0, next_of_film(7));
    rig.retrace();
    rig.draw_at(0, next_of_film(8));
    let drawn: Vec<Vec<u32>> = rig
        .screen
        .buffers
        .iter()
        .map(|b| b.plain().to_vec())
        .collect();
    let mut now = 0;
    for refused in 1..=6 {
        now += rig.screen.event_left(now).unwrap().as_nanos() as u64;
        assert!(rig.mind(now).is_none());
        assert_eq!(rig.screen.stuck().unwrap().refused, refused);
        assert!(!rig.last().is_taken && rig.last().flags.contains(AtomicCommitFlags::NONBLOCK));
        // The pointer does not get in its way either.
        rig.point((5, 5)).unwrap();
        assert!(!rig.screen.is_free() && !rig.screen.is_settled());
        assert_eq!(rig.held(), [7, 8]);
    }
    assert!(now < 60 * SECOND, "{now}");
    for (buffer, drawn) in rig.screen.buffers.iter().zip(&drawn) {
        assert_eq!(buffer.plain(), drawn);
    }
    // The event comes after all.
    assert!(rig.retrace().is_some() && rig.screen.is_free());
    assert_eq!((rig.held(), rig.screen.lost), (vec![8], 1));
    assert!(rig.screen.stuck().is_none());
}

#[test]
fn screen_whose_event_is_lost_is_stuck_until_a_commit_waits_for_it() {
    let mut rig = Rig::new();
    let mut now = 0;
    let mut mind = |rig: &mut Rig| {
        now += rig.screen.event_left(now).unwrap().as_nanos() as u64;
        // The retrace comes: it is the event that does not.
        assert!(rig.retrace().is_none() && rig.mind(now).is_none());
        rig.screen.stuck().unwrap()
    };
    rig.draw_at(0, Resolved::default());
    rig.kernel().is_mute = true;
    let stuck = mind(&mut rig);
    assert_eq!((stuck.has_told, stuck.attaches), (false, [0, 0]));
    rig.kernel().is_mute = false;
    assert!(rig.retrace().is_some() && rig.screen.stuck().is_none());
    // That it was lit says nothing of pictures that follow.
    rig.draw_at(0, Resolved::default());
    rig.kernel().is_mute = true;
    assert!(!mind(&mut rig).has_told);
    rig.kernel().is_mute = false;
    assert!(rig.retrace().is_some());
    for attach in [7, 8] {
        rig.attach = attach;
        rig.draw_at(0, next_of_film(7));
        rig.kernel().is_mute = attach == 8;
        assert_eq!(rig.retrace().is_some(), attach == 7);
    }
    for refused in 1..=3 {
        let stuck = mind(&mut rig);
        assert_eq!((stuck.refused, stuck.has_told), (refused, true));
        assert_eq!((stuck.attaches, stuck.is_silent()), ([7, 8], refused == 3));
    }
    assert!(!rig.screen.is_free());
    rig.screen.darken(&rig.device, &rig.overlays).unwrap();
    assert!(rig.screen.is_free() && rig.screen.stuck().is_none());
    assert_eq!(rig.kernel().shown(), []);
    rig.draw(whole(), 4).unwrap();
    assert!(rig.retrace().is_some() && rig.screen.is_free());
    assert_eq!(rig.kernel().shown().len(), 1);
}

#[test]
fn plane_that_is_refused_says_nothing_of_the_picture() {
    for bad in [CURSOR, OVERLAY] {
        let mut rig = Rig::new();
        rig.point((5, 5)).unwrap();
        rig.draw_at(0, next_of_film(7));
        rig.retrace();
        rig.draw_at(0, next_of_film(8));
        rig.kernel().bad_object = Some(bad);
        // It is busy, whatever else is wrong.
        assert!(rig.mind(SECOND).is_none() && !rig.screen.is_free());
        assert_eq!(rig.screen.stuck().unwrap().refused, 1);
        assert_eq!(rig.held(), [7, 8]);
        // A driver with flips of its own has done it.
        rig.kernel().pending = None;
        assert!(rig.mind(3 * SECOND).is_some(), "{bad}");
        assert!(rig.last().is_taken && !rig.last().sets.contains_key(&(CURSOR, "FB_ID")));
        // The pointer is not in the way of what is shown being committed anew.
        let is_whole = rig.last().sets.contains_key(&(OVERLAY, "FB_ID"));
        assert_eq!(is_whole, bad == CURSOR);
        assert!(rig.screen.stuck().is_none() && rig.screen.is_settled());
        assert_eq!(rig.held(), [8]);
        assert!(rig.retrace().is_none() && rig.screen.is_free());
    }
}

#[test]
fn display_that_never_tells_is_taken_at_its_commits() {
    let mut rig = Rig::new();
    let mut now = 0;
    for number in 0..3 {
        rig.draw_at(now, Resolved::default());
        let (mut shown, mut minded) = (0, 0);
        while !rig.screen.is_free() {
            rig.kernel().pending = None;
            now += rig.screen.event_left(now).unwrap().as_nanos() as u64;
            shown += usize::from(rig.mind(now).is_some());
            minded += 1;
            assert!(minded < 4, "it never goes on");
        }
        assert_eq!((shown, rig.screen.lost), (1, number + 1));
        assert!(rig.screen.event_left(now).is_none());
        // What it was asked last is over with the retrace, and whoever is earlier is told so.
        let early = rig.present(whole(), 3, Resolved::default()).unwrap_err();
        assert!(is_busy(&early), "{early:#}");
        assert!(rig.retrace().is_none());
    }
    // The same of a pointer that was moved.
    rig.kernel().pending = None;
    rig.point((7, 7)).unwrap();
    rig.screen.watch(now);
    rig.kernel().pending = None;
    assert!(rig.mind(now + SECOND).is_none() && !rig.screen.is_free());
    assert!(rig.retrace().is_none() && rig.screen.is_free());
}

#[test]
fn event_of_an_earlier_commit_says_nothing_of_the_one_under_way() {
    let mut rig = Rig::new();
    rig.draw_at(0, next_of_film(7));
    rig.retrace();
    rig.draw_at(0, next_of_film(8));
    let late = rig.kernel().number;
    rig.kernel().pending = None;
    assert!(rig.mind(SECOND).is_some());
    let again = rig.kernel().number;
    assert!(late < again);
    // It comes after all, while what was committed anew is under way.
    assert!(rig.screen.flipped(late).is_none() && !rig.screen.is_free());
    assert!(rig.retrace().is_none() && rig.screen.is_free());
    rig.draw_at(SECOND, next_of_film(9));
    for earlier in [late, again, 0, u64::MAX] {
        assert!(rig.screen.flipped(earlier).is_none());
        // Either of both may be scanned out still.
        assert!(!rig.screen.is_settled() && rig.held() == [8, 9]);
    }
    assert!(rig.retrace().is_some() && rig.held() == [9]);
    // The same of a screen that was dark meanwhile.
    rig.draw_at(2 * SECOND, next_of_film(10));
    let late = rig.kernel().number;
    rig.screen.darken(&rig.device, &rig.overlays).unwrap();
    rig.draw_at(2 * SECOND, next_of_film(11));
    assert!(rig.screen.flipped(late).is_none() && !rig.screen.is_settled());
    assert!(rig.retrace().is_some());
}

#[test]
fn screen_that_is_asked_anew_and_silent_again_is_free_by_the_kernels_word_only() {
    let mut rig = Rig::new();
    rig.draw_at(0, next_of_film(7));
    rig.retrace();
    rig.draw_at(0, next_of_film(8));
    rig.kernel().pending = None;
    assert!(rig.mind(SECOND).is_some());
    // From now on it takes nothing more.
    let mut now = SECOND;
    for refused in 1..=3 {
        now += rig.screen.event_left(now).unwrap().as_nanos() as u64;
        assert!(rig.mind(now).is_none() && !rig.screen.is_free());
        assert_eq!(rig.screen.stuck().unwrap().refused, refused);
        assert!(
            !rig.last()
                .flags
                .contains(AtomicCommitFlags::PAGE_FLIP_EVENT)
        );
    }
    assert!(rig.screen.stuck().unwrap().is_silent());
    rig.kernel().pending = None;
    now += rig.screen.event_left(now).unwrap().as_nanos() as u64;
    assert!(rig.mind(now).is_none() && rig.screen.is_free());
    assert!(rig.last().is_taken && rig.screen.stuck().is_none());
}
