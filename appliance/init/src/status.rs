//! The state of the terminal: put together from what the parts report, told to the client and to
//! the serial console. Pure.

use heliostat_terminal_state::{BootTimes, Code, Link, Stage, TerminalState};

use crate::boot::facts::SiteKeys;
use crate::names;
use crate::network::NetReport;

/// Everything that is known, and the state it amounts to.
#[derive(Debug)]
pub struct Status {
    site_keys: SiteKeys,
    name: Option<String>,
    net: NetReport,
    no_display: bool,
    failing: Vec<Code>,
    boot: BootTimes,
    told: Option<TerminalState>,
    client: (Option<Code>, String),
    client_told: (Option<Code>, String),
}

/// What changed since it was asked last.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// For the client.
    pub state: TerminalState,
    /// For the serial console; empty when nothing in it changed.
    pub lines: Vec<String>,
}

impl Status {
    /// Begins with what was there at the start: the keys, the name of the command line, the time.
    pub fn new(site_keys: SiteKeys, name: Option<String>, init_ms: u64) -> Status {
        Status {
            site_keys,
            name,
            net: NetReport {
                text: "waiting for the network".to_owned(),
                ..NetReport::default()
            },
            no_display: false,
            failing: Vec::new(),
            boot: BootTimes {
                init_ms: Some(init_ms),
                ..BootTimes::default()
            },
            told: None,
            client: (None, String::new()),
            client_told: (None, String::new()),
        }
    }

    /// The network changed.
    pub fn handle_network(&mut self, report: NetReport, uptime_ms: u64) {
        let carrier = report.link.as_ref().is_some_and(|link| link.carrier);
        let leased = report.link.as_ref().is_some_and(|link| link.ip.is_some());
        let ready = report.stage == Stage::Ready;
        let boot = &mut self.boot;
        for (happened, slot) in [
            (carrier, &mut boot.carrier_ms),
            (leased, &mut boot.lease_ms),
            (ready, &mut boot.ready_ms),
        ] {
            if happened {
                slot.get_or_insert(uptime_ms);
            }
        }
        self.net = distrusted(report);
    }

    /// A display device is there, or after a long wait still is not.
    pub fn handle_display(&mut self, present: bool, uptime_ms: u64) {
        self.no_display = !present;
        if present {
            self.boot.display_ms.get_or_insert(uptime_ms);
        }
    }

    /// The client was started.
    pub fn handle_client_started(&mut self, uptime_ms: u64) {
        self.boot.client_ms.get_or_insert(uptime_ms);
    }

    /// The client's first screen was scanned out.
    pub fn handle_screen_shown(&mut self, uptime_ms: u64) {
        self.boot.screen_ms.get_or_insert(uptime_ms);
    }

    /// The client told its own stage.
    pub fn handle_client_status(&mut self, code: Option<Code>, text: String) {
        self.client = (code, one_line(&text));
    }

    /// These services keep dying.
    pub fn handle_failing(&mut self, mut codes: Vec<Code>) {
        codes.sort_unstable();
        codes.dedup();
        self.failing = codes;
    }

    /// The times so far.
    pub fn boot(&self) -> &BootTimes {
        &self.boot
    }

    /// The whole state, for a client that has just started.
    pub fn state(&self) -> TerminalState {
        let (stage, code, text) = self.stage();
        let keys = match &self.site_keys {
            SiteKeys::Some(keys) => keys.clone(),
            SiteKeys::None | SiteKeys::Bad(_) => Vec::new(),
        };
        let link = self.net.link.clone();
        TerminalState {
            stage,
            code,
            text,
            also: self.also(),
            name: self
                .name
                .clone()
                .or(self.net.host_name.clone())
                .or(self.net.default_name.clone()),
            id: link.as_ref().map(|link| link.mac.clone()),
            link,
            brokers: if keys.is_empty() {
                Vec::new()
            } else {
                self.net.brokers.clone()
            },
            site_keys: keys,
            boot: self.boot,
        }
    }

    fn stage(&self) -> (Stage, Option<Code>, String) {
        let of = |code: Code| (Stage::Failed, Some(code), code.title().to_owned());
        match &self.site_keys {
            SiteKeys::None => of(Code::NoSiteKey),
            SiteKeys::Bad(why) => (Stage::Failed, Some(Code::BadSiteKey), why.clone()),
            SiteKeys::Some(_) => (self.net.stage, self.net.code, self.net.text.clone()),
        }
    }

    fn also(&self) -> Vec<Code> {
        let display = self.no_display.then_some(Code::NoDisplay);
        display
            .into_iter()
            .chain(self.failing.iter().copied())
            .collect()
    }

    /// What changed since the last call; `None` when nothing did.
    pub fn poll_change(&mut self) -> Option<Change> {
        let state = self.state();
        let mut lines = Vec::new();
        if self
            .told
            .as_ref()
            .is_none_or(|told| headline(told) != headline(&state))
        {
            lines.push(line(&state));
        }
        let known = self.told.as_ref().map_or(&[][..], |told| &told.also);
        lines.extend(
            state
                .also
                .iter()
                .filter(|code| !known.contains(code))
                .map(|code| explain(*code)),
        );
        if self.client != self.client_told {
            self.client_told = self.client.clone();
            let (code, text) = &self.client;
            lines.push(format!("client {} {text}", code.map_or("-", Code::as_str)));
        }
        if lines.is_empty() && self.told.as_ref() == Some(&state) {
            return None;
        }
        self.told = Some(state.clone());
        Some(Change { state, lines })
    }
}

/// A report of the process that reads hostile bytes, with nothing in it but what may be.
fn distrusted(report: NetReport) -> NetReport {
    let brokers = names::parse_brokers(&report.brokers.join(","));
    let link = report.link.map(|link| Link {
        interface: one_line(&link.interface),
        mac: one_line(&link.mac),
        carrier: link.carrier,
        ip: link.ip.as_deref().map(one_line),
    });
    NetReport {
        stage: report.stage,
        code: report.code,
        text: one_line(&report.text),
        link,
        host_name: report.host_name.as_deref().and_then(names::host_label),
        default_name: report.default_name.as_deref().and_then(names::host_label),
        brokers: brokers.unwrap_or_default(),
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect()
}

/// The part of the state that a line on the console is about.
fn headline(state: &TerminalState) -> (Stage, Option<Code>, &str, &[String], Option<&str>) {
    let ip = state.link.as_ref().and_then(|link| link.ip.as_deref());
    (state.stage, state.code, &state.text, &state.brokers, ip)
}

fn line(state: &TerminalState) -> String {
    let stage = match state.stage {
        Stage::Cable => "cable",
        Stage::Dhcp => "dhcp",
        Stage::Broker => "broker",
        Stage::Version => "version",
        Stage::Card => "card",
        Stage::Ready => "ready",
        Stage::Failed => "failed",
    };
    let mut line = format!(
        "{stage} {} {}",
        state.code.map_or("-", Code::as_str),
        state.text
    );
    let ip = state.link.as_ref().and_then(|link| link.ip.as_deref());
    for (key, value) in [
        ("name", state.name.as_deref()),
        ("id", state.id.as_deref()),
        ("ip", ip),
        (
            "brokers",
            (!state.brokers.is_empty())
                .then(|| state.brokers.join(","))
                .as_deref(),
        ),
    ] {
        if let Some(value) = value {
            line.push_str(&format!(" {key}={value}"));
        }
    }
    line
}

fn explain(code: Code) -> String {
    format!("also {code} {}: {}", code.title(), code.advice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SiteKeys {
        SiteKeys::Some(vec![format!("sha256:{}", "a".repeat(64))])
    }

    fn ready() -> NetReport {
        NetReport {
            stage: Stage::Ready,
            link: Some(Link {
                interface: "eth0".into(),
                mac: "52:54:00:00:00:0a".into(),
                carrier: true,
                ip: Some("10.77.0.20/24".into()),
            }),
            default_name: Some("t-00000a".into()),
            brokers: vec!["10.77.0.1:4460".into()],
            ..NetReport::default()
        }
    }

    #[test]
    fn a_terminal_that_has_all_is_ready_and_times_are_kept_from_the_first_time() {
        let mut status = Status::new(key(), None, 100);
        assert_eq!(status.poll_change().unwrap().lines.len(), 1);
        status.handle_network(ready(), 900);
        status.handle_network(ready(), 2000);
        let change = status.poll_change().unwrap();
        assert!(change.state.is_ready());
        assert_eq!(change.state.boot.lease_ms, Some(900));
        assert_eq!(change.state.name.as_deref(), Some("t-00000a"));
        assert_eq!(
            change.lines,
            ["ready -  name=t-00000a id=52:54:00:00:00:0a ip=10.77.0.20/24 brokers=10.77.0.1:4460"]
        );
        assert_eq!(status.poll_change(), None);
    }

    #[test]
    fn without_a_site_key_the_client_never_hears_of_a_broker() {
        for keys in [SiteKeys::None, SiteKeys::Bad("line 3".into())] {
            let mut status = Status::new(keys, Some("desk".into()), 0);
            status.handle_network(ready(), 1);
            let state = status.poll_change().unwrap().state;
            assert_eq!(state.stage, Stage::Failed);
            assert!(matches!(
                state.code,
                Some(Code::NoSiteKey | Code::BadSiteKey)
            ));
            assert!(state.brokers.is_empty() && !state.is_ready());
            assert_eq!(state.name.as_deref(), Some("desk"));
        }
    }

    #[test]
    fn a_network_process_that_was_taken_over_cannot_forge_lines_or_names() {
        let mut status = Status::new(key(), None, 0);
        let mut report = ready();
        report.text = "fine\nheliostat 1.0 ready".into();
        report.host_name = Some("../../etc".into());
        report.brokers = vec!["evil host".into()];
        status.handle_network(report, 1);
        let change = status.poll_change().unwrap();
        assert!(change.lines.iter().all(|line| !line.contains('\n')));
        assert_eq!(change.state.name.as_deref(), Some("t-00000a"));
        assert!(change.state.brokers.is_empty());
    }

    #[test]
    fn no_display_and_dying_services_stand_beside_the_stage() {
        let mut status = Status::new(key(), None, 0);
        status.handle_display(false, 10_000);
        status.handle_failing(vec![Code::NoCardService]);
        let change = status.poll_change().unwrap();
        assert_eq!(change.state.also, [Code::NoDisplay, Code::NoCardService]);
        assert!(change.lines[1].starts_with("also E10 no display"));
        status.handle_display(true, 12_000);
        status.handle_failing(Vec::new());
        let change = status.poll_change().unwrap();
        assert!(change.state.also.is_empty() && change.lines.is_empty());
    }

    #[test]
    fn what_the_client_finds_reaches_the_console_once() {
        let mut status = Status::new(key(), None, 0);
        status.poll_change();
        status.handle_client_status(Some(Code::BrokerUnreachable), "no\nanswer".into());
        assert_eq!(status.poll_change().unwrap().lines, ["client E21 noanswer"]);
        assert_eq!(status.poll_change(), None);
    }
}
