//! A film under what is drawn, from the plan to what the kernel is told.

use super::*;
use crate::planes::{ARGB, Cover, Format, LINEAR, Layout, NV12, Planes, Use, Wanted, Way, plan};

/// Where a film is seen under what is drawn.
const HOLE: Rect = Rect {
    x: 8,
    y: 4,
    w: 32,
    h: 20,
};

/// A film in a part of the screen with something over it, as it is planned where planes can stand so.
fn film_under(rig: &mut Rig) -> Resolved {
    let format = |code| Format {
        code,
        modifier: LINEAR,
    };
    rig.screen.primary.caps.formats = vec![format(ARGB)];
    rig.screen.primary.caps.heights = Heights::Range(0, 7);
    rig.overlays[0].caps.formats = vec![format(NV12)];
    rig.overlays[0].caps.heights = Heights::Range(0, 7);
    let planes = Planes {
        primary: rig.screen.primary.caps.clone(),
        overlays: vec![rig.overlays[0].caps.clone()],
        cursor: None,
    };
    let fit = Fit {
        source: [0, 0, (HOLE.w as u32) << 16, (HOLE.h as u32) << 16],
        dst: HOLE,
    };
    let wanted = Wanted {
        video: VideoId(1),
        format: format(NV12),
        converted: None,
        fit: Some(fit),
        area: HOLE,
        cover: Cover::Part,
    };
    let judge = &mut |layout: &Layout| {
        let resolved = resolve(layout);
        let (device, overlays) = (&rig.device, &rig.overlays);
        rig.screen.is_allowed(device, overlays, &resolved).unwrap()
    };
    let arrangement = plan(whole(), &planes, &[wanted], judge);
    let way = arrangement.way(VideoId(1));
    assert_eq!(way, Some(Way::Under(PlaneId(OVERLAY))));
    resolve(&arrangement.layout)
}

/// A layout with the framebuffer of a surface that is nobody's.
fn resolve(layout: &Layout) -> Resolved {
    let held = |u: &Use| Held {
        fit: u.fit,
        ..film(u.plane.0, layout.ground).uses.remove(0)
    };
    Resolved {
        ground: layout.ground,
        uses: layout.uses.iter().map(held).collect(),
        heights: layout.heights.clone(),
    }
}

#[test]
fn film_with_something_over_it_is_seen_through_a_hole() {
    let mut rig = Rig::new();
    rig.draw(whole(), 0xff00_0001).unwrap();
    rig.retrace();
    let under = film_under(&mut rig);
    let of = |rig: &Rig, plane, name| rig.kernel().values.get(&(plane, name)).copied();
    // What is drawn has an alpha, and none in the hole.
    let show = |rig: &mut Rig, damage: Damage, resolved: &mut Resolved| {
        let mut paint = |rect: Rect, target: &mut crate::compose::Target<'_>| {
            target.fill(rect, 0xff00_0002);
            if let Some(hole) = rect.intersection(HOLE) {
                target.fill(hole, 0);
            }
        };
        let (device, overlays) = (&rig.device, &rig.overlays);
        let (what, caption) = ((&damage, resolved), Caption::default());
        let shown = rig
            .screen
            .present(device, overlays, what, caption, &mut paint);
        shown.unwrap();
        rig.retrace();
    };
    let mut all = Damage::new();
    all.add(whole());
    show(&mut rig, all, &mut clone(&under));
    let front = &mut rig.screen.buffers[rig.screen.front];
    let (plain, alpha) = (
        front.framebuffer(),
        front.framebuffer_with_alpha(&rig.device),
    );
    let (plain, alpha) = (u32::from(plain), u32::from(alpha.unwrap()));
    assert_ne!(plain, alpha);
    for (n, pixel) in (0..).zip(front.plain()) {
        let at = (n % SIZE.w as i32, n / SIZE.w as i32);
        let is_hole =
            (HOLE.x..HOLE.right()).contains(&at.0) && (HOLE.y..HOLE.bottom()).contains(&at.1);
        let expected = if is_hole { 0 } else { 0xff00_0002 };
        assert_eq!(*pixel, expected, "{at:?}");
    }
    assert_eq!(of(&rig, PRIMARY, "FB_ID"), Some(alpha.into()));
    assert_eq!(of(&rig, OVERLAY, "FB_ID"), Some(7));
    assert_eq!(of(&rig, OVERLAY, "CRTC_X"), Some(HOLE.x as u64));
    assert_eq!(of(&rig, OVERLAY, "CRTC_W"), Some(HOLE.w as u64));
    let (below, above) = (of(&rig, OVERLAY, "zpos"), of(&rig, PRIMARY, "zpos"));
    assert!(below.is_some() && below < above, "{below:?}, {above:?}");
    // Its next picture leaves what is drawn alone.
    let mut next = clone(&under);
    next.uses[0].scanned.framebuffer = from_u32(8).unwrap();
    show(&mut rig, Damage::new(), &mut next);
    assert_eq!(of(&rig, OVERLAY, "FB_ID"), Some(8));
    assert!(!rig.last().sets.contains_key(&(PRIMARY, "FB_ID")));
    // The film is over: the hole with it.
    rig.draw(whole(), 0xff00_0003).unwrap();
    rig.retrace();
    let front = rig.screen.buffers[rig.screen.front].framebuffer();
    let front = u32::from(front).into();
    assert_eq!(rig.kernel().shown(), [(PRIMARY, front)]);
    let Rig { device, screen, .. } = rig;
    assert!(screen.close(&device, &[plane(OVERLAY, Kind::Overlay)]));
    let kernel = device.fake.as_ref().unwrap().borrow();
    assert!(kernel.live.is_empty(), "{:?}", kernel.live);
}

fn clone(resolved: &Resolved) -> Resolved {
    Resolved {
        ground: resolved.ground,
        uses: resolved.uses.clone(),
        heights: resolved.heights.clone(),
    }
}
