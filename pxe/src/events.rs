//! What dnsmasq's log means. Pure: a line in, an event out.
//!
//! The log is the only way to hear from dnsmasq what it does; its wording has been stable for many years, and a line
//! that is not understood is passed on for debugging, so a change costs a message and never the service.

use std::fmt;

/// Something that happened on the network, or went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// dnsmasq answers from now on.
    Started,
    /// A machine asked for an address, or for what is needed to boot.
    Asked {
        /// Its MAC address.
        mac: String,
    },
    /// A machine got an address.
    Leased {
        /// Its MAC address.
        mac: String,
        /// The address.
        address: String,
        /// Its name, if it has one.
        name: Option<String>,
    },
    /// A machine got no address.
    Unserved {
        /// Its MAC address.
        mac: String,
        /// Why, in dnsmasq's words.
        why: String,
    },
    /// A file went out over TFTP.
    Sent {
        /// The file's name.
        file: String,
        /// Where it went.
        address: String,
    },
    /// A file could not be sent over TFTP.
    NotSent {
        /// What dnsmasq says.
        what: String,
    },
    /// dnsmasq gives up.
    Failed {
        /// What dnsmasq says.
        what: String,
    },
}

/// Reads one line of dnsmasq's log; `None` for all that needs no attention.
pub fn parse(line: &str) -> Option<Event> {
    // `dnsmasq-dhcp: 1234567 DHCPDISCOVER(br0) 52:54:00:00:00:0a `, where the number names the exchange.
    let (source, rest) = line.split_once(": ")?;
    match source.split('[').next()? {
        "dnsmasq" => general(rest),
        "dnsmasq-dhcp" => dhcp(rest),
        "dnsmasq-tftp" => tftp(rest),
        _ => None,
    }
}

fn general(text: &str) -> Option<Event> {
    if text.starts_with("started, version ") {
        return Some(Event::Started);
    }
    let failed = [
        "failed to ",
        "cannot ",
        "unknown interface ",
        "bad option",
        "FAILED to start up",
        "illegal ",
    ];
    failed
        .iter()
        .any(|start| text.starts_with(start))
        .then(|| Event::Failed {
            what: text.trim().to_owned(),
        })
}

fn dhcp(text: &str) -> Option<Event> {
    let text = match text.split_once(' ') {
        Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => text,
    };
    let (verb, rest) = text.split_once('(')?;
    let (_interface, rest) = rest.split_once(')')?;
    let mut words = rest.split_whitespace();
    match verb {
        "DHCPDISCOVER" => asked_or_unserved(rest),
        "PXE" => Some(Event::Asked {
            mac: words.find(|w| is_mac(w))?.to_owned(),
        }),
        "DHCPACK" => {
            let address = words.next()?.to_owned();
            let mac = words.next().filter(|w| is_mac(w))?.to_owned();
            Some(Event::Leased {
                mac,
                address,
                name: words.next().map(str::to_owned),
            })
        }
        "DHCPNAK" => {
            let _address = words.next()?;
            let mac = words.next().filter(|w| is_mac(w))?.to_owned();
            Some(Event::Unserved {
                mac,
                why: words.collect::<Vec<_>>().join(" "),
            })
        }
        _ => None,
    }
}

/// `DHCPDISCOVER(br0) MAC`, or with a reason behind it when there will be no answer.
fn asked_or_unserved(rest: &str) -> Option<Event> {
    let mut words = rest.split_whitespace().skip_while(|w| !is_mac(w));
    let mac = words.next()?.to_owned();
    let why = words.collect::<Vec<_>>().join(" ");
    Some(if why.is_empty() {
        Event::Asked { mac }
    } else {
        Event::Unserved { mac, why }
    })
}

fn tftp(text: &str) -> Option<Event> {
    if let Some(sent) = text.strip_prefix("sent ") {
        let (file, address) = sent.rsplit_once(" to ")?;
        let file = file.rsplit('/').next()?.to_owned();
        return Some(Event::Sent {
            file,
            address: address.trim().to_owned(),
        });
    }
    let failed = text.starts_with("file ")
        || text.starts_with("failed sending")
        || text.starts_with("cannot ");
    failed.then(|| Event::NotSent {
        what: text.trim().to_owned(),
    })
}

fn is_mac(word: &str) -> bool {
    word.len() == 17
        && word.split(':').count() == 6
        && word.bytes().all(|b| b == b':' || b.is_ascii_hexdigit())
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Started => write!(f, "dnsmasq answers"),
            Event::Asked { mac } => write!(f, "{mac} asks for an address"),
            Event::Leased {
                mac,
                address,
                name: Some(name),
            } => write!(f, "{mac} is {name} and has {address}"),
            Event::Leased {
                mac,
                address,
                name: None,
            } => write!(f, "{mac} has {address}"),
            Event::Unserved { mac, why } if why.contains("no address available") => {
                write!(f, "{mac} gets no address: all of dhcp.range are in use")
            }
            Event::Unserved { mac, why } => write!(f, "{mac} gets no address: {why}"),
            Event::Sent { file, address } => write!(f, "{address} has fetched {file} over TFTP"),
            Event::NotSent { what } => write!(f, "TFTP: {what}"),
            Event::Failed { what } => write!(f, "dnsmasq: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_lines_are_understood() {
        let mac = "52:54:00:00:00:0a".to_owned();
        let leased = |name: Option<&str>| Event::Leased {
            mac: mac.clone(),
            address: "10.77.0.10".into(),
            name: name.map(str::to_owned),
        };
        for (line, expected) in [
            (
                "dnsmasq: started, version 2.89 DNS disabled",
                Some(Event::Started),
            ),
            (
                "dnsmasq-dhcp: 99 DHCPDISCOVER(br0) 52:54:00:00:00:0a ",
                Some(Event::Asked { mac: mac.clone() }),
            ),
            (
                "dnsmasq-dhcp: DHCPDISCOVER(br0) 10.77.0.9 52:54:00:00:00:0a",
                Some(Event::Asked { mac: mac.clone() }),
            ),
            (
                "dnsmasq-dhcp: 99 DHCPDISCOVER(br0) 52:54:00:00:00:0a no address available",
                Some(Event::Unserved {
                    mac: mac.clone(),
                    why: "no address available".into(),
                }),
            ),
            (
                "dnsmasq-dhcp: 99 DHCPACK(br0) 10.77.0.10 52:54:00:00:00:0a a",
                Some(leased(Some("a"))),
            ),
            (
                "dnsmasq-dhcp[12]: DHCPACK(br0) 10.77.0.10 52:54:00:00:00:0a",
                Some(leased(None)),
            ),
            (
                "dnsmasq-dhcp: 7 DHCPNAK(br0) 10.77.0.9 52:54:00:00:00:0a wrong network",
                Some(Event::Unserved {
                    mac: mac.clone(),
                    why: "wrong network".into(),
                }),
            ),
            (
                "dnsmasq-tftp: sent /run/x/www/undionly.kpxe to 10.77.0.10",
                Some(Event::Sent {
                    file: "undionly.kpxe".into(),
                    address: "10.77.0.10".into(),
                }),
            ),
            (
                "dnsmasq-tftp: file /run/x/www/pxelinux.0 not found for 10.77.0.10",
                Some(Event::NotSent {
                    what: "file /run/x/www/pxelinux.0 not found for 10.77.0.10".into(),
                }),
            ),
            (
                "dnsmasq: failed to bind DHCP server socket: Address already in use",
                Some(Event::Failed {
                    what: "failed to bind DHCP server socket: Address already in use".into(),
                }),
            ),
            (
                "dnsmasq-dhcp: 99 available DHCP range: 10.77.0.100 -- 10.77.0.199",
                None,
            ),
            ("dnsmasq-dhcp: 99 tags: ipxe, bios, br0", None),
            ("dnsmasq: compile time options: IPv6 GNU-getopt", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn strange_lines_are_no_events_and_no_panics() {
        for line in [
            "",
            ":",
            ": ",
            "dnsmasq-dhcp: ",
            "dnsmasq-dhcp: DHCPACK(",
            "dnsmasq-dhcp: DHCPACK(br0)",
            "\u{fffd}: x",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}
