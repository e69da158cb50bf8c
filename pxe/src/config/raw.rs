//! The config file as it is written, and the checks that lead from there to a [`Config`].

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Config, Dhcp, Mode, Terminal};

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    interface: String,
    mode: RawMode,
    image: PathBuf,
    #[serde(default = "default_http_port")]
    http_port: u16,
    #[serde(default)]
    broker: Vec<String>,
    #[serde(default)]
    site_key: Vec<String>,
    #[serde(default)]
    cmdline: String,
    segments: Option<Vec<String>>,
    #[serde(default = "default_hint_seconds")]
    hint_seconds: u64,
    run_dir: Option<PathBuf>,
    #[serde(default = "default_state_dir")]
    state_dir: PathBuf,
    dhcp: Option<RawDhcp>,
    #[serde(default, rename = "terminal")]
    terminals: Vec<RawTerminal>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum RawMode {
    Dhcp,
    Proxy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDhcp {
    range: String,
    #[serde(default = "default_lease_minutes")]
    lease_minutes: u32,
    router: Option<Ipv4Addr>,
    #[serde(default)]
    dns: Vec<Ipv4Addr>,
    domain: Option<String>,
    #[serde(default)]
    router_advertisements: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTerminal {
    mac: String,
    name: Option<String>,
    address: Option<Ipv4Addr>,
    segments: Option<Vec<String>>,
    #[serde(default)]
    cmdline: String,
    image: Option<PathBuf>,
}

fn default_http_port() -> u16 {
    8080
}

fn default_hint_seconds() -> u64 {
    60
}

fn default_lease_minutes() -> u32 {
    12 * 60
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/heliostat-pxe")
}

/// A value that is not what its key expects.
pub(super) struct Wrong {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) expected: &'static str,
}

fn wrong<T>(key: &'static str, value: &str, expected: &'static str) -> Result<T, Wrong> {
    Err(Wrong {
        key,
        value: value.to_owned(),
        expected,
    })
}

fn require(ok: bool, key: &'static str, value: &str, expected: &'static str) -> Result<(), Wrong> {
    if ok {
        Ok(())
    } else {
        wrong(key, value, expected)
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Config, Wrong> {
        let interface_ok = (1..16).contains(&self.interface.len())
            && self
                .interface
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        require(
            interface_ok,
            "interface",
            &self.interface,
            "the name of a network interface",
        )?;
        require(
            self.http_port != 0,
            "http_port",
            "0",
            "a TCP port from 1 to 65535",
        )?;
        for broker in &self.broker {
            require(
                is_broker(broker),
                "broker",
                broker,
                "HOST:PORT, such as \"10.77.0.1:4460\"",
            )?;
        }
        for key in &self.site_key {
            require(
                is_site_key(key),
                "site_key",
                key,
                "sha256: and 64 lowercase hex digits",
            )?;
        }
        check_cmdline(&self.cmdline)?;
        check_path("image", &self.image)?;
        check_path("state_dir", &self.state_dir)?;
        let default_run_dir = || Path::new("/run/heliostat-pxe").join(&self.interface);
        let run_dir = self.run_dir.unwrap_or_else(default_run_dir);
        check_path("run_dir", &run_dir)?;
        let mode = check_mode(self.mode, self.dhcp)?;
        let terminals = self
            .terminals
            .into_iter()
            .map(RawTerminal::check)
            .collect::<Result<Vec<_>, _>>()?;
        check_distinct(&terminals)?;
        if mode == Mode::Proxy
            && let Some(address) = terminals.iter().find_map(|t| t.address)
        {
            return wrong(
                "address",
                &address.to_string(),
                "possible with mode = \"proxy\", where others give addresses",
            );
        }
        Ok(Config {
            interface: self.interface,
            mode,
            image: self.image,
            http_port: self.http_port,
            brokers: self.broker,
            site_keys: self.site_key,
            cmdline: self.cmdline.trim().to_owned(),
            segments: self.segments,
            hint_seconds: self.hint_seconds,
            run_dir,
            state_dir: self.state_dir,
            terminals,
        })
    }
}

fn check_mode(mode: RawMode, dhcp: Option<RawDhcp>) -> Result<Mode, Wrong> {
    match (mode, dhcp) {
        (RawMode::Proxy, None) => Ok(Mode::Proxy),
        (RawMode::Proxy, Some(_)) => wrong(
            "mode",
            "proxy",
            "possible beside a [dhcp] table: others give addresses",
        ),
        (RawMode::Dhcp, None) => wrong(
            "mode",
            "dhcp",
            "complete without a [dhcp] table with a range",
        ),
        (RawMode::Dhcp, Some(dhcp)) => dhcp.check().map(Mode::Dhcp),
    }
}

impl RawDhcp {
    fn check(self) -> Result<Dhcp, Wrong> {
        let expected = "FIRST-LAST, such as \"10.77.0.100-10.77.0.199\"";
        let ends = self
            .range
            .split_once('-')
            .and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
        let Some((first, last)): Option<(Ipv4Addr, Ipv4Addr)> = ends else {
            return wrong("range", &self.range, expected);
        };
        require(first <= last, "range", &self.range, expected)?;
        let minutes = self.lease_minutes;
        require(
            minutes >= 2,
            "lease_minutes",
            &minutes.to_string(),
            "at least 2 minutes",
        )?;
        if let Some(domain) = &self.domain {
            require(
                domain.len() <= 253 && domain.split('.').all(is_label),
                "domain",
                domain,
                "a domain name",
            )?;
        }
        Ok(Dhcp {
            first,
            last,
            lease_minutes: self.lease_minutes,
            router: self.router,
            dns: self.dns,
            domain: self.domain,
            router_advertisements: self.router_advertisements,
        })
    }
}

impl RawTerminal {
    fn check(self) -> Result<Terminal, Wrong> {
        let mac = self.mac.to_ascii_lowercase();
        let octet = |o: &str| o.len() == 2 && o.bytes().all(|b| b.is_ascii_hexdigit());
        let mac_ok = mac.split(':').count() == 6 && mac.split(':').all(octet);
        require(
            mac_ok,
            "mac",
            &self.mac,
            "a MAC address, such as \"52:54:00:00:00:0a\"",
        )?;
        if let Some(name) = &self.name {
            require(
                is_label(name),
                "name",
                name,
                "a host name of letters, digits and dashes without a dot",
            )?;
        }
        check_cmdline(&self.cmdline)?;
        if let Some(image) = &self.image {
            check_path("image", image)?;
        }
        let cmdline = self.cmdline.trim().to_owned();
        Ok(Terminal {
            mac,
            name: self.name,
            address: self.address,
            segments: self.segments,
            cmdline,
            image: self.image,
        })
    }
}

fn check_distinct(terminals: &[Terminal]) -> Result<(), Wrong> {
    for (index, terminal) in terminals.iter().enumerate() {
        let earlier = &terminals[..index];
        let once = "written once; another [[terminal]] has it too";
        require(
            earlier.iter().all(|t| t.mac != terminal.mac),
            "mac",
            &terminal.mac,
            once,
        )?;
        if let Some(name) = &terminal.name {
            require(
                earlier.iter().all(|t| t.name.as_ref() != Some(name)),
                "name",
                name,
                once,
            )?;
        }
        if let Some(address) = terminal.address {
            let alone = earlier.iter().all(|t| t.address != Some(address));
            require(alone, "address", &address.to_string(), once)?;
        }
    }
    Ok(())
}

/// Words that mean the same to iPXE's shell, to dnsmasq and to the kernel.
fn check_cmdline(words: &str) -> Result<(), Wrong> {
    let plain = |b: u8| b == b' ' || (b.is_ascii_graphic() && !b"$&|#;\"'\\`".contains(&b));
    let expected =
        "a list of plain words for the kernel (no quotes, no $, &, |, #, ; or backslash)";
    require(
        words.len() <= 1500 && words.bytes().all(plain),
        "cmdline",
        words,
        expected,
    )
}

fn check_path(key: &'static str, path: &Path) -> Result<(), Wrong> {
    let text = path.to_string_lossy();
    let plain = !text.is_empty()
        && !text.contains(|c: char| c.is_control() || c == '"' || c == ',' || c == '#');
    require(
        plain,
        key,
        &text,
        "a path without quotes, commas, # or control characters",
    )
}

fn is_label(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_broker(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    (1..=253).contains(&host.len())
        && host.bytes().all(plain)
        && port.parse::<u16>().is_ok_and(|p| p > 0)
}

fn is_site_key(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64
        && hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
