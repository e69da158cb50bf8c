//! `heliostatctl`: asks the broker over its admin socket and prints what it answers.

mod account;
mod arguments;
mod ask;
mod audit;
mod card_read;
mod percentile;
mod receipts;
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
    let done = match (arguments.top(), arguments.audit()) {
        (Some(options), _) => top::run(arguments.broker(), options, arguments.json),
        (_, Some(audit)) if audit.follow => follow(&arguments),
        _ => act(&arguments).map(|text| {
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

fn follow(arguments: &Arguments) -> anyhow::Result<()> {
    let request = arguments.request(time::now_s())?;
    audit::follow(arguments.broker(), request, arguments.json)
}

fn act(arguments: &Arguments) -> anyhow::Result<String> {
    if let Some(options) = arguments.card_read() {
        return card_read::run(arguments, options);
    }
    if let Some(view) = arguments.receipts() {
        return receipts::run(arguments, &view);
    }
    let now_s = time::now_s();
    let request = arguments.request(now_s)?;
    let reply = ask::ask(arguments.broker(), &request)?;
    account::warn_of_none(&request, &reply);
    match reply {
        Reply::Failed(failure) => Err(failure.into()),
        reply if arguments.json => show::json(&reply),
        reply => Ok(show::text(&reply, now_s)),
    }
}
