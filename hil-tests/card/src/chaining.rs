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
