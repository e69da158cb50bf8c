//! `heliostatctl`: asks the broker over its admin socket and prints what it answers.

mod arguments;
mod ask;
mod percentile;
mod show;
mod table;
mod time;
mod top;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use heliostat_control::admin::Reply;

use arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.top() {
        Some(options) => top::run(&arguments.socket, options, arguments.json),
        None => act(&arguments).map(|text| {
            // A reader that has heard enough, as `head` has, is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heliostatctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &Arguments) -> anyhow::Result<String> {
    let now_s = time::now_s();
    let request = arguments.request(now_s)?;
    match ask::ask(&arguments.socket, &request)? {
        Reply::Failed(failure) => Err(failure.into()),
        reply if arguments.json => show::json(&reply),
        reply => Ok(show::text(&reply, now_s)),
    }
}
