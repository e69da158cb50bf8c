//! A site with one terminal and its reader.

use std::time::Duration;

use anyhow::{Context, ensure};
use hil_card::vpcd::Inserted;
use hil_card::{Card, TestCa};
use hil_local::{Event, Lent, Readers, Site, SiteOptions, Terminal, framebuffer};
use serde_json::{Value, json};

/// Nothing here takes longer on a machine that works.
pub const STEP: Duration = Duration::from_secs(30);
pub const KEY_ENTER: u16 = 28;

/// What a terminal shows when a card has not proven itself.
pub const NOT_CHECKED: &str = "Your card could not be checked";
pub const TYPE_PIN: &str = "Type your PIN";
pub const EMPTY: &str = "Insert your card";

pub struct Desk<'a> {
    readers: &'a Readers,
    pub site: Site,
    pub terminal: Terminal,
    inserted: Option<Inserted>,
    _probe: Lent,
}

impl<'a> Desk<'a> {
    /// A site of this policy, whose desktops have a window in which a cell blinks.
    pub fn new(readers: &'a Readers, policy: &str) -> anyhow::Result<Self> {
        Self::with(readers, policy, "")
    }

    /// One that believes the authority of the cards as well.
    pub fn with_authority(readers: &'a Readers, policy: &str) -> anyhow::Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), TestCa::of_cards().pem())?;
        let more = format!("[cards]\nauthorities = [{:?}]", file.path());
        Self::with(readers, policy, &more)
    }

    fn with(readers: &'a Readers, policy: &str, more: &str) -> anyhow::Result<Self> {
        let probe = Lent::new("hil-probe")?;
        let site = Site::start(&SiteOptions {
            session_toml: format!("autostart = [\"{} blink\"]\n", probe.path().display()),
            policy: policy.to_owned(),
            more: more.to_owned(),
            ..SiteOptions::default()
        })?;
        let mut terminal = site.headless_with_reader("desk", (640, 480))?;
        terminal.wait_named("connected", STEP)?;
        Ok(Self {
            readers,
            site,
            terminal,
            inserted: None,
            _probe: probe,
        })
    }

    /// Gives a card to a person, whose keys the first to show it binds.
    pub fn add_for_first_use(&self, card: &str, person: &str) -> anyhow::Result<()> {
        let add = ["card", "add", card, "--person", person, "--first-use"];
        self.site.ctl(&add).map(drop)
    }

    /// Puts a card into the reader. Whatever was said before is forgotten.
    pub fn insert(&mut self, card: Card) -> anyhow::Result<()> {
        self.terminal.drain();
        self.inserted = Some(self.readers.insert(card)?);
        Ok(())
    }

    /// Pulls it, and waits until the terminal has seen that.
    pub fn pull(&mut self) -> anyhow::Result<()> {
        if let Some(inserted) = self.inserted.take() {
            inserted.pull()?;
        }
        self.screen(EMPTY).map(drop)
    }

    /// Waits for a screen of the terminal's own.
    pub fn screen(&mut self, headline: &str) -> anyhow::Result<Event> {
        self.terminal.wait_for(headline, STEP, |event| {
            event.name() == "screen" && event.value["headline"] == headline
        })
    }

    /// Waits until a desktop is on the screen; none of the screens in `never` may come before it.
    pub fn desktop(&mut self, never: &[&str]) -> anyhow::Result<()> {
        let (mut wrong, mut attached) = (None, false);
        self.terminal.wait_for("a desktop", STEP, |event| {
            let headline = event.value["headline"].as_str().unwrap_or_default();
            wrong = wrong.or(never.iter().find(|never| **never == headline));
            attached |= event.name() == "attached";
            wrong.is_some() || (attached && event.name() == "frame_shown")
        })?;
        ensure!(wrong.is_none(), "the terminal showed {wrong:?}");
        Ok(())
    }

    /// Waits until the card is refused with this screen; no desktop may come before it.
    pub fn refused(&mut self, headline: &str) -> anyhow::Result<()> {
        let mut attached = false;
        self.terminal.wait_for(headline, STEP, |event| {
            attached |= ["attached", "frame_shown"].contains(&event.name());
            attached || event.value["headline"] == headline
        })?;
        ensure!(!attached, "a card that is nobody's has a desktop");
        Ok(())
    }

    /// Has an administrator lock a person's desktop, and waits until it is off the terminal.
    pub fn lock(&mut self, person: &str) -> anyhow::Result<()> {
        self.terminal.drain();
        self.site.ctl(&["session", "lock", person])?;
        let detached = self.terminal.wait_named("detached", STEP)?;
        let reason = &detached.value["reason"];
        ensure!(reason == "Locked", "parted by {reason}");
        Ok(())
    }

    /// Pulls what is left of a card that was torn out.
    pub fn pull_torn(&mut self) -> anyhow::Result<()> {
        let torn = self.inserted.take().context("a card was there")?;
        torn.pull()
    }

    /// The picture of one of the terminal's own screens, once it is drawn; no desktop may come
    /// before it.
    pub fn picture_at_rest(&mut self, headline: &str) -> anyhow::Result<u64> {
        self.refused(headline)?;
        self.settled()
    }

    /// The picture when everything that was to be drawn has been: a screenshot is taken after it.
    pub fn settled(&mut self) -> anyhow::Result<u64> {
        let path = self.site.folder().join("settled.png");
        let path = path.display().to_string();
        self.terminal.send(&json!({ "screenshot": path }))?;
        let mut frames = 0;
        self.terminal.wait_for("a screenshot", STEP, |event| {
            frames += usize::from(event.name() == "frame_shown");
            event.name() == "screenshot"
        })?;
        ensure!(frames == 0, "{frames} frames of a desktop were shown");
        self.picture()
    }

    pub fn press(&mut self, code: u16) -> anyhow::Result<()> {
        self.terminal.key(code, true)?;
        self.terminal.key(code, false)
    }

    /// Types a PIN, digits as on the top row.
    pub fn type_pin(&mut self, pin: &str) -> anyhow::Result<()> {
        for digit in pin.bytes() {
            self.press(match digit {
                b'0' => 11,
                digit => u16::from(digit - b'1') + 2,
            })?;
        }
        self.press(KEY_ENTER)
    }

    /// A number that is another for another picture.
    pub fn picture(&self) -> anyhow::Result<u64> {
        let path = self.terminal.framebuffer.as_deref();
        framebuffer::digest(path.context("a headless terminal has a picture")?)
    }

    /// Lines of the audit, newest first, of this event.
    pub fn audit(&self, event: &str) -> anyhow::Result<Vec<Value>> {
        let rows = self.site.ctl(&["audit", "--limit", "10000"])?;
        let rows = rows.as_array().cloned().context("the audit is a list")?;
        Ok(rows
            .into_iter()
            .filter(|row| row["event"] == event)
            .collect())
    }

    /// How often an event was, and the detail of the newest.
    pub fn audited(&self, event: &str) -> anyhow::Result<(usize, String)> {
        let rows = self.audit(event)?;
        let newest = rows.iter().max_by_key(|row| row["at_ms"].as_u64());
        let detail = newest.and_then(|row| row["detail"].as_str());
        Ok((rows.len(), detail.unwrap_or_default().to_owned()))
    }

    /// The keys of a card as heliostatctl shows them.
    pub fn keys(&self, card: &str) -> anyhow::Result<Vec<String>> {
        let shown = self.site.ctl(&["card", "show", card])?;
        let keys = shown["keys"]
            .as_array()
            .or(shown["card"]["keys"].as_array());
        let keys = keys.with_context(|| format!("a card has keys: {shown}"))?;
        Ok(keys
            .iter()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect())
    }

    /// Writes another policy and waits until the broker has it.
    pub fn policy(&self, text: &str) -> anyhow::Result<()> {
        let before = self.audited("policy_changed")?.0;
        let path = self.site.folder().join("policy.toml");
        std::fs::write(path, text)?;
        let started = std::time::Instant::now();
        while self.audited("policy_changed")?.0 == before {
            ensure!(started.elapsed() < STEP, "the policy is not taken up");
            // The broker looks at the file once a second, and tells nobody but the audit.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }
}
