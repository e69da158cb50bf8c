//! What the driver writes down: a log for people, counters for tests; and the faults it is told to have.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::refusal::{Done, refuse};
use crate::sys::memory::Identity;
use crate::va::{Status, status};

/// What a call answers that is to hang, once whoever waits has had enough.
pub const HANGS: Status = status::TIMEDOUT;

/// Names a file that log lines are appended to, besides standard error.
pub const LOG: &str = "HELIOSTAT_VA_LOG";
/// Names a file that holds the counters; `%p` in it becomes the process's number.
pub const COUNTERS: &str = "HELIOSTAT_VA_COUNTERS";
/// Names a file that a line is appended to for each picture that was encoded: when its bytes were there,
/// in nanoseconds of CLOCK_REALTIME.
pub const TIMES: &str = "HELIOSTAT_VA_TIMES";
/// Lists calls that fail, as `vaEndPicture:3,vaCreateContext:1`; that never end or as long as they may
/// take, as `vaSyncSurface:2=hang`; or that the driver seems not to have, as `vaSyncSurface2:1=missing`.
pub const FAULTS: &str = "HELIOSTAT_VA_FAULTS";
/// Lists what encoders are not told besides, as `regions,dirty-rectangles,skipped-pictures`.
pub const LACKS: &str = "HELIOSTAT_VA_LACKS";
/// Lists what is offered besides what drivers usually have: `low-power` or `low-power-constant`.
pub const HAS: &str = "HELIOSTAT_VA_HAS";
/// Names a pipe: calls that hang end when it is opened to be written to. Where there is none they do not.
pub const RELEASE: &str = "HELIOSTAT_VA_RELEASE";

/// Writes lines.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    silent: bool,
}

impl Log {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let path = std::env::var_os(LOG);
        let open = |path| File::options().append(true).create(true).open(path).ok();
        Self {
            file: path.and_then(open),
            silent: false,
        }
    }

    /// One that nobody reads.
    pub fn silent() -> Self {
        Self {
            file: None,
            silent: true,
        }
    }

    /// Writes a line, without its end.
    pub fn line(&mut self, line: &str) {
        if self.silent {
            return;
        }
        let line = format!("heliostat-va: {line}\n");
        // A log that cannot be written must not keep pictures from being encoded.
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(file) = &mut self.file {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// Writes down when pictures were encoded.
#[derive(Debug)]
pub struct Stamps(Option<File>);

impl Stamps {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let path = std::env::var_os(TIMES);
        let open = |path| File::options().append(true).create(true).open(path).ok();
        Self(path.and_then(open))
    }

    /// The bytes of a picture are there now.
    pub fn coded(&mut self) {
        let Some(file) = &mut self.0 else { return };
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let line = format!("{}\n", since.unwrap_or_default().as_nanos());
        // As with the log: pictures matter more.
        let _ = file.write_all(line.as_bytes());
    }
}

/// Calls that are to fail.
#[derive(Debug, Default)]
pub struct Faults {
    /// Entry point, number of its call, from 1, and what it answers.
    planned: Vec<(String, u32, Status)>,
    calls: BTreeMap<&'static str, u32>,
}

impl Faults {
    /// Reads a list. Names that no entry point has are an error: a test that misspells one would
    /// otherwise pass for the wrong reason.
    pub fn parse(list: &str, names: &[&str]) -> Result<Self, String> {
        let mut planned = Vec::new();
        for item in list
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (call, how) = item.split_once('=').unwrap_or((item, ""));
            let (name, number) = call.split_once(':').unwrap_or((call, "1"));
            let answer = match how {
                "" => status::OPERATION_FAILED,
                "hang" => HANGS,
                "missing" => status::UNIMPLEMENTED,
                _ => return Err(format!("{item:?} fails in no way that there is")),
            };
            let number = number.parse().ok().filter(|number| *number > 0);
            let Some(number) = number.filter(|_| names.contains(&name)) else {
                return Err(format!("{item:?} is no entry point and number of a call"));
            };
            planned.push((name.to_owned(), number, answer));
        }
        Ok(Self {
            planned,
            calls: BTreeMap::new(),
        })
    }

    /// Counts a call; refuses it where that was planned.
    pub fn count(&mut self, name: &'static str) -> Done {
        let calls = self.calls.entry(name).or_default();
        *calls += 1;
        let number = *calls;
        let mut planned = self.planned.iter();
        match planned.find(|(n, at, _)| n == name && *at == number) {
            Some((_, _, answer)) => refuse(
                *answer,
                format!("call {number} fails as the list of faults has it"),
            ),
            None => Ok(()),
        }
    }
}

/// Waits for longer than anybody else, or until somebody opens the pipe that the environment names.
pub fn hang() {
    let path = std::env::var_os(RELEASE);
    let is_opened = path.is_some_and(|path| File::open(path).is_ok());
    if !is_opened {
        std::thread::sleep(Duration::MAX);
    }
}

/// What happened to the buffer of a surface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// `imported`, `exported`, or both.
    pub roles: (bool, bool),
    /// `memfd`, `udmabuf` or `dma-buf`.
    pub backing: &'static str,
    /// Fourcc and size in pixels.
    pub picture: String,
    /// How often the driver mapped it for the codec or a conversion, as hardware would read or write.
    pub mapped: u64,
    /// How often a client mapped it through a derived image.
    pub lent: u64,
    /// How often a client had it copied, by `vaGetImage` or `vaPutImage`.
    pub copied: u64,
    /// Pictures that were encoded from it, decoded into it, and converted from and into it.
    pub uses: [u64; 4],
}

/// Index into `Counts::uses`.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    /// It was an encoder's input.
    Encoded,
    /// A decoder wrote it.
    Decoded,
    /// A conversion read it.
    ProcessedFrom,
    /// A conversion wrote it.
    ProcessedInto,
}

/// Counters of all buffers that other processes or drivers share, by inode.
#[derive(Debug)]
pub struct Counters {
    path: Option<String>,
    all: BTreeMap<Identity, Counts>,
    dirty: bool,
}

impl Counters {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let path = std::env::var(COUNTERS).ok();
        let number = std::process::id().to_string();
        Self {
            path: path.map(|path| path.replace("%p", &number)),
            all: BTreeMap::new(),
            dirty: false,
        }
    }

    /// The counters of a buffer, to be changed.
    pub fn of(&mut self, identity: Identity) -> &mut Counts {
        self.dirty = true;
        self.all.entry(identity).or_default()
    }

    /// Writes the file where something has changed that somebody shares.
    pub fn flush(&mut self) -> std::io::Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| self.dirty) else {
            return Ok(());
        };
        let beside = format!("{path}.new");
        std::fs::write(&beside, self.text())?;
        std::fs::rename(&beside, path)?;
        self.dirty = false;
        Ok(())
    }

    /// One line a shared buffer, of `name=value`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (identity, counts) in &self.all {
            let role = match counts.roles {
                (false, false) => continue,
                (true, false) => "imported",
                (false, true) => "exported",
                (true, true) => "imported+exported",
            };
            let Identity { device, inode } = identity;
            let [encoded, decoded, from, into] = counts.uses;
            let Counts {
                backing,
                picture,
                mapped,
                lent,
                copied,
                ..
            } = counts;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "inode={inode} device={device} role={role} backing={backing} {picture} \
                 mapped={mapped} lent={lent} copied={copied} encoded={encoded} decoded={decoded} \
                 processed-from={from} processed-into={into}",
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn fault_comes_at_its_call_and_once() {
        let names = ["vaEndPicture", "vaMapBuffer"];
        let mut faults = Faults::parse("vaEndPicture:2, vaMapBuffer", &names).unwrap();
        let fails = |faults: &mut Faults, name| faults.count(name).is_err();
        assert!(!fails(&mut faults, "vaEndPicture"));
        assert!(fails(&mut faults, "vaEndPicture"));
        assert!(!fails(&mut faults, "vaEndPicture"));
        assert!(fails(&mut faults, "vaMapBuffer"));
        assert!(!fails(&mut faults, "vaMapBuffer"));
    }

    #[test]
    fn picture_that_is_encoded_has_its_time() {
        let mut file = tempfile::tempfile().unwrap();
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let before = now().as_nanos();
        let mut stamps = Stamps(Some(file.try_clone().unwrap()));
        stamps.coded();
        stamps.coded();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let times = text.lines().map(|line| line.parse::<u128>().unwrap());
        let times: Vec<_> = times.collect();
        assert_eq!(times.len(), 2);
        assert!(before <= times[0] && times[1] <= now().as_nanos(), "{text}");
    }

    #[test]
    fn misspelt_fault_is_an_error() {
        for list in [
            "vaEndPictures:1",
            "vaEndPicture:0",
            "vaEndPicture:x",
            "vaEndPicture:1=later",
        ] {
            assert!(Faults::parse(list, &["vaEndPicture"]).is_err(), "{list}");
        }
    }
}
