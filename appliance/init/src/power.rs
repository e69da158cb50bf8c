//! The power button: input devices that have it and are no keyboards, whose keys PID 1 has no
//! business to see.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use tracing::{debug, info};

const EV_KEY: u16 = 1;
const KEY_A: usize = 30;
const KEY_POWER: usize = 116;
/// Bytes of one `struct input_event`: two longs of time, type, code, value.
const EVENT_LEN: usize = 2 * size_of::<usize>() + 8;
/// Most buttons listened to.
const MAX_BUTTONS: usize = 8;

/// Every power button there is.
#[derive(Default)]
pub struct PowerButtons {
    devices: Vec<(String, File)>,
    watching: bool,
}

impl PowerButtons {
    /// Begins to listen: to the buttons there are and those that come.
    pub fn watch(&mut self) {
        self.watching = true;
        for entry in fs::read_dir("/dev/input").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let node = format!("input/{}", name.to_string_lossy());
            self.consider(&node);
        }
    }

    /// An input node such as `input/event3` is there: listens to it if it is a power button.
    pub fn consider(&mut self, node: &str) {
        let known = self.devices.iter().any(|(other, _)| other == node);
        if !self.watching || known || self.devices.len() == MAX_BUTTONS {
            return;
        }
        let Some(name) = node.strip_prefix("input/event") else {
            return;
        };
        let keys = format!("/sys/class/input/event{name}/device/capabilities/key");
        if !fs::read_to_string(keys).is_ok_and(|keys| is_power_button(&keys)) {
            return;
        }
        let nonblock = OFlag::O_NONBLOCK.bits();
        match OpenOptions::new()
            .read(true)
            .custom_flags(nonblock)
            .open(Path::new("/dev").join(node))
        {
            Ok(file) => {
                info!(node, "power button found");
                self.devices.push((node.to_owned(), file));
            }
            Err(error) => debug!(node, %error, "power button cannot be opened"),
        }
    }

    /// The descriptors to wait on.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.iter().map(|(_, file)| file.as_fd())
    }

    /// Reads what the buttons say: true when one was pressed. Devices that are gone are forgotten.
    pub fn handle_readable(&mut self) -> bool {
        let mut pressed = false;
        self.devices.retain_mut(|(_, file)| {
            let mut events = [0; EVENT_LEN * 32];
            match file.read(&mut events) {
                Ok(len) => {
                    pressed |= says_power(&events[..len]);
                    len > 0
                }
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        pressed
    }
}

/// Reads the capability bitmap: hexadecimal words of a long each, the highest first.
fn has_key(bitmap: &str, key: usize) -> bool {
    let bits = usize::BITS as usize;
    bitmap
        .split_ascii_whitespace()
        .rev()
        .nth(key / bits)
        .and_then(|word| usize::from_str_radix(word, 16).ok())
        .is_some_and(|word| word >> (key % bits) & 1 == 1)
}

fn is_power_button(bitmap: &str) -> bool {
    has_key(bitmap, KEY_POWER) && !has_key(bitmap, KEY_A)
}

fn says_power(events: &[u8]) -> bool {
    events.chunks_exact(EVENT_LEN).any(|event| {
        let [.., t0, t1, c0, c1, v0, v1, v2, v3] = *event else {
            return false;
        };
        let kind = u16::from_ne_bytes([t0, t1]);
        let code = u16::from_ne_bytes([c0, c1]);
        let value = i32::from_ne_bytes([v0, v1, v2, v3]);
        kind == EV_KEY && usize::from(code) == KEY_POWER && value == 1
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_button_is_one_and_a_keyboard_with_a_power_key_is_not() {
        assert!(is_power_button("10000000000000 0\n"));
        assert!(!is_power_button(
            "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe"
        ));
        assert!(!is_power_button(""));
    }

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut bytes = vec![0; EVENT_LEN - 8];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_the_press_of_the_power_key_counts() {
        assert!(says_power(&[event(1, 116, 1), event(0, 0, 0)].concat()));
        assert!(!says_power(&event(1, 116, 0)));
        assert!(!says_power(&event(1, 30, 1)));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "\\PC{0,40}", key in 0usize..800) {
            says_power(&bytes);
            has_key(&text, key);
        }
    }
}
