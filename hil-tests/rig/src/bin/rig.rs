//! `rig`: emulated terminals on the command line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use hil_rig::control::{Request, ask, serve};
use hil_rig::{Firmware, Rig, RigOptions, image, namespaces, programs};

/// Terminals as virtual machines, with virtual cards, in namespaces of their own
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    /// Build the image, start a site, boot terminals, and return when they ask for a card
    Up {
        /// How many terminals
        #[arg(long, default_value_t = 2)]
        terminals: u32,
        /// What they boot through
        #[arg(long, value_enum, default_value_t = Firmware::Bios)]
        firmware: Firmware,
        /// Print the status as JSON when they are up
        #[arg(long)]
        json: bool,
    },
    /// The rig itself; started by `up`
    #[command(hide = true)]
    Daemon {
        terminals: u32,
        firmware: Firmware,
        image: PathBuf,
        folder: PathBuf,
    },
    /// Insert or pull a card
    #[command(subcommand)]
    Card(CardCommand),
    /// Type a text (\n is Enter)
    Key { terminal: String, text: String },
    /// Move the pointer, and click
    Pointer {
        terminal: String,
        x: u32,
        y: u32,
        click: Option<Click>,
    },
    /// Write a terminal's screen to a PNG file
    Screenshot { terminal: String, file: PathBuf },
    /// Plug a terminal's network cable in or out
    Link { terminal: String, state: UpDown },
    /// Switch a terminal's power
    Power { terminal: String, state: OnOff },
    /// Run a command on the rig's server, such as heliostatctl
    Exec {
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
    /// Say what there is
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End everything
    Down,
}

#[derive(Subcommand)]
enum CardCommand {
    /// Insert the card of NAME at TERMINAL
    Insert { name: String, terminal: String },
    /// Pull the card at TERMINAL
    Pull { terminal: String },
}

#[derive(Clone, Copy, ValueEnum)]
enum Click {
    Click,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum UpDown {
    Up,
    Down,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

/// What the daemon prints when all terminals are idle.
const READY: &str = "ready";

fn main() -> anyhow::Result<()> {
    let folder = programs::target()?.join("rig");
    let socket = folder.join("control.sock");
    let request = match Args::parse().command {
        Commands::Up {
            terminals,
            firmware,
            json,
        } => {
            return up(&folder, &socket, terminals, firmware, json);
        }
        Commands::Daemon {
            terminals,
            firmware,
            image,
            folder,
        } => {
            namespaces::enter()?;
            return daemon(RigOptions {
                terminals,
                firmware,
                windows: false,
                shell: false,
                two_readers: false,
                bare: false,
                image,
                folder,
            });
        }
        Commands::Card(CardCommand::Insert { name, terminal }) => Request::Insert {
            card: name,
            terminal,
        },
        Commands::Card(CardCommand::Pull { terminal }) => Request::Pull { terminal },
        Commands::Key { terminal, text } => Request::Key {
            terminal,
            text: text.replace("\\n", "\n"),
        },
        Commands::Pointer {
            terminal,
            x,
            y,
            click,
        } => Request::Pointer {
            terminal,
            x,
            y,
            click: click.is_some(),
        },
        Commands::Screenshot { terminal, file } => Request::Screenshot {
            terminal,
            path: std::path::absolute(file)?,
        },
        Commands::Link { terminal, state } => Request::Link {
            terminal,
            up: state == UpDown::Up,
        },
        Commands::Power { terminal, state } => Request::Power {
            terminal,
            on: state == OnOff::On,
        },
        Commands::Exec { command } => return exec(&socket, command),
        Commands::Status { json } => {
            let status = ask(&socket, &Request::Status)?;
            return print_status(&status, json);
        }
        Commands::Down => Request::Down,
    };
    ask(&socket, &request).map(drop)
}

fn up(
    folder: &Path,
    socket: &Path,
    terminals: u32,
    firmware: Firmware,
    json: bool,
) -> anyhow::Result<()> {
    if ask(socket, &Request::Status).is_ok() {
        bail!("a rig is up already: rig down");
    }
    std::fs::create_dir_all(folder)?;
    let image = image::build(false)?;
    eprintln!("booting {terminals} terminals through their firmware; this takes a minute or two");
    let log = std::fs::File::create(folder.join("rig.log"))?;
    let firmware = firmware
        .to_possible_value()
        .context("a firmware has a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["daemon", &terminals.to_string(), firmware.get_name()])
        .arg(&image)
        .arg(folder);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0);
    let mut daemon = command.spawn()?;
    let output = daemon.stdout.take().context("the daemon's output")?;
    let ready = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .any(|line| line == READY);
    if !ready {
        let log = std::fs::read_to_string(folder.join("rig.log")).unwrap_or_default();
        bail!("the rig did not come up: {}", log.trim());
    }
    print_status(&ask(socket, &Request::Status)?, json)
}

fn daemon(options: RigOptions) -> anyhow::Result<()> {
    let socket = options.folder.join("control.sock");
    let _ = std::fs::remove_file(&socket);
    let mut rig = Rig::start(&options)?;
    for name in rig.names() {
        rig.wait_idle(&name)?;
    }
    let listener = UnixListener::bind(&socket)?;
    println!("{READY}");
    std::io::stdout().flush()?;
    let result = serve(&mut rig, &listener);
    let _ = std::fs::remove_file(&socket);
    result
}

fn exec(socket: &Path, command: Vec<String>) -> anyhow::Result<()> {
    let answer = ask(socket, &Request::Exec { command })?;
    print!("{}", answer["stdout"].as_str().unwrap_or(""));
    eprint!("{}", answer["stderr"].as_str().unwrap_or(""));
    std::process::exit(answer["status"].as_i64().unwrap_or(1) as i32);
}

fn print_status(status: &serde_json::Value, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{status}");
        return Ok(());
    }
    for terminal in status["terminals"].as_array().into_iter().flatten() {
        let word = |field: &str| terminal[field].as_str().unwrap_or("-").to_owned();
        let power = if terminal["on"] == true { "on" } else { "off" };
        println!(
            "{}  {power:3}  {:9}  card: {}",
            word("name"),
            word("screen"),
            word("card")
        );
    }
    for session in status["sessions"].as_array().into_iter().flatten() {
        let word = |field: &str| session[field].as_str().unwrap_or("-").to_owned();
        println!(
            "{}'s desktop: {}, at {}",
            word("person"),
            word("state"),
            word("terminal")
        );
    }
    Ok(())
}
