//! heliostat-session: one person's running desktop. Started by the broker, as that person.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Parser;
use heliostat_control::hex::Hex;
use heliostat_session::app::{Event, Session};
use heliostat_session::config::{self, Config};
use heliostat_session::gpu::{self, Gpu};
use heliostat_session::link::{self, LinkOptions};
use heliostat_session::{flat, memory, x11};
use heliostat_wire::id::SessionId;
use tracing_subscriber::EnvFilter;

/// Layers in huge pages: new ones are drawn while a person waits.
#[global_allocator]
static MEMORY: heliostat_memory::Pages = heliostat_memory::Pages;

/// One person's running desktop; started by heliostat-broker.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The session's id: 32 hex digits.
    #[arg(long, required_unless_present_any = ["check_gpu", "check_config"])]
    id: Option<Hex<16>>,
    /// The inherited descriptor on which the broker connects.
    #[arg(long)]
    control_fd: Option<RawFd>,
    /// UDP ports of session links, first and last.
    #[arg(long, default_value = "4500-4999", value_parser = ports)]
    ports: (u16, u16),
    /// The site's session.toml.
    #[arg(long)]
    config: Option<PathBuf>,
    /// What counts as if it stood at the end of the site's file: how the broker makes greeters,
    /// kiosks and desktops that a policy names.
    #[arg(long, value_name = "TOML")]
    site: Option<String>,
    /// The graphics device, in place of what session.toml says: auto, off, or a render node such as
    /// /dev/dri/renderD128.
    #[arg(long, value_name = "NODE")]
    render_node: Option<String>,
    /// Say which graphics device would be used, what it offers and what films will go by, and exit:
    /// with 0 where it is the hardware.
    #[arg(long)]
    check_gpu: bool,
    /// Say what is wrong with the site's session.toml, and exit: with 0 where nothing is.
    #[arg(long)]
    check_config: bool,
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("{text:?} is no range of ports: expected FIRST-LAST such as 4500-4999");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first = first.trim().parse().map_err(|_| wrong())?;
    let last = last.trim().parse().map_err(|_| wrong())?;
    if first <= last {
        Ok((first, last))
    } else {
        Err(wrong())
    }
}

fn check_config(site: Option<&Path>) -> ExitCode {
    let site = site.unwrap_or(Path::new(config::SITE));
    match Config::default().with_site_file(site) {
        Ok(_) => {
            println!("{}: fine", site.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    if x11::shim::is_meant(std::env::args_os().next().as_ref()) {
        return Err(x11::shim::become_xwayland());
    }
    let arguments = Arguments::parse();
    if arguments.check_config {
        return Ok(check_config(arguments.config.as_deref()));
    }
    memory::keep_freed();
    let filter = EnvFilter::try_from_env("HELIOSTAT_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,smithay=warn"));
    // They call Xwayland's crash an error, which is none of ours; we say it ourselves.
    let filter = filter
        .add_directive("smithay::xwayland::xserver=off".parse()?)
        .add_directive("smithay::utils::x11rb=off".parse()?);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let mut config = Config::load(arguments.config.as_deref(), arguments.site.as_deref())?;
    if let Some(node) = arguments.render_node {
        config.render_node = node.into();
    }
    if arguments.check_gpu {
        let (said, is_taken) = gpu::check(&config.render_node);
        let gpu = Gpu::open(&config.render_node, config.gpu_reading);
        print!("{said}{}", gpu.describe_reading());
        println!("{}", flat::describe(&config, &gpu));
        return Ok(if is_taken {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let id = arguments.id.context("--id is missing")?;
    let control = match arguments.control_fd {
        None => None,
        Some(fd) => match heliostat_session::take_inherited(fd) {
            Some(fd) => Some(fd),
            None => bail!("--control-fd {fd}: the broker has left no such descriptor"),
        },
    };
    // The links start once the socket has its name; words before that wait.
    let (early, early_words) = tokio::sync::mpsc::unbounded_channel();
    drop(early_words);
    let mut session = Session::new(config, early)?;
    let events = session.events.clone();
    let options = LinkOptions {
        session: SessionId(id.0),
        person: std::env::var("USER").unwrap_or_default(),
        ports: arguments.ports,
        wayland_display: session.wayland_display.clone(),
    };
    let post = Arc::new(move |event| events.send(Event::Link(event)).is_ok());
    let links = link::start(options, control, post).context("open the session link")?;
    session.set_broker(links.broker.clone());
    session.run()?;
    links.finish();
    Ok(ExitCode::SUCCESS)
}
