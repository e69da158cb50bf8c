//! The status codes a terminal shows. docs/book/src/status-codes.md is the same table for people,
//! and a test below keeps the two alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The picture that stands beside a code on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// A monitor.
    Display,
    /// A network plug.
    Cable,
    /// A plug with a question mark: the address.
    Address,
    /// A server.
    Broker,
    /// Two different squares.
    Version,
    /// A key.
    Key,
    /// A card and its reader.
    Card,
    /// A desktop window.
    Session,
    /// The terminal itself.
    Terminal,
}

impl Symbol {
    /// The word used for it in the documentation.
    pub fn word(self) -> &'static str {
        match self {
            Symbol::Display => "display",
            Symbol::Cable => "cable",
            Symbol::Address => "address",
            Symbol::Broker => "broker",
            Symbol::Version => "version",
            Symbol::Key => "key",
            Symbol::Card => "card",
            Symbol::Session => "session",
            Symbol::Terminal => "terminal",
        }
    }
}

/// Not a code of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such status code: {0}")]
pub struct UnknownCode(pub String);

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $symbol:ident, $title:literal, $advice:literal;)*) => {
        /// A status code: what stands between this terminal and a desktop.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The code as shown: `E` and two digits.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $number,)* }
            }

            /// The picture that stands beside it.
            pub fn symbol(self) -> Symbol {
                match self { $(Code::$variant => Symbol::$symbol,)* }
            }

            /// What is wrong, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// What to do about it, in one sentence.
            pub fn advice(self) -> &'static str {
                match self { $(Code::$variant => $advice,)* }
            }
        }
    };
}

codes! {
    /// No DRM device with a connected connector.
    NoDisplay = "E10", Display, "no display",
        "Connect a monitor and switch it on; if it stays dark, the image lacks this graphics chip's driver or firmware.";
    /// No carrier on any interface.
    NoCable = "E11", Cable, "no network cable",
        "Plug in the network cable and look for the lights beside the socket.";
    /// DHCP server silent.
    NoDhcpAnswer = "E12", Address, "no answer from DHCP",
        "Check that this network has a DHCP server with free addresses; the terminal keeps asking.";
    /// Lease ran out or was refused.
    LeaseLost = "E13", Address, "address lost",
        "The DHCP server withdrew the address or did not renew it; the terminal asks for a new one.";
    /// No network interface at all.
    NoInterface = "E14", Cable, "no network card",
        "The image lacks the driver of this terminal's network card: add its module to the image profile.";
    /// No broker was named by anybody.
    NoBroker = "E20", Broker, "broker not found",
        "Name the broker on the kernel command line (heliostat.broker=), in DHCP option 224 or in the DNS record _heliostat._udp of the domain.";
    /// Brokers known, none answers.
    BrokerUnreachable = "E21", Broker, "broker does not answer",
        "Check that the broker runs and that port 4460, UDP or TCP, reaches it from this network.";
    /// The broker's key is not a pinned one.
    WrongBrokerKey = "E22", Key, "broker has another key",
        "The machine that answers does not hold this site's key: rebuild the image with the broker's site key, or look for an impostor.";
    /// Versions do not fit.
    VersionMismatch = "E30", Version, "broker of another version",
        "Update the netboot image or the broker so that both have the same protocol version, then restart the terminal.";
    /// No site key in the image or on the command line.
    NoSiteKey = "E40", Key, "no site key",
        "Build the image with --site-key, or give heliostat.site_key= on the kernel command line.";
    /// A site key that is not one.
    BadSiteKey = "E41", Key, "site key unreadable",
        "A site key is the word sha256, a colon and 64 hexadecimal digits: correct /etc/heliostat/site-key in the image or heliostat.site_key= on the kernel command line.";
    /// pcscd is not running.
    NoCardService = "E50", Card, "card service not running",
        "The card service pcscd keeps stopping or is missing from the image; the serial console says why.";
    /// No reader.
    NoReader = "E51", Card, "no card reader",
        "Connect a card reader.";
    /// A card that does not answer.
    CardUnreadable = "E52", Card, "card cannot be read",
        "Take the card out and insert it again the right way round; if it still fails, the card is damaged or of a kind not known here.";
    /// The broker does not know the card.
    CardUnknown = "E53", Card, "card not known",
        "An administrator has to enrol this card: heliostatctl card add.";
    /// The broker does not allow it.
    CardRefused = "E54", Card, "card refused",
        "This card is revoked, not allowed here, or could not prove that it is genuine.";
    /// The session did not start.
    SessionFailed = "E60", Session, "desktop did not start",
        "Take the card out and insert it again to try once more; the broker's log says why it failed.";
    /// The session link broke or could not be opened.
    SessionUnreachable = "E61", Session, "desktop does not answer",
        "Check that the broker's session ports (4500 to 4999, UDP or TCP) reach the server from this network.";
    /// The client keeps dying.
    ClientFailing = "E70", Terminal, "display process keeps stopping",
        "Restart the terminal; if it comes back, report the lines on the serial console.";
    /// udevd is not running.
    NoUdev = "E71", Terminal, "device service not running",
        "The device service udevd keeps stopping or is missing from the image: keyboard and mouse may not work.";
    /// PID 1 failed.
    InitFailed = "E90", Terminal, "terminal software failed",
        "The terminal restarts by itself; report the lines on the serial console.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Code, UnknownCode> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownCode(text.chars().take(16).collect()))
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.as_str().to_owned()
    }
}

impl TryFrom<String> for Code {
    type Error = UnknownCode;

    fn try_from(text: String) -> Result<Code, UnknownCode> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/book/src/status-codes.md");

    fn row(code: Code) -> String {
        format!(
            "| {} | {} | {} | {} |",
            code.as_str(),
            code.symbol().word(),
            code.title(),
            code.advice()
        )
    }

    #[test]
    fn the_page_in_the_book_is_this_table() {
        let rows: Vec<&str> = PAGE
            .lines()
            .filter(|line| line.starts_with("| E"))
            .collect();
        let expected: Vec<String> = Code::ALL.iter().copied().map(row).collect();
        assert_eq!(
            rows, expected,
            "docs/book/src/status-codes.md must hold these rows"
        );
    }

    #[test]
    fn codes_are_distinct_sorted_and_parse_back() {
        assert!(
            Code::ALL
                .windows(2)
                .all(|pair| pair[0].as_str() < pair[1].as_str())
        );
        for code in Code::ALL {
            assert_eq!(code.as_str().parse::<Code>().unwrap(), *code);
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
        }
        assert!("E99".parse::<Code>().is_err());
    }
}
