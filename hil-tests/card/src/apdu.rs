//! ISO 7816-4: commands and status words.

/// A command APDU with short or extended lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// Class.
    pub class: u8,
    /// Instruction.
    pub instruction: u8,
    /// Parameters 1 and 2.
    pub parameters: (u8, u8),
    /// Data to the card.
    pub data: &'a [u8],
    /// Bytes wanted at most; nothing where none are.
    pub expected: Option<usize>,
}

/// Status words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u8, pub u8);

impl Status {
    /// It is done.
    pub const OK: Self = Self(0x90, 0x00);
    /// The lengths contradict each other.
    pub const WRONG_LENGTH: Self = Self(0x67, 0x00);
    /// A chain of commands was expected to go on.
    pub const CHAIN_BROKEN: Self = Self(0x68, 0x83);
    /// This command cannot come in parts.
    pub const NO_CHAINING: Self = Self(0x68, 0x84);
    /// Not allowed without the PIN, or at all.
    pub const SECURITY: Self = Self(0x69, 0x82);
    /// No tries are left.
    pub const BLOCKED: Self = Self(0x69, 0x83);
    /// The data is malformed.
    pub const WRONG_DATA: Self = Self(0x6a, 0x80);
    /// No such file or application.
    pub const NOT_FOUND: Self = Self(0x6a, 0x82);
    /// The parameters are wrong.
    pub const WRONG_PARAMETERS: Self = Self(0x6a, 0x86);
    /// No such key or PIN.
    pub const NO_REFERENCE: Self = Self(0x6a, 0x88);
    /// Such an instruction is not supported.
    pub const NO_INSTRUCTION: Self = Self(0x6d, 0x00);
    /// Such a class is not supported.
    pub const NO_CLASS: Self = Self(0x6e, 0x00);

    /// The PIN was wrong, or was not verified yet; so many tries are left, 15 at most.
    pub fn tries_left(tries: u8) -> Self {
        Self(0x63, 0xc0 | tries.min(15))
    }

    /// More of the response is waiting: so many bytes, as far as one byte can say.
    pub fn more(bytes: usize) -> Self {
        Self(0x61, u8::try_from(bytes).unwrap_or(0))
    }
}

impl<'a> Command<'a> {
    /// Takes a command apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Status> {
        let (&[class, instruction, p1, p2], body) =
            bytes.split_first_chunk().ok_or(Status::WRONG_LENGTH)?;
        let of = |data, expected| {
            Ok(Self {
                class,
                instruction,
                parameters: (p1, p2),
                data,
                expected,
            })
        };
        let short = |byte: u8| if byte == 0 { 256 } else { usize::from(byte) };
        let long = |bytes: [u8; 2]| match u16::from_be_bytes(bytes) {
            0 => 65_536,
            length => usize::from(length),
        };
        match *body {
            [] => of(&[], None),
            [length] => of(&[], Some(short(length))),
            [0, a, b] => of(&[], Some(long([a, b]))),
            [0, a, b, ref rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([a, b]));
                let (data, rest) = rest.split_at_checked(length).ok_or(Status::WRONG_LENGTH)?;
                match *rest {
                    [] => of(data, None),
                    [a, b] => of(data, Some(long([a, b]))),
                    _ => Err(Status::WRONG_LENGTH),
                }
            }
            [length, ref rest @ ..] => {
                let split = rest.split_at_checked(usize::from(length));
                let (data, rest) = split.ok_or(Status::WRONG_LENGTH)?;
                match *rest {
                    [] => of(data, None),
                    [length] => of(data, Some(short(length))),
                    _ => Err(Status::WRONG_LENGTH),
                }
            }
        }
    }
}
