//! One command and its whole answer, whatever it takes to get it: chained commands on the way out
//! (ISO 7816-4, 5.1.1.1), `61xx` and `6Cxx` on the way back.

use std::collections::VecDeque;
use std::fmt;

use zeroize::Zeroizing;

/// Bytes of data in one command.
const MAX_DATA: usize = 255;
/// The bit of the class byte that says that more of the command follows.
const CHAINED: u8 = 0x10;

/// Bytes for the card. They may hold a PIN, so they are wiped and not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Command(Zeroizing<Vec<u8>>);

impl Command {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.0[..self.0.len().min(4)];
        write!(f, "Command({header:02x?}…)")
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send this and come back with the response.
    Transmit(Command),
    /// This is the answer: data and status word.
    Done(Vec<u8>, u16),
    /// More came than is worth reading.
    TooLong,
}

/// A command under way.
#[derive(Debug)]
pub struct Exchange {
    parts: VecDeque<Command>,
    last: Command,
    /// Whether the last command ends with the length of the answer.
    has_length: bool,
    data: Vec<u8>,
    max: usize,
}

impl Exchange {
    /// Begins a command with this header (class, instruction, two parameters); at most `max` bytes
    /// of data are taken as its answer.
    pub fn begin(header: [u8; 4], data: &[u8], max: usize) -> (Self, Command) {
        let mut parts = VecDeque::new();
        let mut chunks = data.chunks(MAX_DATA).peekable();
        while let Some(chunk) = chunks.next() {
            let last = chunks.peek().is_none();
            let mut header = header;
            if !last {
                header[0] |= CHAINED;
            }
            let mut bytes = Zeroizing::new(Vec::with_capacity(6 + chunk.len()));
            bytes.extend(header);
            bytes.push(chunk.len() as u8);
            bytes.extend(chunk);
            if last && max > 0 {
                bytes.push(0);
            }
            parts.push_back(Command(bytes));
        }
        let bare = || Command(Zeroizing::new(header.to_vec()));
        let first = parts.pop_front().unwrap_or_else(bare);
        let exchange = Self {
            has_length: first.0.len() > 5 && max > 0 && parts.is_empty(),
            parts,
            last: first.clone(),
            data: Vec::new(),
            max,
        };
        (exchange, first)
    }

    /// Takes a response, status word included.
    pub fn respond(&mut self, response: &[u8]) -> Progress {
        let Some((data, &[sw1, sw2])) = response.split_last_chunk() else {
            return Progress::Done(Vec::new(), 0);
        };
        if sw1 == 0x6c && self.has_length {
            return Progress::Transmit(self.with_length(sw2));
        }
        if (sw1, sw2) == (0x90, 0x00)
            && let Some(next) = self.parts.pop_front()
        {
            self.last = next.clone();
            self.has_length = self.max > 0 && self.parts.is_empty();
            return Progress::Transmit(next);
        }
        self.data.extend_from_slice(data);
        if self.data.len() > self.max {
            return Progress::TooLong;
        }
        match sw1 {
            0x61 => Progress::Transmit(self.get_response(sw2)),
            _ => {
                let data = std::mem::take(&mut self.data);
                Progress::Done(data, u16::from_be_bytes([sw1, sw2]))
            }
        }
    }

    fn get_response(&mut self, length: u8) -> Command {
        let command = Command(Zeroizing::new(vec![0x00, 0xc0, 0x00, 0x00, length]));
        self.last = command.clone();
        self.has_length = true;
        command
    }

    /// The same command again with the length that the card wants.
    fn with_length(&self, length: u8) -> Command {
        let mut command = self.last.clone();
        if let Some(last) = command.0.last_mut() {
            *last = length;
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_command_goes_in_chained_parts() {
        let data: Vec<u8> = (0..=255).chain(0..=9).collect();
        let (mut exchange, first) = Exchange::begin([0, 0x87, 7, 0x9e], &data, 512);
        assert_eq!(first.as_bytes()[..5], [0x10, 0x87, 7, 0x9e, 255]);
        let Progress::Transmit(second) = exchange.respond(&[0x90, 0]) else {
            panic!("there is a second part");
        };
        assert_eq!(second.as_bytes()[..5], [0x00, 0x87, 7, 0x9e, 11]);
        assert_eq!(second.as_bytes().len(), 5 + 11 + 1);
        let more = exchange.respond(&[1, 2, 0x61, 1]);
        assert!(matches!(more, Progress::Transmit(get) if get.as_bytes()[1] == 0xc0));
        assert_eq!(
            exchange.respond(&[3, 0x90, 0]),
            Progress::Done(vec![1, 2, 3], 0x9000)
        );
    }

    #[test]
    fn pin_is_not_sent_again_with_another_last_digit() {
        let (mut exchange, _) = Exchange::begin([0, 0x20, 0, 0x80], b"12345678", 0);
        let answer = exchange.respond(&[0x6c, 0x35]);
        assert_eq!(answer, Progress::Done(Vec::new(), 0x6c35));
        let (mut exchange, _) = Exchange::begin([0, 0x20, 0, 0x80], &[], 0);
        let answer = exchange.respond(&[0x6c, 0x81]);
        assert_eq!(answer, Progress::Done(Vec::new(), 0x6c81));
    }

    #[test]
    fn command_says_nothing_of_its_data() {
        let (_, verify) = Exchange::begin([0, 0x20, 0, 0x80], b"123456\xff\xff", 0);
        assert_eq!(verify.as_bytes().len(), 13);
        assert_eq!(format!("{verify:?}"), "Command([00, 20, 00, 80]…)");
    }
}
