//! The main loop of a window: winit's.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use heliostat_wire::input::{AxisSource, UNITS_PER_PIXEL};
use tracing::warn;
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::{ElementState, MouseButton, MouseScrollDelta, StartCause, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop};
use winit::platform::scancode::PhysicalKeyExtScancode;
use winit::window::{Window as WinitWindow, WindowId};

use crate::app::App;
use crate::args::ClientArgs;
use crate::clock::monotonic_us;
use crate::display::Display;
use crate::display::window::Window;
use crate::events::{AppEvent, Post};
use crate::seat::SeatEvent;

/// Opens the window and serves it until it is closed.
pub fn run(args: ClientArgs, state: Option<OwnedFd>) -> anyhow::Result<()> {
    let events = EventLoop::<AppEvent>::with_user_event()
        .build()
        .context("open a window: is DISPLAY or WAYLAND_DISPLAY set?")?;
    let proxy = events.create_proxy();
    let post: Post = Arc::new(move |event| {
        // The loop is gone only when the process is about to be.
        let _ = proxy.send_event(event);
    });
    let mut main = Main {
        args,
        state,
        post,
        app: None,
        failure: None,
    };
    events.run_app(&mut main)?;
    main.failure.map_or(Ok(()), Err)
}

struct Main {
    args: ClientArgs,
    state: Option<OwnedFd>,
    post: Post,
    app: Option<App>,
    failure: Option<anyhow::Error>,
}

impl Main {
    fn open(&mut self, events: &ActiveEventLoop) -> anyhow::Result<App> {
        let name = self
            .args
            .name
            .clone()
            .unwrap_or_else(|| "terminal".to_owned());
        let (w, h) = self.args.size;
        let attributes = WinitWindow::default_attributes()
            .with_title(format!("Heliostat: {name}"))
            .with_inner_size(PhysicalSize::new(w, h));
        let window = Rc::new(events.create_window(attributes).context("open a window")?);
        // The pointer is a part of the picture.
        window.set_cursor_visible(false);
        let display = Display::Window(Window::new(window)?);
        super::start(&self.args, self.state.take(), display, None, &self.post)
    }

    fn handle(&mut self, events: &ActiveEventLoop, event: AppEvent) {
        let Some(app) = &mut self.app else { return };
        app.handle(event);
        if app.has_ended() {
            events.exit();
        }
    }
}

impl ApplicationHandler<AppEvent> for Main {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        if self.app.is_some() {
            return;
        }
        match self.open(events) {
            Ok(app) => self.app = Some(app),
            Err(error) => {
                self.failure = Some(error);
                events.exit();
            }
        }
    }

    fn user_event(&mut self, events: &ActiveEventLoop, event: AppEvent) {
        self.handle(events, event);
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        let time_us = monotonic_us();
        match event {
            WindowEvent::CloseRequested => self.handle(events, AppEvent::Closed),
            WindowEvent::Resized(size) => self.resized(events, size),
            WindowEvent::RedrawRequested => self.expose(),
            other => {
                if let Some(event) = self.seat_event(other, time_us) {
                    self.handle(events, AppEvent::Seat(event));
                }
            }
        }
    }

    fn new_events(&mut self, events: &ActiveEventLoop, cause: StartCause) {
        if let StartCause::ResumeTimeReached { .. } = cause {
            self.handle(events, AppEvent::Tick);
        }
    }

    fn about_to_wait(&mut self, events: &ActiveEventLoop) {
        let wait = self.app.as_ref().and_then(App::next_tick);
        events.set_control_flow(match wait {
            Some(wait) => ControlFlow::WaitUntil(Instant::now() + wait),
            None => ControlFlow::Wait,
        });
    }
}

impl Main {
    fn resized(&mut self, events: &ActiveEventLoop, size: PhysicalSize<u32>) {
        if let Some(Display::Window(window)) = self.app.as_mut().map(|app| &mut app.display) {
            window.resize((size.width, size.height));
            self.handle(events, AppEvent::OutputsChanged);
        }
    }

    fn expose(&mut self) {
        if let Some(Display::Window(window)) = self.app.as_mut().map(|app| &mut app.display)
            && let Err(error) = window.push_picture()
        {
            warn!(%error, "the window cannot be drawn");
        }
    }

    fn seat_event(&self, event: WindowEvent, time_us: u64) -> Option<SeatEvent> {
        let size = match &self.app.as_ref()?.display {
            Display::Window(window) => window.size(),
            _ => return None,
        };
        Some(match event {
            WindowEvent::KeyboardInput { event, .. } if !event.repeat => SeatEvent::Key {
                time_us,
                // On Linux winit's scancodes are evdev's.
                code: event.physical_key.to_scancode()? as u16,
                pressed: event.state == ElementState::Pressed,
            },
            WindowEvent::CursorMoved { position, .. } => {
                let along =
                    |at: f64, side: u32| (at.max(0.0) * 65_536.0 / f64::from(side.max(1))) as u32;
                let at = (along(position.x, size.w), along(position.y, size.h));
                SeatEvent::MotionTo { time_us, at }
            }
            WindowEvent::MouseInput { state, button, .. } => SeatEvent::Button {
                time_us,
                code: button_code(button)?,
                pressed: state == ElementState::Pressed,
            },
            WindowEvent::MouseWheel { delta, .. } => wheel(delta, time_us),
            _ => return None,
        })
    }
}

fn button_code(button: MouseButton) -> Option<u16> {
    Some(match button {
        MouseButton::Left => 0x110,
        MouseButton::Right => 0x111,
        MouseButton::Middle => 0x112,
        MouseButton::Back => 0x113,
        MouseButton::Forward => 0x114,
        MouseButton::Other(_) => return None,
    })
}

fn wheel(delta: MouseScrollDelta, time_us: u64) -> SeatEvent {
    let units = f64::from(UNITS_PER_PIXEL);
    match delta {
        MouseScrollDelta::LineDelta(x, y) => SeatEvent::Axis {
            time_us,
            source: AxisSource::Wheel,
            by: (
                (-f64::from(x) * 15.0 * units) as i32,
                (-f64::from(y) * 15.0 * units) as i32,
            ),
            v120: ((-x * 120.0) as i32, (-y * 120.0) as i32),
        },
        MouseScrollDelta::PixelDelta(by) => SeatEvent::Axis {
            time_us,
            source: AxisSource::Finger,
            by: ((-by.x * units) as i32, (-by.y * units) as i32),
            v120: (0, 0),
        },
    }
}
