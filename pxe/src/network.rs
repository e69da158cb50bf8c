//! The interface that is served, as the kernel describes it.

use std::net::{Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::config::{Config, Mode};

/// An interface with the addresses that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its first IPv4 address.
    pub address: Ipv4Addr,
    /// That address's netmask.
    pub netmask: Ipv4Addr,
    /// Whether it is up.
    pub up: bool,
    /// Whether it has an IPv6 address beyond its link.
    pub has_ipv6: bool,
}

/// Why an interface cannot be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// There is none of that name.
    #[error("interface: there is no {name}; this machine has {}", .has.join(", "))]
    None {
        /// What was asked for.
        name: String,
        /// What there is.
        has: Vec<String>,
    },
    /// It has no IPv4 address.
    #[error(
        "interface: {0} has no IPv4 address; give it one, such as: ip addr add 10.77.0.1/24 dev {0}"
    )]
    NoAddress(String),
    /// The kernel does not tell.
    #[error("cannot list the network interfaces: {0}")]
    System(nix::Error),
}

/// Looks an interface up by name.
pub fn find(name: &str) -> Result<Interface, Error> {
    let all: Vec<_> = getifaddrs().map_err(Error::System)?.collect();
    let own: Vec<_> = all.iter().filter(|a| a.interface_name == name).collect();
    if own.is_empty() {
        let mut has: Vec<String> = all.iter().map(|a| a.interface_name.clone()).collect();
        has.sort();
        has.dedup();
        return Err(Error::None {
            name: name.to_owned(),
            has,
        });
    }
    let v4 = own.iter().find_map(|a| {
        let address = a.address.as_ref()?.as_sockaddr_in()?.ip();
        Some((address, a.netmask.as_ref()?.as_sockaddr_in()?.ip()))
    });
    let (address, netmask) = v4.ok_or_else(|| Error::NoAddress(name.to_owned()))?;
    let beyond_link = |ip: Ipv6Addr| !ip.is_unicast_link_local() && !ip.is_loopback();
    let v6 = own
        .iter()
        .filter_map(|a| Some(a.address.as_ref()?.as_sockaddr_in6()?.ip()));
    let up = own.iter().any(|a| a.flags.contains(InterfaceFlags::IFF_UP));
    Ok(Interface {
        address,
        netmask,
        up,
        has_ipv6: v6.into_iter().any(beyond_link),
    })
}

/// What does not fit between the config and the interface, in sentences. Pure.
pub fn misfits(config: &Config, interface: &Interface) -> Vec<String> {
    let mut misfits = Vec::new();
    let name = &config.interface;
    let bits = |ip: Ipv4Addr| ip.to_bits() & interface.netmask.to_bits();
    let inside = |ip: Ipv4Addr| bits(ip) == bits(interface.address);
    let prefix = interface.netmask.to_bits().leading_ones();
    let network = format!("{}/{prefix}", Ipv4Addr::from_bits(bits(interface.address)));
    if !interface.up {
        misfits.push(format!(
            "interface: {name} is down; bring it up with: ip link set {name} up"
        ));
    }
    let fixed = config
        .terminals
        .iter()
        .filter_map(|t| t.address.map(|a| ("address", a)));
    let mut addresses: Vec<(&str, Ipv4Addr)> = fixed.collect();
    if let Mode::Dhcp(dhcp) = &config.mode {
        addresses.extend([("dhcp.range", dhcp.first), ("dhcp.range", dhcp.last)]);
        addresses.extend(dhcp.router.map(|router| ("dhcp.router", router)));
        if (dhcp.first..=dhcp.last).contains(&interface.address) {
            misfits.push(format!(
                "dhcp.range: it contains our own address {}",
                interface.address
            ));
        }
        if dhcp.router_advertisements && !interface.has_ipv6 {
            misfits.push(format!(
                "dhcp.router_advertisements: {name} has no IPv6 address to advertise; \
                 give it one, such as: ip -6 addr add fd77::1/64 dev {name}"
            ));
        }
    }
    for (key, address) in addresses {
        if !inside(address) {
            misfits.push(format!(
                "{key}: {address} is outside the network {network} of {name}"
            ));
        }
    }
    misfits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_a_misspelt_name_is_refused_with_what_there_is() {
        let lo = find("lo").unwrap();
        assert_eq!(lo.address, Ipv4Addr::LOCALHOST);
        let error = find("lo0").unwrap_err().to_string();
        assert!(error.contains("no lo0") && error.contains("lo"), "{error}");
    }

    #[test]
    fn addresses_outside_the_network_are_named_with_their_key() {
        let text = "interface = \"br0\"\nmode = \"dhcp\"\nimage = \"/i\"\n[dhcp]\nrange = \"10.77.0.1-10.78.0.9\"\n\
                    router = \"10.9.0.1\"\nrouter_advertisements = true\n";
        let config = Config::parse("t", text).unwrap();
        let interface = Interface {
            address: Ipv4Addr::new(10, 77, 0, 1),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            up: false,
            has_ipv6: false,
        };
        let misfits = misfits(&config, &interface).join("\n");
        for expected in [
            "br0 is down",
            "contains our own address 10.77.0.1",
            "dhcp.range: 10.78.0.9 is outside the network 10.77.0.0/24 of br0",
            "dhcp.router: 10.9.0.1 is outside",
            "ip -6 addr add",
        ] {
            assert!(misfits.contains(expected), "{expected}: {misfits}");
        }
    }
}
