//! A card in vsmartcard's virtual reader, for the host's pcscd.
//!
//! Frames are a big-endian `u16` length and data; one byte of data is a control code.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::thread::JoinHandle;

use anyhow::Context;
use rustix::net::sockopt::set_tcp_quickack;

use crate::{Answer, Card};

/// A card in the reader.
#[derive(Debug)]
pub struct Inserted {
    stream: TcpStream,
    thread: JoinHandle<anyhow::Result<()>>,
}

/// Puts a card into the reader.
pub fn insert(reader: impl ToSocketAddrs, card: Card) -> anyhow::Result<Inserted> {
    let stream = TcpStream::connect(reader).context("connect to the virtual reader")?;
    stream.set_nodelay(true)?;
    let theirs = stream.try_clone()?;
    let thread = std::thread::Builder::new()
        .name("card".to_owned())
        .spawn(move || serve(theirs, card))?;
    Ok(Inserted { stream, thread })
}

impl Inserted {
    /// Pulls the card.
    pub fn pull(self) -> anyhow::Result<()> {
        // The reader may have closed the connection before.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.wait()
    }

    /// Waits until the reader closes the connection, or the card is torn out.
    pub fn wait(self) -> anyhow::Result<()> {
        self.thread.join().expect("no card panics")
    }
}

fn serve(mut stream: TcpStream, mut card: Card) -> anyhow::Result<()> {
    loop {
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            return Ok(());
        }
        let mut data = vec![0; usize::from(u16::from_be_bytes(length))];
        // Length and data come in two segments, and the reader sends the second when it knows that
        // the first has arrived.
        set_tcp_quickack(&stream, true)?;
        stream.read_exact(&mut data)?;
        let answer = match data[..] {
            [0x00..=0x02] => {
                card.reset();
                continue;
            }
            [0x04] => card.atr_of_both_protocols().to_vec(),
            _ => match card.answer(&data) {
                Answer::After(time, response) => {
                    // Whoever pulls the card meanwhile finds that its last answer goes nowhere.
                    std::thread::sleep(time);
                    response
                }
                Answer::Never => continue,
                Answer::TornOut => return Ok(stream.shutdown(Shutdown::Both)?),
            },
        };
        let mut frame = (answer.len() as u16).to_be_bytes().to_vec();
        frame.extend(answer);
        stream.write_all(&frame)?;
    }
}
