//! What is typed before there is anybody to type to.
//!
//! A session that is there for one program is asked for by a key or a card, and people type on while
//! the program starts: the first letters of their name would be lost. They wait for its window. In a
//! desktop nothing waits: what was meant for one window would reach another.

/// Key events that wait at most: a long name and a long password, typed blindly.
const MAX_EVENTS: usize = 512;

/// Keys that wait for the first window.
#[derive(Debug)]
pub struct Ahead {
    /// None where nothing waits (any more).
    waiting: Option<Vec<(u16, bool)>>,
}

impl Ahead {
    /// Nothing waits yet, and nothing ever does unless the session is there for one program.
    pub fn new(for_one_program: bool) -> Self {
        Self {
            waiting: for_one_program.then(Vec::new),
        }
    }

    /// Has a key event wait, of which the kernel's code is `code`. False where it may not.
    pub fn hold(&mut self, code: u16, pressed: bool) -> bool {
        let Some(waiting) = self.waiting.as_mut() else {
            return false;
        };
        // What is lost is lost from the end: a name without its beginning is another name.
        if waiting.len() < MAX_EVENTS {
            waiting.push((code, pressed));
        }
        true
    }

    /// Somebody is there: what has waited, oldest first. Nothing waits from now on.
    pub fn release(&mut self) -> Vec<(u16, bool)> {
        self.waiting.take().unwrap_or_default()
    }

    /// Whoever typed is gone.
    pub fn forget(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_wait_in_order_once_and_not_without_end() {
        let mut ahead = Ahead::new(true);
        for n in 0..2 * MAX_EVENTS {
            assert!(ahead.hold(n as u16, n % 2 == 0));
        }
        let events = ahead.release();
        assert_eq!(events.len(), MAX_EVENTS);
        assert_eq!(events[..2], [(0, true), (1, false)]);
        assert!(!ahead.hold(1, true));
        assert!(ahead.release().is_empty());
    }

    #[test]
    fn nothing_waits_in_a_desktop_or_for_somebody_else() {
        assert!(!Ahead::new(false).hold(1, true));
        let mut ahead = Ahead::new(true);
        ahead.hold(1, true);
        ahead.forget();
        assert!(ahead.release().is_empty());
    }
}
