//! Which interface the terminal uses. Pure.

use std::collections::BTreeMap;

use crate::names::Mac;

/// An Ethernet interface as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name, which may change.
    pub name: String,
    /// Its address.
    pub mac: Mac,
    /// The cable is in and the other end answers.
    pub carrier: bool,
}

/// The interfaces there are, by their index.
pub type Interfaces = BTreeMap<u32, Interface>;

/// The boot interface: the one the firmware booted from (`boot_mac`), unless it has no carrier and
/// another has; without one, the first with a carrier, else the first. The one in use (`current`)
/// is kept before others of equal worth.
pub fn choose(interfaces: &Interfaces, boot_mac: Option<Mac>, current: Option<u32>) -> Option<u32> {
    let worth = |interface: &&Interface| {
        let booted = boot_mac == Some(interface.mac);
        let kept = current == Some(interface.index);
        (
            interface.carrier,
            booted,
            kept,
            std::cmp::Reverse(interface.index),
        )
    };
    let best = interfaces.values().max_by_key(worth)?;
    // Without any carrier the cable belongs into the interface in use, or the one booted from.
    let fallback = current.filter(|index| interfaces.contains_key(index));
    if best.carrier {
        Some(best.index)
    } else {
        fallback.or(Some(best.index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(carriers: &[bool]) -> Interfaces {
        let interface = |(at, carrier): (usize, &bool)| {
            let index = at as u32 + 2;
            let mac = Mac([2, 0, 0, 0, 0, index as u8]);
            (
                index,
                Interface {
                    index,
                    name: format!("eth{at}"),
                    mac,
                    carrier: *carrier,
                },
            )
        };
        carriers.iter().enumerate().map(interface).collect()
    }

    fn mac(index: u8) -> Option<Mac> {
        Some(Mac([2, 0, 0, 0, 0, index]))
    }

    #[test]
    fn the_interface_booted_from_is_taken_while_it_has_a_carrier() {
        assert_eq!(choose(&table(&[true, true]), mac(3), None), Some(3));
        assert_eq!(choose(&table(&[true, false]), mac(3), None), Some(2));
        assert_eq!(choose(&table(&[false, false]), mac(3), None), Some(3));
        assert_eq!(choose(&table(&[false, true]), None, None), Some(3));
        assert_eq!(choose(&table(&[]), mac(3), None), None);
    }

    #[test]
    fn a_pulled_cable_does_not_move_the_terminal_to_another_dead_interface() {
        assert_eq!(choose(&table(&[false, false]), mac(2), Some(3)), Some(3));
        assert_eq!(choose(&table(&[true, false]), None, Some(3)), Some(2));
        assert_eq!(choose(&table(&[true, true]), None, Some(3)), Some(3));
    }

    proptest! {
        #[test]
        fn a_live_interface_is_chosen_whenever_there_is_one(carriers in proptest::collection::vec(any::<bool>(), 0..6), boot in 0u8..9, current in 0u32..9) {
            let table = table(&carriers);
            let chosen = choose(&table, mac(boot), Some(current));
            prop_assert_eq!(chosen.is_some(), !table.is_empty());
            if let Some(chosen) = chosen {
                prop_assert_eq!(table[&chosen].carrier, carriers.contains(&true));
            }
        }
    }
}
