//! What is longer than one command or one response.

use crate::apdu::{Command, Status};

/// Bytes of one response to a command with a short length.
const PIECE: usize = 256;
/// Bytes of a command that comes in parts; the longest honest one is a certificate to be stored.
const MAX_COMMAND: usize = 4096;

/// A command that comes in parts (class 10).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    head: Option<(u8, (u8, u8))>,
    data: Vec<u8>,
}

impl Incoming {
    /// Takes one command; gives all the data with the last of a chain, nothing before it.
    pub fn take(&mut self, command: &Command<'_>) -> Result<Option<Vec<u8>>, Status> {
        let head = (command.instruction, command.parameters);
        let before = std::mem::take(self);
        let is_last = command.class & 0x10 == 0;
        let mut data = match before.head {
            None => Vec::new(),
            Some(begun) if begun == head => before.data,
            // Another command gives the chain up.
            Some(_) if is_last => Vec::new(),
            Some(_) => return Err(Status::CHAIN_BROKEN),
        };
        if data.len() + command.data.len() > MAX_COMMAND {
            return Err(Status::WRONG_LENGTH);
        }
        data.extend(command.data);
        if is_last {
            return Ok(Some(data));
        }
        *self = Self {
            head: Some(head),
            data,
        };
        Ok(None)
    }
}

/// What is left of a response that did not fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing(Vec<u8>);

impl Outgoing {
    /// The first piece of a response; GET RESPONSE fetches the others.
    pub fn begin(&mut self, data: Vec<u8>, expected: Option<usize>) -> (Vec<u8>, Status) {
        self.0 = data;
        self.next(expected)
    }

    /// The next piece, no longer than expected.
    pub fn next(&mut self, expected: Option<usize>) -> (Vec<u8>, Status) {
        let count = expected.unwrap_or(PIECE).min(self.0.len());
        let rest = self.0.split_off(count);
        let piece = std::mem::replace(&mut self.0, rest);
        match self.0.len() {
            0 => (piece, Status::OK),
            left => (piece, Status::more(left)),
        }
    }

    /// Forgets what nobody fetched.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(incoming: &mut Incoming, bytes: &[u8]) -> Result<Option<Vec<u8>>, Status> {
        incoming.take(&Command::parse(bytes).unwrap())
    }

    #[test]
    fn parts_become_one_command() {
        let mut incoming = Incoming::default();
        let parts = [
            &[0x10, 0x87, 7, 0x9a, 2, 1, 2][..],
            &[0x10, 0x87, 7, 0x9a, 1, 3],
        ];
        for part in parts {
            assert_eq!(take(&mut incoming, part), Ok(None));
        }
        let whole = take(&mut incoming, &[0x00, 0x87, 7, 0x9a, 1, 4, 0]);
        assert_eq!(whole, Ok(Some(vec![1, 2, 3, 4])));
        // The next one begins anew.
        let next = take(&mut incoming, &[0x00, 0x87, 7, 0x9a, 1, 5]);
        assert_eq!(next, Ok(Some(vec![5])));
    }

    #[test]
    fn part_of_another_command_breaks_the_chain() {
        let part = &[0x10, 0x87, 7, 0x9a, 1, 1];
        let mut incoming = Incoming::default();
        assert_eq!(take(&mut incoming, part), Ok(None));
        let other = take(&mut incoming, &[0x10, 0x87, 7, 0x9c, 1, 2]);
        assert_eq!(other, Err(Status::CHAIN_BROKEN));
        assert_eq!(incoming, Incoming::default());
        assert_eq!(take(&mut incoming, part), Ok(None));
        let whole = take(&mut incoming, &[0x00, 0x20, 0, 0x80, 1, 3]);
        assert_eq!(whole, Ok(Some(vec![3])));
    }

    #[test]
    fn endless_chain_is_refused_and_forgotten() {
        let mut part = vec![0x10, 0xdb, 0x3f, 0xff, 255];
        part.extend([7; 255]);
        let mut incoming = Incoming::default();
        let parts = MAX_COMMAND / 255;
        for _ in 0..parts {
            assert_eq!(take(&mut incoming, &part), Ok(None));
        }
        assert_eq!(take(&mut incoming, &part), Err(Status::WRONG_LENGTH));
        assert_eq!(incoming, Incoming::default());
    }

    #[test]
    fn pieces_are_as_long_as_expected() {
        let mut outgoing = Outgoing::default();
        let data: Vec<u8> = (0..=255).cycle().take(600).collect();
        let (mut whole, status) = outgoing.begin(data.clone(), Some(10));
        assert_eq!((whole.len(), status), (10, Status::more(590)));
        assert_eq!(status, Status(0x61, 0x00));
        for (expected, length, left) in [(None, 256, 334), (Some(234), 234, 100), (None, 100, 0)] {
            let (piece, status) = outgoing.next(expected);
            assert_eq!(piece.len(), length);
            let wanted = if left == 0 {
                Status::OK
            } else {
                Status::more(left)
            };
            assert_eq!(status, wanted);
            whole.extend(piece);
        }
        assert_eq!(whole, data);
    }
}
