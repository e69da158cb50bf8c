//! `heliostat-broker`: cards, people, terminals, sessions; who is attached where.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use heliostat_broker::check;
use heliostat_broker::config::Config;
use heliostat_broker::exec;
use heliostat_broker::hooks::{ExecHook, RunHook};
use heliostat_broker::keep_log::keep_log;
use heliostat_broker::pam_worker::PamWorker;
use heliostat_broker::remove_folder::RemoveFolder;
use heliostat_broker::run;
use tracing_subscriber::EnvFilter;

/// The Heliostat broker: knows cards, people and terminals, and starts people's sessions.
#[derive(Debug, Parser)]
#[command(name = "heliostat-broker", version)]
struct Arguments {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/heliostat/broker.toml"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the pin of the site key, which terminals must know; make the key if there is none.
    SiteKey,
    /// Read the configuration file, and look whether all that it names is there.
    Check {
        /// Only read this policy, which need not be the one in force.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Become a session (used by the broker itself).
    #[command(hide = true)]
    ExecSession,
    /// See one login and its session to the end (used by the broker itself).
    #[command(hide = true)]
    PamWorker(PamWorker),
    /// Keep a session's log (used by the broker itself).
    #[command(hide = true)]
    KeepLog,
    /// See a hook to its end (used by the broker itself).
    #[command(hide = true)]
    RunHook(RunHook),
    /// Become a hook (used by the broker itself).
    #[command(hide = true)]
    ExecHook(ExecHook),
    /// Empty a runtime folder (used by the broker itself).
    #[command(hide = true)]
    RemoveFolder(RemoveFolder),
}

fn main() -> ExitCode {
    match act(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heliostat-broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: Arguments) -> anyhow::Result<()> {
    let load = || Config::load(&arguments.config);
    match arguments.command {
        Some(Command::ExecSession) => Err(exec::exec()),
        Some(Command::PamWorker(worker)) => worker.run(),
        Some(Command::KeepLog) => keep_log(),
        Some(Command::RunHook(hook)) => hook.run(),
        Some(Command::ExecHook(hook)) => Err(hook.exec()),
        Some(Command::RemoveFolder(folder)) => folder.run(),
        Some(Command::SiteKey) => {
            println!("{}", run::site_key(&load()?)?.pin());
            Ok(())
        }
        Some(Command::Check { policy: Some(file) }) => {
            // Where there is none the policy alone is read.
            let config = arguments.config.exists().then(load).transpose()?;
            check::policy(&file, config.as_ref())
        }
        Some(Command::Check { policy: None }) => check::check(&load()?, &arguments.config),
        None => {
            log();
            // Everything is small here; one thread keeps memory and packets few.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(4)
                .thread_stack_size(512 << 10)
                .build()?;
            runtime.block_on(run::run(load()?))
        }
    }
}

fn log() {
    let filter = EnvFilter::try_from_env("HELIOSTAT_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
