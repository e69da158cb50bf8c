//! What stands between smithay and Xwayland: this program itself, under the name `Xwayland`.
//!
//! smithay opens a socket of its own for each X server that it starts. Programs know another one,
//! which is there before the server and after it ([`super::display`]). So smithay is shown a folder
//! in which `Xwayland` is a link to this program; started by that name it puts the socket that
//! programs know in the place of smithay's, and becomes the real Xwayland.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::sys;

/// The name by which this program is started for that.
pub const NAME: &str = "Xwayland";
/// The real program.
pub const PROGRAM: &str = "HELIOSTAT_XWAYLAND";
/// The display's number.
pub const NUMBER: &str = "HELIOSTAT_X11_DISPLAY";
/// The descriptor of the display's socket.
pub const LISTEN: &str = "HELIOSTAT_X11_LISTEN";
/// What PATH is to be.
pub const PATH: &str = "HELIOSTAT_X11_PATH";

/// Whether this process was started to become Xwayland.
pub fn is_meant(name: Option<&OsString>) -> bool {
    let name = name.and_then(|name| Path::new(name).file_name());
    name.is_some_and(|name| name == NAME) && std::env::var_os(PROGRAM).is_some()
}

/// Becomes Xwayland. Returns only where that fails.
pub fn become_xwayland() -> anyhow::Error {
    let given = |name: &str| std::env::var_os(name).unwrap_or_default();
    let (listen, program) = (given(LISTEN), given(PROGRAM));
    let (arguments, unused) = rewritten(std::env::args_os().skip(1), &given(NUMBER), &listen);
    for fd in unused {
        drop(sys::take_inherited(fd));
    }
    let mut command = Command::new(&program);
    command.args(arguments).env("PATH", given(PATH));
    for name in [PROGRAM, NUMBER, LISTEN, PATH] {
        command.env_remove(name);
    }
    anyhow::Error::new(command.exec()).context(format!("start {}", program.display()))
}

/// The arguments with our number and socket, and the sockets that they no longer name.
fn rewritten(
    arguments: impl Iterator<Item = OsString>,
    number: &OsString,
    listen: &OsString,
) -> (Vec<OsString>, Vec<i32>) {
    let mut display = OsString::from(":");
    display.push(number);
    let (mut kept, mut unused) = (vec![display], Vec::new());
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-listenfd") => {
                let fd = arguments.next();
                unused.extend(fd.and_then(|fd| fd.to_str()?.parse::<i32>().ok()));
            }
            Some(text) if text.starts_with(':') => {}
            _ => kept.push(argument),
        }
    }
    kept.extend(["-listenfd".into(), listen.clone()]);
    (kept, unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_socket_and_number_take_the_place_of_others() {
        let given = [
            ":10001",
            "-rootless",
            "-wm",
            "7",
            "-listenfd",
            "9",
            "-listenfd",
            "10",
        ];
        let (kept, unused) = rewritten(given.iter().map(OsString::from), &"1".into(), &"5".into());
        assert_eq!(kept, [":1", "-rootless", "-wm", "7", "-listenfd", "5"]);
        assert_eq!(unused, [9, 10]);
    }

    #[test]
    fn only_the_name_and_the_order_together_make_a_shim() {
        assert!(!is_meant(Some(&"/usr/bin/heliostat-session".into())));
        assert!(!is_meant(None));
    }
}
