//! A terminal at the end of a session link.

use std::time::Duration;

use heliostat_link::{CloseCode, Connection, Ended, FrameReceiver, LinkError, Main};
use heliostat_wire::bounded::List;
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, OutputId};
use heliostat_wire::input::{InputBatch, InputEvent};
use heliostat_wire::limits::MAX_CELL_HASHES;
use heliostat_wire::output::Size;
use heliostat_wire::session::{ToSession, ToTerminal};

use crate::client::Client;
use crate::model::Model;

use super::within;

/// A terminal that shows each frame at once.
pub struct Terminal {
    pub(super) connection: Connection,
    pub(super) main: Main<ToSession, ToTerminal>,
    pub(super) frames: FrameReceiver,
    pub model: Model,
    pub(super) id: AttachId,
    pub(super) size: Size,
}

impl Terminal {
    /// Waits until the ticket was found good.
    pub async fn attached(&mut self) {
        let first = within("the session answers", self.main.recv())
            .await
            .unwrap();
        let ToTerminal::Attached { person, .. } = first else {
            panic!("{first:?}");
        };
        assert_eq!(&*person, "alice");
    }

    /// Why the link was closed.
    pub async fn refusal(self) -> CloseCode {
        match within("the link is closed", self.connection.closed()).await {
            Ended::ByPeer { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }

    /// The session's last words.
    pub async fn goodbye(&mut self) -> DetachReason {
        let words = async {
            loop {
                match self.main.recv().await {
                    Ok(ToTerminal::Bye(reason)) => return reason,
                    Ok(_) => {}
                    Err(error) => panic!("no last words: {error}"),
                }
            }
        };
        within("the session says goodbye", words).await
    }

    /// Leaves the link for another one, as its last word says. All has been heard then.
    pub async fn leave_for_another(mut self) {
        let last = ToSession::Bye(DetachReason::LinkLost);
        self.main.send(&last).await.unwrap();
        assert_eq!(self.refusal().await, CloseCode::Done);
    }

    /// Takes and acknowledges one frame; the session's words are passed over.
    async fn step(&mut self) -> Result<(), LinkError> {
        loop {
            tokio::select! {
                frame = self.frames.next() => {
                    let frame = frame?;
                    self.model.frame(&frame.header, &frame.content);
                    return self.send_shown(frame.header.serial).await;
                }
                message = self.main.recv() => drop(message?),
            }
        }
    }

    async fn send_shown(&mut self, serial: u32) -> Result<(), LinkError> {
        let shown = ToSession::FrameShown {
            serial,
            after_us: 10_000,
            output: Some(OutputId(0)),
        };
        self.main.send(&shown).await
    }

    /// Takes and acknowledges frames until one answers the input batch `number` or a later one;
    /// returns the bytes of them.
    pub async fn until_answered(&mut self, number: u32) -> usize {
        let mut bytes = 0;
        loop {
            let frame = within("an answer", async {
                tokio::select! {
                    frame = self.frames.next() => Some(frame.unwrap()),
                    message = self.main.recv() => {
                        message.unwrap();
                        None
                    }
                }
            });
            let Some(frame) = frame.await else {
                continue;
            };
            bytes += frame.content.len();
            self.model.frame(&frame.header, &frame.content);
            self.send_shown(frame.header.serial).await.unwrap();
            if frame.header.last_input >= number {
                return bytes;
            }
        }
    }

    pub async fn shown(&mut self, serial: u32) {
        self.send_shown(serial).await.unwrap();
    }

    pub async fn until(&mut self, what: &str, done: impl Fn(&Model) -> bool) {
        while !done(&self.model) {
            within(what, self.step()).await.unwrap();
        }
    }

    /// Takes frames, and lets a client live, until both are as wanted.
    pub async fn until_with(
        &mut self,
        client: &mut Client,
        what: &str,
        mut done: impl FnMut(&mut Client, &Model) -> bool,
    ) {
        let until = async {
            loop {
                // The client has no event of its own here.
                let _ = tokio::time::timeout(Duration::from_millis(5), self.step()).await;
                assert!(client.pump(), "the client lives");
                if done(client, &self.model) {
                    return;
                }
            }
        };
        within(what, until).await;
    }

    pub async fn until_picture(&mut self, what: &str, done: impl Fn(&Vec<u32>) -> bool) {
        while !done(&self.picture()) {
            within(what, self.step()).await.unwrap();
        }
    }

    /// Takes frames until none has come for a while.
    pub async fn quiet(&mut self, time: Duration) {
        while let Ok(step) = tokio::time::timeout(time, self.step()).await {
            step.unwrap();
        }
    }

    /// Says what it holds of all its cells.
    pub async fn say_cells(&mut self) {
        let cells = self.model.cell_hashes(self.id.0);
        for some in cells.chunks(MAX_CELL_HASHES) {
            let cells = ToSession::Cells {
                serial: self.model.serial,
                cells: List::new(some.to_vec()).unwrap(),
            };
            self.main.send(&cells).await.unwrap();
        }
    }

    pub async fn refresh(&mut self) {
        self.main.send(&ToSession::Refresh).await.unwrap();
    }

    pub async fn key(&mut self, code: u16, pressed: bool) {
        self.input(vec![InputEvent::Key { code, pressed }]).await;
    }

    pub async fn motion(&mut self, x: i32, y: i32) {
        let motion = InputEvent::Motion {
            output: OutputId(0),
            x: x * 256,
            y: y * 256,
            dx: 0,
            dy: 0,
            raw: None,
        };
        self.input(vec![motion]).await;
    }

    pub async fn press(&mut self, code: u16) {
        self.input(vec![InputEvent::Button {
            code,
            pressed: true,
        }])
        .await;
    }

    pub async fn release(&mut self, code: u16) {
        self.input(vec![InputEvent::Button {
            code,
            pressed: false,
        }])
        .await;
    }

    /// Shows frames while something else goes on.
    pub async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        loop {
            tokio::select! {
                value = &mut other => return value,
                step = self.step() => step.unwrap(),
            }
        }
    }

    pub async fn input(&mut self, events: Vec<InputEvent>) {
        let batch = InputBatch {
            after_us: 10_000,
            events: List::new(events).unwrap(),
        };
        self.main.send(&ToSession::Input(batch)).await.unwrap();
    }

    /// Every fourth pixel of the screen.
    pub fn picture(&self) -> Vec<u32> {
        let places = (0..self.size.h as i32)
            .flat_map(|y| (0..self.size.w as i32).step_by(4).map(move |x| (x, y)));
        places
            .map(|(x, y)| self.model.pixel(OutputId(0), x, y))
            .collect()
    }

    /// The pixels of the largest layer.
    pub fn window_pixels(&self) -> Vec<u32> {
        let largest = self
            .model
            .layers
            .values()
            .max_by_key(|layer| layer.pixels.len());
        largest
            .map(|layer| layer.pixels.clone())
            .unwrap_or_default()
    }
}
