//! Explicit synchronisation: commits wait for their points, and nobody else does; buffers' ends are told,
//! whatever becomes of surface, client and commit. Timelines are in this process, as no device is here.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, memfd_create};
use wayland_client::delegate_noop;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_manager_v1::WpLinuxDrmSyncobjManagerV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_surface_v1::{
    Error, WpLinuxDrmSyncobjSurfaceV1,
};
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_timeline_v1::WpLinuxDrmSyncobjTimelineV1;

use super::client::{Client, Painting, State};
use super::fixture::{Fixture, within};
use super::lent::{ALL, Canvas, XRGB, commit, with_window};
use crate::gpu::RenderNode;

delegate_noop!(State: ignore WpLinuxDrmSyncobjManagerV1);
delegate_noop!(State: ignore WpLinuxDrmSyncobjSurfaceV1);
delegate_noop!(State: ignore WpLinuxDrmSyncobjTimelineV1);

const SIZE: (u32, u32) = (90, 70);
const OTHER: Painting = Painting {
    w: 50,
    h: 40,
    seed: 9,
};

/// A client's timeline, and what it is to the compositor.
pub struct Line {
    pub file: File,
    object: WpLinuxDrmSyncobjTimelineV1,
}

impl Line {
    pub fn new(client: &Client, manager: &WpLinuxDrmSyncobjManagerV1) -> Self {
        let file = File::from(memfd_create("timeline", MemfdFlags::CLOEXEC).unwrap());
        let object = manager.import_timeline(file.as_fd(), &client.handle(), ());
        Self { file, object }
    }

    /// Its client's device has come so far.
    pub fn reach(&self, fixture: &mut Fixture, value: u64) {
        fixture.timelines().of_test().reach(&self.file, value);
    }

    /// How far it is.
    pub fn reached(&self, fixture: &mut Fixture) -> u64 {
        fixture.timelines().of_test().reached(&self.file)
    }
}

/// Whose surface it is, and what its points are on.
pub struct Explicit {
    pub manager: WpLinuxDrmSyncobjManagerV1,
    pub object: WpLinuxDrmSyncobjSurfaceV1,
    pub drawn: Line,
    pub free: Line,
}

impl Explicit {
    pub fn new(client: &Client, surface: &WlSurface) -> Self {
        let manager: WpLinuxDrmSyncobjManagerV1 = client.bind(1);
        Self {
            object: manager.get_surface(surface, &client.handle(), ()),
            drawn: Line::new(client, &manager),
            free: Line::new(client, &manager),
            manager,
        }
    }

    /// The next commit has these points.
    pub fn set(&self, drawn: u64, free: u64) {
        self.set_on(drawn, (&self.free, free));
    }

    /// The same, and its buffer is free at a point of another timeline.
    pub fn set_on(&self, drawn: u64, (line, free): (&Line, u64)) {
        let halves = |value: u64| ((value >> 32) as u32, value as u32);
        let ((high, low), object) = (halves(drawn), &self.object);
        object.set_acquire_point(&self.drawn.object, high, low);
        let (high, low) = halves(free);
        object.set_release_point(&line.object, high, low);
    }
}

/// A window, two buffers for it, and its points.
struct Stage {
    fixture: Fixture,
    window: usize,
    canvases: [Canvas; 2],
    buffers: Vec<WlBuffer>,
    explicit: Explicit,
}

impl Stage {
    fn set() -> Self {
        let (mut fixture, window) = with_window(RenderNode::Read);
        let canvases = [0; 2].map(|_| Canvas::new(XRGB, SIZE));
        let client = fixture.client(window);
        let buffers = canvases
            .iter()
            .map(|canvas| canvas.buffer(client))
            .collect();
        let surface = client.surface.clone().expect("opened");
        let explicit = Explicit::new(client, &surface);
        Self {
            fixture,
            window,
            canvases,
            buffers,
            explicit,
        }
    }

    /// Draws a buffer and commits it with points.
    fn commit(&mut self, n: usize, picture: u32, (drawn, free): (u64, u64)) -> Vec<u32> {
        let pixels = self.canvases[n].draw(picture);
        self.explicit.set(drawn, free);
        commit(self.fixture.client(self.window), &self.buffers[n], ALL);
        pixels
    }

    /// A picture that is shown, and whose buffer is free again.
    fn first(&mut self) {
        self.explicit.drawn.reach(&mut self.fixture, 1);
        let pixels = self.commit(0, 1, (1, 1));
        self.fixture.client(self.window).drew(SIZE, pixels);
        self.fixture.settle();
        self.fixture.assert_shows(&[self.window]);
        // It may be kept for a moment, for the case that a film begins.
        within("its buffer is free", || {
            self.fixture.turn();
            self.explicit.free.reached(&mut self.fixture) == 1
        });
    }
}

#[test]
fn picture_does_not_change_before_its_point_and_nobody_else_waits() {
    let mut stage = Stage::set();
    stage.first();
    let second = stage.commit(1, 50, (2 << 32 | 7, 2));
    let other = stage.fixture.open(OTHER);
    stage.fixture.settle();
    let (window, shown) = (stage.window, [stage.window, other]);
    stage.fixture.assert_shows(&shown);
    assert_eq!(stage.explicit.free.reached(&mut stage.fixture), 1);
    assert_eq!(stage.fixture.held_commits(), (1, 1));
    // One point before is none.
    stage.explicit.drawn.reach(&mut stage.fixture, 2 << 32 | 6);
    stage.fixture.settle();
    stage.fixture.assert_shows(&shown);

    stage.explicit.drawn.reach(&mut stage.fixture, 2 << 32 | 7);
    stage.fixture.client(window).drew(SIZE, second);
    within("the commit is let through", || {
        stage.fixture.turn();
        stage.explicit.free.reached(&mut stage.fixture) == 2
    });
    stage.fixture.settle();
    stage.fixture.assert_shows(&shown);
    assert_eq!(stage.fixture.held_commits(), (0, 0));
}

#[test]
fn buffers_of_commits_that_wait_are_free_when_surface_or_client_goes() {
    for client_goes in [false, true] {
        let mut stage = Stage::set();
        stage.first();
        // One that never comes, and one that waits behind it only.
        stage.commit(1, 2, (5, 2));
        stage.commit(0, 3, (1, 3));
        stage.explicit.set(9, 9);
        stage.fixture.settle();
        assert_eq!(stage.explicit.free.reached(&mut stage.fixture), 1);
        assert_eq!(stage.fixture.held_commits(), (1, 1));
        let timelines = stage.fixture.timelines();
        assert_eq!(timelines.of_test().count(), 2);
        let other = stage.fixture.open(OTHER);
        if client_goes {
            stage.fixture.close(stage.window);
        } else {
            let client = stage.fixture.client(stage.window);
            let (surface, toplevel) = client.shell.take().expect("opened");
            toplevel.destroy();
            surface.destroy();
            client.surface.take().expect("opened").destroy();
        }
        within("the buffers are free", || {
            stage.fixture.turn();
            stage.explicit.free.reached(&mut stage.fixture) == 3
        });
        stage.fixture.settle();
        assert_eq!(stage.fixture.held_commits(), (0, 0));
        if client_goes {
            stage.fixture.assert_shows(&[other]);
            assert_eq!(timelines.of_test().count(), 0, "timelines are left");
        }
        // What was not committed is nobody's.
        assert_eq!(stage.explicit.free.reached(&mut stage.fixture), 3);
    }
}

#[test]
fn subsurface_that_goes_while_it_waits_holds_its_window_no_longer() {
    let mut stage = Stage::set();
    stage.first();
    let client = stage.fixture.client(stage.window);
    let window = client.surface.clone().expect("opened");
    let compositor: WlCompositor = client.bind(4);
    let subcompositor: WlSubcompositor = client.bind(1);
    let below = compositor.create_surface(&client.handle(), ());
    let link = subcompositor.get_subsurface(&below, &window, &client.handle(), ());
    let canvas = Canvas::new(XRGB, (16, 16));
    let buffer = canvas.buffer(client);
    let explicit = Explicit::new(client, &below);
    explicit.set(1, 1);
    below.attach(Some(&buffer), 0, 0);
    below.commit();
    let second = stage.commit(1, 50, (1, 2));
    stage.fixture.settle();
    stage.fixture.assert_shows(&[stage.window]);
    assert_eq!(stage.explicit.free.reached(&mut stage.fixture), 1);

    link.destroy();
    below.destroy();
    stage.fixture.client(stage.window).drew(SIZE, second);
    within("the window is let through", || {
        stage.fixture.turn();
        stage.explicit.free.reached(&mut stage.fixture) == 2
    });
    stage.fixture.settle();
    stage.fixture.assert_shows(&[stage.window]);
    assert_eq!(explicit.free.reached(&mut stage.fixture), 1);
}

#[test]
fn client_that_breaks_the_protocol_is_told_how_and_others_live_on() {
    type Wrong = fn(&mut Stage);
    let wrongs: [(&str, u32, Wrong); 9] = [
        ("surface", Error::NoBuffer as u32, |stage| {
            stage.explicit.set(1, 1);
            stage.surface().commit();
        }),
        ("surface", Error::NoBuffer as u32, |stage| {
            stage.explicit.set(1, 1);
            stage.surface().attach(None, 0, 0);
            stage.surface().commit();
        }),
        ("surface", Error::NoAcquirePoint as u32, |stage| {
            let buffer = stage.buffers[0].clone();
            commit(stage.fixture.client(stage.window), &buffer, ALL);
        }),
        ("surface", Error::NoReleasePoint as u32, |stage| {
            let explicit = &stage.explicit;
            explicit
                .object
                .set_acquire_point(&explicit.drawn.object, 0, 1);
            let buffer = stage.buffers[0].clone();
            commit(stage.fixture.client(stage.window), &buffer, ALL);
        }),
        ("surface", Error::ConflictingPoints as u32, |stage| {
            let explicit = &stage.explicit;
            explicit
                .object
                .set_acquire_point(&explicit.drawn.object, 1, 1);
            explicit
                .object
                .set_release_point(&explicit.drawn.object, 1, 1);
            let buffer = stage.buffers[0].clone();
            commit(stage.fixture.client(stage.window), &buffer, ALL);
        }),
        ("surface", Error::UnsupportedBuffer as u32, |stage| {
            stage.explicit.set(1, 1);
            let client = stage.fixture.client(stage.window);
            let buffer = client.plain(8, 8, 0);
            commit(client, &buffer, ALL);
        }),
        ("surface", Error::NoSurface as u32, |stage| {
            let client = stage.fixture.client(stage.window);
            let compositor: WlCompositor = client.bind(4);
            let surface = compositor.create_surface(&client.handle(), ());
            let explicit = Explicit::new(client, &surface);
            surface.destroy();
            explicit.set(1, 1);
        }),
        // Of the manager: a second object, and what is no timeline.
        ("manager", 0, |stage| {
            let client = stage.fixture.client(stage.window);
            let surface = client.surface.clone().expect("opened");
            Explicit::new(client, &surface);
        }),
        ("manager", 1, |stage| {
            let (pipe, _) = std::io::pipe().unwrap();
            let client = stage.fixture.client(stage.window);
            let manager = &stage.explicit.manager;
            manager.import_timeline(pipe.as_fd(), &client.handle(), ());
        }),
    ];
    for (of, code, wrong) in wrongs {
        let mut stage = Stage::set();
        stage.first();
        let other = stage.fixture.open(OTHER);
        wrong(&mut stage);
        within("the client is told", || {
            stage.fixture.turn();
            !stage.fixture.client(stage.window).pump()
        });
        let error = stage
            .fixture
            .client(stage.window)
            .error()
            .expect("an error");
        assert_eq!(error.code, code, "{error:?}");
        let interface = format!("wp_linux_drm_syncobj_{of}_v1");
        assert_eq!(error.object_interface, interface, "{error:?}");
        stage.fixture.close(stage.window);
        stage.fixture.settle();
        stage.fixture.assert_shows(&[other]);
        assert_eq!(stage.fixture.timelines().of_test().count(), 0);
    }
}

impl Stage {
    fn surface(&mut self) -> WlSurface {
        let client = self.fixture.client(self.window);
        client.surface.clone().expect("opened")
    }
}

#[test]
fn object_that_was_destroyed_lets_go_what_was_not_committed_and_may_come_again() {
    let mut stage = Stage::set();
    stage.first();
    let second = stage.commit(1, 50, (2, 2));
    stage.explicit.set(8, 8);
    stage.explicit.object.destroy();
    // Without it buffers have their own fences, which have passed; but they come in order.
    let buffer = stage.buffers[0].clone();
    let third = stage.canvases[0].draw(3);
    commit(stage.fixture.client(stage.window), &buffer, ALL);
    stage.fixture.settle();
    stage.fixture.assert_shows(&[stage.window]);
    drop(second);
    stage.explicit.drawn.reach(&mut stage.fixture, 2);
    stage.fixture.client(stage.window).drew(SIZE, third);
    within("both are let through", || {
        stage.fixture.turn();
        stage.explicit.free.reached(&mut stage.fixture) == 2
    });
    stage.fixture.settle();
    stage.fixture.assert_shows(&[stage.window]);

    let surface = stage.surface();
    let client = stage.fixture.client(stage.window);
    stage.explicit = Explicit::new(client, &surface);
    stage.first();
}

#[test]
fn client_whose_points_never_come_is_sent_away_in_the_end_and_nobody_else() {
    for behind in [false, true] {
        let mut stage = Stage::set();
        stage.first();
        let other = stage.fixture.open(OTHER);
        let mut next = 2;
        within("it is sent away", || {
            for _ in 0..64 {
                // The second kind has no points that could be counted.
                match behind && next > 2 {
                    true => stage.surface().commit(),
                    false => drop(stage.commit(1, 1, (next, next))),
                }
                next += 1;
                if next.is_multiple_of(16) {
                    stage.fixture.turn();
                }
            }
            let (held, descriptors) = stage.fixture.held_commits();
            assert!(held <= 64 && descriptors <= 64);
            !stage.fixture.client(stage.window).pump()
        });
        assert!(next > if behind { 4000 } else { 64 }, "after {next}");
        stage.fixture.close(stage.window);
        stage.fixture.settle();
        stage.fixture.assert_shows(&[other]);
        assert_eq!(stage.fixture.held_commits(), (0, 0));
        assert_eq!(stage.fixture.timelines().of_test().count(), 0);
    }
}

#[test]
fn client_has_so_many_timelines_and_may_have_others_for_them() {
    let mut stage = Stage::set();
    let client = stage.fixture.client(stage.window);
    let manager = stage.explicit.manager.clone();
    for _ in 0..2000 {
        Line::new(client, &manager).object.destroy();
    }
    stage.fixture.settle();
    assert_eq!(stage.fixture.timelines().of_test().count(), 2);
    let lines: Vec<Line> = {
        let client = stage.fixture.client(stage.window);
        (0..1022).map(|_| Line::new(client, &manager)).collect()
    };
    stage.fixture.settle();
    assert!(stage.fixture.client(stage.window).pump());
    assert_eq!(stage.fixture.timelines().of_test().count(), 1024);
    let client = stage.fixture.client(stage.window);
    Line::new(client, &manager);
    within("it is told", || {
        stage.fixture.turn();
        !stage.fixture.client(stage.window).pump()
    });
    drop(lines);
    stage.fixture.close(stage.window);
    stage.fixture.settle();
    assert_eq!(stage.fixture.timelines().of_test().count(), 0);
}

#[test]
fn without_a_device_there_is_no_such_protocol_either() {
    let (mut fixture, window) = with_window(RenderNode::Off);
    let globals = &fixture.client(window).state.globals;
    assert!(!globals.iter().any(|global| global.1.contains("syncobj")));
}
