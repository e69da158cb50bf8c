//! Putting the client together, and its main loops.

mod fd_loop;
mod uevents;
mod window_loop;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::Context;
use heliostat_terminal_state::{Code, Stage, TerminalState};

use crate::app::{App, Parts};
use crate::args::{Backend, CardSource, ClientArgs, DecoderChoice};
use crate::card;
use crate::control_lines::{Announcer, read_from_stdin};
use crate::display::Display;
use crate::events::{AppEvent, Post};
use crate::init_link::InitLink;
use crate::libinput::Devices;
use crate::net::Net;
use crate::screens::Surroundings;
use crate::video::hardware::Device;

/// Runs the client until it ends.
pub fn run(args: ClientArgs) -> anyhow::Result<()> {
    // Taken before anything else opens descriptors.
    let state = args
        .state_fd
        .map(heliostat_sys::fd::take_inherited)
        .transpose();
    let state = state.context("the socket to PID 1")?;
    // Wiping what is ours is not enough: codecs and links free what they held as it was.
    if !heliostat_sys::memory::overwrite_what_is_freed() {
        tracing::debug!("the C library does not overwrite memory that is freed");
    }
    match args.backend {
        Backend::Kms => fd_loop::run_kms(args, state),
        Backend::Headless => fd_loop::run_headless(args, state),
        Backend::Window => window_loop::run(args, state),
    }
}

/// Starts the threads and makes the app.
fn start(
    args: &ClientArgs,
    state: Option<OwnedFd>,
    display: Display,
    devices: Option<Devices>,
    post: &Post,
) -> anyhow::Result<App> {
    let net = Net::start(post.clone())?;
    let init = state
        .map(|socket| InitLink::open(socket, post.clone()))
        .transpose()?;
    if args.control {
        read_from_stdin(post.clone())?;
    }
    let prover = match args.card_source {
        CardSource::Pcsc => {
            let report = |post: Post| move |event| post(AppEvent::Card(event));
            card::pcsc::watch(report(post.clone()))?;
            Some(card::prover::Prover::start(report(post.clone()))?)
        }
        CardSource::Control => None,
    };
    let mut app = App::new(Parts {
        display,
        devices,
        net,
        around: surroundings(args, init.is_some()),
        init,
        announcer: Announcer {
            enabled: args.control,
        },
        layout: args.layout.clone(),
        prover,
    });
    // Drivers take their time, and the first screen is shown by now.
    app.use_decoder(open_decoder(&args.decoder, &app.display));
    Ok(app)
}

fn open_decoder(choice: &DecoderChoice, display: &Display) -> Option<Arc<Device>> {
    match choice {
        DecoderChoice::Software => {
            tracing::info!("videos are decoded by the processor: so it was asked for");
            None
        }
        DecoderChoice::Auto => Device::open_or_say_why(display.render_node().as_deref()),
        DecoderChoice::Node(node) => Device::open_or_say_why(Some(node)),
    }
}

/// What is known before anybody has said anything.
fn surroundings(args: &ClientArgs, has_init: bool) -> Surroundings {
    let hostname = || {
        let name = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok());
        name.unwrap_or_else(|| "terminal".to_owned())
    };
    let name = args.name.clone().unwrap_or_else(hostname);
    let mut terminal = TerminalState::default();
    if !has_init {
        terminal = without_init(args, &name);
    }
    Surroundings {
        terminal,
        name,
        readers: None,
        card_service: args.card_source == CardSource::Control,
        ..Surroundings::default()
    }
}

/// The state of a terminal that no PID 1 looks after: its command line says all.
fn without_init(args: &ClientArgs, name: &str) -> TerminalState {
    let bad_key = args
        .site_keys
        .iter()
        .any(|key| key.parse::<heliostat_link::KeyPin>().is_err());
    let (stage, code) = match (args.brokers.is_empty(), args.site_keys.is_empty()) {
        (_, true) => (Stage::Failed, Some(Code::NoSiteKey)),
        _ if bad_key => (Stage::Failed, Some(Code::BadSiteKey)),
        (true, _) => (Stage::Failed, Some(Code::NoBroker)),
        (false, false) => (Stage::Ready, None),
    };
    TerminalState {
        stage,
        code,
        name: Some(name.to_owned()),
        id: Some(args.id.clone().unwrap_or_else(|| format!("host-{name}"))),
        brokers: args.brokers.clone(),
        site_keys: args.site_keys.clone(),
        ..TerminalState::default()
    }
}
