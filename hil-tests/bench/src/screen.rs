//! A viewer for what a headless wlroots compositor shows: its picture is copied into a file, and
//! keys and mouse come as control lines, through virtual devices.

mod dispatch;
mod input;
pub mod x11;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use heliostat_sys::pixels::SharedFile;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use serde_json::json;
use wayland_client::Connection;
use wayland_client::globals::registry_queue_init;
use wayland_client::protocol::wl_output::WlOutput;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_protocols_misc::zwp_virtual_keyboard_v1::client::zwp_virtual_keyboard_manager_v1::ZwpVirtualKeyboardManagerV1;
use wayland_protocols_wlr::screencopy::v1::client::zwlr_screencopy_manager_v1::ZwlrScreencopyManagerV1;
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_manager_v1::ZwlrVirtualPointerManagerV1;

use crate::canvas::Rect;
use crate::picture_file::{PictureFile, say};

/// What events change.
#[derive(Debug, Default)]
struct State {
    /// The compositor's form of a picture: width, height and stride.
    form: Option<(u32, u32, u32)>,
    damage: Vec<Rect>,
    upside_down: bool,
    /// A copy is complete, or has failed.
    outcome: Option<bool>,
}

/// Copies each new picture until the compositor or the harness ends it.
pub fn run(picture: &Path, (w, h): (u32, u32)) -> anyhow::Result<()> {
    let connection = Connection::connect_to_env().context("connect to the compositor")?;
    let (globals, mut queue) = registry_queue_init::<State>(&connection)?;
    let handle = queue.handle();
    let mut state = State::default();
    let seat: WlSeat = globals.bind(&handle, 1..=1, ())?;
    let output: WlOutput = globals.bind(&handle, 1..=1, ())?;
    let shm: WlShm = globals.bind(&handle, 1..=1, ())?;
    let copier: ZwlrScreencopyManagerV1 = globals.bind(&handle, 3..=3, ())?;
    let keyboards: ZwpVirtualKeyboardManagerV1 = globals.bind(&handle, 1..=1, ())?;
    let pointers: ZwlrVirtualPointerManagerV1 = globals.bind(&handle, 1..=1, ())?;
    let keyboard = keyboards.create_virtual_keyboard(&seat, &handle, ());
    let pointer = pointers.create_virtual_pointer(Some(&seat), &handle, ());
    input::read_from_stdin(connection.clone(), keyboard, pointer, (w, h))?;

    let length = (w * h * 4) as usize;
    let copy = File::from(memfd_create("hil-screen", MemfdFlags::CLOEXEC)?);
    ftruncate(&copy, length as u64)?;
    let memory = SharedFile::map(&copy, length)?;
    let pool = shm.create_pool(copy.as_fd(), length as i32, &handle, ());
    let (side, stride) = ((w as i32, h as i32), w as i32 * 4);
    let buffer = pool.create_buffer(0, side.0, side.1, stride, Format::Xrgb8888, &handle, ());
    let mut file = PictureFile::create(picture, w, h)?;
    say(&json!({"event": "connected", "name": "screen"}));
    let mut is_first = true;
    loop {
        let frame = copier.capture_output(0, &output, &handle, ());
        while state.form.is_none() {
            queue.blocking_dispatch(&mut state)?;
        }
        ensure!(
            state.form.take() == Some((w, h, w * 4)),
            "the compositor's picture has another form"
        );
        if std::mem::take(&mut is_first) {
            frame.copy(&buffer);
            state.damage.push(Rect::new(0, 0, w, h));
        } else {
            frame.copy_with_damage(&buffer);
        }
        while state.outcome.is_none() {
            queue.blocking_dispatch(&mut state)?;
        }
        if state.outcome.take() == Some(false) {
            bail!("the compositor gives no picture");
        }
        ensure!(
            !state.upside_down,
            "the compositor's picture is upside down"
        );
        file.begin();
        for rect in state.damage.drain(..) {
            for y in rect.y..(rect.y + rect.h).min(h) {
                let words = &memory.words()[(y * w + rect.x) as usize..][..rect.w as usize];
                file.row_mut(rect.x, y, rect.w).copy_from_slice(words);
            }
        }
        file.end();
        frame.destroy();
    }
}
