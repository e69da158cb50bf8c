//! A screen of a kernel that is made up, and that refuses what Linux refuses.

use drm::control::from_u32;
use proptest::prelude::*;

use super::*;
use crate::display::kms::fake::{CRTC, Commit, Kernel};
use crate::display::kms::overdue;
use crate::display::kms::planes::Kind;
use crate::planes::{Heights, Plane};

const SIZE: Size = Size { w: 64, h: 48 };
const CONNECTOR: u32 = 40;
const PRIMARY: u32 = 51;
const OVERLAY: u32 = 52;
const CURSOR: u32 = 53;

fn plane(number: u32, kind: Kind) -> VideoPlane {
    VideoPlane {
        properties: Properties::fake(from_u32(number).unwrap()),
        caps: Plane {
            id: PlaneId(number),
            formats: Vec::new(),
            heights: Heights::Unsaid,
            is_bt709: true,
        },
        colours: Some((1, 0)),
        kind,
        crtcs: Vec::new(),
        left_on: None,
    }
}

/// A screen with its device and an overlay plane.
struct Rig {
    device: Device,
    overlays: Vec<VideoPlane>,
    screen: Screen,
    /// Whose pictures are drawn.
    attach: u64,
}

impl Rig {
    fn new() -> Self {
        let device = Device::fake();
        let output = Output {
            id: OutputId(0),
            connector: "T-1".into(),
            make: "".into(),
            model: "".into(),
            size: SIZE,
            refresh_mhz: 60_000,
            physical_mm: Size { w: 0, h: 0 },
            x: 0,
            y: 0,
        };
        let objects = Objects {
            connector: Properties::fake(from_u32(CONNECTOR).unwrap()),
            crtc: Properties::fake(from_u32(CRTC).unwrap()),
            primary: plane(PRIMARY, Kind::Primary),
        };
        let mode = Mode::from(drm_ffi::drm_mode_modeinfo::default());
        let mut screen = Screen::of(&device, output, objects, mode).unwrap();
        let cursor = CursorPlane::of(&device, plane(CURSOR, Kind::Cursor), (64, 64));
        screen.cursor = Some(cursor.unwrap());
        Self {
            device,
            overlays: vec![plane(OVERLAY, Kind::Overlay)],
            screen,
            attach: 0,
        }
    }

    fn kernel(&self) -> std::cell::RefMut<'_, Kernel> {
        self.device.fake.as_ref().unwrap().borrow_mut()
    }

    fn present(&mut self, damage: Rect, colour: u32, mut resolved: Resolved) -> anyhow::Result<()> {
        let mut all = Damage::new();
        all.add(damage);
        let mut paint = |rect: Rect, target: &mut crate::compose::Target<'_>| {
            target.fill(rect, colour);
        };
        let caption = Caption {
            attach: self.attach,
            ..Caption::default()
        };
        let what = (&all, &mut resolved);
        self.screen
            .present(&self.device, &self.overlays, what, caption, &mut paint)
    }

    fn draw(&mut self, damage: Rect, colour: u32) -> anyhow::Result<()> {
        self.present(damage, colour, Resolved::default())
    }

    fn point(&mut self, at: (i32, i32)) -> anyhow::Result<()> {
        let image = CursorImage {
            size: Size { w: 8, h: 8 },
            hotspot: (1, 1),
            pixels: vec![u32::MAX; 64],
        };
        let image = (at.0 >= 0).then_some(&image);
        self.screen.set_cursor(&self.device, image, at)
    }

    /// The retrace comes, and its event is read if there is one.
    fn retrace(&mut self) -> Option<Caption> {
        let has_event = self.kernel().retrace();
        has_event.then(|| self.screen.flipped()).flatten()
    }

    /// Draws, and has it watched.
    fn draw_at(&mut self, now_ns: u64, resolved: Resolved) {
        self.present(whole(), 3, resolved).unwrap();
        self.screen.watch(now_ns);
    }

    /// Looks after events that have not come.
    fn mind(&mut self, now_ns: u64) -> Option<Caption> {
        let (device, overlays) = (&self.device, &self.overlays);
        self.screen.mind_overdue(device, overlays, now_ns)
    }

    /// Framebuffers of surfaces that are held.
    fn held(&self) -> Vec<u32> {
        let held = self.screen.showing.iter().chain(&self.screen.coming);
        held.map(|held| held.scanned.framebuffer.into()).collect()
    }

    fn last(&self) -> Commit {
        self.kernel().commits.last().unwrap().clone()
    }
}

fn whole() -> Rect {
    Rect::of_size(SIZE.w, SIZE.h)
}

/// A film on a plane; what would be decoded into is nobody's.
fn film(plane: u32, ground: Ground) -> Resolved {
    Resolved {
        ground,
        uses: vec![Held {
            plane: PlaneId(plane),
            video: VideoId(1),
            fit: Fit {
                source: [0, 0, SIZE.w << 16, SIZE.h << 16],
                dst: whole(),
            },
            scanned: Scanned {
                framebuffer: from_u32(7).unwrap(),
                inode: 0,
            },
            _frame: None,
        }],
        heights: Vec::new(),
    }
}

/// The same film's next picture, in another surface.
fn next_of_film(framebuffer: u32) -> Resolved {
    let mut next = film(OVERLAY, Ground::Drawn);
    next.uses[0].scanned.framebuffer = from_u32(framebuffer).unwrap();
    next
}

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
    }
    // The same of a pointer that was moved.
    rig.kernel().pending = None;
    rig.point((7, 7)).unwrap();
    rig.screen.watch(now);
    rig.kernel().pending = None;
    assert!(rig.mind(now + SECOND).is_none() && !rig.screen.is_free());
    assert!(rig.retrace().is_none() && rig.screen.is_free());
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Draw,
    Point(i32),
    Hide,
    Retrace,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        Just(Act::Draw),
        (0i32..60).prop_map(Act::Point),
        Just(Act::Hide),
        Just(Act::Retrace),
    ];
    prop::collection::vec(act, 1..60)
}

proptest! {
    #[test]
    fn nothing_is_in_the_way_of_a_picture_and_nothing_waits_for_the_kernel(acts in acts()) {
        let mut rig = Rig::new();
        let mut pointer = None;
        for act in acts {
            match act {
                Act::Draw if rig.screen.is_free() => rig.draw(whole(), 1).unwrap(),
                Act::Draw => {}
                Act::Point(x) => {
                    pointer = Some(x);
                    rig.point((x, 5)).unwrap();
                }
                Act::Hide => {
                    pointer = None;
                    rig.point((-1, 0)).unwrap();
                }
                Act::Retrace => {
                    rig.retrace();
                    // As the app does after each event.
                    rig.point((pointer.unwrap_or(-1), 5)).unwrap();
                }
            }
            prop_assert_eq!(rig.kernel().pending.is_none(), rig.screen.is_free());
            prop_assert!(rig.screen.has_cursor_plane());
        }
        // It comes to rest with what was wanted last.
        for _ in 0..3 {
            rig.retrace();
            if rig.screen.is_lit() {
                rig.point((pointer.unwrap_or(-1), 5)).unwrap();
            }
        }
        let kernel = rig.kernel();
        let nonblocking = AtomicCommitFlags::NONBLOCK;
        let lights = AtomicCommitFlags::ALLOW_MODESET;
        for commit in &kernel.commits {
            prop_assert!(commit.is_taken, "{:?}", commit);
            prop_assert!(commit.flags.intersects(nonblocking | lights), "{:?}", commit);
        }
        if kernel.values.get(&(CRTC, "ACTIVE")) == Some(&1) {
            let at = kernel.values.get(&(CURSOR, "CRTC_X")).map(|x| *x as i64);
            let is_on = kernel.values.get(&(CURSOR, "FB_ID")).is_some_and(|on| *on > 0);
            prop_assert_eq!(is_on, pointer.is_some());
            prop_assert!(!is_on || at == pointer.map(|x| i64::from(x) - 1));
        }
    }
}

#[test]
fn driver_hears_what_changed_only_while_it_has_taken_all_before() {
    let mut rig = Rig::new();
    let part = Rect {
        x: 4,
        y: 4,
        w: 8,
        h: 8,
    };
    let clips = |rig: &Rig| rig.last().sets.contains_key(&(PRIMARY, "FB_DAMAGE_CLIPS"));
    rig.draw(whole(), 1).unwrap();
    assert!(!clips(&rig));
    rig.retrace();
    rig.draw(part, 2).unwrap();
    assert!(clips(&rig));
    rig.retrace();
    rig.kernel().failing = 1;
    assert!(rig.draw(part, 3).is_err() && rig.screen.is_free());
    // Whoever gives back damage and forgets some of it does no harm either.
    rig.draw(Rect { x: 40, ..part }, 3).unwrap();
    assert!(!clips(&rig));
    rig.retrace();
    rig.draw(part, 4).unwrap();
    assert!(clips(&rig));
    rig.retrace();
    // Behind a film nothing was drawn.
    rig.present(part, 5, film(PRIMARY, Ground::Video)).unwrap();
    rig.retrace();
    rig.draw(part, 6).unwrap();
    assert!(!clips(&rig));
    let live = rig.kernel().live.len();
    assert_eq!(live, 4, "two buffers, a pointer and a mode");
}

#[test]
fn dark_screen_shows_nothing_and_is_lit_again_by_the_next_picture() {
    let mut rig = Rig::new();
    rig.present(whole(), 1, film(OVERLAY, Ground::Drawn))
        .unwrap();
    rig.retrace();
    rig.point((5, 5)).unwrap();
    rig.kernel().pending = None;
    assert!(rig.kernel().shown().len() == 3);
    rig.screen.darken(&rig.device, &rig.overlays).unwrap();
    assert_eq!(rig.kernel().shown(), []);
    assert_eq!(rig.kernel().values[&(CRTC, "ACTIVE")], 0);
    assert!(rig.screen.on_planes().is_empty() && rig.screen.is_free());
    // An event of before does not light it.
    assert!(rig.screen.flipped().is_none() && !rig.screen.is_lit());
    rig.draw(Rect::of_size(1, 1), 9).unwrap();
    assert!(rig.last().flags.contains(AtomicCommitFlags::ALLOW_MODESET));
    let front = &rig.screen.buffers[rig.screen.front];
    assert!(front.plain().iter().all(|pixel| *pixel == 9));
    assert_eq!(rig.kernel().values[&(CRTC, "ACTIVE")], 1);
    rig.retrace();
    // A connector that is gone is in the way of nothing.
    rig.kernel().bad_object = Some(CONNECTOR);
    rig.screen.darken(&rig.device, &rig.overlays).unwrap();
    assert_eq!(rig.kernel().shown(), []);
    rig.kernel().bad_object = None;
    rig.draw(Rect::of_size(1, 1), 9).unwrap();
    rig.retrace();
    // Where even that is refused, what is drawn is black.
    rig.kernel().failing = 2;
    assert!(rig.screen.darken(&rig.device, &rig.overlays).is_err());
    for buffer in &rig.screen.buffers {
        assert!(buffer.plain().iter().all(|pixel| *pixel == 0));
    }
}

#[test]
fn screen_that_goes_leaves_no_film_on_any_plane_and_gives_all_back() {
    for (on, ground) in [(PRIMARY, Ground::Video), (OVERLAY, Ground::Drawn)] {
        let mut rig = Rig::new();
        rig.present(whole(), 1, film(on, ground)).unwrap();
        rig.retrace();
        rig.point((5, 5)).unwrap();
        assert!(rig.kernel().shown().iter().any(|(plane, _)| *plane == on));
        let Rig {
            device,
            overlays,
            screen,
            ..
        } = rig;
        assert!(screen.close(&device, &overlays));
        let kernel = device.fake.as_ref().unwrap().borrow();
        assert_eq!(kernel.shown(), []);
        assert!(kernel.live.is_empty(), "{:?}", kernel.live);
    }
}

#[test]
fn pointer_whose_plane_fails_is_given_back() {
    let mut rig = Rig::new();
    rig.draw(whole(), 1).unwrap();
    rig.retrace();
    let before = rig.kernel().live.len();
    rig.kernel().bad_object = Some(CURSOR);
    assert!(rig.point((5, 5)).is_err());
    assert!(!rig.screen.has_cursor_plane());
    assert_eq!(rig.kernel().live.len(), before - 1);
    // The screen goes on without.
    rig.draw(whole(), 2).unwrap();
    assert!(rig.screen.cursor().is_none() && rig.last().is_taken);
}

#[test]
fn steady_film_is_put_on_its_plane_without_an_allocation() {
    let mut rig = Rig::new();
    rig.draw(whole(), 1).unwrap();
    rig.retrace();
    rig.kernel().is_deaf = true;
    let (nothing, mut resolved) = (Damage::new(), Resolved::default());
    let mut made = Vec::new();
    for _ in 0..10 {
        let held = film(OVERLAY, Ground::Drawn).uses;
        let before = crate::counting::allocations();
        // As the display does with the layout of each picture.
        resolved.uses.clear();
        resolved.uses.extend(held.iter().cloned());
        let what = (&nothing, &mut resolved);
        let (device, overlays) = (&rig.device, &rig.overlays);
        let mut paint = |_: Rect, _: &mut crate::compose::Target<'_>| {};
        let caption = Caption::default();
        let shown = rig
            .screen
            .present(device, overlays, what, caption, &mut paint);
        shown.unwrap();
        resolved.uses.clear();
        assert!(rig.retrace().is_some() && rig.screen.shows_films());
        made.push(crate::counting::allocations() - before);
    }
    assert!(made[0] > 0, "nothing is counted");
    assert!(made[4..].iter().all(|made| *made == 0), "{made:?}");
}
