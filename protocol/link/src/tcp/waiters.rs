//! Tasks that wait for something on a link.

use std::task::{Context, Waker};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Something to read on a stream.
    Read(u64),
    /// Room to write.
    Room,
    /// That the peer has all of the main stream.
    MainDelivered,
    /// The peer's main stream.
    Main,
    /// A unidirectional stream of the peer.
    Uni,
    /// That a unidirectional stream may be opened.
    MayOpen,
    /// The end of the link.
    End,
    /// The end of its driver.
    Over,
}

/// The tasks, each once for each thing.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<(For, Waker)>);

impl Waiters {
    pub(super) fn wait(&mut self, what: For, cx: &Context<'_>) {
        let waker = cx.waker();
        let known = |(other, known): &(For, Waker)| *other == what && known.will_wake(waker);
        if !self.0.iter().any(known) {
            self.0.push((what, waker.clone()));
        }
    }

    pub(super) fn wake(&mut self, what: For) {
        self.0.retain(|(other, waker)| {
            if *other == what {
                waker.wake_by_ref();
            }
            *other != what
        });
    }

    pub(super) fn wake_all(&mut self) {
        for (_, waker) in self.0.drain(..) {
            waker.wake();
        }
    }
}
