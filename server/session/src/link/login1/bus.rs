//! As much of D-Bus as it takes to hear a signal and to know who sent it.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const DRIVER: &str = "org.freedesktop.DBus";
/// Bytes of a message. What we ask for is short; others may send us more.
const MAX_MESSAGE: usize = 64 << 10;
/// Bytes of a line before messages begin.
const MAX_LINE: usize = 1024;
/// Signals that wait while an answer is awaited; who sends more is not heard.
const MAX_WAITING: usize = 16;
/// The part of a message that says how long the rest is.
const FIXED: usize = 16;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// A signal that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    pub path: String,
    pub interface: String,
    pub member: String,
    /// The name that the bus has given to whoever sent it.
    pub sender: String,
}

/// A connection to a bus.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    /// What the bus calls us.
    name: String,
    serial: u32,
    waiting: VecDeque<Signal>,
}

impl Bus {
    /// Connects, and says who we are.
    pub async fn connect(path: &Path) -> anyhow::Result<Self> {
        let mut stream = UnixStream::connect(path)
            .await
            .with_context(|| format!("there is no bus at {}", path.display()))?;
        // The bus asks the kernel; the number says as whom of that.
        let uid = rustix::process::getuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        let hello = format!("\0AUTH EXTERNAL {uid}\r\n");
        stream.write_all(hello.as_bytes()).await?;
        let line = line(&mut stream).await?;
        ensure!(line.starts_with("OK "), "the bus refuses us: {line}");
        stream.write_all(b"BEGIN\r\n").await?;
        let mut bus = Self {
            stream,
            name: String::new(),
            serial: 0,
            waiting: VecDeque::new(),
        };
        bus.name = bus.call("Hello", None).await?.first_text()?;
        Ok(bus)
    }

    /// What the bus calls us.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has the bus send us the signals that this rule describes.
    pub async fn add_match(&mut self, rule: &str) -> anyhow::Result<()> {
        self.call("AddMatch", Some(rule)).await.map(drop)
    }

    /// Who has a name now, where somebody has.
    pub async fn owner_of(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let reply = self.call("GetNameOwner", Some(name)).await?;
        match reply.kind {
            METHOD_RETURN => Ok(Some(reply.first_text()?)),
            _ => Ok(None),
        }
    }

    /// The next signal.
    pub async fn signal(&mut self) -> anyhow::Result<Signal> {
        loop {
            if let Some(signal) = self.waiting.pop_front() {
                return Ok(signal);
            }
            let message = self.receive().await?;
            self.keep(&message);
        }
    }

    fn keep(&mut self, message: &Message) {
        if message.kind == SIGNAL && self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(message.signal());
        }
    }

    async fn call(&mut self, member: &str, argument: Option<&str>) -> anyhow::Result<Message> {
        self.serial += 1;
        let fields = [
            (PATH, 'o', "/org/freedesktop/DBus"),
            (INTERFACE, 's', DRIVER),
            (MEMBER, 's', member),
            (DESTINATION, 's', DRIVER),
        ];
        let call = encode(METHOD_CALL, self.serial, &fields, argument);
        self.stream.write_all(&call).await?;
        loop {
            let message = self.receive().await?;
            if message.reply_to == Some(self.serial) {
                let known = message.kind == METHOD_RETURN || member == "GetNameOwner";
                ensure!(known, "the bus refuses {member}");
                return Ok(message);
            }
            self.keep(&message);
        }
    }

    async fn receive(&mut self) -> anyhow::Result<Message> {
        let mut bytes = vec![0; FIXED];
        self.stream.read_exact(&mut bytes).await?;
        let rest = rest_of(&bytes)?;
        bytes.resize(FIXED + rest, 0);
        self.stream.read_exact(&mut bytes[FIXED..]).await?;
        Message::decode(&bytes)
    }

    /// Sends a message as it is, which tests do in the place of logind.
    #[cfg(test)]
    pub async fn send(&mut self, fields: &[(u8, char, &str)], kind: u8) -> anyhow::Result<()> {
        self.serial += 1;
        let message = encode(kind, self.serial, fields, None);
        Ok(self.stream.write_all(&message).await?)
    }

    /// Takes a name, which tests do in the place of logind.
    #[cfg(test)]
    pub async fn take_name(&mut self, name: &str) -> anyhow::Result<()> {
        self.serial += 1;
        let fields = [
            (PATH, 'o', "/org/freedesktop/DBus"),
            (INTERFACE, 's', DRIVER),
            (MEMBER, 's', "RequestName"),
            (DESTINATION, 's', DRIVER),
        ];
        let mut body = Vec::new();
        put_text(&mut body, name);
        align(&mut body, 4);
        body.extend(0u32.to_le_bytes());
        let call = encode_body(METHOD_CALL, self.serial, &fields, "su", &body);
        self.stream.write_all(&call).await?;
        while self.receive().await?.reply_to != Some(self.serial) {}
        Ok(())
    }
}

async fn line(stream: &mut UnixStream) -> anyhow::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        ensure!(line.len() < MAX_LINE, "the bus says too much");
        line.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A message as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub reply_to: Option<u32>,
    path: String,
    interface: String,
    member: String,
    sender: String,
    signature: String,
    body: Vec<u8>,
    big: bool,
}

impl Message {
    /// Reads a whole message.
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        ensure!(bytes.len() >= FIXED, "it is cut off");
        let mut reader = Reader {
            bytes,
            at: 1,
            big: bytes[0] == b'B',
        };
        let mut message = Self {
            kind: reader.byte()?,
            big: reader.big,
            ..Self::default()
        };
        reader.at = 4;
        let length = reader.number()? as usize;
        reader.at = 12;
        let end = FIXED + reader.number()? as usize;
        ensure!(end <= bytes.len(), "its fields are cut off");
        while reader.at < end {
            reader.align(8);
            let code = reader.byte()?;
            let signature = reader.signature()?;
            let text = match signature.as_str() {
                "s" | "o" => reader.text()?,
                "g" => reader.signature()?,
                "u" => {
                    let number = reader.number()?;
                    if code == REPLY_SERIAL {
                        message.reply_to = Some(number);
                    }
                    continue;
                }
                other => bail!("a field of type {other:?} is not known"),
            };
            match code {
                PATH => message.path = text,
                INTERFACE => message.interface = text,
                MEMBER => message.member = text,
                SENDER => message.sender = text,
                SIGNATURE => message.signature = text,
                _ => {}
            }
        }
        reader.align(8);
        message.body = reader.take(length)?.to_vec();
        ensure!((METHOD_CALL..=SIGNAL).contains(&message.kind), "it is none");
        ensure!(
            message.kind != ERROR || message.reply_to.is_some(),
            "an error of nothing"
        );
        Ok(message)
    }

    fn signal(&self) -> Signal {
        Signal {
            path: self.path.clone(),
            interface: self.interface.clone(),
            member: self.member.clone(),
            sender: self.sender.clone(),
        }
    }

    fn first_text(&self) -> anyhow::Result<String> {
        ensure!(self.signature.starts_with('s'), "the answer is no text");
        let mut reader = Reader {
            bytes: &self.body,
            at: 0,
            big: self.big,
        };
        reader.text()
    }
}

/// How many bytes come behind the fixed part of a message.
pub fn rest_of(fixed: &[u8]) -> anyhow::Result<usize> {
    ensure!(
        matches!(fixed.first(), Some(b'l' | b'B')),
        "it is no message"
    );
    let mut reader = Reader {
        bytes: fixed,
        at: 4,
        big: fixed[0] == b'B',
    };
    let body = reader.number()? as usize;
    reader.at = 12;
    let fields = reader.number()? as usize;
    let most = body.max(fields);
    ensure!(most <= MAX_MESSAGE, "a message of {most} bytes is too long");
    Ok(fields.next_multiple_of(8) + body)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> anyhow::Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.context("it is cut off")?;
        self.at += length;
        Ok(taken)
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn byte(&mut self) -> anyhow::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> anyhow::Result<u32> {
        self.align(4);
        let bytes: [u8; 4] = self.take(4)?.try_into()?;
        Ok(match self.big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    fn text(&mut self) -> anyhow::Result<String> {
        let length = self.number()? as usize;
        self.ended_text(length)
    }

    fn signature(&mut self) -> anyhow::Result<String> {
        let length = self.byte()?.into();
        self.ended_text(length)
    }

    /// Text with a zero behind it.
    fn ended_text(&mut self, length: usize) -> anyhow::Result<String> {
        let text = String::from_utf8(self.take(length)?.to_vec())?;
        ensure!(self.byte()? == 0, "text has no end");
        Ok(text)
    }
}

fn encode(kind: u8, serial: u32, fields: &[(u8, char, &str)], argument: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(text) = argument {
        put_text(&mut body, text);
    }
    encode_body(
        kind,
        serial,
        fields,
        if argument.is_some() { "s" } else { "" },
        &body,
    )
}

fn encode_body(
    kind: u8,
    serial: u32,
    fields: &[(u8, char, &str)],
    signature: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![b'l', kind, 0, 1];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(serial.to_le_bytes());
    bytes.extend([0; 4]);
    for (code, sort, value) in fields {
        align(&mut bytes, 8);
        bytes.extend([*code, 1, *sort as u8, 0]);
        put_text(&mut bytes, value);
    }
    if !signature.is_empty() {
        align(&mut bytes, 8);
        bytes.extend([SIGNATURE, 1, b'g', 0, signature.len() as u8]);
        bytes.extend(signature.as_bytes());
        bytes.push(0);
    }
    let length = (bytes.len() - FIXED) as u32;
    bytes[12..FIXED].copy_from_slice(&length.to_le_bytes());
    align(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}
