//! The kernel command line, as far as it concerns the terminal. Pure.

use std::collections::BTreeMap;

use crate::names::{self, Mac};

/// What the kernel command line says. Unknown words are ignored, unusable values are kept in
/// `refused` so that they can be named in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cmdline {
    /// `heliostat.broker=HOST:PORT[,HOST:PORT]`, repeated or not.
    pub brokers: Vec<String>,
    /// `heliostat.site_key=sha256:…[,sha256:…]`.
    pub site_keys: Vec<String>,
    /// `heliostat.name=`.
    pub name: Option<String>,
    /// `heliostat.console=ttyS0`: devices under /dev that get status lines.
    pub consoles: Vec<String>,
    /// `heliostat.shell=ttyS1`: a root shell there, if the image was built with one.
    pub shell: Option<String>,
    /// `heliostat.decoder=software`, `auto`, or a render node: what decodes videos.
    pub decoder: Option<String>,
    /// `heliostat.debug`: logs tell everything.
    pub debug: bool,
    /// `BOOTIF=01-52-54-00-00-00-0a`, as network boot loaders give it.
    pub boot_mac: Option<Mac>,
    /// `panic=` was given, so PID 1 leaves the kernel's setting alone.
    pub panic_given: bool,
    /// `module.parameter=value` words by module name, joined by spaces, dashes as underscores.
    pub module_params: BTreeMap<String, String>,
    /// Words of ours whose value could not be used.
    pub refused: Vec<String>,
}

const MAX_WORDS: usize = 512;

impl Cmdline {
    /// Reads a command line as /proc/cmdline gives it.
    pub fn parse(line: &str) -> Cmdline {
        let mut cmdline = Cmdline::default();
        for word in words(line).into_iter().take(MAX_WORDS) {
            cmdline.take_word(&word);
        }
        cmdline
    }

    fn take_word(&mut self, word: &str) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let accepted = match key {
            "heliostat.broker" => take_list(&mut self.brokers, names::parse_brokers(value)),
            "heliostat.site_key" => take_list(&mut self.site_keys, names::parse_site_keys(value)),
            "heliostat.name" => take(&mut self.name, names::host_label(value)),
            "heliostat.console" => self.take_console(value),
            "heliostat.shell" => take(&mut self.shell, device(value)),
            "heliostat.decoder" => take(&mut self.decoder, decoder(value)),
            "heliostat.debug" => {
                self.debug = value != "0";
                true
            }
            "BOOTIF" => take(&mut self.boot_mac, Mac::parse_bootif(value)),
            "panic" => {
                self.panic_given = true;
                true
            }
            _ if key.starts_with("heliostat.") => false,
            _ => {
                self.take_module_param(key, word);
                true
            }
        };
        if !accepted {
            self.refused.push(word.chars().take(120).collect());
        }
    }

    fn take_console(&mut self, value: &str) -> bool {
        let Some(name) = device(value) else {
            return false;
        };
        if !self.consoles.contains(&name) {
            self.consoles.push(name);
        }
        true
    }

    fn take_module_param(&mut self, key: &str, word: &str) {
        let Some((module, parameter)) = key.split_once('.') else {
            return;
        };
        if module.is_empty() || parameter.is_empty() {
            return;
        }
        let params = self
            .module_params
            .entry(module.replace('-', "_"))
            .or_default();
        if !params.is_empty() {
            params.push(' ');
        }
        params.push_str(&word[module.len() + 1..]);
    }
}

/// The name of a device below /dev, without the settings that may follow it after a comma.
fn device(value: &str) -> Option<String> {
    let name = value.strip_prefix("/dev/").unwrap_or(value);
    let name = name.split(',').next().unwrap_or(name);
    let sound =
        (1..32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    sound.then(|| name.to_owned())
}

/// What decodes videos, as the client takes it.
fn decoder(value: &str) -> Option<String> {
    let node = value.strip_prefix("/dev/dri/renderD");
    let is_node = node.is_some_and(|number| {
        (1..4).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    (is_node || matches!(value, "auto" | "software")).then(|| value.to_owned())
}

fn take<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let sound = value.is_some();
    if sound {
        *slot = value;
    }
    sound
}

fn take_list(list: &mut Vec<String>, found: Result<Vec<String>, names::NameError>) -> bool {
    let Ok(found) = found else { return false };
    list.extend(found);
    true
}

/// Words as the kernel splits them: at white space, except inside double quotes, which it drops
/// around a value.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            _ if letter.is_ascii_whitespace() && !quoted => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            _ => word.push(letter),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_word_of_ours_is_read() {
        let key = format!("sha256:{}", "ab".repeat(32));
        let cmdline = Cmdline::parse(&format!(
            "BOOT_IMAGE=vmlinuz console=ttyS0 quiet heliostat.broker=10.77.0.1:4460,b.example heliostat.site_key={key} \
             heliostat.name=desk-7 heliostat.console=ttyS0,115200 heliostat.decoder=/dev/dri/renderD128 heliostat.debug BOOTIF=01-52-54-00-00-00-0A panic=5 \
             virtio-gpu.modeset=1 virtio_gpu.x=\"a b\"\n"
        ));
        assert_eq!(cmdline.brokers, ["10.77.0.1:4460", "b.example:4460"]);
        assert_eq!(cmdline.site_keys, [key]);
        assert_eq!(cmdline.name.as_deref(), Some("desk-7"));
        assert_eq!(cmdline.consoles, ["ttyS0"]);
        assert!(cmdline.debug && cmdline.panic_given);
        assert_eq!(cmdline.decoder.as_deref(), Some("/dev/dri/renderD128"));
        assert_eq!(cmdline.boot_mac.unwrap().to_string(), "52:54:00:00:00:0a");
        assert_eq!(cmdline.module_params["virtio_gpu"], "modeset=1 x=a b");
        assert!(cmdline.refused.is_empty());
    }

    #[test]
    fn every_word_in_the_book_is_understood() {
        let page = include_str!("../../../docs/book/src/terminal.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let words: Vec<&str> = rows
            .filter_map(|row| Some(row.split_once('`')?.0))
            .collect();
        let cmdline = Cmdline::parse(&words.join(" "));
        assert!(cmdline.refused.is_empty(), "{:?}", cmdline.refused);
        let ours = |word: &&&str| word.starts_with("heliostat.");
        assert_eq!(words.iter().filter(ours).count(), 7);
        assert!(!cmdline.brokers.is_empty() && !cmdline.site_keys.is_empty());
        assert!(cmdline.name.is_some() && cmdline.shell.is_some() && cmdline.debug);
        assert!(!cmdline.consoles.is_empty() && cmdline.boot_mac.is_some());
        assert_eq!(cmdline.module_params["virtio_gpu"], "modeset=1");
        assert!(cmdline.panic_given);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cmdline = Cmdline::parse(
            "heliostat.broker=:1 heliostat.site_key=md5:00 heliostat.typo=1 heliostat.console=../x heliostat.name=- \
             heliostat.decoder=/dev/dri/../x",
        );
        assert_eq!(
            cmdline.refused,
            [
                "heliostat.broker=:1",
                "heliostat.site_key=md5:00",
                "heliostat.typo=1",
                "heliostat.console=../x",
                "heliostat.name=-",
                "heliostat.decoder=/dev/dri/../x"
            ]
        );
        assert!(cmdline.brokers.is_empty() && cmdline.site_keys.is_empty());
    }

    proptest! {
        #[test]
        fn no_command_line_makes_it_panic(line in ".{0,300}") {
            Cmdline::parse(&line);
        }

        #[test]
        fn no_word_of_ours_makes_it_panic(key in "heliostat\\.(broker|site_key|name|console|debug)|BOOTIF|[a-z.-]{1,9}", value in "\\PC{0,80}") {
            let cmdline = Cmdline::parse(&format!("{key}={value}"));
            prop_assert!(cmdline.consoles.iter().all(|name| !name.contains('/')));
        }
    }
}
