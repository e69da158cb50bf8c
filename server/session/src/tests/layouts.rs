//! Buffers of a layout that only the device reads: offered, read as far as they are damaged, and what
//! becomes of them when it reads no more. What reads is the stand-in; its layout is upside down.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use wayland_client::{Connection, Dispatch, QueueHandle};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_feedback_v1::{
    self, ZwpLinuxDmabufFeedbackV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;

use super::client::{Painting, State};
use super::fixture::{Fixture, within};
use super::lent::{ALL, ARGB, Canvas, NV12, XBGR, XRGB, commit, with_window, with_window_by};
use crate::config::Config;
use crate::flat::Force;
use crate::flat::composer::Composer;
use crate::flat::fake::Fake;
use crate::gpu::pretended::UPSIDE_DOWN;
use crate::gpu::{Ended, Lease, Reader, Reading, RenderNode};

const SIZE: (u32, u32) = (200, 150);
const LINEAR: u64 = 0;

/// What a client has been told of buffers.
#[derive(Debug, Default)]
struct Told {
    /// Format and modifier.
    table: Vec<(u32, u64)>,
    formats: Vec<(u32, u64)>,
    times: usize,
}

type Shared = Arc<Mutex<Told>>;

impl Dispatch<ZwpLinuxDmabufFeedbackV1, Shared> for State {
    fn event(
        _: &mut Self,
        _: &ZwpLinuxDmabufFeedbackV1,
        event: zwp_linux_dmabuf_feedback_v1::Event,
        told: &Shared,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let mut told = told.lock().unwrap();
        match event {
            zwp_linux_dmabuf_feedback_v1::Event::FormatTable { fd, size } => {
                let mut bytes = vec![0; size as usize];
                File::from(fd).read_exact_at(&mut bytes, 0).unwrap();
                let entry = |entry: &[u8]| {
                    let format = u32::from_ne_bytes(entry[..4].try_into().unwrap());
                    (format, u64::from_ne_bytes(entry[8..].try_into().unwrap()))
                };
                told.table = bytes.chunks_exact(16).map(entry).collect();
                told.formats = Vec::new();
            }
            zwp_linux_dmabuf_feedback_v1::Event::TrancheFormats { indices } => {
                let places = indices.chunks_exact(2);
                let places = places.map(|n| u16::from_ne_bytes(n.try_into().unwrap()));
                let named: Vec<_> = places.map(|n| told.table[usize::from(n)]).collect();
                told.formats.extend(named);
            }
            zwp_linux_dmabuf_feedback_v1::Event::Done => told.times += 1,
            _ => {}
        }
    }
}

/// Draws a picture as the layout has it. Returns its pixels.
fn draw(canvas: &Canvas, time: u32) -> Vec<u32> {
    let pixels = canvas.picture(time);
    put(canvas, &pixels);
    pixels
}

fn put(canvas: &Canvas, pixels: &[u32]) {
    let rows = pixels.chunks_exact(canvas.size.0 as usize).rev();
    canvas.put(&rows.flatten().copied().collect::<Vec<_>>());
}

/// How often the stand-in has read.
fn count(fixture: &mut Fixture) -> usize {
    match &*fixture.reader() {
        Reader::Fake(fake) => fake.count,
        other => panic!("{other:?} reads"),
    }
}

/// How often it was asked about a buffer.
fn asked(fixture: &mut Fixture) -> usize {
    match &*fixture.reader() {
        Reader::Fake(fake) => fake.asked,
        other => panic!("{other:?} reads"),
    }
}

/// Which device it is on.
fn lease(fixture: &mut Fixture) -> Lease {
    match &*fixture.reader() {
        Reader::Fake(fake) => fake.lease.clone(),
        other => panic!("{other:?} reads"),
    }
}

/// A window in a session of such a device, and what its client is told of buffers.
fn listening() -> (Fixture, usize, Shared) {
    let (mut fixture, window) = with_window(RenderNode::ReadByFake);
    let told = Shared::default();
    let client = fixture.client(window);
    let dmabuf: ZwpLinuxDmabufV1 = client.bind(4);
    dmabuf.get_default_feedback(&client.handle(), Arc::clone(&told));
    fixture.settle();
    (fixture, window, told)
}

fn is_offered(told: &Shared, modifier: u64) -> bool {
    told.lock().unwrap().formats.contains(&(XRGB, modifier))
}

/// Turns until the client was told so often what it may make.
fn hears(fixture: &mut Fixture, window: usize, told: &Shared, times: usize) {
    within("the client is told", || {
        fixture.turn();
        assert!(fixture.client(window).pump(), "it is sent away");
        told.lock().unwrap().times == times
    });
}

fn ends(fixture: &mut Fixture, ended: Ended) {
    match &mut *fixture.reader() {
        Reader::Fake(fake) => fake.ends = Some(ended),
        other => panic!("{other:?} reads"),
    }
}

#[test]
fn buffers_that_only_the_device_reads_are_shown_as_they_were_drawn() {
    for (format, size) in [(XRGB, SIZE), (ARGB, (131, 77)), (XRGB, (1, 1))] {
        let (mut fixture, window) = with_window(RenderNode::ReadByFake);
        let canvas = Canvas::new(format, size);
        let mut pixels = draw(&canvas, 5);
        let buffer = canvas.buffer_in(fixture.client(window), UPSIDE_DOWN);
        commit(fixture.client(window), &buffer, ALL);
        fixture.settle();
        fixture.client(window).drew(size, pixels.clone());
        fixture.assert_shows(&[window]);
        assert_eq!(canvas.released(), 1);
        // What is damaged later.
        let before = fixture.stats().films.read_bytes;
        let damaged = (0..10.min(size.1)).flat_map(|y| (0..7.min(size.0)).map(move |x| (x, y)));
        for (x, y) in damaged {
            pixels[(y * size.0 + x) as usize] = 0xff12_3456;
        }
        put(&canvas, &pixels);
        commit(fixture.client(window), &buffer, (0, 0, 7, 10));
        fixture.settle();
        fixture.client(window).drew(size, pixels);
        fixture.assert_shows(&[window]);
        let read = fixture.stats().films.read_bytes - before;
        assert!((4..=3 * 4 * 7 * 10).contains(&read), "{read}");
    }
}

#[test]
fn device_reads_what_is_linear_where_that_is_wanted_and_the_processor_what_it_does_not_take() {
    let (mut fixture, window) = with_window_by(Config {
        render_node: RenderNode::ReadByFake,
        gpu_reading: Reading::Device,
        ..Config::default()
    });
    let canvas = Canvas::new(XRGB, SIZE);
    let buffer = canvas.buffer(fixture.client(window));
    for (time, is_refused) in [(1, false), (40, true), (80, false)] {
        if is_refused {
            let refused = Ended::Broken(anyhow::anyhow!("it was told to"));
            ends(&mut fixture, refused);
        }
        let before = count(&mut fixture);
        let pixels = canvas.draw(time);
        commit(fixture.client(window), &buffer, ALL);
        fixture.settle();
        fixture.client(window).drew(SIZE, pixels);
        fixture.assert_shows(&[window]);
        assert_eq!(count(&mut fixture) > before, !is_refused, "at {time}");
    }
    assert_eq!(fixture.stats().gles_failures, 0);
}

#[test]
fn layout_that_a_format_is_not_offered_in_is_refused_and_linear_ones_are_the_processors() {
    let (mut fixture, window) = with_window(RenderNode::ReadByFake);
    let liar = fixture.connect();
    let canvas = Canvas::new(XBGR, SIZE);
    canvas.buffer_in(fixture.client(liar), UPSIDE_DOWN);
    within("the client is sent away", || {
        fixture.turn();
        !fixture.client(liar).pump()
    });
    fixture.close(liar);
    let canvas = Canvas::new(XBGR, SIZE);
    let pixels = canvas.draw(3);
    let buffer = canvas.buffer(fixture.client(window));
    commit(fixture.client(window), &buffer, ALL);
    fixture.settle();
    fixture.client(window).drew(SIZE, pixels);
    fixture.assert_shows(&[window]);
    assert_eq!(count(&mut fixture), 0);
}

#[test]
fn device_that_hangs_leaves_linear_buffers_and_clients_are_told() {
    let (mut fixture, window, told) = listening();
    let offered = |format, modifier| told.lock().unwrap().formats.contains(&(format, modifier));
    for format in [XRGB, ARGB] {
        assert!(offered(format, UPSIDE_DOWN) && offered(format, LINEAR));
    }
    assert!(offered(NV12, LINEAR) && !offered(NV12, UPSIDE_DOWN));

    let canvas = Canvas::new(XRGB, SIZE);
    let before = draw(&canvas, 1);
    let buffer = canvas.buffer_in(fixture.client(window), UPSIDE_DOWN);
    commit(fixture.client(window), &buffer, ALL);
    fixture.settle();
    // A failure that is not the device's costs that picture, and no more.
    ends(
        &mut fixture,
        Ended::Broken(anyhow::anyhow!("it was told to")),
    );
    draw(&canvas, 50);
    commit(fixture.client(window), &buffer, ALL);
    fixture.settle();
    fixture.client(window).drew(SIZE, before);
    fixture.assert_shows(&[window]);
    // What it lacks since then comes with whatever is read next.
    let now = draw(&canvas, 60);
    commit(fixture.client(window), &buffer, (0, 0, 1, 1));
    fixture.settle();
    fixture.client(window).drew(SIZE, now.clone());
    fixture.assert_shows(&[window]);
    assert_eq!(told.lock().unwrap().times, 1);

    ends(&mut fixture, Ended::Hung);
    draw(&canvas, 90);
    commit(fixture.client(window), &buffer, ALL);
    within("the client is told", || {
        fixture.turn();
        fixture.client(window).pump();
        told.lock().unwrap().times == 2
    });
    fixture.settle();
    // It shows what it has shown until the client has heard.
    fixture.client(window).drew(SIZE, now);
    fixture.assert_shows(&[window]);
    assert!(!fixture.reader().is_there());
    assert_eq!(fixture.stats().gles_failures, 1);
    assert!(offered(XRGB, LINEAR) && !offered(XRGB, UPSIDE_DOWN));
    let canvas = Canvas::new(XRGB, SIZE);
    let pixels = canvas.draw(7);
    let buffer = canvas.buffer(fixture.client(window));
    commit(fixture.client(window), &buffer, ALL);
    fixture.settle();
    fixture.client(window).drew(SIZE, pixels);
    fixture.assert_shows(&[window]);
}

#[test]
fn what_was_not_read_comes_whole_from_shared_memory_too() {
    let (mut fixture, window) = with_window(RenderNode::ReadByFake);
    let canvas = Canvas::new(XRGB, SIZE);
    draw(&canvas, 1);
    let buffer = canvas.buffer_in(fixture.client(window), UPSIDE_DOWN);
    commit(fixture.client(window), &buffer, ALL);
    fixture.settle();
    let broken = Ended::Broken(anyhow::anyhow!("it was told to"));
    ends(&mut fixture, broken);
    draw(&canvas, 50);
    commit(fixture.client(window), &buffer, ALL);
    fixture.settle();
    // The client, which cannot know of that, says what it has drawn since then.
    let client = fixture.client(window);
    let (w, h) = SIZE;
    let plain = client.plain(w as i32, h as i32, 0x11_22_33);
    commit(client, &plain, (0, 0, 1, 1));
    fixture.settle();
    let pixels = vec![0xff11_2233; (w * h) as usize];
    fixture.client(window).drew(SIZE, pixels);
    fixture.assert_shows(&[window]);
}

/// A window on a flat output that is composed from its buffer as it is, which nobody has read.
fn composed(format: u32) -> (Fixture, usize, Canvas) {
    let (mut fixture, window) = with_window(RenderNode::ReadByFake);
    let canvas = Canvas::new(format, SIZE);
    let buffer = canvas.buffer_in(fixture.client(window), UPSIDE_DOWN);
    draw(&canvas, 1);
    commit(fixture.client(window), &buffer, ALL);
    let composer = Composer::Fake(Box::default());
    fixture.flat().compose_with(composer);
    fixture.force_flat(Force::Always);
    let (mut time, mut pixels) = (1, Vec::new());
    within("its buffer is composed", || {
        fixture.settle();
        let (before, released) = (count(&mut fixture), canvas.released());
        time += 40;
        pixels = draw(&canvas, time);
        commit(fixture.client(window), &buffer, ALL);
        fixture.settle();
        count(&mut fixture) == before && canvas.released() == released
    });
    fixture.client(window).drew(SIZE, pixels);
    (fixture, window, canvas)
}

#[test]
fn buffer_that_could_not_be_read_is_read_again_without_another_commit() {
    let (mut fixture, window, canvas) = composed(XRGB);
    let before = (count(&mut fixture), canvas.released());
    let broken = Ended::Broken(anyhow::anyhow!("it was told to"));
    ends(&mut fixture, broken);
    fixture.force_flat(Force::Never);
    within("it is read", || {
        fixture.turn();
        canvas.released() > before.1
    });
    fixture.settle();
    fixture.assert_shows(&[window]);
    assert!(count(&mut fixture) > before.0);
    assert_eq!(fixture.buffers(), (1, 0));
}

#[test]
fn buffer_that_could_not_be_read_is_given_back_when_another_comes() {
    let (mut fixture, window, canvas) = composed(XRGB);
    let released = canvas.released();
    let broken = Ended::Broken(anyhow::anyhow!("it was told to"));
    ends(&mut fixture, broken);
    fixture.force_flat(Force::Never);
    within("it could not be read", || {
        fixture.turn();
        matches!(&*fixture.reader(), Reader::Fake(fake) if fake.ends.is_none())
    });
    assert_eq!(canvas.released(), released);
    // Of this one only a corner is said to be new.
    let next = Canvas::new(XRGB, SIZE);
    let pixels = draw(&next, 300);
    let buffer = next.buffer_in(fixture.client(window), UPSIDE_DOWN);
    commit(fixture.client(window), &buffer, (0, 0, 1, 1));
    fixture.settle();
    assert_eq!((canvas.released(), next.released()), (released + 1, 1));
    fixture.client(window).drew(SIZE, pixels);
    fixture.assert_shows(&[window]);
}

#[test]
fn device_that_is_gone_is_not_asked_about_new_buffers_and_their_client_lives_on() {
    // Somebody else has found it out, or it is found out when it is asked.
    for is_known in [true, false] {
        for ended in [Ended::Hung, Ended::Lost("in a test")] {
            let (mut fixture, window, told) = listening();
            let canvas = Canvas::new(XRGB, SIZE);
            let pixels = draw(&canvas, 1);
            let buffer = canvas.buffer_in(fixture.client(window), UPSIDE_DOWN);
            commit(fixture.client(window), &buffer, ALL);
            fixture.settle();
            fixture.client(window).drew(SIZE, pixels);
            let before = asked(&mut fixture);
            let device = lease(&mut fixture);
            match is_known {
                true => device.has_ended(&ended),
                false => ends(&mut fixture, ended),
            }
            let late = Canvas::new(XRGB, SIZE);
            let buffer = late.buffer_in(fixture.client(window), UPSIDE_DOWN);
            commit(fixture.client(window), &buffer, ALL);
            hears(&mut fixture, window, &told, 2);
            assert!(!is_offered(&told, UPSIDE_DOWN) && is_offered(&told, LINEAR));
            fixture.settle();
            fixture.assert_shows(&[window]);
            assert_eq!(fixture.buffers().0, 2, "it was taken");
            assert!(!fixture.reader().is_there() && device.check().is_err());
            assert_eq!((before, fixture.stats().gles_failures), (1, 1));
        }
    }
}

#[test]
fn device_that_was_reset_reads_again_after_its_rest_and_clients_are_told() {
    let (mut fixture, window, told) = listening();
    let canvas = Canvas::new(XRGB, SIZE);
    draw(&canvas, 1);
    let buffer = canvas.buffer_in(fixture.client(window), UPSIDE_DOWN);
    for round in 0..3 {
        let device = lease(&mut fixture);
        ends(&mut fixture, Ended::Lost("in a test"));
        let missed = draw(&canvas, 50 * round);
        commit(fixture.client(window), &buffer, ALL);
        hears(&mut fixture, window, &told, 2 + 2 * round as usize);
        assert!(!is_offered(&told, UPSIDE_DOWN) && !fixture.reader().is_there());
        assert!(fixture.next_deadline().is_some(), "it is waited for");
        device.wake();
        hears(&mut fixture, window, &told, 3 + 2 * round as usize);
        assert!(is_offered(&told, UPSIDE_DOWN) && fixture.reader().is_there());
        // What came meanwhile is seen without another commit.
        fixture.settle();
        fixture.client(window).drew(SIZE, missed);
        fixture.assert_shows(&[window]);
        let pixels = draw(&canvas, 50 * round + 20);
        commit(fixture.client(window), &buffer, ALL);
        fixture.settle();
        fixture.client(window).drew(SIZE, pixels);
        fixture.assert_shows(&[window]);
    }
    // Once more is too often.
    let device = lease(&mut fixture);
    ends(&mut fixture, Ended::Lost("in a test"));
    commit(fixture.client(window), &buffer, ALL);
    hears(&mut fixture, window, &told, 8);
    assert!(!device.may_return() && !is_offered(&told, UPSIDE_DOWN));
    assert_eq!(fixture.stats().gles_failures, 4);
}

#[test]
fn device_that_ends_takes_nothing_with_it_that_is_on_another() {
    for (is_same, of_reader) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut fixture, window, canvas) = composed(XRGB);
        let reads_on = lease(&mut fixture);
        let composes_on = match is_same {
            true => reads_on.clone(),
            false => Lease::default(),
        };
        let mut fake = Fake::default();
        fake.lease = composes_on.clone();
        let composer = Composer::Fake(Box::new(fake));
        fixture.flat().compose_with(composer);
        let ended = match of_reader {
            true => &reads_on,
            false => &composes_on,
        };
        ended.has_ended(&Ended::Hung);
        // Something to compose, and something to read.
        let plain = fixture.open(Painting {
            w: 60,
            h: 40,
            seed: 2,
        });
        fixture.settle();
        let other = Canvas::new(XRGB, (60, 40));
        let read = draw(&other, 9);
        let buffer = other.buffer_in(fixture.client(plain), UPSIDE_DOWN);
        commit(fixture.client(plain), &buffer, ALL);
        fixture.settle();
        let composes = matches!(fixture.flat().composer(), Some(Composer::Fake(_)));
        let reads = fixture.reader().is_there();
        assert_eq!(composes, !is_same && of_reader);
        assert_eq!(reads, !is_same && !of_reader);
        let failures = fixture.stats().gles_failures;
        assert_eq!(failures, 1 + u64::from(is_same));
        drop((window, canvas, read));
    }
}
