//! What is shown elsewhere, or another part of it, and has not been drawn anew: no pixels are sent.

use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;
use wayland_client::protocol::wl_subsurface::WlSubsurface;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols::wp::viewporter::client::wp_viewport::WpViewport;
use wayland_protocols::wp::viewporter::client::wp_viewporter::WpViewporter;

use super::client::Painting;
use super::fixture::Fixture;

const WINDOW: Painting = Painting {
    w: 300,
    h: 200,
    seed: 1,
};
const PART: Painting = Painting {
    w: 130,
    h: 70,
    seed: 4,
};
const OTHER: Painting = Painting {
    w: 90,
    h: 60,
    seed: 9,
};
/// Bytes of a frame that only says where something stands.
const FEW_BYTES: u64 = 200;

/// A window with a subsurface at (30, 20).
struct Scene {
    fixture: Fixture,
    window: usize,
    parent: WlSurface,
    child: WlSurface,
    role: WlSubsurface,
}

impl Scene {
    fn new() -> Self {
        let mut fixture = Fixture::new();
        fixture.attach("a", (640, 480));
        let window = fixture.open(WINDOW);
        let client = fixture.client(window);
        let compositor: WlCompositor = client.bind(5);
        let subcompositor: WlSubcompositor = client.bind(1);
        let parent = client.surface.clone().unwrap();
        let child = compositor.create_surface(&client.handle(), ());
        let role = subcompositor.get_subsurface(&child, &parent, &client.handle(), ());
        role.set_position(30, 20);
        child.attach(Some(&client.painted(PART)), 0, 0);
        child.damage_buffer(0, 0, i32::MAX, i32::MAX);
        child.commit();
        parent.commit();
        fixture.settle();
        let mut scene = Self {
            fixture,
            window,
            parent,
            child,
            role,
        };
        scene.assert_part_at(30, 20, (0, 0));
        scene
    }

    /// Whether the subsurface, `from` a place of its pixels on, begins at a place of the window.
    fn assert_part_at(&mut self, x: u32, y: u32, from: (u32, u32)) {
        let corner = self.fixture.corner(self.window);
        for (right, down) in [(0, 0), (33, 9), (37, 27)] {
            let (at_x, at_y) = (x + right, y + down);
            let shown = self
                .fixture
                .shown(corner.0 + at_x as i32, corner.1 + at_y as i32);
            assert_eq!(
                shown,
                PART.at(from.0 + right, from.1 + down),
                "{right}, {down}"
            );
        }
        // And the window beside it.
        let shown = self
            .fixture
            .shown(corner.0 + x as i32 - 1, corner.1 + y as i32);
        assert_eq!(shown, WINDOW.at(x - 1, y));
    }

    /// Another subsurface over the first, from (50, 30) of the window on.
    fn add_other(&mut self) -> WlSubsurface {
        let client = self.fixture.client(self.window);
        let compositor: WlCompositor = client.bind(5);
        let subcompositor: WlSubcompositor = client.bind(1);
        let child = compositor.create_surface(&client.handle(), ());
        let role = subcompositor.get_subsurface(&child, &self.parent, &client.handle(), ());
        role.set_position(50, 30);
        child.attach(Some(&client.painted(OTHER)), 0, 0);
        child.damage_buffer(0, 0, i32::MAX, i32::MAX);
        child.commit();
        self.parent.commit();
        self.fixture.settle();
        role
    }

    /// What is shown at (60, 40) of the window: the window, the subsurface or the other one.
    fn on_top(&mut self) -> u32 {
        let corner = self.fixture.corner(self.window);
        let found = self.fixture.shown(corner.0 + 60, corner.1 + 40);
        let all = [WINDOW.at(60, 40), PART.at(30, 20), OTHER.at(10, 10)];
        let known = all.iter().position(|pixel| *pixel == found);
        known.expect("one of them is shown") as u32
    }

    /// Does something; the terminal hears of it in a few bytes.
    fn without_pixels(&mut self, change: impl FnOnce(&mut Self)) {
        let before = (self.fixture.stats().tiles, self.fixture.frame_bytes());
        let frames = self.fixture.frames();
        change(self);
        self.fixture.settle();
        let bytes = self.fixture.frame_bytes() - before.1;
        assert_eq!(self.fixture.stats().tiles, before.0, "{bytes} bytes");
        assert!(self.fixture.frames() > frames);
        assert!(bytes <= FEW_BYTES, "{bytes} bytes");
    }
}

#[test]
fn subsurface_that_moves_sends_no_pixels() {
    let mut scene = Scene::new();
    for (x, y) in [(60, 45), (31, 20), (150, 110)] {
        scene.without_pixels(|scene| {
            scene.role.set_position(x, y);
            scene.parent.commit();
        });
        scene.assert_part_at(x as u32, y as u32, (0, 0));
    }
}

#[test]
fn viewport_that_shows_another_part_sends_no_pixels() {
    let mut scene = Scene::new();
    let client = scene.fixture.client(scene.window);
    let viewporter: WpViewporter = client.bind(1);
    let viewport: WpViewport = viewporter.get_viewport(&scene.child, &client.handle(), ());
    for (x, y) in [(10, 12), (11, 12), (60, 30)] {
        scene.without_pixels(|scene| {
            viewport.set_source(f64::from(x), f64::from(y), 50.0, 40.0);
            scene.child.commit();
            scene.parent.commit();
        });
        scene.assert_part_at(30, 20, (x as u32, y as u32));
    }
}

#[test]
fn subsurface_that_is_offset_moves_by_that_each_time_and_sends_no_pixels() {
    let mut scene = Scene::new();
    // That of a synchronised one is lost (`surface/offset.rs`).
    scene.role.set_desync();
    let mut at = (30, 20);
    for (x, y) in [(15, 10), (100, 70), (-90, -60)] {
        scene.without_pixels(|scene| {
            scene.child.offset(x, y);
            scene.child.commit();
        });
        at = (at.0 + x, at.1 + y);
        scene.assert_part_at(at.0 as u32, at.1 as u32, (0, 0));
    }
    // It is taken once.
    scene.child.commit();
    scene.fixture.settle();
    scene.assert_part_at(at.0 as u32, at.1 as u32, (0, 0));
    // With other pixels it is the same; those are sent.
    let client = scene.fixture.client(scene.window);
    let drawn = client.painted(PART);
    scene.child.offset(5, 5);
    scene.child.attach(Some(&drawn), 0, 0);
    scene.child.damage_buffer(0, 0, i32::MAX, i32::MAX);
    scene.child.commit();
    scene.fixture.settle();
    scene.assert_part_at(at.0 as u32 + 5, at.1 as u32 + 5, (0, 0));
}

#[test]
fn offsets_without_end_leave_a_surface_out_of_sight_and_everything_else_alone() {
    let mut scene = Scene::new();
    scene.role.set_desync();
    for (x, y) in [(i32::MAX, i32::MIN), (i32::MIN, 1), (i32::MIN, 1)] {
        scene.child.offset(x, y);
        scene.role.set_position(x, y);
        scene.child.commit();
        scene.parent.commit();
        scene.fixture.settle();
    }
    let window = scene.window;
    scene.fixture.assert_shows(&[window]);
}

#[test]
fn subsurfaces_that_are_only_put_in_another_order_are_shown_so_and_send_no_pixels() {
    let mut scene = Scene::new();
    let above = scene.add_other();
    assert_eq!(scene.on_top(), 2);
    for desync in [false, true] {
        if desync {
            scene.role.set_desync();
            above.set_desync();
        }
        let (window, part) = (scene.parent.clone(), scene.child.clone());
        let orders: [(&WlSubsurface, bool, &WlSurface, u32); 4] = [
            (&above, false, &part, 1),
            (&above, true, &part, 2),
            (&above, false, &window, 1),
            (&above, true, &part, 2),
        ];
        for (role, is_above, sibling, on_top) in orders {
            scene.without_pixels(|scene| {
                match is_above {
                    true => role.place_above(sibling),
                    false => role.place_below(sibling),
                }
                scene.parent.commit();
            });
            assert_eq!(scene.on_top(), on_top);
        }
        let role = scene.role.clone();
        scene.without_pixels(|scene| {
            role.place_below(&window);
            above.place_below(&window);
            scene.parent.commit();
        });
        assert_eq!(scene.on_top(), 0, "both are behind the window");
        scene.without_pixels(|scene| {
            role.place_above(&window);
            above.place_above(&scene.child);
            scene.parent.commit();
        });
        assert_eq!(scene.on_top(), 2);
    }
}

#[test]
fn subsurface_that_is_one_no_more_is_gone_at_once() {
    let mut scene = Scene::new();
    let above = scene.add_other();
    assert_eq!(scene.on_top(), 2);
    scene.without_pixels(|_| above.destroy());
    assert_eq!(scene.on_top(), 1);
}
