//! A card in vsmartcard's virtual reader, for the host's pcscd.
//!
//! Frames are a big-endian `u16` length and data; one byte of data is a control code.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use anyhow::Context;

use crate::{Answer, Card};

/// Serves one card until the reader closes the connection, or the card is torn out.
pub fn serve(reader: impl ToSocketAddrs, mut card: Card) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(reader).context("connect to the virtual reader")?;
    loop {
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            return Ok(());
        }
        let mut data = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut data)?;
        let answer = match data[..] {
            [0x00..=0x02] => {
                card.reset();
                continue;
            }
            [0x04] => card.atr().to_vec(),
            _ => match card.answer(&data) {
                Answer::After(time, response) => {
                    // Nobody can pull this card but by ending the program.
                    std::thread::sleep(time);
                    response
                }
                Answer::Never => continue,
                Answer::TornOut => return Ok(()),
            },
        };
        stream.write_all(&(answer.len() as u16).to_be_bytes())?;
        stream.write_all(&answer)?;
    }
}
