//! A DHCP lease as the terminal uses it: every field checked, whatever the server sent. Pure.

use std::net::Ipv4Addr;
use std::time::Duration;

use mozim::DhcpV4Lease;

use crate::names;

/// The DHCP option that names brokers: text, `HOST:PORT[,HOST:PORT…]`.
pub const BROKER_OPTION: u8 = 224;
/// Most name servers and routes taken from a lease.
const MAX_LIST: usize = 8;
/// A lease shorter than this is treated as this long, so that no server makes the terminal ask
/// without end.
const MIN_LEASE: Duration = Duration::from_secs(60);

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The terminal's address.
    pub address: Ipv4Addr,
    /// Bits of the network part.
    pub prefix: u8,
    /// Ways out of the network.
    pub routes: Vec<Route>,
    /// Name servers, best first.
    pub name_servers: Vec<Ipv4Addr>,
    /// The domain for searches and SRV records.
    pub domain: Option<String>,
    /// The terminal's name.
    pub host_name: Option<String>,
    /// Brokers of option 224; an error when it is there and cannot be used.
    pub brokers: Result<Vec<String>, names::NameError>,
    /// Longest packet on this network, in bytes.
    pub mtu: Option<u16>,
    /// How long it lasts.
    pub lasts: Duration,
}

/// A way to a network through a router; a router of 0.0.0.0 means on the link itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The network; 0.0.0.0/0 is everything.
    pub destination: Ipv4Addr,
    /// Bits of its network part.
    pub prefix: u8,
    /// The router.
    pub router: Ipv4Addr,
}

/// Why a lease cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Not an address for a machine.
    #[error("the DHCP server offers {0}, which is no address for a machine")]
    Address(Ipv4Addr),
}

impl Lease {
    /// Takes over what is sound in `lease`.
    ///
    /// # Errors
    /// [`LeaseError`] when not even the address is.
    pub fn from_dhcp(lease: &DhcpV4Lease) -> Result<Lease, LeaseError> {
        let address = lease.yiaddr;
        if address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address.is_broadcast()
        {
            return Err(LeaseError::Address(address));
        }
        Ok(Lease {
            address,
            prefix: prefix_of(lease.subnet_mask),
            routes: routes(lease),
            name_servers: first(lease.dns_srvs.as_deref(), |server| !server.is_unspecified()),
            domain: lease.domain_name.as_deref().and_then(domain),
            host_name: lease.host_name.as_deref().and_then(names::host_label),
            brokers: brokers(lease.get_option_raw(BROKER_OPTION).as_deref()),
            mtu: lease.mtu.filter(|mtu| (576..=9216).contains(mtu)),
            lasts: Duration::from_secs(lease.lease_time_sec.into()).max(MIN_LEASE),
        })
    }

    /// The address with its prefix length, such as `10.77.0.20/24`.
    pub fn cidr(&self) -> String {
        format!("{}/{}", self.address, self.prefix)
    }

    /// The text of /etc/resolv.conf.
    pub fn resolv_conf(&self) -> String {
        let search = self
            .domain
            .iter()
            .map(|domain| format!("search {domain}\n"));
        let servers = self
            .name_servers
            .iter()
            .map(|server| format!("nameserver {server}\n"));
        search
            .chain(servers)
            .chain(["options timeout:2 attempts:2\n".to_owned()])
            .collect()
    }
}

/// A mask with holes counts up to its first hole; none at all is a network of one.
fn prefix_of(mask: Ipv4Addr) -> u8 {
    match u32::from(mask).leading_ones() {
        0 => 32,
        ones => ones as u8,
    }
}

/// Classless routes replace the router list where they are given (RFC 3442).
fn routes(lease: &DhcpV4Lease) -> Vec<Route> {
    if let Some(classless) = &lease.classless_routes {
        let route = |route: &mozim::DhcpV4ClasslessRoute| Route {
            destination: route.destination,
            prefix: route.prefix_length.min(32),
            router: route.router,
        };
        return classless.iter().map(route).take(MAX_LIST).collect();
    }
    let routers = first(lease.gateways.as_deref(), |router| !router.is_unspecified());
    let default = |router| Route {
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        router,
    };
    routers.into_iter().take(1).map(default).collect()
}

fn first(list: Option<&[Ipv4Addr]>, sound: impl Fn(&Ipv4Addr) -> bool) -> Vec<Ipv4Addr> {
    list.unwrap_or_default()
        .iter()
        .copied()
        .filter(sound)
        .take(MAX_LIST)
        .collect()
}

/// The first of possibly several domains, without a final dot.
fn domain(text: &str) -> Option<String> {
    let name = text.trim_matches('\0').split_ascii_whitespace().next()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    names::is_host(name).then(|| name.to_ascii_lowercase())
}

/// Brokers out of the option as the DHCP library hands it over: with or without the two bytes of
/// code and length before it. An option that is missing or empty names none.
fn brokers(option: Option<&[u8]>) -> Result<Vec<String>, names::NameError> {
    let value = match option {
        None => return Ok(Vec::new()),
        Some([BROKER_OPTION, len, value @ ..]) if usize::from(*len) == value.len() => value,
        Some(value) => value,
    };
    if let Some(list) = addresses(value) {
        return names::parse_brokers(&list);
    }
    let text = String::from_utf8_lossy(value);
    match text.trim_matches(['\0', ' ']) {
        "" => Ok(Vec::new()),
        text => names::parse_brokers(text),
    }
}

/// The option as binary IPv4 addresses, which is what dnsmasq and others make of a list that holds
/// addresses only. No text of printable letters is taken for it.
fn addresses(value: &[u8]) -> Option<String> {
    let (addresses, rest) = value.as_chunks::<4>();
    let text = value.iter().all(|byte| matches!(byte, 0 | b' '..=b'~'));
    let binary = !addresses.is_empty() && rest.is_empty() && !text;
    let list = addresses
        .iter()
        .map(|address| Ipv4Addr::from(*address).to_string());
    binary.then(|| list.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dhcp() -> DhcpV4Lease {
        let mut lease = DhcpV4Lease::default();
        lease.yiaddr = Ipv4Addr::new(10, 77, 0, 20);
        lease.subnet_mask = Ipv4Addr::new(255, 255, 255, 0);
        lease.lease_time_sec = 3600;
        lease.gateways = Some(vec![Ipv4Addr::new(10, 77, 0, 1)]);
        lease.dns_srvs = Some(vec![Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 77, 0, 1)]);
        lease.domain_name = Some("Desk.Example.".into());
        lease.host_name = Some("Desk-7.desk.example".into());
        lease
    }

    #[test]
    fn a_usual_lease_is_taken_over() {
        let lease = Lease::from_dhcp(&dhcp()).unwrap();
        assert_eq!(lease.cidr(), "10.77.0.20/24");
        assert_eq!(lease.routes.len(), 1);
        assert_eq!(lease.host_name.as_deref(), Some("desk-7"));
        assert_eq!(
            lease.resolv_conf(),
            "search desk.example\nnameserver 10.77.0.1\noptions timeout:2 attempts:2\n"
        );
        assert_eq!(lease.brokers, Ok(Vec::new()));
    }

    #[test]
    fn an_address_for_no_machine_is_refused() {
        for address in [
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::BROADCAST,
            Ipv4Addr::new(224, 0, 0, 1),
        ] {
            let mut lease = dhcp();
            lease.yiaddr = address;
            assert_eq!(Lease::from_dhcp(&lease), Err(LeaseError::Address(address)));
        }
    }

    #[test]
    fn a_resolver_file_cannot_be_forged_through_the_domain() {
        for forged in ["a.b\nnameserver 6.6.6.6", "a/b", "-x", ""] {
            let mut lease = dhcp();
            lease.domain_name = Some(forged.into());
            let text = Lease::from_dhcp(&lease).unwrap().resolv_conf();
            assert!(!text.contains("6.6.6.6") && !text.contains('/'), "{text}");
        }
    }

    #[test]
    fn the_broker_option_is_read_with_and_without_its_head() {
        let both = vec!["10.77.0.1:4460".to_owned(), "b.example:99".to_owned()];
        let text = b"10.77.0.1:4460,b.example:99";
        let with_head = [&[BROKER_OPTION, text.len() as u8], &text[..]].concat();
        assert_eq!(brokers(Some(text)), Ok(both.clone()));
        assert_eq!(brokers(Some(&with_head)), Ok(both));
        assert_eq!(
            brokers(Some(b"10.0.0.1\0")),
            Ok(vec!["10.0.0.1:4460".to_owned()])
        );
        assert_eq!(brokers(Some(b"")), Ok(Vec::new()));
        assert!(brokers(Some(b"\xff\xff/")).is_err());
    }

    #[test]
    fn a_broker_option_of_bare_addresses_is_read_as_well() {
        let two = [BROKER_OPTION, 8, 10, 77, 0, 1, 192, 168, 1, 2];
        let brokers_of_two = brokers(Some(&two)).unwrap();
        assert_eq!(brokers_of_two, ["10.77.0.1:4460", "192.168.1.2:4460"]);
        assert_eq!(brokers(Some(b"host")), Ok(vec!["host:4460".to_owned()]));
    }

    proptest! {
        #[test]
        fn nothing_a_server_sends_makes_it_panic(
            address in any::<u32>(), mask in any::<u32>(), seconds in any::<u32>(), mtu in any::<u16>(),
            name in "\\PC{0,40}", domain_name in "\\PC{0,60}", servers in proptest::collection::vec(any::<u32>(), 0..40),
        ) {
            let mut lease = DhcpV4Lease::default();
            lease.yiaddr = address.into();
            lease.subnet_mask = mask.into();
            lease.lease_time_sec = seconds;
            lease.mtu = Some(mtu);
            lease.host_name = Some(name);
            lease.domain_name = Some(domain_name);
            lease.dns_srvs = Some(servers.into_iter().map(Ipv4Addr::from).collect());
            if let Ok(lease) = Lease::from_dhcp(&lease) {
                prop_assert!((1..=32).contains(&lease.prefix));
                prop_assert!(lease.name_servers.len() <= MAX_LIST);
                let lines = lease.resolv_conf().lines().count();
                prop_assert!(lines <= MAX_LIST + 2);
            }
        }

        #[test]
        fn no_broker_option_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = brokers(Some(&bytes));
        }
    }
}
