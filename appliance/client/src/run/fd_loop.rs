//! The main loop over file descriptors: real screens, or none.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use calloop::channel::{Event as ChannelEvent, channel};
use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use tracing::warn;

use super::uevents;
use crate::app::App;
use crate::args::ClientArgs;
use crate::display::Display;
use crate::display::headless::Headless;
use crate::display::kms::{Kms, find_device};
use crate::events::{AppEvent, Post};
use crate::libinput::Devices;

/// The loop's state.
struct Main {
    app: App,
    /// The tick that is to come, and when.
    tick: Option<(Instant, RegistrationToken)>,
}

type Handle = LoopHandle<'static, Main>;

/// Real screens.
pub fn run_kms(args: ClientArgs, state: Option<OwnedFd>) -> anyhow::Result<()> {
    let card = args.card.clone().map_or_else(find_device, Ok)?;
    let kms = Kms::open(&card)?;
    let devices = Devices::open()
        .inspect_err(|error| warn!(%error, "no keyboard or mouse"))
        .ok();
    let display_fd = kms.fd().try_clone_to_owned()?;
    let input_fd = devices
        .as_ref()
        .map(|devices| devices.fd().try_clone_to_owned())
        .transpose()?;
    let hotplug = uevents::open()
        .inspect_err(|error| warn!(%error, "no hotplug events"))
        .ok();
    run(args, state, Display::Kms(kms), devices, |handle| {
        add_fd(handle, display_fd, |app, _| app.handle(AppEvent::Display))?;
        if let Some(fd) = input_fd {
            add_fd(handle, fd, |app, _| read_devices(app))?;
        }
        if let Some(fd) = hotplug {
            add_fd(handle, fd, read_uevents)?;
        }
        Ok(())
    })
}

/// No screen at all.
pub fn run_headless(args: ClientArgs, state: Option<OwnedFd>) -> anyhow::Result<()> {
    let mut headless = Headless::new(args.framebuffer.as_deref(), args.size)?;
    if args.plane {
        headless = headless.with_plane(crate::planes::NV12);
    }
    run(args, state, Display::Headless(headless), None, |_| Ok(()))
}

fn run(
    args: ClientArgs,
    state: Option<OwnedFd>,
    display: Display,
    devices: Option<Devices>,
    add_sources: impl FnOnce(&Handle) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut events = EventLoop::<Main>::try_new().context("make the main loop")?;
    let handle = events.handle();
    let (sender, receiver) = channel();
    let post: Post = Arc::new(move |event| {
        // The loop is gone only when the process is about to be.
        let _ = sender.send(event);
    });
    let app = super::start(&args, state, display, devices, &post)?;
    handle
        .insert_source(receiver, |event, (), main: &mut Main| {
            if let ChannelEvent::Msg(event) = event {
                main.app.handle(event);
            }
        })
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    add_sources(&handle)?;
    let mut main = Main { app, tick: None };
    let signal = events.get_signal();
    events.run(None, &mut main, move |main| {
        if main.app.has_ended() {
            signal.stop();
        }
        arm_tick(&handle, main);
    })?;
    Ok(())
}

fn add_fd(
    handle: &Handle,
    fd: OwnedFd,
    mut ready: impl FnMut(&mut App, BorrowedFd<'_>) + 'static,
) -> anyhow::Result<()> {
    let source = Generic::new(fd, Interest::READ, Mode::Level);
    handle
        .insert_source(source, move |_, fd, main: &mut Main| {
            ready(&mut main.app, fd.as_fd());
            Ok(PostAction::Continue)
        })
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(())
}

/// Makes sure that a tick comes when one is wanted.
fn arm_tick(handle: &Handle, main: &mut Main) {
    let Some(at) = main.app.next_tick().map(|wait| Instant::now() + wait) else {
        return;
    };
    if main.tick.is_some_and(|(then, _)| then <= at) {
        return;
    }
    // A heartbeat does not wait for a tick that was to come much later.
    if let Some((_, later)) = main.tick.take() {
        handle.remove(later);
    }
    let inserted = handle.insert_source(Timer::from_deadline(at), |_, (), main: &mut Main| {
        main.tick = None;
        main.app.handle(AppEvent::Tick);
        TimeoutAction::Drop
    });
    main.tick = inserted.ok().map(|token| (at, token));
}

fn read_devices(app: &mut App) {
    let Some(mut devices) = app.devices.take() else {
        return;
    };
    let mut events = Vec::new();
    if let Err(error) = devices.dispatch(|event| events.push(event)) {
        warn!(%error, "input devices cannot be read");
    }
    app.devices = Some(devices);
    events
        .into_iter()
        .for_each(|event| app.handle(AppEvent::Seat(event)));
}

fn read_uevents(app: &mut App, fd: BorrowedFd<'_>) {
    if uevents::read(fd)
        && let Display::Kms(kms) = &mut app.display
    {
        match kms.scan() {
            Ok(true) => app.handle(AppEvent::OutputsChanged),
            Ok(false) => {}
            Err(error) => warn!(%error, "the screens cannot be looked at"),
        }
    }
}
