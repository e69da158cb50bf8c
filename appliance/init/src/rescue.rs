//! When PID 1 itself fails: say so, give a person time to read it, start anew. A PID 1 that ends
//! would take the kernel with it.

use std::any::Any;
use std::thread;
use std::time::Duration;

use heliostat_terminal_state::Code;

use crate::console::Consoles;
use crate::shutdown::{Shutdown, last_step};

/// How long the message stays before the reboot.
pub const PAUSE: Duration = Duration::from_secs(10);

/// What a panic said.
pub fn reason(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

/// Says why and reboots; never returns.
pub fn rescue(why: &str, consoles: &mut Consoles) -> ! {
    tracing::error!(code = %Code::InitFailed, why, "terminal software failed");
    consoles.say(&format!(
        "failed {} {}: {why}",
        Code::InitFailed,
        Code::InitFailed.title()
    ));
    thread::sleep(PAUSE);
    loop {
        last_step(Shutdown::Reboot);
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_tells_its_reason() {
        let panic = std::panic::catch_unwind(|| panic!("the sky fell: {}", 7)).unwrap_err();
        assert_eq!(reason(panic.as_ref()), "the sky fell: 7");
    }
}
