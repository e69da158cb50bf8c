//! Subsurfaces, popups and bars.

use wayland_client::protocol::{
    wl_compositor, wl_region, wl_subcompositor, wl_subsurface, wl_surface,
};
use wayland_client::{Connection, Dispatch, QueueHandle, delegate_noop};
use wayland_protocols::wp::viewporter::client::{wp_viewport, wp_viewporter};
use wayland_protocols::xdg::shell::client::{xdg_popup, xdg_positioner, xdg_wm_base};
use wayland_protocols_wlr::layer_shell::v1::client::{zwlr_layer_shell_v1, zwlr_layer_surface_v1};
use zwlr_layer_surface_v1::Anchor;

use super::client::{Painting, State};
use super::fixture::{Fixture, within};
use crate::keys::Action;
use crate::window::{Rect, Size};

const RED: u32 = 0xcc_1010;
const GREEN: u32 = 0x10_cc10;
const WINDOW: Painting = Painting {
    w: 200,
    h: 100,
    seed: 1,
};

fn show(surface: &wl_surface::WlSurface, buffer: &wayland_client::protocol::wl_buffer::WlBuffer) {
    surface.attach(Some(buffer), 0, 0);
    surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
    surface.commit();
}

#[test]
fn synchronised_subsurface_is_shown_when_its_parent_commits_and_moves_with_it() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    let (x, y) = fixture.corner(window);
    let below = fixture.shown(x + 35, y + 25);
    let client = fixture.client(window);
    let compositor: wl_compositor::WlCompositor = client.bind(4);
    let subcompositor: wl_subcompositor::WlSubcompositor = client.bind(1);
    let parent = client.surface.clone().unwrap();
    let child = compositor.create_surface(&client.handle(), ());
    let role = subcompositor.get_subsurface(&child, &parent, &client.handle(), ());
    role.set_position(30, 20);
    show(&child, &client.plain(10, 10, RED));
    fixture.settle();
    assert_eq!(fixture.shown(x + 35, y + 25), below);
    parent.commit();
    fixture.settle();
    assert_eq!(fixture.shown(x + 35, y + 25), RED);
    fixture.drag(window, x + 50, y + 60);
    fixture.settle();
    assert_eq!(fixture.shown(x + 85, y + 85), RED);
}

#[test]
fn viewport_shows_a_part_at_another_size() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    let client = fixture.client(window);
    let viewporter: wp_viewporter::WpViewporter = client.bind(1);
    let surface = client.surface.clone().unwrap();
    let viewport = viewporter.get_viewport(&surface, &client.handle(), ());
    viewport.set_source(10.0, 10.0, 50.0, 40.0);
    viewport.set_destination(100, 80);
    surface.commit();
    fixture.settle();
    let rect = fixture.window(window);
    assert_eq!(rect.size(), Size { w: 100, h: 80 });
    let expected = fixture.client(window).at(10 + 25, 10 + 20);
    assert_eq!(fixture.shown(rect.x + 50, rect.y + 40), expected);
}

#[test]
fn window_that_is_unmapped_is_configured_again_before_it_is_mapped_again() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    for _ in 0..2 {
        let client = fixture.client(window);
        let surface = client.surface.clone().expect("opened");
        client.state.configured = false;
        surface.attach(None, 0, 0);
        surface.commit();
        fixture.settle();
        assert_eq!(fixture.windows_shown(), 0);
        assert!(!fixture.client(window).is_configured());
        // What a subsurface does meanwhile asks for nothing.
        let client = fixture.client(window);
        let compositor: wl_compositor::WlCompositor = client.bind(4);
        let subcompositor: wl_subcompositor::WlSubcompositor = client.bind(1);
        let sub = compositor.create_surface(&client.handle(), ());
        let role = subcompositor.get_subsurface(&sub, &surface, &client.handle(), ());
        role.set_desync();
        show(&sub, &fixture.client(window).plain(10, 10, RED));
        fixture.settle();
        assert!(!fixture.client(window).is_configured());
        role.destroy();
        sub.destroy();
        surface.commit();
        within("it is configured", || {
            fixture.turn();
            fixture.client(window).is_configured()
        });
        fixture.client(window).commit(WINDOW);
        fixture.settle();
        fixture.assert_shows(&[window]);
    }
}

#[test]
fn popup_stands_where_it_was_anchored_above_its_window_and_stays_on_the_output() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    let corner = fixture.corner(window);
    for (offset, expected) in [
        ((20, 30), (corner.0 + 20, corner.1 + 30)),
        ((20, 1000), (corner.0 + 20, 480 - 60)),
    ] {
        let client = fixture.client(window);
        let compositor: wl_compositor::WlCompositor = client.bind(4);
        let base: xdg_wm_base::XdgWmBase = client.bind(2);
        let queue = client.handle();
        let positioner = base.create_positioner(&queue, ());
        positioner.set_size(80, 60);
        positioner.set_anchor_rect(0, 0, 1, 1);
        positioner.set_anchor(xdg_positioner::Anchor::TopLeft);
        positioner.set_gravity(xdg_positioner::Gravity::BottomRight);
        positioner.set_offset(offset.0, offset.1);
        positioner.set_constraint_adjustment(xdg_positioner::ConstraintAdjustment::SlideY);
        let surface = compositor.create_surface(&queue, ());
        let shell = base.get_xdg_surface(&surface, &queue, ());
        let parent = client.shell.as_ref().map(|shell| &shell.0);
        let popup = shell.get_popup(parent, &positioner, &queue, ());
        client.state.configured = false;
        surface.commit();
        within("the popup is configured", || {
            fixture.turn();
            fixture.client(window).is_configured()
        });
        show(&surface, &fixture.client(window).plain(80, 60, GREEN));
        fixture.settle();
        let (x, y) = expected;
        assert_eq!(fixture.shown(x, y), GREEN);
        assert_eq!(fixture.shown(x + 79, y + 59), GREEN);
        assert_ne!(fixture.shown(x, y - 1), GREEN);
        popup.destroy();
        shell.destroy();
        surface.destroy();
        fixture.settle();
        assert_ne!(fixture.shown(x, y), GREEN);
    }
}

#[test]
fn bars_that_want_more_than_there_is_leave_windows_on_the_screen() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    fixture.open(WINDOW);
    let bars = fixture.connect();
    let client = fixture.client(bars);
    let queue = client.handle();
    let compositor: wl_compositor::WlCompositor = client.bind(4);
    let shell: zwlr_layer_shell_v1::ZwlrLayerShellV1 = client.bind(4);
    let top = zwlr_layer_shell_v1::Layer::Top;
    for (edge, zone, margin) in [
        (Anchor::Left, 30_000, 0),
        (Anchor::Right, 1, -29_000),
        (Anchor::Left, i32::MAX, i32::MAX),
        (Anchor::Left, 1, i32::MAX),
        (Anchor::Right, i32::MAX, i32::MIN),
        (Anchor::Top, i32::MAX, i32::MIN),
    ] {
        let surface = compositor.create_surface(&queue, ());
        let layer = shell.get_layer_surface(&surface, None, top, "bar".to_owned(), &queue, ());
        layer.set_anchor(edge);
        layer.set_size(10, 10);
        layer.set_exclusive_zone(zone);
        layer.set_margin(margin, margin, margin, margin);
        surface.commit();
        fixture.settle();
    }
    fixture.act(Action::Maximise);
    fixture.settle();
    let Rect { x, y, w, h } = fixture.only_window();
    let is_on_it = (0..640).contains(&x) && (0..480).contains(&y);
    assert!(is_on_it, "at {x}, {y}");
    assert!(w > 0 && h > 0, "{w} by {h}");
}

#[test]
fn bar_takes_its_edge_and_maximised_windows_leave_it_free() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let bar = fixture.connect();
    let client = fixture.client(bar);
    let queue = client.handle();
    let compositor: wl_compositor::WlCompositor = client.bind(4);
    client.shm = Some(client.bind(1));
    let shell: zwlr_layer_shell_v1::ZwlrLayerShellV1 = client.bind(4);
    let surface = compositor.create_surface(&queue, ());
    let top = zwlr_layer_shell_v1::Layer::Top;
    let layer = shell.get_layer_surface(&surface, None, top, "bar".to_owned(), &queue, ());
    layer.set_anchor(Anchor::Top | Anchor::Left | Anchor::Right);
    layer.set_size(0, 24);
    layer.set_exclusive_zone(24);
    surface.commit();
    within("the bar is configured", || {
        fixture.turn();
        fixture.client(bar).is_configured()
    });
    show(&surface, &fixture.client(bar).plain(640, 24, RED));
    fixture.settle();
    assert_eq!((fixture.shown(0, 0), fixture.shown(639, 23)), (RED, RED));
    let window = fixture.open(WINDOW);
    fixture.act(Action::Maximise);
    fixture.settle();
    assert_eq!(
        fixture.only_window(),
        Rect {
            x: 0,
            y: 24,
            w: 640,
            h: 456
        }
    );
    let whole = Rect {
        x: 0,
        y: 0,
        w: 640,
        h: 480,
    };
    // It hides, and comes back as it came first.
    surface.attach(None, 0, 0);
    surface.commit();
    fixture.settle();
    assert_eq!(fixture.only_window(), whole);
    fixture.client(bar).state.configured = false;
    surface.commit();
    within("the bar is configured again", || {
        fixture.turn();
        fixture.client(bar).is_configured()
    });
    show(&surface, &fixture.client(bar).plain(640, 24, RED));
    fixture.settle();
    assert_eq!((fixture.shown(0, 0), fixture.only_window().y), (RED, 24));
    fixture.close(bar);
    fixture.settle();
    assert_eq!(fixture.only_window(), whole);
    assert!(fixture.client(window).pump());
}

impl Dispatch<zwlr_layer_surface_v1::ZwlrLayerSurfaceV1, ()> for State {
    fn event(
        state: &mut Self,
        layer: &zwlr_layer_surface_v1::ZwlrLayerSurfaceV1,
        event: zwlr_layer_surface_v1::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let zwlr_layer_surface_v1::Event::Configure { serial, .. } = event {
            layer.ack_configure(serial);
            state.configured = true;
        }
    }
}

delegate_noop!(State: ignore wl_subcompositor::WlSubcompositor);
delegate_noop!(State: ignore wl_subsurface::WlSubsurface);
delegate_noop!(State: ignore wl_region::WlRegion);
delegate_noop!(State: ignore wp_viewporter::WpViewporter);
delegate_noop!(State: ignore wp_viewport::WpViewport);
delegate_noop!(State: ignore xdg_positioner::XdgPositioner);
delegate_noop!(State: ignore xdg_popup::XdgPopup);
delegate_noop!(State: ignore zwlr_layer_shell_v1::ZwlrLayerShellV1);
