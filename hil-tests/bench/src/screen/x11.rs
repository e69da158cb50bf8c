//! The same for what an X server without a screen shows.

use std::fs::File;
use std::io::BufRead;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use heliostat_sys::pixels::SharedFile;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use serde_json::{Value, json};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::protocol::Event;
use x11rb::protocol::damage::{self, ConnectionExt as _, ReportLevel};
use x11rb::protocol::shm::ConnectionExt as _;
use x11rb::protocol::xproto::{self, ConnectionExt as _, ImageFormat, InputFocus, Window};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use crate::canvas::Rect;
use crate::picture_file::{PictureFile, say};

/// X's keycodes are evdev's and this.
const KEYCODE_OFFSET: u64 = 8;

/// Copies what changes until the X server or the harness ends it.
pub fn run(picture: &Path, (w, h): (u32, u32)) -> anyhow::Result<()> {
    let (connection, screen) = x11rb::connect(None).context("connect to the X server")?;
    let connection = Arc::new(connection);
    let setup = &connection.setup().roots[screen];
    let root = setup.root;
    let side = (setup.width_in_pixels.into(), setup.height_in_pixels.into());
    ensure!(side == (w, h), "the X server's screen is {side:?}");
    let has_damage = connection.extension_information(damage::X11_EXTENSION_NAME)?;
    ensure!(
        has_damage.is_some(),
        "the X server cannot tell what changed"
    );
    connection.damage_query_version(1, 1)?.reply()?;
    let changes = connection.generate_id()?;
    connection.damage_create(changes, root, ReportLevel::RAW_RECTANGLES)?;
    let mut copier = Copier::new(&connection, root, PictureFile::create(picture, w, h)?)?;
    say(&json!({"event": "connected", "name": "screen"}));
    read_input_from_stdin(connection.clone(), root);
    copier.copy(&connection, Rect::new(0, 0, w, h))?;
    loop {
        let mut next = Some(connection.wait_for_event()?);
        let mut changed = None::<Rect>;
        while let Some(event) = next {
            if let Event::DamageNotify(notify) = event {
                let area = notify.area;
                let (x, y) = (area.x.max(0) as u32, area.y.max(0) as u32);
                let rect = Rect::new(x, y, area.width.into(), area.height.into());
                changed = Some(changed.map_or(rect, |changed| changed.around(rect)));
            }
            next = connection.poll_for_event()?;
        }
        if let Some(rect) = changed {
            copier.copy(&connection, rect)?;
        }
    }
}

/// Gets pictures from the X server through shared memory.
struct Copier {
    root: Window,
    segment: u32,
    memory: SharedFile,
    file: PictureFile,
}

impl Copier {
    fn new(connection: &RustConnection, root: Window, file: PictureFile) -> anyhow::Result<Self> {
        let (w, h) = file.size();
        let length = (w * h * 4) as usize;
        let shared = File::from(memfd_create("hil-screen", MemfdFlags::CLOEXEC)?);
        ftruncate(&shared, length as u64)?;
        let memory = SharedFile::map(&shared, length)?;
        let segment = connection.generate_id()?;
        let fd = shared.as_fd().try_clone_to_owned()?;
        connection.shm_attach_fd(segment, fd, false)?.check()?;
        Ok(Self {
            root,
            segment,
            memory,
            file,
        })
    }

    fn copy(&mut self, connection: &RustConnection, rect: Rect) -> anyhow::Result<()> {
        let (w, h) = self.file.size();
        let right = (rect.x + rect.w).min(w);
        let bottom = (rect.y + rect.h).min(h);
        if rect.x >= right || rect.y >= bottom {
            return Ok(());
        }
        let (w, h) = (right - rect.x, bottom - rect.y);
        let (x, y) = (rect.x as i16, rect.y as i16);
        let format = ImageFormat::Z_PIXMAP.into();
        let (root, segment) = (self.root, self.segment);
        connection
            .shm_get_image(root, x, y, w as u16, h as u16, !0, format, segment, 0)?
            .reply()?;
        self.file.begin();
        for row in 0..h {
            let words = &self.memory.words()[(row * w) as usize..][..w as usize];
            let pixels = self.file.row_mut(rect.x, rect.y + row, w);
            pixels.copy_from_slice(words);
        }
        self.file.end();
        Ok(())
    }
}

/// Reads standard input on a thread of its own; its end ends the process.
fn read_input_from_stdin(connection: Arc<RustConnection>, root: Window) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let Ok(line) = serde_json::from_str(&line) else {
                continue;
            };
            if act(&connection, root, &line).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
}

fn act(connection: &RustConnection, root: Window, line: &Value) -> anyhow::Result<()> {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (kind, detail, x, y) = if let Some(key) = line.get("key") {
        let kind = match key["pressed"] == true {
            true => xproto::KEY_PRESS_EVENT,
            false => xproto::KEY_RELEASE_EVENT,
        };
        if kind == xproto::KEY_PRESS_EVENT {
            focus_top(connection, root)?;
        }
        (kind, (number(&key["code"]) + KEYCODE_OFFSET) as u8, 0, 0)
    } else if let Some(place) = line.get("pointer") {
        let (x, y) = (number(&place["x"]) as i16, number(&place["y"]) as i16);
        (xproto::MOTION_NOTIFY_EVENT, 0, x, y)
    } else if let Some(button) = line.get("button") {
        let kind = match button["pressed"] == true {
            true => xproto::BUTTON_PRESS_EVENT,
            false => xproto::BUTTON_RELEASE_EVENT,
        };
        (kind, 1, 0, 0)
    } else {
        return Ok(());
    };
    connection.xtest_fake_input(kind, detail, 0, root, x, y, 0)?;
    Ok(connection.flush()?)
}

/// Gives the keyboard to the window on top, once; there is no window manager that would.
fn focus_top(connection: &RustConnection, root: Window) -> anyhow::Result<()> {
    let focus = connection.get_input_focus()?.reply()?.focus;
    if focus > 1 && focus != root {
        return Ok(());
    }
    let tree = connection.query_tree(root)?.reply()?;
    for window in tree.children.into_iter().rev() {
        let attributes = connection.get_window_attributes(window)?.reply()?;
        if attributes.map_state == xproto::MapState::VIEWABLE {
            connection.set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)?;
            return Ok(());
        }
    }
    Ok(())
}
