//! The devices that were there before PID 1: a walk over /sys.

use std::fs;
use std::path::Path;

/// Buses whose devices lead to the first screen, the network and the keyboard; walked first
/// because walking all of /sys takes long.
const FIRST_BUSES: &[&str] = &["pci", "virtio", "usb", "hid", "serio", "acpi"];

/// Calls `found` with the modalias of every device, those of the important buses first; a device
/// may come twice.
pub(super) fn walk(sys: &Path, mut found: impl FnMut(String)) {
    let buses = sys.join("bus");
    for bus in FIRST_BUSES {
        walk_bus(&buses.join(bus), &mut found);
    }
    walk_devices(&sys.join("class/input"), &mut found);
    for bus in fs::read_dir(&buses).into_iter().flatten().flatten() {
        if !FIRST_BUSES.iter().any(|first| bus.file_name() == **first) {
            walk_bus(&bus.path(), &mut found);
        }
    }
}

fn walk_bus(bus: &Path, found: &mut impl FnMut(String)) {
    walk_devices(&bus.join("devices"), found);
}

fn walk_devices(dir: &Path, found: &mut impl FnMut(String)) {
    for device in fs::read_dir(dir).into_iter().flatten().flatten() {
        if let Ok(modalias) = fs::read_to_string(device.path().join("modalias")) {
            found(modalias.trim_end().to_owned());
        }
    }
}
