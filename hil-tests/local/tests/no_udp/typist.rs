//! Somebody who types faster than the desktop answers, and checks what it has heard.

use std::collections::VecDeque;

use anyhow::{bail, ensure};
use hil_local::keys::{SPACE, TAB};
use hil_local::{Key, Terminal, Told};

use crate::STEP;

const LEFTSHIFT: u16 = 42;
/// Letters of the home row.
const LETTERS: std::ops::RangeInclusive<u16> = 30..=37;
/// Keys that go down or up before the desktop has told of the first of them.
const AHEAD: usize = 16;

/// Somebody with Shift down.
pub struct Typist {
    told: Told,
    /// What has been typed and not been told of.
    open: VecDeque<Key>,
    /// Letters typed.
    typed: usize,
}

impl Typist {
    /// Puts Shift down, once all that was typed before has been told of.
    pub fn begin(terminal: &mut Terminal, told: Told) -> anyhow::Result<Self> {
        terminal.press(TAB)?;
        while told.next(STEP)? != (TAB, false) {}
        let mut typist = Self {
            told,
            open: VecDeque::new(),
            typed: 0,
        };
        typist.key(terminal, (LEFTSHIFT, true))?;
        Ok(typist)
    }

    /// Letters typed.
    pub fn typed(&self) -> usize {
        self.typed
    }

    /// Types one letter, ahead of what the desktop tells of, but not far.
    ///
    /// # Errors
    /// Where the desktop tells of another key than the one that was due, or of none.
    pub fn step(&mut self, terminal: &mut Terminal) -> anyhow::Result<()> {
        while self.open.len() >= AHEAD {
            self.hear()?;
        }
        let letters = LETTERS.count();
        let code = LETTERS.start() + (self.typed % letters) as u16;
        self.typed += 1;
        self.key(terminal, (code, true))?;
        self.key(terminal, (code, false))
    }

    /// Types so many letters.
    pub fn type_keys(&mut self, terminal: &mut Terminal, letters: usize) -> anyhow::Result<()> {
        (0..letters).try_for_each(|_| self.step(terminal))
    }

    /// Lets Shift go. Each key has been told of then, once and in its order.
    pub fn end(mut self, terminal: &mut Terminal) -> anyhow::Result<Told> {
        self.key(terminal, (LEFTSHIFT, false))?;
        while !self.open.is_empty() {
            self.hear()?;
        }
        // One that came twice would come before this.
        terminal.press(SPACE)?;
        for due in [(SPACE, true), (SPACE, false)] {
            let next = self.told.next(STEP)?;
            ensure!(next == due, "told of {next:?} after the last key");
        }
        Ok(self.told)
    }

    fn key(&mut self, terminal: &mut Terminal, key: Key) -> anyhow::Result<()> {
        terminal.key(key.0, key.1)?;
        self.open.push_back(key);
        Ok(())
    }

    fn hear(&mut self) -> anyhow::Result<()> {
        let heard = self.told.next(STEP)?;
        match self.open.pop_front() {
            Some(typed) if typed == heard => Ok(()),
            typed => bail!("typed {typed:?}, but told of {heard:?}"),
        }
    }
}
