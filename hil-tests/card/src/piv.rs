//! The PIV application of a card: what it is, and what it remembers while it has power.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::apdu::{Command, Status};
use crate::authenticate::authenticate;
use crate::chaining::{Incoming, Outgoing};
use crate::keys::{Key, Slot};
use crate::objects::{Objects, PIV_AID, Read, application};
use crate::pin::{PIN, Pins};
use crate::recipe::WhenSigning;

mod instruction {
    pub const VERIFY: u8 = 0x20;
    pub const CHANGE_REFERENCE_DATA: u8 = 0x24;
    pub const RESET_RETRY_COUNTER: u8 = 0x2c;
    pub const GENERATE_KEY_PAIR: u8 = 0x47;
    pub const GENERAL_AUTHENTICATE: u8 = 0x87;
    pub const SELECT: u8 = 0xa4;
    pub const GET_RESPONSE: u8 = 0xc0;
    pub const GET_DATA: u8 = 0xcb;
    pub const PUT_DATA: u8 = 0xdb;
}

/// What stays when the power goes.
#[derive(Debug)]
pub(crate) struct Plastic {
    pub objects: Objects,
    pub keys: Vec<(Slot, Key)>,
    pub pins: Mutex<Pins>,
    pub when_signing: WhenSigning,
}

/// A PIV card in some state.
#[derive(Debug, Clone)]
pub(crate) struct Piv {
    plastic: Arc<Plastic>,
    selected: bool,
    pin: Pin,
    incoming: Incoming,
    outgoing: Outgoing,
}

/// What has been shown of the PIN since the power came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pin {
    #[default]
    Unknown,
    /// Verified by the command before, which is what 9C wants.
    JustVerified,
    Verified,
}

/// A response before its status.
enum Done {
    Nothing,
    Data(Vec<u8>),
    /// A private key was used for this.
    OfKey(Vec<u8>),
}

impl Piv {
    pub fn new(plastic: Arc<Plastic>) -> Self {
        Self {
            plastic,
            selected: false,
            pin: Pin::Unknown,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
        }
    }

    /// Power was taken away and came back.
    pub fn reset(&mut self) {
        *self = Self::new(self.plastic.clone());
    }

    /// The card's PIN and PUK.
    pub fn pins(&self) -> MutexGuard<'_, Pins> {
        self.plastic.pins.lock().expect("no card panics")
    }

    /// Answers a command; also says what becomes of the answer.
    pub fn respond(&mut self, command: &Command<'_>) -> (Vec<u8>, Status, WhenSigning) {
        let at_once = |(data, status)| (data, status, WhenSigning::Sign);
        let refuse = |status| at_once((Vec::new(), status));
        if !matches!(command.class, 0x00 | 0x10) {
            return refuse(Status::NO_CLASS);
        }
        if (command.class, command.instruction) == (0x00, instruction::GET_RESPONSE) {
            return at_once(self.outgoing.next(command.expected));
        }
        self.outgoing.clear();
        let data = match self.gather(command) {
            Ok(Some(data)) => data,
            Ok(None) => return refuse(Status::OK),
            Err(status) => return refuse(status),
        };
        let pin = self.pin;
        let done = self.obey(command, &data);
        if self.pin == pin && pin == Pin::JustVerified {
            // Something else came in between, or used it up.
            self.pin = Pin::Verified;
        }
        match done {
            Err(status) => refuse(status),
            Ok(Done::Nothing) => refuse(Status::OK),
            Ok(Done::Data(data)) => at_once(self.outgoing.begin(data, command.expected)),
            Ok(Done::OfKey(data)) => {
                let (piece, status) = self.outgoing.begin(data, command.expected);
                (piece, status, self.plastic.when_signing)
            }
        }
    }

    /// All of a command's data, with the last part of it.
    fn gather(&mut self, command: &Command<'_>) -> Result<Option<Vec<u8>>, Status> {
        let long = [instruction::GENERAL_AUTHENTICATE, instruction::PUT_DATA];
        if command.class == 0x10 && !(self.selected && long.contains(&command.instruction)) {
            self.incoming = Incoming::default();
            return Err(Status::NO_CHAINING);
        }
        self.incoming.take(command)
    }

    fn obey(&mut self, command: &Command<'_>, data: &[u8]) -> Result<Done, Status> {
        match command.instruction {
            instruction::SELECT => self.select(command.parameters.0, data),
            instruction::GET_DATA if !self.selected => Err(Status::NOT_FOUND),
            _ if !self.selected => Err(Status::NO_INSTRUCTION),
            instruction::GET_DATA => self.get_data(command.parameters, data),
            instruction::VERIFY => self.verify(command.parameters, data),
            instruction::CHANGE_REFERENCE_DATA => self.change(command.parameters, data),
            instruction::RESET_RETRY_COUNTER => self.unblock(command.parameters, data),
            instruction::GENERAL_AUTHENTICATE => self.authenticate(command.parameters, data),
            // Those are the issuer's, who has thrown the management key away.
            instruction::PUT_DATA | instruction::GENERATE_KEY_PAIR => Err(Status::SECURITY),
            _ => Err(Status::NO_INSTRUCTION),
        }
    }

    /// Selecting what is selected changes nothing; what is not there leaves things as they were.
    fn select(&mut self, how: u8, name: &[u8]) -> Result<Done, Status> {
        if how != 0x04 || name.len() < 5 || !PIV_AID.starts_with(name) {
            return Err(Status::NOT_FOUND);
        }
        self.selected = true;
        Ok(Done::Data(application()))
    }

    fn get_data(&self, parameters: (u8, u8), wanted: &[u8]) -> Result<Done, Status> {
        if parameters != (0x3f, 0xff) {
            return Err(Status::WRONG_PARAMETERS);
        }
        let (object, read) = self.plastic.objects.get(wanted).ok_or(Status::NOT_FOUND)?;
        if read == Read::WithPin && self.pin == Pin::Unknown {
            return Err(Status::SECURITY);
        }
        Ok(Done::Data(object.to_vec()))
    }

    fn verify(&mut self, parameters: (u8, u8), data: &[u8]) -> Result<Done, Status> {
        match parameters {
            (0x00 | 0xff, reference) if reference != PIN => return Err(Status::NO_REFERENCE),
            (0xff, _) if data.is_empty() => {
                self.pin = Pin::Unknown;
                return Ok(Done::Nothing);
            }
            (0x00, _) if data.is_empty() && self.pin == Pin::Unknown => {
                return Err(self.pins().status());
            }
            (0x00, _) if data.is_empty() => return Ok(Done::Nothing),
            (0x00, _) => {}
            _ => return Err(Status::WRONG_PARAMETERS),
        }
        let verified = self.pins().verify(data);
        match verified {
            Ok(()) => self.pin = Pin::JustVerified,
            // No guess was made.
            Err(Status::WRONG_DATA) => {}
            Err(_) => self.pin = Pin::Unknown,
        }
        verified.map(|()| Done::Nothing)
    }

    fn change(&mut self, parameters: (u8, u8), data: &[u8]) -> Result<Done, Status> {
        let (0x00, reference) = parameters else {
            return Err(Status::WRONG_PARAMETERS);
        };
        let changed = self.pins().change(reference, data);
        if changed.is_err_and(|status| reference == PIN && status != Status::WRONG_DATA) {
            self.pin = Pin::Unknown;
        }
        changed.map(|()| Done::Nothing)
    }

    fn unblock(&self, parameters: (u8, u8), data: &[u8]) -> Result<Done, Status> {
        match parameters {
            (0x00, PIN) => self.pins().unblock(data).map(|()| Done::Nothing),
            (0x00, _) => Err(Status::NO_REFERENCE),
            _ => Err(Status::WRONG_PARAMETERS),
        }
    }

    fn authenticate(&self, parameters: (u8, u8), data: &[u8]) -> Result<Done, Status> {
        let (algorithm, reference) = parameters;
        let (slot, key) = Slot::from_reference(reference)
            .and_then(|slot| self.key(slot).map(|key| (slot, key)))
            .filter(|(_, key)| Key::algorithm(key).number() == algorithm)
            .ok_or(Status::WRONG_PARAMETERS)?;
        let allowed = match slot {
            Slot::CardAuthentication => true,
            Slot::PivAuthentication | Slot::KeyManagement => self.pin != Pin::Unknown,
            Slot::Signature => self.pin == Pin::JustVerified,
        };
        if !allowed {
            return Err(Status::SECURITY);
        }
        authenticate(slot, key, data).map(Done::OfKey)
    }

    fn key(&self, slot: Slot) -> Option<&Key> {
        let mut keys = self.plastic.keys.iter();
        keys.find(|(of, _)| *of == slot).map(|(_, key)| key)
    }
}
