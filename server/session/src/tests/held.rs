//! Commits that are held back until what draws into their buffers has ended.

use std::os::fd::AsFd;

use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;

use super::client::Painting;
use super::fixture::within;
use super::lent::{ALL, Canvas, NV12, XRGB, commit, descriptors_of, with_window};
use crate::gpu::RenderNode;

#[test]
fn commit_waits_for_its_fence_and_nobody_else_does() {
    let (mut fixture, window) = with_window(RenderNode::Read);
    let size = (90, 70);
    let canvases = [0; 2].map(|_| Canvas::new(XRGB, size));
    let buffers = canvases
        .each_ref()
        .map(|canvas| canvas.buffer(fixture.client(window)));
    let first = canvases[0].draw(1);
    commit(fixture.client(window), &buffers[0], ALL);
    fixture.client(window).drew(size, first.clone());
    fixture.settle();
    let (fence, mut signal) = std::io::pipe().unwrap();
    fixture.fence_commits(window, fence.as_fd());
    let second = canvases[1].draw(50);
    commit(fixture.client(window), &buffers[1], ALL);
    fixture.settle();
    fixture.assert_shows(&[window]);
    assert_eq!(canvases[1].released(), 0);

    let other = fixture.open(Painting {
        w: 50,
        h: 40,
        seed: 9,
    });
    fixture.settle();
    fixture.assert_shows(&[window, other]);
    std::io::Write::write_all(&mut signal, b"!").unwrap();
    fixture.client(window).drew(size, second);
    within("the commit is let through", || {
        fixture.turn();
        canvases[1].released() == 1
    });
    fixture.settle();
    fixture.assert_shows(&[window, other]);
    // One whose fence has passed already waits for nothing.
    commit(fixture.client(window), &buffers[0], ALL);
    fixture.client(window).drew(size, first);
    fixture.settle();
    fixture.assert_shows(&[window, other]);

    // Its client may go while a commit waits.
    let (never, _signal) = std::io::pipe().unwrap();
    fixture.fence_commits(window, never.as_fd());
    commit(fixture.client(window), &buffers[1], ALL);
    fixture.settle();
    fixture.close(window);
    fixture.settle();
    fixture.assert_shows(&[other]);
}

#[test]
fn buffer_that_is_destroyed_while_its_commit_waits_is_shown() {
    let (mut fixture, window) = with_window(RenderNode::Read);
    let size = (90, 70);
    let first = Canvas::new(XRGB, size);
    let drawn = first.draw(1);
    let buffer = first.buffer(fixture.client(window));
    commit(fixture.client(window), &buffer, ALL);
    fixture.client(window).drew(size, drawn);
    fixture.settle();
    let (fence, mut signal) = std::io::pipe().unwrap();
    fixture.fence_commits(window, fence.as_fd());
    let second = Canvas::new(XRGB, size);
    let drawn = second.draw(50);
    let buffer = second.buffer(fixture.client(window));
    commit(fixture.client(window), &buffer, ALL);
    buffer.destroy();
    fixture.settle();
    fixture.assert_shows(&[window]);
    assert_eq!(fixture.buffers(), (1, 0));
    std::io::Write::write_all(&mut signal, b"!").unwrap();
    fixture.client(window).drew(size, drawn);
    fixture.settle();
    fixture.assert_shows(&[window]);
    // One that is gone before it is committed is no reason to part from a client either.
    let third = Canvas::new(NV12, size);
    let buffer = third.buffer(fixture.client(window));
    let surface = fixture.client(window).surface.clone().expect("opened");
    surface.attach(Some(&buffer), 0, 0);
    buffer.destroy();
    surface.commit();
    within("all is given back", || {
        fixture.turn();
        assert!(fixture.client(window).pump());
        fixture.buffers() == (1, 0)
    });
    // Their files are closed with them.
    let open = [second, third].map(|canvas| descriptors_of(&canvas.file));
    assert_eq!(open, [1; 2]);
}

#[test]
fn buffers_that_are_destroyed_while_their_commits_wait_count_as_their_clients() {
    let (mut fixture, window) = with_window(RenderNode::Read);
    fixture.limit_buffers(64);
    let canvas = Canvas::new(XRGB, (16, 16));
    let (never, _signal) = std::io::pipe().unwrap();
    fixture.fence_commits(window, never.as_fd());
    for _ in 0..100 {
        let client = fixture.client(window);
        let buffer = canvas.buffer(client);
        commit(client, &buffer, ALL);
        buffer.destroy();
    }
    within("it is parted from", || {
        fixture.turn();
        let held = descriptors_of(&canvas.file);
        assert!(held <= 65, "{held} descriptors");
        !fixture.client(window).pump()
    });
    fixture.close(window);
    within("all are closed", || {
        fixture.turn();
        descriptors_of(&canvas.file) == 1
    });
}

#[test]
fn client_whose_fences_never_pass_takes_no_other_client_its_own_and_none_after_its_end() {
    let (mut fixture, hoarder) = with_window(RenderNode::Read);
    let size = (90, 70);
    let canvas = Canvas::new(XRGB, size);
    let buffer = canvas.buffer(fixture.client(hoarder));
    let (never, _signal) = std::io::pipe().unwrap();
    fixture.fence_commits(hoarder, never.as_fd());
    for _ in 0..200 {
        commit(fixture.client(hoarder), &buffer, ALL);
    }
    fixture.settle();
    assert_eq!(fixture.fences(), 64);

    let other = fixture.connect();
    fixture.client(other).make_window();
    within("the window is configured", || {
        fixture.turn();
        fixture.client(other).is_configured()
    });
    let (fence, mut signal) = std::io::pipe().unwrap();
    fixture.fence_commits(other, fence.as_fd());
    let canvas = Canvas::new(XRGB, size);
    let buffer = canvas.buffer(fixture.client(other));
    let drawn = canvas.draw(3);
    commit(fixture.client(other), &buffer, ALL);
    fixture.client(other).drew(size, drawn);
    fixture.settle();
    assert_eq!((fixture.fences(), canvas.released()), (65, 0));

    fixture.close(hoarder);
    within("nobody waits for it any more", || {
        fixture.turn();
        fixture.fences() == 1
    });
    std::io::Write::write_all(&mut signal, b"!").unwrap();
    fixture.settle();
    fixture.assert_shows(&[other]);
    assert_eq!(fixture.fences(), 0);
}

#[test]
fn commit_goes_on_where_a_part_of_it_is_gone_that_was_waited_for() {
    let (mut fixture, window) = with_window(RenderNode::Read);
    let size = (90, 70);
    let canvases = [0; 2].map(|_| Canvas::new(XRGB, size));
    let [below, above] = canvases
        .each_ref()
        .map(|canvas| canvas.buffer(fixture.client(window)));
    let client = fixture.client(window);
    let parent = client.surface.clone().expect("opened");
    let compositor: WlCompositor = client.bind(4);
    let subcompositor: WlSubcompositor = client.bind(1);
    let child = compositor.create_surface(&client.handle(), ());
    let part = subcompositor.get_subsurface(&child, &parent, &client.handle(), ());
    fixture.settle();
    let (never, _signal) = std::io::pipe().unwrap();
    fixture.fence_commits_of_part(window, never.as_fd());
    child.attach(Some(&above), 0, 0);
    child.commit();
    let drawn = canvases[0].draw(7);
    commit(fixture.client(window), &below, ALL);
    fixture.client(window).drew(size, drawn);
    fixture.settle();
    assert_eq!((fixture.fences(), canvases[0].released()), (1, 0));
    part.destroy();
    child.destroy();
    fixture.settle();
    fixture.assert_shows(&[window]);
    assert_eq!((fixture.fences(), fixture.buffers()), (0, (2, 0)));
}
