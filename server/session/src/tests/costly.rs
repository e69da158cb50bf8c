//! Desktops that are more than a terminal would draw, or than a frame can say: every terminal that came
//! by would refuse them again.

use heliostat_compose::geometry::Rect as Area;
use heliostat_compose::{MAX_COST, Picture, first_affordable};
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::limits::MAX_OPAQUE_RECTS;
use heliostat_wire::output::Size;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;
use wayland_protocols::wp::viewporter::client::wp_viewporter::WpViewporter;

use super::client::Painting;
use super::fixture::{Fixture, within};
use super::hostile::show;

const SCREEN: Size = Size { w: 640, h: 480 };

/// A session with one window, and `count` subsurfaces of it of `side` translucent pixels, over all of
/// the screen where they are to be `stretched`; else each has an opaque region of many rectangles.
fn with_parts(count: usize, side: i32, stretched: bool) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.offer_layers(1024, 1 << 30);
    fixture.attach("a", (SCREEN.w, SCREEN.h));
    let window = fixture.open(Painting {
        w: 100,
        h: 100,
        seed: 5,
    });
    fixture.settle();
    let client = fixture.client(window);
    let compositor: WlCompositor = client.bind(5);
    let subcompositor: WlSubcompositor = client.bind(1);
    let viewporter: WpViewporter = client.bind(1);
    let parent = client.surface.clone().unwrap();
    client.paints_alpha();
    let buffer = client.plain(side, side, 0x0100_0000);
    let region = compositor.create_region(&client.handle(), ());
    for n in 0..MAX_OPAQUE_RECTS as i32 {
        region.add(2 * n, 64 + n, 1, 1);
    }
    for _ in 0..count {
        let queue = client.handle();
        let part = compositor.create_surface(&queue, ());
        let role = subcompositor.get_subsurface(&part, &parent, &queue, ());
        role.set_position(-1000, -1000);
        if stretched {
            let viewport = viewporter.get_viewport(&part, &queue, ());
            viewport.set_destination(3000, 3000);
        } else {
            role.set_position(1, 1);
            part.set_opaque_region(Some(&region));
        }
        show(&part, &buffer);
    }
    parent.commit();
    fixture
}

/// Of how many placements the terminal has, which is the lowest that it would draw.
fn lowest_drawn(fixture: &mut Fixture) -> (usize, usize) {
    let model = fixture.model();
    let (_, stack) = &model.outputs[&OutputId(0)];
    let opaque = |layer: &LayerId| -> Vec<Area> {
        let rects = model.layers[layer].opaque.iter();
        rects.copied().map(Area::from_wire).collect()
    };
    let opaque: Vec<_> = stack.iter().map(|p| (p.layer, opaque(&p.layer))).collect();
    let first = first_affordable(stack, SCREEN, MAX_COST, |layer| {
        let known = &model.layers[&layer];
        let (_, opaque) = opaque.iter().find(|(id, _)| *id == layer)?;
        Some(Picture {
            size: known.size,
            alpha: known.alpha,
            opaque,
            pixels: &known.pixels,
        })
    });
    (stack.len(), first)
}

#[test]
fn what_no_terminal_would_draw_is_not_sent_and_what_is_on_top_is() {
    let mut fixture = with_parts(200, 1, true);
    fixture.settle();
    let (placed, first) = lowest_drawn(&mut fixture);
    assert_eq!(first, 0, "the terminal draws all of {placed}");
    // Half of what it would draw: 512 copies, of 16 for each pixel that is stretched.
    assert_eq!(placed, 32);
}

#[test]
fn regions_without_end_make_no_frame_that_cannot_be_sent() {
    let mut fixture = with_parts(400, 192, false);
    within("they are shown", || {
        fixture.turn();
        fixture.model().layers.len() > 400
    });
    // That each header fits its limit is seen where they come in.
    let layers = fixture.model().layers.values();
    let rects: usize = layers.map(|layer| layer.opaque.len()).sum();
    assert!((4000..=4096).contains(&rects), "{rects} rectangles");
}
