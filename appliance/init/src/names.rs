//! Names and addresses as they come from the command line, DHCP, DNS and files: checked once, here,
//! and carried as plain text from then on. Pure.

use std::fmt;
use std::net::Ipv6Addr;

/// Port of the control link when none is given.
pub const BROKER_PORT: u16 = 4460;
/// Most brokers taken from one source.
pub const MAX_BROKERS: usize = 16;
/// Most site keys taken from one source.
pub const MAX_SITE_KEYS: usize = 16;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `HOST:PORT`.
    #[error("not a broker address: {0:?} (expected HOST:PORT, port {BROKER_PORT} when left out)")]
    Broker(String),
    /// Not a site key.
    #[error("not a site key: {0:?} (expected sha256: and 64 hexadecimal digits)")]
    SiteKey(String),
    /// The list is too long.
    #[error("more than {0} entries")]
    TooMany(usize),
}

fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Brokers out of `HOST[:PORT][,HOST[:PORT]…]`; each comes back as `HOST:PORT`, an IPv6 host in
/// brackets, without duplicates, in their order.
///
/// # Errors
/// [`NameError`] when one of them is not an address, or there are more than [`MAX_BROKERS`].
pub fn parse_brokers(list: &str) -> Result<Vec<String>, NameError> {
    let mut brokers: Vec<String> = Vec::new();
    for item in list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let broker = broker(item).ok_or_else(|| NameError::Broker(excerpt(item)))?;
        if brokers.len() == MAX_BROKERS {
            return Err(NameError::TooMany(MAX_BROKERS));
        }
        if !brokers.contains(&broker) {
            brokers.push(broker);
        }
    }
    if brokers.is_empty() {
        return Err(NameError::Broker(excerpt(list)));
    }
    Ok(brokers)
}

fn broker(item: &str) -> Option<String> {
    if let Some(rest) = item.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let host: Ipv6Addr = host.parse().ok()?;
        return Some(format!("[{host}]:{}", port_after(port)?));
    }
    let (host, port) = match item.find(':') {
        Some(colon) => item.split_at(colon),
        None => (item, ""),
    };
    is_host(host).then_some(())?;
    Some(format!("{host}:{}", port_after(port)?))
}

fn port_after(text: &str) -> Option<u16> {
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(BROKER_PORT),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0)
        }
        Some(_) => None,
    }
}

/// True for a DNS name or an IPv4 address: labels of letters, digits and inner dashes or
/// underscores.
pub fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The first label of a host name, lower case, as a terminal's name; `None` when it is none.
pub fn host_label(name: &str) -> Option<String> {
    let label = name.split('.').next()?;
    is_label(label).then(|| label.to_ascii_lowercase())
}

/// Site keys out of text: separated by commas or white space, `#` starts a comment. Hexadecimal
/// digits come back in lower case, without duplicates.
///
/// # Errors
/// [`NameError`] when one is not a key, or there are more than [`MAX_SITE_KEYS`].
pub fn parse_site_keys(text: &str) -> Result<Vec<String>, NameError> {
    let mut keys: Vec<String> = Vec::new();
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let separator = |letter: char| letter == ',' || letter.is_whitespace();
    for item in lines.flat_map(|line| line.split(separator)) {
        if item.is_empty() {
            continue;
        }
        let key = site_key(item).ok_or_else(|| NameError::SiteKey(excerpt(item)))?;
        if keys.len() == MAX_SITE_KEYS {
            return Err(NameError::TooMany(MAX_SITE_KEYS));
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

fn site_key(item: &str) -> Option<String> {
    let digits = item.strip_prefix("sha256:")?;
    let sound = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| format!("sha256:{}", digits.to_ascii_lowercase()))
}

fn is_hex_pair(part: &str) -> bool {
    part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Reads `BOOTIF`: the hardware type `01` and the six bytes, all joined by dashes or colons.
    pub fn parse_bootif(text: &str) -> Option<Mac> {
        let mut bytes = [0; 7];
        let mut parts = text.split(['-', ':']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| is_hex_pair(part))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        let [kind, rest @ ..] = bytes;
        (kind == 1 && parts.next().is_none()).then_some(Mac(rest))
    }

    /// The name of a terminal that was given none: `t-` and the last three bytes.
    pub fn default_name(self) -> String {
        let [.., a, b, c] = self.0;
        format!("t-{a:02x}{b:02x}{c:02x}")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brokers_get_the_default_port_and_keep_their_order() {
        let list = parse_brokers("b.example, 10.0.0.1:99,[fd00::1],[fd00::1]:4460,b.example:4460");
        assert_eq!(
            list.unwrap(),
            ["b.example:4460", "10.0.0.1:99", "[fd00::1]:4460"]
        );
    }

    #[test]
    fn what_is_no_broker_is_refused() {
        let bad = [
            "", ",", ":1", "a:0", "a:70000", "a:+1", "a b", "fd00::1", "[x]:1", "-a", "a..b",
            "a/b:1",
        ];
        for item in bad {
            assert!(parse_brokers(item).is_err(), "{item:?}");
        }
        let many: Vec<String> = (0..=MAX_BROKERS).map(|n| format!("h{n}")).collect();
        assert_eq!(
            parse_brokers(&many.join(",")),
            Err(NameError::TooMany(MAX_BROKERS))
        );
    }

    #[test]
    fn a_site_key_file_may_hold_comments_and_several_keys() {
        let (old, new) = ("a".repeat(64), "B".repeat(64));
        let keys =
            parse_site_keys(&format!("# ours\nsha256:{old}\n\nsha256:{new} # next\n")).unwrap();
        assert_eq!(
            keys,
            [
                format!("sha256:{old}"),
                format!("sha256:{}", new.to_lowercase())
            ]
        );
        assert!(parse_site_keys("sha256:12").is_err());
        assert!(parse_site_keys("").unwrap().is_empty());
    }

    #[test]
    fn the_default_name_is_the_end_of_the_mac() {
        let mac = Mac::parse_bootif("01-52-54-00-00-00-0a").unwrap();
        assert_eq!(mac.default_name(), "t-00000a");
        assert_eq!(Mac::parse_bootif("06-52-54-00-00-00-0a"), None);
        assert_eq!(Mac::parse_bootif("01-52-54-00-00-00-0a-00"), None);
        assert_eq!(Mac::parse_bootif("01-52-54-00-00-00-+a"), None);
    }

    proptest! {
        #[test]
        fn a_broker_that_was_read_reads_back_the_same(text in "\\PC{0,60}") {
            if let Ok(brokers) = parse_brokers(&text) {
                prop_assert_eq!(parse_brokers(&brokers.join(",")).unwrap(), brokers);
            }
        }

        #[test]
        fn labels_and_macs_never_panic(text in "\\PC{0,80}") {
            let _ = host_label(&text);
            let _ = Mac::parse_bootif(&text);
            let _ = parse_site_keys(&text);
        }
    }
}
