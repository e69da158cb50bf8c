//! One terminal as a QEMU machine: a PC without a disk.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hil_card::Reader;
use serde_json::json;

use crate::keys::key_of;
use crate::qmp::Qmp;
use crate::screen::Picture;

/// What the machine boots through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Firmware {
    /// SeaBIOS and the network card's iPXE
    Bios,
    /// OVMF and its own network stack
    Uefi,
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// A name for messages and files.
    pub name: String,
    /// The network card's address.
    pub mac: String,
    /// The tap that its cable ends in.
    pub tap: String,
    /// The screen's preferred size.
    pub screen: (u32, u32),
    /// What it boots through.
    pub firmware: Firmware,
    /// Whether a window shows its screen.
    pub window: bool,
    /// Whether its image has a shell on the second serial line.
    pub shell: bool,
    /// Whether it has a graphics card.
    pub display: bool,
    /// How many card readers it has.
    pub readers: usize,
    /// Where its sockets and logs go.
    pub folder: PathBuf,
}

/// A machine that is on.
pub struct Machine {
    hardware: Hardware,
    child: Child,
    qmp: Qmp,
    readers: Vec<Reader>,
}

/// A person's typing: slower than the emulated keyboard's queue.
const KEY_PAUSE: Duration = Duration::from_millis(25);

impl Machine {
    /// Switches a machine on.
    pub fn start(hardware: Hardware) -> anyhow::Result<Self> {
        let qmp_socket = hardware.file("qmp");
        let card_sockets = hardware.card_sockets();
        for stale in card_sockets.iter().chain([&qmp_socket]) {
            let _ = std::fs::remove_file(stale);
        }
        let log = File::create(hardware.file("qemu.log"))?;
        let mut child = hardware
            .command(&qmp_socket, &card_sockets)?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start qemu-system-x86_64 (package qemu-system-x86)")?;
        let connected = connect(&mut child, &qmp_socket, &card_sockets);
        let (mut qmp, readers) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                let _ = child.kill();
                let log = std::fs::read_to_string(hardware.file("qemu.log")).unwrap_or_default();
                return Err(error.context(format!("QEMU said: {}", log.trim())));
            }
        };
        for n in 0..readers.len() {
            let device = json!({
                "driver": "ccid-card-passthru",
                "id": format!("cardslot{n}"),
                "bus": format!("ccid{n}.0"),
                "chardev": format!("card{n}"),
            });
            qmp.execute("device_add", device)?;
        }
        qmp.execute("cont", json!({}))?;
        Ok(Self {
            hardware,
            child,
            qmp,
            readers,
        })
    }

    /// What it is made of.
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// Its first card reader.
    pub fn reader(&self) -> &Reader {
        &self.readers[0]
    }

    /// Its card readers.
    pub fn readers(&self) -> &[Reader] {
        &self.readers
    }

    /// Whether it is on.
    pub fn is_on(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes what its screen shows to a PNG file.
    pub fn screenshot(&mut self, path: &Path) -> anyhow::Result<()> {
        let arguments = json!({"filename": path, "format": "png", "device": "gpu0"});
        self.qmp.execute("screendump", arguments).map(drop)
    }

    /// What its screen shows.
    pub fn picture(&mut self) -> anyhow::Result<Picture> {
        let path = self.hardware.file("screen.png");
        self.screenshot(&path)?;
        Picture::read(&path)
    }

    /// Looks at the screen until it shows what is wanted.
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Picture) -> bool,
    ) -> anyhow::Result<Picture> {
        let deadline = Instant::now() + limit;
        loop {
            let picture = self.picture()?;
            if wanted(&picture) {
                return Ok(picture);
            }
            if Instant::now() > deadline {
                // Later looks write over the picture of now.
                let kept = self.hardware.file("missed.png");
                std::fs::copy(self.hardware.file("screen.png"), &kept)?;
                bail!(
                    "terminal {}: no {what} within {limit:?}; its screen is in {}, its console in {}",
                    self.hardware.name,
                    kept.display(),
                    self.hardware.file("serial.log").display()
                );
            }
            // A screen tells nobody that it has changed; a look costs QEMU some milliseconds.
            std::thread::park_timeout(Duration::from_millis(150));
        }
    }

    /// Types a text on the keyboard.
    pub fn type_text(&mut self, text: &str) -> anyhow::Result<()> {
        for c in text.chars() {
            let (key, shift) = key_of(c).with_context(|| format!("no key for {c:?}"))?;
            if shift {
                self.key("shift", true)?;
            }
            self.key(key, true)?;
            self.key(key, false)?;
            if shift {
                self.key("shift", false)?;
            }
            std::thread::park_timeout(KEY_PAUSE);
        }
        Ok(())
    }

    /// Presses or releases a key by QEMU's name.
    pub fn key(&mut self, name: &str, down: bool) -> anyhow::Result<()> {
        let key = json!({"type": "qcode", "data": name});
        self.input(json!([{"type": "key", "data": {"down": down, "key": key}}]))
    }

    /// Moves the pointer to a pixel.
    pub fn pointer(&mut self, x: u32, y: u32) -> anyhow::Result<()> {
        let (w, h) = self.hardware.screen;
        let axis = |name: &str, at: u32, side: u32| {
            let value = (u64::from(at) * 2 + 1) * 32_767 / (u64::from(side) * 2);
            json!({"type": "abs", "data": {"axis": name, "value": value}})
        };
        self.input(json!([axis("x", x, w), axis("y", y, h)]))
    }

    /// Presses or releases the left mouse button.
    pub fn button(&mut self, down: bool) -> anyhow::Result<()> {
        self.input(json!([{"type": "btn", "data": {"down": down, "button": "left"}}]))
    }

    /// Presses the left mouse button at a pixel, moves to another in steps, and releases it.
    pub fn drag(&mut self, from: (u32, u32), to: (u32, u32)) -> anyhow::Result<()> {
        const STEPS: u32 = 12;
        self.pointer(from.0, from.1)?;
        self.button(true)?;
        for step in 1..=STEPS {
            let along = |a: u32, b: u32| (a * (STEPS - step) + b * step) / STEPS;
            self.pointer(along(from.0, to.0), along(from.1, to.1))?;
            std::thread::park_timeout(KEY_PAUSE);
        }
        self.button(false)
    }

    fn input(&mut self, events: serde_json::Value) -> anyhow::Result<()> {
        self.qmp
            .execute("input-send-event", json!({"events": events}))
            .map(drop)
    }

    /// Plugs the network cable in or out.
    pub fn set_cable(&mut self, plugged: bool) -> anyhow::Result<()> {
        self.qmp
            .execute("set_link", json!({"name": "net0", "up": plugged}))
            .map(drop)
    }

    /// Has the shell inside run a line, and waits until it has.
    pub fn run_inside(&mut self, line: &str) -> anyhow::Result<()> {
        ensure!(self.hardware.shell, "the image has no shell");
        let path = self.hardware.file("shell");
        let mut shell = UnixStream::connect(&path)
            .with_context(|| format!("connect to the shell at {}", path.display()))?;
        shell.set_read_timeout(Some(Duration::from_secs(30)))?;
        // The sum tells the shell's answer from the echo of the question.
        writeln!(shell, "\n{line}; echo done $((40+2))").context("tell the shell")?;
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(b"done 42") {
            let read = shell.read(&mut byte);
            let text = || String::from_utf8_lossy(&said).into_owned();
            ensure!(
                read.with_context(|| format!("the shell said {:?}", text()))? == 1,
                "the machine is off"
            );
            said.push(byte[0]);
        }
        Ok(())
    }

    /// The text of its serial console so far.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.hardware.file("serial.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Machine {
    /// The plug is pulled.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(child: &mut Child, qmp: &Path, cards: &[PathBuf]) -> anyhow::Result<(Qmp, Vec<Reader>)> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("QEMU ended at once ({status})");
        }
        if qmp.exists() && cards.iter().all(|card| card.exists()) {
            let readers = cards.iter().map(|card| Reader::connect(card));
            return Ok((Qmp::connect(qmp)?, readers.collect::<Result<_, _>>()?));
        }
        if Instant::now() > deadline {
            bail!("QEMU does not open its sockets");
        }
        // The sockets appear without an event.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

impl Hardware {
    /// A file of this machine's.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.{name}", self.name))
    }

    fn card_sockets(&self) -> Vec<PathBuf> {
        (0..self.readers)
            .map(|n| self.file(&format!("card{n}")))
            .collect()
    }

    fn command(&self, qmp: &Path, cards: &[PathBuf]) -> anyhow::Result<Command> {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-name", &format!("Heliostat terminal {}", self.name)]);
        // Stopped until the card reader is complete.
        command.args([
            "-S",
            "-M",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "1",
        ]);
        command.args(["-m", "1G", "-nodefaults", "-no-reboot"]);
        command.args([
            "-display",
            if self.window {
                "gtk,show-cursor=on,zoom-to-fit=off"
            } else {
                "none"
            },
        ]);
        command
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", qmp.display()));
        command
            .arg("-serial")
            .arg(format!("file:{}", self.file("serial.log").display()));
        if self.shell {
            let path = self.file("shell");
            command
                .arg("-serial")
                .arg(format!("unix:{},server=on,wait=off", path.display()));
        }
        if self.display {
            let (w, h) = self.screen;
            command.args(["-device", &format!("virtio-vga,id=gpu0,xres={w},yres={h}")]);
        }
        let tap = format!("tap,id=n0,ifname={},script=no,downscript=no", self.tap);
        command.args(["-netdev", &tap]);
        let mut card_device = format!(
            "virtio-net-pci,id=net0,netdev=n0,mac={},bootindex=1",
            self.mac
        );
        if self.firmware == Firmware::Uefi {
            self.add_uefi(&mut command)?;
            // OVMF has a network stack of its own.
            card_device.push_str(",romfile=");
        }
        command.args(["-device", &card_device]);
        command.args(["-device", "qemu-xhci,id=xhci"]);
        command.args([
            "-device",
            "usb-kbd,bus=xhci.0",
            "-device",
            "usb-tablet,bus=xhci.0",
        ]);
        for (n, card) in cards.iter().enumerate() {
            command.args(["-device", &format!("usb-ccid,id=ccid{n},bus=xhci.0")]);
            let path = card.display();
            let chardev = format!("socket,id=card{n},path={path},server=on,wait=off");
            command.args(["-chardev", &chardev]);
        }
        Ok(command)
    }

    fn add_uefi(&self, command: &mut Command) -> anyhow::Result<()> {
        const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
        const VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
        let vars = self.file("vars");
        std::fs::copy(VARS, &vars).context("copy OVMF's variables (package ovmf)")?;
        let flash = "if=pflash,format=raw";
        command.args(["-drive", &format!("{flash},unit=0,readonly=on,file={CODE}")]);
        command.args(["-drive", &format!("{flash},unit=1,file={}", vars.display())]);
        command.args(["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]);
        Ok(())
    }
}
