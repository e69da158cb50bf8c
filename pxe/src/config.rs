//! The config file. Every key is documented in the book, `docs/book/src/netboot.md`.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

mod raw;

use raw::{Raw, Wrong};

/// What an administrator wants to be served, checked as far as the file alone allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The network interface to serve.
    pub interface: String,
    /// Who hands out addresses.
    pub mode: Mode,
    /// The image for terminals that name no other: a directory with a `manifest.json`.
    pub image: PathBuf,
    /// The TCP port for HTTP.
    pub http_port: u16,
    /// Brokers for DHCP option 224 and the kernel command line, `HOST:PORT` each.
    pub brokers: Vec<String>,
    /// Further pins of the site key for the kernel command line.
    pub site_keys: Vec<String>,
    /// Further words for the kernel command line.
    pub cmdline: String,
    /// The image's optional segments to load; all of them when `None`.
    pub segments: Option<Vec<String>>,
    /// After how many seconds without any request to say so.
    pub hint_seconds: u64,
    /// Where the generated files are, and the lock that keeps two services apart.
    pub run_dir: PathBuf,
    /// Where leases outlive a restart.
    pub state_dir: PathBuf,
    /// Terminals with settings of their own.
    pub terminals: Vec<Terminal>,
}

/// Who hands out addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// This service does.
    Dhcp(Dhcp),
    /// Another server does; this one only adds what netboot needs.
    Proxy,
}

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dhcp {
    /// The first address to hand out.
    pub first: Ipv4Addr,
    /// The last address to hand out.
    pub last: Ipv4Addr,
    /// How long a lease lasts in minutes.
    pub lease_minutes: u32,
    /// The default router.
    pub router: Option<Ipv4Addr>,
    /// DNS servers.
    pub dns: Vec<Ipv4Addr>,
    /// The domain name.
    pub domain: Option<String>,
    /// Whether to send IPv6 router advertisements that offer no route.
    pub router_advertisements: bool,
}

/// A terminal with settings of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Its MAC address, lowercase with colons.
    pub mac: String,
    /// The name it goes by.
    pub name: Option<String>,
    /// The address it always gets.
    pub address: Option<Ipv4Addr>,
    /// The optional segments it loads, in place of the general ones.
    pub segments: Option<Vec<String>>,
    /// Words for its kernel command line beside the general ones.
    pub cmdline: String,
    /// Its own image.
    pub image: Option<PathBuf>,
}

/// A config that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// It could not be read.
    #[error("cannot read {file}: {cause}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        cause: String,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}: {key}: {expected}")]
    Value {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong, and what was expected.
        expected: String,
    },
}

impl Config {
    /// Reads and checks a config file.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| Error::Read {
            file: file.clone(),
            cause: e.to_string(),
        })?;
        Config::parse(&file, &text)
    }

    /// Checks a config's text; `file` is for messages. Relative paths stay relative to the working directory.
    pub fn parse(file: &str, text: &str) -> Result<Config, Error> {
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..at]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            let content = text.lines().nth(line - 1).unwrap_or_default();
            let key = content
                .split('=')
                .next()
                .unwrap_or(content)
                .trim()
                .to_owned();
            let expected = error.message().trim().replace('\n', ", ");
            Error::Value {
                file: file.to_owned(),
                line,
                key,
                expected,
            }
        })?;
        raw.check().map_err(
            |Wrong {
                 key,
                 value,
                 expected,
             }| Error::Value {
                file: file.to_owned(),
                line: line_of(text, key, &value),
                key: key.to_owned(),
                expected: format!("{value:?} is not {expected}"),
            },
        )
    }

    /// The terminal's settings by MAC address.
    pub fn terminal(&self, mac: &str) -> Option<&Terminal> {
        self.terminals.iter().find(|t| t.mac == mac)
    }
}

/// The last line on which the key has the value, since of two equal ones the later is wrong; else the key's first line.
fn line_of(text: &str, key: &str, value: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let of_key = |line: &&str| line.split('=').next().is_some_and(|k| k.trim() == key);
    let quoted = format!("{value:?}");
    let exact = lines.iter().rposition(|l| of_key(l) && l.contains(&quoted));
    let unquoted = || lines.iter().rposition(|l| of_key(l) && l.contains(value));
    let elsewhere = || lines.iter().rposition(|l| l.contains(&quoted));
    let found = exact
        .or_else(unquoted)
        .or_else(elsewhere)
        .or_else(|| lines.iter().position(of_key));
    found.map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"interface = "br0"
mode = "dhcp"
image = "/srv/heliostat/image"
broker = ["10.77.0.1:4460", "[fd77::1]:4460"]
cmdline = "heliostat.console=ttyS0"

[dhcp]
range = "10.77.0.100-10.77.0.199"
router = "10.77.0.1"

[[terminal]]
mac = "52:54:00:00:00:0A"
name = "a"
address = "10.77.0.10"

[[terminal]]
mac = "52:54:00:00:00:0b"
name = "b"
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        Config::parse("pxe.toml", &GOOD.replace(from, to))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_good_config_is_read_with_its_defaults() {
        let config = Config::parse("pxe.toml", GOOD).unwrap();
        assert_eq!((config.http_port, config.hint_seconds), (8080, 60));
        assert_eq!(config.run_dir, Path::new("/run/heliostat-pxe/br0"));
        assert_eq!(
            config
                .terminal("52:54:00:00:00:0a")
                .unwrap()
                .name
                .as_deref(),
            Some("a")
        );
        let Mode::Dhcp(dhcp) = config.mode else {
            panic!("dhcp")
        };
        assert_eq!(
            (dhcp.last, dhcp.lease_minutes),
            (Ipv4Addr::new(10, 77, 0, 199), 720)
        );
    }

    #[test]
    fn a_misspelt_key_is_refused_with_file_line_key_and_expectation() {
        let error = refused("router =", "ruoter =");
        assert!(
            error.starts_with("pxe.toml:9: ruoter: unknown field `ruoter`, expected one of"),
            "{error}"
        );
        let error = refused("interface =", "interfaces =");
        assert!(
            error.starts_with("pxe.toml:1: interfaces: unknown field"),
            "{error}"
        );
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_what_was_expected() {
        let error = refused("mode = \"dhcp\"", "mode = \"dhpc\"");
        assert_eq!(
            error,
            "pxe.toml:2: mode: unknown variant `dhpc`, expected `dhcp` or `proxy`"
        );
        let error = refused("router = \"10.77.0.1\"", "router = \"10.77.0\"");
        assert!(error.starts_with("pxe.toml:9: router: "), "{error}");
    }

    #[test]
    fn values_that_mean_nothing_are_refused_where_they_stand() {
        for (from, to, start) in [
            (
                "10.77.0.100-10.77.0.199",
                "10.77.0.200-10.77.0.199",
                "pxe.toml:8: range: ",
            ),
            (
                "10.77.0.100-10.77.0.199",
                "10.77.0.100",
                "pxe.toml:8: range: ",
            ),
            (
                "\"10.77.0.1:4460\"",
                "\"10.77.0.1\"",
                "pxe.toml:4: broker: ",
            ),
            ("52:54:00:00:00:0b", "52:54:00:00:00", "pxe.toml:17: mac: "),
            (
                "52:54:00:00:00:0b",
                "52:54:00:00:00:0a",
                "pxe.toml:17: mac: ",
            ),
            ("name = \"b\"", "name = \"b.c\"", "pxe.toml:18: name: "),
            ("name = \"b\"", "name = \"a\"", "pxe.toml:18: name: "),
            ("heliostat.console=ttyS0", "a ${b}", "pxe.toml:5: cmdline: "),
            (
                "heliostat.console=ttyS0",
                "a\\nkernel",
                "pxe.toml:5: cmdline: ",
            ),
            ("\"br0\"", "\"br0,lo\"", "pxe.toml:1: interface: "),
            ("\"dhcp\"", "\"proxy\"", "pxe.toml:2: mode: "),
        ] {
            let error = refused(from, to);
            assert!(
                error.starts_with(start) && error.contains(" is not "),
                "{error}"
            );
        }
    }

    #[test]
    fn the_example_in_the_book_is_a_good_config() {
        let book = include_str!("../../docs/book/src/netboot.md");
        let example = book
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let config = Config::parse("netboot.md", example.unwrap()).unwrap();
        assert_eq!(config.terminals[0].name.as_deref(), Some("reception"));
    }

    #[test]
    fn every_key_that_is_understood_is_in_the_book() {
        let book = include_str!("../../docs/book/src/netboot.md");
        let probe = |text: &str| {
            let error = Config::parse("t", text).unwrap_err().to_string();
            let expected = error.split_once("expected one of ").unwrap().1.to_owned();
            expected
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let start = "interface = \"a\"\nmode = \"dhcp\"\nimage = \"/i\"\n";
        for (prefix, text) in [
            ("", "nonesuch = 1\n".to_owned()),
            ("dhcp.", format!("{start}[dhcp]\nnonesuch = 1\n")),
            ("terminal.", format!("{start}[[terminal]]\nnonesuch = 1\n")),
        ] {
            let keys = probe(&text);
            assert!(keys.len() >= 6, "{keys:?}");
            for key in keys
                .iter()
                .filter(|k| !["dhcp", "terminal"].contains(&k.as_str()))
            {
                assert!(
                    book.contains(&format!("| `{prefix}{key}` |")),
                    "{prefix}{key}"
                );
            }
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("/nonexistent/pxe.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/pxe.toml"), "{error}");
    }
}
