//! The X11 front end: plain windows without a window manager, and MIT-SHM.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::shm::ConnectionExt as _;
use x11rb::protocol::xproto::{
    ButtonMask, ConfigureWindowAux, ConnectionExt as _, CreateGCAux, CreateWindowAux, EventMask,
    ImageFormat, InputFocus, KeyButMask, StackMode, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use super::sheet::Sheet;
use super::{Front, Happening, realtime_ns, timespec};
use crate::canvas::{Canvas, Rect};
use crate::play::Play;
use crate::workload::{Over, Workload};

const KEYCODE_TAB: u8 = 23;

/// The connection with its windows.
pub struct X11 {
    connection: RustConnection,
    base: Surface,
    over: Option<Surface>,
    /// Where the moved window was taken hold of, relative to its corner.
    grip: Option<(i16, i16)>,
    at: (i16, i16),
    over_is_top: bool,
    workload: Workload,
    handed_over_ns: u64,
}

struct Surface {
    window: Window,
    gc: u32,
    segment: u32,
    sheet: Sheet,
    is_shown: bool,
}

impl X11 {
    /// Opens the windows of a workload.
    pub fn open(play: &Play) -> anyhow::Result<Self> {
        let (connection, screen) = x11rb::connect(None).context("connect to the X server")?;
        let root = connection.setup().roots[screen].root;
        let base = Surface::new(&connection, root, (0, 0), &play.base)?;
        base.map(&connection)?;
        let at = match play.workload().over() {
            Over::Film(rect) | Over::Photos(rect) | Over::Menu(rect) => {
                (rect.x as i16, rect.y as i16)
            }
            Over::Window(w, h) => ((play.base.w - w) as i16 / 2, (play.base.h - h) as i16 / 2),
            Over::Page | Over::Nothing => (0, 0),
        };
        let over = match &play.over {
            Some(canvas) => Some(Surface::new(&connection, root, at, canvas)?),
            None => None,
        };
        let mut x11 = Self {
            connection,
            base,
            over,
            grip: None,
            at,
            over_is_top: true,
            workload: play.workload(),
            handed_over_ns: 0,
        };
        x11.show_base(play, &[play.base.bounds()])?;
        if play.over_is_shown() {
            x11.set_over(play, true)?;
        }
        x11.connection
            .set_input_focus(InputFocus::PARENT, x11.base.window, x11rb::CURRENT_TIME)?;
        x11.connection.flush()?;
        Ok(x11)
    }

    fn handle(&mut self, play: &Play, event: &Event) -> anyhow::Result<Option<Happening>> {
        match event {
            Event::KeyPress(key) => {
                let tab = key.detail == KEYCODE_TAB;
                return Ok(Some(Happening::Key { tab }));
            }
            Event::Expose(exposed) => {
                let rect = Rect::new(
                    exposed.x.into(),
                    exposed.y.into(),
                    exposed.width.into(),
                    exposed.height.into(),
                );
                match exposed.window == self.base.window {
                    true => self.show_base(play, &[rect])?,
                    false => self.show_over(play, &[rect])?,
                }
            }
            Event::ButtonPress(press) if self.workload == Workload::Move => {
                self.grip = Some((press.root_x - self.at.0, press.root_y - self.at.1));
            }
            Event::ButtonRelease(_) => self.grip = None,
            Event::MotionNotify(motion)
                if motion
                    .state
                    .contains(KeyButMask::from(u16::from(ButtonMask::M1))) =>
            {
                if let (Some((x, y)), Some(over)) = (self.grip, &self.over) {
                    self.at = (motion.root_x - x, motion.root_y - y);
                    let place = ConfigureWindowAux::new()
                        .x(i32::from(self.at.0))
                        .y(i32::from(self.at.1));
                    self.connection.configure_window(over.window, &place)?;
                }
            }
            _ => {}
        }
        Ok(None)
    }
}

impl Front for X11 {
    fn wait(
        &mut self,
        play: &Play,
        others: &[BorrowedFd<'_>],
        limit: Option<Duration>,
    ) -> anyhow::Result<Vec<Happening>> {
        let mut happenings = Vec::new();
        let mut any = false;
        loop {
            while let Some(event) = self.connection.poll_for_event()? {
                any = true;
                happenings.extend(self.handle(play, &event)?);
            }
            self.connection.flush()?;
            if any {
                return Ok(happenings);
            }
            let ready = {
                let own = std::iter::once(self.connection.stream().as_fd());
                let mut fds: Vec<_> = own
                    .chain(others.iter().copied())
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                    .collect();
                poll(&mut fds, timespec(limit).as_ref())?;
                !fds[0].revents().is_empty()
            };
            if !ready {
                return Ok(happenings);
            }
            // What arrived may be no event, so nothing is waited for a second time.
            any = true;
        }
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn show_base(&mut self, play: &Play, damage: &[Rect]) -> anyhow::Result<()> {
        self.handed_over_ns = realtime_ns();
        self.base.show(&self.connection, &play.base, damage)
    }

    fn handed_over_ns(&self) -> u64 {
        self.handed_over_ns
    }

    fn show_over(&mut self, play: &Play, damage: &[Rect]) -> anyhow::Result<()> {
        match (&mut self.over, &play.over) {
            (Some(over), Some(canvas)) if over.is_shown => {
                over.show(&self.connection, canvas, damage)
            }
            _ => Ok(()),
        }
    }

    fn set_over(&mut self, play: &Play, shown: bool) -> anyhow::Result<()> {
        let (Some(over), Some(canvas)) = (&mut self.over, &play.over) else {
            return Ok(());
        };
        over.is_shown = shown;
        if shown {
            over.map(&self.connection)?;
            over.show(&self.connection, canvas, &[canvas.bounds()])
        } else {
            self.connection.unmap_window(over.window)?;
            Ok(self.connection.flush()?)
        }
    }

    fn raise_other(&mut self) -> anyhow::Result<()> {
        let Some(over) = &self.over else {
            return Ok(());
        };
        self.over_is_top = !self.over_is_top;
        let window = match self.over_is_top {
            true => over.window,
            false => self.base.window,
        };
        let top = ConfigureWindowAux::new().stack_mode(StackMode::ABOVE);
        self.connection.configure_window(window, &top)?;
        Ok(self.connection.flush()?)
    }
}

impl Surface {
    fn new(
        connection: &RustConnection,
        root: Window,
        (x, y): (i16, i16),
        canvas: &Canvas,
    ) -> anyhow::Result<Self> {
        let window = connection.generate_id()?;
        let events = EventMask::KEY_PRESS
            | EventMask::EXPOSURE
            | EventMask::BUTTON_PRESS
            | EventMask::BUTTON_RELEASE
            | EventMask::BUTTON_MOTION;
        let wishes = CreateWindowAux::new()
            .override_redirect(1)
            .event_mask(events)
            .cursor(empty_cursor(connection, root)?);
        let (w, h) = (canvas.w as u16, canvas.h as u16);
        connection.create_window(
            x11rb::COPY_DEPTH_FROM_PARENT,
            window,
            root,
            x,
            y,
            w,
            h,
            0,
            WindowClass::INPUT_OUTPUT,
            x11rb::COPY_FROM_PARENT,
            &wishes,
        )?;
        let gc = connection.generate_id()?;
        connection.create_gc(gc, window, &CreateGCAux::new().graphics_exposures(0))?;
        let sheet = Sheet::new(canvas.w, canvas.h, 1)?;
        let segment = connection.generate_id()?;
        let fd = sheet.fd().try_clone_to_owned()?;
        connection.shm_attach_fd(segment, fd, true)?.check()?;
        Ok(Self {
            window,
            gc,
            segment,
            sheet,
            is_shown: true,
        })
    }

    fn map(&self, connection: &RustConnection) -> anyhow::Result<()> {
        let top = ConfigureWindowAux::new().stack_mode(StackMode::ABOVE);
        connection.configure_window(self.window, &top)?;
        connection.map_window(self.window)?;
        Ok(())
    }

    fn show(
        &mut self,
        connection: &RustConnection,
        canvas: &Canvas,
        damage: &[Rect],
    ) -> anyhow::Result<()> {
        self.sheet.note(damage);
        self.sheet.take(canvas);
        let (w, h) = (canvas.w as u16, canvas.h as u16);
        for rect in damage {
            let [left, top, width, height] = [rect.x, rect.y, rect.w, rect.h].map(|v| v as u16);
            connection.shm_put_image(
                self.window,
                self.gc,
                w,
                h,
                left,
                top,
                width,
                height,
                left as i16,
                top as i16,
                24,
                ImageFormat::Z_PIXMAP.into(),
                false,
                self.segment,
                0,
            )?;
        }
        // The server reads the pixels some time; only an answer says that it has.
        connection.get_input_focus()?.reply()?;
        self.sheet.release(0);
        Ok(())
    }
}

/// A pointer that cannot be seen: pictures are compared whole.
fn empty_cursor(connection: &RustConnection, root: Window) -> anyhow::Result<u32> {
    let (pixmap, cursor) = (connection.generate_id()?, connection.generate_id()?);
    connection.create_pixmap(1, pixmap, root, 1, 1)?;
    let gc = connection.generate_id()?;
    connection.create_gc(gc, pixmap, &CreateGCAux::new().foreground(0))?;
    let dot = x11rb::protocol::xproto::Rectangle {
        x: 0,
        y: 0,
        width: 1,
        height: 1,
    };
    connection.poly_fill_rectangle(pixmap, gc, &[dot])?;
    connection.create_cursor(cursor, pixmap, pixmap, 0, 0, 0, 0, 0, 0, 0, 0)?;
    Ok(cursor)
}
