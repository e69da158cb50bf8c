//! H.264 by hardware, into surfaces that are shown without a copy.
//!
//! ```text
//!             a key                     an error (asks for a key)
//!   waiting ─────────▶ whole ◀──┐ ─────────────────────────────────▶ waiting
//!                        └──────┘ a picture that builds on those held
//! ```
//!
//! The device decodes slices; headers are read here, and which pictures build on which is kept here.
//! A surface that somebody still shows, or that later pictures build on, is not decoded into.

mod blank;
pub mod converter;
#[cfg(any(test, feature = "oracle"))]
pub mod oracle;
mod parameters;
mod references;

use std::sync::{Arc, Weak};

use heliostat_video::syntax::{
    Kind, PictureParameters, Profile, SequenceParameters, Slice, SliceKind, units,
};
use heliostat_video::{Refused, Size, inspect, is_possible};

use crate::abi::{self, Id, PictureParameterH264, buffer};
use crate::dmabuf::{Format, NV12};
use crate::library::{Buffer, Config, Context, Display, Error, Exported, Surface};
use crate::probe::{DecodePath, NoPath, Probe, Way, va_profile};
use references::{Current, Held, References};

/// Why an access unit was not decoded. After all but [`Full`](Self::Full) a key is needed.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No video has this size.
    #[error("no video has {}×{} pixels", .0.w, .0.h)]
    Size(Size),
    /// The device does not decode such videos.
    #[error("the device is not used: {0}")]
    NoPath(#[from] NoPath),
    /// What it says of itself is not what was agreed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It builds on pictures that never came.
    #[error("the access unit needs one before it that never came")]
    NoKey,
    /// All surfaces are shown or built on. The same unit can come again when one was given back.
    #[error("no surface is free: {0} pictures have not been given back")]
    Full(usize),
    /// libva or the driver failed.
    #[error(transparent)]
    Va(#[from] Error),
}

/// Pictures that may be shown or waiting to be, besides those that others build on.
const SHOWN: usize = 3;
/// Surfaces of a video: `inspect` allows four that others build on, and one is decoded.
const POOL: usize = 4 + 1 + SHOWN;

/// A decoded picture: a surface that is not decoded into again while this lives. It may outlive its
/// decoder.
#[derive(Clone)]
pub struct Frame(Arc<Output>);

struct Output {
    exported: Exported,
    surface: Surface,
    /// Of the picture, even.
    size: Size,
    format: Format,
}

/// The surface of a frame, known again without being held. What somebody keeps for it can go when it
/// has gone.
#[derive(Debug, Clone)]
pub struct Place(Weak<Output>);

impl Place {
    /// Whether a frame is in it.
    pub fn is_of(&self, frame: &Frame) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&frame.0))
    }

    /// Whether nothing will come in it any more: its decoder and all who showed it have let it go.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Frame {
    /// The memory of the picture: one composed layer, of the video's size made even. It is the
    /// same for all pictures in one surface, so that who shows them can know it again by `id`.
    pub fn memory(&self) -> &Exported {
        &self.0.exported
    }

    /// NV12, or RGB where it was converted.
    pub fn format(&self) -> Format {
        self.0.format
    }

    /// Its size: the video's with its sides made even.
    pub fn size(&self) -> Size {
        self.0.size
    }

    /// Where it is, without holding it.
    pub fn place(&self) -> Place {
        Place(Arc::downgrade(&self.0))
    }

    pub(crate) fn surface(&self) -> &Surface {
        &self.0.surface
    }

    /// Which surface it is in, until the decoder has had an error of libva's.
    pub fn id(&self) -> Id {
        self.0.surface.id()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Frame").field(&self.id()).finish()
    }
}

/// Decodes one video. It waits for the device, but not for ever ([`Error::Lost`]), and allocates nothing
/// while no key comes.
pub struct Decoder {
    display: Display,
    path: DecodePath,
    size: Size,
    sequences: Vec<SequenceParameters>,
    pictures: Vec<PictureParameters>,
    stream: Option<Stream>,
}

/// What the driver holds for a video. Fields are dropped in their order.
struct Stream {
    /// Of the picture under way; empty between pictures, its memory is kept.
    buffers: Vec<Buffer>,
    context: Context,
    pool: Vec<Arc<Output>>,
    /// Indices into the pool.
    references: References<usize>,
    /// What the slice at hand builds on.
    list: Vec<Held<usize>>,
}

impl Decoder {
    /// A decoder of pictures of `size` on a device that offers what `probe` has found. Nothing is made
    /// before the first key.
    pub fn new(display: &Display, probe: &Probe, size: Size) -> Result<Self, DecodeError> {
        if !is_possible(size) {
            return Err(DecodeError::Size(size));
        }
        Ok(Self {
            display: display.clone(),
            path: probe.plan_decoding(size.even())?,
            size,
            sequences: Vec::new(),
            pictures: Vec::new(),
            stream: None,
        })
    }

    /// How it decodes.
    pub fn path(&self) -> &DecodePath {
        &self.path
    }

    /// Decodes one access unit in the form of Annex B, and waits for it.
    pub fn decode(&mut self, unit: &[u8]) -> Result<Frame, DecodeError> {
        let decoded = self.try_decode(unit);
        match &decoded {
            Ok(_) | Err(DecodeError::Full(_)) => {}
            // What a driver holds after an error of its own is different with each.
            Err(DecodeError::Va(_)) => self.stream = None,
            Err(_) => {
                if let Some(stream) = &mut self.stream {
                    stream.references.clear();
                }
            }
        }
        decoded
    }

    fn try_decode(&mut self, unit: &[u8]) -> Result<Frame, DecodeError> {
        let key = inspect(unit, self.size)?.key;
        let is_whole = self
            .stream
            .as_ref()
            .is_some_and(|s| s.references.is_begun());
        if !key && !is_whole {
            return Err(DecodeError::NoKey);
        }
        let first = self.read(unit, key)?;
        let picture = find(&self.pictures, |p| p.id == first.picture)?;
        let sequence = find(&self.sequences, |s| s.id == picture.sequence)?;
        if rank(sequence.profile) > rank(self.path.profile) {
            return Err(Refused::Unsupported("a profile that the device does not decode").into());
        }
        if self.stream.is_none() {
            self.stream = Some(Stream::new(&self.display, &self.path, self.size.even())?);
        }
        let stream = self.stream.as_mut().ok_or(DecodeError::NoKey)?;
        stream.decode(unit, &first, (sequence, picture))
    }

    /// Takes parameters in and reads the headers of slices, which are all of one picture; returns the
    /// first.
    fn read(&mut self, unit: &[u8], key: bool) -> Result<Slice, DecodeError> {
        let mut first: Option<Slice> = None;
        for unit in units(unit)? {
            match Kind::of(*unit.first().ok_or(Refused::Malformed)?)? {
                Kind::Sequence => {
                    let new = SequenceParameters::read(unit)?;
                    if new.cut != (0, 0) {
                        let what = "pictures that are cut at the left or at the top";
                        return Err(Refused::Unsupported(what).into());
                    }
                    if !key && !self.sequences.contains(&new) {
                        let what = "sequence parameters that change between keys";
                        return Err(Refused::Unsupported(what).into());
                    }
                    self.sequences.retain(|old| old.id != new.id);
                    self.sequences.push(new);
                }
                Kind::Picture => {
                    let new = PictureParameters::read(unit)?;
                    self.pictures.retain(|old| old.id != new.id);
                    self.pictures.push(new);
                }
                Kind::Slice | Kind::Idr => {
                    let id = Slice::parameters_of(unit)?;
                    let picture = find(&self.pictures, |p| p.id == id)?;
                    let sequence = find(&self.sequences, |s| s.id == picture.sequence)?;
                    let (slice, _) = Slice::read(unit, sequence, picture)?;
                    match &first {
                        Some(first) if !is_same_picture(first, &slice) => {
                            return Err(Refused::NotOnePicture.into());
                        }
                        Some(_) => {}
                        None => first = Some(slice),
                    }
                }
                Kind::Supplemental | Kind::Delimiter => {}
            }
        }
        Ok(first.ok_or(Refused::NotOnePicture)?)
    }
}

/// Without its parameters nothing can be read; they come with a key.
fn find<T>(all: &[T], is_it: impl Fn(&T) -> bool) -> Result<&T, DecodeError> {
    all.iter().find(|one| is_it(one)).ok_or(DecodeError::NoKey)
}

fn rank(profile: Profile) -> u8 {
    match profile {
        Profile::Baseline => 0,
        Profile::Main => 1,
        Profile::High => 2,
    }
}

fn is_same_picture(a: &Slice, b: &Slice) -> bool {
    let of = |slice: &Slice| {
        (
            slice.picture,
            slice.frame_number,
            slice.restart,
            slice.count,
            slice.bottom_count,
        )
    };
    of(a) == of(b) && a.marking == b.marking
}

/// Who shows the memory believes what the driver says of it, so that it is one picture of its format in
/// buffers that are there.
fn check_export(exported: &Exported, format: Format) -> Result<(), Error> {
    let d = &exported.descriptor;
    let objects = d.num_objects as usize;
    let layer = &d.layers[0];
    let planes = layer.num_planes as usize;
    let is_sound = d.fourcc == format.va
        && d.num_layers == 1
        && (format.planes()..=layer.object_index.len()).contains(&planes)
        && (1..=d.objects.len()).contains(&objects)
        && exported.fds.len() == objects
        && layer.object_index[..planes]
            .iter()
            .all(|index| (*index as usize) < objects);
    match is_sound {
        true => Ok(()),
        false => Err(Error::Lies {
            call: "vaExportSurfaceHandle",
            found: i64::from(d.num_layers),
            room: 1,
        }),
    }
}

impl Stream {
    fn new(display: &Display, path: &DecodePath, size: Size) -> Result<Self, Error> {
        let of = (va_profile(path.profile), Way::Decode.entrypoint());
        let attributes = [(abi::config_attrib::RT_FORMAT, abi::RT_FORMAT_YUV420)];
        let config = Config::new(display, of, &attributes)?;
        let mut pool = Vec::new();
        for _ in 0..POOL {
            let surface = display.create_surface(NV12.rt_format(), (size.w, size.h), NV12.va)?;
            let flags = abi::EXPORT_READ_ONLY | abi::EXPORT_COMPOSED_LAYERS;
            let exported = surface.export(flags)?;
            check_export(&exported, NV12)?;
            pool.push(Arc::new(Output {
                exported,
                surface,
                size,
                format: NV12,
            }));
        }
        let targets: Vec<&Surface> = pool.iter().map(|output| &output.surface).collect();
        let context = Context::new(config, (size.w, size.h), &targets)?;
        // A driver hands memory out again that another person's film was in, and what slices do not
        // cover stays as it was.
        blank::clear(&context, path.profile, size, &targets)?;
        let mut cleared = pool.iter();
        cleared.try_for_each(|output| output.surface.sync_or_lose(&output.exported))?;
        Ok(Self {
            context,
            references: References::default(),
            pool,
            buffers: Vec::new(),
            list: Vec::new(),
        })
    }

    fn decode(
        &mut self,
        unit: &[u8],
        first: &Slice,
        (sequence, picture): (&SequenceParameters, &PictureParameters),
    ) -> Result<Frame, DecodeError> {
        let current = self.references.begin(first, sequence);
        let current = current.ok_or(DecodeError::NoKey)?;
        let free = |at: &usize| Arc::strong_count(&self.pool[*at]) == 1 && !self.references.has(at);
        let Some(at) = (0..self.pool.len()).find(free) else {
            let shown = self.pool.iter().filter(|o| Arc::strong_count(o) > 1);
            return Err(DecodeError::Full(shown.count()));
        };
        let output = Arc::clone(&self.pool[at]);
        let described = self.describe(unit, (sequence, picture), (&current, at));
        let submitted = described.and_then(|()| {
            let submitted = self.context.submit(&output.surface, &self.buffers);
            submitted.map_err(DecodeError::from)
        });
        self.buffers.clear();
        submitted?;
        output.surface.sync_or_lose(&output.exported)?;
        self.references.end(&current, first, sequence, at);
        Ok(Frame(output))
    }

    /// Makes the buffers of a picture that goes into a surface of the pool.
    fn describe(
        &mut self,
        unit: &[u8],
        (sequence, picture): (&SequenceParameters, &PictureParameters),
        (current, at): (&Current, usize),
    ) -> Result<(), DecodeError> {
        let (context, pool, buffers) = (&self.context, &self.pool, &mut self.buffers);
        let told = |held: &Held<usize>| held.picture(pool[held.what].surface.id());
        // Pictures before a key are not held any more once it has begun.
        let held = match current.is_key {
            true => &[],
            false => self.references.held(),
        };
        let id = pool[at].surface.id();
        let parameters: PictureParameterH264 =
            parameters::picture(sequence, picture, current, id, held.iter().map(told));
        buffers.push(context.create_buffer(buffer::PICTURE_PARAMETER, &parameters)?);
        buffers.push(context.create_buffer(buffer::IQ_MATRIX, &parameters::flat())?);
        for nal in units(unit)? {
            let kind = Kind::of(*nal.first().ok_or(Refused::Malformed)?)?;
            if !matches!(kind, Kind::Slice | Kind::Idr) {
                continue;
            }
            let (slice, bits) = Slice::read(nal, sequence, picture)?;
            self.list.clear();
            if slice.kind == SliceKind::Predicted {
                if current.is_key {
                    return Err(Refused::Malformed.into());
                }
                let listed = self
                    .references
                    .list(&slice, sequence, picture, &mut self.list);
                listed.ok_or(DecodeError::NoKey)?;
            }
            let list = self.list.iter().map(told);
            let slice = parameters::slice(&slice, picture, list, (nal, bits));
            buffers.push(context.create_buffer(buffer::SLICE_PARAMETER, &slice)?);
            buffers.push(context.create_buffer_of(buffer::SLICE_DATA, nal)?);
        }
        Ok(())
    }
}
