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
    /// No such file or application.
    pub const NOT_FOUND: Self = Self(0x6a, 0x82);
    /// Such a class is not supported.
    pub const NO_CLASS: Self = Self(0x6e, 0x00);
    /// Such an instruction is not supported.
    pub const NO_INSTRUCTION: Self = Self(0x6d, 0x00);
    /// The parameters are wrong.
    pub const WRONG_PARAMETERS: Self = Self(0x6a, 0x86);
    /// Not allowed without the PIN.
    pub const SECURITY: Self = Self(0x69, 0x82);
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
