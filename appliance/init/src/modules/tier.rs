//! What a device is for, read off its modalias: the screen, the network and the keyboard come
//! before everything else. Pure.

/// When a device's module is loaded. In their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Buses and chips that the first screen needs.
    Screen,
    /// Network cards.
    Network,
    /// Keyboards, mice, and the USB controllers they sit behind: the first to follow once the
    /// first screen is shown.
    Input,
    /// All else.
    Rest,
}

impl Tier {
    /// The tier of the device called `modalias`.
    pub fn of(modalias: &str) -> Tier {
        let (bus, rest) = modalias.split_once(':').unwrap_or((modalias, ""));
        match bus {
            "pci" => pci(rest),
            "virtio" => virtio(rest),
            "hid" | "serio" | "input" => Tier::Input,
            "usb" => usb(rest),
            "acpi" if rest.starts_with("PNP03") || rest.starts_with("PNP0F") => Tier::Input,
            _ => Tier::Rest,
        }
    }
}

/// `v0000…d0000…sv…sd…bcXXscXXiXX`, upper case hexadecimal.
fn pci(rest: &str) -> Tier {
    let class = rest.find("bc").and_then(|at| rest.get(at + 2..));
    let subclass = class.and_then(|class| class.get(4..6));
    match (class.and_then(|class| class.get(..2)), subclass) {
        (Some("03"), _) => Tier::Screen,
        (Some("02"), _) => Tier::Network,
        (Some("09"), _) | (Some("0C"), Some("03")) => Tier::Input,
        _ => Tier::Rest,
    }
}

/// `dXXXXXXXXv…`: the device types of the virtio specification.
fn virtio(rest: &str) -> Tier {
    match rest.get(1..9) {
        Some("00000010") => Tier::Screen,
        Some("00000001") => Tier::Network,
        Some("00000012") => Tier::Input,
        _ => Tier::Rest,
    }
}

/// Interfaces of class 3 (HID) and 9 (hubs); network adapters of class 2.
fn usb(rest: &str) -> Tier {
    match rest.find("ic").and_then(|at| rest.get(at + 2..at + 4)) {
        Some("03" | "09") => Tier::Input,
        Some("02") => Tier::Network,
        _ => Tier::Rest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_screen_comes_first_and_sound_last() {
        let tiers = [
            (
                "pci:v00001AF4d00001050sv00001AF4sd00001100bc03sc80i00",
                Tier::Screen,
            ),
            ("virtio:d00000010v00001AF4", Tier::Screen),
            (
                "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00",
                Tier::Network,
            ),
            ("virtio:d00000001v00001AF4", Tier::Network),
            (
                "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30",
                Tier::Input,
            ),
            (
                "usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip01in00",
                Tier::Input,
            ),
            ("acpi:PNP0303:", Tier::Input),
            ("serio:ty06pr00id00ex00", Tier::Input),
            (
                "pci:v00008086d0000293Esv00001AF4sd00001100bc04sc03i00",
                Tier::Rest,
            ),
            (
                "usb:v08E6p4433d0000dc00dsc00dp00ic0Bisc00ip00in00",
                Tier::Rest,
            ),
            (
                "cpu:type:x86,ven0000fam0006mod003F:feature:,0000",
                Tier::Rest,
            ),
        ];
        for (modalias, tier) in tiers {
            assert_eq!(Tier::of(modalias), tier, "{modalias}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(name in "(pci|virtio|usb|acpi)?:?\\PC{0,40}") {
            Tier::of(&name);
        }
    }
}
