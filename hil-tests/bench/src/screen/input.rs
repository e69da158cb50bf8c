//! Control lines in, virtual keys and a virtual mouse out.

use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;

use hil_local::terminal::monotonic_us;
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::Value;
use wayland_client::Connection;
use wayland_client::protocol::wl_pointer::ButtonState;
use wayland_protocols_misc::zwp_virtual_keyboard_v1::client::zwp_virtual_keyboard_v1::ZwpVirtualKeyboardV1;
use wayland_protocols_wlr::virtual_pointer::v1::client::zwlr_virtual_pointer_v1::ZwlrVirtualPointerV1;

/// A keymap of XKB's own parts, as compositors compile it.
const KEYMAP: &str = "xkb_keymap {\n\
    xkb_keycodes { include \"evdev+aliases(qwerty)\" };\n\
    xkb_types { include \"complete\" };\n\
    xkb_compat { include \"complete\" };\n\
    xkb_symbols { include \"pc+us+inet(evdev)\" };\n};\n\0";
const KEYMAP_XKB_V1: u32 = 1;
const KEY_ALT: u32 = 56;
/// Alt is Mod1 in that keymap.
const MOD1: u32 = 1 << 3;

/// Reads standard input on a thread of its own; its end ends the process.
pub fn read_from_stdin(
    connection: Connection,
    keyboard: ZwpVirtualKeyboardV1,
    pointer: ZwlrVirtualPointerV1,
    screen: (u32, u32),
) -> anyhow::Result<()> {
    let mut keymap = File::from(memfd_create("keymap", MemfdFlags::CLOEXEC)?);
    keymap.write_all(KEYMAP.as_bytes())?;
    keyboard.keymap(KEYMAP_XKB_V1, keymap.as_fd(), KEYMAP.len() as u32);
    connection.flush()?;
    let devices = Devices {
        keyboard,
        pointer,
        screen,
    };
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let Ok(line) = serde_json::from_str(&line) else {
                continue;
            };
            devices.act(&line);
            if connection.flush().is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    Ok(())
}

struct Devices {
    keyboard: ZwpVirtualKeyboardV1,
    pointer: ZwlrVirtualPointerV1,
    screen: (u32, u32),
}

impl Devices {
    fn act(&self, line: &Value) -> Option<()> {
        let time_ms = (monotonic_us() / 1000) as u32;
        if let Some(key) = line.get("key") {
            let code = key["code"].as_u64()? as u32;
            let pressed = key["pressed"].as_bool()?;
            self.keyboard.key(time_ms, code, pressed.into());
            if code == KEY_ALT {
                let held = if pressed { MOD1 } else { 0 };
                self.keyboard.modifiers(held, 0, 0, 0);
            }
        } else if let Some(place) = line.get("pointer") {
            let (x, y) = (place["x"].as_u64()? as u32, place["y"].as_u64()? as u32);
            let (w, h) = self.screen;
            self.pointer.motion_absolute(time_ms, x, y, w, h);
            self.pointer.frame();
        } else {
            let button = line.get("button")?;
            let state = match button["pressed"].as_bool()? {
                true => ButtonState::Pressed,
                false => ButtonState::Released,
            };
            self.pointer
                .button(time_ms, button["code"].as_u64()? as u32, state);
            self.pointer.frame();
        }
        Some(())
    }
}
