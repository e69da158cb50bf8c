//! H.264 by hardware, from DMA-BUFs that are not copied.
//!
//! ```text
//!            encode                    an error of libva's or the driver's
//!   none ────────────▶ Stream ──────────────────────────────────────────────▶ none
//!   (next picture is a key)            (everything but the display is given back)
//! ```
//!
//! Where the entry point for low power was planned and is refused before a picture has come out of it, the
//! same picture goes by the other one, and so do all that follow. Whoever makes the device's next encoder
//! is told, and need not try again.
//!
//! One picture builds on the one before and no other, in the order in which they are shown; keys come
//! when they are asked for. All headers are ours where the driver takes them: some write none of their
//! own, or others than the parameters say.

mod changes;
mod describe;
mod error;
mod imports;
mod parameters;
mod told;

use std::time::Instant;

use heliostat_video::syntax::{PictureParameters, SequenceParameters};
use heliostat_video::{Encoded, Size, inspect, is_possible};

use crate::abi::{self, Rectangle, buffer, config_attrib, profile};
use crate::dmabuf::{self, Dmabuf, Format, Identity, MAX_PLANES, NV12, Object};
use crate::library::{Buffer, Config, Context, Display, Error, Surface};
use crate::probe::{EncodePath, NoPath, Probe, Way, va_profile};
pub use changes::Area;
use changes::Changes;
use describe::{Picture, describe};
pub use error::EncodeError;
use imports::{Imports, Key};
use parameters::Turn;
use told::Told;

/// How large coded pictures may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// As large as this quantizer (1 to 51) makes them.
    Constant {
        /// The quantizer.
        quantizer: u8,
    },
    /// So that a second has no more than so many bits, as far as quantizers go.
    Bounded {
        /// Bits a second.
        bits_per_second: u32,
        /// The least quantizer: less would cost bytes that no eye sees.
        finest: u8,
        /// The greatest quantizer.
        coarsest: u8,
    },
}

/// What is to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Width and height in pixels.
    pub size: Size,
    /// Pictures a second that are expected, 1 to 1000.
    pub pictures_per_second: u16,
    /// How large they may become.
    pub rate: Rate,
}

/// What is known of a picture beside its pixels.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// It is to be a key.
    pub key: bool,
    /// What of it may differ from the picture that was given before it, be it that that one was not
    /// encoded, in pixels of the video; nothing where nobody knows.
    pub changed: Option<&'a [Area]>,
    /// How many pictures there was time for since the last one that did not come.
    pub left_out: u8,
}

/// Encodes one video. It waits for the device, and so belongs on a thread of its own.
pub struct Encoder {
    display: Display,
    path: EncodePath,
    /// By the other entry point, where that for low power was planned.
    other: Option<EncodePath>,
    /// Why the path is the other one.
    refusal: Option<EncodeError>,
    settings: Settings,
    stream: Option<Stream>,
    times: Option<Times>,
}

/// When a picture was worked on, for figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The driver was about to be given its first picture: `vaBeginPicture` comes next.
    pub given: Instant,
    /// Its bytes were there.
    pub coded: Instant,
}

impl Encoder {
    /// An encoder on a device that offers what `probe` has found. Nothing is made before the first
    /// picture.
    pub fn new(display: &Display, probe: &Probe, settings: Settings) -> Result<Self, EncodeError> {
        let path = plan(settings, |size, bounded| probe.plan_encoding(size, bounded))?;
        let other = match path.way {
            Way::EncodeLowPower => plan(settings, |size, bounded| {
                probe.plan_without_low_power(size, bounded)
            })
            .ok(),
            Way::Encode | Way::Decode => None,
        };
        Ok(Self::by(display, path, other, settings))
    }

    /// The same on a device whose entry point for low power has refused.
    pub fn without_low_power(
        display: &Display,
        probe: &Probe,
        settings: Settings,
    ) -> Result<Self, EncodeError> {
        let path = plan(settings, |size, bounded| {
            probe.plan_without_low_power(size, bounded)
        })?;
        Ok(Self::by(display, path, None, settings))
    }

    fn by(
        display: &Display,
        path: EncodePath,
        other: Option<EncodePath>,
        settings: Settings,
    ) -> Self {
        Self {
            display: display.clone(),
            path,
            other,
            refusal: None,
            settings,
            stream: None,
            times: None,
        }
    }

    /// How it encodes.
    pub fn path(&self) -> &EncodePath {
        &self.path
    }

    /// Why the entry point for low power was given up, once.
    pub fn take_refusal(&mut self) -> Option<EncodeError> {
        self.refusal.take()
    }

    /// When the last picture that came out well was worked on.
    pub fn times(&self) -> Option<Times> {
        self.times
    }

    /// From the next picture on, takes another rate, as far as the way of choosing quantizers that was
    /// chosen at the beginning allows: by constant ones a bounded rate is a quantizer within its range.
    pub fn set_rate(&mut self, rate: Rate) {
        self.settings.rate = rate;
        if let Some(stream) = &mut self.stream {
            stream.rate_is_due = true;
        }
    }

    /// Encodes a picture in place of what `out` holds: one access unit in the form of Annex B, with SPS
    /// and PPS where it is a key. It is a key where that is wanted and where none came before.
    ///
    /// A buffer is imported the first time it comes, and held until [`forget`](Self::forget).
    pub fn encode(
        &mut self,
        picture: &Dmabuf<'_>,
        key: bool,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let wanted = self.settings.size;
        if picture.size != wanted {
            out.clear();
            let found = picture.size;
            if let Some(stream) = &mut self.stream {
                stream.changes.given(None);
            }
            return Err(dmabuf::Refused::Size { found, wanted }.into());
        }
        let about = About {
            key,
            ..About::default()
        };
        self.encode_part(picture, (0, 0), about, out)
    }

    /// Does the same with a part of a buffer: what has the video's size and begins at `corner`. NV12
    /// begins at even places. What is not all of a buffer the device cuts out, converted or not.
    pub fn encode_part(
        &mut self,
        picture: &Dmabuf<'_>,
        corner: (u32, u32),
        about: About<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let is_first = !self.has_begun();
        let error = match self.encode_by_path(picture, corner, about, out) {
            Err(error) if is_first && error.is_refusal() => error,
            done => return done,
        };
        let Some(other) = self.other.take() else {
            return Err(error);
        };
        self.path = other;
        self.refusal = Some(error);
        self.encode_by_path(picture, corner, about, out)
    }

    /// Whether a picture has come out of the stream.
    fn has_begun(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| stream.turn.number > 0)
    }

    fn encode_by_path(
        &mut self,
        picture: &Dmabuf<'_>,
        corner: (u32, u32),
        about: About<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        out.clear();
        self.times = None;
        // What is refused was given all the same: the next picture says only how it differs from it.
        if let Some(stream) = &mut self.stream {
            stream.changes.given(about.changed);
        }
        let objects = dmabuf::look(picture)?;
        let (size, modifiers) = (self.settings.size, &self.path.modifiers);
        dmabuf::check_part(picture, corner, size)?;
        let (format, descriptor) = dmabuf::check(picture, &objects, picture.size, modifiers)?;
        let part = (picture.size != size).then_some(corner);
        if (!format.is_nv12 || part.is_some()) && self.path.converts_from.is_none() {
            return Err(EncodeError::NoConversion(format.drm));
        }
        // An error leaves the old stream to be dropped here.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => Stream::new(&self.display, &self.path, &self.settings)?,
        };
        let job = Job {
            path: &self.path,
            settings: &self.settings,
        };
        let found = stream.imports.find(&Key::new(picture, &objects), || {
            let rt_format = format.rt_format();
            self.display.import_surface(rt_format, &descriptor)
        });
        let given = Instant::now();
        let encoded = match found {
            Ok(index) => stream.encode(&job, (index, format, part), about, out)?,
            Err(error) => {
                self.stream = Some(stream);
                return Err(EncodeError::Import(error));
            }
        };
        self.stream = Some(stream);
        let coded = Instant::now();
        self.times = Some(Times { given, coded });
        Ok(encoded)
    }

    /// Gives back what is held of a buffer that is gone.
    pub fn forget(&mut self, buffer: Identity) {
        if let Some(stream) = &mut self.stream {
            stream.imports.forget(buffer);
        }
    }
}

fn plan(
    settings: Settings,
    by: impl FnOnce(Size, bool) -> Result<EncodePath, NoPath>,
) -> Result<EncodePath, EncodeError> {
    if !is_possible(settings.size) {
        return Err(EncodeError::Size(settings.size));
    }
    let bounded = matches!(settings.rate, Rate::Bounded { .. });
    Ok(by(settings.size, bounded)?)
}

/// What does not change while a picture is encoded.
struct Job<'a> {
    path: &'a EncodePath,
    settings: &'a Settings,
}

/// Pictures of NV12 that RGB is converted into.
const POOL: usize = 2;
/// Pictures after which a key comes by itself: the order of pictures is counted in 32 bits.
const LONGEST: u32 = 1 << 24;
/// `VA_CODED_BUF_STATUS_*`: a slice did not fit, or the bitstream is bad.
const NOT_WHOLE: u32 = abi::CODED_STATUS_SLICE_OVERFLOW | 0x8000;

/// What the driver holds for a video. Fields are dropped in their order, buffers first.
struct Stream {
    /// Of the picture under way; empty between pictures, its memory is kept.
    buffers: Vec<Buffer>,
    coded: Buffer,
    context: Context,
    converter: Option<Converter>,
    /// Where pictures are kept for the next one, in turn.
    kept: [Surface; 2],
    imports: Imports,
    sequence: SequenceParameters,
    picture: PictureParameters,
    header: Vec<u8>,
    turn: Turn,
    rate_is_due: bool,
    changes: Changes,
    /// Format and part of the last picture: another is another picture, whatever has changed.
    source: Option<(u32, Option<(u32, u32)>)>,
    told: Told,
}

struct Converter {
    context: Context,
    pool: [Surface; POOL],
    standard: i32,
}

impl Stream {
    fn new(display: &Display, path: &EncodePath, settings: &Settings) -> Result<Self, Error> {
        let size = settings.size;
        let of = (va_profile(path.profile), path.way.entrypoint());
        let mut attributes = vec![
            (config_attrib::RT_FORMAT, abi::RT_FORMAT_YUV420),
            (config_attrib::RATE_CONTROL, path.rate_control.flag()),
        ];
        if path.packed_headers != 0 {
            attributes.push((config_attrib::ENC_PACKED_HEADERS, path.packed_headers));
        }
        let config = Config::new(display, of, &attributes)?;
        let surface = || display.create_surface(NV12.rt_format(), (size.w, size.h), NV12.va);
        let kept = [surface()?, surface()?];
        let converter = match path.converts_from {
            Some(standard) => Some(Converter::new(display, size, standard)?),
            None => None,
        };
        let mut targets: Vec<&Surface> = kept.iter().collect();
        targets.extend(converter.iter().flat_map(|converter| &converter.pool));
        let even = size.even();
        let context = Context::new(config, (even.w, even.h), &targets)?;
        Ok(Self {
            buffers: Vec::with_capacity(16),
            coded: context.create_coded(parameters::room(size))?,
            context,
            converter,
            kept,
            imports: Imports::default(),
            sequence: parameters::sequence(path, settings),
            picture: parameters::picture(path, settings),
            header: Vec::new(),
            turn: Turn::default(),
            rate_is_due: true,
            changes: Changes::new(size),
            source: None,
            told: Told::default(),
        })
    }

    fn encode(
        &mut self,
        job: &Job<'_>,
        (index, format, part): (usize, Format, Option<(u32, u32)>),
        about: About<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let key = about.key || self.turn.number == 0 || self.turn.number >= LONGEST;
        self.turn.begin(key);
        let source = Some((format.drm, part));
        if std::mem::replace(&mut self.source, source) != source {
            self.changes.given(None);
        }
        let of = (&mut self.changes, job.settings.size.area() as u64);
        self.told
            .decide(job.path.hears, &self.turn, of, about.left_out);
        let imported = self.imports.get(index);
        let converter = self.converter.as_ref();
        let converter = converter.filter(|_| !format.is_nv12 || part.is_some());
        let input = match converter {
            Some(converter) => {
                let region = part.map(|corner| parameters::region(corner, job.settings.size));
                converter.convert((imported, format), region.as_ref(), self.turn.number)?
            }
            None => imported,
        };
        let described = describe(
            &mut self.buffers,
            &mut self.header,
            &Picture {
                job,
                context: &self.context,
                sequence: &self.sequence,
                picture: &self.picture,
                turn: &self.turn,
                kept: &self.kept,
                coded: &self.coded,
                rate_is_due: self.rate_is_due,
                told: &self.told,
            },
        );
        let submitted = described.and_then(|()| self.context.submit(input, &self.buffers));
        self.buffers.clear();
        submitted?;
        self.coded.sync(input)?;
        if converter.is_some() {
            // Its owner may draw into it again, or take it away.
            imported.sync()?;
        }
        take(&self.coded, out)?;
        if key {
            // Only then would a driver have put other headers than ours in front.
            inspect(out, job.settings.size)?;
        }
        self.turn.end();
        self.changes.encoded();
        self.rate_is_due = false;
        Ok(match key {
            true => Encoded::Key,
            false => Encoded::Difference,
        })
    }
}

/// Appends a coded picture to `out`.
fn take(coded: &Buffer, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mapped = coded.map()?;
    let mut status = 0;
    mapped.segments(|bytes, of_part| {
        out.extend_from_slice(bytes);
        status |= of_part;
    })?;
    mapped.unmap()?;
    match out.is_empty() || status & NOT_WHOLE != 0 {
        true => Err(EncodeError::Incomplete(status)),
        false => Ok(()),
    }
}

impl Converter {
    fn new(display: &Display, size: Size, standard: i32) -> Result<Self, Error> {
        let of = (profile::NONE, abi::entrypoint::VIDEO_PROC);
        let config = Config::new(display, of, &[])?;
        let size = (size.w, size.h);
        let surface = || display.create_surface(NV12.rt_format(), size, NV12.va);
        let pool = [surface()?, surface()?];
        let context = Context::new(config, size, &[&pool[0], &pool[1]])?;
        Ok(Self {
            context,
            pool,
            standard,
        })
    }

    /// Converts RGB of full range into BT.709 of limited range, as the SPS says of it, or a region of
    /// it; NV12 is that already.
    fn convert(
        &self,
        (from, format): (&Surface, Format),
        region: Option<&Rectangle>,
        number: u32,
    ) -> Result<&Surface, Error> {
        let into = &self.pool[number as usize % POOL];
        let standard = (!format.is_nv12).then_some(self.standard);
        // It points at the region, which has to outlive the picture's submission: it does.
        let parameters = parameters::conversion(from.id(), standard, region);
        let buffer = self
            .context
            .create_buffer(buffer::PROC_PIPELINE_PARAMETER, &parameters)?;
        self.context.submit(into, std::slice::from_ref(&buffer))?;
        Ok(into)
    }
}

impl Key {
    fn new(picture: &Dmabuf<'_>, objects: &[Object; MAX_PLANES]) -> Self {
        let mut planes = [(Identity::default(), 0, 0); MAX_PLANES];
        for ((plane, described), object) in planes.iter_mut().zip(picture.planes).zip(objects) {
            *plane = (object.identity, described.offset, described.pitch);
        }
        Self {
            format: picture.format,
            modifier: picture.modifier,
            planes,
        }
    }
}
