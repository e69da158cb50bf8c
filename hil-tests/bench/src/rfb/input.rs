//! Control lines in, keys and mouse out.

use std::io::BufRead;

use serde_json::Value;

use super::Writer;

/// Keys that the workloads use: evdev code and X keysym.
const KEYS: [(u64, u32); 3] = [(30, 0x61), (56, 0xffe9), (15, 0xff09)];
const BUTTON_LEFT: u64 = 0x110;

/// Reads standard input on a thread of its own; its end ends the process.
pub fn read_from_stdin(writer: Writer) {
    std::thread::spawn(move || {
        let mut mouse = Mouse::default();
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let Ok(line) = serde_json::from_str(&line) else {
                continue;
            };
            if let Some(message) = mouse.message(&line)
                && writer.send(&message).is_err()
            {
                break;
            }
        }
        std::process::exit(0);
    });
}

/// The mouse as RFB has it: always everything.
#[derive(Debug, Default)]
struct Mouse {
    buttons: u8,
    x: u16,
    y: u16,
}

impl Mouse {
    fn message(&mut self, line: &Value) -> Option<Vec<u8>> {
        if let Some(key) = line.get("key") {
            let code = key["code"].as_u64()?;
            let (_, keysym) = KEYS.iter().find(|(evdev, _)| *evdev == code)?;
            let mut message = vec![4, u8::from(key["pressed"].as_bool()?), 0, 0];
            message.extend(keysym.to_be_bytes());
            return Some(message);
        }
        if let Some(place) = line.get("pointer") {
            self.x = place["x"].as_u64()? as u16;
            self.y = place["y"].as_u64()? as u16;
        } else {
            let button = line.get("button")?;
            if button["code"].as_u64()? == BUTTON_LEFT {
                self.buttons = u8::from(button["pressed"].as_bool()?);
            }
        }
        let mut message = vec![5, self.buttons];
        message.extend(self.x.to_be_bytes());
        message.extend(self.y.to_be_bytes());
        Some(message)
    }
}
