//! A client of the remote framebuffer protocol (RFC 6143) with the encodings that real viewers ask
//! for, its picture in a file, and keys and mouse as control lines on standard input.

mod input;
mod tight;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use serde_json::json;

use crate::picture_file::{PictureFile, say};
use tight::Tight;

const ENCODING_RAW: i32 = 0;
const ENCODING_COPY: i32 = 1;
const ENCODING_TIGHT: i32 = 7;
const ENCODING_CURSOR: i32 = -239;
const ENCODING_DESKTOP_SIZE: i32 = -223;
const ENCODING_LAST_RECT: i32 = -224;
const ENCODING_FENCE: i32 = -312;
const ENCODING_CONTINUOUS: i32 = -313;
/// The lowest of ten levels of JPEG quality.
const ENCODING_QUALITY_0: i32 = -32;
/// The lowest of ten levels of compression.
const ENCODING_COMPRESSION_0: i32 = -256;
/// What TigerVNC's viewer asks for.
const COMPRESSION: i32 = 2;
const FENCE_REQUEST: u32 = 1 << 31;
const FENCE_KNOWN: u32 = 0b111;

/// What is written to the server, by two threads.
#[derive(Clone)]
pub struct Writer(Arc<Mutex<TcpStream>>);

impl Writer {
    /// Sends one message.
    pub fn send(&self, message: &[u8]) -> anyhow::Result<()> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(stream.write_all(message)?)
    }
}

/// Connects, and shows what comes until the server or the harness ends it. `quality` is that of
/// JPEG, 0 to 9; without it everything is to be lossless.
pub fn run(server: &str, picture: &Path, quality: Option<u8>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(server).with_context(|| format!("connect to {server}"))?;
    stream.set_nodelay(true)?;
    let writer = Writer(Arc::new(Mutex::new(stream.try_clone()?)));
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let (w, h) = greet(&mut reader, &writer)?;
    let file = PictureFile::create(picture, w, h)?;
    say(&json!({"event": "connected", "name": "rfb"}));
    writer.send(&pixel_format())?;
    writer.send(&encodings(quality))?;
    request(&writer, false, (w, h))?;
    input::read_from_stdin(writer.clone());
    let mut client = Client {
        reader,
        writer,
        file,
        tight: Tight::default(),
        is_continuous: false,
    };
    loop {
        client.message()?;
    }
}

fn greet(reader: &mut impl Read, writer: &Writer) -> anyhow::Result<(u32, u32)> {
    let version: [u8; 12] = array(reader)?;
    ensure!(version.starts_with(b"RFB "), "the server speaks no RFB");
    writer.send(b"RFB 003.008\n")?;
    let [count] = array(reader)?;
    let kinds = bytes(reader, count.into())?;
    ensure!(kinds.contains(&1), "the server wants a password");
    writer.send(&[1])?;
    ensure!(array(reader)? == [0; 4], "the server refuses us");
    writer.send(&[1])?;
    let (w, h) = (u16_of(reader)?, u16_of(reader)?);
    bytes(reader, 16)?;
    let length = u32_of(reader)?;
    bytes(reader, length as usize)?;
    Ok((w.into(), h.into()))
}

/// 32 bits a pixel, as the file has them.
fn pixel_format() -> [u8; 20] {
    let mut message = [0; 20];
    message[4..].copy_from_slice(&[32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
    message
}

fn encodings(quality: Option<u8>) -> Vec<u8> {
    let quality = quality.map(|quality| ENCODING_QUALITY_0 + i32::from(quality));
    let mut encodings = vec![
        ENCODING_TIGHT,
        ENCODING_COPY,
        ENCODING_RAW,
        ENCODING_CURSOR,
        ENCODING_DESKTOP_SIZE,
        ENCODING_LAST_RECT,
        ENCODING_FENCE,
        ENCODING_CONTINUOUS,
        ENCODING_COMPRESSION_0 + COMPRESSION,
    ];
    encodings.extend(quality);
    let mut message = vec![2, 0];
    message.extend((encodings.len() as u16).to_be_bytes());
    encodings
        .iter()
        .for_each(|e| message.extend(e.to_be_bytes()));
    message
}

fn request(writer: &Writer, incremental: bool, (w, h): (u32, u32)) -> anyhow::Result<()> {
    let mut message = vec![3, u8::from(incremental), 0, 0, 0, 0];
    message.extend((w as u16).to_be_bytes());
    message.extend((h as u16).to_be_bytes());
    writer.send(&message)
}

struct Client<R> {
    reader: R,
    writer: Writer,
    file: PictureFile,
    tight: Tight,
    /// The server sends without being asked each time.
    is_continuous: bool,
}

/// A rectangle of an update.
#[derive(Clone, Copy)]
struct Area {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

impl<R: Read> Client<R> {
    fn message(&mut self) -> anyhow::Result<()> {
        let [kind] = array(&mut self.reader)?;
        match kind {
            0 => self.update(),
            1 => {
                bytes(&mut self.reader, 3)?;
                let colours = u16_of(&mut self.reader)?;
                bytes(&mut self.reader, usize::from(colours) * 6).map(drop)
            }
            2 => Ok(()),
            3 => {
                bytes(&mut self.reader, 3)?;
                let length = u32_of(&mut self.reader)?;
                bytes(&mut self.reader, length as usize).map(drop)
            }
            150 => self.go_on_continuously(),
            248 => self.fence(),
            other => bail!("the server sent a message of kind {other}, which is none we asked for"),
        }
    }

    /// The server can send without being asked, and says so with this message.
    fn go_on_continuously(&mut self) -> anyhow::Result<()> {
        let (w, h) = self.file.size();
        self.is_continuous = true;
        let mut message = vec![150, 1, 0, 0, 0, 0];
        message.extend((w as u16).to_be_bytes());
        message.extend((h as u16).to_be_bytes());
        self.writer.send(&message)
    }

    fn fence(&mut self) -> anyhow::Result<()> {
        bytes(&mut self.reader, 3)?;
        let flags = u32_of(&mut self.reader)?;
        let [length] = array(&mut self.reader)?;
        let payload = bytes(&mut self.reader, length.into())?;
        if flags & FENCE_REQUEST == 0 {
            return Ok(());
        }
        let mut message = vec![248, 0, 0, 0];
        message.extend((flags & FENCE_KNOWN).to_be_bytes());
        message.push(length);
        message.extend(payload);
        self.writer.send(&message)
    }

    fn update(&mut self) -> anyhow::Result<()> {
        bytes(&mut self.reader, 1)?;
        let count = u16_of(&mut self.reader)?;
        if !self.is_continuous {
            request(&self.writer, true, self.file.size())?;
        }
        self.file.begin();
        for _ in 0..count {
            let mut side = || u16_of(&mut self.reader).map(u32::from);
            let area = Area {
                x: side()?,
                y: side()?,
                w: side()?,
                h: side()?,
            };
            let encoding = u32_of(&mut self.reader)? as i32;
            if encoding == ENCODING_LAST_RECT {
                break;
            }
            self.rectangle(area, encoding)?;
        }
        self.file.end();
        Ok(())
    }

    fn rectangle(&mut self, area: Area, encoding: i32) -> anyhow::Result<()> {
        let Area { x, y, w, h } = area;
        if encoding == ENCODING_CURSOR {
            let length = w * h * 4 + w.div_ceil(8) * h;
            return bytes(&mut self.reader, length as usize).map(drop);
        }
        let (right, bottom) = self.file.size();
        if encoding == ENCODING_DESKTOP_SIZE {
            ensure!(
                (w, h) == (right, bottom),
                "the desktop has another size now"
            );
            return Ok(());
        }
        ensure!(
            x + w <= right && y + h <= bottom,
            "a rectangle lies outside"
        );
        match encoding {
            ENCODING_RAW => {
                for row in y..y + h {
                    let bytes = bytes(&mut self.reader, w as usize * 4)?;
                    let pixels = self.file.row_mut(x, row, w);
                    for (pixel, bytes) in pixels.iter_mut().zip(bytes.chunks_exact(4)) {
                        *pixel = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0xff]);
                    }
                }
                Ok(())
            }
            ENCODING_COPY => {
                let from = (
                    u16_of(&mut self.reader)?.into(),
                    u16_of(&mut self.reader)?.into(),
                );
                ensure!(
                    from.0 + w <= right && from.1 + h <= bottom,
                    "a copy from outside"
                );
                self.file.copy(from, (x, y), w, h);
                Ok(())
            }
            ENCODING_TIGHT => self.tight.decode(&mut self.reader, area, &mut self.file),
            other => bail!("the server sent encoding {other}, which we did not offer"),
        }
    }
}

fn bytes(reader: &mut impl Read, length: usize) -> anyhow::Result<Vec<u8>> {
    // Nothing on a desktop is larger than some pictures of it.
    ensure!(length <= 64 << 20, "the server sent {length} bytes at once");
    let mut bytes = vec![0; length];
    reader
        .read_exact(&mut bytes)
        .context("the server has gone")?;
    Ok(bytes)
}

fn array<const N: usize>(reader: &mut impl Read) -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader
        .read_exact(&mut bytes)
        .context("the server has gone")?;
    Ok(bytes)
}

fn u16_of(reader: &mut impl Read) -> anyhow::Result<u16> {
    array(reader).map(u16::from_be_bytes)
}

fn u32_of(reader: &mut impl Read) -> anyhow::Result<u32> {
    array(reader).map(u32::from_be_bytes)
}
