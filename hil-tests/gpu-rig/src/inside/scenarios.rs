//! The scenarios, in the order in which they are played.

mod checks;
mod desktop;
mod explicit;
mod film;
mod flat;
mod rgb;
mod stage;
mod zero_copy;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::Result;

use super::report::Report;
use crate::lines::Line;

/// How a scenario that did not fail has ended.
#[derive(Debug)]
pub enum Outcome {
    /// It held.
    Held,
    /// It cannot be played here.
    Skipped(String),
}

/// One scenario.
pub struct Scenario {
    /// A short word, to ask for it.
    pub word: &'static str,
    /// What holds when it has passed.
    pub name: &'static str,
    play: fn(&mut Report) -> Result<Outcome>,
}

/// All of them. The display has one master at a time, so they follow one another.
pub const ALL: &[Scenario] = &[
    Scenario {
        word: "planes",
        name: "an NV12 DMA-BUF on an overlay plane has the colours that its matrix and range say",
        play: stage::overlay,
    },
    Scenario {
        word: "limits",
        name: "what the display takes and what it refuses is what the README says",
        play: stage::limits,
    },
    Scenario {
        word: "desktop",
        name: "a terminal on a real display shows a desktop, and forgets it when the card is pulled",
        play: desktop::software,
    },
    Scenario {
        word: "film",
        name: "a film is shown as it plays, and exactly when it has ended",
        play: film::software,
    },
    Scenario {
        word: "checks",
        name: "session and terminal say that films go by hardware, and onto a plane",
        play: checks::found,
    },
    Scenario {
        word: "nv12",
        name: "no pixel of a film in NV12 is copied from the client's buffer to the screen",
        play: zero_copy::nv12,
    },
    Scenario {
        word: "xrgb",
        name: "nor is one of a film in red, green and blue",
        play: zero_copy::xrgb,
    },
    Scenario {
        word: "explicit",
        name: "a picture is not seen before its point, and its buffer is free after its use, also of a client that dies",
        play: explicit::points,
    },
    Scenario {
        word: "flat",
        name: "nor of one that fills a flat output, alone or with a note over it, which GLES composes",
        play: flat::composed,
    },
    Scenario {
        word: "decoder",
        name: "a decoder that fails in the middle of a film is not seen on the screen",
        play: zero_copy::decoder_fails,
    },
    Scenario {
        word: "encoder",
        name: "nor is an encoder that does",
        play: zero_copy::encoder_fails,
    },
    Scenario {
        word: "rgb",
        name: "where no plane takes NV12 one shows what the device makes RGB, and no pixel is copied",
        play: rgb::converted,
    },
    Scenario {
        word: "converter",
        name: "a device that stops making RGB has the film copied, and nobody is detached",
        play: rgb::stops,
    },
];

/// Plays those that were asked for by their words, or all.
pub fn play(words: &[String]) -> Result<()> {
    let mut report = Report::open()?;
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime_s = uptime
        .split(' ')
        .next()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0.0);
    report.say(&Line::Up { uptime_s });
    let is_wanted =
        |scenario: &&Scenario| words.is_empty() || words.iter().any(|word| word == scenario.word);
    for scenario in ALL.iter().filter(is_wanted) {
        play_one(scenario, &mut report);
    }
    report.say(&Line::End);
    Ok(())
}

fn play_one(scenario: &Scenario, report: &mut Report) {
    report.say(&Line::Begin {
        name: scenario.name.to_owned(),
    });
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (scenario.play)(report)));
    let line = match outcome {
        Ok(Ok(Outcome::Held)) => Line::Passed {
            seconds: started.elapsed().as_secs_f64(),
        },
        Ok(Ok(Outcome::Skipped(why))) => Line::Skipped { why },
        Ok(Err(error)) => Line::Failed {
            why: format!("{error:#}"),
        },
        Err(_) => Line::Failed {
            why: "it panicked; the console says where".to_owned(),
        },
    };
    if let Some(took) = report.take_slowest_look() {
        report.note(format!(
            "the slowest look at the screen held the terminal up for {took:.1?}"
        ));
    }
    report.say(&line);
}
