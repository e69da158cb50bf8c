//! Pictures painted ahead, by a thread of their own.
//!
//! A photo of a whole screen takes 24 ms to paint. Painted between two keys, by the thread that answers
//! keys, it would be the client that keeps a letter waiting, with any system; what decodes pictures in
//! real programs is another thread.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::canvas::Canvas;
use crate::play::{self, Play};

/// The thread, which ends with this.
#[derive(Debug)]
pub struct Ahead {
    orders: Sender<(u32, Canvas)>,
    painted: Receiver<(u32, Canvas)>,
}

impl Ahead {
    /// Begins with the first frame; nothing where the workload has no such pictures.
    pub fn start(play: &mut Play) -> Option<Self> {
        let canvas = play.painted()?.clone();
        let workload = play.workload();
        let (orders, wanted) = channel::<(u32, Canvas)>();
        let (done, painted) = channel();
        orders.send((1, canvas)).ok()?;
        std::thread::spawn(move || {
            for (n, mut canvas) in wanted {
                play::paint(workload, n, &mut canvas);
                if done.send((n, canvas)).is_err() {
                    return;
                }
            }
        });
        Some(Self { orders, painted })
    }

    /// Brings the picture of frame `n`, if that is what was painted, and has the one after it painted.
    pub fn bring(&self, play: &mut Play, n: u32) {
        let painted = self.painted.recv();
        let (number, canvas) = painted.expect("the painter lives as long as this");
        let spare = match number == n {
            true => play.bring(n, canvas),
            false => canvas,
        };
        let _ = self.orders.send((n + 1, spare));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    #[test]
    fn pictures_painted_ahead_are_those_that_would_have_been_painted_whatever_is_left_out() {
        for workload in [
            Workload::Photo,
            Workload::Video360,
            Workload::TypingPhotos,
            Workload::TypingVideo,
        ] {
            let [mut alone, mut helped] = [(), ()].map(|()| Play::new(workload).unwrap());
            let ahead = Ahead::start(&mut helped).unwrap();
            for n in [1, 2, 4, 5, 9] {
                ahead.bring(&mut helped, n);
                let go = |play: &mut Play| match workload.clock_drives_over() {
                    true => play.go_over(n),
                    false => play.go_base(n),
                };
                assert_eq!(go(&mut alone), go(&mut helped));
                assert!(alone.picture(None) == helped.picture(None), "{n}");
            }
        }
        assert!(Ahead::start(&mut Play::new(Workload::Scroll).unwrap()).is_none());
    }
}
