//! `heliostat-image`: from distribution packages to `vmlinuz`, `initramfs.zst`, `heliostat.efi` and `manifest.json`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use heliostat_image::build::{Options, build};
use heliostat_image::profile::Profile;
use heliostat_image::segment::{FAST_LEVEL, RELEASE_LEVEL};
use heliostat_image::site::{self, Site};
use heliostat_manifest::{Manifest, Package, Role};
use tracing_subscriber::EnvFilter;

/// Builds the netboot image of Heliostat's terminals from distribution packages.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Build an image.
    Build(BuildArguments),
    /// Put a site's keys, brokers and command line into an image that was built before.
    Site(SiteArguments),
}

#[derive(clap::Args)]
struct BuildArguments {
    /// A built-in profile (qemu, desk-x86) or the PATH.toml of another.
    #[arg(long)]
    profile: String,
    /// The heliostat-terminal program; its symbols are stripped.
    #[arg(long, value_name = "FILE")]
    terminal: PathBuf,
    /// The directory for the image.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Pin of the site key; several while a key is being replaced.
    #[arg(long, value_name = "sha256:HEX", value_parser = site_key)]
    site_key: Vec<String>,
    /// A broker for the kernel command line; usually DHCP names it instead.
    #[arg(long, value_name = "HOST:PORT", value_parser = broker)]
    broker: Vec<String>,
    /// Further words for the kernel command line.
    #[arg(long, value_name = "WORDS")]
    cmdline: Option<String>,
    /// Where packages are kept between builds.
    #[arg(long, value_name = "DIR", default_value = "target/image-cache")]
    cache: PathBuf,
    /// Build from exactly the packages of an earlier manifest.
    #[arg(long, value_name = "MANIFEST")]
    locked: Option<PathBuf>,
    /// Compress as small as the kernel can take; slow.
    #[arg(long)]
    release_compression: bool,
    /// Pack busybox, for finding faults.
    #[arg(long)]
    with_debug_shell: bool,
    /// Sign heliostat.efi for Secure Boot with this key.
    #[arg(long, value_name = "PEM", requires = "sign_cert")]
    sign_key: Option<PathBuf>,
    /// The certificate of the signing key.
    #[arg(long, value_name = "PEM", requires = "sign_key")]
    sign_cert: Option<PathBuf>,
}

#[derive(clap::Args)]
struct SiteArguments {
    /// The directory of an image with an unsigned heliostat.efi.
    #[arg(long, value_name = "DIR")]
    image: PathBuf,
    /// The directory for the site's image; may be the same.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Pin of the site key; several while a key is being replaced.
    #[arg(long, value_name = "sha256:HEX", value_parser = site_key)]
    site_key: Vec<String>,
    /// A broker for the kernel command line; usually DHCP names it instead.
    #[arg(long, value_name = "HOST:PORT", value_parser = broker)]
    broker: Vec<String>,
    /// Further words for the kernel command line.
    #[arg(long, value_name = "WORDS")]
    cmdline: Option<String>,
    /// Sign heliostat.efi for Secure Boot with this key.
    #[arg(long, value_name = "PEM", requires = "sign_cert")]
    sign_key: Option<PathBuf>,
    /// The certificate of the signing key.
    #[arg(long, value_name = "PEM", requires = "sign_key")]
    sign_cert: Option<PathBuf>,
}

fn main() -> ExitCode {
    let filter =
        EnvFilter::try_from_env("HELIOSTAT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(colours)
        .init();
    let done = match Arguments::parse().command {
        Subcommands::Build(arguments) => run(arguments),
        Subcommands::Site(arguments) => make_site(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heliostat-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: BuildArguments) -> Result<()> {
    let start = Instant::now();
    let options = Options {
        profile: Profile::load(&arguments.profile)?,
        terminal: arguments.terminal,
        out: arguments.out,
        cache: arguments.cache,
        site_keys: arguments.site_key,
        brokers: arguments.broker,
        cmdline: arguments.cmdline,
        locked: arguments.locked.map(read_lock).transpose()?,
        level: if arguments.release_compression {
            RELEASE_LEVEL
        } else {
            FAST_LEVEL
        },
        debug_shell: arguments.with_debug_shell,
        sign: arguments.sign_key.zip(arguments.sign_cert),
    };
    let manifest = build(&options)?;
    print(&manifest);
    println!(
        "{:<32} {:>8.1} s",
        "built in",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn make_site(arguments: SiteArguments) -> Result<()> {
    let manifest = site::make(&Site {
        image: arguments.image,
        out: arguments.out,
        site_keys: arguments.site_key,
        brokers: arguments.broker,
        cmdline: arguments.cmdline,
        sign: arguments.sign_key.zip(arguments.sign_cert),
    })?;
    print(&manifest);
    Ok(())
}

fn read_lock(path: PathBuf) -> Result<Vec<Package>> {
    let bytes = std::fs::read(&path)
        .with_context(|| format!("cannot read the lock file {}", path.display()))?;
    let manifest =
        Manifest::parse(&bytes).with_context(|| format!("{} is not a manifest", path.display()))?;
    if manifest.packages.is_empty() {
        bail!("{} lists no packages", path.display());
    }
    Ok(manifest.packages)
}

fn print(manifest: &Manifest) {
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    for file in &manifest.files {
        println!(
            "{:<32} {:>8.2} MiB  {}",
            file.name,
            mib(file.bytes),
            file.sha256
        );
    }
    let netboot = manifest
        .files
        .iter()
        .filter(|f| f.role != Role::Uki)
        .map(|f| f.bytes)
        .sum();
    println!(
        "{:<32} {:>8.2} MiB",
        "kernel and all segments",
        mib(netboot)
    );
    println!("{:<32} {:>8}", "packages", manifest.packages.len());
}

fn site_key(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64
        && hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return Ok(text.to_owned());
    }
    Err(
        "expected sha256: and 64 lowercase hex digits, as heliostat-broker site-key prints it"
            .to_owned(),
    )
}

fn broker(text: &str) -> Result<String, String> {
    let port = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(_, p)| p.parse::<u16>().ok());
    if port.is_some_and(|p| p > 0) && !text.contains([',', ' ', '"']) {
        return Ok(text.to_owned());
    }
    Err("expected HOST:PORT, such as broker.example.org:4460".to_owned())
}
