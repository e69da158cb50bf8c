//! A whole site with its terminals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use hil_card::Card;
use serde_json::{Value, json};

use crate::machine::{Firmware, Hardware, Machine};
use crate::namespaces::PEOPLE;
use crate::network;
use crate::site::{KnownTerminal, Site};

/// A firmware boot under emulation, two at once, on a busy machine.
pub const BOOT: Duration = Duration::from_secs(300);

/// How a rig is set up.
#[derive(Debug, Clone)]
pub struct RigOptions {
    /// How many terminals: A, B, C and so on.
    pub terminals: u32,
    /// What they boot through.
    pub firmware: Firmware,
    /// Whether windows show their screens.
    pub windows: bool,
    /// Whether the image has a shell on the second serial line.
    pub shell: bool,
    /// Whether terminal A has a second card reader.
    pub two_readers: bool,
    /// Whether things are missing: the site key in the image, and the graphics card in all
    /// terminals but A.
    pub bare: bool,
    /// The netboot image.
    pub image: PathBuf,
    /// Where logs, sockets and pictures go.
    pub folder: PathBuf,
}

/// A terminal: its hardware, and the machine while it is on.
pub struct Terminal {
    hardware: Hardware,
    machine: Option<Machine>,
    card: Option<String>,
}

/// The rig.
pub struct Rig {
    /// Broker and netboot service.
    pub site: Site,
    terminals: BTreeMap<String, Terminal>,
}

/// Sizes of the terminals' screens, in turn.
const SCREENS: [(u32, u32); 2] = [(1280, 800), (1024, 768)];

impl Rig {
    /// Builds the network, starts the servers and switches the terminals on. Inside the namespaces
    /// only.
    pub fn start(options: &RigOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.folder)?;
        network::build()?;
        let hardware: Vec<Hardware> = (0..options.terminals)
            .map(|n| options.hardware(n))
            .collect();
        let known: Vec<KnownTerminal> = hardware
            .iter()
            .map(|h| KnownTerminal {
                mac: h.mac.clone(),
                name: h.name.clone(),
            })
            .collect();
        let site = Site::start(options, &known)?;
        for person in PEOPLE {
            let card = Card::id_of(person.name);
            site.ctl(&["card", "add", &card, "--person", person.name, "--first-use"])?;
        }
        let mut terminals = BTreeMap::new();
        for hardware in hardware {
            network::add_cable(&hardware.tap)?;
            let machine = Some(Machine::start(hardware.clone())?);
            terminals.insert(
                hardware.name.clone(),
                Terminal {
                    hardware,
                    machine,
                    card: None,
                },
            );
        }
        Ok(Self { site, terminals })
    }

    /// The terminals' names.
    pub fn names(&self) -> Vec<String> {
        self.terminals.keys().cloned().collect()
    }

    fn terminal(&mut self, name: &str) -> anyhow::Result<&mut Terminal> {
        let known = self.names().join(", ");
        let found = self.terminals.get_mut(&name.to_uppercase());
        found.with_context(|| format!("no terminal {name}: there are {known}"))
    }

    /// The machine of a terminal that is on.
    pub fn machine(&mut self, name: &str) -> anyhow::Result<&mut Machine> {
        let terminal = self.terminal(name)?;
        terminal
            .machine
            .as_mut()
            .with_context(|| format!("terminal {name} is off"))
    }

    /// Waits until a terminal asks for a card.
    pub fn wait_idle(&mut self, name: &str) -> anyhow::Result<()> {
        self.machine(name)?
            .wait_for("idle screen", BOOT, |p| p.is_idle())
            .map(drop)
    }

    /// Inserts a person's card.
    pub fn insert(&mut self, card: &str, name: &str) -> anyhow::Result<()> {
        self.machine(name)?.reader().insert(Card::named(card))?;
        self.terminal(name)?.card = Some(card.to_owned());
        Ok(())
    }

    /// Pulls whatever card is in.
    pub fn pull(&mut self, name: &str) -> anyhow::Result<()> {
        self.machine(name)?.reader().pull()?;
        self.terminal(name)?.card = None;
        Ok(())
    }

    /// Cuts a terminal's power, or gives it back.
    pub fn set_power(&mut self, name: &str, on: bool) -> anyhow::Result<()> {
        let terminal = self.terminal(name)?;
        terminal.card = None;
        terminal.machine = None;
        if on {
            terminal.machine = Some(Machine::start(terminal.hardware.clone())?);
        }
        Ok(())
    }

    /// What there is to say about everything.
    pub fn status(&mut self) -> anyhow::Result<Value> {
        let mut terminals = Vec::new();
        for (name, terminal) in &mut self.terminals {
            let (w, h) = terminal.hardware.screen;
            let on = terminal.machine.as_mut().is_some_and(Machine::is_on);
            terminals.push(json!({
                "name": name,
                "on": on,
                "mac": terminal.hardware.mac,
                "screen": format!("{w}x{h}"),
                "card": terminal.card,
                "console": terminal.hardware.file("serial.log"),
            }));
        }
        Ok(json!({
            "terminals": terminals,
            "known": self.site.ctl(&["terminal", "list"])?,
            "sessions": self.site.ctl(&["session", "list"])?,
        }))
    }

    /// Writes a terminal's screen to a PNG file.
    pub fn screenshot(&mut self, name: &str, path: &Path) -> anyhow::Result<()> {
        self.machine(name)?.screenshot(path)
    }
}

impl RigOptions {
    fn hardware(&self, number: u32) -> Hardware {
        let name = char::from_u32('A' as u32 + number % 26)
            .unwrap_or('A')
            .to_string();
        Hardware {
            mac: format!("52:54:00:00:00:{:02x}", 0x0a + number),
            tap: format!("tap{}", name.to_lowercase()),
            screen: SCREENS[number as usize % SCREENS.len()],
            firmware: self.firmware,
            window: self.windows,
            shell: self.shell,
            display: !self.bare || number == 0,
            readers: if self.two_readers && number == 0 {
                2
            } else {
                1
            },
            folder: self.folder.clone(),
            name,
        }
    }
}
